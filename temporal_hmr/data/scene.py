"""Bodies before cameras: what the makers of detections and of pictures both look at."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.params import SmplParams


@dataclass(frozen=True, eq=False)
class Scene:
    """Clips of one person each, and where their cameras stand in the world."""

    smpl: SmplParams
    """Camera frame, batch axes B, T."""
    times: Float[Tensor, "B T"]
    focal: Float[Tensor, "B"]
    image_size: Float[Tensor, "B 2"]
    """Width, height in pixels; the principal point is its middle."""
    world_to_camera: Float[Tensor, "B T 3 3"]
    """Rotation from the motion capture's world (y up) to the camera."""
    world_origin: Float[Tensor, "B T 3"]
    """The world's origin in the camera frame: x_camera = rotation x_world + origin."""

    def project(self, points: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T J 2"]:
        """Camera-frame points (m) to pixels of the full image."""
        focal, center = self.focal[:, None, None, None], self.image_size[:, None, None] / 2
        return points[..., :2] / points[..., 2:] * focal + center
