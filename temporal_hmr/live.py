"""Bodies in front of a camera, as they move: `python -m temporal_hmr.track 0`.

Nothing is written. Bodies are those of `online`, a stated number of frames late, and shown on the
frame that they belong to; without a screen, how late is printed once a second. Frames that come
meanwhile are passed over.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.camera import Camera
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.online import OnlinePeople, OnlineSettings
from temporal_hmr.output.overlay import Artist, OverlayStyle
from temporal_hmr.people.recalled import Detector
from temporal_hmr.video import Frame

_WINDOW = "temporal_hmr (q ends)"


@dataclass(frozen=True, eq=False)
class Seer:
    """What looks, and what it knows of bodies."""

    detector: Detector
    model: Hmr
    body: BodyModel
    settings: OnlineSettings = field(default_factory=OnlineSettings)
    focal: float | None = None
    """Pixels; None assumes the image diagonal."""


def bodies_now(seer: Seer, frames: Iterator[Frame]) -> Iterator[tuple[Frame, ndarray, float]]:
    """Frames, pictures with the bodies in them, and the seconds by which they are late.

    Nothing comes until as many frames are there as bodies are late. Raises `InputError` for weights
    or a delay that bodies cannot be recovered with as frames come.
    """
    recent: deque[Frame] = deque(maxlen=seer.settings.delay + 1)
    people: OnlinePeople | None = None
    for frame in frames:
        begun = time.monotonic()
        recent.append(frame)
        if people is None:
            height, width = frame.image.shape[:2]
            camera = (
                Camera.with_assumed_focal(width, height)
                if seer.focal is None
                else Camera.with_focal(seer.focal, width, height)
            )
            people = OnlinePeople(seer.model, seer.body, camera, seer.settings)
        motions = people.push(frame.index, frame.time, seer.detector.people(frame))
        if len(recent) < seer.settings.delay + 1:
            continue
        shown = recent[0]
        present = [motion for motion in motions if motion.at(shown.index) is not None]
        picture = Artist(present, seer.body, OverlayStyle(keypoints=True)).draw(shown)
        yield shown, picture, frame.time - shown.time + time.monotonic() - begun


def watch(
    seer: Seer,
    frames: Iterator[Frame],
    show: Callable[[UInt8[ndarray, "H W 3"]], bool] | None,
) -> None:
    """Go on until the camera or `show` ends it, telling how it goes.

    In the corner of the pictures that are shown; without `show`, in a line each second.
    """
    told, taken, going = 0.0, [], ""
    for frame, picture, seconds in bodies_now(seer, frames):
        taken.append(seconds)
        if frame.time - told >= 1:
            per_second = len(taken) / (frame.time - told)
            late = 1000 * float(np.median(taken))
            going = f"{per_second:.1f} frames a second, each {late:.0f} ms late"
            told, taken = frame.time, []
            if show is None:
                print(going, flush=True)
        if show is not None and not show(_captioned(picture, going)):
            return


def _captioned(picture: UInt8[ndarray, "H W 3"], text: str) -> UInt8[ndarray, "H W 3"]:
    if not text:
        return picture
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(picture.shape[0] / 1200, 0.4)
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    cv2.rectangle(picture, (0, 0), (width + 12, height + below + 8), (40, 40, 40), cv2.FILLED)
    cv2.putText(picture, text, (6, height + 5), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def window() -> Callable[[UInt8[ndarray, "H W 3"]], bool] | None:
    """Shows a picture and tells whether to go on; None where there is no screen."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return None

    def show(picture: UInt8[ndarray, "H W 3"]) -> bool:
        cv2.imshow(_WINDOW, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return cv2.waitKey(1) & 0xFF != ord("q")

    return show
