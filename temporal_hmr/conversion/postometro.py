"""Checkpoints of PostoMETRO's and FastMETRO's code as our `PostoMetro`.

PostoMETRO has published none yet; its code saves as FastMETRO's does, whose names it extends.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from temporal_hmr.body.coarse_mesh import CoarseMesh
from temporal_hmr.conversion.tensors import Conversion, Left, Renamed, convert_state
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones import BackboneConfig
from temporal_hmr.models.backbones.hrnet import HrNetConfig
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.pose_modulator import PoseModulatorConfig
from temporal_hmr.models.postometro import PostoMetro, PostoMetroConfig

_CONTAINERS = ("state_dict", "model")
_SINGLE = {
    "dim_reduce_enc_cam": "decoder.narrow_camera",
    "dim_reduce_enc_img": "decoder.narrow_image",
    "dim_reduce_enc_pct": "decoder.narrow_pose",
    "dim_reduce_dec": "decoder.narrow_queries",
    "xyz_regressor": "decoder.read_points",
    "cam_predictor": "decoder.read_camera",
    "coarse2intermediate_upsample": "decoder.to_middle",
    "conv_1x1": "image_tokens.project",
    "start_embed": "modulator.mix.project",
    "token_mlp": "modulator.mix.across",
    "token_mixer.ff.0": "modulator.mix.join.0",
    "token_mixer.ff.1": "modulator.mix.join.1",
}
_TOKENS = {
    "cam_token_embed.weight": "decoder.camera_token",
    "joint_token_embed.weight": "decoder.joint_queries",
    "vertex_token_embed.weight": "decoder.vertex_queries",
}
_LEFT = {
    "pct": "the pose tokenizer, a network of its own",
    "smpl_parameter_regressor": "is never called",
}
_LAYERS = {
    "encoder": {
        "self_attn": "attention",
        "norm1": "attention_norm",
        "norm2": "feed_forward_norm",
    },
    "decoder": {
        "self_attn": "self_attention",
        "norm1": "self_norm",
        "multihead_attn": "cross_attention",
        "norm2": "cross_norm",
        "norm3": "feed_forward_norm",
    },
}
_FEED_FORWARD = {"linear1": "feed_forward.0", "linear2": "feed_forward.3"}
_MIXER = {
    "layernorm1": "token_norm",
    "layernorm2": "channel_norm",
    "MLP_token.ff.0": "token_mlp.0",
    "MLP_token.ff.3": "token_mlp.2",
    "MLP_channel.ff.0": "channel_mlp.0",
    "MLP_channel.ff.3": "channel_mlp.2",
}
_BLOCK = {
    f"{kind}{number}": f"{place}.{part}"
    for number, place in ((1, "reduce"), (2, "spatial"), (3, "expand"))
    for kind, part in (("conv", "convolution"), ("bn", "norm"))
} | {"downsample.0": "shortcut.convolution", "downsample.1": "shortcut.norm"}
_BRANCH_BLOCK = {
    "conv1": "first.convolution",
    "bn1": "first.norm",
    "conv2": "second.convolution",
    "bn2": "second.norm",
}
_PART = {"0": "convolution", "1": "norm"}
_UNUSED = Left("makes branches of higher resolution, which nothing reads")
_HEATMAPS = Left("of the heatmaps that the backbone was trained with")

Fate = Renamed | Left | None


@dataclass(frozen=True, eq=False)
class PublishedPostoMetro:
    """A published checkpoint as ours."""

    config: PostoMetroConfig
    conversion: Conversion


def read_postometro(contents: Mapping[str, object]) -> PublishedPostoMetro:
    """From what a checkpoint of either system holds, its sizes read off the tensors.

    `contents` are tensors (or arrays) by name, or those under "state_dict" or "model". The number
    of attention heads is in no tensor: 8, as both papers have it. Raises `InputError` for tensors
    that are unexpected, missing or of another shape.
    """
    published = _tensors(contents)
    config = _config(published)
    coarse, middle = _shape(published, "coarse2intermediate_upsample.weight")[::-1]
    with torch.device("meta"):
        module = PostoMetro(config, _placeholder(coarse, middle))
    return PublishedPostoMetro(config, convert_state(published, module, renaming(config)))


def renaming(config: PostoMetroConfig) -> Callable[[str], Fate]:
    """What becomes of each published tensor in a network of this configuration."""

    def rename(name: str) -> Fate:
        if name in _TOKENS:
            return Renamed(_TOKENS[name])
        root, _, rest = name.partition(".")
        if root in _LEFT:
            return Left(_LEFT[root])
        if root == "backbone":
            hrnet = config.backbone if isinstance(config.backbone, HrNetConfig) else None
            return _resnet(rest) if hrnet is None else _hrnet(rest, hrnet)
        module, _, tensor = name.rpartition(".")
        ours = _SINGLE.get(module) or _transformer(module) or _modulator(module, config)
        return None if ours is None else Renamed(f"{ours}.{tensor}")

    return rename


def _transformer(module: str) -> str | None:
    """`transformer_1.encoder.layers.0.norm1` and the like, without the tensor's name."""
    found = re.fullmatch(r"transformer_([12])\.(encoder|decoder)\.(?:layers\.(\d+)\.)?(.+)", module)
    if found is None:
        return None
    number, side, layer, part = found.groups()
    ours = f"decoder.{'first' if number == '1' else 'second'}.{side}"
    if layer is None:
        return f"{ours}_norm" if part == "norm" else None
    table = _LAYERS[side] | _FEED_FORWARD
    out = ".out_proj" if part.endswith(".out_proj") else ""
    place = table.get(part.removesuffix(out))
    return None if place is None else f"{ours}.{layer}.{place}{out}"


