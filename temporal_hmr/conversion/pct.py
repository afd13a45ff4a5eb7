"""Published checkpoints of PCT (Geng et al., CVPR 2023) as ours.

Stage 1 files hold a tokenizer, with the backbone that guides it where there is a guide. Stage 2
files hold backbone, classifier and tokenizer. Sizes are read off the tensors' shapes.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import torch
from numpy import ndarray
from torch import Tensor, nn
from typing_extensions import assert_never

from temporal_hmr.configuration import parse_config
from temporal_hmr.conversion.tensors import Conversion, Left, Renamed, convert_state
from temporal_hmr.errors import InputError
from temporal_hmr.models.swin import SwinConfig, relative_pairs, relative_positions
from temporal_hmr.tokenizers.keypoint_classifier import (
    GuidedKeypointTokenizer,
    GuidedTokenizerConfig,
    ImagePoseTokens,
    ImagePoseTokensConfig,
    KeypointClassifierConfig,
)
from temporal_hmr.tokenizers.keypoints import (
    PUBLISHED,
    KeypointTokenizer,
    KeypointTokenizerConfig,
)

PctConfig = KeypointTokenizerConfig | GuidedTokenizerConfig | ImagePoseTokensConfig
"""Stage 1 without the backbone of an image guide, stage 1 with it, stage 2."""

_CONTAINERS = ("state_dict", "model")
_HEAD = "keypoint_head."
_TOKENIZER = "keypoint_head.tokenizer."
_BACKBONE = "backbone."
_GUIDE = "extra_backbone."
_STAGE_2 = "keypoint_head.conv_trans.0.weight"
"""Stage 1 has no such tensor."""
_OFFSETS = "attn.relative_coords_table"
_TABLES = (_OFFSETS, "attn.relative_position_index")

_Table = tuple[tuple[str, str], ...]
"""Patterns of published names and what they become."""

_MIXER: _Table = (
    (r"layernorm1\.(\w+)", r"token_norm.\1"),
    (r"layernorm2\.(\w+)", r"channel_norm.\1"),
    (r"MLP_token\.ff\.0\.(\w+)", r"token_mlp.0.\1"),
    (r"MLP_token\.ff\.3\.(\w+)", r"token_mlp.2.\1"),
    (r"MLP_channel\.ff\.0\.(\w+)", r"channel_mlp.0.\1"),
    (r"MLP_channel\.ff\.3\.(\w+)", r"channel_mlp.2.\1"),
)
_TOKENIZER_TABLE: _Table = (
    (r"codebook", r"codebook.codes"),
    (r"ema_cluster_size", r"codebook.counts"),
    (r"ema_w", r"codebook.sums"),
    (r"start_embed\.(\w+)", r"embed.\1"),
    (r"start_img_embed\.(\w+)", r"embed_guide.\1"),
    (r"token_mlp\.(\w+)", r"joints_to_tokens.\1"),
    (r"feature_embed\.(\w+)", r"to_code.\1"),
    (r"decoder_token_mlp\.(\w+)", r"tokens_to_joints.\1"),
    (r"decoder_start\.(\w+)", r"from_code.\1"),
    (r"decoder_layer_norm\.(\w+)", r"decoder.1.\1"),
    (r"recover_embed\.(\w+)", r"decoder.2.\1"),
)
_HEAD_TABLE: _Table = (
    (r"conv_trans\.(\d+\.\w+)", r"trunk.\1"),
    (r"mixer_trans\.ff\.(\d\.\w+)", r"to_tokens.\1"),
    (r"mixer_norm_layer\.ff\.(\d\.\w+)", r"to_classes.0.\1"),
    (r"cls_pred_layer\.(\w+)", r"to_classes.1.\1"),
)
_RESIDUAL: _Table = (
    (r"conv1\.(\w+)", r"first.convolution.\1"),
    (r"bn1\.(\w+)", r"first.norm.\1"),
    (r"conv2\.(\w+)", r"second.convolution.\1"),
    (r"bn2\.(\w+)", r"second.norm.\1"),
)
_SWIN_TABLE: _Table = (
    (r"patch_embed\.proj\.(\w+)", r"patch_embed.\1"),
    (r"patch_embed\.norm\.(\w+)", r"patch_norm.\1"),
    (r"norm3\.(\w+)", r"norm.\1"),
)
_SWIN_BLOCK: _Table = (
    (r"norm1\.(\w+)", r"attention_norm.\1"),
    (r"norm2\.(\w+)", r"feed_forward_norm.\1"),
    (r"mlp\.fc1\.(\w+)", r"feed_forward.0.\1"),
    (r"mlp\.fc2\.(\w+)", r"feed_forward.2.\1"),
    (r"attn\.logit_scale", r"attention.log_scale"),
    (r"attn\.q_bias", r"attention.query_bias"),
    (r"attn\.v_bias", r"attention.value_bias"),
    (r"attn\.qkv\.(\w+)", r"attention.query_key_value.\1"),
    (r"attn\.rpe_mlp\.(\d\.\w+)", r"attention.position_bias.\1"),
    (r"attn\.proj\.(\w+)", r"attention.out.\1"),
)


PCT_KINDS: Mapping[type, str] = MappingProxyType(
    {
        KeypointTokenizerConfig: "keypoint-tokenizer",
        GuidedTokenizerConfig: "guided-keypoint-tokenizer",
        ImagePoseTokensConfig: "image-pose-tokens",
    }
)
"""What the weights of each kind of settings are called."""


def read_pct(contents: Mapping[str, object]) -> tuple[PctConfig, Conversion]:
    """Settings, and the state of the module that `build_pct` makes of them.

    `contents` is what the file holds: tensors (or arrays) by name, or those under "state_dict" or
    "model". Raises `InputError` for what is no checkpoint of PCT, naming the tensors.
    """
    published = _tensors(contents)
    config: PctConfig
    if _STAGE_2 in published:
        config = _stage_2(published)
    elif any(name.startswith(_GUIDE) for name in published):
        config = GuidedTokenizerConfig(
            backbone=_swin(published, _GUIDE), tokenizer=_tokenizer(published)
        )
    else:
        config = _tokenizer(published)
    with torch.device("meta"):
        module = build_pct(config)
    return config, convert_state(published, module, lambda name: rename(name, config))


def build_pct(config: PctConfig) -> nn.Module:
    """The module of a stage, with weights yet to be loaded."""
    match config:
        case KeypointTokenizerConfig():
            return KeypointTokenizer(config)
        case GuidedTokenizerConfig():
            return GuidedKeypointTokenizer(config)
        case ImagePoseTokensConfig():
            return ImagePoseTokens(config)
        case _:
            assert_never(config)


def rename(name: str, config: PctConfig) -> Renamed | Left | None:
    """What becomes of a published tensor in the module that `config` describes."""
    if isinstance(config, KeypointTokenizerConfig):
        return _of_tokenizer(name, config, "")
    if isinstance(config, GuidedTokenizerConfig):
        return _of_tokenizer(name, config.tokenizer, "tokenizer.") or _of_swin(name, _GUIDE)
    if name.startswith(_GUIDE):
        return Left("a second backbone, which guided the tokenizer in training")
    tokenizer = config.classifier.tokenizer
    return (
        _of_swin(name, _BACKBONE)
        or _of_tokenizer(name, tokenizer, "classifier.tokenizer.")
        or _of_head(name)
    )


def _of_tokenizer(name: str, config: KeypointTokenizerConfig, prefix: str) -> Renamed | None:
    if not name.startswith(_TOKENIZER):
        return None
    name = name.removeprefix(_TOKENIZER)
    if name == "invisible_token":
        return Renamed(prefix + "invisible", torch.flatten)
    if found := re.fullmatch(r"((?:en|de)coder\.\d+\.)(.+)", name):
        return _renamed(found[2], _MIXER, prefix + found[1])
    if found := re.fullmatch(r"encoder_layer_norm\.(\w+)", name):
        return Renamed(f"{prefix}encoder.{config.layers}.{found[1]}")
    return _renamed(name, _TOKENIZER_TABLE, prefix)


def _of_head(name: str) -> Renamed | None:
    if not name.startswith(_HEAD):
        return None
    name = name.removeprefix(_HEAD)
    if found := re.fullmatch(r"conv_head\.0\.(\d+)\.(.+)", name):
        # The residual blocks follow convolution, norm and ReLU.
        return _renamed(found[2], _RESIDUAL, f"classifier.trunk.{3 + int(found[1])}.")
    if found := re.fullmatch(r"mixer_head\.(\d+)\.(.+)", name):
        return _renamed(found[2], _MIXER, f"classifier.mixers.{found[1]}.")
    return _renamed(name, _HEAD_TABLE, "classifier.")


def _of_swin(name: str, published_prefix: str) -> Renamed | Left | None:
    if not name.startswith(published_prefix):
        return None
    name = name.removeprefix(published_prefix)
    if name.endswith(_TABLES):
        return Left("follows from the settings, and was compared with what they give")
    if found := re.fullmatch(r"layers\.(\d+)\.blocks\.(\d+)\.(.+)", name):
        return _renamed(found[3], _SWIN_BLOCK, f"backbone.stages.{found[1]}.blocks.{found[2]}.")
    if found := re.fullmatch(r"layers\.(\d+)\.downsample\.(reduction|norm)\.(\w+)", name):
        # What ends a stage there begins the next one here.
        layer = {"reduction": "reduce", "norm": "norm"}[found[2]]
        return Renamed(f"backbone.stages.{int(found[1]) + 1}.merge.{layer}.{found[3]}")
    return _renamed(name, _SWIN_TABLE, "backbone.")


def _renamed(name: str, table: _Table, prefix: str) -> Renamed | None:
    for pattern, ours in table:
        if found := re.fullmatch(pattern, name):
            return Renamed(prefix + found.expand(ours))
    return None


def _tensors(contents: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of a file by published name, from under whatever they are kept."""
    for container in _CONTAINERS:
        inner = contents.get(container)
        if isinstance(inner, Mapping):
            contents = inner
            break
    tensors = {}
    for name, value in contents.items():
        if not isinstance(value, Tensor | ndarray):
            raise InputError(f"the checkpoint is not the published one: {name} is no tensor")
        tensors[name] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors


