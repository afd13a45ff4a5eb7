"""What one training step means for the keypoint tokenizer and for the body model."""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from temporal_hmr import metrics
from temporal_hmr.batch import CropWindow
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.losses import LossWeights, body_losses, smoothness_losses, tokenizer_losses
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.token_motion import TokenMotionConfig, draw_hidden
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer
from temporal_hmr.training.batches import mapped, to_device
from temporal_hmr.training.sources import Labelled, Source
from temporal_hmr.training.tals_terms import tals_terms

KEYPOINT_KIND = "keypoint-tokenizer"
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
        true = target.keypoints.flatten(0, 1)
        visible = window.scores.flatten(0, 1) > 0
        known = window.valid.flatten()[:, None] & _near_box(true)
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
            true = target.keypoints.flatten(0, 1)
            found = module(window.keypoints.flatten(0, 1), window.scores.flatten(0, 1) > 0)
            distance = torch.linalg.vector_norm(found.keypoints - true, dim=-1)
            figures[f"{name}_pixels"] = 128 * float(distance[_near_box(true)].mean())
            used = torch.bincount(found.indices.flatten(), minlength=module.config.codes)
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
        temporal: bool,
        tals: TalsConfig | None = None,
    ):
        """`temporal` trains the temporal module on what the frames, learned before, say.

        Without it every frame is judged by itself, and the temporal module waits. Clips long enough
        for motion are few in a batch, and would wear the frames' part away. `tals` judges single
        frames by TokenHMR's losses in place of ours.
        """
        self.module = model
        self.windows = windows
        self.weights = weights
        self.device = device
        self.temporal = temporal
        self.tals = tals
        self.body = windows.body if device.type == "cpu" else _copy_to(windows.body, device)
        if temporal and model.motion is not None:
            model.requires_grad_(False)
            model.motion.requires_grad_(True)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        return self.windows.draw(clips, generator)

    def losses(self, batch: Labelled, generator: Generator) -> dict[str, Tensor]:
        hidden = self._hidden(batch[0], generator)
        window, target = to_device(batch, self.device)
        if self.temporal and self.module.motion is not None:
            # What the frames say must not drift: no batch statistics, no dropout but in motion.
            self.module.eval()
            self.module.motion.train()
        prediction = self.module(window, self.body, self.temporal, hidden)
        if self.tals is not None and not self.temporal:
            # Truth in float32 whatever the loop trains in: bfloat16 is millimetres off.
            with torch.autocast(self.device.type, enabled=False):
                return tals_terms(prediction, target, window, self.body, self.tals)
        terms = body_losses(prediction, target, window)
        if self.temporal:
            terms |= smoothness_losses(prediction, target, window)
        weights = self.weights.model_dump()
        return {name: weights[name] * term for name, term in terms.items()}

    def _hidden(self, window: CropWindow, generator: Generator) -> Bool[Tensor, "B T 24"] | None:
        """Joints to be reconstructed from the rest of their clip, if the temporal module asks."""
        motion = self.module.config.motion
        if not (self.temporal and isinstance(motion, TokenMotionConfig) and motion.mask_ratio > 0):
            return None
        return draw_hidden(window.valid, motion.mask_ratio, generator).to(self.device)

    @torch.no_grad()
    def evaluate(self, module: Hmr) -> dict[str, float]:
        """Errors on held-out windows, with and without the temporal module."""
        module.eval()
        figures: dict[str, float] = {}
        for name, labelled in self.windows.held_out().items():
            for kind, temporal in (("", True), ("_per_frame", False)):
                if temporal and not self.temporal:
                    continue
                scores = self._errors(module, labelled, temporal)
                figures |= {f"{name}{kind}_{key}": value for key, value in scores.items()}
        return {key: round(value, 3) for key, value in figures.items()}

    def save(self, module: Hmr, path: Path) -> None:
        save_checkpoint(module, module.config, CHECKPOINT_KIND, path, half=True)

    def _errors(self, module: Hmr, labelled: Labelled, temporal: bool) -> dict[str, float]:
        window, target = labelled
        joints, keypoints = [], []
        for some, _ in in_parts(labelled):
            prediction = module(to_device(some, self.device), self.body, temporal)
            joints.append(prediction.joints.cpu())
            keypoints.append(prediction.keypoints.cpu())
        known = window.valid[..., None] & target.has_joints
        figures = window_errors(torch.cat(joints), target.joints, known)
        seen = window.valid[..., None] & target.has_keypoints & _near_box(target.keypoints)
        distance = torch.linalg.vector_norm(torch.cat(keypoints) - target.keypoints, dim=-1)
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


def _near_box(keypoints: Float[Tensor, "N joints 2"]) -> Tensor:
    """Joints that a crop can speak of at all: within half a box of its edge."""
    return (keypoints.abs() < 2).all(-1)
