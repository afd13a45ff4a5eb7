"""INT's published checkpoints: names, shapes, and the published equations as the judge."""

import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from windows import as_published, noise, whole_pictures

from temporal_hmr.conversion.int_system import read_imagenet, read_int
from temporal_hmr.errors import InputError
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import INT, TOKENHMR
from temporal_hmr.models.token_motion import TokenMotion, TokenMotionConfig

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    width: int = 768
    layers: int = 6
    grid: int = 14
    motion_layers: int = 3
    length: int = 16
    stem: int = 64
    blocks: tuple[int, ...] = (3, 4, 9)
    widths: tuple[int, ...] = (256, 512, 1024)


PUBLISHED = Sizes()
SMALL = Sizes(128, 2, 2, 2, 6, 32, (2, 1, 2), (128, 256, 512))


def block_shapes(name: str, width: int) -> Shapes:
    shapes: Shapes = {}
    for part, shape in {
        "norm1": (width,),
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "norm2": (width,),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }.items():
        shapes |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
    return shapes


def bottleneck_shapes(name: str, channels: int, out: int, first: bool) -> Shapes:
    inner = out // 4
    convs = {
        "conv1": (inner, channels, 1, 1),
        "conv2": (inner, inner, 3, 3),
        "conv3": (out, inner, 1, 1),
    }
    shapes: Shapes = {f"{name}.{conv}.weight": shape for conv, shape in convs.items()}
    norms = {"norm1": inner, "norm2": inner, "norm3": out}
    if first:
        shapes[f"{name}.downsample.conv.weight"] = (out, channels, 1, 1)
        norms["downsample.norm"] = out
    for norm, width in norms.items():
        shapes |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
    return shapes


def published_shapes(sizes: Sizes) -> Shapes:
    """Names and shapes of `state_dict` in the published files, without the body model's buffers."""
    width = sizes.width
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + sizes.grid**2, width),
        "joint3d_tokens": (1, 24, width),
        "shape_token": (1, 1, width),
        "cam_token": (1, 1, width),
        "patch_embed.backbone.stem.conv.weight": (sizes.stem, 3, 7, 7),
        "patch_embed.backbone.stem.norm.weight": (sizes.stem,),
        "patch_embed.backbone.stem.norm.bias": (sizes.stem,),
        "patch_embed.proj.weight": (width, sizes.widths[-1], 1, 1),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for head, out in (("joint3d", 6), ("shape", 10), ("cam", 3)):
        shapes |= {f"{head}_head.weight": (out, width), f"{head}_head.bias": (out,)}
    channels = sizes.stem
    for stage, (count, out) in enumerate(zip(sizes.blocks, sizes.widths, strict=True)):
        for block in range(count):
            name = f"patch_embed.backbone.stages.{stage}.blocks.{block}"
            shapes |= bottleneck_shapes(name, channels, out, block == 0)
            channels = out
    for layer in range(sizes.layers):
        shapes |= block_shapes(f"blocks.{layer}", width)
    if sizes.motion_layers:
        shapes["temporal_pos_embedding"] = (1, sizes.length, width)
    for layer in range(sizes.motion_layers):
        shapes |= block_shapes(f"temporal_transformer.{layer}", width)
    return shapes


