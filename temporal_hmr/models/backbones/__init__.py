"""Image backbones, any of which the models take."""

from typing import Annotated

from pydantic import Field

from temporal_hmr.models.backbones.blocks import Backbone
from temporal_hmr.models.backbones.hrnet import HrNet, HrNetConfig
from temporal_hmr.models.backbones.resnet import ResNet, ResNetConfig
from temporal_hmr.models.backbones.vit import ViT, ViTConfig

BackboneConfig = Annotated[ResNetConfig | HrNetConfig | ViTConfig, Field(discriminator="kind")]


def build_backbone(config: BackboneConfig) -> Backbone:
    """The backbone that the settings describe, with weights yet to be loaded or learned."""
    match config:
        case ResNetConfig():
            return ResNet(config)
        case HrNetConfig():
            return HrNet(config)
        case ViTConfig():
            return ViT(config)
