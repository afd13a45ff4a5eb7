"""A calibration as it stands in a file, before it is fitted to a video."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Intrinsics of one camera."""

    name: str
    """For messages and results: the name of the file, and of the camera in it."""
    focal: tuple[float, float]
    """fx, fy in pixels."""
    center: tuple[float, float]
    """cx, cy in pixels, counted from the corner of the first one."""
    distortion: tuple[float, ...] = ()
    """OpenCV's k1, k2, p1, p2, k3, ...; none for a pinhole."""
    size: tuple[int, int] | None = None
    """Width and height of the pictures in pixels; None where it is not said."""
