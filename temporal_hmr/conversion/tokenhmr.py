"""TokenHMR's published files: the pose tokenizer, and the image model that needs it.

Both speak of rotations by two rows; our modules do the same when told (`sixd: rows`). The mean pose
in the image model's file is laid out otherwise than its network reads it: it is kept as it is, for
the sake of equal outputs.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from temporal_hmr.conversion.tensors import Conversion, Left, Renamed, convert_state
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_vit import VitConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import TOKENHMR, HmrConfig
from temporal_hmr.models.token_head import ClassifierConfig, TokenHeadConfig
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig

_HEAD_WIDTH = 64
_BACKBONE_HEAD_WIDTH = 80
"""Widths of attention heads: what no shape in the files tells."""
_TOKENS = 160
"""Nor does a tokenizer's file tell how many tokens it makes."""

_TOKENIZER_NAMES = {
    r"encoder\.encoder\.0": "encoder.0.first",
    r"encoder\.encoder\.(3|6|9|12)": "encoder.0.stages.{stage}",
    r"encoder\.encoder\.14\.0": "encoder.1",
    r"encoder\.encoder\.14\.1\.model\.(\d+)\.conv1": "encoder.2.{0}.spread",
    r"encoder\.encoder\.14\.1\.model\.(\d+)\.conv2": "encoder.2.{0}.point",
    r"encoder\.encoder\.15": "encoder.3",
    r"decoder\.decoder\.0": "decoder.0.first",
    r"decoder\.decoder\.(3|6|9|12)": "decoder.0.stages.{stage}",
    r"decoder\.decoder\.14\.0\.model\.(\d+)\.conv1": "decoder.1.{0}.spread",
    r"decoder\.decoder\.14\.0\.model\.(\d+)\.conv2": "decoder.1.{0}.point",
    r"decoder\.decoder\.14\.1": "decoder.2",
    r"decoder\.decoder\.15": "decoder.3",
}
_MODEL_NAMES = {
    r"backbone\.patch_embed\.proj": "encoder.backbone.embed",
    r"backbone\.blocks\.(\d+)\.norm1": "encoder.backbone.blocks.{0}.attention_norm",
    r"backbone\.blocks\.(\d+)\.attn\.qkv": "encoder.backbone.blocks.{0}.attention.query_key_value",
    r"backbone\.blocks\.(\d+)\.attn\.proj": "encoder.backbone.blocks.{0}.attention.out",
    r"backbone\.blocks\.(\d+)\.norm2": "encoder.backbone.blocks.{0}.feed_forward_norm",
    r"backbone\.blocks\.(\d+)\.mlp\.fc1": "encoder.backbone.blocks.{0}.feed_forward.0",
    r"backbone\.blocks\.(\d+)\.mlp\.fc2": "encoder.backbone.blocks.{0}.feed_forward.2",
    r"backbone\.last_norm": "encoder.backbone.norm",
    r"smpl_head\.transformer\.to_token_embedding": "head.decoder.embed",
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.0\.norm": (
        "head.decoder.blocks.{0}.self_norm"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.0\.fn\.to_qkv": (
        "head.decoder.blocks.{0}.self_attention.query_key_value"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.0\.fn\.to_out\.0": (
        "head.decoder.blocks.{0}.self_attention.out"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.1\.norm": (
        "head.decoder.blocks.{0}.cross_norm"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.1\.fn\.to_q": (
        "head.decoder.blocks.{0}.cross_attention.query"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.1\.fn\.to_kv": (
        "head.decoder.blocks.{0}.cross_attention.key_value"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.1\.fn\.to_out\.0": (
        "head.decoder.blocks.{0}.cross_attention.out"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.2\.norm": (
        "head.decoder.blocks.{0}.feed_forward_norm"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.2\.fn\.net\.0": (
        "head.decoder.blocks.{0}.feed_forward.0"
    ),
    r"smpl_head\.transformer\.transformer\.layers\.(\d+)\.2\.fn\.net\.3": (
        "head.decoder.blocks.{0}.feed_forward.2"
    ),
    r"smpl_head\.decpose_grot": "head.orientation",
    r"smpl_head\.decpose_hands": "head.hands",
    r"smpl_head\.decshape": "head.shape",
    r"smpl_head\.deccam": "head.camera",
    r"smpl_head\.decpose\.mixer_trans\.ff\.([01])": "head.spread.{0}",
    r"smpl_head\.decpose\.mixer_head\.(\d+)\.layernorm1": "head.classifier.mixers.{0}.token_norm",
    r"smpl_head\.decpose\.mixer_head\.(\d+)\.layernorm2": "head.classifier.mixers.{0}.channel_norm",
    r"smpl_head\.decpose\.mixer_head\.(\d+)\.MLP_(token|channel)\.ff\.0": (
        "head.classifier.mixers.{0}.{1}_mlp.0"
    ),
    r"smpl_head\.decpose\.mixer_head\.(\d+)\.MLP_(token|channel)\.ff\.3": (
        "head.classifier.mixers.{0}.{1}_mlp.2"
    ),
    r"smpl_head\.decpose\.mixer_norm_layer\.ff\.([01])": "head.classifier.connect.{0}",
    r"smpl_head\.decpose\.class_pred_layer": "head.classifier.scores",
}
"""Layers, without `.weight` and `.bias`."""


