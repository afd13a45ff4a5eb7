"""AV1, which takes PyAV: real files, written and read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from temporal_hmr.decoding_av import codec_of
from temporal_hmr.video import open_clip

av = pytest.importorskip("av")
ENCODERS = ("libsvtav1", "libaom-av1")
GREYS = np.arange(20, 140, 10)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ever lighter pictures, whose right half is lighter still, 10 a second."""
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    known = [name for name in ENCODERS if name in av.codecs_available]
    if not known:
        pytest.skip("this PyAV does not write AV1")
    av.logging.set_level(av.logging.PANIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(known[0], rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        for image in pictures():
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pictures() -> Iterator[ndarray]:
    for grey in GREYS.tolist():
        image = np.full((128, 96, 3), grey, np.uint8)
        image[:, 48:] += 100
        yield image


def test_every_frame_is_read_in_its_place(film: Path) -> None:
    assert codec_of(film) == "AV1"
    clip = open_clip(film)
    assert (clip.width, clip.height, clip.fps, len(clip)) == (96, 128, 10, len(GREYS))
    assert clip.times == pytest.approx(np.arange(len(GREYS)) / 10)
    for frame, image in zip(clip, pictures(), strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3


def test_from_a_moment_on(film: Path) -> None:
    frames = list(open_clip(film, start=0.5, end=0.8))
    assert [frame.index for frame in frames] == [5, 6, 7]
    assert [round(float(frame.image[:, :40].mean()), -1) for frame in frames] == [70, 80, 90]
