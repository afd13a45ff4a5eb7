"""Frames one after the other, by PyAV."""

import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_video import picture, shown_index, write

import temporal_hmr
from temporal_hmr import decoding_av
from temporal_hmr.decoding import announced, decord_facts, decord_images
from temporal_hmr.decoding_av import streamed_images
from temporal_hmr.video import open_clip

SAMPLE = Path(temporal_hmr.__path__[0]) / "assets" / "sample.mp4"
FRAMES = 40


@pytest.fixture
def film(tmp_path) -> Path:
    return write(tmp_path / "a.mp4", frames=FRAMES)


def times_of(path: Path) -> np.ndarray:
    facts = decord_facts(path)
    assert facts is not None
    return facts[0]


def write_behind_cover(path: Path, frames: int = 20) -> Path:
    """A film of 96 x 64 pixels that are twice as wide as high, behind a cover of 400 x 300."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=30)  # and nothing of the film is as short
        cover.width, cover.height, cover.pix_fmt = 400, 300, "yuvj420p"
        film = container.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 96, 64, "yuv420p"
        film.codec_context.sample_aspect_ratio = Fraction(2)
        for stream, count in ((cover, 1), (film, frames)):
            for index in range(count):
                image = picture(index, stream.width, stream.height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return path


def resident() -> float:
    """MiB of memory that this process has in use."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("this system does not say how much memory is in use")
    return int(pages.read_text().split()[1]) * 4096 / 2**20


@pytest.mark.parametrize("first", [0, 1, 61, 125])
def test_pictures_are_those_of_decord_to_the_bit(first: int) -> None:
    expected = enumerate(decord_images(SAMPLE, first, first + 9), first)
    found = streamed_images(SAMPLE, times_of(SAMPLE), first, first + 9)
    for (number, image), (same_number, same_image) in zip(found, expected, strict=True):
        assert number == same_number
        np.testing.assert_array_equal(image, same_image)


def test_frames_do_not_pile_up_while_one_is_looked_at(tmp_path) -> None:
    """decord decodes hundreds of frames ahead: of a long video as much as there is memory."""
    images = iter(open_clip(write(tmp_path / "a.mp4", frames=300, size=(640, 480))))
    next(images)
    before = resident()
    for _ in range(3):
        time.sleep(0.2)
        next(images)
    assert resident() - before < 60, "of 264 in all"


