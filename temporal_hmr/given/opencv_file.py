"""Calibrations as OpenCV writes them (`FileStorage`: yaml, json or xml), and ROS's yaml."""

from pathlib import Path
from typing import Any

import numpy as np

from temporal_hmr.errors import InputError
from temporal_hmr.given.measured import Measured
from temporal_hmr.native_output import silenced

_MATRIX = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "intrinsic_matrix", "M1")
_DISTORTION = (
    *("distortion_coefficients", "Distortion_Coefficients", "dist_coeffs", "distCoeffs", "D"),
    *("dist_coeff", "distortion", "D1"),
)
_WIDTH = ("image_width", "image_Width", "width")
_HEIGHT = ("image_height", "image_Height", "height")
_COUNTS = (0, 4, 5, 8, 12, 14)
"""Of coefficients, that OpenCV's model knows."""
_MOST_BRACKETS = 10_000
"""OpenCV ends the process where some tens of thousands stand in one another."""
_PINHOLES = ("", "plumb_bob", "rational_polynomial", "pinhole", "radtan")
"""What ROS calls the same models."""


def read_opencv(path: Path) -> Measured:
    """Camera matrix, distortion and, where it is told, the size of the pictures.

    OpenCV counts pixels from the centre of the first one, we from its corner: half a pixel is added
    to the principal point. Raises `InputError` if the file is no calibration, or of a fisheye.
    """
    told = _read(path)
    name, matrix = _first(told, _MATRIX)
    if name is None:
        raise InputError(
            f"{path} is no calibration of OpenCV: it has no camera_matrix among its keys "
            f"({', '.join(sorted(told)[:8]) or 'none'})"
        )
    k = _numbers(path, name, matrix)
    if len(k) != 9:
        raise InputError(f"{path}: {name} has {len(k)} numbers, a camera matrix has nine")
    k = k.reshape(3, 3)
    if abs(k[0, 1]) > 1e-6 * abs(k[0, 0]) or not np.allclose(k[2], (0, 0, 1)):
        raise InputError(f"{path}: {name} is no matrix of a camera without skew: check its order")
    _refuse_fisheye(path, told)
    return Measured(
        name=path.name,
        focal=(float(k[0, 0]), float(k[1, 1])),
        center=(float(k[0, 2]) + 0.5, float(k[1, 2]) + 0.5),
        distortion=_distortion(path, told),
        size=_size(path, told),
    )


def _read(path: Path) -> dict[str, Any]:
    """What stands at the top of the file: numbers, texts, lists of numbers."""
    import cv2

    try:
        contents = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the file") from error
    if not contents:
        raise InputError(f"{path} is empty (0 bytes): give a calibration file")
    if sum(contents.count(bracket) for bracket in (b"[", b"{", b"<")) > _MOST_BRACKETS:
        raise InputError(f"{path} is nested like no calibration: give another file")
    # OpenCV raises `SystemError` for what it cannot parse, and tells the terminal besides;
    # `ValueError` where keys are no UTF-8.
    try:
        with silenced():
            storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
            root = storage.root()
            keys = root.keys() if storage.isOpened() and root.isMap() else []
            told = {key: _plain(root.getNode(key)) for key in keys}
            storage.release()
    except (cv2.error, SystemError, ValueError) as error:
        raise InputError(
            f"{path} is no file of OpenCV's FileStorage (yaml, json or xml): give a calibration "
            "with camera_matrix and distortion_coefficients, a COLMAP model, or fx,fy,cx,cy"
        ) from error
    return told


def _plain(node: Any) -> Any:
    if node.isMap():
        # Matrices of OpenCV and ROS alike.
        return _plain(node.getNode("data")) if "data" in tuple(node.keys()) else None
    if node.isSeq():
        return [_plain(node.at(position)) for position in range(node.size())]
    return node.real() if node.isInt() or node.isReal() else node.string()


def _first(told: dict[str, Any], names: tuple[str, ...]) -> tuple[str | None, Any]:
    return next(((name, told[name]) for name in names if name in told), (None, None))


def _numbers(path: Path, name: str, value: Any) -> np.ndarray:
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InputError(f"{path}: {name} holds something other than finite numbers")
    return numbers


def _distortion(path: Path, told: dict[str, Any]) -> tuple[float, ...]:
    name, value = _first(told, _DISTORTION)
    if name is None:
        return ()
    numbers = _numbers(path, name, value)
    if len(numbers) not in _COUNTS:
        raise InputError(
            f"{path}: {name} has {len(numbers)} numbers, OpenCV's model has 4, 5, 8, 12 or 14"
        )
    return tuple(numbers.tolist())


def _refuse_fisheye(path: Path, told: dict[str, Any]) -> None:
    model = str(told.get("distortion_model", "")).lower()
    if told.get("fisheye_model") or model not in _PINHOLES:
        raise InputError(
            f"{path} is of a fisheye or another lens ({model or 'fisheye_model'}) that no pinhole "
            "stands for: undistort the video first and give the fx,fy,cx,cy of that"
        )


def _size(path: Path, told: dict[str, Any]) -> tuple[int, int] | None:
    sides = [_first(told, names) for names in (_WIDTH, _HEIGHT)]
    if any(name is None for name, _ in sides):
        return None
    (width,), (height,) = (_numbers(path, str(name), value) for name, value in sides)
    if not (width >= 1 and height >= 1 and width == int(width) and height == int(height)):
        raise InputError(f"{path}: pictures of {width:g} x {height:g} pixels there are none")
    return int(width), int(height)
