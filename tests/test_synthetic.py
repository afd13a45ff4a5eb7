"""Synthetic views of motion: the truth projects onto the clean detections, noise is noise."""

from dataclasses import replace

import pytest
import torch
import yaml
from torch import Generator

from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise, detect, smooth_noise
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24

KNOWN_FOCAL = Augmentation(assumed_focal_share=0.0)


def swinging_take(seconds: float = 3.0, fps: float = 30.0, phase: float = 0.0) -> MocapTake:
    """Someone swinging arms and legs while walking along Z."""
    times = torch.arange(int(seconds * fps)) / fps
    pose = torch.zeros(len(times), 24, 3)
    swing = torch.sin(2 * torch.pi * times + phase)
    pose[:, SMPL24.index("left_hip"), 0] = 0.5 * swing
    pose[:, SMPL24.index("right_hip"), 0] = -0.5 * swing
    pose[:, SMPL24.index("left_shoulder"), 2] = -1.2 + 0.2 * swing
    pose[:, SMPL24.index("right_shoulder"), 2] = 1.2 + 0.2 * swing
    walk = torch.stack([0 * times, torch.full_like(times, 0.9), times], -1)
    return MocapTake("swing", "s", axis_angle_to_matrix(pose), walk, fps, torch.zeros(10))


@pytest.fixture(scope="module")
def bank() -> MotionBank:
    return MotionBank.of([swinging_take(), swinging_take(2.0, 60.0, phase=1.0)])


def generator() -> Generator:
    return Generator().manual_seed(3)


def test_clean_detections_are_the_projected_truth(bank: MotionBank, posed: PosedBody) -> None:
    window, target = synthesise(bank, posed, (6, 10), KNOWN_FOCAL, CLEAN, generator())
    prediction = posed(target.smpl, window)
    torch.testing.assert_close(prediction.keypoints, target.keypoints, atol=2e-3, rtol=0)
    torch.testing.assert_close(window.keypoints, target.keypoints, atol=1e-4, rtol=0)
    torch.testing.assert_close(prediction.joints, target.joints)


def test_a_wrong_focal_length_still_explains_the_image(bank: MotionBank, posed: PosedBody) -> None:
    told = Augmentation(assumed_focal_share=1.0)
    window, target = synthesise(bank, posed, (16, 4), told, CLEAN, generator())
    error = (posed(target.smpl, window).keypoints - target.keypoints).norm(dim=-1)
    assert float(error.mean()) < 0.06


def test_same_seed_same_batch(bank: MotionBank, posed: PosedBody) -> None:
    batches = [
        synthesise(bank, posed, (2, 5), Augmentation(), DetectorNoise(), generator())[0]
        for _ in range(2)
    ]
    assert torch.equal(batches[0].keypoints, batches[1].keypoints)
    assert torch.equal(batches[0].scores, batches[1].scores)


def test_people_stand_before_the_camera(bank: MotionBank, posed: PosedBody) -> None:
    window, target = synthesise(bank, posed, (64, 6), Augmentation(), CLEAN, generator())
    assert float(target.joints[..., 2].min()) > 0.3
    head, foot = SMPL24.index("head"), SMPL24.index("left_foot")
    upright = (target.joints[:, :, head, 1] < target.joints[:, :, foot, 1]).float().mean()
    assert float(upright) > 0.85  # y points down; steep cameras are the rest
    inside = (window.keypoints.abs() <= 1.05).all(-1).float().mean()
    assert float(inside) > 0.97


def test_bank_returns_captured_frames_exactly(bank: MotionBank) -> None:
    take = swinging_take()
    rotations, translation = bank.at(torch.tensor([0]), take.translation[None, 10:20, 2])
    torch.testing.assert_close(translation[0], take.translation[10:20], atol=1e-4, rtol=0)
    legs = SMPL24.indices("left_hip", "right_hip")
    torch.testing.assert_close(
        rotations[0][:, legs], take.rotations[10:20][:, legs], atol=1e-4, rtol=0
    )


def still_detections(noise: DetectorNoise, frames: int = 60):
    times = (torch.arange(frames) / 30).expand(40, frames)
    shape = torch.rand(1, 1, 23, 2, generator=generator()) * torch.tensor([200.0, 500.0]) + 300
    pixels = shape.expand(40, frames, 23, 2)
    size, blazepose = torch.full((40, 2), 1500.0), torch.arange(40) < 30
    return pixels, detect(pixels, times, size, noise, generator(), blazepose)


def test_noise_changes_its_input() -> None:
    """TokenHMR's augmentation edits a copy (chained indexing): nothing was ever noised."""
    pixels, found = still_detections(DetectorNoise(clean_share=0.0))
    assert float((found.pixels - pixels).norm(dim=-1).median()) > 2
    assert 0.02 < float((found.scores == 0).float().mean()) < 0.4


def test_each_detector_knows_its_own_joints() -> None:
    """BlazePose has no small toes; of the others half have COCO's 17 joints alone."""
    _, found = still_detections(DetectorNoise(clean_share=0.0))
    known = (found.scores > 0).any(1)
    small_toe, heel = (COCO23.index(joint) for joint in ("left_small_toe", "left_heel"))
    assert not known[:30, small_toe].any() and known[:30, heel].all()
    others = known[30:]
    assert torch.equal(others[:, small_toe], others[:, heel])
    assert 0 < others[:, heel].sum() < 10


