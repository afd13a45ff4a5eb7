"""What one training step means for the keypoint tokenizer and for the body model."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from temporal_hmr import metrics
from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.losses import LossWeights, body_losses, smoothness_losses, tokenizer_losses
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.token_motion import TokenMotionConfig, draw_hidden
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer
from temporal_hmr.training import looks
from temporal_hmr.training.batches import mapped, to_device
from temporal_hmr.training.sources import Labelled, Source
from temporal_hmr.training.tals_terms import tals_terms

KEYPOINT_KIND = "keypoint-tokenizer"
Lesson = Literal["readings", "frames", "motion"]
ALONE = 8
"""One clip in so many is decoded frame by frame as well, while clips are learned in context."""
BY_ITSELF = "by_itself_"
CLIPS_AT_ONCE = 16
"""Of an evaluation: images of all at once would fill the memory."""
LEAST_JOINTS = 8
"""Fewer known joints say little of a body's pose."""


class TokenizerTask:
    """Detections in, true keypoints out, through the codebook (PCT stage 1)."""

    def __init__(self, tokenizer: KeypointTokenizer, windows: Source, device: torch.device):
        self.module = tokenizer
        self.windows = windows
        self.device = device

    def draw(self, clips: int, generator: Generator) -> Labelled:
        return self.windows.draw(clips, generator)

    def losses(self, batch: Labelled, generator: Generator) -> dict[str, Tensor]:
        window, target = to_device(batch, self.device)
        true, known = target.keypoints.flatten(0, 1), _judged(window, target).flatten(0, 1)
        visible = window.scores.flatten(0, 1) > 0
        # PCT drops a fifth of the joints; what it must then paint in is what occlusion asks of it.
        visible = visible & (torch.rand(visible.shape, device=self.device) > 0.2)
        reconstruction = self.module(window.keypoints.flatten(0, 1), visible)
        terms = tokenizer_losses(reconstruction, true, known)
        return {
            "reconstruction": terms["reconstruction"],
            "commitment": self.module.config.commitment * terms["commitment"],
        }

    @torch.no_grad()
    def evaluate(self, module: KeypointTokenizer) -> dict[str, float]:
        """Error in pixels of a 256-pixel crop, and how much of the codebook is in use."""
        module.eval()
        figures: dict[str, float] = {}
        for name, labelled in self.windows.held_out().items():
            window, target = to_device(labelled, self.device)
            true, known = target.keypoints.flatten(0, 1), _judged(window, target).flatten(0, 1)
            found = module(window.keypoints.flatten(0, 1), window.scores.flatten(0, 1) > 0)
            distance = torch.linalg.vector_norm(found.keypoints - true, dim=-1)
            if known.any():
                figures[f"{name}_pixels"] = 128 * float(distance[known].mean())
            indices = found.indices[window.valid.flatten()].flatten()
            used = torch.bincount(indices, minlength=module.config.codes)
            share = used / used.sum()
            entropy = -(share * share.clamp(min=1e-12).log()).sum()
            figures[f"{name}_perplexity"] = float(entropy.exp())
            figures[f"{name}_codes_used"] = float((used > 0).sum())
        return figures

    def save(self, module: KeypointTokenizer, path: Path) -> None:
        save_checkpoint(module, module.config, KEYPOINT_KIND, path, half=False)


