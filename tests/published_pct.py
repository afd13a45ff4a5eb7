"""PCT's checkpoints by their published names and shapes, and its equations written out naively.

Nothing here uses the package: it is what conversion and modules are judged by.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """The published sizes are the defaults: Swin-V2 Base, 34 tokens, 2048 codes of 512."""

    swin: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    windows: tuple[int, ...] = (16, 16, 16, 8)
    trained: tuple[int, ...] = (12, 12, 12, 6)
    rpe: int = 512
    cells: int = 8
    conv: int = 256
    hidden: int = 64
    """Of the classifier's mixers."""
    joints: int = 17
    tokens: int = 34
    width: int = 512
    token_mlp: int = 64
    codes: int = 2048
    code_dim: int = 512
    narrow: int = 32
    guided: bool = True

    @property
    def channels(self) -> int:
        return 8 * self.swin


SMALL = Sizes(
    swin=16,
    depths=(2, 2, 3, 2),
    heads=(1, 2, 4, 8),
    windows=(4, 4, 4, 2),
    trained=(3, 3, 3, 2),
    rpe=12,
    cells=2,
    conv=10,
    hidden=8,
    width=24,
    token_mlp=9,
    codes=40,
    code_dim=14,
    narrow=6,
)
SHIFTED = (True, True, False, False)


