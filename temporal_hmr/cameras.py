"""The frames of a camera that films now."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import cv2

from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced
from temporal_hmr.video import Frame


def camera_frames(
    number: int, open_camera: Callable[[int], Any] = cv2.VideoCapture
) -> Iterator[Frame]:
    """The newest frame of a camera each time, until it gives none.

    Raises `InputError` if there is no such camera.
    """
    with silenced():
        capture = open_camera(number)
    with closing(_Released(capture)):
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        begun, index = time.monotonic(), 0
        while True:
            shown, image = capture.read() if capture.isOpened() else (False, None)
            if not shown and not index:
                raise InputError(f"camera {number} gives no picture: is it there, and not in use?")
            if image is None:
                return
            moment = time.monotonic() - begun
            yield Frame(index, moment, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index += 1


class _Released:
    def __init__(self, capture: Any) -> None:
        self.close = capture.release