def _modulator(module: str, config: PostoMetroConfig) -> str | None:
    if module == "encoder_layer_norm":
        return f"modulator.mix.mixers.{config.pose.mixer_layers}"
    found = re.fullmatch(r"encoder\.(\d+)\.(.+)", module)
    if found is None or found[2] not in _MIXER:
        return None
    return f"modulator.mix.mixers.{found[1]}.{_MIXER[found[2]]}"


def _resnet(name: str) -> Fate:
    """torchvision's names, or FastMETRO's, whose layers are numbered by their place in it."""
    numbered = re.fullmatch(r"([0-7])\.(.+)", name)
    if numbered is not None:
        place = int(numbered[1])
        name = f"{('conv1', 'bn1')[place] if place < 2 else f'layer{place - 3}'}.{numbered[2]}"
    if name.startswith(("deconv_layers.", "final_layer.")):
        return _HEATMAPS
    module, _, tensor = name.rpartition(".")
    if module in {"conv1", "bn1"}:
        return Renamed(f"backbone.stem.{'norm' if module == 'bn1' else 'convolution'}.{tensor}")
    found = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", module)
    if found is None or found[3] not in _BLOCK:
        return None
    return Renamed(f"backbone.stages.{int(found[1]) - 1}.{found[2]}.{_BLOCK[found[3]]}.{tensor}")


def _hrnet(name: str, config: HrNetConfig) -> Fate:
    """Names of HRNet's pose network."""
    if name.startswith("final_layer."):
        return _HEATMAPS
    module, _, tensor = name.rpartition(".")
    ours = _hrnet_stem(module) or _hrnet_stage(module, config)
    return ours if ours is None or isinstance(ours, Left) else Renamed(f"backbone.{ours}.{tensor}")


def _hrnet_stem(module: str) -> str | None:
    """Stem, first stage, and the ways into the branches."""
    found = re.fullmatch(r"(conv|bn)([12])", module)
    if found is not None:
        return f"stem.{int(found[2]) - 1}.{'norm' if found[1] == 'bn' else 'convolution'}"
    found = re.fullmatch(r"layer1\.(\d+)\.(.+)", module)
    if found is not None:
        return f"first_stage.{found[1]}.{_BLOCK[found[2]]}" if found[2] in _BLOCK else None
    found = re.fullmatch(r"transition1\.(?:(0)|(1)\.0)\.([01])", module)
    if found is not None:
        return f"enter.{found[1] or found[2]}.{_PART[found[3]]}"
    found = re.fullmatch(r"transition([2-9])\.\1\.0\.([01])", module)
    return None if found is None else f"descend.{int(found[1]) - 2}.{_PART[found[2]]}"


def _hrnet_stage(module: str, config: HrNetConfig) -> str | Left | None:
    """The exchange modules of stage 2 and on."""
    found = re.fullmatch(r"stage(\d)\.(\d+)\.(branches|fuse_layers)\.(\d+)\.(\d+)\.(.+)", module)
    if found is None:
        return None
    stage, number, kind, first, second, rest = found.groups()
    ours = f"stages.{int(stage) - 2}.{number}"
    if kind == "branches":
        part = _BRANCH_BLOCK.get(rest)
        return None if part is None else f"{ours}.branches.{first}.{second}.{part}"
    lowest = len(config.modules)
    last = int(stage) == lowest + 1 and int(number) == config.modules[-1] - 1
    if last and int(first) < lowest:
        return _UNUSED
    # A single convolution upwards, but a row of them downwards.
    step, _, part = rest.rpartition(".") if int(second) < int(first) else ("0", "", rest)
    return f"{ours}.exchange.{first}.{second}.{step}.{_PART[part]}" if part in _PART else None


