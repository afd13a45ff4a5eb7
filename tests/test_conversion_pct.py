"""PCT's checkpoints as ours: judged by the published equations, written out in published_pct."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published_pct import (
    SMALL,
    Sizes,
    decoded,
    encoded,
    filled,
    head_shapes,
    logits,
    nearest,
    stage_1,
    stage_2,
    swin,
    swin_shapes,
    tokenizer_shapes,
)
from torch import Tensor

from temporal_hmr.conversion.pct import build_pct, read_pct
from temporal_hmr.errors import InputError
from temporal_hmr.models.swin import SwinConfig
from temporal_hmr.tokenizers.keypoint_classifier import (
    GuidedKeypointTokenizer,
    ImagePoseTokens,
    ImagePoseTokensConfig,
    KeypointClassifierConfig,
)
from temporal_hmr.tokenizers.keypoints import PUBLISHED, KeypointTokenizer
from temporal_hmr.torch_files import load_tensors

UNGUIDED = replace(SMALL, guided=False)


def converted(published: dict[str, Tensor]) -> torch.nn.Module:
    config, conversion = read_pct(published)
    module = build_pct(config)
    module.load_state_dict(conversion.state)
    return module.eval()


def images(side: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def annotated(side: int, count: int = 2) -> Tensor:
    """x, y (pixels, some outside the crop) and visibility of 17 joints."""
    generator = torch.Generator().manual_seed(2)
    places = side * (1.6 * torch.rand(count, 17, 2, generator=generator) - 0.3)
    return torch.cat([places, (torch.rand(count, 17, 1, generator=generator) > 0.3).float()], -1)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("sizes", [SMALL, UNGUIDED], ids=["guided", "unguided"])
@torch.no_grad()
def test_stage_2_says_what_the_published_equations_say(sizes: Sizes) -> None:
    published = stage_2(sizes)
    model = converted(published)
    assert isinstance(model, ImagePoseTokens)
    crops = images(64)
    feature_map = swin(published, "backbone.", sizes, crops)
    close(model.feature_map(crops), feature_map)
    found, expected = model(crops), logits(published, sizes, feature_map)
    close(found.logits, expected)
    close(found.confidence, expected.max(-1).values)
    codes = expected.softmax(-1) @ published["keypoint_head.tokenizer.codebook"]
    close(found.codes, codes)
    close(found.keypoints, decoded(published, codes))
    joints = annotated(64)
    labels = model.classifier.labels(joints[..., :2], joints[..., 2] > 0, feature_map)
    features = encoded(published, sizes, joints, feature_map if sizes.guided else None)
    assert torch.equal(labels, nearest(published, features))


@torch.no_grad()
def test_faint_features_are_normed_as_published() -> None:
    """Where features are near nothing the epsilon of the norms shows: the backbone's is 1e-6."""
    published = stage_2(UNGUIDED)
    for name, tensor in published.items():
        if name.startswith("backbone.") and name.endswith(
            ("proj.weight", "fc2.weight", "reduction.weight", "proj.bias", "fc2.bias")
        ):
            published[name] = 1e-3 * tensor
    model = converted(published)
    assert isinstance(model, ImagePoseTokens)
    close(model.feature_map(images(64)), swin(published, "backbone.", UNGUIDED, images(64)))


@torch.no_grad()
def test_guided_stage_1_says_what_the_published_equations_say() -> None:
    published = stage_1(SMALL)
    model = converted(published)
    assert isinstance(model, GuidedKeypointTokenizer)
    crops, joints = images(64), annotated(64)
    feature_map = swin(published, "extra_backbone.", SMALL, crops)
    features = encoded(published, SMALL, joints, feature_map)
    visible = joints[..., 2] > 0
    close(model.tokenizer.features(joints[..., :2], visible, feature_map), features)
    found, indices = model(crops, joints[..., :2], visible), nearest(published, features)
    assert torch.equal(found.indices, indices)
    codes = published["keypoint_head.tokenizer.codebook"][indices]
    close(found.keypoints, decoded(published, codes))
    close(found.commitment, ((features - codes) ** 2).mean())


