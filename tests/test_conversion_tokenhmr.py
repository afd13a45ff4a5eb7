"""TokenHMR's published files become ours: same outputs as the published equations, or an error."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from windows import as_published, noise, whole_pictures

from temporal_hmr.conversion.tokenhmr import read_tokenhmr, read_tokenizer
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_vit import VitConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import TOKENHMR
from temporal_hmr.models.token_head import TokenHeadConfig
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *weight: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": weight} | ({f"{name}.bias": weight[:1]} if bias else {})


def tokenizer_shapes(width: int = 512, dim: int = 256, codes: int = 2048) -> Shapes:
    shapes: Shapes = {"quantizer.codebook": (codes, dim)}
    for side, first in (("encoder.encoder", 6), ("decoder.decoder", dim)):
        shapes |= layer(f"{side}.0", width, first, 3)
        for stage in (3, 6, 9, 12):
            shapes |= layer(f"{side}.{stage}", width, width, 3)
        stack = f"{side}.14.1" if side.startswith("encoder") else f"{side}.14.0"
        for block in (0, 1):
            shapes |= layer(f"{stack}.model.{block}.conv1", width, width, 3)
            shapes |= layer(f"{stack}.model.{block}.conv2", width, width, 1)
    shapes |= layer("encoder.encoder.14.0", width, width, 4)
    shapes |= layer("encoder.encoder.15", dim, width, 3)
    shapes |= layer("decoder.decoder.14.1", width, width, 3)
    shapes |= layer("decoder.decoder.15", 6, width, 3)
    return shapes


def backbone_shapes(depth: int, width: int) -> Shapes:
    shapes: Shapes = {"backbone.pos_embed": (1, 193, width)}
    shapes |= layer("backbone.patch_embed.proj", width, 3, 16, 16)
    shapes |= layer("backbone.last_norm", width)
    for i in range(depth):
        block = f"backbone.blocks.{i}"
        shapes |= layer(f"{block}.norm1", width) | layer(f"{block}.norm2", width)
        shapes |= layer(f"{block}.attn.qkv", 3 * width, width)
        shapes |= layer(f"{block}.attn.proj", width, width)
        shapes |= layer(f"{block}.mlp.fc1", 4 * width, width)
        shapes |= layer(f"{block}.mlp.fc2", width, 4 * width)
    return shapes


def head_shapes(
    memory: int, codes: int = 2048, width: int = 1024, inner: int = 512, tokens: int = 160
) -> Shapes:
    transformer = "smpl_head.transformer"
    shapes: Shapes = {
        "smpl_head.init_body_pose": (1, 144),
        "smpl_head.init_betas": (1, 10),
        "smpl_head.init_cam": (1, 3),
        f"{transformer}.pos_embedding": (1, 1, width),
        f"{transformer}.to_token_embedding.weight": (width, 1),
        f"{transformer}.to_token_embedding.bias": (width,),
    }
    for i in range(6):
        part = f"{transformer}.transformer.layers.{i}"
        for which in (0, 1, 2):
            shapes |= layer(f"{part}.{which}.norm", width)
        shapes |= layer(f"{part}.0.fn.to_qkv", 3 * inner, width, bias=False)
        shapes |= layer(f"{part}.1.fn.to_kv", 2 * inner, memory, bias=False)
        shapes |= layer(f"{part}.1.fn.to_q", inner, width, bias=False)
        for which in (0, 1):
            shapes |= layer(f"{part}.{which}.fn.to_out.0", width, inner)
        for which in (0, 3):
            shapes |= layer(f"{part}.2.fn.net.{which}", width, width)
    for name, size in (("decpose_grot", 6), ("decshape", 10), ("deccam", 3), ("decpose_hands", 12)):
        shapes |= layer(f"smpl_head.{name}", size, width)
    classifier = "smpl_head.decpose"
    shapes |= layer(f"{classifier}.mixer_trans.ff.0", 64 * tokens, width)
    shapes |= layer(f"{classifier}.mixer_trans.ff.1", 64 * tokens)
    for i in range(4):
        mixer = f"{classifier}.mixer_head.{i}"
        shapes |= layer(f"{mixer}.layernorm1", 64) | layer(f"{mixer}.layernorm2", 64)
        shapes |= layer(f"{mixer}.MLP_token.ff.0", 64, tokens)
        shapes |= layer(f"{mixer}.MLP_token.ff.3", tokens, 64)
        shapes |= layer(f"{mixer}.MLP_channel.ff.0", 256, 64)
        shapes |= layer(f"{mixer}.MLP_channel.ff.3", 64, 256)
    shapes |= layer(f"{classifier}.mixer_norm_layer.ff.0", 64, 64)
    shapes |= layer(f"{classifier}.mixer_norm_layer.ff.1", 64)
    return shapes | layer(f"{classifier}.class_pred_layer", codes, 64)


def ignored_shapes() -> Shapes:
    return {
        "initialized": (),
        "smpl.v_template": (690, 3),
        "smpl.vertex_joint_selector.extra_joints_idxs": (21,),
        "discriminator.D_conv1.weight": (32, 9, 1, 1),
    }


def small_shapes() -> tuple[Shapes, Shapes]:
    """Of the image model and of its tokenizer: all the parts, and few numbers."""
    head = head_shapes(80, codes=32, width=64, inner=64, tokens=8)
    return backbone_shapes(1, 80) | head | ignored_shapes(), tokenizer_shapes(32, 16, 32)


def filled(shapes: Shapes, seed: int = 0) -> State:
    """Random values small enough that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        inputs = max(1, torch.Size(shape[1:]).numel()) if len(shape) > 1 else 10
        state[name] = torch.randn(shape, generator=generator) / inputs**0.5
    return state


