"""From a track to a motion: the one inference path of tracking, evaluation and the Python API."""

import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.blending import Blend, at_times
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams, joined
from temporal_hmr.bridging import BRIDGED_AT_FIRST, BRIDGED_BESIDE_GUESS, bridged
from temporal_hmr.camera import Camera
from temporal_hmr.checkpoint import Unfilled, load_weights, read_config
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
from temporal_hmr.keypoint_fit.jumps import jumping
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.on_disk import chunks, zeros
from temporal_hmr.recalled_windows import Answer, recalled
from temporal_hmr.reprojection import Reprojection, fit_to_keypoints
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, Skeleton
from temporal_hmr.threads import side_by_side
from temporal_hmr.video import Frame

CHECKPOINT_KIND = "hmr"
WINDOWS_IN_CACHE = 2
"""Of more at once, what a model has in between does not fit into a processor's cache."""


def default_weights() -> Path:
    """The weights that come with the package."""
    return Path(str(files("temporal_hmr"))) / "assets" / "default.safetensors"


def model_config(weights: Path | None) -> HmrConfig:
    """What a model is, told without loading it; None is the one that comes with the package.

    Raises `InputError` if the file is missing or not ours.
    """
    return read_config(weights or default_weights(), CHECKPOINT_KIND, HmrConfig)


