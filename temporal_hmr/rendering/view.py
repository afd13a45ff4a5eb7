"""One frame's crop as a camera of its own."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.camera import Camera


@dataclass(frozen=True, eq=False)
class View:
    """A camera that sees exactly a square of a larger image, and where it stands in the world."""

    side: int
    """Pixels of the crop."""
    corner: Float[ndarray, "2"]
    """Where the crop's top left corner lies in the full image, pixels."""
    scale: float
    """Crop pixels per pixel of the full image."""
    focal: float
    """Pixels of the full image."""
    image_size: Float[ndarray, "2"]
    """Width and height of the full image; its middle is the principal point."""
    rotation: Float[ndarray, "3 3"]
    """World (y up) to camera."""
    origin: Float[ndarray, "3"]
    """The world's origin in the camera frame, metres."""

    def camera(self, scale: float = 1.0) -> Camera:
        """The crop's camera; `scale` makes the picture of another size."""
        zoom = self.scale * scale
        focal = self.focal * zoom
        center = torch.from_numpy((self.image_size / 2 - self.corner) * zoom)
        side = round(self.side * scale)
        return Camera(torch.tensor([focal, focal]), center, side, side)

    def matrix(self) -> Float[ndarray, "3 3"]:
        """K of the crop with pixel centres at whole numbers, as OpenCV counts them."""
        focal = self.focal * self.scale
        x, y = (self.image_size / 2 - self.corner) * self.scale - 0.5
        return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])

    def to_world(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Camera-frame points in the world."""
        return (points - self.origin) @ self.rotation

    def to_camera(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """World points in the camera frame."""
        return points @ self.rotation.T + self.origin

    @property
    def position(self) -> Float[ndarray, "3"]:
        """Of the camera in the world."""
        return -self.rotation.T @ self.origin
