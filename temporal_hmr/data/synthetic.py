"""Motion capture seen through random cameras: training windows with known truth."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.configuration import Config
from temporal_hmr.crops import cut_window, readable, to_box
from temporal_hmr.data.detector_noise import DetectorNoise, detect, draw_blazepose, smooth_noise
from temporal_hmr.data.mocap import MocapTake, share_shoulder_elevation
from temporal_hmr.data.read_people import Readings
from temporal_hmr.data.scene import Scene
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rendering.renderer import Renderer
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from temporal_hmr.skeleton import SMPL24

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Augmentation(Config):
    """How motion, body and camera vary."""

    frame_interval: tuple[Positive, Positive] = (1 / 60, 1 / 10)
    """Seconds between frames; a third of the clips have exactly 1/30."""
    speed: tuple[Positive, Positive] = (0.8, 1.25)
    """Playback speed of the motion."""
    recombined_share: float = Field(default=0.2, ge=0, le=1)
    """Share of clips whose trunk, left arm or right arm comes from another take than their legs."""
    perturbed_share: float = Field(default=0.4, ge=0, le=1)
    """Share of clips with slowly varying extra rotations at the joints."""
    shape_spread: float = Field(default=1.0, ge=0)
    """Standard deviation of the betas."""
    focal: tuple[Positive, Positive] = (0.7, 1.8)
    """Range of focal length over image diagonal."""
    assumed_focal_share: float = Field(default=0.5, ge=0, le=1)
    """Share of clips that are told the image diagonal instead of their focal length."""


@dataclass(frozen=True, eq=False)
class MotionBank:
    """All takes end to end, ready to be sampled at any time."""

    sixd: Float[Tensor, "N 24 6"]
    translation: Float[Tensor, "N 3"]
    starts: Int[Tensor, "takes"]
    lengths: Int[Tensor, "takes"]
    fps: Float[Tensor, "takes"]

    @staticmethod
    def of(takes: list[MocapTake]) -> "MotionBank":
        """Takes of at least two frames; collars get their share of the arms' elevation."""
        takes = [take for take in takes if len(take.rotations) > 1]
        if not takes:
            raise InputError("no take of motion capture has two frames or more")
        lengths = torch.tensor([len(take.rotations) for take in takes])
        return MotionBank(
            torch.cat([matrix_to_sixd(share_shoulder_elevation(t.rotations)) for t in takes]),
            torch.cat([take.translation for take in takes]),
            lengths.cumsum(0) - lengths,
            lengths,
            torch.tensor([take.fps for take in takes]),
        )

    def draw(
        self, times: Float[Tensor, "B T"], generator: Generator
    ) -> tuple[Float[Tensor, "B T 24 3 3"], Float[Tensor, "B T 3"]]:
        """Random stretches of random takes at the given times (seconds from the stretch's start).

        Takes are drawn in proportion to their length; one too short for the clip stands still in
        its last frame.
        """
        batch = len(times)
        duration = self.lengths / self.fps
        take = torch.multinomial(duration, batch, replacement=True, generator=generator)
        slack = (duration[take] - times[:, -1] - 1 / self.fps[take]).clamp(min=0)
        begin = torch.rand(batch, generator=generator) * slack
        return self.at(take, begin[:, None] + times)

    def at(
        self, take: Int[Tensor, "B"], times: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T 24 3 3"], Float[Tensor, "B T 3"]]:
        """Poses of given takes at given times, interpolated between frames."""
        last = (self.lengths[take] - 1)[:, None]
        position = (times * self.fps[take][:, None]).clamp(min=0).minimum(last.float())
        first = position.floor().long().minimum(last - 1)
        fraction = (position - first)[..., None]
        index = self.starts[take][:, None] + first
        before = (index - 1).maximum(self.starts[take][:, None])
        after = (index + 2).minimum(self.starts[take][:, None] + last)
        corners = [before, index, index + 1, after]
        # Blending 6D and re-orthonormalising: neighbouring frames are a few degrees apart.
        sixd = _through([self.sixd[corner] for corner in corners], fraction[..., None])
        translation = _through([self.translation[corner] for corner in corners], fraction)
        return sixd_to_matrix(sixd), translation


def _through(corners: list[Tensor], fraction: Tensor) -> Tensor:
    """Catmull-Rom spline between the second and third of four samples.

    Straight lines between samples would put a jolt at every one of them, and a model that sees more
    frames than were captured would learn to reproduce it.
    """
    before, first, second, after = corners
    slope_in, slope_out = (second - before) / 2, (after - first) / 2
    rise = second - first
    cubic = slope_in + slope_out - 2 * rise
    square = 3 * rise - 2 * slope_in - slope_out
    return first + fraction * (slope_in + fraction * (square + fraction * cubic))


def synthesise(
    bank: MotionBank,
    body: PosedBody,
    shape: tuple[int, int],
    augmentation: Augmentation,
    noise: DetectorNoise,
    generator: Generator,
    renderer: Renderer | None = None,
    readings: Readings | None = None,
) -> tuple[CropWindow, BodyTarget]:
    """A batch of windows (`shape` = clips, frames) and their truth.

    With a renderer the windows have images, and what stands in the way in them hides keypoints.
    Without one, some may be `readings`.
    """
    times = _frame_times(shape, augmentation, generator)
    rotations, translation = _motion(bank, times, augmentation, generator)
    betas = augmentation.shape_spread * torch.randn(shape[0], 1, 10, generator=generator)
    betas = betas.clamp(-3, 3).expand(*shape, 10)
    scene = place(rotations, translation, betas, times, body, augmentation, generator)
    if renderer is None:
        focal_share = augmentation.assumed_focal_share
        return observe(scene, body, noise, focal_share, generator, readings=readings)
    points = body.body.regress(scene.smpl, body.detector_points)
    around = renderer.surround(scene, points, bank.draw(times, generator), generator)
    window, target = observe(
        scene, body, noise, augmentation.assumed_focal_share, generator, around.hidden
    )
    images = renderer.draw(scene, around, window, generator)
    return replace(window, images=images), target


def observe(
    scene: Scene,
    body: PosedBody,
    noise: DetectorNoise,
    assumed_focal_share: float,
    generator: Generator,
    hidden: Bool[Tensor, "B T J"] | None = None,
    readings: Readings | None = None,
) -> tuple[CropWindow, BodyTarget]:
    """What a detector reports of a scene, cut into windows, with the truth beside it.

    `hidden` says which keypoints are behind something; without it things are made up. Some clips
    may be `readings`. Short gaps are bridged, as they are in use.
    """
    pixels = scene.project(body.body.regress(scene.smpl, body.detector_points))
    blazepose = draw_blazepose(noise, len(pixels), generator)
    elsewhere = scene.project(body.body.regress(scene.smpl, body.blazepose_points))
    meant = torch.where(blazepose[:, None, None, None], elsewhere, pixels)
    detections = detect(meant, scene.times, scene.image_size, noise, generator, blazepose, hidden)
    if readings is not None:
        scene, detections = readings.mixed_in(scene, elsewhere, detections, body, generator)
        pixels = scene.project(body.body.regress(scene.smpl, body.detector_points))
    detections = detections.bridged(scene.times)
    told = _told_focal(scene, assumed_focal_share, generator)
    # A clip in which next to nothing is seen would only teach guessing.
    valid = readable(detections.scores)[:, None].expand_as(scene.times)
    scores = detections.scores * valid[..., None]
    window = cut_window(
        detections.pixels,
        scores,
        scene.times,
        valid,
        told[:, None].expand(-1, 2),
        scene.image_size / 2,
    )
    smpl = _as_seen_with(told, scene, body)
    keypoints = to_box(pixels, window.box_center, window.box_size)
    return window, exact_target(smpl, body.body.joints(smpl), keypoints)


def exact_target(
    smpl: SmplParams, joints: Float[Tensor, "B T 24 3"], keypoints: Float[Tensor, "B T J 2"]
) -> BodyTarget:
    """Truth of which nothing is unknown."""

    def known(of: Tensor) -> Bool[Tensor, "*b"]:
        return torch.ones(of.shape[:-1], dtype=torch.bool, device=of.device)

    return BodyTarget(
        smpl=smpl,
        joints=joints,
        keypoints=keypoints,
        has_smpl=known(smpl.betas),
        has_joints=known(joints),
        has_keypoints=known(keypoints),
        trusted=torch.ones(len(joints), dtype=torch.bool, device=joints.device),
    )


def _frame_times(
    shape: tuple[int, int], augmentation: Augmentation, generator: Generator
) -> Float[Tensor, "B T"]:
    clips, frames = shape
    low, high = (torch.tensor(edge).log() for edge in augmentation.frame_interval)
    interval = torch.exp(low + (high - low) * torch.rand(clips, generator=generator))
    usual = torch.rand(clips, generator=generator) < 1 / 3
    interval = torch.where(usual, 1 / 30, interval)
    return interval[:, None] * torch.arange(frames)


def _motion(
    bank: MotionBank, times: Float[Tensor, "B T"], augmentation: Augmentation, generator: Generator
) -> tuple[Float[Tensor, "B T 24 3 3"], Float[Tensor, "B T 3"]]:
    """World motion (Y up), varied: speed, halves of two takes, small rotations, mirror."""
    clips = len(times)

    def chance(share: float) -> Tensor:
        return torch.rand(clips, 1, 1, 1, 1, generator=generator) < share

    low, high = augmentation.speed
    speed = low + (high - low) * torch.rand(clips, 1, generator=generator)
    rotations, translation = bank.draw(times * speed, generator)
    other, _ = bank.draw(times * speed, generator)
    exchanged = _some_parts(clips, generator)[..., None, None]
    exchanged = exchanged & chance(augmentation.recombined_share)
    rotations = torch.where(exchanged, other, rotations)
    spread = torch.tensor([_PERTURBATION.get(_part_of(joint), 0.08) for joint in SMPL24.joints])
    wobble = smooth_noise(times, 72, 0.7, generator).unflatten(-1, (24, 3)) * spread[:, None]
    constant = torch.randn(clips, 1, 24, 3, generator=generator) * spread[:, None]
    extra = axis_angle_to_matrix(0.5 * wobble + constant)
    rotations = torch.where(chance(augmentation.perturbed_share), rotations @ extra, rotations)
    mirror = chance(0.5)
    rotations = torch.where(mirror, flip_rotations(rotations), rotations)
    across = torch.tensor([-1.0, 1.0, 1.0])
    return rotations, torch.where(mirror[..., 0, 0], translation * across, translation)


_PERTURBATION = {
    "pelvis": 0.0,
    "head": 0.15,
    "neck": 0.12,
    "wrist": 0.25,
    "hand": 0.1,
    "foot": 0.1,
    "ankle": 0.12,
    "elbow": 0.12,
    "shoulder": 0.12,
}
"""Radians of extra rotation; more where the captured data is stiff (wrists, head, feet)."""


def _part_of(joint: str) -> str:
    return joint.removeprefix("left_").removeprefix("right_")


def _some_parts(clips: int, generator: Generator) -> Bool[Tensor, "B 1 24"]:
    """Joints of trunk and head, of the left and of the right arm: each in half of the clips."""
    chosen = torch.rand(clips, 1, 4, generator=generator) < torch.tensor([0.0, 0.5, 0.5, 0.5])
    return chosen[..., [_part_number(joint) for joint in SMPL24.joints]]


def _part_number(joint: str) -> int:
    """0 are pelvis and legs, 1 trunk and head, 2 the left arm, 3 the right arm."""
    part = _part_of(joint)
    if part in {"pelvis", "hip", "knee", "ankle", "foot"}:
        return 0
    if part not in {"collar", "shoulder", "elbow", "wrist", "hand"}:
        return 1
    return 2 if joint.startswith("left") else 3


def place(
    rotations: Float[Tensor, "B T 24 3 3"],
    translation: Float[Tensor, "B T 3"],
    betas: Float[Tensor, "B T 10"],
    times: Float[Tensor, "B T"],
    body: PosedBody,
    augmentation: Augmentation,
    generator: Generator,
) -> Scene:
    """Put the world before random cameras: any direction and distance, some of them moving."""
    clips, frames = times.shape

    def uniform(low: float, high: float) -> Float[Tensor, "B"]:
        return low + (high - low) * torch.rand(clips, generator=generator)

    portrait = uniform(0, 1) < 0.5
    long_side, short_side = torch.full((clips,), 1920.0), uniform(1080, 1440)
    size = torch.stack(
        [
            torch.where(portrait, short_side, long_side),
            torch.where(portrait, long_side, short_side),
        ],
        -1,
    )
    focal = size.norm(dim=-1) * torch.exp(uniform(*(_log(edge) for edge in augmentation.focal)))
    # A person of 1.7 m spans this share of the shorter side.
    share = torch.exp(uniform(_log(0.25), _log(1.3)))
    distance = (focal * 1.7 / (share * size.amin(-1))).clamp(min=1.8)

    world_to_camera = _camera_rotation(times, generator)
    middle = translation[:, frames // 2 : frames // 2 + 1]
    follows = torch.where(uniform(0, 1) < 0.5, uniform(0, 1), 0.0)[:, None, None]
    drift = translation - middle
    path = drift - follows * drift.mean(1, keepdim=True) - follows * _slowly(drift)
    across = torch.stack([uniform(-0.5, 0.5), uniform(-0.35, 0.35)], -1) * size
    ahead = torch.cat([across / focal[:, None] * distance[:, None], distance[:, None]], -1)
    pelvis = (world_to_camera @ path[..., None])[..., 0] + ahead[:, None]
    # Someone who walks into the lens is set back as a whole: the motion itself stays true.
    near = pelvis[..., 2].amin(1)
    pelvis = pelvis + functional.pad((1.5 - near).clamp(min=0)[:, None, None], (2, 0))

    orient = world_to_camera @ rotations[:, :, 0]
    rotations = torch.cat([orient[:, :, None], rotations[:, :, 1:]], 2)
    rest = body.pelvis_at_rest(betas)
    smpl = SmplParams.from_rotations(rotations, betas, pelvis - rest)
    origin = pelvis - (world_to_camera @ (translation + rest)[..., None])[..., 0]
    return Scene(smpl, times, focal, size, world_to_camera, origin)


def _log(value: float) -> float:
    return float(torch.tensor(value).log())


def _slowly(path: Float[Tensor, "B T 3"]) -> Float[Tensor, "B T 3"]:
    """The straight line through a path, as a camera that follows would take it."""
    frames = path.shape[1]
    ramp = torch.linspace(-1, 1, frames)[None, :, None]
    slope = (path * ramp).sum(1, keepdim=True) / (ramp**2).sum().clamp(min=1e-9)
    return slope * ramp


def _camera_rotation(times: Float[Tensor, "B T"], generator: Generator) -> Float[Tensor, "B T 3 3"]:
    """World (Y up) to camera (y down): any heading, mostly level, sometimes steep, shaky."""
    clips = len(times)
    heading = 2 * torch.pi * torch.rand(clips, generator=generator)
    pitch = 0.2 * torch.randn(clips, generator=generator) + 0.1
    steep = torch.rand(clips, generator=generator) < 0.15
    pitch = torch.where(steep, 2.2 * torch.rand(clips, generator=generator) - 0.9, pitch)
    roll = 0.08 * torch.randn(clips, generator=generator)
    zero = torch.zeros(clips)
    yawed = axis_angle_to_matrix(torch.stack([zero, heading, zero], -1))
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    # Positive pitch looks down: it turns the far end of the floor up the image.
    pitched = axis_angle_to_matrix(torch.stack([pitch, zero, zero], -1))
    rolled = axis_angle_to_matrix(torch.stack([zero, zero, roll], -1))
    steady = rolled @ pitched @ upright @ yawed
    amplitude = 0.03 * torch.randn(clips, 1, 1, generator=generator)
    shake = axis_angle_to_matrix(amplitude * smooth_noise(times, 3, 1.0, generator))
    return shake @ steady[:, None]


def _told_focal(scene: Scene, assumed_share: float, generator: Generator) -> Float[Tensor, "B"]:
    diagonal = scene.image_size.norm(dim=-1)
    assumed = torch.rand(len(diagonal), generator=generator) < assumed_share
    return torch.where(assumed, diagonal, scene.focal)


def _as_seen_with(focal: Float[Tensor, "B"], scene: Scene, body: PosedBody) -> SmplParams:
    """The scene as someone with another focal length must explain the same image.

    Depth scales with the focal length while the pelvis keeps its pixel, and the body turns with the
    ray on which it is seen; exact for a person much smaller than their distance.
    """
    rest = body.pelvis_at_rest(scene.smpl.betas)
    pelvis = rest + scene.smpl.transl
    ratio = (focal / scene.focal)[:, None]
    moved = torch.cat([pelvis[..., :2], (pelvis[..., 2] * ratio)[..., None]], -1)
    smpl = scene.smpl
    orient = turn_between(pelvis, moved) @ smpl.global_orient
    return SmplParams(orient, smpl.body_pose, smpl.betas, moved - rest)


def turn_between(
    source: Float[Tensor, "*b 3"], target: Float[Tensor, "*b 3"]
) -> Float[Tensor, "*b 3 3"]:
    """The shortest rotation from one direction to another."""
    source, target = (functional.normalize(vector, dim=-1) for vector in (source, target))
    axis = torch.linalg.cross(source, target)
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    angle = torch.atan2(sine, (source * target).sum(-1, keepdim=True))
    return axis_angle_to_matrix(axis / sine.clamp(min=1e-9) * angle)
