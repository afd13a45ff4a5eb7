"""What one training step means for the keypoint tokenizer and for the body model."""

import copy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from temporal_hmr import metrics
from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.losses import LossWeights, body_losses, smoothness_losses, tokenizer_losses
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer

EVALUATION_CLIPS = 96
UNVARIED = Augmentation(
    frame_interval=(1 / 30, 1 / 30),
    speed=(1.0, 1.0),
    recombined_share=0.0,
    perturbed_share=0.0,
    assumed_focal_share=0.0,
)
"""Motion as it was captured, at 30 frames per second; bodies and cameras still vary."""

Moved = TypeVar("Moved")


@dataclass(frozen=True, eq=False)
class Windows:
    """Where training and held-out windows come from."""

    train: MotionBank
    held_out: MotionBank
    body: PosedBody
    augmentation: Augmentation
    noise: DetectorNoise
    frames: int

    def draw(self, clips: int, generator: Generator) -> tuple[CropWindow, BodyTarget]:
        """A batch to train on."""
        # Geometry in float32 whatever the loop trains in: bfloat16 truth shakes by millimetres.
        with torch.autocast("cpu", enabled=False):
            return synthesise(
                self.train,
                self.body,
                (clips, self.frames),
                self.augmentation,
                self.noise,
                generator,
            )

    def held_out_batch(self, noise: DetectorNoise) -> tuple[CropWindow, BodyTarget]:
        """The same held-out windows at every call, seen through the given detector."""
        shape = (EVALUATION_CLIPS, self.frames)
        generator = Generator().manual_seed(20)
        return synthesise(self.held_out, self.body, shape, UNVARIED, noise, generator)


class TokenizerTask:
    """Detections in, true keypoints out, through the codebook (PCT stage 1)."""

    def __init__(self, tokenizer: KeypointTokenizer, windows: Windows, device: torch.device):
        self.module = tokenizer
        self.windows = windows
        self.device = device

    def losses(self, clips: int, generator: Generator) -> dict[str, Tensor]:
        window, target = to_device(self.windows.draw(clips, generator), self.device)
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
        for name, noise in (("clean", CLEAN), ("noisy", self.windows.noise)):
            batch = to_device(self.windows.held_out_batch(noise), self.device)
            window, true = batch[0], batch[1].keypoints.flatten(0, 1)
            found = module(window.keypoints.flatten(0, 1), window.scores.flatten(0, 1) > 0)
            distance = torch.linalg.vector_norm(found.keypoints - true, dim=-1)
            figures[f"{name}_pixels"] = 128 * float(distance[_near_box(true)].mean())
            used = torch.bincount(found.indices.flatten(), minlength=module.config.codes)
            share = used / used.sum()
            entropy = -(share * share.clamp(min=1e-12).log()).sum()
            figures[f"{name}_perplexity"] = float(entropy.exp())
            figures[f"{name}_codes_used"] = float((used > 0).sum())
        return figures


class HmrTask:
    """Windows of detections in, bodies out."""

    def __init__(
        self,
        model: Hmr,
        windows: Windows,
        weights: LossWeights,
        device: torch.device,
        temporal: bool,
    ):
        """`temporal` trains the temporal module on what the frames, learned before, say.

        Without it every frame is judged by itself, and the temporal module waits. Clips long enough
        for motion are few in a batch, and would wear the frames' part away.
        """
        self.module = model
        self.windows = windows
        self.weights = weights
        self.device = device
        self.temporal = temporal
        self.body = windows.body if device.type == "cpu" else _copy_to(windows.body, device)
        if temporal and model.motion is not None:
            model.requires_grad_(False)
            model.motion.requires_grad_(True)

    def losses(self, clips: int, generator: Generator) -> dict[str, Tensor]:
        window, target = to_device(self.windows.draw(clips, generator), self.device)
        prediction = self.module(window, self.body, self.temporal)
        terms = body_losses(prediction, target, window)
        if self.temporal:
            terms |= smoothness_losses(prediction, target, window)
        weights = self.weights.model_dump()
        return {name: weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def evaluate(self, module: Hmr) -> dict[str, float]:
        """Errors on held-out windows, with and without the temporal module."""
        module.eval()
        figures: dict[str, float] = {}
        for name, noise in (("clean", CLEAN), ("noisy", self.windows.noise)):
            window, target = to_device(self.windows.held_out_batch(noise), self.device)
            for kind, temporal in (("", True), ("_per_frame", False)):
                if temporal and not self.temporal:
                    continue
                prediction = module(window, self.body, temporal)
                scores = window_errors(prediction.joints, target.joints)
                figures |= {f"{name}{kind}_{key}": value for key, value in scores.items()}
        return {key: round(value, 3) for key, value in figures.items()}


def window_errors(
    predicted: Float[Tensor, "B T 24 3"], true: Float[Tensor, "B T 24 3"]
) -> dict[str, float]:
    """Millimetres, means over windows of 30 frames per second.

    Windows of fewer than three frames have no acceleration, and no figure of it.
    """
    values = {
        "mpjpe": metrics.mpjpe(predicted, true),
        "pa_mpjpe": metrics.pa_mpjpe(predicted, true),
    }
    if predicted.shape[1] > 2:
        values["acceleration_error"] = metrics.acceleration_error(predicted, true)
    return {name: float(clips.mean().mean()) for name, clips in values.items()}


def to_device(values: Moved, device: torch.device) -> Moved:
    """Tensors inside (nested) dataclasses or tuples, moved; everything else as it is."""
    if isinstance(values, Tensor):
        return values.to(device, non_blocking=True)  # type: ignore[return-value]
    if isinstance(values, tuple):
        return type(values)(to_device(value, device) for value in values)  # type: ignore[return-value]
    if is_dataclass(values):
        moved: dict[str, Any] = {
            field.name: to_device(getattr(values, field.name), device) for field in fields(values)
        }
        return type(values)(**moved)  # type: ignore[return-value]
    return values


def _copy_to(body: PosedBody, device: torch.device) -> PosedBody:
    return copy.deepcopy(body).to(device)


def _near_box(keypoints: Float[Tensor, "N joints 2"]) -> Tensor:
    """Joints that a crop can speak of at all: within half a box of its edge."""
    return (keypoints.abs() < 2).all(-1)
