"""Work that survives: a killed run goes on where it was, to the same bytes."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tracked_clips import FakeDetector, make_clip

from temporal_hmr.errors import InputError
from temporal_hmr.following import follow
from temporal_hmr.journal import Journal
from temporal_hmr.motion import Person2D, Track
from temporal_hmr.output.work import WORK, working_in
from temporal_hmr.video import Frame

NUM_FRAMES = 24


class Counting(FakeDetector):
    """Its answer depends on how many frames it has seen, as a detector's that follows people."""

    def __init__(self) -> None:
        self.seen = 0
        self.looked_at: list[int] = []

    def state(self) -> int:  # type: ignore[override]
        return self.seen

    def restore(self, state: int | None) -> None:  # type: ignore[override]
        self.seen = state or 0

    def people(self, frame: Frame) -> list[Person2D]:
        self.looked_at.append(frame.index)
        self.seen += 1
        (person,) = super().people(frame)
        person.keypoints[:, 1] += np.sqrt(self.seen)
        return [person]


def frames(count: int = NUM_FRAMES) -> list[Frame]:
    image = np.random.default_rng(0).integers(0, 90, (96, 64, 3), np.uint8)
    return [Frame(index, index / 25, image) for index in range(count)]


def same(tracks: list[Track], others: list[Track]) -> bool:
    return len(tracks) == len(others) and all(
        a.keypoints.tobytes() == b.keypoints.tobytes()
        and a.boxes.tobytes() == b.boxes.tobytes()
        and a.times.tobytes() == b.times.tobytes()
        for a, b in zip(tracks, others, strict=True)
    )


class TestJournal:
    def fill(self, path: Path, *records: str, key: str = "k") -> None:
        with Journal(path, key) as journal:
            while journal.recall() is not None:
                pass
            for record in records:
                journal.record(record)

    def read(self, path: Path, key: str = "k") -> list[str]:
        with Journal(path, key) as journal:
            return list(iter(journal.recall, None))

    def test_what_was_recorded_is_recalled_and_gone_on_from(self, tmp_path) -> None:
        self.fill(tmp_path / "w" / "j", "one", "two")
        self.fill(tmp_path / "w" / "j", "three é")
        assert self.read(tmp_path / "w" / "j") == ["one", "two", "three é"]

    def test_of_another_key_nothing_is_recalled(self, tmp_path) -> None:
        self.fill(tmp_path / "j", "one")
        assert self.read(tmp_path / "j", key="other") == []
        assert self.read(tmp_path / "j") == []

    def test_cut_anywhere_the_whole_records_before_are_left(self, tmp_path) -> None:
        self.fill(tmp_path / "j", "one", "two", "three")
        content = (tmp_path / "j").read_bytes()
        ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
        for cut in range(len(content)):
            (tmp_path / "j").write_bytes(content[:cut])
            whole = max(sum(end <= cut for end in ends) - 1, 0)
            assert self.read(tmp_path / "j") == ["one", "two", "three"][:whole]
            self.fill(tmp_path / "j", "four")
            assert self.read(tmp_path / "j") == [*["one", "two", "three"][:whole], "four"]

    def test_a_flipped_bit_ends_it_there(self, tmp_path) -> None:
        self.fill(tmp_path / "j", "one", "two", "three")
        content = (tmp_path / "j").read_bytes()
        for at in range(len(content)):
            garbled = bytearray(content)
            garbled[at] ^= 1 << at % 8
            (tmp_path / "j").write_bytes(garbled)
            found = self.read(tmp_path / "j")
            assert found == ["one", "two", "three"][: len(found)] and len(found) < 3

    def test_without_room_the_work_goes_on(self, tmp_path, caplog) -> None:
        (tmp_path / "file").touch()
        with Journal(tmp_path / "file" / "j", "k") as journal:
            assert journal.recall() is None
            journal.record("one")
        assert "work cannot be kept" in caplog.text


