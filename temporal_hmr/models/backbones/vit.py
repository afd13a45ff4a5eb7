"""A plain vision transformer (Dosovitskiy et al., ICLR 2021), through `transformers`."""

from typing import Literal

from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from temporal_hmr.configuration import Config
from temporal_hmr.dependencies import installation
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.blocks import Backbone


class ViTConfig(Config):
    """ViT-B/16 by default: 768 channels at a 16th of the resolution."""

    kind: Literal["vit"] = "vit"
    image: tuple[int, int] = (256, 256)
    """Height and width of the images, for which its positions are learned."""
    patch: int = Field(default=16, gt=0)
    width: int = Field(default=768, gt=0)
    layers: int = Field(default=12, gt=0)
    heads: int = Field(default=12, gt=0)
    frozen: Literal["nothing", "everything"] = "nothing"


class ViT(Backbone):
    """Patch tokens after the last norm, as a feature map; the class token is left."""

    def __init__(self, config: ViTConfig):
        try:
            from transformers import ViTConfig as Sizes
            from transformers import ViTModel
        except ImportError as error:
            raise InputError(
                f"the backbone vit needs the package transformers: {installation('vit')}"
            ) from error
        super().__init__(config.frozen)
        self.channels = config.width
        self.rows = config.image[0] // config.patch
        sizes = Sizes(
            image_size=list(config.image),
            patch_size=config.patch,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
        )
        self.transformer = ViTModel(sizes, add_pooling_layer=False)
        self.freeze()

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N channels h w"]:
        tokens = self.transformer(pixel_values=images).last_hidden_state[:, 1:]
        return rearrange(tokens, "n (h w) c -> n c h w", h=self.rows)