def _first(tensor: Tensor) -> Tensor:
    """Without the batch axis of one."""
    return tensor.squeeze(0)


_MODEL_TENSORS: dict[str, Renamed] = {
    "backbone.pos_embed": Renamed("encoder.backbone.positions", _first),
    "smpl_head.transformer.pos_embedding": Renamed("head.decoder.position"),
    "smpl_head.init_body_pose": Renamed("head.mean_sixd", lambda t: t.reshape(-1, 6)),
    "smpl_head.init_betas": Renamed("head.mean_betas", _first),
    "smpl_head.init_cam": Renamed("head.mean_camera", _first),
}


def rename_tokenizer(name: str) -> Renamed | Left | None:
    """What becomes of a tensor of the tokenizer's file."""
    if "body_model" in name:
        return Left("arrays of a body model, which is loaded from its own file")
    if name == "quantizer.codebook":
        return Renamed("codebook.codes")
    return _renamed_layer(name, _TOKENIZER_NAMES)


def rename_model(name: str) -> Renamed | Left | None:
    """What becomes of a tensor of the image model's file."""
    if name.startswith("smpl."):
        return Left("arrays of a body model, which is loaded from its own file")
    if name.startswith("discriminator."):
        return Left("the adversary of training")
    if not name.startswith(("backbone.", "smpl_head.")):
        return Left("no part of the network")
    return _MODEL_TENSORS.get(name) or _renamed_layer(name, _MODEL_NAMES)


def read_tokenizer(
    contents: Mapping[str, Any], tokens: int = _TOKENS
) -> tuple[Conversion, RotationTokenizerConfig]:
    """A state for `RotationTokenizer` and its settings, from the contents of the tokenizer's file.

    `contents` has the tensors under `net`, or is that dictionary. Raises `InputError` if it is not
    what was published.
    """
    published = _under(contents, "net")
    codes, code_dim = _shape(published, "quantizer.codebook", 2)
    config = RotationTokenizerConfig(
        tokens=tokens,
        width=_shape(published, "encoder.encoder.0.weight", 3)[0],
        residual_blocks=_count(published, r"encoder\.encoder\.14\.1\.model\.(\d+)\."),
        codes=codes,
        code_dim=code_dim,
        sixd="rows",
    )
    # The file has the codes without their averages: as if each had been chosen once.
    made = {
        "codebook.counts": torch.ones(codes),
        "codebook.sums": published["quantizer.codebook"].clone(),
        "codebook.begun": torch.tensor(True),
    }
    with torch.device("meta"):
        module = RotationTokenizer(config)
    return convert_state(published, module, rename_tokenizer, made), config


