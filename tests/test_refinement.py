"""Motions made steady: laws, exact oracles, and what must not happen to a motion."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from exported_people import toy_body
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.refinement.rotations import steady_rotations, unrolled
from temporal_hmr.refinement.splines import Roughness, fit_spline
from temporal_hmr.refinement.steady import Steady, steady, weigh
from temporal_hmr.refinement.sudden import _cheapest, sudden_moves, sudden_turns
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24

TIMES = np.arange(90) / 30
AXIS = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)


def swing(times: ndarray, degrees: float = 60.0, hertz: float = 1.0) -> Tensor:
    """One joint to and fro while its parent's frame turns: [T 1 3 3]."""
    angle = torch.from_numpy(np.radians(degrees) * np.sin(2 * np.pi * hertz * times))
    turning = torch.from_numpy(0.8 * times)[:, None] * torch.tensor([0.0, 1.0, 0.0]).double()
    return (axis_angle_to_matrix(turning) @ axis_angle_to_matrix(angle[:, None] * AXIS))[:, None]


def shaken(rotations: Tensor, degrees: float, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    error = torch.randn(*rotations.shape[:-2], 3, generator=draw).double()
    return rotations @ axis_angle_to_matrix(np.radians(degrees) * error)


def smoothed(rotations: Tensor, times: ndarray = TIMES, **more) -> Tensor:
    believed = np.ones(rotations.shape[:2], bool)
    return steady_rotations(rotations, believed, times, **more).rotations


def apart(one: Tensor, two: Tensor) -> Tensor:
    return torch.rad2deg(geodesic_angle(one, two))


class TestSplines:
    def test_against_the_normal_equations(self) -> None:
        random = np.random.default_rng(0)
        times = np.cumsum(random.uniform(0.01, 0.06, 12))
        values, weights = random.normal(size=(12, 2)), random.uniform(0.2, 1, 12)
        rough = Roughness.at(times)
        rows = np.zeros((9, 12))
        for row in range(9):
            rows[row, row : row + 4] = rough.rows[row]
        whole = np.diag(weights) + 3.0 * rows.T @ rows
        expected = np.linalg.solve(whole, weights[:, None] * values)
        assert np.allclose(fit_spline(values, weights, rough, 3.0).values, expected, atol=1e-7)

    def test_roughness_is_a_third_derivative_at_any_times(self) -> None:
        times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.06, 20))
        cubic = (30 * times[:, None]) ** 3
        rough = Roughness.at(times)
        total = (rough.of(cubic) ** 2).sum()
        middle = (times[3:] - times[:-3]).sum() / 3
        assert total == pytest.approx(36 * 30 * middle, rel=1e-9)
        assert np.abs(rough.of(cubic ** (2 / 3))).max() < 1e-6

    def test_the_noise_is_measured(self) -> None:
        random = np.random.default_rng(2)
        times = np.arange(400) / 30
        values = np.sin(3 * times)[:, None] + 0.05 * random.normal(size=(400, 3))
        assert fit_spline(values, np.ones(400), Roughness.at(times)).noise == pytest.approx(
            0.05, rel=0.1
        )

    def test_few_values_stay(self) -> None:
        values = np.random.default_rng(3).normal(size=(3, 1))
        assert fit_spline(values, np.ones(3), Roughness.at(TIMES[:3])).values is values


