"""Memory after detection does not grow with a clip: what does lies in files.

Without a folder for those, it grows by the result and nothing else. Arrays are counted by
tracemalloc, which does not see tensors; of those, the sizes that any operation makes are noted,
unless they are in a file. Both are exact, as the memory of a process is not.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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
from temporal_hmr.checks.reading import Given
from temporal_hmr.checks.run import CheckSettings, check_people
from temporal_hmr.clip_windows import fill_frames
from temporal_hmr.confidence import Seen, joint_confidence, seconds_away
from temporal_hmr.editing.result import open_result as open_to_edit
from temporal_hmr.editing.run import edit_result
from temporal_hmr.editing.steps import step_of
from temporal_hmr.interchange.ours import read_ours
from temporal_hmr.journal import Journal
from temporal_hmr.keypoint_fit.clip import Clip
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.export import ExportSettings, export_result
from temporal_hmr.output.folder import write_results
from temporal_hmr.output.npz import load_motion, save_motion
from temporal_hmr.output.viewer.page import PageSettings, build_page
from temporal_hmr.output.viewer.result import open_result
from temporal_hmr.recover import load_model, recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from temporal_hmr.skeleton import BLAZEPOSE23
from temporal_hmr.world.placing import find_world

AT_ONCE = 128
SHORT, LONG = 2 * AT_ONCE, 16 * AT_ONCE
CAMERA = Camera.with_assumed_focal(640, 480)
ROTATIONS = 24 * 9 * 4
"""Bytes of one frame's rotations, which are most of a result."""


