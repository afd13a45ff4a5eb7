"""Checkpoints as PostoMETRO's code saves them, and its equations on them in plain functions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Those of the published network."""

    layers: int = 3
    wide: int = 512
    wide_hidden: int = 2048
    narrow: int = 128
    narrow_hidden: int = 512
    coarse: int = 431
    middle: int = 1723
    tokens: int = 34
    code: int = 512
    channels: int = 2048


def network_shapes(sizes: Sizes, pose: bool = True) -> Shapes:
    """Everything but the backbone."""
    shapes: Shapes = {}
    for number, width, hidden in (
        (1, sizes.wide, sizes.wide_hidden),
        (2, sizes.narrow, sizes.narrow_hidden),
    ):
        for side, attentions, norms in (
            ("encoder", ["self_attn"], 2),
            ("decoder", ["self_attn", "multihead_attn"], 3),
        ):
            root = f"transformer_{number}.{side}"
            shapes |= both(f"{root}.norm", (width,))
            for layer in range(sizes.layers):
                at = f"{root}.layers.{layer}"
                for name in attentions:
                    shapes[f"{at}.{name}.in_proj_weight"] = (3 * width, width)
                    shapes[f"{at}.{name}.in_proj_bias"] = (3 * width,)
                    shapes |= both(f"{at}.{name}.out_proj", (width, width))
                shapes |= both(f"{at}.linear1", (hidden, width))
                shapes |= both(f"{at}.linear2", (width, hidden))
                for norm in range(norms):
                    shapes |= both(f"{at}.norm{norm + 1}", (width,))
    for name in ("enc_cam", "enc_img", "dec", *(["enc_pct"] if pose else [])):
        shapes |= both(f"dim_reduce_{name}", (sizes.narrow, sizes.wide))
    for name, count in (("cam", 1), ("joint", 14), ("vertex", sizes.coarse)):
        shapes[f"{name}_token_embed.weight"] = (count, sizes.wide)
    shapes |= both("xyz_regressor", (3, sizes.narrow)) | both("cam_predictor", (3, sizes.narrow))
    shapes |= both("conv_1x1", (sizes.wide, sizes.channels, 1, 1))
    shapes |= both("coarse2intermediate_upsample", (sizes.middle, sizes.coarse))
    return shapes | (modulator_shapes(sizes) if pose else {})


def modulator_shapes(sizes: Sizes) -> Shapes:
    shapes = both("start_embed", (sizes.wide, sizes.code))
    for layer in range(4):
        at = f"encoder.{layer}"
        shapes |= both(f"{at}.layernorm1", (sizes.wide,)) | both(f"{at}.layernorm2", (sizes.wide,))
        shapes |= both(f"{at}.MLP_token.ff.0", (64, sizes.tokens))
        shapes |= both(f"{at}.MLP_token.ff.3", (sizes.tokens, 64))
        shapes |= both(f"{at}.MLP_channel.ff.0", (sizes.wide, sizes.wide))
        shapes |= both(f"{at}.MLP_channel.ff.3", (sizes.wide, sizes.wide))
    shapes |= both("encoder_layer_norm", (sizes.wide,))
    shapes |= both("token_mlp", (sizes.tokens, sizes.tokens))
    shapes |= both("token_mixer.ff.0", (sizes.wide, sizes.wide + 1))
    return shapes | both("token_mixer.ff.1", (sizes.wide,))


def regressor_shapes(middle: int = 1723) -> Shapes:
    """FastMETRO's optional SMPL regressor."""
    root = "smpl_parameter_regressor.regressor"
    shapes = both(f"{root}.0.fc_block.0", (1024, 3 * middle)) | norm(f"{root}.0.fc_block.1", 1024)
    for block in (1, 2):
        for layer in (0, 3):
            shapes |= both(f"{root}.{block}.fc_block.{layer}", (1024, 1024))
            shapes |= norm(f"{root}.{block}.fc_block.{layer + 1}", 1024)
    return shapes | both(f"{root}.3", (226, 1024))


