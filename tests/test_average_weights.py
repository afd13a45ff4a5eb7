"""Weights between those of two models."""

import sys
from pathlib import Path

import pytest
import torch
from tiny_model import SMALL

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.recover import CHECKPOINT_KIND, load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from average_weights import main

CPU = torch.device("cpu")


def written(path: Path, seed: int, **settings: object) -> Path:
    torch.manual_seed(seed)
    config = SMALL.model_copy(update=settings)
    save_checkpoint(Hmr(config), config, CHECKPOINT_KIND, path, half=False)
    return path


def test_each_weight_lies_between_by_the_share(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    place = tmp_path / "mean.safetensors"
    main([*map(str, paths), "--share", "0.25", "-o", str(place)])
    one, two, mean = (dict(load_model(path, CPU).named_parameters()) for path in (*paths, place))
    assert any((one[name] - two[name]).abs().max() > 0.01 for name in one)
    for name, values in mean.items():
        between = 0.25 * one[name] + 0.75 * two[name]
        torch.testing.assert_close(values, between, rtol=1e-3, atol=1e-4)


def test_other_settings_and_shares_are_refused(tmp_path: Path) -> None:
    usual = written(tmp_path / "usual.safetensors", 0)
    longer = written(tmp_path / "longer.safetensors", 0, window=SMALL.window + 1)
    place = tmp_path / "mean.safetensors"
    with pytest.raises(InputError, match="are models of different settings"):
        main([str(usual), str(longer), "-o", str(place)])
    with pytest.raises(InputError, match="--share lies between 0 and 1, unlike 2"):
        main([str(usual), str(usual), "--share", "2", "-o", str(place)])
    assert not place.exists()
