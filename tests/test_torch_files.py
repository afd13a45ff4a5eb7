"""Files of torch, whole, broken and malicious."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import Malice
from interchange_files import count_refused

from temporal_hmr.errors import InputError
from temporal_hmr.pickles import Unread
from temporal_hmr.torch_files import load_checkpoint, load_tensors


def test_reads_what_torch_wrote(tmp_path: Path) -> None:
    whole = torch.randn(2, 5, 6)
    tensors = {
        "part": whole[1, 1:4],
        "turned": whole[0].T,
        "spread": torch.randn(10)[None].expand(5, 10),
        "single": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(3).half(),
        "double": torch.ones(3).double(),
        "whole": torch.arange(-3, 3),
        "flags": torch.tensor([True, False]),
    }
    path = tmp_path / "tensors.pt"
    torch.save({"tensors": tensors, "none": None, "text": ["a", 1]}, path)
    read = load_tensors(path)
    assert isinstance(read, dict)
    assert (read["none"], read["text"]) == (None, ["a", 1])
    for key, tensor in tensors.items():
        assert np.array_equal(read["tensors"][key], tensor.numpy()), key
        assert read["tensors"][key].dtype == tensor.numpy().dtype


def test_what_numpy_lacks_is_unread(tmp_path: Path) -> None:
    path = tmp_path / "tensors.pt"
    torch.save([torch.ones(2).bfloat16(), torch.Size([1]), torch.float32], path)
    read = load_tensors(path)
    assert isinstance(read, list)
    assert all(isinstance(value, Unread) for value in read)


def test_code_is_refused(tmp_path: Path) -> None:
    path, canary = tmp_path / "tensors.pt", tmp_path / "canary"
    torch.save({"a": torch.ones(2), "b": Malice(os.system, f"touch {canary}")}, path)
    with pytest.raises(InputError, match="refusing to run it"):
        load_tensors(path)
    assert not canary.exists()


def write_changed(
    path: Path, old: bytes, new: bytes, compression: int = zipfile.ZIP_STORED
) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(4, 3)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", compression) as target:
        for name in source.namelist():
            raw = source.read(name)
            assert old in raw or not name.endswith("data.pkl")
            target.writestr(name, raw.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x04K\x03\x86", b"J\x00\x00\x00\x08K\x03\x86"),
        (b"QK\x00K\x04", b"QK\x01K\x04"),
        (b"QK\x00K\x04", b"QJ\xff\xff\xff\xffK\x04"),
        (b"K\x03K\x01\x86", b"J\xfd\xff\xff\xffK\x01\x86"),
    ],
)
def test_tensors_beyond_their_memory_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tensors.pt"
    write_changed(path, old, new)
    with pytest.raises(InputError, match="is not all there"):
        load_tensors(path)


def test_repetition_and_compression_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tensors.pt"
    torch.save(torch.zeros(1).expand(2**40), path)
    with pytest.raises(InputError, match="repeats what little there is"):
        load_tensors(path)
    write_changed(path, b"", b"", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is not stored as torch does"):
        load_tensors(path)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="is not an archive that torch saved"):
        load_tensors(tmp_path / "arrays.npz")


def test_broken_files_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "tensors.pt"
    torch.save({"a": torch.ones(3, 4), "b": [torch.arange(3)]}, path)
    assert count_refused(load_tensors, path, path.read_bytes(), 150) > 150


class Settings(dict):
    """As yacs and others keep settings: a dict of a type of its own, with attributes."""

    def __init__(self, **values: object):
        super().__init__(values)
        self.frozen = True


class Choices(list):
    """A list of a type of its own."""


class TestTrainingCheckpoints:
    def test_settings_of_other_types_do_not_stand_in_the_way(self, tmp_path: Path) -> None:
        layer = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(layer.parameters())
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        path = tmp_path / "last.ckpt"
        contents = {
            "state_dict": layer.state_dict(),
            "parameter": layer.weight,
            "optimizer": optimizer.state_dict(),
            "hyper_parameters": Settings(width=3, inner=Settings(depth=2), sizes=Choices([1, 2])),
        }
        torch.save(contents, path)
        with pytest.raises(InputError, match="Settings"):
            load_tensors(path)
        read = load_checkpoint(path)
        assert isinstance(read, dict)
        assert isinstance(read["hyper_parameters"], Unread)
        for key, tensor in layer.state_dict().items():
            assert np.array_equal(read["state_dict"][key], tensor.numpy())
        assert np.array_equal(read["parameter"], layer.weight.detach().numpy())

    def test_code_in_it_is_not_run(self, tmp_path: Path) -> None:
        canary = tmp_path / "canary"
        path = tmp_path / "last.ckpt"
        harm = Malice(os.system, f"touch {canary}")
        torch.save({"net": {"weight": torch.ones(2)}, "hparams": harm}, path)
        read = load_checkpoint(path)
        assert isinstance(read, dict)
        assert isinstance(read["hparams"], Unread)
        assert read["net"]["weight"].tolist() == [1, 1]
        assert not canary.exists()
