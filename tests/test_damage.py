"""Damage in the middle costs the frames that it hit, and neither the run nor anybody's time."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_video import header_first, picture, shown_index, write
from tracked_clips import DETECTOR, FakeDetector

from temporal_hmr.clip_windows import fill_frames
from temporal_hmr.containers import intact_frames
from temporal_hmr.damage import steps_and_gaps
from temporal_hmr.decoding import usable
from temporal_hmr.errors import InputError
from temporal_hmr.following import follow
from temporal_hmr.tracking import TrackSettings, track_video
from temporal_hmr.video import open_clip

FRAMES = 55
"""The greys that number the frames wrap around behind."""


def shots(folder: Path, frames: int, broken: tuple[int, ...] = ()) -> Path:
    folder.mkdir()
    for index in range(frames):
        path = folder / f"shot_{index:03d}.png"
        cv2.imwrite(str(path), picture(index, 40, 30)[..., ::-1])
        if index in broken:
            path.write_bytes(path.read_bytes()[:20] if index % 2 else b"")
    return folder


def holed(path: Path, begin: float, end: float) -> Path:
    """The file with zeros in place of a stretch of its bytes."""
    content = bytearray(path.read_bytes())
    first, stop = int(begin * len(content)), int(end * len(content))
    content[first:stop] = bytes(stop - first)
    path.write_bytes(content)
    return path


class TestImages:
    def test_those_that_cannot_be_read_keep_their_number_and_time(self, tmp_path, caplog) -> None:
        clip = open_clip(shots(tmp_path / "walk", 9, broken=(3, 4, 8)), fps=10)
        for _ in range(2):
            frames = list(clip)
            assert [frame.index for frame in frames] == list(range(9))
            assert [frame.time for frame in frames] == pytest.approx(np.arange(9) / 10)
            assert [frame.index for frame in frames if frame.damaged] == [3, 4, 8]
            shown = [round(shown_index(frame.image)) for frame in frames]
            assert shown == [0, 1, 2, 2, 2, 5, 6, 7, 7], "the picture before stands in"
        assert clip.damaged == (3, 4, 8) and clip.breaks_off_after is None
        (record,) = caplog.records
        told = "3 of 9 images in walk cannot be read: shot_003.png, shot_004.png, shot_008.png;"
        assert record.getMessage().startswith(told)

    def test_whoever_draws_into_an_image_draws_into_no_other(self, tmp_path) -> None:
        shown = []
        for frame in open_clip(shots(tmp_path / "walk", 7, broken=(3, 4))):
            shown.append(round(shown_index(frame.image)))
            frame.image[:] = 255
        assert shown == [0, 1, 2, 2, 2, 5, 6]

    def test_many_are_counted_and_a_few_named(self, tmp_path, caplog) -> None:
        list(open_clip(shots(tmp_path / "walk", 20, broken=tuple(range(5, 15)))))
        assert "shot_009.png and 5 more" in caplog.text and "shot_010" not in caplog.text

    def test_one_in_a_stride_or_a_range(self, tmp_path) -> None:
        clip = open_clip(shots(tmp_path / "walk", 12, broken=(4, 5)), start=0.1, stride=3, fps=10)
        assert [(frame.index, frame.damaged) for frame in clip] == [
            (1, False),
            (4, True),
            (7, False),
            (10, False),
        ]

    def test_the_first_ones_are_black(self, tmp_path) -> None:
        clip = open_clip(shots(tmp_path / "walk", 8, broken=(0, 1)))
        frames = list(clip)
        assert (clip.width, clip.height) == (40, 30)
        assert [int(frame.image.max()) for frame in frames[:3]] == [0, 0, 255]
        assert [frame.damaged for frame in frames[:3]] == [True, True, False]

    def test_many_at_the_beginning_are_an_error(self, tmp_path) -> None:
        folder = shots(tmp_path / "walk", 14, broken=tuple(range(12)))
        with pytest.raises(InputError, match=r"shot_000\.png cannot .* nor the 9 after it"):
            open_clip(folder)

    @pytest.mark.parametrize("content", [b"", b"no picture"])
    def test_one_alone_is_an_error(self, tmp_path, content) -> None:
        (tmp_path / "2.jpg").write_bytes(content)
        for source in (tmp_path, tmp_path / "2.jpg"):
            with pytest.raises(InputError, match=r"2\.jpg cannot be read as an image: replace"):
                open_clip(source)

    def test_a_range_without_any_is_an_error(self, tmp_path) -> None:
        clip = open_clip(shots(tmp_path / "walk", 8, broken=(4, 5)), start=0.4, end=0.6, fps=10)
        with pytest.raises(InputError, match=r"not one frame of .*walk can be read"):
            list(clip)


class _Watchful(FakeDetector):
    def __init__(self) -> None:
        self.asked: list[int] = []

    def people(self, frame):
        self.asked.append(frame.index)
        return super().people(frame)


def test_nobody_is_looked_for_in_what_stands_in(tmp_path) -> None:
    """They are filled in there like everybody who is out of sight for a moment."""
    detector = _Watchful()
    followed = follow(open_clip(shots(tmp_path / "walk", 30, (10, 11))), detector)
    assert detector.asked == [*range(10), *range(12, 30)]
    assert followed.frames.tolist() == list(range(30)) and not len(followed.cuts)
    (track,) = followed.tracks
    seen = fill_frames(track)
    assert np.flatnonzero(~seen.observed).tolist() == [10, 11]


def test_the_result_says_which_they_were(tmp_path, weights, monkeypatch) -> None:
    monkeypatch.setattr(DETECTOR, FakeDetector)
    result = track_video(shots(tmp_path / "walk", 9, (3, 4)), TrackSettings(weights=weights))
    assert result.damaged == (3, 4) and result.breaks_off_after is None
    result.save(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "result.json").read_text())
    assert told["damaged_frames"] == [3, 4] and "breaks_off_after" not in told


class TestVideos:
    @pytest.mark.parametrize(
        ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("b.avi", "mp4v")]
    )
    def test_what_comes_behind_a_hole_keeps_its_time(self, tmp_path, caplog, name, codec) -> None:
        path = write(tmp_path / name, FRAMES, codec=codec)
        if name == "a.mp4":
            path.write_bytes(header_first(path.read_bytes()))
        clip = open_clip(holed(path, 0.5, 0.65))
        frames = list(clip)
        assert [frame.index for frame in frames] == list(range(FRAMES)) and len(clip) == FRAMES
        assert clip.fps == pytest.approx(25) and clip.breaks_off_after is None
        times = np.array([frame.time for frame in frames])
        assert times == pytest.approx(np.arange(FRAMES) / 25, abs=1e-4)
        lost = [frame.index for frame in frames if frame.damaged]
        assert 3 <= len(lost) <= 25 and tuple(lost) == clip.damaged
        # Codecs that tell changes only go wrong until the next whole picture.
        late = 12 if codec == "mp4v" else 1
        sure = [*frames[: lost[0] - 1], *frames[lost[-1] + late :]]
        assert len(sure) > 15 and sure[-1].index == FRAMES - 1
        for frame in sure:
            assert shown_index(frame.image) == pytest.approx(frame.index, abs=1.6)
        (record,) = [each for each in caplog.records if "read by OpenCV" not in each.getMessage()]
        assert record.getMessage().startswith(f"{len(lost)} of {FRAMES} frames of {name} cannot")
        assert f"from {times[lost[0]]:.2f} s to" in record.getMessage()

    @pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mpg"])
    def test_a_gap_in_time_is_told_and_does_not_slow_the_video(
        self, tmp_path, caplog, name
    ) -> None:
        codec = "MPG2" if name == "a.mpg" else "mp4v"
        clip = open_clip(holed(write(tmp_path / name, FRAMES, codec=codec), 0.4, 0.55))
        frames = list(clip)
        assert len(frames) < FRAMES and clip.fps == pytest.approx(25, rel=0.01)
        begun = frames[0].time
        for frame in [*frames[:10], *frames[-10:]]:
            assert shown_index(frame.image) == pytest.approx((frame.time - begun) * 25, abs=1.6)
        (told,) = [each.getMessage() for each in caplog.records if "no pictures" in each.msg]
        assert told.startswith(f"{name} has no pictures from ")

    def test_whole_ones_are_not_complained_of(self, tmp_path, caplog) -> None:
        for name, codec in (("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")):
            clip = open_clip(write(tmp_path / name, codec=codec))
            assert len(list(clip)) == 40 and not clip.damaged
        assert all("read by OpenCV" in record.getMessage() for record in caplog.records)


class TestIndexOfAvi:
    def test_frames_are_looked_for_where_it_says(self, tmp_path) -> None:
        path = write(tmp_path / "a.avi", 20, codec="MJPG")
        intact = intact_frames(path)
        assert intact is not None and len(intact) == 20 and intact.all()
        content = bytearray(path.read_bytes())
        frames = range(content.index(b"movi"), len(content))
        starts = [at for at in frames if content[at : at + 4] == b"00dc"]
        content[starts[7] : starts[7] + 4] = bytes(4)
        path.write_bytes(content)
        found = intact_frames(path)
        assert found is not None and np.flatnonzero(~found).tolist() == [7]

    @pytest.mark.parametrize("length", [0, 5, 11, 30, 3000])
    def test_what_is_none_or_has_none(self, tmp_path, length) -> None:
        content = write(tmp_path / "a.avi", 20, codec="MJPG").read_bytes()
        (tmp_path / "b.avi").write_bytes(content[:length])
        assert intact_frames(tmp_path / "b.avi") is None


class TestTimes:
    def test_uneven_times_have_no_gaps(self) -> None:
        uneven = np.cumsum(np.random.default_rng(0).exponential(0.04, 200))
        assert not len(steps_and_gaps(uneven)[1])

    def test_a_late_frame_is_no_gap(self) -> None:
        times = np.delete(np.arange(100) / 30, [40, 41])
        assert not len(steps_and_gaps(times)[1])
        assert steps_and_gaps(np.delete(np.arange(100) / 30, np.s_[40:48]))[1].tolist() == [39]

    def test_milliseconds_are_no_unevenness(self) -> None:
        times = np.delete(np.arange(300) / 29.97, np.s_[100:160]).round(3)
        assert usable(times, 29.97) == (pytest.approx(times), 29.97)
        assert usable(times, 25.0)[1] == pytest.approx(29.97, rel=1e-3)

    def test_a_few_that_fall_behind_are_put_right(self) -> None:
        """Program streams give none to the last picture, which cost all the others theirs."""
        times = np.delete(np.arange(100) / 25, np.s_[50:70])
        broken = times.copy()
        broken[[20, -1]] = 0.0, np.nan
        found, fps = usable(broken, 25.0)
        assert found == pytest.approx(times, abs=1e-6) and fps == 25.0

    def test_many_are_not(self) -> None:
        times = np.random.default_rng(0).permutation(100) / 25.0
        assert usable(times, 25.0)[0] == pytest.approx(np.arange(100) / 25)
