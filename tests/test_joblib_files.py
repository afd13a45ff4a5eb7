"""Files of joblib, whole, broken and malicious."""

import bz2
import gzip
import lzma
import os
import pickle
import struct
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from body_files import Malice
from interchange_files import count_refused

from temporal_hmr.errors import InputError
from temporal_hmr.joblib_files import load_joblib
from temporal_hmr.pickles import Unread

joblib = pytest.importorskip("joblib")

COMPRESSIONS = [0, 3, *((name, 3) for name in ("zlib", "gzip", "bz2", "lzma", "xz"))]


def contents() -> dict[Any, Any]:
    people: dict[Any, Any] = defaultdict(dict)
    people[np.int64(4)] = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "neither": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "foreign": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 3)),
        "single": np.array(2.5),
        "texts": np.array(["ab", "c"]),
        "flags": np.array([True, False]),
        "large": np.random.default_rng(0).normal(size=(500, 72)).astype(np.float32),
    }
    people["list"] = [np.float32(1.5), None, ("a", b"b", 1, {2})]
    people["again"] = people["list"]
    return people


def check_same(read: Any) -> None:
    expected = contents()
    assert type(read) is dict
    assert list(read) == list(expected)
    for key, value in expected[4].items():
        assert np.array_equal(read[4][key], value), key
        assert read[4][key].dtype == value.dtype, key
    assert read["list"] == expected["list"]
    assert read["again"] is read["list"]


class TestJoblib:
    @pytest.mark.parametrize("compress", COMPRESSIONS, ids=str)
    def test_reads_what_joblib_wrote(self, compress: Any, tmp_path: Path) -> None:
        path = tmp_path / "people.pkl"
        joblib.dump(contents(), path, compress=compress)
        check_same(load_joblib(path))

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_reads_every_protocol(self, protocol: int, tmp_path: Path) -> None:
        path = tmp_path / "people.pkl"
        joblib.dump(contents(), path, protocol=protocol)
        check_same(load_joblib(path))
        path.write_bytes(pickle.dumps(contents(), protocol))
        check_same(load_joblib(path))

    def test_files_of_joblib_before_arrays_were_aligned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrapper = joblib.numpy_pickle.NumpyArrayWrapper
        made = wrapper.__init__

        def without_alignment(self: Any, *arguments: Any, **settings: Any) -> None:
            made(self, *arguments, **settings)
            del self.numpy_array_alignment_bytes

        monkeypatch.setattr(wrapper, "__init__", without_alignment)
        joblib.dump(contents(), tmp_path / "old.pkl")
        assert b"numpy_array_alignment_bytes" not in (tmp_path / "old.pkl").read_bytes()
        check_same(load_joblib(tmp_path / "old.pkl"))

    def test_arrays_of_objects_are_passed_over(self, tmp_path: Path) -> None:
        ragged = np.array([np.zeros(2), "a", None], object)
        joblib.dump([ragged, np.arange(3)], tmp_path / "a.pkl")
        read = load_joblib(tmp_path / "a.pkl")
        assert isinstance(read, list)
        assert isinstance(read[0], Unread)
        assert np.array_equal(read[1], np.arange(3))

    def test_unknown_compressions_and_ages_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pkl"
        for start, words in ((b"\x04\x22\x4d\x18", "lz4"), (b"ZF0x12", "older than 0.10")):
            path.write_bytes(start + bytes(20))
            with pytest.raises(InputError, match=words):
                load_joblib(path)
        with pytest.raises(InputError, match="is not a file"):
            load_joblib(tmp_path / "absent.pkl")


class TestMalice:
    @pytest.mark.parametrize("compress", [0, 3])
    def test_code_beside_and_inside_arrays_is_refused(self, compress: int, tmp_path: Path) -> None:
        path, canary = tmp_path / "people.pkl", tmp_path / "canary"
        payload = Malice(os.system, f"touch {canary}")
        hidden = (
            [np.arange(3), payload],
            [payload, np.arange(3)],
            np.array([payload, 1], object),
            {"pose": np.arange(3), "betas": np.array([[payload]], object)},
            {1: {"pose": Malice(np.load, str(canary), "r", True)}},
            {1: {"pose": Malice(joblib.load, str(canary))}},
            {1: {"pose": Malice(eval, f"open({str(canary)!r}, 'w')")}},
        )
        for value in hidden:
            joblib.dump(value, path, compress=compress)
            with pytest.raises(InputError, match="refusing to run it") as caught:
                load_joblib(path)
            assert str(path) in str(caught.value)
        assert not canary.exists()

    def test_other_names_of_joblib_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pkl"
        for name in ("NDArrayWrapper", "load", "NumpyUnpickler", "NumpyArrayWrapper.read"):
            path.write_bytes(f"cjoblib.numpy_pickle\n{name}\n.".encode())
            with pytest.raises(InputError, match="asks to import joblib"):
                load_joblib(path)

    def test_a_wrapper_without_state_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pkl"
        path.write_bytes(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)R.")
        assert isinstance(load_joblib(path), Unread)
        path.write_bytes(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)RNb.")
        with pytest.raises(InputError, match="is damaged"):
            load_joblib(path)

    @pytest.mark.parametrize("compress", [bz2.compress, gzip.compress, lzma.compress])
    def test_compression_bombs_are_refused(
        self, compress: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "bomb.pkl"
        path.write_bytes(compress(bytes(80_000_000)))
        tracemalloc.start()
        with pytest.raises(InputError, match="memory bomb"):
            load_joblib(path)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * 2**26
        tracemalloc.stop()

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
            b"\x80\x05\x8e" + struct.pack("<Q", 2**40) + b".",
            b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b".",
            b"c__builtin__\nbytearray\n(I1099511627776\ntR.",
            b"c__builtin__\nbytes\n(I1099511627776\ntR.",
        ],
    )
    def test_pickles_that_claim_more_than_they_have(self, raw: bytes, tmp_path: Path) -> None:
        path = tmp_path / "bomb.pkl"
        path.write_bytes(raw)
        tracemalloc.start()
        with pytest.raises(InputError, match="is damaged"):
            load_joblib(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()

    @pytest.mark.parametrize("shape", [(10**12, 72), (2**62, 4), (-1,), (-1, -72)])
    def test_arrays_larger_than_the_file(
        self, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrapper = joblib.numpy_pickle.NumpyArrayWrapper
        made = wrapper.__init__

        def lying(self: Any, *arguments: Any, **settings: Any) -> None:
            made(self, *arguments, **settings)
            self.shape = shape

        monkeypatch.setattr(wrapper, "__init__", lying)
        joblib.dump(np.arange(4.0), tmp_path / "a.pkl")
        with pytest.raises(InputError, match="is not all there"):
            load_joblib(tmp_path / "a.pkl")


class TestDamage:
    @pytest.mark.parametrize("compress", COMPRESSIONS, ids=str)
    def test_broken_joblib_files_are_refused_in_words(self, compress: Any, tmp_path: Path) -> None:
        path = tmp_path / "people.pkl"
        small = contents()
        small[4].pop("large")
        joblib.dump(small, path, compress=compress)
        assert count_refused(load_joblib, path, path.read_bytes(), 150) > 150