def _stage_2(published: Mapping[str, Tensor]) -> ImagePoseTokensConfig:
    tokenizer = _tokenizer(published)
    trunk, channels = _shape(published, _HEAD + "conv_trans.0.weight", 4)[:2]
    tokens_times_width, positions = _shape(published, _HEAD + "mixer_trans.ff.0.weight", 2)
    mixer = _HEAD + "mixer_head.0.MLP_"
    return ImagePoseTokensConfig(
        backbone=_swin(published, _BACKBONE),
        classifier=KeypointClassifierConfig(
            tokenizer=tokenizer,
            channels=channels,
            cells=round((positions / trunk) ** 0.5),
            trunk_channels=trunk,
            trunk_blocks=_count(published, _HEAD + r"conv_head\.0\.(\d+)\.conv1\.weight"),
            width=tokens_times_width // tokenizer.tokens,
            layers=_count(published, _HEAD + r"mixer_head\.(\d+)\.layernorm1\.weight"),
            token_hidden=_shape(published, mixer + "token.ff.0.weight", 2)[0],
            channel_hidden=_shape(published, mixer + "channel.ff.0.weight", 2)[0],
        ),
    )


def _tokenizer(published: Mapping[str, Tensor]) -> KeypointTokenizerConfig:
    mixer = _TOKENIZER + "encoder.0.MLP_"
    token_hidden, joints = _shape(published, mixer + "token.ff.0.weight", 2)
    width = _shape(published, _TOKENIZER + "invisible_token", 3)[-1]
    codes, code_dim = _shape(published, _TOKENIZER + "codebook", 2)
    coordinates = _shape(published, _TOKENIZER + "start_embed.weight", 2)[0]
    inferred = {
        "joints": joints,
        "tokens": _shape(published, _TOKENIZER + "token_mlp.weight", 2)[0],
        "width": width,
        "layers": _count(published, _TOKENIZER + r"encoder\.(\d+)\.layernorm1\.weight"),
        "token_hidden": token_hidden,
        "channel_hidden": _shape(published, mixer + "channel.ff.0.weight", 2)[0],
        "codes": codes,
        "code_dim": code_dim,
        "decoder_width": _shape(published, _TOKENIZER + "decoder_start.weight", 2)[0],
        "guide_ratio": 1 - coordinates / width,
    }
    if coordinates < width:
        channels = _shape(published, _TOKENIZER + "start_img_embed.weight", 2)[1]
        inferred["guide_channels"] = channels
    values = {**PUBLISHED.model_dump(), **inferred}
    return parse_config(values, KeypointTokenizerConfig, "the checkpoint")