def published_state(sizes: Sizes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in published_shapes(sizes).items():
        spread = 0.03 if sizes == PUBLISHED or "token" not in name else 1.0
        state[name] = torch.empty(shape).normal_(std=spread, generator=generator)
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    return state


# The published equations, on the published names, with nothing of ours.


def convolved(x: Tensor, weight: Tensor, stride: int, edges: tuple[int, int]) -> Tensor:
    mean = weight.mean((1, 2, 3), keepdim=True)
    deviation = ((weight - mean) ** 2).mean((1, 2, 3), keepdim=True).sqrt()
    before, after = edges
    x = functional.pad(x, (before, after, before, after))
    return functional.conv2d(x, (weight - mean) / (deviation + 1e-5), stride=stride)


def normalised(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return functional.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def features(state: dict[str, Tensor], images: Tensor, sizes: Sizes) -> Tensor:
    root = "patch_embed.backbone"
    x = convolved(images, state[f"{root}.stem.conv.weight"], 2, (2, 3))
    x = normalised(x, state, f"{root}.stem.norm").clamp(min=0)
    x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-1e30), 3, 2)
    for stage, count in enumerate(sizes.blocks):
        for block in range(count):
            name = f"{root}.stages.{stage}.blocks.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = x
            if block == 0:
                shortcut = convolved(x, state[f"{name}.downsample.conv.weight"], stride, (0, 0))
                shortcut = normalised(shortcut, state, f"{name}.downsample.norm")
            y = convolved(x, state[f"{name}.conv1.weight"], 1, (0, 0))
            y = normalised(y, state, f"{name}.norm1").clamp(min=0)
            edges = (0, 1) if stride == 2 else (1, 1)
            y = convolved(y, state[f"{name}.conv2.weight"], stride, edges)
            y = normalised(y, state, f"{name}.norm2").clamp(min=0)
            y = convolved(y, state[f"{name}.conv3.weight"], 1, (0, 0))
            x = (normalised(y, state, f"{name}.norm3") + shortcut).clamp(min=0)
    return x


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = ((centred**2).mean(-1, keepdim=True) + 1e-6).sqrt()
    return centred / spread * state[f"{name}.weight"] + state[f"{name}.bias"]


