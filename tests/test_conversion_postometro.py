"""Published names, shapes and equations of PostoMETRO and FastMETRO, and our network on them."""

from pathlib import Path

import numpy as np
import published_postometro as published
import pytest
import torch
from published_postometro import State

from temporal_hmr.body.coarse_mesh import load_coarse_mesh
from temporal_hmr.body.load import load_body
from temporal_hmr.conversion.postometro import PublishedPostoMetro, read_postometro
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.hrnet import HrNetConfig
from temporal_hmr.models.postometro import PostoMetro
from temporal_hmr.torch_files import load_tensors

SMALL = published.Sizes(layers=1, wide=32, wide_hidden=48, narrow=16, narrow_hidden=24, code=12)
SMALL_RESNET = (2, 1, 1, 1)
HRNET_MODULES = (1, 2, 2)
ASSET = Path(__file__).resolve().parent.parent / "temporal_hmr" / "assets" / "open_body.npz"


def resnet_state() -> State:
    sizes = published.Sizes(**{**vars(SMALL), "channels": 8 * 4 * 8})
    shapes = published.network_shapes(sizes)
    return published.filled(
        shapes | published.under("backbone.", published.resnet_shapes(8, SMALL_RESNET))
    )


def hrnet_state() -> State:
    sizes = published.Sizes(**{**vars(SMALL), "channels": 8 * 4})
    shapes = published.network_shapes(sizes)
    return published.filled(
        shapes | published.under("backbone.", published.hrnet_shapes(4, HRNET_MODULES))
    )


def loaded(read: PublishedPostoMetro) -> PostoMetro:
    model = PostoMetro(read.config, load_coarse_mesh(load_body()))
    model.load_state_dict(read.conversion.state)
    return model.eval()


def open_neighbours_and_upsampling() -> tuple[np.ndarray, torch.Tensor]:
    """From the file itself, face by face."""
    with np.load(ASSET) as stored:
        near = np.eye(431, dtype=bool)
        for a, b, c in stored["coarse_431_faces"]:
            for i, j in ((a, b), (b, c), (c, a)):
                near[i, j] = near[j, i] = True
        return near, torch.tensor(stored["upsample_1723_full"])


def compare(state: State, features: torch.Tensor, model: PostoMetro, images: torch.Tensor) -> None:
    """Our output for a batch, against the equations for each of its images."""
    near, upsampling = open_neighbours_and_upsampling()
    has_pose = "start_embed.weight" in state
    torch.manual_seed(1)
    codes, logits = None, None
    if has_pose:
        count, dim = len(state["token_mlp.weight"]), state["start_embed.weight"].shape[1]
        codes = torch.randn(len(images), count, dim)
        logits = 10 + torch.randn(len(images), count, 1)
    with torch.no_grad():
        ours = model(images, codes, logits)
    for index, one in enumerate(features):
        pose = None if codes is None or logits is None else (codes[index], logits[index])
        theirs = published.network(state, one, pose, near, upsampling)
        for name, expected in theirs.items():
            assert expected.std() > 0.05, name
            torch.testing.assert_close(
                getattr(ours, name)[index], expected, atol=3e-5, rtol=1e-4, msg=name
            )


def test_the_whole_published_network_gives_what_its_equations_say() -> None:
    sizes = published.Sizes()
    backbone = published.resnet_shapes()
    shapes = published.network_shapes(sizes) | published.under("backbone.", backbone)
    state = published.filled(shapes)
    read = read_postometro(state)
    assert read.config.decoder.size == "L" and read.config.sees == "both"
    assert read.config.decoder.pose_twice
    assert set(read.conversion.used) == set(state) and not read.conversion.left
    images = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    own = {name.removeprefix("backbone."): value for name, value in state.items()}
    features = published.resnet(own, images)
    assert features.shape == (1, 2048, 8, 8)
    compare(state, features, loaded(read), images)


