"""Arrays in files: tensors like any others, whose memory can be given back."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import limited_files

from temporal_hmr.on_disk import chunks, copied, let_go, zeros

MEBIBYTE = 2**20


def resident() -> float:
    """MiB of files that are in this process' memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0]) / 1024


def test_nobody_sees_the_file(tmp_path: Path) -> None:
    array = zeros((3, 4), tmp_path)
    array[1] = 7
    assert list(tmp_path.iterdir()) == []
    assert array.untyped_storage().filename is not None
    assert array.tolist() == [[0.0] * 4, [7.0] * 4, [0.0] * 4]


def test_without_a_folder_it_is_memory() -> None:
    assert zeros((3, 4), None).untyped_storage().filename is None


def test_what_holds_nothing_needs_no_file(tmp_path: Path) -> None:
    assert zeros((0, 24, 3), tmp_path).shape == (0, 24, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="the system is told on Linux alone")
def test_memory_is_given_back_and_numbers_stay(tmp_path: Path) -> None:
    array = zeros((16, MEBIBYTE), tmp_path, torch.float32)
    before = resident()
    array += torch.arange(16.0)[:, None]
    assert resident() - before > 60
    let_go(array.numpy()[3:5, ::2])
    assert resident() - before < 8, "of the whole, though a part of a view was named"
    assert torch.equal(array[:, 0], torch.arange(16.0))


@pytest.mark.skipif(sys.platform != "linux", reason="the system is told on Linux alone")
def test_going_through_it_part_by_part_takes_the_memory_of_a_part(tmp_path: Path) -> None:
    array = zeros((16 * 2048, 512), tmp_path)
    let_go(array)
    before, most = resident(), 0.0
    for part in chunks(len(array), array):
        array[part] = 1
        most = max(most, resident() - before)
    assert most < 12, "MiB, of 64"
    assert float(array.sum()) == array.numel()


def test_memory_is_not_let_go_of() -> None:
    ours, theirs = torch.ones(2048), np.ones(2048)
    let_go(ours, theirs, ours.numpy())
    assert ours.all() and theirs.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, ">f4", "<U3", bool])
def test_copies_are_the_same_numbers(tmp_path: Path, dtype: object) -> None:
    array = np.arange(12).astype(dtype).reshape(4, 3)
    for given in (array, array[:, ::2], array[2, 1]):
        copy = copied(np.asarray(given), tmp_path)
        np.testing.assert_array_equal(copy, given)
        assert not np.shares_memory(copy, array)


def test_without_another_mapping_it_is_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("unable to mmap")

    monkeypatch.setattr(torch, "from_file", refuse)
    assert zeros((3, 4), tmp_path).tolist() == [[0.0] * 4] * 3
    assert "unable to mmap" in caplog.text and list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_of_and_memory_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with limited_files(1000), caplog.at_level(logging.WARNING):
        array = zeros((1000, 3), tmp_path)
    assert array.untyped_storage().filename is None and array.shape == (1000, 3)
    assert str(tmp_path) in caplog.text
    assert list(tmp_path.iterdir()) == []
