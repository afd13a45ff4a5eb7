"""Clips: upright frames with the right numbers and times, from whole and from broken files."""

import logging
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from temporal_hmr import video
from temporal_hmr.errors import InputError
from temporal_hmr.video import open_clip

SHARED_VIDEOS = Path(__file__).parents[2] / "shared" / "data" / "videos"


def picture(index: int, width: int, height: int) -> np.ndarray:
    """RGB; red top left, green bottom right, and a grey that says which frame it is."""
    image = np.full((height, width, 3), (20 + 4 * index) % 256, np.uint8)
    image[: height // 3, : width // 3] = (255, 0, 0)
    image[-(height // 3) :, -(width // 3) :] = (0, 255, 0)
    return image


def write(path: Path, frames: int = 40, size=(96, 64), fps: float = 25.0, codec="mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for index in range(frames):
        writer.write(picture(index, *size)[..., ::-1])
    writer.release()
    return path


def shown_index(image: np.ndarray) -> float:
    height, width = image.shape[:2]
    return (float(image[height // 2, width // 2].mean()) - 20) / 4


def atoms(content: bytes, start: int, end: int):
    """The parts of an mp4 file: name, where they start, how long they are."""
    while start < end:
        length, name = struct.unpack(">I4s", content[start : start + 8])
        yield name, start, length
        start += length


def header_first(content: bytes) -> bytes:
    """The same mp4 with its header before the frames, as for streaming ("faststart")."""
    parts = {name: (start, length) for name, start, length in atoms(content, 0, len(content))}
    start, length = parts[b"moov"]
    header = bytearray(content[start : start + length])

    def shift_offsets(begin: int, end: int) -> None:
        for name, at, size in atoms(header, begin, end):
            if name in (b"trak", b"mdia", b"minf", b"stbl"):
                shift_offsets(at + 8, at + size)
            if name == b"stco":
                (count,) = struct.unpack_from(">I", header, at + 12)
                offsets = struct.unpack_from(f">{count}I", header, at + 16)
                moved = [offset + length for offset in offsets]
                struct.pack_into(f">{count}I", header, at + 16, *moved)

    shift_offsets(8, length)
    at, size = parts[b"ftyp"]
    rest = content[at + size : start] + content[start + length :]
    return content[at : at + size] + bytes(header) + rest


def turned(content: bytes, degrees: int) -> bytes:
    """The same mp4 that asks to be shown turned clockwise, as phones record."""
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    return displayed(content, cosine, sine, -sine, cosine)


def displayed(content: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """The same mp4 that asks to be shown with (x, y) at (a x + c y, b x + d y)."""
    fixed = [value * 0x10000 for value in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
    at = content.index(b"tkhd") + 4 + 4 + 36
    return content[:at] + struct.pack(">9i", *fixed) + content[at + 36 :]


def test_frames_have_their_numbers_times_and_pictures(tmp_path):
    clip = open_clip(write(tmp_path / "a.mp4", frames=40, fps=25))
    assert (clip.width, clip.height, len(clip)) == (96, 64, 40)
    assert clip.fps == pytest.approx(25)
    for index, frame in enumerate(clip):
        assert frame.index == index
        assert frame.time == pytest.approx(index / 25, abs=1e-5)
        assert frame.image.dtype == np.uint8 and frame.image.shape == (64, 96, 3)
        assert shown_index(frame.image) == pytest.approx(index, abs=1.5)
    assert index == 39
    assert clip.breaks_off_after is None


def test_colours_are_rgb_and_the_right_way_up(tmp_path):
    image = next(iter(open_clip(write(tmp_path / "a.mp4")))).image.astype(int)
    assert np.abs(image[5, 5] - (255, 0, 0)).max() < 30
    assert np.abs(image[-5, -5] - (0, 255, 0)).max() < 30


def test_a_clip_can_be_iterated_again_and_in_part(tmp_path):
    clip = open_clip(str(write(tmp_path / "a.mp4")))
    next(iter(clip))
    first, second = ([frame.image for frame in clip] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("size", [(96, 64), (20, 12), (64, 48), (48, 26), (270, 136)])
def test_turned_videos_come_out_upright_once(tmp_path, degrees, size):
    content = write(tmp_path / "a.mp4", frames=2, size=size).read_bytes()
    (tmp_path / "turned.mp4").write_bytes(turned(content, degrees))
    original = next(iter(open_clip(tmp_path / "a.mp4"))).image
    clip = open_clip(tmp_path / "turned.mp4")
    upright = np.rot90(original, -degrees // 90)
    assert (clip.height, clip.width) == upright.shape[:2]
    for frame in clip:
        assert frame.image.shape == upright.shape
    np.testing.assert_array_equal(next(iter(clip)).image, upright)


@pytest.mark.parametrize("size", [(65, 47), (33, 61), (16, 10), (24, 14), (321, 181)])
def test_odd_and_tiny_sizes(tmp_path, size):
    writer = cv2.VideoWriter(
        str(tmp_path / "a.avi"),
        cv2.CAP_OPENCV_MJPEG,
        cv2.VideoWriter_fourcc(*"MJPG"),
        25,
        size,
    )
    for index in range(3):
        writer.write(picture(index, *size)[..., ::-1])
    writer.release()
    clip = open_clip(tmp_path / "a.avi")
    assert (clip.width, clip.height) == size
    for index, frame in enumerate(clip):
        difference = np.abs(frame.image.astype(int) - picture(index, *size))
        assert np.median(difference) < 8


def test_a_video_of_one_frame(tmp_path):
    clip = open_clip(write(tmp_path / "a.mp4", frames=1))
    (frame,) = clip
    assert (frame.index, frame.time, len(clip)) == (0, 0.0, 1)
    assert clip.fps == pytest.approx(25)


@pytest.mark.parametrize(("start", "end"), [(None, None), (0.4, None), (None, 0.8), (0.4, 0.8)])
def test_a_range_keeps_the_numbers_of_the_video(tmp_path, start, end):
    path = write(tmp_path / "a.mp4")
    whole = list(open_clip(path))
    expected = [
        frame
        for frame in whole
        if (start is None or frame.time >= start) and (end is None or frame.time < end)
    ]
    for clip in (open_clip(path, start, end), open_clip(path).with_range(start, end)):
        found = list(clip)
        assert len(clip) == len(found)
        assert [frame.index for frame in found] == [frame.index for frame in expected]
        assert [frame.time for frame in found] == [frame.time for frame in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize(("start", "end"), [(1.6, None), (5, 6), (0.5, 0.5), (0.8, 0.2), (-2, 0)])
def test_an_empty_range_is_refused(tmp_path, start, end):
    with pytest.raises(InputError, match=r"a\.mp4"):
        open_clip(write(tmp_path / "a.mp4"), start, end)


@pytest.mark.parametrize("name", ["one_person_dribbling.mp4", "two_people_handshake.mp4"])
def test_seeking_in_a_real_video_is_exact(name):
    if not (SHARED_VIDEOS / name).exists():
        pytest.skip("the shared videos are not there")
    whole = {frame.index: frame for frame in open_clip(SHARED_VIDEOS / name)}
    assert list(whole) == list(range(40))
    for start in (0.5, 1.3, 3.2):
        for frame in open_clip(SHARED_VIDEOS / name, start=start, end=start + 0.2):
            assert frame.time == whole[frame.index].time >= start
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)


@pytest.fixture(scope="module")
def streamable(tmp_path_factory):
    """An mp4 with its header first."""
    content = write(tmp_path_factory.mktemp("v") / "a.mp4", frames=60, size=(160, 96)).read_bytes()
    return header_first(content)


def test_a_header_first_video_is_whole(tmp_path, streamable):
    (tmp_path / "a.mp4").write_bytes(streamable)
    assert len(list(open_clip(tmp_path / "a.mp4"))) == 60


def test_wherever_a_video_is_cut_what_comes_before_is_delivered(tmp_path, streamable, caplog):
    path = tmp_path / "cut.mp4"
    path.write_bytes(streamable)
    whole = [frame.image for frame in open_clip(path)]
    first_frame = streamable.index(b"mdat")
    counts = []
    for cut in np.linspace(first_frame, len(streamable) - 1, 60).astype(int):
        path.write_bytes(streamable[:cut])
        try:
            clip = open_clip(path)
        except InputError:  # not a single frame is left
            counts.append(0)
            continue
        assert len(clip) == 60
        caplog.clear()
        frames = list(clip)
        assert [frame.index for frame in frames] == list(range(len(frames)))
        if len(frames) < 60:
            assert clip.breaks_off_after == len(frames)
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            assert f"cut.mp4 breaks off after {len(frames)} of 60 frames" in record.getMessage()
        for frame in frames[:-1]:  # the last one may be half there
            np.testing.assert_array_equal(frame.image, whole[frame.index])
        counts.append(len(frames))
    assert counts == sorted(counts)
    assert counts[0] == 0 and counts[-1] >= 57
    assert np.diff(counts).max() <= 12  # one key frame is as long as twelve others


def test_a_broken_video_says_so_once_per_clip(tmp_path, streamable, caplog):
    (tmp_path / "a.mp4").write_bytes(streamable[: len(streamable) * 2 // 3])
    clip = open_clip(tmp_path / "a.mp4")
    assert len(list(clip)) == len(list(clip)) == clip.breaks_off_after
    assert len(caplog.records) == 1


def test_a_range_before_the_break_is_whole(tmp_path, streamable, caplog):
    (tmp_path / "a.mp4").write_bytes(streamable[: len(streamable) * 2 // 3])
    clip = open_clip(tmp_path / "a.mp4", start=0.2, end=0.6)
    assert [frame.index for frame in clip] == list(range(5, 15))
    assert clip.breaks_off_after is None and not caplog.records


def test_garbage_in_the_middle_never_stops_the_program(tmp_path, streamable):
    random = np.random.default_rng(0)
    for start in np.linspace(streamable.index(b"mdat") + 8, len(streamable) - 200, 12).astype(int):
        length = int(random.choice([16, 400, len(streamable) // 3]))
        content = bytearray(streamable)
        garbage = random.bytes(min(length, len(content) - start))
        content[start : start + len(garbage)] = garbage
        (tmp_path / "a.mp4").write_bytes(content)
        try:
            frames = list(open_clip(tmp_path / "a.mp4"))
        except InputError:
            continue
        assert [frame.index for frame in frames] == list(range(len(frames)))


def test_nothing_is_written_to_the_terminal(tmp_path, streamable, capfd):
    (tmp_path / "cut.mp4").write_bytes(streamable[: len(streamable) // 2])
    (tmp_path / "text.mp4").write_text("once upon a time")
    list(open_clip(tmp_path / "cut.mp4"))
    with pytest.raises(InputError):
        open_clip(tmp_path / "text.mp4")
    output = capfd.readouterr()
    assert output.out == "" and "ERROR" not in output.err and "[mov" not in output.err


@pytest.mark.parametrize(
    "content",
    [b"", b"once upon a time " * 100, np.random.default_rng(0).bytes(5000)],
    ids=["empty", "text", "noise"],
)
def test_what_is_no_video_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4 (cannot be read as a video|is empty)"):
        open_clip(tmp_path / "a.mp4")


def test_a_video_cut_before_its_header_is_refused(tmp_path):
    content = write(tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") > content.index(b"mdat")
    (tmp_path / "a.mp4").write_bytes(content[: content.index(b"moov") - 10])
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read as a video"):
        open_clip(tmp_path / "a.mp4")


def test_a_recording_that_never_learned_its_length_is_read_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "live.mp4", frames=12)
    # As FFmpeg and decord take a live Matroska recording, which OpenCV cannot write here.
    monkeypatch.setattr(video, "indexed_facts", lambda _path: None)
    monkeypatch.setattr(video, "streamed_images", lambda *_: iter(()))
    monkeypatch.setattr(video, "announced", lambda _path: (25.0, 0))
    clip = open_clip(path)
    frames = list(clip)
    assert len(clip) == 12 and clip.breaks_off_after is None
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 25, abs=1e-3)
    shown = [shown_index(frame.image) for frame in frames]
    assert shown == pytest.approx(np.arange(12), abs=1.5)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"pipe\.mp4 is a pipe or a device"):
        open_clip(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("name", "said"),
    [("a" * 300 + ".mp4", "File name too long"), ("a\udcff.mp4", "not valid UTF-8")],
)
def test_names_that_no_decoder_takes_are_refused(tmp_path, name, said):
    if len(name) < 255:
        write(tmp_path / "a.mp4").rename(tmp_path / name)
    with pytest.raises(InputError, match=said):
        open_clip(tmp_path / name)


@pytest.mark.parametrize(("start", "end"), [(float("nan"), None), (0.0, float("inf"))])
def test_a_range_without_a_number_is_refused(tmp_path, start, end):
    with pytest.raises(InputError, match="finite numbers of seconds"):
        open_clip(write(tmp_path / "a.mp4"), start=start, end=end)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"no video at .*nowhere\.mp4"):
        open_clip(tmp_path / "nowhere.mp4")


def test_a_folder_of_images_in_natural_order(tmp_path):
    for index in (10, 9, 2, 1, 30):
        cv2.imwrite(str(tmp_path / f"frame{index}.png"), picture(index, 40, 30)[..., ::-1])
    (tmp_path / "notes.txt").write_text("not an image")
    clip = open_clip(tmp_path, fps=10)
    assert [round(shown_index(frame.image)) for frame in clip] == [1, 2, 9, 10, 30]
    assert [frame.time for frame in clip] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert (len(clip), clip.width, clip.height, clip.fps) == (5, 40, 30, 10)
    assert open_clip(tmp_path).fps == 30
    np.testing.assert_array_equal(next(iter(clip)).image, picture(1, 40, 30))
    assert [frame.index for frame in clip.with_range(0.2, 0.4)] == [2, 3]


def test_grey_deep_transparent_and_turned_images_are_upright_rgb(tmp_path):
    image = picture(5, 30, 20)[..., ::-1]
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    transparent = np.dstack([image, np.full(image.shape[:2], 7, np.uint8)])
    for number, pixels in enumerate([grey, grey.astype(np.uint16) * 257, transparent]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    # EXIF orientation 6, as phones write it: stored a quarter turn anticlockwise.
    stored = cv2.imencode(".jpg", cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    marked = stored[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + stored[2:]
    (tmp_path / "3.JPG").write_bytes(marked)
    (tmp_path / "4².png").mkdir()
    images = [frame.image for frame in open_clip(tmp_path)]
    assert [image.shape for image in images] == [(20, 30, 3)] * 4
    np.testing.assert_array_equal(images[0], np.dstack([grey] * 3))
    np.testing.assert_array_equal(images[1], images[0])
    np.testing.assert_array_equal(images[2], image[..., ::-1])
    assert np.abs(images[3].astype(int) - image[..., ::-1]).mean() < 6


def test_a_folder_with_images_of_two_sizes_names_the_odd_one(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), picture(0, 40, 30))
    cv2.imwrite(str(tmp_path / "2.png"), picture(0, 30, 40))
    with pytest.raises(InputError, match=r"2\.png is 30 x 40 .* 40 x 30"):
        list(open_clip(tmp_path))


def test_images_stay_as_they_are_while_others_are_decoded_and_written_into(tmp_path):
    path = write(tmp_path / "clip.mp4", frames=12)
    kept = [frame.image for frame in open_clip(path)]
    for frame, image in zip(open_clip(path), kept, strict=True):
        assert frame.image is not image and (frame.image == image).all()
        frame.image[:] = 0


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(InputError, match="holds no images"):
        open_clip(tmp_path)


def test_names_with_spaces_colons_and_accents(tmp_path):
    path = write(tmp_path / "a.mp4", frames=3)
    odd = path.rename(tmp_path / "http: my vidéo 100%.mp4")
    assert len(list(open_clip(odd))) == 3
