"""What a lens bends, made straight: keypoints and pictures as an ideal pinhole has them.

The model is OpenCV's (Brown 1966, with its rational and thin prism terms), in the house's pixels,
which are counted from the corner of the first one and not from its centre.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Track
from temporal_hmr.people.reading import tight_box
from temporal_hmr.video import Clip, Frame

_UNTIL = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-9)


@dataclass(frozen=True, eq=False)
class Lens:
    """The distortion of a camera."""

    camera: Camera
    """The ideal pinhole that its straightened pictures are of."""
    coefficients: tuple[float, ...]
    """OpenCV's k1, k2, p1, p2, k3, ...: 4, 5, 8, 12 or 14 of them."""

    def straight(self, points: Float[ndarray, "*n 2"]) -> Float[ndarray, "*n 2"]:
        """Where the pinhole has what is at these pixels of the video."""
        matrix, coefficients = self._matrix(), np.array(self.coefficients)
        bent = np.asarray(points, np.float64).reshape(-1, 1, 2)
        if not len(bent):
            return np.asarray(points, np.float64)
        found = cv2.undistortPoints(bent, matrix, coefficients, P=matrix, criteria=_UNTIL)
        return found.reshape(np.shape(points))

    def bent(self, points: Float[ndarray, "*n 2"]) -> Float[ndarray, "*n 2"]:
        """Where the video has what is at these pixels of the pinhole."""
        matrix = self._matrix()
        straight = np.asarray(points, np.float64).reshape(-1, 2)
        if not len(straight):
            return np.asarray(points, np.float64)
        rays = (straight - matrix[:2, 2]) / matrix.diagonal()[:2]
        rays, still = np.column_stack([rays, np.ones(len(rays))]), np.zeros(3)
        found, _ = cv2.projectPoints(rays, still, still, matrix, np.array(self.coefficients))
        return found.reshape(np.shape(points))

    def holds(self) -> bool:
        """Whether every place of the video is one place of the pinhole, within half a pixel.

        Distortion that was measured in the middle of a picture may fold its corners over.
        """
        camera = self.camera
        columns, rows = (np.linspace(0, side, 9) for side in (camera.width, camera.height))
        places = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
        back = self.bent(self.straight(places))
        return bool((np.abs(back - places) < 0.5).all())

    def resized(self, width: int, height: int) -> "Lens":
        """The same lens before a picture of another size (px)."""
        return replace(self, camera=self.camera.resized(width, height))

    def straight_track(self, track: Track) -> Track:
        """A track in the video as one in the pinhole."""
        keypoints = track.keypoints.copy()
        known = keypoints[..., 2] > 0
        keypoints[known, :2] = self.straight(keypoints[known, :2])
        boxes = np.array([tight_box(each) for each in keypoints], track.boxes.dtype)
        return replace(track, keypoints=keypoints, boxes=boxes)

    def maps(self) -> tuple[ndarray, ndarray]:
        """For each pixel of the pinhole its place in the video, as `cv2.remap` takes it."""
        matrix = self._matrix()
        # OpenCV counts from the centre of the first pixel.
        matrix[:2, 2] -= 0.5
        size = (self.camera.width, self.camera.height)
        coefficients = np.array(self.coefficients)
        return cv2.initUndistortRectifyMap(
            matrix, coefficients, np.eye(3), matrix, size, cv2.CV_16SC2
        )

    def _matrix(self) -> Float[ndarray, "3 3"]:
        return self.camera.matrix().double().numpy()


@dataclass(eq=False)
class _StraightClip(Clip):
    bent: Clip | None = None
    lens: Lens | None = None

    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        assert self.bent is not None and self.lens is not None, "both are given below"
        maps = self.lens.maps()
        for frame in self.bent._decode(first, stop):
            yield replace(frame, image=_straight_image(frame.image, maps))


def _straight_image(
    image: UInt8[ndarray, "H W 3"], maps: tuple[ndarray, ndarray]
) -> UInt8[ndarray, "H W 3"]:
    return cv2.remap(image, *maps, cv2.INTER_LINEAR)


def told_lens(meta: Mapping[str, Any], camera: Camera) -> Lens | None:
    """The lens whose distortion was taken out of a result, None if none was; `meta` is its own.

    Raises `InputError` if what it says is no distortion of OpenCV's.
    """
    settings = meta.get("settings")
    told = settings.get("camera") if isinstance(settings, Mapping) else None
    coefficients = told.get("distortion_taken_out") if isinstance(told, Mapping) else None
    if not coefficients:
        return None
    try:
        lens = Lens(camera, tuple(map(float, coefficients)))
        lens.bent(np.zeros((1, 2)))
    except (cv2.error, ValueError, TypeError) as error:
        raise InputError(
            f"the result names {coefficients!r} as the distortion of its camera, which is none of "
            "OpenCV's: track the video again"
        ) from error
    return lens


def straight_clip(clip: Clip, lens: Lens) -> Clip:
    """The clip as the pinhole would have filmed it, black where the lens saw nothing."""
    return _StraightClip(
        path=clip.path,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
        times=clip.times,
        start=clip.start,
        end=clip.end,
        stride=clip.stride,
        bent=clip,
        lens=lens.resized(clip.width, clip.height),
    )
