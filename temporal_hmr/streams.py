"""Files of several videos, such as a film with its cover: which one is meant, by PyAV."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2

Told = TypeVar("Told")


def best_stream(container: Any) -> Any:
    """The video of a file, of several the one that decord and players take, but for a cover.

    Raises `IndexError` if there is none.
    """
    stream = container.streams.best("video")
    if stream is None:
        raise IndexError("there is no video in it")
    if stream.frames == 1:
        return max(container.streams.video, key=lambda each: each.frames)
    return stream


def told_by_av(path: Path, ask: Callable[[Any], Told]) -> Told | None:
    """What PyAV's container of a file answers; None without PyAV, or if it cannot be read."""
    try:
        from av import open as open_container
        from av.error import FFmpegError
    except ImportError:
        return None
    try:
        with open_container(str(path.resolve())) as container:
            return ask(container)
    except (FFmpegError, IndexError, ValueError):
        return None


def track_number(path: Path) -> int | None:
    """The number that an mp4 gives to the video that pictures are taken from; None without PyAV."""
    return told_by_av(path, lambda container: best_stream(container).id)


def stated_behind_first(path: Path) -> dict[int, float] | None:
    """What a file states of its video, by OpenCV's names, if that is not the first one in it.

    None if it is, which is the one that OpenCV looks at, and without PyAV.
    """
    return told_by_av(path, _stated_behind_first)


def _stated_behind_first(container: Any) -> dict[int, float] | None:
    stream = best_stream(container)
    if stream.index == container.streams.video[0].index:
        return None
    rate, aspect = stream.average_rate or 0, stream.sample_aspect_ratio or 0
    lasting = 0.0 if container.duration is None else container.duration / 1e6
    return {
        cv2.CAP_PROP_FPS: float(rate),
        cv2.CAP_PROP_FRAME_COUNT: stream.frames or round(lasting * rate),
        cv2.CAP_PROP_SAR_NUM: aspect.numerator,
        cv2.CAP_PROP_SAR_DEN: aspect.denominator,
        # What begins with a cover was made by a program, not held by a hand.
        cv2.CAP_PROP_ORIENTATION_META: 0,
    }
