"""How PostoMETRO is trained, as settings (Yang et al., WACV 2025, section 4.1).

What the paper leaves open is FastMETRO's: weight decay, clipping, a constant learning rate.
"""

from pydantic import Field

from temporal_hmr.configuration import Config
from temporal_hmr.losses_mesh import MeshLossWeights
from temporal_hmr.models.postometro import PostoMetroConfig


class Stage(Config):
    """One round of training, by AdamW."""

    datasets: tuple[str, ...] = Field(min_length=1)
    epochs: int = Field(default=30, gt=0)
    batch: int = Field(default=128, gt=0)
    """Images over all devices; 96 with HRNet-W48."""
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=0.3, gt=0)
    """Norm of the gradient at most."""


class PostoMetroCropAugmentation(Config):
    """How crops vary; no mirroring is mentioned."""

    box_scale: float = 1.25
    """Side of the crop over that of the person's box. Not published."""
    rotation: float = 30.0
    """Standard deviation in degrees, cut at twice that."""
    rotated_share: float = 0.4
    scale: float = 0.25
    """Likewise, around 1 and cut at once that."""
    colour: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """Jitter of brightness, contrast, saturation and hue. Not published."""


class PostoMetroRun(Config):
    """A model, what is asked of it, and the rounds of its training, each from the one before."""

    model: PostoMetroConfig = PostoMetroConfig()
    losses: MeshLossWeights = MeshLossWeights()
    augmentation: PostoMetroCropAugmentation = PostoMetroCropAugmentation()
    stages: tuple[Stage, ...] = Field(min_length=1)