class TestRotations:
    def test_stillness_stays(self) -> None:
        still = shaken(swing(TIMES)[:1], 40).expand(90, 1, 3, 3)
        assert apart(smoothed(still), still).max() < 1e-5

    @pytest.mark.parametrize(("degrees", "hertz"), [(60, 1), (60, 2), (30, 4)])
    def test_fast_smooth_motion_is_kept(self, degrees, hertz) -> None:
        """At 2 Hz and 60 degrees a limb turns at 750 degrees per second."""
        true = swing(TIMES, degrees, hertz)
        assert apart(smoothed(true), true).max() < 1.0

    def test_trembling_goes(self) -> None:
        true = swing(TIMES)
        noisy = shaken(true, 4)
        found = smoothed(noisy)
        assert apart(found, true).mean() < 0.55 * apart(noisy, true).mean()

        def rough(path: Tensor) -> float:
            return float(np.square(Roughness.at(TIMES).of(unrolled(path[:, 0]))).mean())

        assert rough(found) < 0.01 * rough(noisy)

    def test_a_jump_after_standing_still_is_kept(self) -> None:
        """What a filter of fixed strength wears away, being right for the rest of the clip."""
        times = np.arange(240) / 30
        burst = np.exp(-(((times - 4) / 0.12) ** 2))
        angle = torch.from_numpy(np.radians(80) * burst)[:, None] * AXIS
        true = axis_angle_to_matrix(angle)[:, None]
        found = smoothed(shaken(true, 1.5), times)
        assert apart(found[120], torch.eye(3).double()) > 76
        assert apart(found[:90], true[:90]).mean() < 1.0

    def test_time_may_run_backwards(self) -> None:
        noisy = shaken(swing(TIMES), 5)
        back = smoothed(noisy.flip(0), TIMES[-1] - TIMES[::-1]).flip(0)
        assert apart(back, smoothed(noisy)).max() < 1e-4

    def test_frames_of_reference_are_free(self) -> None:
        noisy = shaken(swing(TIMES), 5)
        turn = axis_angle_to_matrix(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64))
        assert apart(smoothed(turn @ noisy), turn @ smoothed(noisy)).max() < 1e-4
        away = axis_angle_to_matrix(torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64))
        assert apart(smoothed(noisy @ away), smoothed(noisy) @ away).max() < 1e-4

    @pytest.mark.parametrize("fps", [25, 60, 120])
    def test_frame_rates_agree(self, fps) -> None:
        """Errors of about a second's length are the same at every rate; trembling goes at all."""
        times = np.arange(3 * fps) / fps
        found = smoothed(shaken(swing(times), 3), times)
        assert apart(found, swing(times)).mean() < 2.6 * (30 / fps) ** 0.4

    def test_uneven_times(self) -> None:
        times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, 90))
        noisy = shaken(swing(times), 4)
        found = smoothed(noisy, times)
        assert apart(found, swing(times)).mean() < 0.6 * apart(noisy, swing(times)).mean()

    def test_past_half_a_turn(self) -> None:
        """Axis-angle vectors jump there; means of them end anywhere."""
        angle = torch.from_numpy(np.pi + 0.5 * np.sin(6 * TIMES))
        true = axis_angle_to_matrix(angle[:, None] * AXIS)[:, None]
        assert apart(smoothed(shaken(true, 3)), true).max() < 6

    def test_long_holes_are_crossed_without_swinging_out(self) -> None:
        true = swing(TIMES, 40, 0.5)
        believed = np.ones((90, 1), bool)
        believed[30:60] = False
        found = steady_rotations(shaken(true, 2), believed, TIMES).rotations
        assert apart(found, true).max() < 60

    def test_a_models_motion_is_believed_as_far_as_it_helps(self) -> None:
        rng = np.random.default_rng(5)
        walk = np.cumsum(np.cumsum(rng.normal(size=90))) / 40
        true = axis_angle_to_matrix(torch.from_numpy(walk)[:, None] * AXIS)[:, None]
        noisy = shaken(true, 8)
        believed = np.ones((90, 1), bool)
        aside = axis_angle_to_matrix(torch.tensor([0.3, 0.0, 0.4], dtype=torch.float64))
        helped = steady_rotations(noisy, believed, TIMES, true @ aside)
        alone = steady_rotations(noisy, believed, TIMES)
        assert helped.shares[0] == 1 and alone.shares[0] == 0
        wrong = steady_rotations(noisy, believed, TIMES, shaken(true, 30, 1))
        assert wrong.shares[0] == 0
        assert apart(helped.rotations, true).mean() < apart(alone.rotations, true).mean()
        assert apart(wrong.rotations, alone.rotations).max() < 1e-6


