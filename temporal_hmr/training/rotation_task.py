"""Learning the codebook of rotations from motion capture (TokenHMR, section 3.2)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.configuration import Config
from temporal_hmr.data.mocap import MocapTake, TakesConfig, split_subjects
from temporal_hmr.data.synthetic import MotionBank
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.rotations import TOKENISED, RotationTokenizer, RotationTokenizerConfig
from temporal_hmr.training.distributed import is_first
from temporal_hmr.training.loop import LoopSettings, fit

EVALUATION_POSES = 1024
CHECKPOINT_KIND = "rotation-tokenizer"
BODY_PARTS = (
    ("neck", "head"),
    ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    ("left_hip", "left_knee", "left_ankle", "left_foot"),
    ("right_hip", "right_knee", "right_ankle", "right_foot"),
)
"""What the noise disturbs together: the published parts."""


class PartNoise(Config):
    """Disturbed inputs whose undisturbed pose is to be found again.

    The published trainer meant to add numbers to the six of a joint, and added none. Ours turns
    the joints, so that the input remains a pose.
    """

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the poses that get it, each in one random part of the body."""
    spread: float = Field(default=0.1, ge=0)
    """Standard deviation of the extra rotation about each axis, radians."""


class RotationLossWeights(Config):
    """Weights of the terms, as published."""

    rotations: float = 20.0
    vertices: float = 100.0
    joints: float = 100.0
    commitment: float = 1.0


class RotationTrainingConfig(TakesConfig):
    """A whole run: one YAML file."""

    held_out: tuple[str, ...] = ()
    """Subjects (folder names) for evaluation only."""
    ignored: tuple[str, ...] = ()
    """Subjects used for neither."""
    tokenizer: RotationTokenizerConfig = RotationTokenizerConfig()
    losses: RotationLossWeights = RotationLossWeights()
    noise: PartNoise | None = None
    mirrored_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the training poses that are mirrored; none as published."""
    vertices: int = Field(default=0, ge=0)
    """Random vertices that a step compares; 0 compares all, as published."""
    training: LoopSettings
    """Its `clips` are poses here."""


@dataclass(frozen=True, eq=False)
class Poses:
    """Where training and held-out poses come from."""

    train: MotionBank
    held_out: MotionBank

    @staticmethod
    def of(takes: list[MocapTake], held_out: set[str], ignored: set[str]) -> "Poses":
        """Whole subjects on one side; raises `InputError` if one side stays empty."""
        training, evaluation = split_subjects(takes, held_out, ignored)
        return Poses(MotionBank.of(training), MotionBank.of(evaluation))


class RotationTask:
    """Body poses in, the same poses out, through the codebook."""

    def __init__(
        self,
        tokenizer: RotationTokenizer,
        poses: Poses,
        body: BodyModel,
        config: RotationTrainingConfig,
        device: torch.device,
    ):
        self.module = tokenizer
        self.poses = poses
        self.body = body.to(device)
        self.config = config
        self.device = device
        self.vertex_weights = area_weights(self.body)

    def draw(self, clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """True rotations [N 24 3 3], and those of the tokenised joints as they are shown."""
        true = draw_poses(self.poses.train, clips, generator)
        mirrored = torch.rand(clips, 1, 1, 1, generator=generator) < self.config.mirrored_share
        true = torch.where(mirrored, flip_rotations(true), true)
        shown = true[:, SMPL24.indices(*TOKENISED)]
        if self.config.noise is not None:
            shown = with_part_noise(shown, self.config.noise, generator)
        return true, shown

    def losses(self, batch: tuple[Tensor, Tensor], generator: Generator) -> dict[str, Tensor]:
        """20 rotations + 100 vertices + 100 joints + 1 commitment, each a mean of squares."""
        true, shown = batch
        true, which = true.to(self.device), self._some_vertices(generator)
        found = self.module(shown.to(self.device))
        # Geometry in float32 whatever the loop trains in.
        with torch.autocast(self.device.type, enabled=False):
            rotations = found.rotations.float()
            posed, truth = at_rest_root(rotations), at_rest_root(true[:, 1:22])
            off = self.body.vertices(posed, which) - self.body.vertices(truth, which)
            apart = self.body.joints(posed) - self.body.joints(truth)
            terms = {
                "rotations": ((rotations - true[:, 1:22]) ** 2).mean(),
                "vertices": (self.vertex_weights[which][:, None] * off**2).mean(),
                "joints": (apart[:, 1:22] ** 2).mean(),
                "commitment": found.commitment,
            }
        weights = self.config.losses.model_dump()
        return {name: weights[name] * term for name, term in terms.items()}

    def _some_vertices(self, generator: Generator) -> Tensor:
        count = len(self.vertex_weights)
        if self.config.vertices in range(1, count):
            return torch.randperm(count, generator=generator)[: self.config.vertices].to(
                self.device
            )
        return torch.arange(count, device=self.device)

    @torch.no_grad()
    def evaluate(self, module: RotationTokenizer) -> dict[str, float]:
        """Errors on the same held-out poses at every call, and how much of the codebook is used."""
        module.eval()
        true = draw_poses(self.poses.held_out, EVALUATION_POSES, Generator().manual_seed(20))
        true = true[:, 1:22].to(self.device)
        found = module(true)
        posed, truth = at_rest_root(found.rotations), at_rest_root(true)
        apart = self.body.joints(posed) - self.body.joints(truth)
        off = self.body.vertices(posed) - self.body.vertices(truth)
        used = torch.bincount(found.indices.flatten(), minlength=module.config.codes)
        share = used / used.sum()
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        figures = {
            "joints_mm": 1000 * apart[:, 1:22].norm(dim=-1).mean(),
            "vertices_mm": 1000 * off.norm(dim=-1).mean(),
            "degrees": geodesic_angle(found.rotations, true).rad2deg().mean(),
            "codes_used": (used > 0).sum(),
            "perplexity": entropy.exp(),
        }
        return {name: round(float(value), 3) for name, value in figures.items()}

    def save(self, module: RotationTokenizer, path: Path) -> None:
        save_checkpoint(module, module.config, CHECKPOINT_KIND, path, half=False)


def draw_poses(bank: MotionBank, count: int, generator: Generator) -> Float[Tensor, "N 24 3 3"]:
    """Single frames, each moment of the bank as likely as any other."""
    with torch.autocast("cpu", enabled=False):
        return bank.draw(torch.zeros(count, 1), generator)[0][:, 0]


def at_rest_root(rotations: Float[Tensor, "N 21 3 3"]) -> SmplParams:
    """Bodies of mean shape that stand at the origin as SMPL's rest pose does, hands at rest."""
    count = len(rotations)
    still = torch.eye(3).to(rotations).expand(count, 2, 3, 3)
    zeros = rotations.new_zeros(count, 13)
    return SmplParams(still[:, 0], torch.cat([rotations, still], 1), zeros[:, 3:], zeros[:, :3])