def _tensors(contents: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors, wherever in the file they are."""
    inner = next((contents[key] for key in _CONTAINERS if key in contents), contents)
    if not isinstance(inner, Mapping):
        raise InputError("the checkpoint holds no table of tensors; get the file anew")
    strange = [name for name, value in inner.items() if not isinstance(value, Tensor | np.ndarray)]
    if strange:
        raise InputError(f"{strange[0]} of the checkpoint is no tensor; get the file anew")
    return {
        # Arrays of a file are read-only, which tensors cannot be.
        str(name).removeprefix("module."): value
        if isinstance(value, Tensor)
        else torch.tensor(value)
        for name, value in inner.items()
    }


def _config(published: Mapping[str, Tensor]) -> PostoMetroConfig:
    """Settings under which our network has these tensors."""
    width, hidden = _shape(published, "transformer_1.encoder.layers.0.linear2.weight")
    narrow, narrow_hidden = _shape(published, "transformer_2.encoder.layers.0.linear2.weight")
    layers = _count(published, r"transformer_1\.encoder\.layers\.(\d+)\..*")
    sees_pose = "start_embed.weight" in published
    if layers not in (1, 2, 3):
        raise InputError(f"the checkpoint has {layers} layers; the published sizes have 1, 2 or 3")
    decoder = MeshDecoderConfig(
        size=("S", "M", "L")[layers - 1],
        width=width,
        hidden=hidden,
        narrow_width=narrow,
        narrow_hidden=narrow_hidden,
        pose_twice=sees_pose,
    )
    backbone = _backbone(published)
    if not sees_pose:
        return PostoMetroConfig(sees="image", backbone=backbone, decoder=decoder)
    pose = PoseModulatorConfig(
        tokens=_shape(published, "token_mlp.weight")[0],
        code_dim=_shape(published, "start_embed.weight")[1],
        mixer_layers=_count(published, r"encoder\.(\d+)\..*"),
        token_hidden=_shape(published, "encoder.0.MLP_token.ff.0.weight")[0],
    )
    return PostoMetroConfig(backbone=backbone, pose=pose, decoder=decoder)


def _backbone(published: Mapping[str, Tensor]) -> BackboneConfig:
    if any(name.startswith("backbone.incre_modules.") for name in published):
        raise InputError(
            "the checkpoint's backbone is HRNet's classification network, which is not supported; "
            "give one with ResNet-50 or HRNet's pose network"
        )
    if "backbone.transition1.0.0.weight" in published:
        stages = 1 + _count(published, r"backbone\.stage(\d)\..*", begin=2)
        modules = [
            _count(published, rf"backbone\.stage{stage}\.(\d+)\..*")
            for stage in range(2, stages + 1)
        ]
        width = _shape(published, "backbone.transition1.0.0.weight")[0]
        return HrNetConfig(width=width, modules=tuple(modules))
    numbered = "backbone.0.weight" in published
    stages = [rf"backbone\.{stage + 3 if numbered else f'layer{stage}'}" for stage in range(1, 5)]
    return ResNetConfig(
        width=_shape(published, f"backbone.{'0' if numbered else 'conv1'}.weight")[0],
        layers=tuple(_count(published, rf"{stage}\.(\d+)\..*") for stage in stages),
    )


def _shape(published: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in published:
        raise InputError(
            f"the checkpoint has no tensor {name}: it is not of PostoMETRO's or FastMETRO's code"
        )
    return tuple(published[name].shape)


def _count(published: Mapping[str, Tensor], pattern: str, begin: int = 0) -> int:
    """How many numbers from `begin` on stand in the group of the pattern, one after another."""
    found = {int(match[1]) for name in published if (match := re.fullmatch(pattern, name))}
    return len(found & set(range(begin, begin + len(found))))


def _placeholder(coarse: int, middle: int) -> CoarseMesh:
    """Sizes without a surface: no checkpoint holds what else the network knows of the mesh."""
    return CoarseMesh(
        neighbours=np.eye(coarse, dtype=bool),
        middle_faces=np.zeros((0, 3), np.int64),
        coarse_to_middle=sparse.csr_matrix((middle, coarse)),
        middle_to_full=sparse.csr_matrix((1, middle)),
        full_to_middle=sparse.csr_matrix((middle, 1)),
        full_to_coarse=sparse.csr_matrix((coarse, 1)),
    )