class HmrTask:
    """Windows of what was seen in, bodies out."""

    def __init__(
        self,
        model: Hmr,
        windows: Source,
        weights: LossWeights,
        device: torch.device,
        lesson: Lesson,
        tals: TalsConfig | None = None,
    ):
        """What is learned is the lesson's.

        `readings`: frame tokens in their clip's context and what is read of them at once.
        `frames`: every frame is judged by itself, and what is temporal waits; `tals` judges by
        TokenHMR's losses in place of ours. `motion`: the temporal module, on what the frames,
        learned before, say; clips long enough for motion are few in a batch, and would wear the
        frames' part away. With a context all the rest is refined there too, since frames were
        learned in clips.
        """
        self.module = model
        self.windows = windows
        self.weights = weights
        self.device = device
        self.lesson: Lesson = lesson
        self.tals = tals
        self.body = windows.body if device.type == "cpu" else _copy_to(windows.body, device)
        self._frozen = self._freeze_the_rest()
        self._examples: dict[str, Labelled] | None = None

    def release(self, model: Hmr) -> None:
        """Let the next lesson train what this one kept still."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or name in self._frozen)

    def _freeze_the_rest(self) -> set[str]:
        """Keep still what the lesson does not train; returns what was not still before."""
        model = self.module
        before = {name for name, value in model.named_parameters() if value.requires_grad}
        if self.lesson == "readings":
            model.requires_grad_(False)
            for part in model.read_first():
                part.requires_grad_(True)
        elif self._motion_alone():
            model.requires_grad_(False)
            assert model.motion is not None, "asked just now"
            model.motion.requires_grad_(True)
        after = {name for name, value in model.named_parameters() if value.requires_grad}
        return before - after

    def _motion_alone(self) -> bool:
        model = self.module
        return self.lesson == "motion" and model.motion is not None and model.context is None

    def draw(self, clips: int, generator: Generator) -> Labelled:
        return self.windows.draw(clips, generator)

    def losses(self, batch: Labelled, generator: Generator) -> dict[str, Tensor]:
        hidden = self._hidden(batch[0], generator)
        window, target = to_device(batch, self.device)
        if self._motion_alone() and self.module.motion is not None:
            # What the frames say must not drift: no batch statistics, no dropout but in motion.
            self.module.eval()
            self.module.motion.train()
        prediction = self._predict(self.module, window, self.lesson != "frames", hidden)
        if self.tals is not None and self.lesson == "frames":
            # Truth in float32 whatever the loop trains in: bfloat16 is millimetres off.
            with torch.autocast(self.device.type, enabled=False):
                return tals_terms(prediction, target, window, self.body, self.tals)
        terms = body_losses(prediction, target, window)
        if self.lesson != "frames":
            terms |= smoothness_losses(prediction, target, window)
        if self.module.context is not None and self.lesson != "frames":
            terms |= self._alone(window, target)
        weights = self.weights.model_dump()
        return {name: weights[name.removeprefix(BY_ITSELF)] * term for name, term in terms.items()}

    def _predict(
        self, model: Hmr, window: CropWindow, temporal: bool, hidden: Tensor | None = None
    ) -> BodyPrediction:
        if self.lesson == "readings":
            return model.first_guess(window, self.body, temporal)
        return model(window, self.body, temporal, hidden)

    def _alone(self, window: CropWindow, target: BodyTarget) -> dict[str, Tensor]:
        """Some of the clips again, frame by frame: a single picture has no context."""
        some = slice(0, -(-len(window.times) // ALONE))
        window, target = mapped((window, target), lambda tensor: tensor[some])
        terms = body_losses(self._predict(self.module, window, temporal=False), target, window)
        return {BY_ITSELF + name: term / ALONE for name, term in terms.items()}

    def _hidden(self, window: CropWindow, generator: Generator) -> Bool[Tensor, "B T 24"] | None:
        """Joints to be reconstructed from the rest of their clip, if the temporal module asks."""
        motion = self.module.config.motion
        if self.lesson != "motion" or not isinstance(motion, TokenMotionConfig):
            return None
        if motion.mask_ratio == 0:
            return None
        return draw_hidden(window.valid, motion.mask_ratio, generator).to(self.device)

    @torch.no_grad()
    def evaluate(self, module: Hmr) -> dict[str, float]:
        """Errors on held-out windows, with and without the temporal module."""
        module.eval()
        figures: dict[str, float] = {}
        held_out = self.windows.held_out()
        self._show_some_of(held_out)
        for name, labelled in held_out.items():
            for kind, temporal in (("", True), ("_per_frame", False)):
                if temporal and self.lesson == "frames":
                    continue
                predicted = self._predicted(module, labelled, temporal)
                scores = _errors(*predicted, labelled)
                figures |= {f"{name}{kind}_{key}": value for key, value in scores.items()}
        return {key: round(value, 3) for key, value in figures.items()}

    @torch.no_grad()
    def show(self, module: Hmr, path: Path) -> None:
        """Draw a few of the windows that judge, with what the lesson teaches to say of them."""
        module.eval()
        seen, errors = [], []
        for name, labelled in self._show_some_of().items():
            joints, keypoints = self._predicted(module, labelled, self.lesson != "frames")
            for number in range(len(joints)):
                one = slice(number, number + 1)
                clip = mapped(labelled, lambda tensor, one=one: tensor[one])
                found = _errors(joints[one], keypoints[one], clip)
                errors += [found["mpjpe"]] if "mpjpe" in found else []
                title = looks.title(name, found.get("mpjpe"), found.get("pixels"))
                seen.append(looks.Look(title, *clip, keypoints[number]))
        looks.write_sheet(looks.sheet(seen, errors), path)

    def save(self, module: Hmr, path: Path) -> None:
        save_checkpoint(module, module.config, CHECKPOINT_KIND, path, half=True)

    def _show_some_of(self, held_out: Mapping[str, Labelled] | None = None) -> dict[str, Labelled]:
        """Those to show: copies of some, chosen once, as reading all again may take long."""
        if self._examples is None:
            self._examples = looks.chosen(held_out or self.windows.held_out())
        return self._examples

    def _predicted(
        self, module: Hmr, labelled: Labelled, temporal: bool
    ) -> tuple[Float[Tensor, "B T 24 3"], Float[Tensor, "B T J 2"]]:
        """Joints, and keypoints in the box."""
        joints, keypoints = [], []
        for some, _ in in_parts(labelled):
            prediction = self._predict(module, to_device(some, self.device), temporal)
            joints.append(prediction.joints.cpu())
            keypoints.append(prediction.keypoints.cpu())
        return torch.cat(joints), torch.cat(keypoints)


def _errors(
    joints: Float[Tensor, "B T 24 3"], keypoints: Float[Tensor, "B T J 2"], labelled: Labelled
) -> dict[str, float]:
    """Of predictions: `window_errors`, and pixels of a 256-pixel crop."""
    window, target = labelled
    known = window.valid[..., None] & target.has_joints
    figures = window_errors(joints, target.joints, known)
    seen = _judged(window, target)
    distance = torch.linalg.vector_norm(keypoints - target.keypoints, dim=-1)
    if seen.any():
        figures["pixels"] = 128 * float(distance[seen].mean())
    return figures


def window_errors(
    predicted: Float[Tensor, "B T 24 3"],
    true: Float[Tensor, "B T 24 3"],
    known: Bool[Tensor, "B T 24"] | None = None,
) -> dict[str, float]:
    """Millimetres, means over windows of 30 frames per second.

    A clip counts with the joints that are known in all of its frames that have any; without the
    pelvis it does not. Windows of fewer than three frames have no acceleration, and there is no
    figure of what no clip has.
    """
    if known is None:
        known = torch.ones(true.shape[:-1], dtype=torch.bool)
    values: dict[str, list[float]] = {}
    for ours, theirs, knows in zip(predicted, true, known, strict=True):
        frames = knows.any(-1)
        joints = (knows | ~frames[:, None]).all(0)
        if not frames.any() or not joints[0] or joints.sum() < LEAST_JOINTS:
            continue
        pair, valid = (ours[:, joints], theirs[:, joints]), frames
        found = {
            "mpjpe": metrics.mpjpe(*pair, valid=valid),
            "pa_mpjpe": metrics.pa_mpjpe(*pair, valid=valid),
        }
        if len(ours) > 2:
            found["acceleration_error"] = metrics.acceleration_error(*pair, valid=valid)
        for name, value in found.items():
            values.setdefault(name, []).append(float(value.mean()))
    return {name: float(torch.tensor(clips).nanmean()) for name, clips in values.items()}


def in_parts(labelled: Labelled) -> Iterator[Labelled]:
    """The same windows, a few clips at a time."""
    clips = len(labelled[0].valid)
    for first in range(0, clips, CLIPS_AT_ONCE):
        some = slice(first, first + CLIPS_AT_ONCE)
        yield mapped(labelled, lambda tensor, some=some: tensor[some])


def _copy_to(body: PosedBody, device: torch.device) -> PosedBody:
    return copy.deepcopy(body).to(device)


def _judged(window: CropWindow, target: BodyTarget) -> Bool[Tensor, "B T J"]:
    """Known keypoints that a crop can speak of at all: within half a box of its edge."""
    near = (target.keypoints.abs() < 2).all(-1)
    return window.valid[..., None] & target.has_keypoints & near
