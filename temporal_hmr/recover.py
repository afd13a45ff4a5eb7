"""From a track to a motion: the one inference path of tracking, evaluation and the Python API."""

import copy
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from threadpoolctl import threadpool_limits
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.blending import Blend, at_times, chunks
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.checkpoint import load_weights, read_config
from temporal_hmr.clip_windows import (
    FilledTrack,
    at_trained_rate,
    fill_frames,
    windows,
    windows_with_images,
)
from temporal_hmr.confidence import Seen, joint_confidence, seconds_away
from temporal_hmr.crops import readable
from temporal_hmr.errors import InputError
from temporal_hmr.journal import Journal
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.recalled_windows import Answer, recalled
from temporal_hmr.reprojection import Reprojection, fit_to_keypoints
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, Skeleton
from temporal_hmr.video import Frame

CHECKPOINT_KIND = "hmr"


def default_weights() -> Path:
    """The weights that come with the package."""
    return Path(str(files("temporal_hmr"))) / "assets" / "default.safetensors"


def load_model(weights: Path | None, device: torch.device, light: bool = False) -> Hmr:
    """A trained model ready for inference; None loads the one that comes with the package.

    A `light` one leaves it at its first guess. Raises `InputError` if the file is missing, not
    ours, or does not match its own settings, and if the model makes no first guess.
    """
    path = default_weights() if weights is None else weights
    config = read_config(path, CHECKPOINT_KIND, HmrConfig)
    model = Hmr(config)
    load_weights(model, path)
    if light:
        model.make_light()
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
    journal: Journal | None = None,
) -> BodyMotion:
    """The body of a tracked person in every frame from first to last sight.

    Frames in which they went unseen are filled in from their neighbours and marked as not
    observed. The model is shown about 30 frames a second, and what lies between those of faster
    clips is interpolated. `temporal=False` leaves the temporal module out. A body other than the
    one that the model was trained on takes over the pose, and the shape whose skeleton is nearest.
    `images` are the frames of the track in order (others are passed over), for models that look at
    them. `fit` says how the body is moved onto the detected keypoints; None leaves it as the model
    has it. What is found goes into the journal window by window, and what is there already is not
    computed again.

    Raises `InputError` if the track's keypoints are not the ones the model looks at, if it looks
    at images and there are none, or if it speaks of SMPL's shapes and the body is not SMPL.
    """
    seen = fill_frames(_readable(track))
    trained = body_of(model, body)
    posed = copy.deepcopy(_posed(trained)).to(next(model.parameters()).device)
    # Models of keypoints are small: threads would wait for each other most of the time.
    with threadpool_limits(1 if model.config.image_side() is None else None):
        shown = seen.at(at_trained_rate(seen.times))
        blend = Blend(len(shown), posed)
        for starts, window in _windows(shown, model, camera, images):
            name = f"person {track.person_id} from {shown.frames[starts[0]]}"
            answer = partial(_answer, model, posed, temporal, window)
            blend.add(starts, *recalled(journal, name, answer))
        smpl = blend.result()
        if fit is not None:
            how = fit if temporal else fit.by_frame()
            smpl = fit_to_keypoints(smpl, shown, camera, posed, track.skeleton, how)
        smpl = at_times(smpl, shown.times, seen.times, posed)
        likely = _confidence(smpl, seen, posed, track.skeleton, camera)
        smpl = on_body(smpl, trained, body)
        joints = _joints(body, smpl)
    return BodyMotion(
        person_id=track.person_id,
        frames=seen.frames,
        times=seen.times,
        fps=fps,
        smpl=smpl,
        joints=joints,
        camera=camera,
        boxes=seen.boxes,
        keypoints=seen.keypoints,
        skeleton=track.skeleton,
        observed=seen.observed,
        confidence=likely.mean(-1),
        joint_confidence=likely,
    )


@lru_cache(maxsize=1)
def _posed(body: BodyModel) -> PosedBody:
    """Collapsing a body onto its keypoints takes longer than recovering many a clip."""
    return PosedBody(body)


def _readable(track: Track) -> Track:
    if track.skeleton not in (COCO23, BLAZEPOSE23):
        raise InputError(
            f"the model looks at {COCO23.name} keypoints, the track has {track.skeleton.name}"
        )
    return track


def _joints(body: BodyModel, smpl: SmplParams) -> Float[ndarray, "T 24 3"]:
    joints = np.empty((len(smpl.transl), 24, 3), np.float32)
    for part in chunks(len(joints)):
        some = smpl[part].map(lambda tensor: tensor.to(body.v_template.dtype))
        joints[part] = body.joints(some).float().numpy()
    return joints


def _answer(model: Hmr, posed: PosedBody, temporal: bool, window: CropWindow) -> Answer:
    device = next(model.parameters()).device
    window = window.map(lambda tensor: tensor.to(device))
    with torch.inference_mode():
        return model(window, posed, temporal).smpl, readable(window.scores)


def _confidence(
    smpl: SmplParams, seen: FilledTrack, posed: PosedBody, skeleton: Skeleton, camera: Camera
) -> Float[ndarray, "T 24"]:
    """How likely each joint is right; `posed` is on the CPU by now."""
    away = seconds_away(seen.times, seen.observed)
    likely = np.empty((len(seen), 24), np.float32)
    for part in chunks(len(seen)):
        points = posed.body.regress(smpl[part], posed.points_of(skeleton))
        likely[part] = joint_confidence(
            Seen(
                keypoints=seen.keypoints[part],
                projected=camera.project(points).numpy(),
                joints=posed.body.joints(smpl[part]).numpy(),
                boxes=seen.boxes[part],
                away=away[part],
            )
        )
    return likely


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


def on_body(smpl: SmplParams, trained: BodyModel, body: BodyModel) -> SmplParams:
    """The same motion on another body: pose and pelvis kept, shape by the nearest skeleton.

    The motion has one shape.
    """
    if body is trained:
        return smpl
    betas = matching_betas(smpl.betas[:1], trained, body)
    pelvis = smpl.transl + trained.rest_joints(smpl.betas[:1])[:, 0]
    transl = pelvis - body.rest_joints(betas)[:, 0]
    betas = betas.expand(len(smpl.betas), 10)
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
