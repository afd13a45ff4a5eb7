"""The camera that filmed a video, as its user gives it: numbers, or a file of a calibration."""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.given.colmap import COLMAP_NAMES, read_colmap
from temporal_hmr.given.lens import Lens
from temporal_hmr.given.measured import Measured
from temporal_hmr.given.opencv_file import read_opencv
from temporal_hmr.video import Clip

_ASPECT_TOLERANCE = 0.01
"""Of the ratio of width to height: sizes are whole pixels, and codecs like multiples of 16."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GivenCamera:
    """The intrinsics of one video."""

    camera: Camera
    lens: Lens | None = None
    """What is taken out of keypoints and pictures; None where nothing is bent."""
    told: dict[str, object] | None = None
    """Where they come from and what they are, in words and numbers that JSON knows; None where
    nobody gave them."""


def read_camera(what: Path | str, clip: Clip) -> GivenCamera:
    """The camera of `clip` from `fx,fy,cx,cy` (px), or from a file of OpenCV's or COLMAP's.

    A calibration at another size is scaled to the clip's. Raises `InputError` if it is none of
    these, if its pictures have another shape than the clip, or if it cannot be a camera of it.
    """
    measured = _measured(str(what), clip)
    camera, name = _fitted(measured, clip), measured.name
    _check(camera, name)
    lens = Lens(camera, measured.distortion) if any(measured.distortion) else None
    if lens is not None and not lens.holds():
        raise InputError(
            f"the distortion of {name} folds the corners of {clip.width} x {clip.height} pixels "
            "over, so that it cannot be taken out: calibrate with the board in the corners too, or "
            "undistort the video and give its fx,fy,cx,cy"
        )
    told = {
        "given": name,
        "focal": camera.focal.tolist(),
        "center": camera.center.tolist(),
        "distortion_taken_out": list(measured.distortion) if lens is not None else [],
    }
    return GivenCamera(camera, lens, told)


def check_camera_words(what: Path | str) -> None:
    """Raise `InputError` if it is neither four numbers nor the path of something there is."""
    if _numbers(str(what)) is None and not Path(what).exists():
        raise InputError(
            f"--camera takes fx,fy,cx,cy in pixels, a calibration file of OpenCV or a COLMAP "
            f"model, and {str(what)!r} is neither four numbers nor there"
        )


def _measured(what: str, clip: Clip) -> Measured:
    check_camera_words(what)
    numbers = _numbers(what)
    if numbers is not None:
        fx, fy, cx, cy = numbers
        return Measured("fx,fy,cx,cy", (fx, fy), (cx, cy))
    path = Path(what)
    if path.is_dir() or path.name in COLMAP_NAMES:
        return read_colmap(path, clip)
    return read_opencv(path)


def _numbers(what: str) -> Sequence[float] | None:
    words = re.split(r"[,\s]+", what.strip())
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    if len(numbers) != 4:
        raise InputError(f"--camera takes four numbers, fx,fy,cx,cy in pixels, not {what!r}")
    return numbers


def _fitted(measured: Measured, clip: Clip) -> Camera:
    """As double precision would have it; the clip's size."""
    focal, center = (
        torch.tensor(each, dtype=torch.float64) for each in (measured.focal, measured.center)
    )
    width, height = measured.size or (clip.width, clip.height)
    ratio = clip.width * height / (clip.height * width)
    if abs(ratio - 1) > _ASPECT_TOLERANCE:
        turned = abs(clip.width * width / (clip.height * height) - 1) <= _ASPECT_TOLERANCE
        raise InputError(
            f"{measured.name} is of pictures of {width} x {height} pixels and {clip.path.name} has "
            f"{clip.width} x {clip.height}: "
            + (
                "calibrate in the orientation of the video"
                if turned
                else "give the calibration of this very camera mode, whose pictures have this shape"
            )
        )
    camera = Camera(focal, center, width, height).resized(clip.width, clip.height)
    return Camera(camera.focal.float(), camera.center.float(), clip.width, clip.height)


def _check(camera: Camera, name: str) -> None:
    values = [*camera.focal.tolist(), *camera.center.tolist()]
    if not all(map(math.isfinite, values)) or min(values[:2]) <= 0:
        raise InputError(f"{name} has no focal length above 0: check its numbers")
    x, y = values[2:]
    if not (0 < x < camera.width and 0 < y < camera.height):
        raise InputError(
            f"the principal point {x:g},{y:g} of {name} lies outside the picture of "
            f"{camera.width} x {camera.height} pixels: give the camera at the size of the video"
        )
    if max(abs(x / camera.width - 0.5), abs(y / camera.height - 0.5)) > 0.25:
        _log.warning(
            "the principal point %g,%g of %s lies far from the middle of the picture of %d x %d "
            "pixels: is it of this video, uncropped and turned as it is?",
            *(x, y, name, camera.width, camera.height),
        )
