"""Plain filters: laws, and the published recursion written out."""

import math

import numpy as np
import pytest
import torch

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.baselines import baselines
from temporal_hmr.filters import one_euro, one_euro_smpl, savitzky_golay_smpl
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle

TIMES = np.arange(30) / 30


def a_motion(frames: int = 30, noise: float = 0.0) -> SmplParams:
    torch.manual_seed(0)
    swing = torch.sin(torch.linspace(0, 3, frames))[:, None, None] * torch.randn(24, 3)
    swing = swing + noise * torch.randn(frames, 24, 3)
    transl = torch.linspace(0, 1, frames)[:, None] * torch.tensor([1.0, 0, 0.3]) + torch.tensor(
        [0.0, 0, 4]
    )
    betas = torch.randn(10).expand(frames, 10)
    return SmplParams.from_rotations(axis_angle_to_matrix(0.4 * swing), betas, transl)


def test_one_euro_is_the_published_recursion() -> None:
    """Against the algorithm of the paper, a number at a time."""
    rng = np.random.default_rng(0)
    values, times = rng.normal(size=(20, 2)), np.cumsum(rng.uniform(0.01, 0.05, 20))
    found = one_euro(values, times, min_cutoff=1.3, beta=0.7, derivative_cutoff=0.9)
    for channel in range(2):
        previous, slope = values[0, channel], 0.0
        for frame in range(1, 20):
            period = times[frame] - times[frame - 1]

            def alpha(cutoff: float, period: float = period) -> float:
                return 1 / (1 + (1 / (2 * math.pi * cutoff)) / period)

            derivative = (values[frame, channel] - previous) / period
            weight = alpha(0.9)
            slope = weight * derivative + (1 - weight) * slope
            weight = alpha(1.3 + 0.7 * abs(slope))
            previous = weight * values[frame, channel] + (1 - weight) * previous
            assert found[frame, channel] == pytest.approx(previous, abs=1e-12)


def test_one_euro_looks_back_only() -> None:
    values = np.random.default_rng(1).normal(size=(30, 1))
    changed = values.copy()
    changed[20:] += 5
    before, after = one_euro(values, TIMES), one_euro(changed, TIMES)
    assert (before[:20] == after[:20]).all() and (before[20:] != after[20:]).all()


def test_times_that_stand_still_are_refused() -> None:
    with pytest.raises(InputError, match="times must increase"):
        one_euro(np.zeros((3, 1)), np.array([0.0, 0.1, 0.1]))


@pytest.mark.parametrize("kind", ["one-euro", "savitzky-golay"])
def test_filters_of_motion(kind: str) -> None:
    """Stillness stays, noise shrinks, rotations stay rotations, frames of reference are free."""

    def smoothed(smpl: SmplParams) -> SmplParams:
        return one_euro_smpl(smpl, TIMES) if kind == "one-euro" else savitzky_golay_smpl(smpl)

    still = a_motion()[torch.zeros(30, dtype=torch.long)]
    torch.testing.assert_close(smoothed(still).poses(), still.poses(), atol=1e-4, rtol=0)

    noisy = a_motion(noise=0.2)
    found = smoothed(noisy)

    def roughness(smpl: SmplParams) -> float:
        return float(smpl.body_pose.diff(n=2, dim=0).square().mean())

    assert roughness(found) < 0.3 * roughness(noisy)
    eye = found.rotations() @ found.rotations().mT
    assert float((eye - torch.eye(3)).abs().max()) < 1e-4

    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 2.0]))
    turned = SmplParams.from_rotations(turn @ noisy.rotations(), noisy.betas, noisy.transl)
    apart = geodesic_angle(smoothed(turned).rotations(), turn @ found.rotations())
    # The cut-off of one-euro follows each number's own speed, which depends on the frame.
    assert float(apart.max()) < (0.1 if kind == "one-euro" else 1e-3)


def test_savitzky_golay_keeps_polynomials_and_short_clips() -> None:
    smooth = a_motion(12)
    torch.testing.assert_close(savitzky_golay_smpl(smooth).transl, smooth.transl, atol=1e-5, rtol=0)
    short = a_motion(2, noise=0.3)
    assert savitzky_golay_smpl(short) is short
    assert len(savitzky_golay_smpl(a_motion(6, noise=0.3)).transl) == 6


def test_the_mean_pose_knows_where_and_how_the_person_stands() -> None:
    truth, alone = a_motion(), a_motion(noise=0.2)
    found = baselines(truth, alone, TIMES)
    mean = found["mean pose of the sequence"]
    assert mean.global_orient.equal(truth.global_orient) and mean.transl.equal(truth.transl)
    assert float(mean.body_pose.std(0).max()) < 1e-6
    assert len(found) == 3
