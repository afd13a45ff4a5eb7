"""Memory after detection: long clips take what their results take, and nothing else that grows.

Arrays are counted by tracemalloc, which does not see tensors; of those, the sizes that any
operation makes are noted. Both are exact, as the memory of a process is not.
"""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from result_motions import PROVENANCE
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from temporal_hmr.blending import at_times
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.confidence import Seen, joint_confidence, seconds_away
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.npz import load_motion, save_motion
from temporal_hmr.recover import load_model, recover
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import BLAZEPOSE23

AT_ONCE = 128
SHORT, LONG = 2 * AT_ONCE, 16 * AT_ONCE
CAMERA = Camera.with_assumed_focal(640, 480)
ROTATIONS = 24 * 9 * 4
"""Bytes of one frame's rotations, which are most of a result."""


class TensorSizes(TorchFunctionMode):
    """Notes the bytes of all tensors that operations make anew."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        known = {id_of(each) for each in tree_leaves((args, kwargs)) if torch.is_tensor(each)}
        for each in tree_leaves(made):
            if torch.is_tensor(each) and id_of(each) not in known:
                self.sizes.add(each.untyped_storage().nbytes())
        return made


def id_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def taken(work: Callable[[], object]) -> tuple[int, set[int]]:
    """Highest bytes of arrays beyond those there before, and the bytes of each tensor."""
    tracemalloc.start()
    try:
        with TensorSizes() as tensors:
            work()
        return tracemalloc.get_traced_memory()[1], tensors.sizes
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporal_hmr.blending.FRAMES_AT_ONCE", AT_ONCE)


@pytest.fixture(scope="module")
def model() -> Hmr:
    return load_model(None, torch.device("cpu"))


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def posed(body) -> PosedBody:
    return PosedBody(body)


@pytest.fixture
def _upright(monkeypatch: pytest.MonkeyPatch, posed: PosedBody) -> None:
    """The model says of all windows that somebody stands there."""
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))

    def forward(self, window, posed, temporal=True):
        batch, frames = window.times.shape
        rotations = torch.eye(3).repeat(batch, frames, 24, 1, 1)
        rotations[:, :, 0] = upright
        place = torch.tensor([0.0, 0.0, 4.0]).repeat(batch, frames, 1)
        smpl = SmplParams.from_rotations(rotations, torch.zeros(batch, frames, 10), place)
        return SimpleNamespace(smpl=smpl)

    monkeypatch.setattr(Hmr, "forward", forward)
    monkeypatch.setattr("temporal_hmr.recover.PosedBody", lambda body: posed)


def track(frames: int) -> Track:
    """Somebody seen in all frames but some in the middle."""
    draw = np.random.default_rng(0)
    seen = np.delete(np.arange(frames), slice(frames // 2, frames // 2 + 9))
    keypoints = np.ones((len(seen), 23, 3), np.float32)
    keypoints[..., :2] = draw.uniform(100, 400, (len(seen), 23, 2))
    boxes = np.tile(np.float32([100, 100, 400, 400]), (len(seen), 1))
    return Track(0, seen, seen / 30, boxes, keypoints, BLAZEPOSE23)


def motion_of(frames: int) -> BodyMotion:
    turns = 0.3 * torch.sin(
        torch.arange(frames)[:, None, None] / 9 + torch.arange(72.0).view(24, 3)
    )
    betas, place = torch.zeros(1, 10).expand(frames, 10), torch.ones(frames, 3)
    smpl = SmplParams.from_rotations(axis_angle_to_matrix(turns), betas, place)
    return BodyMotion(
        person_id=0,
        frames=np.arange(frames),
        times=np.arange(frames) / 30,
        fps=30.0,
        smpl=smpl,
        joints=np.zeros((frames, 24, 3), np.float32),
        camera=CAMERA,
        boxes=np.zeros((frames, 4), np.float32),
        keypoints=np.zeros((frames, 23, 3), np.float32),
        skeleton=BLAZEPOSE23,
        observed=np.ones(frames, bool),
        confidence=np.zeros(frames, np.float32),
    )


@pytest.mark.usefixtures("_upright")
class TestRecover:
    def test_it_grows_by_its_result_alone(self, model: Hmr, body) -> None:
        tracks = {frames: track(frames) for frames in (SHORT, LONG)}
        (arrays, usual), (more, sizes) = (
            taken(
                lambda frames=frames: recover(model, body, tracks[frames], CAMERA, 30.0, fit=None)
            )
            for frames in (SHORT, LONG)
        )
        # Keypoints, joints, boxes, their confidence, numbers and times; some of them in float64.
        result = 4 * (23 * 3 + 24 * 3 + 24 + 1 + 4) + 16 + 1
        assert more - arrays < 1.3 * result * (LONG - SHORT)
        assert max(sizes - usual) <= ROTATIONS * LONG

    def test_confidence_some_frames_at_a_time_is_that_of_all_at_once(
        self, model: Hmr, body, posed: PosedBody
    ) -> None:
        motion = recover(model, body, track(2 * AT_ONCE + 7), CAMERA, 30.0, fit=None)
        points = body.regress(motion.smpl, posed.points_of(BLAZEPOSE23))
        away = seconds_away(motion.times, motion.observed)
        projected = CAMERA.project(points).numpy()
        seen = Seen(motion.keypoints, projected, motion.joints, motion.boxes, away)
        assert motion.joint_confidence is not None and not motion.observed.all()
        np.testing.assert_allclose(motion.joint_confidence, joint_confidence(seen), atol=1e-6)


class TestSave:
    def test_it_grows_by_the_poses_alone(self, tmp_path: Path) -> None:
        motions = {frames: motion_of(frames) for frames in (SHORT, LONG)}
        (arrays, usual), (more, sizes) = (
            taken(
                lambda frames=frames: save_motion(motions[frames], tmp_path / "p.npz", PROVENANCE)
            )
            for frames in (SHORT, LONG)
        )
        # Poses, and their halves on the way to the file, of which numpy holds 16 MiB at most.
        assert more - arrays < 3.1 * 4 * 72 * (LONG - SHORT)
        assert sizes == usual

    def test_poses_some_frames_at_a_time_are_those_of_all_at_once(self, tmp_path: Path) -> None:
        motion = motion_of(2 * AT_ONCE + 7)
        save_motion(motion, tmp_path / "p.npz", PROVENANCE)
        with np.load(tmp_path / "p.npz") as stored:
            np.testing.assert_allclose(stored["poses"], motion.smpl.poses().numpy(), atol=1e-6)
        read = load_motion(tmp_path / "p.npz").smpl
        assert (read.rotations() - motion.smpl.rotations()).abs().max() < 1e-5


def test_motion_between_known_frames_takes_no_copy_of_all(posed: PosedBody) -> None:
    motion = motion_of(LONG)
    known, wanted = np.arange(LONG) / 30, np.arange(2 * LONG - 1) / 60
    between = []
    _, sizes = taken(lambda: between.append(at_times(motion.smpl, known, wanted, posed)))
    assert sorted(sizes)[-1] == ROTATIONS * len(wanted)
    # Of the rest, none is of all frames but their places.
    assert sorted(sizes)[-2] < ROTATIONS * LONG / 4
    assert torch.equal(between[0].body_pose[::2], motion.smpl.body_pose)
    assert (between[0].transl[::2] - motion.smpl.transl).abs().max() < 1e-6
