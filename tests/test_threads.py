"""How many threads computing takes, and that all of them are given back."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from test_recover import CAMERA, a_track
from tiny_model import SMALL
from tracked_clips import DETECTOR, FakeDetector, make_clip

from temporal_hmr.body.model import BodyModel
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import Person2D
from temporal_hmr.recover import recover
from temporal_hmr.threads import one_thread, side_by_side
from temporal_hmr.tracking import TrackSettings, track_video
from temporal_hmr.video import Frame


@pytest.fixture(params=[1, 3])
def threads(request) -> Iterator[int]:
    """Of torch and OpenCV."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(request.param)
    torch.set_num_threads(request.param)
    yield request.param
    assert counts() == (request.param, request.param), "what was lent is given back"
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


def counts() -> tuple[int, int]:
    return cv2.getNumThreads(), torch.get_num_threads()


def test_one_thread_for_all(threads: int) -> None:
    with one_thread():
        assert counts() == (1, 1)
    with one_thread(wanted=False):
        assert counts() == (threads, threads)
    with pytest.raises(KeyError), one_thread():
        raise KeyError


def test_side_by_side_are_as_many_as_torch_would_take(threads: int) -> None:
    with side_by_side() as pool:
        assert pool is not None and pool._max_workers == threads
        assert list(pool.map(lambda _: counts(), range(9))) == 9 * [(1, 1)]
    with side_by_side(wanted=False) as nothing:
        assert nothing is None and counts() == (threads, threads)


def test_networks_that_share_the_cores_are_alone_with_them(
    threads: int, weights: Path, tmp_path: Path, monkeypatch
) -> None:
    seen: list[tuple[int, int]] = []

    class Watching(FakeDetector):
        def people(self, frame: Frame) -> list[Person2D]:
            seen.append(counts())
            return super().people(frame)

    monkeypatch.setattr(DETECTOR, Watching)
    track_video(make_clip(tmp_path / "walk.mp4", 3), TrackSettings(weights=weights))
    assert seen == 3 * [(1, 1)]


def test_windows_are_the_same_in_any_number_of_threads(threads: int, body: BodyModel) -> None:
    torch.manual_seed(0)
    model, track = Hmr(SMALL).eval(), a_track(list(range(90)))
    motion = recover(model, body, track, CAMERA, 25.0)
    torch.set_num_threads(1)
    alone = recover(model, body, track, CAMERA, 25.0)
    torch.set_num_threads(threads)
    assert torch.equal(motion.smpl.body_pose, alone.smpl.body_pose)
    assert torch.equal(motion.smpl.transl, alone.smpl.transl)


def test_an_error_in_a_window_comes_through(threads: int, body: BodyModel, monkeypatch) -> None:
    def broken(*_) -> None:
        raise ArithmeticError("no such window")

    model = Hmr(SMALL).eval()
    monkeypatch.setattr(model, "bodies", broken)
    with pytest.raises(ArithmeticError, match="no such window"):
        recover(model, body, a_track(list(range(90))), CAMERA, 25.0)