def resnet_shapes(width: int = 64, layers: tuple[int, ...] = (3, 4, 6, 3)) -> Shapes:
    shapes: Shapes = {"conv1.weight": (width, 3, 7, 7)} | norm("bn1", width)
    inputs = width
    for stage, count in enumerate(layers):
        inner = width * 2**stage
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            shapes |= bottleneck_shapes(at, inputs, inner, shortcut=block == 0)
            inputs = 4 * inner
    return shapes


def bottleneck_shapes(at: str, inputs: int, inner: int, shortcut: bool) -> Shapes:
    shapes: Shapes = {
        f"{at}.conv1.weight": (inner, inputs, 1, 1),
        f"{at}.conv2.weight": (inner, inner, 3, 3),
        f"{at}.conv3.weight": (4 * inner, inner, 1, 1),
    }
    for number, width in ((1, inner), (2, inner), (3, 4 * inner)):
        shapes |= norm(f"{at}.bn{number}", width)
    if shortcut:
        shapes[f"{at}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
        shapes |= norm(f"{at}.downsample.1", 4 * inner)
    return shapes


def hrnet_shapes(width: int, modules: tuple[int, int, int]) -> Shapes:
    shapes: Shapes = {"conv1.weight": (64, 3, 3, 3), "conv2.weight": (64, 64, 3, 3)}
    shapes |= norm("bn1", 64) | norm("bn2", 64) | both("final_layer", (17, width, 1, 1))
    for block in range(4):
        inputs = 256 if block else 64
        shapes |= bottleneck_shapes(f"layer1.{block}", inputs, 64, shortcut=block == 0)
    for name, inputs, outputs in (
        ("transition1.0", 256, width),
        ("transition1.1.0", 256, 2 * width),
        ("transition2.2.0", 2 * width, 4 * width),
        ("transition3.3.0", 4 * width, 8 * width),
    ):
        shapes[f"{name}.0.weight"] = (outputs, inputs, 3, 3)
        shapes |= norm(f"{name}.1", outputs)
    for stage, count in zip((2, 3, 4), modules, strict=True):
        for module in range(count):
            shapes |= exchange_shapes(
                f"stage{stage}.{module}", [width * 2**b for b in range(stage)]
            )
    return shapes


def exchange_shapes(at: str, widths: list[int]) -> Shapes:
    shapes: Shapes = {}
    for branch, width in enumerate(widths):
        for block in range(4):
            for layer in (1, 2):
                here = f"{at}.branches.{branch}.{block}"
                shapes[f"{here}.conv{layer}.weight"] = (width, width, 3, 3)
                shapes |= norm(f"{here}.bn{layer}", width)
    for to in range(len(widths)):
        for sender in range(len(widths)):
            here = f"{at}.fuse_layers.{to}.{sender}"
            if sender > to:
                shapes[f"{here}.0.weight"] = (widths[to], widths[sender], 1, 1)
                shapes |= norm(f"{here}.1", widths[to])
            for step in range(to - sender):
                outputs = widths[to] if step == to - sender - 1 else widths[sender]
                shapes[f"{here}.{step}.0.weight"] = (outputs, widths[sender], 3, 3)
                shapes |= norm(f"{here}.{step}.1", outputs)
    return shapes


def both(name: str, weight: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def norm(name: str, width: int) -> Shapes:
    buffers: Shapes = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return both(name, (width,)) | buffers | {f"{name}.num_batches_tracked": ()}


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def filled(shapes: Shapes) -> State:
    """Random values under which signals neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 1 + 0.3 * noise.abs()
        elif len(shape) > 1:
            state[name] = noise * (1.5 / noise[0].numel()) ** 0.5
        else:
            state[name] = 0.1 * noise + (0.8 if name.endswith(".weight") else 0.0)
    return state


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])


def convolve(state: State, conv: str, bn: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{conv}.weight"]
    x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    return batch_norm(state, bn, x)


def bottleneck(state: State, at: str, x: Tensor, stride: int) -> Tensor:
    inner = convolve(state, f"{at}.conv1", f"{at}.bn1", x).relu()
    inner = convolve(state, f"{at}.conv2", f"{at}.bn2", inner, stride).relu()
    inner = convolve(state, f"{at}.conv3", f"{at}.bn3", inner)
    if f"{at}.downsample.0.weight" in state:
        x = convolve(state, f"{at}.downsample.0", f"{at}.downsample.1", x, stride)
    return (x + inner).relu()


def resnet(state: State, x: Tensor, layers: tuple[int, ...] = (3, 4, 6, 3)) -> Tensor:
    x = functional.max_pool2d(convolve(state, "conv1", "bn1", x, 2).relu(), 3, 2, 1)
    for stage, count in enumerate(layers):
        for block in range(count):
            stride = 2 if stage and not block else 1
            x = bottleneck(state, f"layer{stage + 1}.{block}", x, stride)
    return x


def hrnet(state: State, x: Tensor, modules: tuple[int, int, int]) -> list[Tensor]:
    for number in (1, 2):
        x = convolve(state, f"conv{number}", f"bn{number}", x, 2).relu()
    for block in range(4):
        x = bottleneck(state, f"layer1.{block}", x, 1)
    branches = [
        convolve(state, "transition1.0.0", "transition1.0.1", x).relu(),
        convolve(state, "transition1.1.0.0", "transition1.1.0.1", x, 2).relu(),
    ]
    for stage, count in zip((2, 3, 4), modules, strict=True):
        if stage > 2:
            way = f"transition{stage - 1}.{stage - 1}.0"
            branches.append(convolve(state, f"{way}.0", f"{way}.1", branches[-1], 2).relu())
        for module in range(count):
            branches = exchange(state, f"stage{stage}.{module}", branches)
    return branches


def exchange(state: State, at: str, branches: list[Tensor]) -> list[Tensor]:
    inner = []
    for number, branch in enumerate(branches):
        x = branch
        for block in range(4):
            here = f"{at}.branches.{number}.{block}"
            y = convolve(state, f"{here}.conv1", f"{here}.bn1", x).relu()
            x = (x + convolve(state, f"{here}.conv2", f"{here}.bn2", y)).relu()
        inner.append(x)
    fused = []
    for to in range(len(inner)):
        total = inner[to]
        for sender, x in enumerate(inner):
            here = f"{at}.fuse_layers.{to}.{sender}"
            if sender > to:
                y = convolve(state, f"{here}.0", f"{here}.1", x)
                y = y.repeat_interleave(2 ** (sender - to), 2)
                total = total + y.repeat_interleave(2 ** (sender - to), 3)
            elif sender < to:
                y = x
                for step in range(to - sender):
                    y = convolve(state, f"{here}.{step}.0", f"{here}.{step}.1", y, 2)
                    y = y if step == to - sender - 1 else y.relu()
                total = total + y
        fused.append(total.relu())
    return fused


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def attend(
    state: State, name: str, parts: tuple[Tensor, Tensor, Tensor], blocked: Tensor | None = None
) -> Tensor:
    """Attention of 8 heads, one after another, on unbatched sequences."""
    weights = state[f"{name}.in_proj_weight"].chunk(3)
    biases = state[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip(parts, weights, biases, strict=True))
    heads = []
    for one in zip(q.chunk(8, -1), k.chunk(8, -1), v.chunk(8, -1), strict=True):
        logits = one[0] @ one[1].T / one[0].shape[-1] ** 0.5
        if blocked is not None:
            logits = logits.masked_fill(blocked, -torch.inf)
        heads.append(logits.softmax(-1) @ one[2])
    return linear(state, f"{name}.out_proj", torch.cat(heads, -1))


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Number by number."""
    table = np.zeros((rows * columns, width))
    half = width // 2
    for row in range(rows):
        for column in range(columns):
            for which, (index, count) in enumerate(((row, rows), (column, columns))):
                angle = (index + 1) / (count + 1e-6) * 2 * np.pi
                for channel in range(half):
                    scaled = angle / 10000 ** (2 * (channel // 2) / half)
                    value = np.cos(scaled) if channel % 2 else np.sin(scaled)
                    table[row * columns + column, which * half + channel] = value
    return torch.tensor(table, dtype=torch.float32)


def transformer(
    state: State, at: str, tokens: Tensor, queries: Tensor, blocked: Tensor, cells: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens (camera first) and queries after encoder and decoder; `cells` are positions."""
    layers = len({n.split(".")[3] for n in state if n.startswith(f"{at}.encoder.layers.")})
    place = torch.zeros_like(tokens)
    place[1 : 1 + len(cells)] = cells
    for i in range(layers):
        name = f"{at}.encoder.layers.{i}"
        n = layer_norm(state, f"{name}.norm1", tokens)
        tokens = tokens + attend(state, f"{name}.self_attn", (n + place, n + place, n))
        tokens = tokens + feed_forward(state, name, "norm2", tokens)
    tokens = layer_norm(state, f"{at}.encoder.norm", tokens)
    memory, place = tokens[1:], place[1:]
    for i in range(layers):
        name = f"{at}.decoder.layers.{i}"
        n = layer_norm(state, f"{name}.norm1", queries)
        queries = queries + attend(state, f"{name}.self_attn", (n, n, n), blocked)
        n = layer_norm(state, f"{name}.norm2", queries)
        queries = queries + attend(state, f"{name}.multihead_attn", (n, memory + place, memory))
        queries = queries + feed_forward(state, name, "norm3", queries)
    return tokens, layer_norm(state, f"{at}.decoder.norm", queries)


def feed_forward(state: State, at: str, norm_name: str, x: Tensor) -> Tensor:
    n = layer_norm(state, f"{at}.{norm_name}", x)
    return linear(state, f"{at}.linear2", linear(state, f"{at}.linear1", n).relu())


def modulate(state: State, codes: Tensor, logits: Tensor) -> Tensor:
    x = linear(state, "start_embed", codes)
    for layer in range(4):
        at = f"encoder.{layer}"
        y = layer_norm(state, f"{at}.layernorm1", x).T
        y = functional.gelu(linear(state, f"{at}.MLP_token.ff.0", y))
        x = x + linear(state, f"{at}.MLP_token.ff.3", y).T
        z = layer_norm(state, f"{at}.layernorm2", x)
        z = functional.gelu(linear(state, f"{at}.MLP_channel.ff.0", z))
        x = x + linear(state, f"{at}.MLP_channel.ff.3", z)
    x = linear(state, "token_mlp", layer_norm(state, "encoder_layer_norm", x).T).T
    x = linear(state, "token_mixer.ff.0", torch.cat([x, logits], -1))
    return layer_norm(state, "token_mixer.ff.1", x).relu()


def network(
    state: State,
    features: Tensor,
    pose: tuple[Tensor, Tensor] | None,
    neighbours: ndarray,
    upsampling: Tensor,
) -> dict[str, Tensor]:
    """For the feature map of one image; pose tokens appear twice in the second transformer."""
    _, rows, columns = features.shape
    kernel = state["conv_1x1.weight"][..., 0, 0]
    image = (kernel @ features.flatten(1)).T + state["conv_1x1.bias"]
    seen = image if pose is None else torch.cat([image, modulate(state, *pose)])
    queries = torch.cat([state["joint_token_embed.weight"], state["vertex_token_embed.weight"]])
    blocked = torch.zeros(len(queries), len(queries), dtype=torch.bool)
    blocked[14:, 14:] = torch.tensor(~neighbours)
    tokens = torch.cat([state["cam_token_embed.weight"], seen])
    place = positions(rows, columns, tokens.shape[-1])
    tokens, queries = transformer(state, "transformer_1", tokens, queries, blocked, place)
    parts = [linear(state, "dim_reduce_enc_cam", tokens[:1])]
    parts.append(linear(state, "dim_reduce_enc_img", tokens[1:]))
    if pose is not None:
        parts.append(linear(state, "dim_reduce_enc_pct", tokens[1 + len(image) :]))
    queries = linear(state, "dim_reduce_dec", queries)
    place = positions(rows, columns, queries.shape[-1])
    tokens, queries = transformer(state, "transformer_2", torch.cat(parts), queries, blocked, place)
    points = linear(state, "xyz_regressor", queries)
    middle = state["coarse2intermediate_upsample.weight"] @ points[14:]
    middle = middle + state["coarse2intermediate_upsample.bias"][:, None]
    return {
        "camera": linear(state, "cam_predictor", tokens[0]),
        "joints": points[:14],
        "coarse": points[14:],
        "middle": middle,
        "vertices": upsampling @ middle,
    }
