"""Videos of all kinds: their times, their pictures, their shots, and frames left out."""

import os
import re
import struct
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_clip_windows import a_track
from test_video import picture, shown_index, turned, write
from tracked_clips import FakeDetector, tiny_config

from temporal_hmr import decoding_av, video
from temporal_hmr.body.load import load_body
from temporal_hmr.cameras import camera_frames
from temporal_hmr.clip_windows import at_trained_rate, fill_frames
from temporal_hmr.decoding import announced, decord_facts, has_index, opencv_images, usable
from temporal_hmr.errors import InputError
from temporal_hmr.live import Seer, watch
from temporal_hmr.many.sources import camera_number
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import Person2D
from temporal_hmr.people.tracker import Tracker
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame, open_clip


def uneven(content: bytes, durations: list[int]) -> bytes:
    """The same mp4 with frames that last so long each, in units of its time scale."""
    at = content.index(b"stts")
    (entries,) = struct.unpack_from(">I", content, at + 8)
    table = struct.pack(">2I", 0, len(durations))
    table += b"".join(struct.pack(">2I", 1, duration) for duration in durations)
    grown = len(table) - 8 - 8 * entries
    changed = bytearray(content[: at + 4] + table + content[at + 12 + 8 * entries :])
    # The header stands behind the frames, so that none of them moves; its parts have grown.
    for name in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = content.index(name) - 4
        (length,) = struct.unpack_from(">I", content, place)
        struct.pack_into(">I", changed, place, length + grown)
    struct.pack_into(">I", changed, at - 4, 16 + 8 * len(durations))
    # The edit list would end the video where it ended before.
    return bytes(changed).replace(b"edts", b"free")


def time_scale(content: bytes) -> int:
    return struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]