def test_hrnet_pose_network() -> None:
    state = hrnet_state()
    read = read_postometro(state)
    assert read.config.backbone == HrNetConfig(width=4, modules=HRNET_MODULES)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    own = {n.removeprefix("backbone."): v for n, v in state.items() if n.startswith("backbone.")}
    features = published.hrnet(own, images, HRNET_MODULES)[-1]
    model = loaded(read)
    assert model.backbone is not None
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images), features, atol=1e-5, rtol=1e-4)
    compare(state, features, model, images)
    # The last exchange makes only what is read; the rest of it, and the heatmaps, are left.
    left = set(read.conversion.left)
    assert {name for name in state if "final_layer" in name} <= left
    assert all(
        name.startswith("backbone.stage4.1.fuse_layers.") or "final_layer" in name for name in left
    )
    assert not any(name.startswith("backbone.stage4.1.fuse_layers.3.") for name in left)


@pytest.mark.parametrize("numbered", [False, True])
def test_fastmetro_is_the_same_without_pose(numbered: bool) -> None:
    """FastMETRO's own backbone is a sequence, whose layers are numbered."""
    sizes = published.Sizes(**{**vars(SMALL), "channels": 8 * 4 * 8})
    backbone = published.filled(published.resnet_shapes(8, SMALL_RESNET))
    state = published.filled(published.network_shapes(sizes, pose=False))
    state |= published.filled(published.regressor_shapes(3))
    for name, tensor in backbone.items():
        root, _, rest = name.partition(".")
        number = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}[root]
        state[f"backbone.{number if numbered else root}.{rest}"] = tensor
    read = read_postometro({"module." + name: tensor for name, tensor in state.items()})
    assert read.config.sees == "image"
    assert all(name.startswith("smpl_parameter_regressor.") for name in read.conversion.left)
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    compare(state, published.resnet(backbone, images, SMALL_RESNET), loaded(read), images)


def test_sizes_are_read_off_the_tensors() -> None:
    read = read_postometro(resnet_state())
    decoder = read.config.decoder
    assert (decoder.size, decoder.width, decoder.hidden) == ("S", 32, 48)
    assert (decoder.narrow_width, decoder.narrow_hidden) == (16, 24)
    assert read.config.pose.inputs() == (34, 12)
    assert read.config.pose.mixer_layers == 4


def test_missing_unexpected_and_misshapen_tensors_fail() -> None:
    state = resnet_state()
    without = {name: value for name, value in state.items() if name != "xyz_regressor.bias"}
    with pytest.raises(InputError, match=r"no tensor for decoder\.read_points\.bias"):
        read_postometro(without)
    with pytest.raises(InputError, match=r"unexpected intermediate2fine_upsample\.weight"):
        read_postometro(state | {"intermediate2fine_upsample.weight": torch.zeros(3, 3)})
    with pytest.raises(InputError, match=r"transformer_1\.decoder\.norm\.weight has shape \(33,\)"):
        read_postometro(state | {"transformer_1.decoder.norm.weight": torch.zeros(33)})
    for strange in ("transformer_1.encoder.layers.0.norm3.weight", "encoder.0.layernorm3.bias"):
        with pytest.raises(InputError, match=f"unexpected {strange}"):
            read_postometro(state | {strange: torch.zeros(32)})
    with pytest.raises(InputError, match="not of PostoMETRO's or FastMETRO's code"):
        read_postometro({"something": torch.zeros(3)})
    with pytest.raises(InputError, match="is no tensor"):
        read_postometro({"state_dict": state | {"epoch": 3}})
    with pytest.raises(InputError, match="classification network"):
        read_postometro(state | {"backbone.incre_modules.0.0.conv1.weight": torch.zeros(1)})


def test_each_tensor_alone_is_missed() -> None:
    state = hrnet_state()
    read = read_postometro(state)
    for name in list(read.conversion.used)[::401]:
        with pytest.raises(InputError):
            read_postometro({other: state[other] for other in state if other != name})


def test_the_tokenizer_inside_is_left() -> None:
    """Its local names equal the modulator's, with other widths."""
    state = resnet_state() | {"pct.keypoint_head.tokenizer.start_embed.weight": torch.zeros(9, 2)}
    left = read_postometro(state).conversion.left
    assert list(left) == ["pct.keypoint_head.tokenizer.start_embed.weight"]


def test_reads_the_arrays_of_a_file(tmp_path: Path) -> None:
    state = resnet_state()
    torch.save(state, tmp_path / "state_dict.bin")
    contents = load_tensors(tmp_path / "state_dict.bin")
    assert isinstance(contents, dict)
    read = read_postometro(contents)
    weight = read.conversion.state["decoder.read_points.weight"]
    assert torch.equal(weight, state["xyz_regressor.weight"])
