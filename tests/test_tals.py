"""Threshold-adaptive losses: tables, both sides of every threshold, and whom they trust."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Generator, Tensor

from temporal_hmr.configuration import parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.losses_tals import (
    ANGLE_THRESHOLDS,
    JOINTS_44,
    KEYPOINT_THRESHOLDS,
    PELVIS_44,
    TalsConfig,
    TalsPrediction,
    TalsTarget,
    estimate_thresholds,
    tals_losses,
)
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import COCO23, SMPL24

CONFIG = TalsConfig()


def perfect(count: int = 2, trusted: bool = False) -> tuple[TalsPrediction, TalsTarget]:
    """A prediction that is the truth."""
    generator = Generator().manual_seed(0)
    keypoints = 0.3 * torch.randn(count, 44, 2, generator=generator)
    joints = torch.randn(count, 44, 3, generator=generator)
    rotations = axis_angle_to_matrix(0.5 * torch.randn(count, 24, 3, generator=generator))
    betas = torch.randn(count, 10, generator=generator)
    yes = torch.ones(count, dtype=torch.bool)
    ones = torch.ones(count, 44)
    target = TalsTarget(
        keypoints, ones, joints, ones, rotations, yes, betas, yes, yes if trusted else ~yes
    )
    return TalsPrediction(keypoints, joints, rotations, betas), target


def turned(rotations: Tensor, joint: int, angle: float) -> Tensor:
    turns = torch.zeros(24, 3)
    turns[joint, 2] = angle
    return rotations @ axis_angle_to_matrix(turns)


def test_tables_are_complete_and_in_order() -> None:
    assert len(JOINTS_44) == 44 and len(ANGLE_THRESHOLDS) == 23
    assert PELVIS_44 == 39
    assert tuple(ANGLE_THRESHOLDS) == SMPL24.joints[1:]
    limits = CONFIG.keypoint_limits()
    assert float(limits[0]) == pytest.approx(8.50e-3)
    assert float(limits[25]) == pytest.approx(5.54e-3)
    assert float(limits[PELVIS_44]) == pytest.approx(9.31e-3)
    # Sums of the published tables: a mistyped number shows.
    assert sum(KEYPOINT_THRESHOLDS.values()) == pytest.approx(0.39599, abs=1e-6)
    assert sum(ANGLE_THRESHOLDS.values()) == pytest.approx(8.1278, abs=1e-5)


def test_angles_of_the_body_are_scaled_and_the_root_is_not() -> None:
    degrees = CONFIG.angle_limits().rad2deg()
    assert float(degrees[0]) == pytest.approx(26.4, abs=0.05)
    assert float(degrees[1:].min()) == pytest.approx(6.6, abs=0.05)
    assert float(degrees[1:].max()) == pytest.approx(35.8, abs=0.05)


def test_thresholds_go_by_name() -> None:
    limits = CONFIG.keypoint_limits(["left_wrist", "right_wrist", "j19_left_wrist", "head_top"])
    torch.testing.assert_close(limits, torch.tensor([14.14e-3, 13.56e-3, 13.88e-3, 7.66e-3]))
    assert len(CONFIG.keypoint_limits(COCO23.joints)) == 23
    with pytest.raises(InputError, match="none for tail"):
        CONFIG.keypoint_limits(["tail"])


@pytest.mark.parametrize("trusted", [False, True])
def test_keypoint_gradient_is_a_twentieth_within_the_threshold(trusted: bool) -> None:
    """Also for trusted labels: in 2D it is the camera that is wrong."""
    prediction, target = perfect(1, trusted)
    joint = JOINTS_44.index("openpose_left_knee")
    edge = math.sqrt(KEYPOINT_THRESHOLDS["openpose_left_knee"])
    slopes = []
    for factor in (0.99, 1.01):
        keypoints = target.keypoints.clone()
        keypoints[0, joint, 0] += factor * edge
        keypoints.requires_grad_(True)
        terms = tals_losses(replace(prediction, keypoints=keypoints), target, CONFIG)
        (slope,) = torch.autograd.grad(terms["keypoints"], keypoints)
        slopes.append(float(slope[0, joint, 0]))
    assert slopes[1] == pytest.approx(0.01)
    assert slopes[0] / slopes[1] == pytest.approx(0.05)


def test_distance_metric_has_the_threshold_where_the_numbers_say() -> None:
    prediction, target = perfect(1)
    config = TalsConfig(metric="distance")
    joint = JOINTS_44.index("openpose_nose")
    for offset, weight in (((0.004, 0.0044), 0.05), ((0.004, 0.0046), 1.0)):
        keypoints = target.keypoints.clone()
        keypoints[0, joint] += torch.tensor(offset)
        loss = tals_losses(replace(prediction, keypoints=keypoints), target, config)["keypoints"]
        assert float(loss) == pytest.approx(0.01 * weight * sum(offset), rel=1e-3)


@pytest.mark.parametrize(("joint", "name"), [(0, "orientation"), (4, "pose"), (23, "pose")])
def test_rotation_loss_on_both_sides_and_trusted(joint: int, name: str) -> None:
    edge = float(CONFIG.angle_limits()[joint])
    for trusted in (False, True):
        prediction, target = perfect(1, trusted)
        for factor in (0.99, 1.01):
            rotations = turned(target.rotations, joint, factor * edge)
            terms = tals_losses(replace(prediction, rotations=rotations), target, CONFIG)
            weight = 0.05 if factor < 1 and not trusted else 1.0
            squared = 4 * (1 - math.cos(factor * edge))
            assert float(terms[name]) == pytest.approx(1e-3 * weight * squared, rel=1e-3)


def test_unknown_rotations_count_nothing_even_if_trusted() -> None:
    prediction, target = perfect(2, trusted=True)
    target = replace(target, has_rotations=torch.tensor([False, True]))
    rotations = turned(target.rotations, 5, 1.0)
    terms = tals_losses(replace(prediction, rotations=rotations), target, CONFIG)
    assert float(terms["pose"]) == pytest.approx(4e-3 * (1 - math.cos(1.0)), rel=1e-4)


def test_joints_are_dropped_where_their_keypoint_is_near() -> None:
    """Not scaled down but left out, unless the labels are trusted."""
    prediction, target = perfect(1)
    wrist = JOINTS_44.index("j19_left_wrist")
    joints = target.joints.clone()
    joints[0, wrist] += torch.tensor([0.1, -0.2, 0.0])
    far = target.keypoints.clone()
    far[0, wrist] += 0.3
    near = replace(prediction, joints=joints)
    assert float(tals_losses(near, target, CONFIG)["joints"]) == 0
    strong = replace(near, keypoints=far)
    assert float(tals_losses(strong, target, CONFIG)["joints"]) == pytest.approx(0.05 * 0.3)
    unsure = replace(target, keypoint_confidence=torch.full((1, 44), 0.5))
    assert float(tals_losses(strong, unsure, CONFIG)["joints"]) == 0
    trusted = replace(target, trusted=torch.tensor([True]))
    assert float(tals_losses(near, trusted, CONFIG)["joints"]) == pytest.approx(0.05 * 0.3)


def test_joints_are_seen_from_the_regressed_pelvis() -> None:
    prediction, target = perfect(1, trusted=True)
    moved = replace(prediction, joints=target.joints + torch.tensor([1.0, 2.0, 3.0]))
    assert float(tals_losses(moved, target, CONFIG)["joints"]) == pytest.approx(0, abs=1e-4)
    joints = target.joints.clone()
    joints[0, 39] += torch.tensor([0.1, 0.0, 0.0])
    off = tals_losses(replace(prediction, joints=joints), target, CONFIG)["joints"]
    assert float(off) == pytest.approx(0.05 * 43 * 0.1, rel=1e-4)


def test_betas_count_for_trusted_labels_only() -> None:
    prediction, target = perfect(3)
    prediction = replace(prediction, betas=target.betas + 1)
    for trusted, has, count in (((0, 0, 0), (1, 1, 1), 0), ((1, 1, 0), (1, 0, 1), 1)):
        labels = replace(
            target, trusted=torch.tensor(trusted).bool(), has_betas=torch.tensor(has).bool()
        )
        terms = tals_losses(prediction, labels, CONFIG)
        assert float(terms["betas"]) == pytest.approx(5e-4 * 10 * count)


def noisy(count: int = 6) -> tuple[TalsPrediction, TalsTarget]:
    """Errors on both sides of the thresholds, labels of every kind."""
    prediction, target = perfect(count)
    generator = Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def some(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    prediction = TalsPrediction(
        target.keypoints + 0.07 * noise(count, 44, 2),
        target.joints + 0.1 * noise(count, 44, 3),
        target.rotations @ axis_angle_to_matrix(0.2 * noise(count, 24, 3)),
        target.betas + noise(count, 10),
    )
    return prediction, replace(
        target,
        keypoint_confidence=some(count, 44),
        joint_confidence=some(count, 44),
        has_rotations=some(count) > 0.3,
        has_betas=some(count) > 0.3,
        trusted=some(count) > 0.5,
    )


def test_naive_loops_give_the_same_sums() -> None:
    prediction, target = noisy()
    expected = dict.fromkeys(("keypoints", "joints", "orientation", "pose", "betas"), 0.0)
    taus = list(KEYPOINT_THRESHOLDS.values())
    angles = geodesic_angle(prediction.rotations, target.rotations)
    for n in range(6):
        trusted = bool(target.trusted[n])
        for j in range(44):
            confidence = float(target.keypoint_confidence[n, j])
            off = prediction.keypoints[n, j] - target.keypoints[n, j]
            strong = confidence * float(off @ off) > taus[j]
            weight = 1.0 if strong else 0.05
            expected["keypoints"] += 0.01 * weight * confidence * float(off.abs().sum())
            if trusted or confidence * strong > 0.5:
                apart = prediction.joints[n, j] - prediction.joints[n, 39]
                apart = apart - (target.joints[n, j] - target.joints[n, 39])
                confidence = float(target.joint_confidence[n, j])
                expected["joints"] += 0.05 * confidence * float(apart.abs().sum())
        for j, name in enumerate(SMPL24.joints):
            tau = 0.46 if j == 0 else 0.8 * ANGLE_THRESHOLDS[name]
            weight = 1.0 if trusted or float(angles[n, j]) > tau else 0.05
            off = prediction.rotations[n, j] - target.rotations[n, j]
            value = 1e-3 * weight * float((off**2).sum()) * bool(target.has_rotations[n])
            expected["orientation" if j == 0 else "pose"] += value
        if trusted and target.has_betas[n]:
            off = prediction.betas[n] - target.betas[n]
            expected["betas"] += 5e-4 * float(off @ off)
    terms = tals_losses(prediction, target, CONFIG)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0
        assert float(terms[name]) == pytest.approx(value, rel=1e-4), name


def test_sums_grow_with_the_batch() -> None:
    prediction, target = noisy()

    def twice(values: TalsPrediction | TalsTarget):
        tensors = [getattr(values, field.name) for field in fields(values)]
        return type(values)(*(torch.cat([tensor, tensor]) for tensor in tensors))

    once = tals_losses(prediction, target, CONFIG)
    doubled = tals_losses(twice(prediction), twice(target), CONFIG)
    for name, value in once.items():
        torch.testing.assert_close(doubled[name], 2 * value)


def test_the_batch_stays_as_it_was_known_defect() -> None:
    """The published loss multiplies confidences and flags inside the batch."""
    prediction, target = noisy()
    before = [getattr(target, field.name).clone() for field in fields(target)]
    tals_losses(prediction, target, CONFIG)
    for field, value in zip(fields(target), before, strict=True):
        assert torch.equal(getattr(target, field.name), value), field.name


def test_plain_losses_count_every_label_in_full() -> None:
    prediction, target = noisy()
    plain = tals_losses(prediction, target, TalsConfig(adaptive=False))
    off = (prediction.keypoints - target.keypoints).abs().sum(-1)
    torch.testing.assert_close(plain["keypoints"], 0.01 * (target.keypoint_confidence * off).sum())
    betas = ((prediction.betas - target.betas) ** 2).sum(-1)
    torch.testing.assert_close(plain["betas"], 5e-4 * (betas * target.has_betas).sum())


def test_thresholds_are_mean_errors() -> None:
    prediction, target = noisy()
    target = replace(target, keypoint_confidence=(target.keypoint_confidence > 0.4).float())
    config = TalsConfig(metric="distance")
    found = estimate_thresholds(prediction, target, config)
    joint = JOINTS_44.index("j19_head")
    seen = target.keypoint_confidence[:, joint] > 0
    off = (prediction.keypoints - target.keypoints)[seen, joint].abs().sum(-1)
    assert found.keypoint_thresholds["j19_head"] == pytest.approx(float(off.mean()))
    angles = geodesic_angle(prediction.rotations, target.rotations)[target.has_rotations]
    assert found.root_threshold == pytest.approx(float(angles[:, 0].mean()))
    knee = SMPL24.index("left_knee")
    assert found.angle_thresholds["left_knee"] == pytest.approx(float(angles[:, knee].mean()))
    squared = estimate_thresholds(prediction, target, CONFIG)
    off = (prediction.keypoints - target.keypoints)[seen, joint].norm(dim=-1) ** 2
    assert squared.keypoint_thresholds["j19_head"] == pytest.approx(float(off.mean()))


def test_thresholds_by_percentile_split_the_errors() -> None:
    prediction, target = noisy(40)
    target = replace(target, keypoint_confidence=torch.ones(40, 44))
    found = estimate_thresholds(prediction, target, CONFIG, percentile=75)
    squared = ((prediction.keypoints - target.keypoints) ** 2).sum(-1)
    above = (squared > found.keypoint_limits()).float().mean(0)
    assert float((above - 0.25).abs().max()) < 0.03


def test_measured_thresholds_survive_being_written() -> None:
    prediction, target = noisy()
    target = replace(target, keypoint_confidence=torch.ones(6, 44))
    found = estimate_thresholds(prediction, target, CONFIG)
    again = parse_config(found.model_dump(mode="json"), TalsConfig, "x")
    torch.testing.assert_close(again.keypoint_limits(), found.keypoint_limits())
    torch.testing.assert_close(again.angle_limits(), found.angle_limits())


def test_joints_never_seen_have_no_threshold() -> None:
    prediction, target = noisy()
    confidence = target.keypoint_confidence.clone()
    confidence[:, 7] = 0
    with pytest.raises(InputError, match=JOINTS_44[7]):
        estimate_thresholds(prediction, replace(target, keypoint_confidence=confidence), CONFIG)
    with pytest.raises(InputError, match="no percentile"):
        estimate_thresholds(prediction, target, CONFIG, percentile=101)
