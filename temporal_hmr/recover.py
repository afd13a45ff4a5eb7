"""From a track to a motion: the one inference path of tracking, evaluation and the Python API."""

import copy
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.checkpoint import load_weights, read_config
from temporal_hmr.clip_windows import FilledTrack, fill_frames, windows, windows_with_images
from temporal_hmr.crops import readable
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.reprojection import Reprojection, fit_to_keypoints
from temporal_hmr.rotation import interpolate, nearest_rotation
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23
from temporal_hmr.video import Frame

CHECKPOINT_KIND = "hmr"


def default_weights() -> Path:
    """The weights that come with the package."""
    return Path(str(files("temporal_hmr"))) / "assets" / "default.safetensors"


def load_model(weights: Path | None, device: torch.device) -> Hmr:
    """A trained model ready for inference; None loads the one that comes with the package.

    Raises `InputError` if the file is missing, not ours, or does not match its own settings.
    """
    path = default_weights() if weights is None else weights
    config = read_config(path, CHECKPOINT_KIND, HmrConfig)
    model = Hmr(config)
    load_weights(model, path)
    return model.to(device).eval().requires_grad_(False)


def recover(
    model: Hmr,
    body: BodyModel,
    track: Track,
    camera: Camera,
    fps: float,
    temporal: bool = True,
    images: Iterable[Frame] | None = None,
    fit: Reprojection | None = Reprojection(),
) -> BodyMotion:
    """The body of a tracked person in every frame from first to last sight.

    Frames in which they went unseen are filled in from their neighbours and marked as not
    observed. `temporal=False` leaves the temporal module out. A body other than the one that the
    model was trained on takes over the pose, and the shape whose skeleton is nearest. `images` are
    the frames of the track in order (others are passed over), for models that look at them. `fit`
    says how the body is moved onto the detected keypoints; None leaves it as the model has it.

    Raises `InputError` if the track's keypoints are not the ones the model looks at, if it looks
    at images and there are none, or if it speaks of SMPL's shapes and the body is not SMPL.
    """
    if track.skeleton not in (COCO23, BLAZEPOSE23):
        raise InputError(
            f"the model looks at {COCO23.name} keypoints, the track has {track.skeleton.name}"
        )
    seen = fill_frames(track)
    trained = body_of(model, body)
    device = next(model.parameters()).device
    posed = PosedBody(copy.deepcopy(trained)).to(device)
    blend = _Blend(len(seen), posed)
    for starts, cut in _windows(seen, model, camera, images):
        window = cut.map(lambda tensor: tensor.to(device))
        with torch.inference_mode():
            prediction = model(window, posed, temporal)
        smpl = prediction.smpl
        if fit is not None:
            how = fit if temporal else fit.by_frame()
            smpl = fit_to_keypoints(prediction, window, posed, track.skeleton, how)
        blend.add(starts, smpl, readable(window.scores))
    smpl = on_body(blend.result(), trained, body)
    joints = body.joints(smpl.map(lambda tensor: tensor.to(body.v_template.dtype)))
    confidence = seen.keypoints[..., 2]
    known = np.maximum((confidence > 0).sum(-1), 1)
    return BodyMotion(
        person_id=track.person_id,
        frames=seen.frames,
        times=seen.times,
        fps=fps,
        smpl=smpl,
        joints=joints.float().numpy(),
        camera=camera,
        boxes=seen.boxes,
        keypoints=seen.keypoints,
        skeleton=track.skeleton,
        observed=seen.observed,
        confidence=(confidence.sum(-1) / known).astype(np.float32),
    )


def body_of(model: Hmr, body: BodyModel) -> BodyModel:
    """The body whose shapes the model speaks of, given the one that is asked for.

    Raises `InputError` if that is SMPL, which does not come with the package, and `body` is not.
    """
    if model.config.body == "open":
        return body if body.name == "open" else load_body()
    if body.name == "open":
        raise InputError("these weights speak of SMPL's shapes: give an SMPL file with --body")
    return body


def _windows(
    seen: FilledTrack, model: Hmr, camera: Camera, images: Iterable[Frame] | None
) -> Iterator[tuple[list[int], CropWindow]]:
    side, length = model.config.image_side(), model.config.window
    if side is None:
        return windows(seen, length, camera)
    if images is None:
        raise InputError("these weights look at images, and there are only keypoints here")
    return windows_with_images(seen, length, camera, side, images)


class _Sum:
    """Windows added up frame by frame, each fading out towards its ends."""

    def __init__(self, frames: int):
        self.frames = frames
        self.weight = torch.zeros(frames)
        self.rotations = torch.zeros(frames, 24, 3, 3)
        self.pelvis = torch.zeros(frames, 3)
        self.betas = torch.zeros(10)

    def add(
        self,
        start: int,
        rotations: Float[Tensor, "T 24 3 3"],
        pelvis: Float[Tensor, "T 3"],
        betas: Float[Tensor, "T 10"],
    ) -> None:
        """A window that begins at the frame `start`; what it has beyond the last is padding."""
        length = len(pelvis)
        count = min(length, self.frames - start)
        where = slice(start, start + count)
        # Halves of such windows add up to 1, and fade in and out without a kink that would show
        # as a jolt at every seam.
        weight = torch.sin(torch.pi * (torch.arange(length) + 0.5) / length)[:count, None] ** 2
        self.weight[where] += weight[:, 0]
        self.rotations[where] += weight[..., None, None] * rotations[:count]
        self.pelvis[where] += weight * pelvis[:count]
        self.betas += (weight * betas[:count]).sum(0)


