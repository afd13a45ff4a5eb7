"""What a 2D detector does to true keypoints: noise that lingers, confidences that know, gaps.

White noise teaches a network that averaging two frames is enough. Real detectors err slowly (a
wrong guess lasts), know roughly when they err (confidence), put joints a little elsewhere than our
body does (definition), lose joints behind things and beyond the image border, and swap sides.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from temporal_hmr.bridging import BRIDGED_AT_FIRST, filled
from temporal_hmr.configuration import Config
from temporal_hmr.skeleton import COCO23, Skeleton


class DetectorNoise(Config):
    """How bad the detector is; lengths are fractions of the person's extent in the image."""

    clean_share: float = Field(default=0.1, ge=0, le=1)
    """Share of clips that are passed on untouched."""
    jitter: float = Field(default=0.002, ge=0)
    """Standard deviation of the noise that is new in every frame."""
    jitter_spread: float = Field(default=0.0, ge=0)
    """Standard deviation of the logarithm of that from clip to clip."""
    drift: float = Field(default=0.006, ge=0)
    """Standard deviation of the noise that lingers."""
    definition: float = Field(default=0.012, ge=0)
    """Constant offset of each joint over a clip: the detector means another point than we do."""
    difficult_gain: float = Field(default=6.0, ge=0)
    """How many times larger the noise is where the detector is lost than where it is sure."""
    missing: float = Field(default=0.2, ge=0, le=1)
    """Upper end of the share of joints missing at random in a clip."""
    least_missing: float = Field(default=-0.2, le=1)
    """Lower end of it; shares below 0 are 0."""
    gives_up: bool = True
    """Whether it says nothing of joints that are most difficult, besides."""
    blackout_share: float = Field(default=0.15, ge=0, le=1)
    """Share of clips in which the person goes unseen for a while."""
    border_known: float = Field(default=0.85, ge=0, le=1)
    """Share of clips whose detector reports nothing beyond the border of the image."""
    occluder_share: float = Field(default=0.35, ge=0, le=1)
    """Share of clips with something standing or passing in front."""
    swap_share: float = Field(default=0.05, ge=0, le=1)
    """Share of clips in which left and right are confused for a while."""
    jump_share: float = Field(default=0.0, ge=0, le=1)
    """Share of clips in which joints and whole limbs jump elsewhere for a few frames, and say
    nothing of it in their confidence: what BlazePose does to small and crowded people."""
    jump_size: float = Field(default=0.1, ge=0)
    """Usual distance of a jump."""
    blazepose_share: float = Field(default=0.8, ge=0, le=1)
    """Share of clips whose detector is BlazePose: it means points of its own, and no small toes."""
    feet_absent: float = Field(default=0.5, ge=0, le=1)
    """Share of the other clips whose detector knows COCO's 17 joints alone."""


CLEAN = DetectorNoise(
    clean_share=1.0,
    missing=0.0,
    least_missing=0.0,
    border_known=0.0,
    blackout_share=0.0,
    occluder_share=0.0,
    swap_share=0.0,
    blazepose_share=0.0,
    feet_absent=0.0,
)
"""A detector that makes no mistake."""
SIMPLE = DetectorNoise(
    clean_share=0.0,
    jitter=0.01,
    drift=0.0,
    definition=0.0,
    difficult_gain=0.0,
    missing=0.2,
    least_missing=0.2,
    gives_up=False,
    border_known=0.0,
    blackout_share=0.0,
    occluder_share=0.0,
    swap_share=0.0,
    blazepose_share=0.0,
    feet_absent=0.0,
)
"""What papers often add to keypoints: about a hundredth of the person's extent, new in every frame,
and a fifth of the joints missing, for some tenths of a second at a time. Hips and wrists have half
as much again, and every clip a factor of its own (lognormal, sigma 0.5)."""

_UNSTEADY = {"hip": 1.5, "wrist": 1.4, "ankle": 1.2, "elbow": 1.1, "toe": 1.4, "heel": 1.2}
"""Relative noise of the joints that detectors place worst."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Keypoints as a detector might report them."""

    pixels: Float[Tensor, "B T J 2"]
    scores: Float[Tensor, "B T J"]

    def bridged(self, times: Float[Tensor, "B T"]) -> "Detections":
        """With short gaps filled, as models are shown them (`bridging`)."""
        keypoints = torch.cat([self.pixels, self.scores[..., None]], -1).numpy()
        whole = torch.from_numpy(filled(keypoints, times.numpy(), BRIDGED_AT_FIRST))
        return Detections(whole[..., :2], whole[..., 2])


def draw_blazepose(noise: DetectorNoise, clips: int, generator: Generator) -> Bool[Tensor, "B"]:
    """Which clips BlazePose sees; the others are seen as COCO's annotators would have it."""
    return torch.rand(clips, generator=generator) < noise.blazepose_share