def area_weights(body: BodyModel) -> Float[Tensor, "V"]:
    """For each vertex the sum over its triangles of their area, scaled to 0..1 over the mesh."""
    corners = body.v_template[body.faces]
    sides = corners[:, 1:] - corners[:, :1]
    area = torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=-1)
    area = (area - area.min()) / (area.max() - area.min())
    weights = torch.zeros_like(body.v_template[:, 0])
    return weights.index_add_(0, body.faces.flatten(), area.repeat_interleave(3))


def with_part_noise(
    rotations: Float[Tensor, "N 21 3 3"], noise: PartNoise, generator: Generator
) -> Float[Tensor, "N 21 3 3"]:
    """A copy in which some poses have the joints of one part turned a little."""
    count = len(rotations)
    parts = torch.tensor([[joint in part for joint in TOKENISED] for part in BODY_PARTS])
    part = parts[torch.randint(len(parts), (count,), generator=generator)]
    chosen = torch.rand(count, 1, generator=generator) < noise.share
    turn = noise.spread * torch.randn(count, len(TOKENISED), 3, generator=generator)
    disturbed = (part & chosen)[..., None, None]
    return torch.where(disturbed, rotations @ axis_angle_to_matrix(turn), rotations)


def train_rotations(
    config: RotationTrainingConfig,
    takes: list[MocapTake],
    body: BodyModel,
    folder: Path,
    device: torch.device,
) -> Path:
    """Train, resuming what lies unfinished in the folder; returns the path of the weights."""
    poses = Poses.of(takes, set(config.held_out), set(config.ignored))
    torch.manual_seed(config.training.seed)
    task = RotationTask(RotationTokenizer(config.tokenizer), poses, body, config, device)
    tokenizer = fit(task, config.training, folder, device)
    path = folder / "rotation_tokenizer.safetensors"
    if is_first():
        task.save(tokenizer, path)
    return path