def load_model(weights: Path | None, device: torch.device, light: bool = False) -> Hmr:
    """A trained model ready for inference; None loads the one that comes with the package.

    A `light` one leaves it at its first guess. Raises `InputError` if the file is missing, not
    ours, or does not match its own settings, and if the model makes no first guess.
    """
    config = model_config(weights)
    with Unfilled():
        model = Hmr(config)
    load_weights(model, weights or default_weights())
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
    clips is interpolated; keypoints that are missing for moments are shown to it where they would
    be in between. `temporal=False` leaves the temporal module out, and frames to themselves. A body
    other than the one that the model was trained on takes over the pose, and the shape whose
    skeleton is nearest. `images` are the frames of the track in order (others are passed over), for
    models that look at them. `fit` says how the body is moved onto the detected keypoints; None
    leaves it as the model has it. With it, models of keypoints look twice: beside their first
    guess, moved onto the keypoints, some of these turn out to jump, and are not shown again. What
    is found goes into the journal window by window, and what is there already is not computed
    again; beside the journal, on the disk, lies what grows with the clip.

    Raises `InputError` if the track's keypoints are not the ones the model looks at, if it looks
    at images and there are none, or if it speaks of SMPL's shapes and the body is not SMPL.
    """
    folder = None if journal is None else journal.folder
    seen = fill_frames(_readable(track), folder)
    trained = body_of(model, body)
    posed = _posed_for(model, trained)
    # Models of keypoints are small: threads that shared a window would wait for each other most of
    # the time.
    small = model.config.image_side() is None
    with side_by_side(small) as threads:
        given = (model, posed, camera, track.skeleton, track.person_id, temporal)
        looking = _Looking(*given, journal, threads)
        shown = seen.at(at_trained_rate(seen.times), folder)
        how = fit if fit is None or temporal else fit.by_frame()
        smpl = looking.recovered(shown, images, how)
        smpl = at_times(smpl, shown.times, seen.times, posed, folder)
        likely, mean = _confidence(smpl, seen, posed, track.skeleton, camera, folder)
        smpl = on_body(smpl, trained, body)
        joints = _joints(body, smpl, folder)
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
        confidence=mean,
        joint_confidence=likely,
    )


def _posed_for(model: Hmr, body: BodyModel) -> PosedBody:
    posed = _posed(body)
    on_cpu = next(model.parameters()).device.type == "cpu"
    # Else it is going to be moved there and back.
    return posed if on_cpu else copy.deepcopy(posed)


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


def _joints(body: BodyModel, smpl: SmplParams, folder: Path | None) -> Float[ndarray, "T 24 3"]:
    joints = zeros((len(smpl.transl), 24, 3), folder).numpy()
    for part in chunks(len(joints), joints, smpl.body_pose):
        some = smpl[part].map(lambda tensor: tensor.to(body.v_template.dtype))
        joints[part] = body.joints(some).float().numpy()
    return joints


@dataclass(frozen=True, eq=False)
class _Looking:
    """What one look at a track has in common with the next."""

    model: Hmr
    posed: PosedBody
    """On the CPU between looks."""
    camera: Camera
    skeleton: Skeleton
    person_id: int
    temporal: bool
    journal: Journal | None
    threads: Executor | None
    """For windows that are looked at by themselves; None does so one after the other."""

    def recovered(
        self,
        shown: FilledTrack,
        images: Iterable[Frame] | None,
        how: Reprojection | None,
    ) -> SmplParams:
        """What the model answers, moved onto the keypoints if it is said how."""
        whole = self._bridged(shown, BRIDGED_AT_FIRST) if self.temporal else shown
        if how is None or how.jumps is None or not self.model.guesses_first:
            smpl = self.bodies(whole, self._answer, images)
            return smpl if how is None else self.fitted(smpl, shown, how)
        guess = self.bodies(whole, self._guess, look="first guess of ")
        guess = self.fitted(guess, shown, how.roughly())
        given = (self.camera, self.posed, self.skeleton)
        jumps = jumping(guess, shown, *given, how.visible_above, how.jumps)
        left = self._bridged(shown.without(jumps, self._folder), BRIDGED_BESIDE_GUESS, guess)
        return self.fitted(self.bodies(left, self._answer, images), shown, how, jumps)

    def bodies(
        self,
        shown: FilledTrack,
        answer: Callable[[CropWindow], SmplParams],
        images: Iterable[Frame] | None = None,
        look: str = "",
    ) -> SmplParams:
        """What the model answers to the windows of the track, blended; the journal has each."""
        device = next(self.model.parameters()).device
        self.posed.to(device)
        blend = Blend(len(shown), self.posed, self._folder)
        for starts, window in _windows(shown, self.model, self.camera, images):

            def computed(window: CropWindow = window) -> Answer:
                window = window.map(lambda tensor: tensor.to(device))
                return self._side_by_side(window, answer), readable(window.scores)

            name = f"{look}person {self.person_id} from {shown.frames[starts[0]]}"
            blend.add(starts, *recalled(self.journal, name, computed))
        return blend.result()

    def _side_by_side(
        self, windows: CropWindow, answer: Callable[[CropWindow], SmplParams]
    ) -> SmplParams:
        """The answers to some windows, a few at a time: as many as are best."""
        count = len(windows.times)
        at_once = WINDOWS_IN_CACHE if windows.times.device.type == "cpu" else count

        def answered(first: int) -> SmplParams:
            with torch.inference_mode():
                part = slice(first, first + at_once)
                return answer(windows.map(lambda tensor: tensor[part]))

        of_all = map if self.threads is None else self.threads.map
        return joined(list(of_all(answered, range(0, count, at_once))))

    def fitted(
        self,
        smpl: SmplParams,
        shown: FilledTrack,
        how: Reprojection,
        jumps: Bool[ndarray, "T J"] | None = None,
    ) -> SmplParams:
        """Moved onto the keypoints, but for those that jump."""
        given = (self.camera, self.posed, self.skeleton)
        return fit_to_keypoints(smpl, shown, *given, how, jumps, self._folder)

    def _bridged(
        self, shown: FilledTrack, longest: float, guess: SmplParams | None = None
    ) -> FilledTrack:
        """The track without its short gaps, of keypoints or of how they lie beside a guess."""

        def base(part: slice) -> Float[ndarray, "t J 2"]:
            assert guess is not None, "else it is not asked for"
            points = self.posed.body.regress(guess[part], self.posed.points_of(self.skeleton))
            return self.camera.project(points).numpy()

        return bridged(shown, longest, None if guess is None else base, self._folder)

    def _guess(self, window: CropWindow) -> SmplParams:
        return self.model.first_bodies(window, self.posed)

    def _answer(self, window: CropWindow) -> SmplParams:
        return self.model.bodies(window, self.posed, self.temporal)

    @property
    def _folder(self) -> Path | None:
        return None if self.journal is None else self.journal.folder


def _confidence(
    smpl: SmplParams,
    seen: FilledTrack,
    posed: PosedBody,
    skeleton: Skeleton,
    camera: Camera,
    folder: Path | None,
) -> tuple[Float[ndarray, "T 24"], Float[ndarray, "T"]]:
    """How likely each joint is right, and their means; `posed` is on the CPU by now."""
    away = seconds_away(seen.times, seen.observed)
    likely, mean = zeros((len(seen), 24), folder).numpy(), np.zeros(len(seen), np.float32)
    for part in chunks(len(seen), likely, seen.keypoints, smpl.body_pose):
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
        mean[part] = likely[part].mean(-1)
    return likely, mean


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
