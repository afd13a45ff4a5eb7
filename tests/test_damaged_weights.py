"""Weights that changed on the way are refused, not used."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tracked_clips import write_weights

from temporal_hmr.errors import InputError
from temporal_hmr.recover import default_weights, load_model


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    next(iter(tensors.values())).flatten()[0] = torch.nan
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged: .* holds NaN"):
        load_model(path, torch.device("cpu"))


def test_weights_whose_numbers_changed(tmp_path: Path) -> None:
    """Flipped bits leave finite numbers, and bodies that are wrong without a word."""
    path = write_weights(tmp_path / "a.safetensors")
    load_model(path, torch.device("cpu"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x04
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged: what it holds is not"):
        load_model(path, torch.device("cpu"))


def test_settings_of_weights_that_changed(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "a.safetensors")
    content = path.read_bytes()
    other = content.replace(b'visible_above\\":0.0', b'visible_above\\":0.9')
    assert other != content
    path.write_bytes(other)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged: what it holds is not"):
        load_model(path, torch.device("cpu"))


def test_weights_of_old_say_nothing_of_their_numbers(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    del metadata["tensors_sha256"]
    save_file(load_file(path), path, metadata)
    load_model(path, torch.device("cpu"))


def test_the_embedded_weights_are_guarded() -> None:
    with safe_open(default_weights(), "pt") as file:
        assert len(file.metadata()["tensors_sha256"]) == 64
