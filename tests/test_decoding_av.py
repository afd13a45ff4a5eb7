"""Frames one after the other, by PyAV."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_video import shown_index, write

import temporal_hmr
from temporal_hmr import decoding_av
from temporal_hmr.decoding import decord_facts, decord_images
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