def test_without_pyav_decord_reads(film, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    shown = [(frame.index, shown_index(frame.image)) for frame in open_clip(film).with_range(0.4)]
    assert [index for index, _ in shown] == list(range(10, FRAMES))
    assert [index for _, index in shown] == pytest.approx(range(10, FRAMES), abs=1)


def test_where_pyav_finds_other_times_decord_reads(film) -> None:
    found = list(streamed_images(film, times_of(film) + 5, 3, FRAMES))
    assert [number for number, _ in found] == list(range(3, FRAMES))
    assert [shown_index(image) for _, image in found] == pytest.approx(range(3, FRAMES), abs=1)


@pytest.mark.parametrize("late", [3, FRAMES])
def test_a_jump_that_lands_behind_is_not_believed(film, late: int, monkeypatch) -> None:
    decoded = decoding_av.decoded_frames

    def unsure(path, begin=None):
        frames = list(decoded(path))
        return frames if begin is None else frames[10 + late :]

    monkeypatch.setattr(decoding_av, "decoded_frames", unsure)
    found = list(streamed_images(film, times_of(film), 10, FRAMES))
    assert [number for number, _ in found] == list(range(10, FRAMES))


def test_the_next_jump_is_from_a_little_earlier(tmp_path, monkeypatch) -> None:
    """Not from the beginning, which may be an hour before."""
    film, begun = write(tmp_path / "a.mp4", frames=80), []
    decoded = decoding_av.decoded_frames

    def unsure(path, begin=None):
        begun.append(begin)
        return [each for each in decoded(path) if begin is None or each[0] >= begin + 1]

    monkeypatch.setattr(decoding_av, "decoded_frames", unsure)
    found = list(streamed_images(film, times_of(film), 70, 80))
    assert [number for number, _ in found] == list(range(70, 80))
    assert begun == pytest.approx([2.8, 0.8])


def test_a_frame_that_cannot_be_decoded_moves_no_other(film, monkeypatch) -> None:
    decoded = decoding_av.decoded_frames
    monkeypatch.setattr(
        decoding_av,
        "decoded_frames",
        lambda *given: (each for at, each in enumerate(decoded(*given)) if at not in (4, 5)),
    )
    found = list(streamed_images(film, times_of(film), 0, FRAMES))
    assert [number for number, _ in found] == [*range(4), *range(6, FRAMES)]
    assert shown_index(found[4][1]) == pytest.approx(6, abs=1)
    damaged = [frame.index for frame in open_clip(film) if frame.damaged]
    assert damaged == [4, 5]


@pytest.mark.parametrize("fps", [25.0, 29.97])
def test_without_decord_pyav_tells_the_same(tmp_path, fps: float, monkeypatch, caplog) -> None:
    """There is no decord for Macs with Apple's processors."""
    path = write(tmp_path / "a.mp4", frames=FRAMES, fps=fps)
    expected = open_clip(path)
    monkeypatch.setitem(sys.modules, "decord", None)
    clip = open_clip(path)
    assert clip.fps == pytest.approx(expected.fps, rel=1e-6)
    np.testing.assert_allclose(clip.times, expected.times, atol=1e-6)
    shown = [(frame.index, shown_index(frame.image)) for frame in clip.with_range(0.5)]
    first = int(np.searchsorted(expected.times, 0.5))
    assert [index for index, _ in shown] == list(range(first, FRAMES))
    assert [index for _, index in shown] == pytest.approx(range(first, FRAMES), abs=1)
    assert not caplog.records


def test_without_decord_and_pyav_opencv_reads(film, monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setitem(sys.modules, "av", None)
    assert [frame.index for frame in open_clip(film)] == list(range(FRAMES))
    assert "is read by OpenCV" in caplog.text


def encoded(
    path: Path,
    sizes=((96, 64),),
    later: int = 0,
    aspect: str = "1",
    reordered: bool = True,
    **options: str,
) -> Path:
    """H.264 with pictures that are stored in another order than shown, from frame `later` on.

    `aspect` is the width of a pixel over its height; `reordered` may be False. Of several sizes
    JPEG pictures in place of that, one size after the other.
    """
    av = pytest.importorskip("av")
    plain = len(sizes) > 1
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mjpeg" if plain else "libx264", rate=25)
        stream.pix_fmt = "yuvj420p" if plain else "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        (stream.width, stream.height), count = sizes[0], FRAMES // len(sizes)
        for part, size in enumerate(sizes):
            encoder = stream.codec_context
            if part:
                encoder = av.CodecContext.create("mjpeg", "w")
                encoder.width, encoder.height = size
                encoder.pix_fmt, encoder.time_base = "yuvj420p", stream.codec_context.time_base
            between = {"bf": "2" if reordered else "0"}
            encoder.options = {} if plain else {**between, "g": "12", "preset": "ultrafast"}
            for index in range(part * count, (part + 1) * count):
                frame = av.VideoFrame.from_ndarray(picture(index, *size))
                frame.pts = later + index
                _put(container, stream, encoder.encode(frame.reformat(format=stream.pix_fmt)))
            _put(container, stream, encoder.encode(None))
    return path


def _put(container, stream, packets) -> None:
    for packet in packets:
        packet.stream = stream
        container.mux(packet)


@pytest.mark.parametrize(
    ("name", "later", "options"),
    [
        ("parts.mp4", 0, {"movflags": "frag_keyframe+empty_moov"}),
        ("late.mp4", 50, {}),
        ("late.mkv", 3, {}),
        ("later.mkv", 500, {}),
        ("plain.mov", 0, {"use_editlist": "0"}),
    ],
)
def test_frames_are_counted_from_the_first(name, later, options, tmp_path, caplog) -> None:
    """Whose time is not 0 in all files; Matroska's duration counts from 0."""
    clip = open_clip(encoded(tmp_path / name, later=later, **options))
    assert len(clip) == FRAMES and clip.times[0] == pytest.approx(0)
    for first in (0, 1, 11, 13, 30):
        frames = list(clip.with_range(float(clip.times[first])))
        assert [frame.index for frame in frames] == list(range(first, FRAMES))
        assert not any(frame.damaged for frame in frames)
        shown = [shown_index(frame.image) for frame in frames]
        assert shown == pytest.approx(range(first, FRAMES), abs=1)
    assert clip.breaks_off_after is None and not caplog.text


def test_of_several_videos_in_a_file_decord_s_is_read(tmp_path) -> None:
    av = pytest.importorskip("av")
    parts = encoded(tmp_path / "a.mkv", sizes=((96, 64),) * 2), encoded(tmp_path / "b.mp4")
    path = tmp_path / "both.mkv"
    with av.open(str(path), "w") as both, av.open(str(parts[0])) as a, av.open(str(parts[1])) as b:
        streams = [(each, both.add_stream_from_template(each.streams.video[0])) for each in (a, b)]
        for each, stream in streams:
            packets = [packet for packet in each.demux(video=0) if packet.dts is not None]
            _put(both, stream, packets if each is b else packets[: FRAMES // 2])
    expected = list(decord_images(path, 0, FRAMES))
    frames = list(open_clip(path))
    assert len(frames) == len(expected) == FRAMES
    for frame, image in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, image)


def test_a_size_that_changes_on_the_way_is_that_of_the_first_frame(tmp_path) -> None:
    clip = open_clip(encoded(tmp_path / "a.mkv", sizes=((96, 64), (48, 32))))
    for part in (clip, clip.with_range(1.2)):
        assert {frame.image.shape for frame in part} == {(64, 96, 3)}
    assert shown_index(next(iter(clip.with_range(1.2))).image) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_behind_a_cover_all_is_that_of_the_film(suffix: str, tmp_path, caplog) -> None:
    path = write_behind_cover(tmp_path / f"a.{suffix}")
    clip = open_clip(path)
    assert (clip.width, clip.height, clip.fps) == (192, 64, pytest.approx(25))
    assert [shown_index(frame.image) for frame in clip] == pytest.approx(range(20), abs=1)
    assert announced(path)[0] == 25 and not caplog.records