class TestDetections:
    def run(self, path: Path | None, clip: list[Frame]) -> tuple[list[Track], list[int]]:
        detector = Counting()
        if path is None:
            return follow(clip, detector).tracks, detector.looked_at
        with Journal(path, "k") as journal:
            return follow(clip, detector, journal).tracks, detector.looked_at

    def test_after_a_cut_anywhere_the_tracks_are_the_same_bytes(self, tmp_path) -> None:
        path = tmp_path / "j"
        plain, _ = self.run(None, frames())
        first, _ = self.run(path, frames())
        assert same(plain, first)
        content = path.read_bytes()
        for cut in np.linspace(0, len(content), 9).astype(int):
            path.write_bytes(content[:cut])
            again, looked_at = self.run(path, frames())
            assert same(plain, again)
            assert looked_at == list(range(NUM_FRAMES - len(looked_at), NUM_FRAMES))
            assert path.read_bytes() == content
        assert not looked_at, "all of it was there"

    def test_frames_at_other_times_are_looked_at_anew(self, tmp_path) -> None:
        self.run(tmp_path / "j", frames())
        moved = [Frame(f.index, f.time + (f.index > 9) * 1e-3, f.image) for f in frames()]
        again, looked_at = self.run(tmp_path / "j", moved)
        assert looked_at == list(range(10, NUM_FRAMES))
        assert same(again, self.run(None, moved)[0])

    def test_nobody_at_all_is_remembered_too(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(Counting, "people", lambda self, frame: self.looked_at.append(0) or [])
        assert self.run(tmp_path / "j", frames()) == ([], [0] * NUM_FRAMES)
        assert self.run(tmp_path / "j", frames()) == ([], [])


class TestWork:
    def test_it_goes_at_the_end_unless_kept(self, tmp_path) -> None:
        for keep in (True, False):
            with working_in(tmp_path / "a" / "b", keep) as work:
                work.journal("x", {"of": 1}).close()
            assert (tmp_path / "a" / "b" / WORK).exists() == keep

    def test_it_stays_when_the_run_breaks_off_and_is_found_again(self, tmp_path) -> None:
        def interrupted() -> None:
            with working_in(tmp_path, False) as work, work.journal("x", {"of": 1}) as journal:
                journal.record("one")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with working_in(tmp_path, True) as work:
            with work.journal("x", {"of": 1}) as journal:
                assert journal.recall() == "one"
            with work.journal("x", {"of": 2}) as journal:
                assert journal.recall() is None

    def test_work_that_never_began_leaves_no_folder(self, tmp_path) -> None:
        with pytest.raises(InputError), working_in(tmp_path / "a" / "b", False):
            raise InputError("no")
        assert not any(tmp_path.iterdir())

    def test_two_runs_are_not_let_into_one_folder(self, tmp_path) -> None:
        pytest.importorskip("fcntl")
        with working_in(tmp_path, False):
            second = working_in(tmp_path, False)
            with pytest.raises(InputError, match="another run is at work in"):
                second.__enter__()
        with working_in(tmp_path, False):
            pass

    def test_what_a_killed_run_left_half_written_goes(self, tmp_path) -> None:
        (tmp_path / ".partial_x").mkdir()
        (tmp_path / ".partial_x" / "person_000.npz").touch()
        (tmp_path / ".overlay.0123abcd.mp4").touch()
        (tmp_path / "mine.txt").touch()
        with working_in(tmp_path, False):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


RUN = """
import sys, time
sys.path.insert(0, {tests!r})
from test_resume_track import Counting
from temporal_hmr import track
from temporal_hmr.people import mediapipe
from temporal_hmr.command_line import run_door
class Slow(Counting):
    def people(self, frame):
        time.sleep(0.01)
        return super().people(frame)
mediapipe.MediapipePeople = Slow
run_door(lambda: track.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_at_ten_moments_it_goes_on_to_the_same_bytes(weights, tmp_path) -> None:
    clip = make_clip(tmp_path / "walk.mp4", 60)
    code = RUN.format(tests=str(Path(__file__).parent))

    def start(out: str) -> subprocess.Popen:
        words = [str(clip), "-o", str(tmp_path / out), "--weights", str(weights), "--no-refine"]
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=nowhere, stderr=nowhere
        )

    begun = time.monotonic()
    assert start("whole").wait() == 0
    takes = time.monotonic() - begun
    random = np.random.default_rng(0)
    killed = 0
    for moment in random.uniform(0.5, 1.0, 10):
        running = start("killed")
        time.sleep(moment * takes)
        killed += running.poll() is None
        running.kill()
        running.wait()
    assert killed >= 3
    assert start("killed").wait() == 0
    whole, resumed = (
        {path.name: path.read_bytes() for path in (tmp_path / out / "walk").iterdir()}
        for out in ("whole", "killed")
    )
    assert set(whole) == {"person_000.npz", "result.json", "overlay.mp4"}
    assert whole == resumed