def stage_1(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of a tokenizer file."""
    shapes = tokenizer_shapes(sizes)
    if sizes.guided:
        shapes |= swin_shapes("extra_backbone.", sizes)
    return filled(shapes, sizes, seed)


def stage_2(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of a classifier file."""
    shapes = swin_shapes("backbone.", sizes) | head_shapes(sizes) | tokenizer_shapes(sizes)
    if sizes.guided:
        shapes |= swin_shapes("extra_backbone.", sizes)
    return filled(shapes, sizes, seed)


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def batch_norm(name: str, width: int) -> Shapes:
    running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return layer(name, width) | running | {f"{name}.num_batches_tracked": ()}


def mixer(name: str, tokens: int, token_mlp: int, width: int, channel_mlp: int) -> Shapes:
    return (
        layer(f"{name}.layernorm1", width)
        | layer(f"{name}.MLP_token.ff.0", token_mlp, tokens)
        | layer(f"{name}.MLP_token.ff.3", tokens, token_mlp)
        | layer(f"{name}.layernorm2", width)
        | layer(f"{name}.MLP_channel.ff.0", channel_mlp, width)
        | layer(f"{name}.MLP_channel.ff.3", width, channel_mlp)
    )


def tokenizer_shapes(sizes: Sizes) -> Shapes:
    name, width, dim = "keypoint_head.tokenizer.", sizes.width, sizes.code_dim
    shapes: Shapes = {
        f"{name}invisible_token": (1, 1, width),
        f"{name}codebook": (sizes.codes, dim),
        f"{name}ema_cluster_size": (sizes.codes,),
        f"{name}ema_w": (sizes.codes, dim),
    }
    if sizes.guided:
        shapes |= layer(f"{name}start_img_embed", width // 2, sizes.channels)
    shapes |= layer(f"{name}start_embed", width // 2 if sizes.guided else width, 2)
    for i in range(4):
        shapes |= mixer(f"{name}encoder.{i}", sizes.joints, sizes.token_mlp, width, width)
    decoder = (sizes.joints, sizes.token_mlp, sizes.narrow, 2 * sizes.narrow)
    return (
        shapes
        | layer(f"{name}encoder_layer_norm", width)
        | layer(f"{name}token_mlp", sizes.tokens, sizes.joints)
        | layer(f"{name}feature_embed", dim, width)
        | layer(f"{name}decoder_token_mlp", sizes.joints, sizes.tokens)
        | layer(f"{name}decoder_start", sizes.narrow, dim)
        | mixer(f"{name}decoder.0", *decoder)
        | layer(f"{name}decoder_layer_norm", sizes.narrow)
        | layer(f"{name}recover_embed", 2, sizes.narrow)
    )


def head_shapes(sizes: Sizes) -> Shapes:
    name, conv, hidden = "keypoint_head.", sizes.conv, sizes.hidden
    shapes = layer(f"{name}conv_trans.0", conv, sizes.channels, 1, 1, bias=False)
    shapes |= batch_norm(f"{name}conv_trans.1", conv)
    for block in range(2):
        for i in (1, 2):
            part = f"{name}conv_head.0.{block}"
            shapes |= layer(f"{part}.conv{i}", conv, conv, 3, 3, bias=False)
            shapes |= batch_norm(f"{part}.bn{i}", conv)
    flat, wide = conv * sizes.cells**2, sizes.tokens * hidden
    shapes |= layer(f"{name}mixer_trans.ff.0", wide, flat) | layer(f"{name}mixer_trans.ff.1", wide)
    for i in range(4):
        part = f"{name}mixer_head.{i}"
        shapes |= mixer(part, sizes.tokens, sizes.token_mlp, hidden, 4 * hidden)
    shapes |= layer(f"{name}mixer_norm_layer.ff.0", hidden, hidden)
    shapes |= layer(f"{name}mixer_norm_layer.ff.1", hidden)
    return shapes | layer(f"{name}cls_pred_layer", sizes.codes, hidden)


def swin_shapes(prefix: str, sizes: Sizes) -> Shapes:
    shapes = layer(f"{prefix}patch_embed.proj", sizes.swin, 3, 4, 4)
    shapes |= layer(f"{prefix}patch_embed.norm", sizes.swin)
    for stage, depth in enumerate(sizes.depths):
        width, heads, window = sizes.swin * 2**stage, sizes.heads[stage], sizes.windows[stage]
        for i in range(depth):
            name = f"{prefix}layers.{stage}.blocks.{i}"
            side = 2 * window - 1
            shapes |= layer(f"{name}.norm1", width) | layer(f"{name}.norm2", width)
            shapes |= {
                f"{name}.attn.logit_scale": (heads, 1, 1),
                f"{name}.attn.q_bias": (width,),
                f"{name}.attn.v_bias": (width,),
                f"{name}.attn.relative_coords_table": (1, side, side, 2),
                f"{name}.attn.relative_position_index": (window**2, window**2),
            }
            shapes |= layer(f"{name}.attn.rpe_mlp.0", sizes.rpe, 2)
            shapes |= layer(f"{name}.attn.rpe_mlp.2", heads, sizes.rpe, bias=False)
            shapes |= layer(f"{name}.attn.qkv", 3 * width, width, bias=False)
            shapes |= layer(f"{name}.attn.proj", width, width)
            shapes |= layer(f"{name}.mlp.fc1", 4 * width, width)
            shapes |= layer(f"{name}.mlp.fc2", width, 4 * width)
        if stage < 3:
            name = f"{prefix}layers.{stage}.downsample"
            shapes |= layer(f"{name}.reduction", 2 * width, 4 * width, bias=False)
            shapes |= layer(f"{name}.norm", 2 * width)
    return shapes | layer(f"{prefix}norm3", sizes.channels)


def filled(shapes: Shapes, sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """Random values of the size that training leaves them in; tables as they must be."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if "relative_" in name:
            stage = int(name.split("layers.")[1][0])
            table = "coords" in name
            state[name] = offsets(sizes, stage) if table else pairs(sizes.windows[stage])
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + noise.abs()
        elif name.endswith("logit_scale"):
            state[name] = math.log(40) + noise  # some beyond the bound of log(100)
        elif name.endswith("weight") and len(shape) == 1:
            state[name] = 1 + 0.2 * noise
        elif name.endswith("weight"):
            state[name] = 1.5 * noise / math.prod(shape[1:]) ** 0.5
        else:
            state[name] = 0.5 * noise
    return state


def offsets(sizes: Sizes, stage: int) -> Tensor:
    """Logarithmic offsets of two cells of a window, in units of the window of the training."""
    window, trained = sizes.windows[stage], sizes.trained[stage]

    def scaled(offset: int) -> float:
        linear = 8 * offset / (trained - 1)
        return math.copysign(math.log2(1 + abs(linear)) / math.log2(8), linear)

    steps = [scaled(offset) for offset in range(1 - window, window)]
    return torch.tensor([[[(y, x) for x in steps] for y in steps]], dtype=torch.float32)


def pairs(window: int) -> Tensor:
    """Row of the flattened table for each pair of cells, counted row by row."""
    side = torch.arange(window)
    steps = side[:, None] - side + window - 1
    rows = steps[:, None, :, None] * (2 * window - 1)
    return (rows + steps[None, :, None, :]).reshape(window**2, window**2)


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def norm(state: dict[str, Tensor], name: str, x: Tensor, epsilon: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + epsilon).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def swin(state: dict[str, Tensor], prefix: str, sizes: Sizes, images: Tensor) -> Tensor:
    """[N channels rows columns]; attention among all cells, those of other windows forbidden."""
    x = functional.conv2d(
        images,
        state[f"{prefix}patch_embed.proj.weight"],
        state[f"{prefix}patch_embed.proj.bias"],
        4,
    )
    x = norm(state, f"{prefix}patch_embed.norm", x.permute(0, 2, 3, 1), 1e-6)
    for stage, depth in enumerate(sizes.depths):
        for i in range(depth):
            name = f"{prefix}layers.{stage}.blocks.{i}"
            shift = sizes.windows[stage] // 2 if SHIFTED[stage] and i % 2 == 1 else 0
            mixed = attention(state, f"{name}.attn", x, sizes.windows[stage], shift)
            x = x + norm(state, f"{name}.norm1", mixed, 1e-6)
            inner = functional.gelu(linear(state, f"{name}.mlp.fc1", x))
            x = x + norm(state, f"{name}.norm2", linear(state, f"{name}.mlp.fc2", inner), 1e-6)
        if stage < 3:
            name = f"{prefix}layers.{stage}.downsample"
            corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
            reduced = linear(state, f"{name}.reduction", torch.cat(corners, -1))
            x = norm(state, f"{name}.norm", reduced, 1e-6)
    return norm(state, f"{prefix}norm3", x, 1e-6).permute(0, 3, 1, 2)


def attention(state: dict[str, Tensor], name: str, x: Tensor, window: int, shift: int) -> Tensor:
    """Every cell with every other; cells see those of their own (shifted) window alone."""
    height, width, channels = x.shape[1:]
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    down, right = (rows - shift) % height, (columns - shift) % width
    allowed = torch.ones(len(rows), len(rows), dtype=torch.bool)
    bent = torch.zeros_like(allowed)
    for place, moved in ((rows, down), (columns, right)):
        allowed &= moved[:, None] // window == moved[None] // window
        bent |= (place < shift)[:, None] != (place < shift)[None]
    within = (down % window) * window + right % window
    table = functional.relu(
        linear(state, f"{name}.rpe_mlp.0", state[f"{name}.relative_coords_table"])
    )
    table = 16 * torch.sigmoid(linear(state, f"{name}.rpe_mlp.2", table)).flatten(0, 2)
    index = state[f"{name}.relative_position_index"][within[:, None], within[None]]
    q, k, v = linear(state, f"{name}.qkv", x.flatten(1, 2)).split(channels, -1)
    q, v = q + state[f"{name}.q_bias"], v + state[f"{name}.v_bias"]
    scales = state[f"{name}.logit_scale"].flatten().clamp(max=math.log(100)).exp()
    size = channels // len(scales)
    mixed = []
    for head, scale in enumerate(scales):
        part = slice(head * size, (head + 1) * size)
        cosine = functional.normalize(q[..., part], dim=-1) @ functional.normalize(
            k[..., part], dim=-1
        ).transpose(1, 2)
        # A shift brings cells of the map's two ends together: they are pushed apart by 100.
        scores = scale * cosine + table[:, head][index] - 100.0 * bent
        mixed.append(scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v[..., part])
    return linear(state, f"{name}.proj", torch.cat(mixed, -1)).reshape(x.shape)


def mixed(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    def mlp(part: str, x: Tensor) -> Tensor:
        inner = functional.gelu(linear(state, f"{name}.{part}.ff.0", x))
        return linear(state, f"{name}.{part}.ff.3", inner)

    y = mlp("MLP_token", norm(state, f"{name}.layernorm1", x).transpose(1, 2)).transpose(1, 2)
    z = mlp("MLP_channel", norm(state, f"{name}.layernorm2", x + y))
    return x + y + z


def encoded(
    state: dict[str, Tensor], sizes: Sizes, joints: Tensor, feature_map: Tensor | None
) -> Tensor:
    """[N tokens dim] before quantisation; `joints` are x, y, visibility."""
    name = "keypoint_head.tokenizer."
    embedded = linear(state, f"{name}start_embed", joints[..., :2])
    if feature_map is not None:
        side = feature_map.shape[-1]
        seen = [
            [
                feature_map[
                    n,
                    :,
                    min(max(int(y / 32 + 0.5), 0), side - 1),
                    min(max(int(x / 32 + 0.5), 0), side - 1),
                ]
                for x, y, _ in person.tolist()
            ]
            for n, person in enumerate(joints)
        ]
        image = torch.stack([torch.stack(person) for person in seen])
        embedded = torch.cat([embedded, linear(state, f"{name}start_img_embed", image)], -1)
    visible = joints[..., 2:] != 0
    x = embedded * visible + state[f"{name}invisible_token"] * ~visible
    for i in range(4):
        x = mixed(state, f"{name}encoder.{i}", x)
    x = norm(state, f"{name}encoder_layer_norm", x)
    x = linear(state, f"{name}token_mlp", x.transpose(1, 2)).transpose(1, 2)
    return linear(state, f"{name}feature_embed", x)


def nearest(state: dict[str, Tensor], features: Tensor) -> Tensor:
    book = state["keypoint_head.tokenizer.codebook"]
    return ((features[..., None, :] - book) ** 2).sum(-1).argmin(-1)


def decoded(state: dict[str, Tensor], codes: Tensor) -> Tensor:
    """[N joints 2] from hard or soft codes."""
    name = "keypoint_head.tokenizer."
    x = linear(state, f"{name}decoder_token_mlp", codes.transpose(1, 2)).transpose(1, 2)
    x = mixed(state, f"{name}decoder.0", linear(state, f"{name}decoder_start", x))
    return linear(state, f"{name}recover_embed", norm(state, f"{name}decoder_layer_norm", x))


def logits(state: dict[str, Tensor], sizes: Sizes, feature_map: Tensor) -> Tensor:
    """[N tokens codes] of the classifier, in evaluation."""
    name = "keypoint_head."

    def batch_normed(part: str, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}{part}.{kind}"][:, None, None]
            for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = functional.conv2d(feature_map, state[f"{name}conv_trans.0.weight"])
    x = functional.relu(batch_normed("conv_trans.1", x))
    for i in range(2):
        part = f"conv_head.0.{i}"
        y = functional.conv2d(x, state[f"{name}{part}.conv1.weight"], padding=1)
        y = functional.relu(batch_normed(f"{part}.bn1", y))
        y = functional.conv2d(y, state[f"{name}{part}.conv2.weight"], padding=1)
        x = functional.relu(x + batch_normed(f"{part}.bn2", y))
    flat = torch.cat(
        [x[:, :, row, column] for row in range(sizes.cells) for column in range(sizes.cells)], 1
    )
    x = linear(state, f"{name}mixer_trans.ff.0", flat)
    x = functional.relu(norm(state, f"{name}mixer_trans.ff.1", x))
    x = x.reshape(len(x), sizes.tokens, sizes.hidden)
    for i in range(4):
        x = mixed(state, f"{name}mixer_head.{i}", x)
    x = linear(state, f"{name}mixer_norm_layer.ff.0", x)
    x = functional.relu(norm(state, f"{name}mixer_norm_layer.ff.1", x))
    return linear(state, f"{name}cls_pred_layer", x)
