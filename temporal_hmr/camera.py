"""A pinhole camera in OpenCV axes: x right, y down, z forward; pixels with the origin top left."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics of one image, or of a batch of images of one size."""

    focal: Float[Tensor, "*b 2"]
    """fx, fy in pixels."""
    center: Float[Tensor, "*b 2"]
    """cx, cy in pixels."""
    width: int
    height: int
    assumed: bool = False
    """True when nobody measured the focal length and the image diagonal stands in for it."""

    @staticmethod
    def with_assumed_focal(width: int, height: int) -> "Camera":
        """Focal length = image diagonal (a field of view of 53 degrees along it), centred.

        The choice of CLIFF (Li et al., ECCV 2022) for images without calibration.
        """
        return Camera.with_focal(float(width**2 + height**2) ** 0.5, width, height, assumed=True)

    @staticmethod
    def with_focal(focal: float, width: int, height: int, assumed: bool = False) -> "Camera":
        """Square pixels, principal point at the image centre; `focal` in pixels."""
        center = torch.tensor([width / 2, height / 2])
        return Camera(torch.tensor([focal, focal]), center, width, height, assumed)

    def resized(self, width: int, height: int) -> "Camera":
        """The camera of the same pictures at another size (px)."""
        scale = torch.tensor([width / self.width, height / self.height]).to(self.focal)
        return Camera(self.focal * scale, self.center * scale, width, height, self.assumed)

    def project(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 2"]:
        """Camera-frame points (m) to pixels. Points must lie in front of the camera (z > 0)."""
        return points[..., :2] / points[..., 2:] * self.focal.unsqueeze(-2) + self.center.unsqueeze(
            -2
        )

    def matrix(self) -> Float[Tensor, "*b 3 3"]:
        """K, so that `K @ point` is homogeneous pixels."""
        k = torch.diag_embed(torch.cat([self.focal, torch.ones_like(self.focal[..., :1])], -1))
        k[..., :2, 2] = self.center
        return k