class TensorSizes(TorchFunctionMode):
    """Notes the bytes of all tensors that operations make anew in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        known = {id_of(each) for each in tree_leaves((args, kwargs)) if torch.is_tensor(each)}
        for each in tree_leaves(made):
            if torch.is_tensor(each) and id_of(each) not in known:
                storage = each.untyped_storage()
                if storage.filename is None:
                    self.sizes.add(storage.nbytes())
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
    monkeypatch.setattr("temporal_hmr.on_disk.FRAMES_AT_ONCE", AT_ONCE)


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

    def bodies(self, window, posed, temporal=True):
        batch, frames = window.times.shape
        rotations = torch.eye(3).repeat(batch, frames, 24, 1, 1)
        rotations[:, :, 0] = upright
        place = torch.tensor([0.0, 0.0, 4.0]).repeat(batch, frames, 1)
        return SmplParams.from_rotations(rotations, torch.zeros(batch, frames, 10), place)

    monkeypatch.setattr(Hmr, "bodies", bodies)
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

    def test_beside_a_journal_it_hardly_grows(self, model: Hmr, body, tmp_path: Path) -> None:
        def work(frames: int) -> None:
            journal = Journal(tmp_path / f"{frames}.jsonl", "")
            with journal:
                recover(model, body, track(frames), CAMERA, 30.0, fit=None, journal=journal)

        (arrays, usual), (more, sizes) = (
            taken(lambda frames=frames: work(frames)) for frames in (SHORT, LONG // 2)
        )
        # Of each frame its keypoints, which are the track's own, and numbers, times and boxes.
        assert more - arrays < (2 * 4 * 69 + 150) * (LONG // 2 - SHORT)
        assert max(sizes - usual) < ROTATIONS * LONG / 10
        assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl", ".jsonl"]

    def test_beside_a_journal_it_is_the_same(self, model: Hmr, body, tmp_path: Path) -> None:
        seen, fit = track(40), Reprojection(steps=1)
        with Journal(tmp_path / "bodies.jsonl", "") as journal:
            found = recover(model, body, seen, CAMERA, 30.0, fit=fit, journal=journal)
        usual = recover(model, body, seen, CAMERA, 30.0, fit=fit)
        assert found.smpl.body_pose.untyped_storage().filename is not None
        assert torch.equal(found.smpl.rotations(), usual.smpl.rotations())
        assert torch.equal(found.smpl.transl, usual.smpl.transl)
        for name in ("joints", "keypoints", "joint_confidence", "confidence"):
            np.testing.assert_array_equal(getattr(found, name), getattr(usual, name))

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


def test_keypoints_weighed_some_frames_at_a_time_are_weighed_as_all_at_once(
    posed: PosedBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = fill_frames(track(2 * AT_ONCE + 7))
    where = seen, CAMERA, posed, BLAZEPOSE23, Reprojection()
    parts = Clip.of(motion_of(len(seen)).smpl, *where).evidence
    monkeypatch.setattr("temporal_hmr.on_disk.FRAMES_AT_ONCE", LONG)
    whole = Clip.of(motion_of(len(seen)).smpl, *where).evidence
    for name in ("pixels", "metres_per_pixel", "sigma", "weight", "seen", "unrest", "commotion"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), msg=name)


class TestSave:
    def test_it_does_not_grow(self, tmp_path: Path) -> None:
        motions = {frames: motion_of(frames) for frames in (SHORT, LONG)}
        (arrays, usual), (more, sizes) = (
            taken(
                lambda frames=frames: save_motion(motions[frames], tmp_path / "p.npz", PROVENANCE)
            )
            for frames in (SHORT, LONG)
        )
        assert more - arrays < 4 * 72 / 8 * (LONG - SHORT), "an eighth of the poses"
        assert sizes == usual

    def test_poses_some_frames_at_a_time_are_those_of_all_at_once(self, tmp_path: Path) -> None:
        motion = motion_of(2 * AT_ONCE + 7)
        save_motion(motion, tmp_path / "p.npz", PROVENANCE)
        with np.load(tmp_path / "p.npz") as stored:
            np.testing.assert_allclose(stored["poses"], motion.smpl.poses().numpy(), atol=1e-6)
        read = load_motion(tmp_path / "p.npz").smpl
        assert (read.rotations() - motion.smpl.rotations()).abs().max() < 1e-5


class TestCheck:
    def test_in_parts_it_finds_the_same_and_hardly_grows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exact, path = load_body(dtype=torch.float64), tmp_path / "p.npz"
        settings = CheckSettings(static_camera=True)

        def report() -> object:
            given = [Given(motion, exact, True) for motion in read_ours(path)]
            return check_people(given, settings)

        found = {}
        for frames in (SHORT, LONG // 2):
            save_motion(motion_of(frames), path, PROVENANCE)
            found[frames] = taken(report)
        (arrays, usual), (more, sizes) = found.values()
        # A person's float64 rotations alone would be 1728 bytes a frame.
        assert more - arrays < 700 * (LONG // 2 - SHORT)
        assert max(sizes - usual, default=0) < ROTATIONS * LONG / 8
        parts = report()
        monkeypatch.setattr("temporal_hmr.on_disk.FRAMES_AT_ONCE", LONG)
        assert repr(report()) == repr(parts)


class TestDoors:
    """Of results that are read from files."""

    @pytest.fixture
    def folders(self, tmp_path: Path) -> dict[int, Path]:
        clip = {"fps": 30.0, "num_frames": LONG}
        for frames in (SHORT, LONG // 2):
            write_results(tmp_path / str(frames), [motion_of(frames)], clip, PROVENANCE)
        return {frames: tmp_path / str(frames) for frames in (SHORT, LONG // 2)}

    @pytest.mark.parametrize("format", ["bvh", "wham"])
    def test_exports_hardly_grow(self, folders: dict[int, Path], format: str) -> None:
        settings = ExportSettings((format,))
        (arrays, usual), (more, sizes) = (
            taken(lambda folder=folder: export_result(folder, folder / "export", settings))
            for folder in folders.values()
        )
        # A person's float64 rotations alone would be 1728 bytes a frame.
        assert more - arrays < 700 * (LONG // 2 - SHORT)
        assert max(sizes - usual, default=0) < ROTATIONS * LONG / 8

    def test_in_parts_exports_are_the_same(
        self, folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder, formats = folders[SHORT], ("bvh", "amass", "wham")
        export_result(folder, folder / "parts", ExportSettings(formats))
        monkeypatch.setattr("temporal_hmr.on_disk.FRAMES_AT_ONCE", LONG)
        export_result(folder, folder / "whole", ExportSettings(formats))
        for name in ("bvh/person_000.bvh", "amass/person_000_poses.npz", "wham_output.pkl"):
            parts, whole = (folder / each / name for each in ("parts", "whole"))
            assert parts.read_bytes() == whole.read_bytes(), name

    def test_pages_and_edits_hardly_grow(self, folders: dict[int, Path]) -> None:
        # At most so many poses fit into a page.
        settings = PageSettings(megabytes=1.2)
        for work in (
            lambda folder: build_page(open_result(folder), None, "", settings),
            lambda folder: edit_result(open_to_edit(folder), [step_of("rename", ["0=7"])]).save(
                folder / "new"
            ),
        ):
            (arrays, usual), (more, sizes) = (
                taken(lambda folder=folder, work=work: work(folder)) for folder in folders.values()
            )
            assert more - arrays < 900 * (LONG // 2 - SHORT)
            assert max(sizes - usual, default=0) < ROTATIONS * LONG / 8


def test_a_world_is_found_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch, body) -> None:
    motion = standing_up(motion_of(3 * AT_ONCE), body)
    monkeypatch.setattr("temporal_hmr.world.foot_lock._ROWS_AT_ONCE", 100)
    parts = find_world([motion], body, foot_lock=True)
    for name in ("on_disk.FRAMES_AT_ONCE", "world.foot_lock._ROWS_AT_ONCE"):
        monkeypatch.setattr(f"temporal_hmr.{name}", 1 << 16)
    whole = find_world([motion], body, foot_lock=True)
    assert not isinstance(parts, str) and not isinstance(whole, str), (parts, whole)
    for one, other in zip(parts, whole, strict=True):
        assert one.world is not None and other.world is not None
        assert one.world.smpl.body_pose.untyped_storage().filename is not None
        torch.testing.assert_close(
            one.world.smpl.rotations(), other.world.smpl.rotations(), atol=1e-9, rtol=0
        )
        torch.testing.assert_close(
            one.world.smpl.transl, other.world.smpl.transl, atol=1e-9, rtol=0
        )


def standing_up(motion: BodyMotion, body) -> BodyMotion:
    """Somebody who moves a little, before a camera that is level."""
    rotations = axis_angle_to_matrix(0.1 * matrix_to_axis_angle(motion.smpl.rotations()))
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ rotations[:, 0]
    place = torch.tensor([0.0, 0.3, 4.0]).expand(len(motion), 3)
    smpl = SmplParams.from_rotations(rotations, motion.smpl.betas, place)
    keypoints = np.ones_like(motion.keypoints)
    return replace(motion, smpl=smpl, joints=body.joints(smpl).numpy(), keypoints=keypoints)


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
