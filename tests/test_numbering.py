"""Frames are told by their times, and by their order where times do not tell."""

import sys
from pathlib import Path

import numpy as np
import pytest
from test_decoding_av import FRAMES, encoded
from test_video import shown_index

from temporal_hmr.numbering import numbered, stated_in_order
from temporal_hmr.video import open_clip

EVEN = [round(number * 40) for number in range(FRAMES)]


def retimed(path: Path, times: list[int]) -> Path:
    """A Matroska file whose frames have these times (ms)."""
    av = pytest.importorskip("av")
    plain = encoded(path.with_suffix(".mp4"), reordered=False)
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(plain)) as source, av.open(str(path), "w", options=options) as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        packets = (packet for packet in source.demux(video=0) if packet.size)
        for packet, time in zip(packets, times, strict=True):
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = round(time / 1000 / stream.time_base)
            made.mux(packet)
    return path


def numbers(stated: list[float], times: list[float]) -> list[int]:
    decoded = ((time, None) for time in times)
    return [number for number, _ in numbered(decoded, stated_in_order(np.array(stated)), 0.4)]


@pytest.mark.parametrize(
    "times",
    [
        [time - time % 80 for time in EVEN],
        [*EVEN[:7], EVEN[6], *EVEN[8:]],
        [time - 120 for time in EVEN],
        [time - 20 for time in EVEN],
        [time + 5000 for time in EVEN],
    ],
    ids=["pairs", "one pair", "negative", "one negative", "late"],
)
def test_no_frame_is_lost_whatever_the_times(tmp_path, times, caplog, monkeypatch) -> None:
    path = retimed(tmp_path / "a.mkv", times)
    for decord in (True, False):
        if not decord:
            monkeypatch.setitem(sys.modules, "decord", None)
        clip = open_clip(path)
        assert clip.times == pytest.approx(np.arange(FRAMES) / 25, abs=0.021)
        for first in (0, 7, 21):
            frames = list(clip.with_range(float(clip.times[first])))
            assert [frame.index for frame in frames] == list(range(first, FRAMES))
            shown = [shown_index(frame.image) for frame in frames]
            assert shown == pytest.approx(range(first, FRAMES), abs=1)
    assert not caplog.text


def test_of_frames_that_cannot_be_decoded_the_numbers_are_left_out() -> None:
    assert numbers([0, 1, 2, 3], [0, 1, 3]) == [0, 1, 3]
    assert numbers([0, 1, 1, 2], [0, 1, 2]) == [0, 1, 3]
    assert numbers([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2]) == [0, 1, 2, 4, 5]
    assert numbers([np.nan, 0, 1], [0, 1]) == [1, 2]


def test_what_lies_before_all_times_is_passed_over_and_what_is_at_none_is_the_end() -> None:
    assert numbers([0, 1, 2], [-2, -1, 0, 1, 2]) == [0, 1, 2]
    assert numbers([0, 1, 2, 9], [0, 1, 5, 9]) == [0, 1]