def transformed(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    count, length, width = x.shape
    qkv = linear(layer_norm(x, state, f"{name}.norm1"), state, f"{name}.attn.qkv")
    heads = qkv.reshape(count, length, 3, width // 64, 64).permute(2, 0, 3, 1, 4)
    weights = (heads[0] @ heads[1].transpose(-1, -2) * 64**-0.5).softmax(-1)
    mixed = (weights @ heads[2]).transpose(1, 2).reshape(count, length, width)
    x = x + linear(mixed, state, f"{name}.attn.proj")
    hidden = linear(layer_norm(x, state, f"{name}.norm2"), state, f"{name}.mlp.fc1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return x + linear(hidden, state, f"{name}.mlp.fc2")


def stretched(table: Tensor, frames: int) -> Tensor:
    """Linear interpolation between half-pixel centres, one row at a time."""
    length = len(table)
    rows = []
    for frame in range(frames):
        place = min(max((frame + 0.5) * length / frames - 0.5, 0), length - 1)
        low = int(place)
        high = min(low + 1, length - 1)
        rows.append(table[low] * (1 - place + low) + table[high] * (place - low))
    return torch.stack(rows)


@torch.no_grad()
def by_the_paper(state: dict[str, Tensor], images: Tensor, sizes: Sizes) -> tuple[Tensor, ...]:
    """Rotations, betas and camera of the B x T frames."""
    batch, frames = images.shape[:2]
    maps = features(state, as_published(images), sizes)
    kernel, bias = state["patch_embed.proj.weight"][..., 0, 0], state["patch_embed.proj.bias"]
    patches = maps.flatten(2).transpose(1, 2) @ kernel.T + bias
    count = len(patches)
    image = torch.cat([state["cls_token"].expand(count, -1, -1), patches], 1) + state["pos_embed"]
    prior = [state[n].expand(count, -1, -1) for n in ("joint3d_tokens", "shape_token", "cam_token")]
    x = torch.cat([*prior, image], 1)
    for layer in range(sizes.layers):
        x = transformed(x, state, f"blocks.{layer}")
    x = layer_norm(x, state, "norm")
    joints = x[:, :24]
    if sizes.motion_layers:
        joints = joints.reshape(batch, frames, 24, -1).permute(0, 2, 1, 3).flatten(0, 1)
        joints = joints + stretched(state["temporal_pos_embedding"][0], frames)
        for layer in range(sizes.motion_layers):
            joints = transformed(joints, state, f"temporal_transformer.{layer}")
        joints = joints.reshape(batch, 24, frames, -1).permute(0, 2, 1, 3).flatten(0, 1)
    columns = linear(joints, state, "joint3d_head").reshape(count, 24, 3, 2)
    first = columns[..., 0] / columns[..., 0].norm(dim=-1, keepdim=True)
    second = columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdim=True) * first
    second = second / second.norm(dim=-1, keepdim=True)
    rotations = torch.stack([first, second, torch.linalg.cross(first, second)], -1)
    betas, camera = linear(x[:, 24], state, "shape_head"), linear(x[:, 25], state, "cam_head")
    return rotations, betas, camera


def converted(state: dict[str, Tensor]) -> Hmr:
    """The model with a published state, loaded completely."""
    read = read_int(state)
    model = Hmr(read.config)
    model.load_state_dict(read.conversion.state, strict=True)
    return model.eval()


def assert_as_published(model: Hmr, state: dict[str, Tensor], images: Tensor, sizes: Sizes) -> None:
    window = whole_pictures(images)
    tokens = model.frame_tokens(window)
    assert isinstance(tokens, BodyTokens)
    readout = model.read(model.mix(tokens, window))
    rotations, betas, camera = by_the_paper(state, images, sizes)
    torch.testing.assert_close(readout.rotations, rotations, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(readout.betas, betas, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(readout.crop_camera, camera, atol=2e-4, rtol=1e-3)
    assert readout.crop_side == images.shape[-1]


@torch.no_grad()
def test_the_published_model_converts_completely_and_computes_what_the_paper_says() -> None:
    state = published_state(PUBLISHED)
    assert len(state) == 280
    assert sum(tensor.numel() for tensor in state.values()) == 76_673_363
    read = read_int(state)
    assert read.config == INT
    assert len(read.conversion.used) == 280
    model = converted(state)
    assert sum(parameter.numel() for parameter in model.parameters()) == 76_673_363
    assert_as_published(model, state, noise(1, 2, 224), PUBLISHED)


@pytest.mark.parametrize("frames", [1, 3, 6, 11])
@torch.no_grad()
def test_clips_of_any_length_by_the_published_equations(frames: int) -> None:
    """Positions are interpolated from the table as stored, whatever came before."""
    state = published_state(SMALL)
    model = converted(state)
    before = whole_pictures(noise(1, 4, 32, seed=2))
    tokens = model.frame_tokens(before)
    assert isinstance(tokens, BodyTokens)
    model.mix(tokens, before)
    assert_as_published(model, state, noise(2, frames, 32), SMALL)


@torch.no_grad()
def test_an_image_model_is_recognised() -> None:
    sizes = replace(SMALL, motion_layers=0)
    state = published_state(sizes)
    model = converted(state)
    assert model.motion is None
    assert read_int(state).config.window == 1
    assert_as_published(model, state, noise(2, 1, 32), sizes)


def imagenet_state() -> dict[str, Tensor]:
    """Twice the blocks of the model that begins from it, and no body."""
    state = published_state(replace(SMALL, layers=4, motion_layers=0))
    body = ("joint3d", "shape_", "cam_")
    state = {name: tensor for name, tensor in state.items() if not name.startswith(body)}
    return state | {"pre_logits.fc.weight": torch.zeros(3, 3), "head.bias": torch.zeros(7)}


def test_the_first_phase_begins_from_imagenet() -> None:
    state, config = imagenet_state(), read_int(published_state(SMALL)).config
    conversion = read_imagenet(state, config)
    model = Hmr(config)
    model.load_state_dict(conversion.state, strict=True)
    transformer = model.encoder.get_submodule("transformer")
    assert torch.equal(transformer.get_parameter("positions"), state["pos_embed"][0])
    assert torch.equal(transformer.get_parameter("norm.weight"), state["norm.weight"])
    last = transformer.get_parameter("blocks.1.feed_forward.2.bias")
    assert torch.equal(last, state["blocks.1.mlp.fc2.bias"])
    past = {name for name in state if name.startswith(("blocks.2", "blocks.3"))}
    assert conversion.left.keys() == past | {"pre_logits.fc.weight", "head.bias"}
    assert conversion.used.keys() == state.keys() - conversion.left.keys()
    # What it lacks is drawn, not left at whatever memory held.
    assert model.head.get_parameter("camera.bias").tolist() == pytest.approx([0.9, 0, 0])
    assert 0.01 < float(transformer.get_parameter("joint_tokens").detach().std()) < 0.03


def test_a_start_from_imagenet_must_be_complete_and_no_more() -> None:
    config = read_int(published_state(SMALL)).config
    state = imagenet_state()
    with pytest.raises(InputError, match=r"unexpected cam_head\.bias"):
        read_imagenet(state | {"cam_head.bias": torch.zeros(3)}, config)
    del state["blocks.1.norm2.bias"]
    with pytest.raises(InputError, match=r"no tensor for encoder\.transformer\.blocks\.1"):
        read_imagenet(state, config)
    with pytest.raises(InputError, match="encoder vit"):
        read_imagenet(state, TOKENHMR)


def test_the_length_of_the_positions_is_read_from_the_file() -> None:
    read = read_int(published_state(replace(SMALL, length=64)))
    assert isinstance(read.config.motion, TokenMotionConfig)
    assert read.config.motion.length == read.config.window == 64
    motion = Hmr(read.config).motion
    assert isinstance(motion, TokenMotion)
    assert len(motion.positions) == 64


def test_the_trainers_file_and_the_bare_state_are_one() -> None:
    state = published_state(SMALL)
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    whole = {"epoch": 99, "performance": 42.0, "optimizer": {"state": {}}, "state_dict": prefixed}
    first, second = read_int(state), read_int(whole)
    assert first.config == second.config
    for name, tensor in first.conversion.state.items():
        assert torch.equal(tensor, second.conversion.state[name])


def test_the_body_model_and_the_mask_token_are_left_with_a_reason() -> None:
    body = {"smpl.v_template": torch.zeros(5, 3), "smpl.vertex_joint_selector.x": torch.zeros(2)}
    extra = body | {"mask_token": torch.zeros(1, 1, 128)}
    read = read_int(published_state(SMALL) | extra)
    assert read.conversion.left.keys() == extra.keys()
    assert all(read.conversion.left.values())
    assert not any("smpl" in name or "mask" in name for name in read.conversion.state)


def one_of_each_kind(state: dict[str, Tensor]) -> list[str]:
    """Of all names that differ in the numbers of layers and blocks the last."""
    return list({re.sub(r"\.\d+", "", name): name for name in state}.values())


def test_no_tensor_may_be_missing() -> None:
    state = published_state(SMALL)
    for name in one_of_each_kind(state):
        with pytest.raises(InputError, match=r"no tensor for|unexpected|has shape"):
            read_int({other: tensor for other, tensor in state.items() if other != name})


def test_no_tensor_may_have_another_shape() -> None:
    state = published_state(SMALL)
    for number, name in enumerate(one_of_each_kind(state)):
        misshapen = state[name][None] if number % 2 else state[name][..., :-1]
        with pytest.raises(InputError):
            read_int(state | {name: misshapen})


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.attn.relative_position",
        "head.weight",
        "blocks.0.mlp.fc3.weight",
        "temporal_embed",
        "patch_embed.backbone.stages.0.blocks.1.downsample.conv.weight",
    ],
)
def test_no_tensor_may_come_unexpected(name: str) -> None:
    with pytest.raises(InputError, match=f"unexpected {name}"):
        read_int(published_state(SMALL) | {name: torch.zeros(3)})


@pytest.mark.parametrize("contents", [{"epoch": 3}, {"state_dict": 3}, {"cls_token": [1.0]}, {}])
def test_another_file_is_refused_in_one_line(contents: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        read_int(contents)
    assert "\n" not in str(caught.value)