def detect(
    pixels: Float[Tensor, "B T J 2"],
    times: Float[Tensor, "B T"],
    image_size: Float[Tensor, "B 2"],
    noise: DetectorNoise,
    generator: Generator,
    blazepose: Bool[Tensor, "B"],
    hidden: Bool[Tensor, "B T J"] | None = None,
) -> Detections:
    """Turn true projections (pixels) into detections; each clip has its own conditions.

    They are of `COCO23`, and of `BLAZEPOSE23` in clips that `blazepose` sees. `hidden` says which
    keypoints something stands before; without it, things are made up.
    """
    batch, _, joints, _ = pixels.shape
    draw = _Draw(generator, batch)
    extent = (pixels.amax(-2) - pixels.amin(-2)).amax(-1)[..., None]
    if hidden is None:
        hidden = _behind_occluder(pixels, times, noise, draw)
    outside = ((pixels < 0) | (pixels > image_size[:, None, None])).any(-1)
    wave = smooth_noise(times, joints, 0.5, generator)
    difficulty = torch.sigmoid(1.5 * wave + draw.normal(1, joints) + draw.normal(1, 1) - 3.7)
    difficulty = torch.where(hidden, difficulty.clamp(min=0.55) ** 0.5, difficulty)
    difficulty = torch.where(outside, difficulty.clamp(min=0.75) ** 0.5, difficulty)

    unsteady = torch.tensor([_unsteadiness(joint) for joint in COCO23.joints])
    quality = torch.exp(0.5 * draw.normal(1, 1))
    size = extent * quality * unsteady * (1 + noise.difficult_gain * difficulty)
    fresh = torch.randn(pixels.shape, generator=generator) * noise.jitter
    if noise.jitter_spread:
        fresh = fresh * torch.exp(noise.jitter_spread * draw.normal(1, 1))[..., None]
    lasting = smooth_noise(times, 2 * joints, 0.4, generator).unflatten(-1, (joints, 2))
    offset = size[..., None] * (fresh + noise.drift * lasting)
    definition = noise.definition * draw.normal(1, 2 * joints).unflatten(-1, (joints, 2))
    noisy = pixels + offset + extent[..., None] * definition
    noisy = _swap_sides(noisy, times, noise, draw)
    noisy = noisy + extent[..., None] * _jumps(times, noise, draw)

    scores = (1 - difficulty).clamp(0, 1) ** 0.7
    scores = (scores + 0.03 * smooth_noise(times, joints, 0.3, generator)).clamp(0.02, 1)
    # What lies beyond the border is unknown to most detectors (our own never guesses it).
    beyond = outside & draw.chance(noise.border_known)
    lost = _lost(difficulty, times, noise, draw) | beyond | _unknown(blazepose, noise, draw)
    clean = draw.chance(noise.clean_share)
    scores = torch.where(clean, 1.0, torch.where(lost, 0.0, scores))
    return Detections(torch.where(clean[..., None], pixels, noisy), scores)


def smooth_noise(
    times: Float[Tensor, "B T"], channels: int, seconds: float, generator: Generator
) -> Float[Tensor, "B T channels"]:
    """Unit-variance noise over time that forgets itself after about `seconds`.

    A sum of random sinusoids (random Fourier features of a Gaussian kernel): exact at any times.
    """
    waves = 8
    shape = (len(times), 1, channels, waves)
    rate = torch.randn(shape, generator=generator) / seconds
    phase = 2 * torch.pi * torch.rand(shape, generator=generator)
    angle = rate * (times - times[:, :1])[..., None, None] + phase
    return angle.cos().sum(-1) * (2 / waves) ** 0.5


@dataclass(frozen=True, eq=False)
class _Draw:
    """Random numbers per clip, broadcastable over frames and joints."""

    generator: Generator
    batch: int

    def normal(self, frames: int, joints: int) -> Float[Tensor, "B frames joints"]:
        return torch.randn(self.batch, frames, joints, generator=self.generator)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "B 1 1"]:
        return low + (high - low) * torch.rand(self.batch, 1, 1, generator=self.generator)

    def chance(self, probability: float) -> Bool[Tensor, "B 1 1"]:
        return torch.rand(self.batch, 1, 1, generator=self.generator) < probability

    def span(
        self, times: Float[Tensor, "B T"], shortest: float, longest: float
    ) -> Bool[Tensor, "B T 1"]:
        """A random stretch of each clip, its length drawn between the two (seconds)."""
        begin, end = times[:, :1, None], times[:, -1:, None]
        middle = begin + (end - begin) * self.uniform()
        return (times[..., None] - middle).abs() <= self.uniform(shortest, longest) / 2


def _unsteadiness(joint: str) -> float:
    return next((gain for part, gain in _UNSTEADY.items() if joint.endswith(part)), 1.0)