class TestSudden:
    @pytest.mark.parametrize("seed", range(6))
    def test_the_cheapest_path_is_the_cheapest(self, seed) -> None:
        """Against all ways to pass over frames, one by one."""
        random = np.random.default_rng(seed)
        values, times = random.normal(size=7), np.cumsum(random.uniform(0.5, 1.5, 7))
        toll, reach = 0.3, 6

        def squared(before: slice, frame: int) -> ndarray:
            return ((values[before] - values[frame]) ** 2)[:, None]

        def price(kept: tuple[int, ...]) -> float:
            total = toll * (7 - len(kept))
            for one, two in pairwise(kept):
                step = (times[two] - times[one]) / (two - one)
                total += (values[two] - values[one]) ** 2 / step
            return total

        ways = [way for size in range(1, 8) for way in combinations(range(7), size)]
        best = min(ways, key=price)
        found = _cheapest(squared, np.array([toll]), times, reach)[:, 0]
        assert tuple(np.flatnonzero(found)) == best

    @pytest.mark.parametrize("fps", [25, 60, 120])
    def test_a_flip_is_told_from_a_fast_motion(self, fps) -> None:
        times = np.arange(2 * fps) / fps
        assert not sudden_turns(shaken(swing(times, 60, 2), 1), times).any()
        path = shaken(swing(times, 30, 0.5), 1)
        wrong = np.zeros(len(times), bool)
        wrong[fps : fps + fps // 8] = True
        about = axis_angle_to_matrix(torch.tensor([0.0, np.pi, 0.0], dtype=torch.float64))
        path[wrong] = path[wrong] @ about
        assert (sudden_turns(path, times)[:, 0] == wrong).all()

    def test_a_turn_that_is_not_taken_back_stays(self) -> None:
        """Nobody knows which side of it is wrong, if any."""
        path = shaken(swing(TIMES, 10), 1)
        path[45:] = path[45:] @ axis_angle_to_matrix(torch.tensor([0.0, np.pi, 0.0]).double())
        assert not sudden_turns(path, TIMES).any()

    def test_where_every_other_frame_is_wrong_none_is(self) -> None:
        path = swing(TIMES, 10)
        path[::2] = path[::2] @ axis_angle_to_matrix(torch.tensor([0.0, np.pi, 0.0]).double())
        assert not sudden_turns(path, TIMES).any()

    def test_teleports(self) -> None:
        places = np.stack([3 * TIMES, 0 * TIMES, 4 + 0 * TIMES], 1)
        assert not sudden_moves(places, TIMES).any()
        places[40:42, 2] += 2
        assert np.flatnonzero(sudden_moves(places, TIMES)).tolist() == [40, 41]


def walker(frames: int = 40, noise: float = 2.0) -> PredictedMotion:
    """Everything swings a little, four metres away; numbers as files have them."""
    times = np.arange(frames) / 30
    turns = torch.sin(torch.from_numpy(times)[:, None] * torch.linspace(1, 6, 24).double())
    axes = torch.nn.functional.normalize(torch.randn(24, 3).double(), dim=-1)
    rotations = axis_angle_to_matrix(0.5 * turns[..., None] * axes)
    transl = torch.from_numpy(np.stack([times, 0 * times, 4 + 0.2 * times], 1))
    betas = torch.zeros(frames, 10).double()
    smpl = SmplParams.from_rotations(shaken(rotations, noise), betas, transl)
    return PredictedMotion("w.npz", "npz", np.arange(frames), smpl, fps=30.0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    torch.manual_seed(0)


def refined(motion: PredictedMotion, **more) -> Steady:
    rest = toy_body().rest_joints(motion.smpl.betas[0])[0]
    return steady(weigh(motion, 30.0, 0.5), rest, **more)


class TestWholeMotions:
    def test_one_wrong_frame_is_repaired(self) -> None:
        motion = walker()
        torch.manual_seed(0)
        true = walker(noise=0.0).smpl
        rotations = motion.smpl.rotations().clone()
        rotations[20] = shaken(rotations[20], 90)
        transl = motion.smpl.transl.clone()
        transl[20] += torch.tensor([0.0, 0.0, 3.0])
        smpl = SmplParams.from_rotations(rotations, motion.smpl.betas, transl)
        evidence = weigh(replace(motion, smpl=smpl), 30.0, 0.5)
        assert np.flatnonzero(evidence.mended()).tolist() == [20]
        found = refined(replace(motion, smpl=smpl)).motion.smpl
        assert apart(found.rotations()[20], true.rotations()[20]).max() < 6
        assert (found.transl[20] - true.transl[20]).norm() < 0.02

    def test_the_camera_may_be_turned(self) -> None:
        motion, body = walker(24), toy_body()
        turn = axis_angle_to_matrix(torch.tensor([0.2, -0.7, 0.1], dtype=torch.float64))
        here = torch.zeros(3, dtype=torch.float64)
        seen = replace(motion, smpl=body.transform(motion.smpl, turn, here))
        expected = body.transform(refined(motion).motion.smpl, turn, here)
        found = refined(seen).motion.smpl
        assert apart(found.rotations(), expected.rotations()).max() < 1e-3
        assert (found.transl - expected.transl).abs().max() < 1e-6

    def test_holes(self) -> None:
        """Short ones are filled and told, long ones stay."""
        motion = walker(70)
        kept = np.r_[0:20, 26:40, 60:70]
        holed = replace(motion, smpl=motion.smpl[torch.from_numpy(kept)], frames=kept)
        found = refined(holed).motion
        assert found.frames.tolist() == [*range(40), *range(60, 70)]
        assert found.filled is not None
        assert np.flatnonzero(found.filled).tolist() == list(range(20, 26))
        far = apart(found.smpl.rotations()[:40], motion.smpl.rotations()[:40])
        assert far.mean() < 5, "noise of 2 degrees about each axis is 3.2"

    def test_numbers_that_are_not_finite_are_holes(self) -> None:
        motion = walker()
        motion.smpl.transl[10] = torch.nan
        found = refined(motion).motion
        assert found.smpl.transl.isfinite().all() and found.filled is not None
        assert np.flatnonzero(found.filled).tolist() == [10]
        motion.smpl.transl[:] = torch.nan
        with pytest.raises(InputError, match="finite"):
            refined(motion)

    def test_one_shape_and_what_a_world_keeps(self) -> None:
        motion = walker(30)
        betas = torch.randn(30, 10).double()
        smpl = replace(motion.smpl, betas=betas)
        moved = replace(motion, smpl=smpl, world=smpl)
        found = refined(moved).motion
        assert (found.smpl.betas == betas.median(0).values).all()
        assert refined(moved, one_shape=False).motion.smpl.betas.equal(betas)
        assert found.world is not None
        assert apart(found.world.global_orient, found.smpl.global_orient).max() < 1e-6
        assert found.world.body_pose.equal(found.smpl.body_pose)

    @pytest.mark.parametrize("frames", [1, 3, 4])
    def test_short_motions(self, frames) -> None:
        motion = walker(frames)
        found = refined(motion).motion.smpl
        assert found.rotations().isfinite().all() and found.transl.isfinite().all()
        assert apart(found.rotations(), motion.smpl.rotations()).max() < 30

    def test_noise_is_told_by_joint(self) -> None:
        found = refined(walker(90, noise=3.0))
        assert np.median(found.noise) == pytest.approx(3.0, rel=0.15)
        assert found.noise.shape == (len(SMPL24),)

    def test_times_that_stand_still_are_refused(self) -> None:
        motion = replace(walker(5), times=np.array([0.0, 0.1, 0.1, 0.2, 0.3]))
        with pytest.raises(InputError, match="do not increase"):
            weigh(motion, 30.0, 0.5)