@torch.no_grad()
def test_unguided_stage_1_says_what_the_published_equations_say() -> None:
    published = stage_1(UNGUIDED)
    model = converted(published)
    assert isinstance(model, KeypointTokenizer)
    joints = annotated(64)
    features = encoded(published, UNGUIDED, joints, None)
    found = model(joints[..., :2], joints[..., 2] > 0)
    assert torch.equal(found.indices, nearest(published, features))
    codes = published["keypoint_head.tokenizer.codebook"][found.indices]
    close(found.keypoints, decoded(published, codes))


@pytest.mark.slow
@torch.no_grad()
def test_a_file_of_the_published_size() -> None:
    """Base, whole: 641 tensors and a crop of 256 pixels."""
    sizes = Sizes()
    shapes = swin_shapes("backbone.", sizes) | head_shapes(sizes) | tokenizer_shapes(sizes)
    assert len(shapes) == 641
    published = filled(shapes, sizes, seed=0)
    config, conversion = read_pct(published)
    assert config == ImagePoseTokensConfig()
    model = build_pct(config)
    assert isinstance(model, ImagePoseTokens)
    model.load_state_dict(conversion.state)
    crops = images(256, count=1)
    feature_map = swin(published, "backbone.", sizes, crops)
    found = model.eval()(crops)
    close(model.feature_map(crops), feature_map)
    close(found.logits, logits(published, sizes, feature_map))
    close(found.keypoints, decoded(published, found.codes))


@pytest.mark.parametrize(
    ("sizes", "config", "guided"),
    [
        (Sizes(), SwinConfig(), True),
        (Sizes(), SwinConfig(), False),
        (
            Sizes(swin=192, heads=(6, 12, 24, 48)),
            SwinConfig(width=192, heads=(6, 12, 24, 48)),
            True,
        ),
        (
            Sizes(swin=256, heads=(8, 16, 32, 64), depths=(2, 2, 42, 2)),
            SwinConfig(width=256, heads=(8, 16, 32, 64), depths=(2, 2, 42, 2)),
            False,
        ),
    ],
    ids=["base", "base without guide", "large", "huge without guide"],
)
def test_sizes_are_read_off_the_shapes(sizes: Sizes, config: SwinConfig, guided: bool) -> None:
    sizes = replace(sizes, guided=guided)
    shapes = swin_shapes("backbone.", sizes) | head_shapes(sizes) | tokenizer_shapes(sizes)
    if guided:
        shapes |= swin_shapes("extra_backbone.", sizes)
    found, conversion = read_pct(weightless(shapes, sizes))
    update = {"guide_ratio": 0.5 if guided else 0.0}
    if guided:
        update["guide_channels"] = config.channels
    tokenizer = PUBLISHED.model_copy(update=update)
    classifier = KeypointClassifierConfig(tokenizer=tokenizer, channels=config.channels)
    assert found == ImagePoseTokensConfig(backbone=config, classifier=classifier)
    # Left are what the settings give, and the backbone that only training looks through.
    left = {name for name in shapes if "relative_" in name or name.startswith("extra_")}
    assert set(conversion.left) == left
    assert set(conversion.used) == set(shapes) - left


def weightless(shapes: dict[str, tuple[int, ...]], sizes: Sizes) -> dict[str, Tensor]:
    """Tensors that share one stored number, beside the tables, which are shared by stage."""
    tables = {name: shape for name, shape in shapes.items() if "relative_" in name}
    first = {name: shape for name, shape in tables.items() if ".blocks.0." in name}
    made = filled(first, sizes, seed=0)
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    for name in tables:
        stage, table = name.split("layers.")[1][0], name.rsplit(".", 1)[1]
        prefix = name.split("layers.")[0]
        state[name] = made[f"{prefix}layers.{stage}.blocks.0.attn.{table}"]
    return state


