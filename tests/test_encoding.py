"""Videos are written as H.264 where PyAV is, as MPEG-4 elsewhere; whole, in their colours."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from full_disk import limited_files

from temporal_hmr.containers import lacks_index
from temporal_hmr.decoding import opencv_images
from temporal_hmr.errors import InputError
from temporal_hmr.output import encoding, overlay
from temporal_hmr.output.encoding import plays_everywhere, require_encodable, write_video
from temporal_hmr.output.overlay import write_overlay
from temporal_hmr.video import Frame

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 60]], np.uint8
)
BARS = np.broadcast_to(np.repeat(COLOURS, 20, axis=0), (64, 120, 3)).copy()


needs_pyav = pytest.mark.skipif(not plays_everywhere(), reason="PyAV is not installed")


@pytest.fixture(params=["PyAV", "OpenCV"])
def writer(request, monkeypatch) -> str:
    """What encodes."""
    if request.param == "OpenCV":
        monkeypatch.setattr(encoding, "plays_everywhere", lambda: False)
        monkeypatch.setattr(overlay, "plays_everywhere", lambda: False)
    elif not plays_everywhere():
        pytest.skip("PyAV is not installed")
    return request.param


def codec(path: Path) -> str:
    capture = cv2.VideoCapture(str(path))
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()


def test_the_codec_is_the_best_that_is_there(writer, tmp_path: Path) -> None:
    write_video([BARS] * 3, 25, tmp_path / "clip.mp4")
    assert codec(tmp_path / "clip.mp4") in (("avc1", "h264") if writer == "PyAV" else ("FMP4",))


def test_colours_come_back(writer, tmp_path: Path) -> None:
    write_video([BARS] * 3, 25, tmp_path / "clip.mp4")
    back = [image for _, image in opencv_images(tmp_path / "clip.mp4")]
    assert len(back) == 3
    seen = back[-1][32, 10::20].astype(int)
    assert np.abs(seen - COLOURS).max() < 12


@needs_pyav
def test_the_colours_are_said_to_be_what_they_are(tmp_path: Path) -> None:
    """Browsers take large pictures without a word for BT.709: red came with 10 % of green."""
    import av

    write_video([BARS] * 3, 25, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0].codec_context
        smpte170m, bt709, limited = 6, 1, 1
        assert stream.colorspace == smpte170m and stream.color_range == limited
        assert stream.color_primaries == bt709 and stream.color_trc == bt709


@needs_pyav
def test_the_index_comes_first(tmp_path: Path) -> None:
    write_video([BARS] * 3, 25, tmp_path / "clip.mp4")
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert not lacks_index(tmp_path / "clip.mp4")


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 300)])
def test_sizes_become_even(writer, size: tuple[int, int], tmp_path: Path) -> None:
    write_video([np.full((*size, 3), 90, np.uint8)] * 2, 25, tmp_path / "clip.mp4")
    _, image = next(opencv_images(tmp_path / "clip.mp4"))
    assert image.shape[:2] == tuple(side + side % 2 for side in size)
    assert np.abs(image.astype(int) - 90).max() < 6


def test_sizes_beyond_the_format_are_refused() -> None:
    require_encodable(7680, 4320)
    with pytest.raises(InputError, match="--no-render"):
        require_encodable(4096, 8192)


@pytest.mark.parametrize("fps", [0.0001, 0.5, 23.976, 120.123, 333.333, 1e6])
def test_every_frame_rate_can_be_written(writer, fps: float, tmp_path: Path) -> None:
    write_video([BARS] * 3, fps, tmp_path / "clip.mp4")
    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    expected = min(max(fps, 0.01), 65535)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(expected, rel=1e-4)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@needs_pyav
def test_frames_are_shown_at_their_own_times(tmp_path: Path) -> None:
    times = 7.0 + np.array([0, 0.033, 0.066, 0.3, 0.9, 0.900001, 0.95])
    write_video([BARS] * len(times), 8, tmp_path / "clip.mp4", times)
    shown = [time for time, _ in opencv_images(tmp_path / "clip.mp4")]
    assert shown == pytest.approx(times - 7, abs=1e-3) and np.diff(shown).min() > 0


def test_a_steady_rate_stays_one(writer, tmp_path: Path) -> None:
    """Also where a container has rounded its times."""
    times = np.round(np.arange(30) / 29.97, 3)
    for name, given in (("without.mp4", None), ("with.mp4", times)):
        write_video([BARS] * 30, 29.97, tmp_path / name, given)
    contents = [(tmp_path / name).read_bytes() for name in ("without.mp4", "with.mp4")]
    assert contents[0] == contents[1]


def test_a_full_disk_is_told(writer, tmp_path: Path, capfd) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 120, 160, 3), np.uint8)
    with limited_files(60_000), pytest.raises(InputError, match="make room on the disk"):
        write_video(noise, 25, tmp_path / "clip.mp4")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["absent/clip.mp4", "clip.nonsense"])
def test_a_place_that_takes_no_video_is_told(writer, name: str, tmp_path: Path, capfd) -> None:
    with pytest.raises(InputError, match="cannot encode"):
        write_video([BARS], 25, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_no_image_is_told(writer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame"):
        write_video([], 25, tmp_path / "clip.mp4")


def test_what_goes_wrong_with_the_images_is_what_is_raised(writer, tmp_path: Path) -> None:
    def images() -> Iterator[np.ndarray]:
        yield BARS
        raise OSError("the second image is gone")

    with pytest.raises(OSError, match="second image"):
        write_video(images(), 25, tmp_path / "clip.mp4")


def test_an_overlay_that_browsers_do_not_play_is_told_of_once(
    writer, body, tmp_path: Path, caplog
) -> None:
    overlay._tell_what_plays.cache_clear()
    for name in ("a.mp4", "b.mp4"):
        write_overlay([Frame(0, 0.0, BARS)], 25, [], body, tmp_path / name)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (1 if writer == "OpenCV" else 0)
    assert all("pip install av" in line for line in told)