@pytest.fixture(scope="module")
def tokenizer_file() -> State:
    return filled(tokenizer_shapes())


@pytest.fixture(scope="module")
def model_file() -> State:
    """Two of the 32 layers of the backbone; all else as published."""
    return filled(backbone_shapes(2, 1280) | head_shapes(1280) | ignored_shapes(), seed=1)


def conv(state: State, name: str, x: Tensor, **how: int) -> Tensor:
    return functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)


def stretched(x: Tensor, length: int) -> Tensor:
    """Nearest neighbour, index floor(i * in / out)."""
    index = (torch.arange(length) * (x.shape[-1] / length)).floor().long()
    return x[..., index]


def residual(state: State, name: str, x: Tensor) -> Tensor:
    for block, dilation in ((0, 3), (1, 1)):
        part = f"{name}.model.{block}"
        y = conv(state, f"{part}.conv1", x.relu(), padding=dilation, dilation=dilation)
        x = x + conv(state, f"{part}.conv2", y.relu())
    return x


def stages(state: State, name: str, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
    x = conv(state, f"{name}.0", x, padding=1).relu()
    for stage, length in zip((3, 6, 9, 12), lengths, strict=True):
        x = conv(state, f"{name}.{stage}", stretched(x, length), padding=1).relu()
    return x


def published_features(state: State, rotations: Tensor) -> Tensor:
    """(B, 21, 3, 3) to (B, 160, 256)."""
    x = rotations[:, :, :2].flatten(2).transpose(1, 2)
    x = stages(state, "encoder.encoder", x, (40, 80, 160, 320))
    x = conv(state, "encoder.encoder.14.0", x, stride=2, padding=1)
    x = residual(state, "encoder.encoder.14.1", x)
    return conv(state, "encoder.encoder.15", x, padding=1).transpose(1, 2)


def published_sixd(state: State, codes: Tensor) -> Tensor:
    """(B, 160, 256) to (B, 21, 6)."""
    x = stages(state, "decoder.decoder", codes.transpose(1, 2), (125, 90, 55, 21))
    x = residual(state, "decoder.decoder.14.0", x)
    x = conv(state, "decoder.decoder.14.1", x, padding=1)
    return conv(state, "decoder.decoder.15", x, padding=1).transpose(1, 2)


def rows_to_rotations(sixd: Tensor) -> Tensor:
    a, b = sixd[..., :3], sixd[..., 3:]
    first = a / a.norm(dim=-1, keepdim=True)
    b = b - (first * b).sum(-1, keepdim=True) * first
    second = b / b.norm(dim=-1, keepdim=True)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -2)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def norm(state: State, name: str, x: Tensor, epsilon: float = 1e-5) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.layer_norm(x, weight.shape, weight, bias, epsilon)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    query, key, value = split(query), split(key), split(value)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def published_memory(state: State, images: Tensor, depth: int) -> Tensor:
    weight, bias = (state[f"backbone.patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    patches = functional.conv2d(images[..., 32:-32], weight, bias, stride=16, padding=2)
    x = patches.flatten(2).transpose(1, 2)
    positions = state["backbone.pos_embed"]
    x = x + positions[:, 1:] + positions[:, :1]
    for i in range(depth):
        block = f"backbone.blocks.{i}"
        qkv = linear(state, f"{block}.attn.qkv", norm(state, f"{block}.norm1", x, 1e-6))
        x = x + linear(state, f"{block}.attn.proj", attend(*qkv.chunk(3, -1), heads=16))
        y = linear(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", x, 1e-6))
        x = x + linear(state, f"{block}.mlp.fc2", functional.gelu(y))
    return norm(state, "backbone.last_norm", x, 1e-6)


def published_feature(state: State, memory: Tensor) -> Tensor:
    name = "smpl_head.transformer"
    x = linear(state, f"{name}.to_token_embedding", torch.zeros(len(memory), 1, 1))
    x = x + state[f"{name}.pos_embedding"]
    for i in range(6):
        part = f"{name}.transformer.layers.{i}"
        qkv = linear(state, f"{part}.0.fn.to_qkv", norm(state, f"{part}.0.norm", x))
        x = x + linear(state, f"{part}.0.fn.to_out.0", attend(*qkv.chunk(3, -1), heads=8))
        query = linear(state, f"{part}.1.fn.to_q", norm(state, f"{part}.1.norm", x))
        key, value = linear(state, f"{part}.1.fn.to_kv", memory).chunk(2, -1)
        x = x + linear(state, f"{part}.1.fn.to_out.0", attend(query, key, value, heads=8))
        y = linear(state, f"{part}.2.fn.net.0", norm(state, f"{part}.2.norm", x))
        x = x + linear(state, f"{part}.2.fn.net.3", functional.gelu(y))
    return x[:, 0]


def published_probabilities(state: State, feature: Tensor) -> Tensor:
    name = "smpl_head.decpose"

    def connected(part: str, x: Tensor) -> Tensor:
        return norm(state, f"{part}.ff.1", linear(state, f"{part}.ff.0", x)).relu()

    x = connected(f"{name}.mixer_trans", feature).reshape(-1, 160, 64)
    for i in range(4):
        mixer = f"{name}.mixer_head.{i}"

        def mlp(part: str, x: Tensor, mixer: str = mixer) -> Tensor:
            hidden = functional.gelu(linear(state, f"{mixer}.{part}.ff.0", x))
            return linear(state, f"{mixer}.{part}.ff.3", hidden)

        y = norm(state, f"{mixer}.layernorm1", x).transpose(1, 2)
        y = mlp("MLP_token", y).transpose(1, 2)
        z = mlp("MLP_channel", norm(state, f"{mixer}.layernorm2", x + y))
        x = x + y + z
    x = connected(f"{name}.mixer_norm_layer", x)
    return linear(state, f"{name}.class_pred_layer", x).softmax(-1)


def some_rotations(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return rows_to_rotations(torch.randn(count, 21, 6, generator=generator))


def test_tokenizer_gives_the_published_outputs(tokenizer_file: State) -> None:
    conversion, config = read_tokenizer({"net": tokenizer_file, "hparams": object()})
    assert len(conversion.used) == 45 == len(tokenizer_file)
    assert (config.codes, config.code_dim, config.width, config.tokens) == (2048, 256, 512, 160)
    tokenizer = RotationTokenizer(config).eval()
    tokenizer.load_state_dict(conversion.state)
    rotations = some_rotations(2)
    features = published_features(tokenizer_file, rotations)
    torch.testing.assert_close(tokenizer.features(rotations), features, atol=1e-4, rtol=1e-3)
    codes = tokenizer_file["quantizer.codebook"]
    nearest = torch.cdist(features, codes.expand(2, -1, -1)).argmin(-1)
    found = tokenizer(rotations)
    assert float((found.indices == nearest).float().mean()) > 0.99
    expected = rows_to_rotations(published_sixd(tokenizer_file, codes[found.indices]))
    torch.testing.assert_close(found.rotations, expected, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_model_gives_the_published_outputs(model_file: State, tokenizer_file: State) -> None:
    conversion, config = read_tokenhmr({"state_dict": model_file}, {"net": tokenizer_file})
    assert set(conversion.left) == set(ignored_shapes())
    assert len(conversion.used) == len(model_file) - len(conversion.left)
    assert config.encoder == VitConfig(depth=2)
    model = Hmr(config).eval()
    model.load_state_dict(conversion.state)
    images = noise(1, 1, 256, seed=2)
    readout = model.read(model.frame_tokens(whole_pictures(images)))

    memory = published_memory(model_file, as_published(images), depth=2)
    feature = published_feature(model_file, memory)
    probabilities = published_probabilities(model_file, feature)
    assert readout.logits is not None and readout.crop_side == 256
    torch.testing.assert_close(readout.logits.softmax(-1), probabilities, atol=1e-6, rtol=2e-3)
    mixture = probabilities @ tokenizer_file["quantizer.codebook"]
    parts = (
        linear(model_file, "smpl_head.decpose_grot", feature),
        published_sixd(tokenizer_file, mixture).flatten(1),
        linear(model_file, "smpl_head.decpose_hands", feature),
    )
    pose = torch.cat(parts, 1) + model_file["smpl_head.init_body_pose"]
    rotations = rows_to_rotations(pose.reshape(1, 24, 6))
    torch.testing.assert_close(readout.rotations, rotations, atol=1e-4, rtol=1e-3)
    betas = linear(model_file, "smpl_head.decshape", feature) + model_file["smpl_head.init_betas"]
    camera = linear(model_file, "smpl_head.deccam", feature) + model_file["smpl_head.init_cam"]
    torch.testing.assert_close(readout.betas, betas, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(readout.crop_camera, camera, atol=1e-4, rtol=1e-3)


def test_the_whole_published_network_has_a_place_for_every_tensor() -> None:
    """At full size, without the numbers."""
    shapes = backbone_shapes(32, 1280) | head_shapes(1280) | ignored_shapes()
    with torch.device("meta"):
        model = {name: torch.empty(shape) for name, shape in shapes.items()}
        tokenizer = {name: torch.empty(shape) for name, shape in tokenizer_shapes().items()}
    conversion, config = read_tokenhmr(model, tokenizer)
    head = TokenHeadConfig(tokenizer=RotationTokenizerConfig(sixd="rows"), offset_tokenised=True)
    assert config == TOKENHMR.model_copy(update={"head": head})
    assert set(conversion.left) == set(ignored_shapes())
    assert len(conversion.used) == len(shapes) - len(conversion.left)
    head = sum(tensor.numel() for name, tensor in model.items() if name.startswith("smpl_head."))
    assert head == 50_287_967 + 157


def test_body_arrays_in_a_tokenizer_file_are_left(tokenizer_file: State) -> None:
    extra = {"loss.body_model.v_template": torch.zeros(4, 3)}
    conversion, _ = read_tokenizer(tokenizer_file | extra)
    assert list(conversion.left) == list(extra)


def test_training_can_go_on_from_the_published_codebook(tokenizer_file: State) -> None:
    """Its first batch must not put the codes elsewhere, as it would those of a new codebook."""
    conversion, config = read_tokenizer(tokenizer_file)
    tokenizer = RotationTokenizer(config.model_copy(update={"restart_below": 0.0}))
    tokenizer.load_state_dict(conversion.state)
    tokenizer.train()(some_rotations(1))
    codes = tokenizer_file["quantizer.codebook"]
    chosen = tokenizer.codebook.counts != 0.99
    torch.testing.assert_close(tokenizer.codebook.codes[~chosen], codes[~chosen])


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def changed(name: str, *shape: int) -> Callable[[State], State]:
    return lambda state: state | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("smpl_head.deccam.bias"), "no tensor for head.camera.bias"),
        (without("backbone.pos_embed"), "no tensor for encoder.backbone.positions"),
        (without("backbone.blocks.1.norm2.weight"), "blocks.1.feed_forward_norm.weight"),
        (without("backbone.patch_embed.proj.weight"), "no tensor backbone.patch_embed"),
        (changed("smpl_head.extra.weight", 3), "unexpected smpl_head.extra.weight"),
        (changed("backbone.cls_token", 1, 1, 1280), "unexpected backbone.cls_token"),
        (changed("smpl_head.init_body_pose", 1, 138), "init_body_pose has shape"),
        (changed("backbone.pos_embed", 1, 197, 1280), "pos_embed has shape"),
        (changed("smpl_head.decpose.class_pred_layer.bias", 1024), "class_pred_layer.bias"),
    ],
)
def test_other_models_are_refused(
    model_file: State, tokenizer_file: State, change: Callable[[State], State], message: str
) -> None:
    """The published loader only warned, and went on with random weights (a known defect)."""
    with pytest.raises(InputError, match=message):
        read_tokenhmr({"state_dict": change(model_file)}, tokenizer_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("quantizer.codebook"), "no tensor quantizer.codebook"),
        (without("decoder.decoder.14.1.bias"), "no tensor for decoder.2.bias"),
        (changed("decoder.decoder.16.bias", 6), "unexpected decoder.decoder.16.bias"),
        (changed("encoder.encoder.15.weight", 128, 512, 3), "has shape"),
    ],
)
def test_other_tokenizers_are_refused(
    tokenizer_file: State, change: Callable[[State], State], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_tokenizer({"net": change(tokenizer_file)})


def test_files_of_something_else_are_refused(tokenizer_file: State) -> None:
    with pytest.raises(InputError, match="no tensors under 'net'"):
        read_tokenizer({"weights": tokenizer_file})
    with pytest.raises(InputError, match="no tensors under 'state_dict'"):
        read_tokenhmr({"state_dict": 3}, tokenizer_file)
