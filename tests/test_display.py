"""Videos are read as players show them: turned, mirrored, unsquashed, trimmed."""

import struct
import sys

import numpy as np
import pytest
from test_decoding_av import FRAMES, encoded
from test_video import displayed, shown_index, turned, write

from temporal_hmr.errors import InputError
from temporal_hmr.video import open_clip


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
    ],
    ids=["hflip", "vflip", "transpose", "antitranspose"],
)
@pytest.mark.parametrize("reader", ["PyAV", "decord", "OpenCV"])
def test_mirrored_videos_come_out_as_players_show_them(
    tmp_path, matrix, shown, reader, monkeypatch
):
    """As cameras above a screen record, and editors that mirror without encoding anew."""
    content = write(tmp_path / "a.mp4", frames=2).read_bytes()
    (tmp_path / "mirrored.mp4").write_bytes(displayed(content, *matrix))
    original = next(iter(open_clip(tmp_path / "a.mp4"))).image
    if reader != "PyAV":
        monkeypatch.setitem(sys.modules, "av", None)
    if reader == "OpenCV":
        monkeypatch.setitem(sys.modules, "decord", None)
    clip = open_clip(tmp_path / "mirrored.mp4")
    assert (clip.height, clip.width) == shown(original).shape[:2]
    for frame in clip:
        assert frame.image.flags.c_contiguous and frame.image.flags.writeable
    difference = np.abs(next(iter(clip)).image.astype(int) - shown(original))
    assert difference.max() <= 3, "one reader differs a little from the other"


@pytest.mark.parametrize(
    ("degrees", "size"), [(0, (192, 64)), (90, (64, 192)), (180, (192, 64)), (270, (64, 192))]
)
def test_pixels_that_are_not_square_are_made_so(tmp_path, degrees, size):
    path = encoded(tmp_path / "a.mp4", aspect="2")
    if degrees:
        path.write_bytes(turned(path.read_bytes(), degrees))
    clip = open_clip(path)
    assert (clip.width, clip.height) == size
    assert next(iter(clip)).image.shape == (*size[::-1], 3)


def test_pictures_keep_their_proportions_where_the_shape_changes(tmp_path, caplog):
    """As in a call, when somebody turns the phone."""
    clip = open_clip(encoded(tmp_path / "a.mkv", sizes=((96, 64), (64, 96))))
    images = [frame.image for frame in clip]
    assert {image.shape for image in images} == {(64, 96, 3)}
    before, behind = np.array(images[:20]), np.array(images[20:])
    assert (before[:, :, :20].max((1, 2, 3)) > 15).all() and behind[:, :, :26].max() == 0
    red, green = behind[:, 5, 30].astype(int), behind[:, -5, -31].astype(int)
    assert np.abs(red - (255, 0, 0)).max() < 40 and np.abs(green - (0, 255, 0)).max() < 40
    assert behind[:, :, -26:].max() == 0
    list(clip)
    (record,) = caplog.records
    assert "the shape of the pictures of a.mkv changes at 0.80 s" in record.getMessage()
    assert next(iter(clip.with_range(1.2))).image[:, :26].max() == 0


def trimmed(content: bytes, frames: int, milliseconds: int) -> bytes:
    """The same mp4 of 25 frames a second that is to be shown from that frame on, for so long."""
    at = content.index(b"elst") + 4 + 8
    duration, begins = struct.unpack_from(">Ii", content, at)
    assert duration == 40 * FRAMES
    made = bytearray(content)
    struct.pack_into(">Ii", made, at, milliseconds, begins + 512 * frames)
    return bytes(made)


@pytest.mark.parametrize("reader", ["decord", "PyAV", "OpenCV"])
def test_what_an_edit_cut_away_is_left_out(tmp_path, reader, monkeypatch):
    """As phones trim; `--start` and `--end` still reach what the file holds."""
    path = encoded(tmp_path / "a.mp4")
    path.write_bytes(trimmed(path.read_bytes(), 6, 800))
    if reader != "decord":
        monkeypatch.setitem(sys.modules, "decord", None)
    if reader == "OpenCV":
        monkeypatch.setitem(sys.modules, "av", None)
    clip = open_clip(path)
    frames = list(clip)
    assert [frame.time for frame in frames] == pytest.approx(np.arange(20) / 25, abs=1e-6)
    assert [shown_index(f.image) for f in frames] == pytest.approx(range(6, 26), abs=1)
    assert not any(frame.damaged for frame in frames) and clip.breaks_off_after is None
    part = [shown_index(frame.image) for frame in clip.with_range(0.4)]
    assert part == pytest.approx(range(16, 26), abs=1)
    assert len(open_clip(path, end=0.2)) == 5
    if reader == "decord":
        everything = [shown_index(frame.image) for frame in clip.with_range(-1, 9)]
        assert everything == pytest.approx(range(FRAMES), abs=1)
        with pytest.raises(InputError, match=r"show a\.mp4 up to 0\.8 s, .*: give an end, too"):
            open_clip(path, 0.9)


@pytest.mark.parametrize(
    "head", [struct.pack(">I4s", 0, b"moov"), None], ids=["to the end", "long"]
)
def test_a_header_may_state_its_length_otherwise(tmp_path, head):
    path = encoded(tmp_path / "a.mp4")
    content = trimmed(path.read_bytes(), 6, 800)
    at = content.rindex(b"moov") - 4
    length = len(content) - at
    assert int.from_bytes(content[at : at + 4], "big") == length, "it comes last"
    head = head or struct.pack(">I4sQ", 1, b"moov", length + 8)
    path.write_bytes(content[:at] + head + content[at + 8 :])
    assert len(open_clip(path)) == 20


@pytest.mark.parametrize("milliseconds", [1600, 1561, 1560])
def test_an_edit_that_cuts_nothing_away_loses_no_frame(tmp_path, milliseconds):
    """It puts frames that are stored in another order at the beginning, with little care."""
    path = encoded(tmp_path / "a.mp4")
    path.write_bytes(trimmed(path.read_bytes(), 0, milliseconds))
    clip = open_clip(path)
    assert len(clip) == FRAMES and (clip.start, clip.end) == (None, None)