@pytest.mark.parametrize("file", [stage_1, stage_2])
def test_whatever_is_missing_is_named(file) -> None:
    whole = file(SMALL)
    _, conversion = read_pct(whole)
    # The classifier's first tensor tells the stages apart, and the guide's presence the variant.
    tables = [name for name in whole if "backbone.layers.0.blocks.1.attn.relative" in name]
    for name in [*list(conversion.used)[::29], *tables[:2]]:
        with pytest.raises(InputError, match="checkpoint"):
            read_pct({theirs: value for theirs, value in whole.items() if theirs != name})


@pytest.mark.parametrize("file", [stage_1, stage_2])
def test_misshapen_tensors_are_refused(file) -> None:
    whole = file(SMALL)
    _, conversion = read_pct(whole)
    names = [name for name in conversion.used if whole[name].ndim]
    for number, name in enumerate(names[::23]):
        misshapen = whole[name][None] if number % 2 else whole[name][..., :-1]
        with pytest.raises(InputError):
            read_pct({**whole, name: misshapen})


@pytest.mark.parametrize(
    "name",
    [
        "keypoint_head.tokenizer.decoder.1.layernorm1.weight",
        "keypoint_head.tokenizer.extra",
        "keypoint_head.mixer_head.0.MLP_other.ff.0.weight",
        "backbone.norm2.weight",
        "backbone.layers.0.blocks.0.attn.extra",
        "backbone.layers.0.blocks.9.attn.relative_coords_table",
        "neck.weight",
    ],
)
@pytest.mark.parametrize("file", [stage_1, stage_2])
def test_unexpected_tensors_are_named(file, name: str) -> None:
    with pytest.raises(InputError, match=f"unexpected {name}"):
        read_pct({**file(SMALL), name: torch.zeros(3)})


@pytest.mark.parametrize(
    "tensor", ["relative_coords_table", "relative_position_index"], ids=["offsets", "pairs"]
)
@pytest.mark.parametrize("block", [0, 1])
def test_tables_of_other_windows_are_refused(tensor: str, block: int) -> None:
    """What the file derived from its windows must be what we derive, or every bias is misplaced."""
    published = stage_2(SMALL)
    name = f"backbone.layers.1.blocks.{block}.attn.{tensor}"
    published[name] = published[name].flip(-2)
    with pytest.raises(InputError, match="windows of 4"):
        read_pct(published)


def test_positions_keep_the_unit_of_an_earlier_training() -> None:
    """The tables follow from two sizes of window, not from one: 16 now, 12 in the training."""
    for trained in ((3, 3, 3, 2), (4, 4, 4, 2), (6, 5, 4, 3)):
        config, _ = read_pct(stage_2(replace(SMALL, trained=trained)))
        assert isinstance(config, ImagePoseTokensConfig)
        assert config.backbone.trained_windows == trained


@pytest.mark.parametrize("container", ["state_dict", "model"])
def test_files_keep_their_tensors_under_a_name(container: str, tmp_path: Path) -> None:
    """As the training wrote them, beside settings and optimiser, and read as arrays."""
    published = stage_2(SMALL)
    contents = {"meta": {"epoch": 210}, container: OrderedDict(published), "optimizer": {}}
    torch.save(contents, tmp_path / "swin.pth")
    loaded = load_tensors(tmp_path / "swin.pth")
    assert isinstance(loaded, dict)
    config, conversion = read_pct(loaded)
    bare, expected = read_pct(published)
    assert config == bare
    for name, tensor in conversion.state.items():
        assert torch.equal(tensor, expected.state[name])


@pytest.mark.parametrize(
    "contents", [{}, {"state_dict": {}}, {"epoch": 3}, {"weight": torch.zeros(2, 2)}]
)
def test_what_is_no_checkpoint_of_pct_is_refused(contents: dict[str, object]) -> None:
    with pytest.raises(InputError, match="not the published one"):
        read_pct(contents)