def _behind_occluder(
    pixels: Float[Tensor, "B T J 2"], times: Float[Tensor, "B T"], noise: DetectorNoise, draw: _Draw
) -> Bool[Tensor, "B T J"]:
    """Joints behind a rectangle that drifts past at its own speed."""
    low, high = pixels.amin((1, 2)), pixels.amax((1, 2))
    span = (high - low)[:, None]
    uniform = [draw.uniform()[:, 0] for _ in range(4)]
    start = low[:, None] + span * torch.stack(uniform[:2], -1)
    half = span * (0.08 + 0.3 * torch.stack(uniform[2:], -1)) / 2
    velocity = span * 0.25 * draw.normal(1, 2)
    middle = start + velocity * (times - times.mean(1, keepdim=True))[..., None]
    inside = ((pixels - middle[:, :, None]).abs() <= half[:, :, None]).all(-1)
    return inside & draw.chance(noise.occluder_share)


def _swap_sides(
    pixels: Float[Tensor, "B T J 2"], times: Float[Tensor, "B T"], noise: DetectorNoise, draw: _Draw
) -> Float[Tensor, "B T J 2"]:
    """Left taken for right for a short while: the legs, the arms, or everything."""
    flip = COCO23.flip_permutation()
    legs = _part(COCO23, ("hip", "knee", "ankle", "toe", "heel"))
    kind = draw.uniform(0, 3)
    members = torch.where(kind < 1, legs, torch.where(kind < 2, ~legs, torch.ones_like(legs)))
    when = draw.span(times, 0.05, 0.4) & draw.chance(noise.swap_share)
    return torch.where((when & members)[..., None], pixels[:, :, flip], pixels)


def _jumps(
    times: Float[Tensor, "B T"], noise: DetectorNoise, draw: _Draw
) -> Float[Tensor, "B T J 2"]:
    """Where joints are said to be, beside where they are; mostly nowhere else.

    Of BlazePose's readings of rendered people, 19 % lie 5 % of the extent and more beside what is
    usual for their clip, half of these for two frames at most, a tenth for seven and more.
    """
    joints, limbs = len(COCO23), _limbs()

    def of_limbs_and_joints(channels: int, seconds: float) -> Float[Tensor, "B T J C"]:
        together = smooth_noise(times, channels * (1 + int(limbs.max())), seconds, draw.generator)
        alone = smooth_noise(times, channels * joints, seconds, draw.generator)
        together = together.unflatten(-1, (-1, channels))[:, :, limbs]
        return (together + alone.unflatten(-1, (joints, channels))) / 2**0.5

    share = draw.uniform(0.02, 0.3)
    rare = torch.distributions.Normal(0.0, 1.0).icdf(1 - share)
    away = (of_limbs_and_joints(1, 0.08)[..., 0] > rare) & draw.chance(noise.jump_share)
    size = noise.jump_size * torch.exp(0.7 * draw.normal(1, joints))
    return torch.where(away, size, 0.0)[..., None] * of_limbs_and_joints(2, 0.3)


def _limbs() -> Int[Tensor, "J"]:
    """The head is 0, then come arms and legs, each side by itself."""
    left = torch.tensor([joint.startswith("left") for joint in COCO23.joints]).long()
    arms = _part(COCO23, ("shoulder", "elbow", "wrist"))
    legs = _part(COCO23, ("hip", "knee", "ankle", "toe", "heel"))
    return torch.where(arms, 1 + left, torch.where(legs, 3 + left, 0))


def _part(skeleton: Skeleton, endings: tuple[str, ...]) -> Bool[Tensor, "J"]:
    return torch.tensor([joint.endswith(endings) for joint in skeleton.joints])


def _lost(
    difficulty: Float[Tensor, "B T J"],
    times: Float[Tensor, "B T"],
    noise: DetectorNoise,
    draw: _Draw,
) -> Bool[Tensor, "B T J"]:
    """Keypoints that the detector does not report at all."""
    joints = difficulty.shape[-1]
    share = draw.uniform(noise.least_missing, noise.missing).clamp(min=1e-6)
    wave = smooth_noise(times, joints, 0.3, draw.generator)
    at_random = wave > torch.distributions.Normal(0.0, 1.0).icdf(1 - share)
    given_up = (difficulty > 0.75 + 0.6 * draw.uniform()) & noise.gives_up
    blackout = draw.span(times, 0.05, 0.6) & draw.chance(noise.blackout_share)
    return at_random | given_up | blackout


def _unknown(
    blazepose: Bool[Tensor, "B"], noise: DetectorNoise, draw: _Draw
) -> Bool[Tensor, "B 1 J"]:
    """Joints that the detector of a clip has never heard of."""
    blazepose = blazepose[:, None, None]
    small_toes = _part(COCO23, ("small_toe",)) & blazepose
    feet = _part(COCO23, ("toe", "heel")) & ~blazepose & draw.chance(noise.feet_absent)
    return small_toes | feet