def _swin(published: Mapping[str, Tensor], prefix: str) -> SwinConfig:
    """Settings of a backbone. Those that leave no shape are read off its tables of positions."""
    stages = _count(published, prefix + r"layers\.(\d+)\.blocks\.0\.norm1\.weight")
    first = [f"{prefix}layers.{stage}.blocks.0." for stage in range(stages)]
    width = _shape(published, prefix + "patch_embed.proj.weight", 4)[0]
    windows = [(_shape(published, f"{block}{_OFFSETS}", 4)[1] + 1) // 2 for block in first]
    values = {
        "width": width,
        "depths": [
            _count(published, rf"{prefix}layers\.{stage}\.blocks\.(\d+)\.norm1\.weight")
            for stage in range(stages)
        ],
        "heads": [_shape(published, block + "attn.logit_scale", 3)[0] for block in first],
        "windows": windows,
        "trained_windows": [
            _trained_window(published[f"{block}{_OFFSETS}"], window)
            for block, window in zip(first, windows, strict=True)
        ],
        "expansion": _shape(published, prefix + "layers.0.blocks.0.mlp.fc1.weight", 2)[0] // width,
        "position_hidden": _shape(published, prefix + "layers.0.blocks.0.attn.rpe_mlp.0.weight", 2)[
            0
        ],
    }
    config = parse_config(values, SwinConfig, "the checkpoint")
    _check_tables(published, prefix, config)
    return config


def _trained_window(offsets: Tensor, window: int) -> int:
    """The unit of a table of positions, from its largest entry.

    That is log2(1 + 8 (window - 1) / (trained_window - 1)) / 3.
    """
    corner = 2 ** (3 * float(offsets.max())) - 1
    if not 0 < corner < float("inf"):
        raise InputError(f"the checkpoint is not the published one: its {_OFFSETS} is no table")
    return round(1 + 8 * (window - 1) / corner)


def _check_tables(published: Mapping[str, Tensor], prefix: str, config: SwinConfig) -> None:
    """The tables must be those that ours computes from the settings, one of a kind per block."""
    strays = {name for name in published if name.startswith(prefix) and name.endswith(_TABLES)}
    for stage, depth in enumerate(config.depths):
        window, trained = config.windows[stage], config.trained_windows[stage]
        tables = (relative_positions(window, trained).flatten(), relative_pairs(window).flatten())
        for block in range(depth):
            for table, expected in zip(_TABLES, tables, strict=True):
                name = f"{prefix}layers.{stage}.blocks.{block}.{table}"
                _shape(published, name)
                strays.remove(name)
                found = published[name].flatten().to(expected.dtype)
                if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-4):
                    raise InputError(
                        f"the checkpoint is not the published one: {name} does not belong to "
                        f"windows of {window} cells to a side"
                    )
    if strays:
        raise InputError(f"the checkpoint is not the published one: unexpected {min(strays)}")


def _shape(published: Mapping[str, Tensor], name: str, axes: int | None = None) -> torch.Size:
    if name not in published:
        raise InputError(f"the checkpoint is not the published one: no tensor {name}")
    shape = published[name].shape
    if axes is not None and len(shape) != axes:
        raise InputError(
            f"the checkpoint is not the published one: {name} has shape {tuple(shape)}"
        )
    return shape


def _count(published: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in published)
