"""INT's published checkpoints (video model "Token3d", phases 1 to 3) as ours.

Two conventions change with the names: the joint head's six rows, which alternate between the two
columns of the rotation, are put in our order (one column, then the other), and tokens and positions
lose their batch axis of 1.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from temporal_hmr.conversion.tensors import Conversion, Left, Renamed, convert_state
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_hybrid import HybridBackboneConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import INT, HmrConfig
from temporal_hmr.models.int_encoder import IntEncoderConfig
from temporal_hmr.models.int_heads import IntHeadsConfig
from temporal_hmr.models.token_motion import TokenMotionConfig
from temporal_hmr.models.token_transformer import TokenTransformerConfig

_HEAD_WIDTH = 64
"""Channels of each attention head, which no shape tells; so in every vision transformer."""


def _by_columns(rows: Tensor) -> Tensor:
    """Rows a1x a2x a1y a2y a1z a2z to a1x a1y a1z a2x a2y a2z; a misshapen tensor as it is."""
    return rows[[0, 2, 4, 1, 3, 5]] if rows.shape[:1] == (6,) else rows


def _unbatched(tensor: Tensor) -> Tensor:
    return tensor.squeeze(0)


_WHOLE = {
    "cls_token": Renamed("encoder.transformer.cls_token", _unbatched),
    "pos_embed": Renamed("encoder.transformer.positions", _unbatched),
    "joint3d_tokens": Renamed("encoder.transformer.joint_tokens", _unbatched),
    "shape_token": Renamed("encoder.transformer.shape_token", _unbatched),
    "cam_token": Renamed("encoder.transformer.camera_token", _unbatched),
    "temporal_pos_embedding": Renamed("motion.positions", _unbatched),
    "mask_token": Left("stands for hidden tokens in training only"),
    "joint3d_head.weight": Renamed("head.joint.weight", _by_columns),
    "joint3d_head.bias": Renamed("head.joint.bias", _by_columns),
}
_BEGINNINGS = {
    "shape_head.": "head.shape.",
    "cam_head.": "head.camera.",
    "norm.": "encoder.transformer.norm.",
    "patch_embed.proj.": "encoder.patches.project.",
    "patch_embed.backbone.stem.": "encoder.patches.backbone.stem.",
}
_NOT_IN_IMAGENET = re.compile(r"head\.|motion\.|encoder\.transformer\.(joint|shape|camera)_token")
_BLOCK = re.compile(r"(blocks|temporal_transformer)\.(\d+)\.(.+)\.(weight|bias)")
_STAGE = re.compile(r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.(.+)")
_TRANSFORMERS = {"blocks": "encoder.transformer.blocks", "temporal_transformer": "motion.blocks"}
_IN_BLOCK = {
    "norm1": "attention_norm",
    "attn.qkv": "attention.query_key_value",
    "attn.proj": "attention.out",
    "norm2": "feed_forward_norm",
    "mlp.fc1": "feed_forward.0",
    "mlp.fc2": "feed_forward.2",
}


def rename(name: str) -> Renamed | Left | None:
    """What becomes of a published tensor (without the prefix of a data-parallel module)."""
    if name in _WHOLE:
        return _WHOLE[name]
    if name.startswith("smpl."):
        return Left("the body model is licensed apart, and loaded apart")
    for theirs, ours in _BEGINNINGS.items():
        if name.startswith(theirs):
            return Renamed(ours + name.removeprefix(theirs))
    if stage := _STAGE.fullmatch(name):
        return Renamed("encoder.patches.backbone.stages.{}.{}.{}".format(*stage.groups()))
    if block := _BLOCK.fullmatch(name):
        transformer, number, layer, kind = block.groups()
        if layer in _IN_BLOCK:
            return Renamed(f"{_TRANSFORMERS[transformer]}.{number}.{_IN_BLOCK[layer]}.{kind}")
    return None


@dataclass(frozen=True, eq=False)
class ConvertedInt:
    """A published checkpoint under our names, and the settings of the model that it fits."""

    config: HmrConfig
    conversion: Conversion


def read_int(contents: Mapping[str, object]) -> ConvertedInt:
    """From what an INT checkpoint holds: the whole dictionary of the trainer, or its state only.

    Raises `InputError` that names tensors missing, unexpected or of the wrong shape.
    """
    state = _published_state(contents)
    config = _config_of(state)
    # Names and shapes are all that is asked of the module: it needs no memory.
    with torch.device("meta"):
        module = Hmr(config)
    return ConvertedInt(config, convert_state(state, module, rename))


def read_imagenet(contents: Mapping[str, object], config: HmrConfig) -> Conversion:
    """INT's start: the R50 + ViT-B/16 hybrid of ImageNet-21k, in the names of timm.

    Backbone, patches, the first blocks and the norm are taken from it; body tokens, heads and the
    temporal module, which it lacks, are drawn anew. Raises `InputError` as `read_int` does, and if
    the encoder of `config` is not INT's.
    """
    if not isinstance(config.encoder, IntEncoderConfig):
        raise InputError(f"INT starts from ImageNet's hybrid, an encoder {config.encoder.kind} not")
    layers = config.encoder.transformer.layers
    module = Hmr(config)
    drawn = {
        name: tensor for name, tensor in module.state_dict().items() if _NOT_IN_IMAGENET.match(name)
    }

    def fate(name: str) -> Renamed | Left | None:
        block = _BLOCK.fullmatch(name)
        if block and int(block[2]) >= layers:
            return Left("a block past those that the model has")
        if name.startswith(("head.", "pre_logits.")):
            return Left("the classes of ImageNet")
        ours = rename(name)
        return ours if isinstance(ours, Renamed) and ours.name not in drawn else None

    return convert_state(_published_state(contents), module, fate, drawn)


def _published_state(contents: Mapping[str, object]) -> dict[str, Tensor]:
    inner = contents.get("state_dict", contents)
    if not isinstance(inner, Mapping):
        raise InputError("state_dict of the checkpoint is no table of tensors; get the file anew")
    state = {str(name).removeprefix("module."): value for name, value in inner.items()}
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise InputError(f"{strange[0]} of the checkpoint is no tensor: is it one of INT's?")
    return state


def _config_of(state: Mapping[str, Tensor]) -> HmrConfig:
    """Sizes from names and shapes; a tensor that is not there leaves the published size.

    What does not fit together is then found by the conversion, and named there.
    """
    published = IntEncoderConfig()
    width = _size(state, "cam_token", 2, published.transformer.width)
    heads = max(1, width // _HEAD_WIDTH)
    patches = _size(state, "pos_embed", 1, published.transformer.grid**2 + 1) - 1
    motion = None
    if any(name.startswith("temporal_") for name in state):
        motion = TokenMotionConfig(
            layers=_count(state, r"temporal_transformer\.(\d+)\."),
            heads=heads,
            expansion=_expansion(state, "temporal_transformer.0", width),
            length=_size(state, "temporal_pos_embedding", 1, 16),
        )
    encoder = IntEncoderConfig(
        backbone=_backbone_of(state),
        transformer=TokenTransformerConfig(
            width=width,
            layers=_count(state, r"blocks\.(\d+)\."),
            heads=heads,
            expansion=_expansion(state, "blocks.0", width),
            grid=max(1, math.isqrt(patches)),
        ),
    )
    head = IntHeadsConfig(crop_side=encoder.image_side())
    window = 1 if motion is None else motion.length
    changes = {"encoder": encoder, "motion": motion, "head": head, "window": window}
    return INT.model_copy(update=changes)


def _expansion(state: Mapping[str, Tensor], block: str, width: int) -> int:
    return max(1, _size(state, f"{block}.mlp.fc1.weight", 0, 4 * width) // width)


def _backbone_of(state: Mapping[str, Tensor]) -> HybridBackboneConfig:
    stages = "patch_embed.backbone.stages"
    count = _count(state, r"patch_embed\.backbone\.stages\.(\d+)\.")
    return HybridBackboneConfig(
        stem=_size(state, "patch_embed.backbone.stem.conv.weight", 0, 64),
        blocks=tuple(
            _count(state, rf"patch_embed\.backbone\.stages\.{stage}\.blocks\.(\d+)\.")
            for stage in range(count)
        ),
        widths=tuple(
            _size(state, f"{stages}.{stage}.blocks.0.norm3.weight", 0, 256 * 2**stage)
            for stage in range(count)
        ),
    )


def _size(state: Mapping[str, Tensor], name: str, axis: int, otherwise: int) -> int:
    tensor = state.get(name)
    return otherwise if tensor is None or tensor.ndim <= axis else max(1, tensor.shape[axis])


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbered parts there are: one more than the highest number, at least one."""
    found = (re.match(pattern, name) for name in state)
    return 1 + max((int(match[1]) for match in found if match), default=0)
