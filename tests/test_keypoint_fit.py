"""The least squares behind the refinement: derivatives, banded solution, evidence."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.keypoint_fit.evidence import AROUND, weigh
from temporal_hmr.keypoint_fit.linearised import InPicture, KeypointsOfBody, by_turning
from temporal_hmr.keypoint_fit.second_differences import Roughness
from temporal_hmr.keypoint_fit.solver import ClipProblem, SharingProblem, Smooth, Unknowns
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix

CAMERA = Camera.with_focal(900.0, 1280, 720)


def posed_bodies(frames: int) -> SmplParams:
    generator = torch.Generator().manual_seed(2)
    turns = 0.4 * torch.randn(frames, 24, 3, generator=generator)
    betas = torch.randn(1, 10, generator=generator).expand(frames, 10)
    transl = torch.tensor([0.3, -0.2, 4.0]) + 0.2 * torch.randn(frames, 3, generator=generator)
    return SmplParams.from_rotations(axis_angle_to_matrix(turns), betas, transl)


@pytest.fixture(scope="module")
def body() -> PosedBody:
    return PosedBody(load_body())


class TestDerivatives:
    joints = 20

    def points(self, body: PosedBody) -> KeypointsOfBody:
        return KeypointsOfBody(body.body, body.blazepose_points, self.joints)

    def test_points_are_the_bodys(self, body: PosedBody) -> None:
        smpl, points = posed_bodies(3), self.points(body)
        found = points.levers(smpl).points
        torch.testing.assert_close(found, points.at(smpl), atol=1e-5, rtol=0)

    def test_of_turns_are_those_of_differences(self, body: PosedBody) -> None:
        """But for pose correctives, which move points by little."""
        smpl, points, spread = posed_bodies(2), self.points(body), torch.full((20, 1), 0.3)
        turns = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(3))

        def turned(by: torch.Tensor) -> SmplParams:
            rotations = smpl.rotations()
            turned = rotations[:, : self.joints] @ axis_angle_to_matrix(by * spread)
            rotations[:, : self.joints] = turned
            return SmplParams.from_rotations(rotations, smpl.betas, smpl.transl)

        levers = points.levers(turned(turns))
        found = by_turning(levers, InPicture.of(levers.points, CAMERA), turns, spread)
        for column in range(60):
            change = torch.zeros(60)
            change[column] = 0.01
            ends = [
                InPicture.of(points.at(turned(turns + sign * change.view(3, 20).mT)), CAMERA).pixels
                for sign in (1, -1)
            ]
            expected = (ends[0] - ends[1]) / 0.02
            error = torch.linalg.vector_norm(found[..., column] - expected)
            assert error < 0.05 * torch.linalg.vector_norm(expected) + 1.0

    def test_in_the_picture_near_and_far_and_sideways(self) -> None:
        points = torch.tensor([[[0.5, -0.4, 3.0]]])
        seen = InPicture.of(points, CAMERA)
        torch.testing.assert_close(seen.pixels, CAMERA.project(points))
        found = seen.moved(*torch.eye(3)[:, None, None])
        for axis, step in enumerate(1e-2 * torch.eye(3)):
            expected = (CAMERA.project(points + step) - CAMERA.project(points - step)) / 2e-2
            torch.testing.assert_close(found[..., axis], expected, atol=0.1, rtol=1e-3)


class TestSmoothness:
    def test_a_parabola_has_one_acceleration_at_any_times(self) -> None:
        for times in (
            np.arange(8) / 30,
            np.arange(16) / 60,
            np.random.default_rng(0).random(9).cumsum() / 20,
        ):
            seconds = times[:, None] * 30
            values = np.concatenate([seconds**2, 3 * seconds], 1)
            weight = np.zeros(len(times))
            weight[4] = 1.0
            form = (values * Roughness.of(times, weight).times(values)).sum(0)
            np.testing.assert_allclose(form, [4.0, 0.0], atol=1e-6)

    def test_times_that_stand_still_and_clips_too_short(self) -> None:
        still = Roughness.of(np.zeros(5), np.ones(5))
        steady = Roughness.of(np.arange(5) / 30, np.ones(5))
        np.testing.assert_allclose(still.bands, steady.bands)
        for frames in (1, 2):
            short = Roughness.of(np.arange(frames) / 30, np.ones(frames))
            assert not short.times(np.ones((frames, 2))).any()


def dense(roughness: Roughness) -> np.ndarray:
    return roughness.times(np.eye(roughness.bands.shape[1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_banded_solution_is_the_dense_one(dtype: torch.dtype) -> None:
    """Step after step, whichever frames are seen together."""
    frames, rows, own = 7, 5, 3
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(1)
    times = random.random(frames).cumsum() / 20
    smooth = tuple(
        Smooth(
            Roughness.of(times, random.random(frames)),
            random.random(own) * scale,
            random.normal(size=(frames, own)),
        )
        for scale in (1.0, 10.0)
    )
    prior = random.random(frames)
    problem = ClipProblem(prior, smooth, own, dtype)
    for parts in ((0, 7), (0, 2, 3, 7)):
        jacobian = torch.randn(frames, rows, own, generator=generator)
        residuals = torch.randn(frames, rows, generator=generator)
        start = random.normal(size=(frames, own))
        for begin, end in pairwise(parts):
            problem.see(slice(begin, end), residuals[begin:end], jacobian[begin:end])
        found = problem.step(start)

        whole = torch.block_diag(*jacobian).double().numpy()
        matrix = whole.T @ whole + np.diag(np.repeat(prior, own))
        gradient = whole.T @ residuals.numpy().ravel() + np.repeat(prior, own) * start.ravel()
        for each in smooth:
            form = np.kron(dense(each.roughness), np.diag(each.stiffness))
            matrix += form
            gradient += form @ (start + each.path).ravel()
        expected = np.linalg.solve(matrix, -gradient)
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4, atol=1e-4)


def test_a_matrix_with_too_few_digits_says_so() -> None:
    frames = 40
    stiff = Smooth(
        Roughness.of(np.arange(frames) / 30, np.full(frames, 1e11)), np.ones(1), np.zeros((40, 1))
    )
    for dtype, solved in ((torch.float32, False), (torch.float64, True)):
        problem = ClipProblem(np.full(frames, 0.2), (stiff,), 1, dtype)
        problem.see(slice(0, frames), torch.ones(frames, 1), torch.ones(frames, 1, 1))
        if solved:
            # A straight line, on which everything is still pulled back to where it was.
            np.testing.assert_allclose(problem.step(np.zeros((frames, 1))), -1 / 1.2, rtol=1e-3)
        else:
            with pytest.raises(np.linalg.LinAlgError):
                problem.step(np.zeros((frames, 1)))


@pytest.mark.parametrize("shared", [1, 2])
def test_frames_that_share_unknowns_are_solved_as_if_at_once(shared: int) -> None:
    frames, rows, own = 6, 4, 5
    generator = torch.Generator().manual_seed(4)
    jacobian = torch.randn(frames, rows, own, generator=generator)
    common = torch.randn(frames, rows, shared, generator=generator)
    residuals = torch.randn(frames, rows, generator=generator)
    prior = torch.rand(frames, generator=generator) + 0.2
    start = Unknowns(torch.randn(frames, own, generator=generator), torch.ones(shared))
    found = SharingProblem(jacobian, common, prior, 0.7).step(residuals, start)

    whole = np.hstack([torch.block_diag(*jacobian).numpy(), common.flatten(0, 1).numpy()])
    held = np.append(np.repeat(prior.numpy(), own), np.full(shared, 0.7))
    x0 = np.append(start.of_frames.numpy().ravel(), start.shared.numpy())
    gradient = whole.T @ residuals.numpy().ravel() + held * x0
    expected = np.linalg.solve(whole.T @ whole + np.diag(held), -gradient)
    size = frames * own
    np.testing.assert_allclose(found.of_frames.ravel(), expected[:size], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.shared, expected[size:], rtol=1e-3, atol=1e-4)


class TestEvidence:
    frames, joints = 200, 23

    def weighed(self, error: torch.Tensor, confidence: torch.Tensor | None = None):
        projected = torch.full((self.frames, self.joints, 2), 300.0)
        scores = torch.ones(self.frames, self.joints) if confidence is None else confidence
        keypoints = torch.cat([projected + error, scores[..., None]], -1)
        scale = torch.full((self.frames,), 0.01)
        return weigh(keypoints, projected, scale, 0.05, 0.005, lingering=6.0, most_lingering=9.0)

    def noise(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.frames, self.joints, 2, generator=generator)

    def test_trembling_is_measured_in_metres(self) -> None:
        found = self.weighed(2.0 * self.noise())
        assert found.unrest.mean() == pytest.approx(0.02, rel=0.1)
        assert found.commotion.mean() == pytest.approx(0.02, rel=0.1)
        assert found.sigma.mean() == pytest.approx(0.12, rel=0.15)

    def test_wild_trembling_is_not_believed_to_last(self) -> None:
        scores = torch.ones(self.frames, self.joints, 1)
        keypoints = torch.cat([300.0 + 10 * self.noise(), scores], -1)
        projected, scale = torch.full_like(keypoints[..., :2], 300.0), torch.full((200,), 0.01)
        found = weigh(keypoints, projected, scale, 0.05, 0.005, lingering=6.0, most_lingering=0.04)
        assert found.sigma.mean() == pytest.approx((0.1**2 + 0.04**2) ** 0.5, rel=0.1)

    def test_what_stays_beside_does_not_tremble(self) -> None:
        """Nor what goes its way evenly."""
        away = torch.linspace(0, 50, self.frames)[:, None, None] + 30.0
        found = self.weighed(away.expand(-1, self.joints, 2))
        assert float(found.unrest.max()) < 1e-3
        torch.testing.assert_close(
            found.sigma, torch.full_like(found.sigma, 0.005), atol=1e-3, rtol=0
        )

    def test_where_it_trembles_and_not_elsewhere(self) -> None:
        error = 2.0 * self.noise()
        error[: self.frames // 2] = 0
        unrest = self.weighed(error).unrest
        assert float(unrest[: self.frames // 2 - AROUND - 1].max()) < 1e-6
        assert float(unrest[self.frames // 2 + AROUND + 1 :].min()) > 0.01

    def test_a_few_jumps_are_a_commotion(self) -> None:
        error = 0.1 * self.noise()
        error[100:102, 9] += 40.0
        found = self.weighed(error)
        assert found.commotion[100] > 8 * found.unrest[100]

    def test_what_is_not_seen_says_nothing(self) -> None:
        error, confidence = 2.0 * self.noise(), torch.ones(self.frames, self.joints)
        error[:, 5], confidence[:, 5] = 1e4, 0.01
        found = self.weighed(error, confidence)
        assert not found.weight[:, 5].any() and found.commotion.max() < 0.04
        assert torch.isfinite(found.sigma).all()

    def test_far_errors_count_in_proportion(self) -> None:
        """Huber: beyond one sigma twice the error has half the weight."""
        found = self.weighed(torch.zeros(self.frames, self.joints, 2))
        residuals = torch.zeros(self.frames, self.joints, 2)
        residuals[0, 0, 0], residuals[0, 1, 0], residuals[0, 2, 0] = 0.004, 0.05, 0.1
        weight = found.robust_weight(residuals)[0] / found.weight[0]
        torch.testing.assert_close(weight[:3], torch.tensor([1.0, 0.1, 0.05]))