def read_tokenhmr(
    contents: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> tuple[Conversion, HmrConfig]:
    """A state for `Hmr` and its settings, from the contents of the two files.

    `contents` has the tensors of the image model under `state_dict`, or is that dictionary;
    `tokenizer` is as `read_tokenizer` takes it. The tokenizer's tensors are in the state, and not
    in the report. Raises `InputError` if one of them is not what was published.
    """
    published = _under(contents, "state_dict")
    mixer = "smpl_head.decpose.mixer_head.0.MLP_token.ff.3.weight"
    poses, sizes = read_tokenizer(tokenizer, _shape(published, mixer, 2)[0])
    head = _head_sizes(published).model_copy(update={"tokenizer": sizes})
    config = TOKENHMR.model_copy(update={"encoder": _backbone_sizes(published), "head": head})
    made = {f"head.poses.tokenizer.{name}": tensor for name, tensor in poses.state.items()}
    with torch.device("meta"):
        module = Hmr(config)
    return convert_state(published, module, rename_model, made), config


def _backbone_sizes(published: Mapping[str, Tensor]) -> VitConfig:
    width, _, patch, _ = _shape(published, "backbone.patch_embed.proj.weight", 4)
    hidden = _shape(published, "backbone.blocks.0.mlp.fc1.weight", 2)[0]
    return VitConfig(
        width=width,
        patch=patch,
        depth=_count(published, r"backbone\.blocks\.(\d+)\."),
        heads=width // _BACKBONE_HEAD_WIDTH,
        expansion=hidden // width,
    )


def _head_sizes(published: Mapping[str, Tensor]) -> TokenHeadConfig:
    layer, mixer = "smpl_head.transformer.transformer.layers.0", "smpl_head.decpose.mixer_head"
    inner, width = _shape(published, f"{layer}.1.fn.to_q.weight", 2)
    channel_hidden, narrow = _shape(published, f"{mixer}.0.MLP_channel.ff.0.weight", 2)
    return TokenHeadConfig(
        width=width,
        layers=_count(published, r"smpl_head\.transformer\.transformer\.layers\.(\d+)\."),
        heads=inner // _HEAD_WIDTH,
        head_width=_HEAD_WIDTH,
        hidden=_shape(published, f"{layer}.2.fn.net.0.weight", 2)[0],
        classifier=ClassifierConfig(
            width=narrow,
            layers=_count(published, r"smpl_head\.decpose\.mixer_head\.(\d+)\."),
            token_hidden=_shape(published, f"{mixer}.0.MLP_token.ff.0.weight", 2)[0],
            channel_hidden=channel_hidden,
        ),
        offset_tokenised=True,
    )


def _renamed_layer(name: str, layers: Mapping[str, str]) -> Renamed | None:
    layer, _, kind = name.rpartition(".")
    for pattern, ours in layers.items():
        if kind in ("weight", "bias") and (found := re.fullmatch(pattern, layer)):
            parts = found.groups()
            # The published stages stand at every third place, after the first.
            stage = int(parts[0]) // 3 - 1 if "{stage}" in ours else None
            return Renamed(f"{ours.format(*parts, stage=stage)}.{kind}")
    return None


def _under(contents: Mapping[str, Any], key: str) -> Mapping[str, Tensor]:
    found = contents.get(key, contents)
    if not isinstance(found, Mapping) or not all(isinstance(t, Tensor) for t in found.values()):
        raise InputError(f"the file has no tensors under {key!r}; give it as it was published")
    return found


def _shape(published: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in published:
        raise InputError(f"the checkpoint is not the published one: no tensor {name}")
    shape = tuple(published[name].shape)
    if len(shape) != axes or 0 in shape:
        raise InputError(f"the checkpoint is not the published one: {name} has shape {shape}")
    return shape


def _count(published: Mapping[str, Tensor], pattern: str) -> int:
    """How many blocks are numbered by the group of the pattern."""
    return len({found.group(1) for name in published if (found := re.match(pattern, name))})