class _Blend:
    """Averages overlapping windows.

    A window in which the person is hardly seen has a box around next to nothing, and a body
    somewhere far away: such windows are believed only where there are no others at all.
    """

    def __init__(self, frames: int, posed: PosedBody):
        self.posed = posed
        self.trusted, self.others = _Sum(frames), _Sum(frames)

    def add(self, starts: list[int], smpl: SmplParams, trusted: Bool[Tensor, "B"]) -> None:
        """Add the predictions of the windows that start at these frames."""
        pelvis = (smpl.transl + self.posed.pelvis_at_rest(smpl.betas)).cpu()
        rotations, betas = smpl.rotations().cpu(), smpl.betas.cpu()
        for row, start in enumerate(starts):
            total = self.trusted if trusted[row] else self.others
            total.add(start, rotations[row], pelvis[row], betas[row])

    def result(self) -> SmplParams:
        """The blended motion, on the CPU; one shape for all frames."""
        total = self.trusted if self.trusted.weight.any() else self.others
        betas = (total.betas / total.weight.sum()).expand(total.frames, 10)
        covered = total.weight > 0
        # The chordal mean: a sum of rotations, brought back to the nearest rotation.
        whole = torch.where(covered[:, None, None, None], total.rotations, torch.eye(3))
        rotations = nearest_rotation(whole)
        pelvis = total.pelvis / total.weight.clamp(min=torch.finfo().tiny)[:, None]
        rotations, pelvis = _bridge(rotations, pelvis, covered)
        rest = self.posed.cpu().pelvis_at_rest(betas)
        return SmplParams.from_rotations(rotations, betas, pelvis - rest)


def _bridge(
    rotations: Float[Tensor, "T 24 3 3"], pelvis: Float[Tensor, "T 3"], covered: Bool[Tensor, "T"]
) -> tuple[Float[Tensor, "T 24 3 3"], Float[Tensor, "T 3"]]:
    """Frames that no window covers lie between their neighbours that are covered."""
    places = covered.nonzero().flatten()
    frames = torch.arange(len(covered))
    after = torch.searchsorted(places, frames).clamp(max=len(places) - 1)
    before = torch.searchsorted(places, frames, right=True).sub(1).clamp(min=0)
    first, last = places[before], places[after]
    fraction = ((frames - first) / (last - first).clamp(min=1)).clamp(0, 1)
    turned = interpolate(rotations[first], rotations[last], fraction[:, None].expand(-1, 24))
    exact = (first == last)[:, None]
    return (
        torch.where(exact[..., None, None], rotations[first], turned),
        torch.where(
            exact, pelvis[first], torch.lerp(pelvis[first], pelvis[last], fraction[:, None])
        ),
    )


def on_body(smpl: SmplParams, trained: BodyModel, body: BodyModel) -> SmplParams:
    """The same motion on another body: pose and pelvis kept, shape by the nearest skeleton.

    The motion has one shape.
    """
    if body is trained:
        return smpl
    betas = matching_betas(smpl.betas[:1], trained, body).expand(len(smpl.betas), 10)
    pelvis = smpl.transl + trained.rest_joints(smpl.betas)[:, 0]
    transl = pelvis - body.rest_joints(betas)[:, 0]
    return SmplParams(smpl.global_orient, smpl.body_pose, betas, transl)


def matching_betas(
    betas: Float[Tensor, "*b 10"], source: BodyModel, target: BodyModel, ridge: float = 1e-5
) -> Float[Tensor, "*b 10"]:
    """Shape of one body whose rest joints are nearest to those of another body's shape.

    Betas mean different things to different bodies; joint positions (m, relative to the pelvis) do
    not. Least squares, with a ridge that keeps shapes plausible where joints do not decide.
    """
    dtype = torch.float64
    zero = torch.zeros(1, 10, dtype=target.v_template.dtype)
    basis = torch.eye(10, dtype=zero.dtype)

    def offsets(body: BodyModel, shape: Tensor) -> Tensor:
        joints = body.rest_joints(shape.to(body.v_template.dtype)).to(dtype)
        return (joints[..., 1:, :] - joints[..., :1, :]).flatten(-2)

    mean = offsets(target, zero)
    columns = offsets(target, basis) - mean
    wanted = offsets(source, betas) - mean
    normal = columns @ columns.T + ridge * torch.eye(10, dtype=dtype)
    solution = torch.linalg.solve(normal, columns @ wanted.mT).mT
    return solution.to(betas.dtype)
