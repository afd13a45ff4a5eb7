"""`python -m temporal_hmr.convert` on files laid out as the systems publish them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import test_conversion_int as published_int
import test_conversion_postometro as published_postometro
import test_conversion_tokenhmr as published_tokenhmr
import torch
from published_pct import SMALL, stage_2
from safetensors.torch import load_file
from torch import Tensor, nn

from temporal_hmr import convert
from temporal_hmr.body.coarse_mesh import load_coarse_mesh
from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import load_weights, read_config
from temporal_hmr.command_line import run_door
from temporal_hmr.configuration import Config
from temporal_hmr.conversion.int_system import read_int
from temporal_hmr.conversion.pct import build_pct, read_pct
from temporal_hmr.conversion.postometro import read_postometro
from temporal_hmr.conversion.tokenhmr import read_tokenizer
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.postometro import PostoMetro, PostoMetroConfig
from temporal_hmr.tokenizers.keypoint_classifier import ImagePoseTokensConfig
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig

State = dict[str, Tensor]


class Settings(dict):
    """As the trainers keep their settings: a type that only their own code knows."""


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: convert.main([str(word) for word in words]))
    assert isinstance(ending.value.code, int)
    return ending.value.code


def int_file() -> tuple[dict[str, object], State]:
    state = published_int.published_state(published_int.SMALL)
    contents = {
        "epoch": 50,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "performance": 42.0,
    }
    return contents, read_int(contents).conversion.state


def pct_file() -> tuple[dict[str, object], State]:
    contents = {"meta": {"config": Settings(name="pct")}, "state_dict": stage_2(SMALL)}
    return contents, read_pct(contents)[1].state


def postometro_file() -> tuple[dict[str, object], State]:
    contents: dict[str, object] = dict(published_postometro.resnet_state())
    return contents, read_postometro(contents).conversion.state


def tokenizer_file() -> tuple[dict[str, object], State]:
    state = published_tokenhmr.filled(published_tokenhmr.tokenizer_shapes())
    contents = {"net": state, "hparams": Settings(ARCH=Settings(NB_CODE=[2048]))}
    return contents, read_tokenizer(contents)[0].state


def with_mesh(config: Config) -> nn.Module:
    assert isinstance(config, PostoMetroConfig)
    return PostoMetro(config, load_coarse_mesh(load_body()))


@pytest.mark.parametrize(
    ("system", "file", "kind", "settings", "build"),
    [
        ("int", int_file, "hmr", HmrConfig, Hmr),
        ("pct", pct_file, "image-pose-tokens", ImagePoseTokensConfig, build_pct),
        ("postometro", postometro_file, "postometro", PostoMetroConfig, with_mesh),
        (
            "tokenhmr-tokenizer",
            tokenizer_file,
            "rotation-tokenizer",
            RotationTokenizerConfig,
            RotationTokenizer,
        ),
    ],
)
def test_published_files_become_weights_that_load(
    system: str,
    file: Callable[[], tuple[dict[str, object], State]],
    kind: str,
    settings: type[Config],
    build: Callable[[Config], nn.Module],
    tmp_path: Path,
    capsys,
) -> None:
    contents, expected = file()
    source = tmp_path / "published.pth"
    torch.save(contents, source)
    assert leave(source, "--from", system) == 0
    shown = capsys.readouterr().out
    assert "tensors used" in shown and "none missing" in shown
    path = tmp_path / "published.safetensors"
    config = read_config(path, kind, settings)
    load_weights(build(config), path)
    stored = load_file(path)
    assert stored.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(stored[name], tensor), name
    report = (tmp_path / "published.report.txt").read_text().splitlines()
    assert report[-1].endswith("none missing")
    assert all(line.startswith(("used  ", "left  ")) for line in report[:-1])


def test_the_two_files_of_tokenhmr_become_one(tmp_path: Path, capsys) -> None:
    contents, poses = map(published_tokenhmr.filled, published_tokenhmr.small_shapes())
    source, tokenizer = tmp_path / "model_weights.ckpt", tmp_path / "tokenizer.pth"
    torch.save({"state_dict": contents, "epoch": 7}, source)
    torch.save({"net": poses}, tokenizer)
    assert leave(source, "--from", "tokenhmr", "--tokenizer", tokenizer) == 0
    assert "none missing" in capsys.readouterr().out
    path = tmp_path / "model_weights.safetensors"
    model = Hmr(read_config(path, "hmr", HmrConfig))
    load_weights(model, path)
    assert torch.equal(model.head.get_parameter("camera.bias"), contents["smpl_head.deccam.bias"])
    codes = model.head.get_buffer("poses.tokenizer.codebook.codes")
    assert torch.equal(codes, poses["quantizer.codebook"])


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys) -> None:
    contents, _ = int_file()
    state = contents["state_dict"]
    assert isinstance(state, dict)
    del state["module.joint3d_head.bias"]
    state["module.surprise"] = torch.zeros(2)
    source = tmp_path / "published.pth"
    torch.save(contents, source)
    for words, said in (
        ((source, "--from", "int"), ("surprise", "joint")),
        ((source, "--from", "pct"), ("as a checkpoint of pct",)),
        ((source, "--from", "tokenhmr"), ("--tokenizer",)),
        ((tmp_path / "nowhere.pth", "--from", "int"), ("nowhere.pth",)),
        ((source, "--from", "itn"), ("itn",)),
    ):
        assert leave(*words) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert all(word in err for word in said), err
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert leave(tmp_path / "text.pth", "--from", "int") == 2
    assert not list(tmp_path.glob("*.safetensors"))