@pytest.fixture
def variable(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """An mp4 of frames that last between 20 and 125 ms, and their times."""
    content = write(tmp_path / "a.mp4", frames=20).read_bytes()
    scale = time_scale(content)
    lasting = np.random.default_rng(0).integers(scale // 50, scale // 8, 20)
    (tmp_path / "a.mp4").write_bytes(uneven(content, lasting.tolist()))
    return tmp_path / "a.mp4", np.concatenate([[0], np.cumsum(lasting)[:-1]]) / scale


class TestTimes:
    def test_of_a_variable_rate_are_those_of_the_file(self, variable) -> None:
        path, times = variable
        clip = open_clip(path)
        assert [frame.time for frame in clip] == pytest.approx(times, abs=1e-5)
        assert [time for time, _ in opencv_images(path)] == pytest.approx(times, abs=1e-3)
        assert clip.fps == pytest.approx(19 / times[-1])
        for frame in clip.with_range(times[5] - 1e-3, times[9]):
            assert 5 <= frame.index < 9
            assert shown_index(frame.image) == pytest.approx(frame.index, abs=1.5)

    def test_frames_in_which_somebody_went_unseen_keep_theirs(self) -> None:
        """Interpolated from the neighbours they would be wrong wherever the rate changes."""
        times = np.array([0.0, 0.1, 0.2, 0.3, 1.3, 1.4, 1.5])
        tracker = Tracker()
        for index, time in enumerate(times):
            tracker.add(index, time, [] if index in (2, 3, 4) else [somebody(100)])
        (track,) = tracker.tracks()
        seen = fill_frames(track)
        assert seen.times.tolist() == times.tolist()
        assert seen.observed.tolist() == [True, True, False, False, False, True, True]

    @pytest.mark.parametrize("times", [[0, 0, 0], [0, np.nan, 1], [0, 2, 1]])
    def test_that_are_none_give_way_to_the_stated_rate(self, times) -> None:
        found, fps = usable(np.array(times, float), 25.0)
        assert found == pytest.approx([0, 0.04, 0.08]) and fps == 25

    def test_a_stated_rate_that_is_not_true_is_measured(self) -> None:
        assert usable(np.arange(9) / 21.0, 90000.0)[1] == pytest.approx(21)
        assert usable(np.arange(9) / 29.9, 30.0)[1] == 30


class TestReaders:
    def test_transport_streams_are_not_left_to_decord(self, tmp_path, caplog) -> None:
        """Of such a file it silently drops the first pictures and repeats the last ones."""
        (tmp_path / "a.ts").write_bytes(b"\x47" + bytes(187))
        (tmp_path / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(8))
        assert not has_index(tmp_path / "a.ts") and has_index(tmp_path / "a.mkv")
        path = write(tmp_path / "a.avi", frames=8)
        assert decord_facts(path) is None
        clip = open_clip(path)
        assert "a.avi is read by OpenCV, because decord cannot be used for it" in caplog.text
        shown = [shown_index(frame.image) for frame in clip]
        assert shown == pytest.approx(np.arange(8), abs=1.5) and np.diff(shown).min() > 0.5
        (frame,) = clip.with_range(0.2, 0.22)
        assert frame.index == 5 and shown_index(frame.image) == shown[5]

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    def test_all_turn_pictures_upright_once(self, tmp_path, degrees, monkeypatch) -> None:
        content = write(tmp_path / "a.mp4", frames=2).read_bytes()
        (tmp_path / "turned.mp4").write_bytes(turned(content, degrees))
        first = next(iter(open_clip(tmp_path / "turned.mp4"))).image
        monkeypatch.setattr(video, "indexed_facts", lambda _: None)
        clip = open_clip(tmp_path / "turned.mp4")
        assert (clip.height, clip.width) == first.shape[:2]
        np.testing.assert_array_equal(next(iter(clip)).image, first)

    def test_what_only_pyav_reads_is_named_where_it_is_missing(self, tmp_path, monkeypatch) -> None:
        path = write(tmp_path / "a.mp4", frames=2)
        for name in ("indexed_facts", "opencv_facts", "av_facts"):
            monkeypatch.setattr(video, name, lambda _: None)
        monkeypatch.setattr(video, "codec_of", lambda _: "AV1")
        with pytest.raises(InputError, match=r"a\.mp4 is AV1, .* `pip install av`"):
            open_clip(path)

    def test_a_folder_called_av_is_not_pyav(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "av").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "av", raising=False)
        path = write(tmp_path / "a.mp4", frames=2)
        found = decoding_av.av_facts(path)
        assert found is None or len(found[0]) == 2

    def test_pyav_gives_the_same_pictures_and_times(self, tmp_path) -> None:
        pytest.importorskip("av.error")
        content = write(tmp_path / "a.mp4", frames=5).read_bytes()
        (tmp_path / "a.mp4").write_bytes(turned(content, 90))
        facts = decoding_av.av_facts(tmp_path / "a.mp4")
        assert facts is not None and facts[0] == pytest.approx(np.arange(5) / 25)
        others = opencv_images(tmp_path / "a.mp4", 2)
        for (_, one), (_, other) in zip(
            decoding_av.av_images(tmp_path / "a.mp4", 2), others, strict=True
        ):
            np.testing.assert_array_equal(one, other)


class TestImagesOfSeveralPictures:
    @staticmethod
    def animated(path: Path) -> Path:
        """Five pictures, 0.1 s each."""
        animation = cv2.Animation()
        animation.frames = [picture(index, 96, 64)[..., ::-1].copy() for index in range(5)]
        animation.durations = [100] * 5
        assert cv2.imwriteanimation(str(path), animation)
        return path

    def test_an_animation_is_a_clip_by_any_name(self, tmp_path) -> None:
        clip = open_clip(self.animated(tmp_path / "a.png"))
        assert [frame.time for frame in clip] == pytest.approx(np.arange(5) / 10, abs=1e-3)
        shown = [shown_index(frame.image) for frame in clip]
        assert shown == pytest.approx(np.arange(5), abs=0.5)
        with pytest.raises(InputError, match="a frame rate of its own"):
            open_clip(tmp_path / "a.png", fps=10)

    def test_where_none_reads_it_the_first_is_used_with_a_warning(self, tmp_path, caplog) -> None:
        pages = [picture(index, 96, 64) for index in range(3)]
        assert cv2.imwritemulti(str(tmp_path / "a.tiff"), pages)
        cv2.imwrite(str(tmp_path / "b.tiff"), pages[0])
        assert len(open_clip(tmp_path / "a.tiff")) == len(open_clip(tmp_path / "b.tiff")) == 1
        assert caplog.messages == [
            "a.tiff has 3 pictures, and the first is all that is used: convert it to a video"
        ]
        odd = (tmp_path / "b.tiff").rename(tmp_path / "b\udcff.tiff")
        assert len(open_clip(odd)) == 1

    def test_a_pipe_is_no_image(self, tmp_path) -> None:
        os.mkfifo(tmp_path / "a.png")
        with pytest.raises(InputError, match="is a pipe or a device"):
            open_clip(tmp_path / "a.png")


class TestDamage:
    """What ended the process, or kept it busy for ever, when bits were flipped at random."""

    def test_a_header_that_states_a_billion_frames(self, tmp_path) -> None:
        """decord makes room for them, and aborts where it cannot."""
        content = bytearray(write(tmp_path / "a.mp4", frames=5).read_bytes())
        at = content.index(b"stts") + 12
        struct.pack_into(">I", content, at, 1 << 30)
        (tmp_path / "a.mp4").write_bytes(content)
        assert announced(tmp_path / "a.mp4")[1] == 0
        assert decord_facts(tmp_path / "a.mp4") is None
        with suppress(InputError):
            assert len(list(open_clip(tmp_path / "a.mp4"))) <= 5

    def test_an_avi_that_announces_more_than_fits(self, tmp_path) -> None:
        content = bytearray(write(tmp_path / "a.avi", frames=5).read_bytes())
        for name, offset in ((b"avih", 24), (b"strh", 40)):
            struct.pack_into("<I", content, content.index(name) + offset, 184549416)
        (tmp_path / "a.avi").write_bytes(content)
        assert len(open_clip(tmp_path / "a.avi")) == 5

    @pytest.mark.parametrize("seed", range(10))
    def test_flipped_bits_and_cuts(self, tmp_path, seed) -> None:
        random = np.random.default_rng(seed)
        suffix, codec = (("mp4", "mp4v"), ("avi", "MJPG"))[seed % 2]
        content = bytearray(write(tmp_path / f"a.{suffix}", 12, codec=codec).read_bytes())
        for _ in range(8):
            content[random.integers(len(content))] ^= 1 << random.integers(8)
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(content[: random.integers(len(content) // 2, len(content))])
        try:
            clip = open_clip(path)
        except InputError:
            return
        frames = list(clip)
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert len(frames) == len(clip) or clip.breaks_off_after == len(frames)


class TestStride:
    def test_numbers_and_times_stay_the_videos(self, tmp_path) -> None:
        path = write(tmp_path / "a.mp4")
        whole = list(open_clip(path))
        for clip in (open_clip(path, 0.2, 1.4, stride=4), open_clip(path, 0.2, 1.4).every(4)):
            found = list(clip)
            assert [frame.index for frame in found] == list(range(5, 35, 4))
            assert len(clip) == len(found) and clip.fps == pytest.approx(25 / 4)
            for frame in found:
                assert frame.time == whole[frame.index].time
                np.testing.assert_array_equal(frame.image, whole[frame.index].image)

    def test_below_one_is_refused(self, tmp_path) -> None:
        with pytest.raises(InputError, match="stride is a whole number from 1 on, not 0"):
            open_clip(write(tmp_path / "a.mp4", frames=2), stride=0)

    def test_a_break_is_told_of_the_whole_video(self, tmp_path, caplog) -> None:
        content = write(tmp_path / "a.avi", codec="MJPG").read_bytes()
        (tmp_path / "a.avi").write_bytes(content[: len(content) // 2])
        clip = open_clip(tmp_path / "a.avi", stride=3)
        frames = list(clip)
        assert [frame.index for frame in frames] == list(range(0, 3 * len(frames), 3))
        assert clip.breaks_off_after is not None
        assert 0 < clip.breaks_off_after - frames[-1].index <= 3

    def test_results_hold_the_frames_that_were_looked_at(self) -> None:
        tracker = Tracker()
        for index in range(0, 40, 4):
            tracker.add(index, index / 25, [] if index == 8 else [somebody(100)])
        (track,) = tracker.tracks()
        seen = fill_frames(track)
        assert seen.frames.tolist() == list(range(0, 40, 4))
        assert seen.times == pytest.approx(np.arange(0, 40, 4) / 25)
        assert np.flatnonzero(~seen.observed).tolist() == [2]


@pytest.mark.parametrize(
    ("fps", "step"), [(1, 1), (24, 1), (30, 1), (44, 1), (50, 2), (60, 2), (120, 4), (240, 8)]
)
def test_the_model_is_shown_about_as_many_frames_a_second_as_in_training(fps, step) -> None:
    """A window of 32 frames at 240 a second would be an eighth of a second."""
    times = 100 + np.arange(101) / fps
    expected = sorted({*range(0, 101, step), 100})
    assert at_trained_rate(times).tolist() == expected
    assert at_trained_rate(times[:1]).tolist() == [0]
    assert len(fill_frames(a_track([3, 4, 6])).at(np.array([0, 3]))) == 2


def somebody(x: float) -> Person2D:
    points = np.random.default_rng(0).uniform(0, 80, (len(COCO23), 2)) + np.array([x, 50])
    keypoints = np.concatenate([points, np.ones((len(COCO23), 1))], 1)
    return Person2D(np.array([x, 50, x + 80, 130]), keypoints, COCO23, 0.9)


def test_pictures_of_a_high_frame_rate_come_with_their_times(tmp_path) -> None:
    for fps in (60, 120, 240):
        clip = open_clip(write(tmp_path / f"{fps}.mp4", frames=24, fps=fps))
        assert clip.fps == pytest.approx(fps)
        assert [frame.time for frame in clip] == pytest.approx(np.arange(24) / fps, abs=2e-5)


class TestCamera:
    """`track 0`, with a camera that is none."""

    class Capture:
        def __init__(self, images: list[np.ndarray]) -> None:
            self.images, self.released = list(images), False

        def set(self, *_: float) -> None:
            pass

        def isOpened(self) -> bool:
            return bool(self.images)

        def read(self) -> tuple[bool, np.ndarray | None]:
            return (True, self.images.pop(0)) if self.images else (False, None)

        def release(self) -> None:
            self.released = True

    def test_its_frames_come_until_it_gives_none(self) -> None:
        capture = self.Capture([picture(at, 40, 30)[..., ::-1] for at in range(3)])
        frames = list(camera_frames(0, lambda _: capture))
        assert [frame.index for frame in frames] == [0, 1, 2] and capture.released
        np.testing.assert_array_equal(frames[2].image, picture(2, 40, 30))
        assert (np.diff([frame.time for frame in frames]) > 0).all()

    def test_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(InputError, match="camera 3 gives no picture"):
            list(camera_frames(3, lambda _: self.Capture([])))

    def test_words_that_mean_one(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert camera_number(["0"]) == 0 and camera_number(["camera:12"]) == 12
        (tmp_path / "0").mkdir()
        for words in (["0"], ["a.mp4"], ["1", "2"], ["camera:"], []):
            assert camera_number(words) is None

    def test_bodies_are_shown_until_somebody_ends_it_or_told_of(self, capsys) -> None:
        torch.manual_seed(0)
        seer = Seer(FakeDetector(), Hmr(tiny_config()).eval(), load_body())
        frames = [Frame(at, at * 0.3, picture(at, 98, 128)) for at in range(6)]
        shown: list[np.ndarray] = []

        def show(image: np.ndarray) -> bool:
            shown.append(image)
            return len(shown) < 3

        watch(seer, iter(frames), show)
        assert len(shown) == 3 and capsys.readouterr().out == ""
        assert not np.array_equal(shown[2], frames[2].image)
        watch(seer, iter(frames), None)
        assert re.fullmatch(r"[\d.]+ frames a second, each \d+ ms late\n", capsys.readouterr().out)