def test_noise_lingers() -> None:
    """Neighbouring frames err alike: white noise would make smoothing look too easy."""
    pixels, found = still_detections(DetectorNoise(clean_share=0.0, swap_share=0.0))
    error = found.pixels - pixels
    step = (error[:, 1:] - error[:, :-1]).norm(dim=-1).median()
    assert float(step) < 0.6 * float(error.norm(dim=-1).median())


def test_confidence_tells_of_error() -> None:
    pixels, found = still_detections(DetectorNoise(clean_share=0.0, definition=0.0))
    error = (found.pixels - pixels).norm(dim=-1)
    sure, unsure = found.scores > 0.9, (found.scores > 0) & (found.scores < 0.5)
    assert float(error[unsure].mean()) > 1.5 * float(error[sure].mean())


def test_beyond_the_border_is_unsure() -> None:
    times = (torch.arange(10) / 30).expand(4, 10)
    pixels = torch.rand(4, 10, 23, 2, generator=generator()) * 400
    pixels[:, :, COCO23.index("left_ankle"), 1] = 900.0
    size = torch.full((4, 2), 600.0)
    noise, blazepose = DetectorNoise(clean_share=0.0), torch.ones(4, dtype=torch.bool)
    found = detect(pixels, times, size, noise, generator(), blazepose)
    assert float(found.scores[:, :, COCO23.index("left_ankle")].max()) < 0.6


def test_smooth_noise_has_unit_variance_and_memory() -> None:
    times = (torch.arange(200) / 30).expand(50, 200)
    noise = smooth_noise(times, 4, 0.5, generator())
    assert float(noise.std()) == pytest.approx(1.0, abs=0.1)
    near = (noise[:, 1:] * noise[:, :-1]).mean()
    far = (noise[:, 90:] * noise[:, :-90]).mean()
    assert float(near) > 0.9
    assert abs(float(far)) < 0.2


def test_jumps_are_far_short_and_say_nothing_of_themselves() -> None:
    """A fifth of the joints at most, mostly for a few frames, by about a tenth of the extent."""
    quiet = DetectorNoise(
        clean_share=0.0, jitter=0.0, drift=0.0, definition=0.0, swap_share=0.0, missing=0.0
    )
    jumpy = quiet.model_copy(update={"jump_share": 1.0})
    pixels, plain = still_detections(quiet)
    _, found = still_detections(jumpy)
    extent = (pixels.amax(-2) - pixels.amin(-2)).amax(-1)[..., None]
    far = (found.pixels - pixels).norm(dim=-1) / extent
    away = far > 0.01
    assert 0.02 < float(away.float().mean()) < 0.35
    assert 0.03 < float(far[away].median()) < 0.3
    returns = (away[:, 1:] != away[:, :-1]).float().sum() / 2
    assert 1 < float(away.float().sum() / returns) < 8  # frames of a jump
    assert float(found.scores[away].mean()) > 0.8 * float(plain.scores[away].mean())


def test_parts_of_other_takes_keep_the_legs(posed: PosedBody) -> None:
    """Trunk, left arm and right arm come from elsewhere on their own; pelvis and legs never."""
    still, moving = swinging_take(), swinging_take()
    turned = moving.rotations @ axis_angle_to_matrix(torch.tensor([0.0, 0.0, 1.0]))
    other = replace(moving, rotations=turned)
    bank = MotionBank.of([still, other])
    usual = Augmentation(recombined_share=1.0, perturbed_share=0.0, speed=(1.0, 1.0))
    _, target = synthesise(bank, posed, (64, 2), usual, CLEAN, generator())
    tilt = target.smpl.rotations()[:, 0, :, 0, 1]  # of a joint that never swings: sin(1) or 0
    names = ("left_ankle", "right_ankle", "spine1", "neck", "left_elbow", "right_elbow")
    at = {name: tilt[:, SMPL24.index(name)].abs() > 0.5 for name in names}
    assert torch.equal(at["left_ankle"], at["right_ankle"])
    assert torch.equal(at["spine1"], at["neck"])
    for one, two in (
        ("left_ankle", "spine1"),
        ("spine1", "left_elbow"),
        ("left_elbow", "right_elbow"),
    ):
        assert 0.1 < float((at[one] != at[two]).float().mean()) < 0.6


@pytest.mark.parametrize(
    ("group", "text", "said"),
    [
        (Augmentation, "frame_interval: [0, 0.1]", "frame_interval.0: "),
        (Augmentation, "speed: [.nan, 1]", "speed.0: "),
        (Augmentation, "speed: [-1, 1]", "speed.0: "),
        (Augmentation, "focal: [1, .inf]", "focal.1: "),
        (Augmentation, "recombined_share: 5", "recombined_share: "),
        (DetectorNoise, "jitter: -1", "jitter: "),
        (DetectorNoise, "missing: 2", "missing: "),
        (LossWeights, "joints: -1", "joints: "),
        (LossWeights, "joints: .nan", "joints: "),
    ],
)
def test_settings_that_mean_nothing_are_refused(group: type[Config], text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"run.yaml: {said}"):
        parse_config(yaml.safe_load(text), group, "run.yaml")
