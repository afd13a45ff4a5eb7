"""The doctor: Python, memory, disk, GPU and the parts of the chain."""

import base64
import hashlib
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from temporal_hmr.diagnosis import machine, probes

ROOT = Path(__file__).parents[1]


class TestMachine:
    @pytest.mark.parametrize(
        ("version", "level"),
        [((3, 9), "error"), ((3, 10), "ok"), ((3, 11), "ok"), ((3, 12), "warning"),
         ((3, 13), "error")],
    )  # fmt: skip
    def test_pythons(
        self, version: tuple[int, int], level: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
        found = machine.python_finding()
        assert found.level == level
        assert level == "ok" or "Python 3.10 or 3.11" in found.message

    def test_the_pythons_are_those_of_pyproject(self) -> None:
        wanted = 'requires-python = ">={}.{},<{}.{}"'.format(
            *machine.OLDEST_PYTHON, *machine.FIRST_TOO_NEW
        )
        assert wanted in (ROOT / "pyproject.toml").read_text()

    @pytest.mark.parametrize(("free", "level"), [(0.5, "error"), (1.5, "warning"), (3.0, "ok")])
    def test_memory(self, free: float, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "available_memory", lambda: int(free * machine.GIB))
        assert machine.memory_finding().level == level

    def test_a_container_has_what_its_limit_leaves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {
            "/proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB",
            "/sys/fs/cgroup/memory.max": str(4 * machine.GIB),
            "/sys/fs/cgroup/memory.current": str(1 * machine.GIB),
        }
        monkeypatch.setattr(machine, "_read", lambda path: told.get(path, ""))
        assert machine.available_memory() == 3 * machine.GIB
        told["/sys/fs/cgroup/memory.max"] = "max"
        assert machine.available_memory() == 60_000_000 * 1024

    @pytest.mark.parametrize(("free", "level"), [(0.01, "error"), (0.5, "warning"), (3.0, "ok")])
    def test_disk(
        self, free: float, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = SimpleNamespace(free=int(free * machine.GIB))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        assert machine.output_finding(tmp_path / "outputs" / "more").level == level
        assert not (tmp_path / "outputs").exists()

    def test_an_output_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "outputs").write_text("")
        found = machine.output_finding(tmp_path / "outputs")
        assert found.level == "error" and "choose another place" in found.message

    @pytest.mark.parametrize("state", ["whole", "damaged", "missing"])
    def test_assets_are_compared_with_the_wheels_record(
        self, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = b"weights"
        hash_ = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        asset = tmp_path / "temporal_hmr" / "assets" / "default.safetensors"
        asset.parent.mkdir(parents=True)
        record = tmp_path / "temporal_hmr-0.1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text("Name: temporal-hmr\nVersion: 0.1.0\n")
        (record / "RECORD").write_text(
            f"temporal_hmr/assets/default.safetensors,sha256={hash_},7\n"
            "temporal_hmr/__init__.py,sha256=abc,3\n"
        )
        if state != "missing":
            asset.write_bytes(content if state == "whole" else b"Weights")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(machine, "PACKAGE", tmp_path / "temporal_hmr")
        found = machine.assets_finding()
        assert found is not None
        assert found.level == ("ok" if state == "whole" else "error")
        assert state == "whole" or "default.safetensors of the package" in found.message


class FakeTorch(SimpleNamespace):
    """A torch of some build on some machine."""

    @staticmethod
    def on(built_for: str | None, available: bool = False, works: bool = True, free: float = 9):
        def eye(size: int, device: str):
            if not works:
                raise RuntimeError("no kernel image is available for execution on the device")
            import numpy as np

            return np.eye(size)

        cuda = SimpleNamespace(
            is_available=lambda: available,
            get_device_name=lambda index: "NVIDIA Toy",
            mem_get_info=lambda index: (int(free * 2**30), 10 * 2**30),
        )
        version = SimpleNamespace(cuda=built_for)
        return FakeTorch(cuda=cuda, version=version, __version__="2.13.0", eye=eye)


class TestGpu:
    @pytest.mark.parametrize(
        ("torch", "driver", "device", "level", "words"),
        [
            (FakeTorch.on(None), None, "auto", "ok", "all runs on the CPU"),
            (
                FakeTorch.on(None),
                "Toy (driver 550)",
                "auto",
                "warning",
                "build without CUDA beside",
            ),
            (FakeTorch.on(None), None, "cuda", "error", "no NVIDIA driver is here"),
            (FakeTorch.on("12.6"), None, "auto", "ok", "none here"),
            (FakeTorch.on("12.6"), "Toy (driver 450)", "auto", "warning", "driver for CUDA 12.6"),
            (FakeTorch.on("12.6"), None, "cuda:1", "error", "no NVIDIA driver"),
            (FakeTorch.on("12.6", True), "Toy", "cuda", "ok", "NVIDIA Toy, 9.0 of 10.0 GB free"),
            (FakeTorch.on("12.6", True, free=0.5), "Toy", "auto", "warning", "--device cpu"),
            (FakeTorch.on("12.6", True, works=False), "Toy", "auto", "warning", "no working progr"),
            (FakeTorch.on("12.6", True, works=False), "Toy", "cuda", "error", "no working progr"),
        ],
    )
    def test_builds_and_drivers(
        self,
        torch: FakeTorch,
        driver: str | None,
        device: str,
        level: str,
        words: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setattr(probes, "nvidia_driver", lambda: driver)
        (found,) = probes.try_gpu(device)
        assert found["level"] == level
        assert words in found["message"]

    def test_the_drivers_own_tool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 550.54'\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        assert probes.nvidia_driver() == "NVIDIA H200 (driver 550.54)"
        tool.write_text("#!/bin/sh\necho 'has failed'; exit 9\n")
        assert probes.nvidia_driver() is None


class TestParts:
    @pytest.mark.parametrize(
        "part",
        [p for p in probes.PARTS if p != "detector"]
        + [pytest.param("detector", marks=pytest.mark.slow)],
    )
    def test_this_installation_is_well(self, part: str) -> None:
        (found,) = probes.try_part(part)
        assert (found["area"], found["level"]) == (part, "ok"), found["message"]

    def test_an_opencv_without_the_rasterizer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import cv2

        monkeypatch.delattr(cv2, "triangleRasterize")
        (found,) = probes.try_part("opencv")
        assert found["level"] == "error" and "opencv-contrib-python>=5" in found["message"]

    def test_a_machine_that_has_no_decord(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "decord", None)
        (found,) = probes.try_part("decord")
        assert found["level"] == "ok" and "PyAV reads the sample clip" in found["message"]

    def test_a_decoder_that_stops_early(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("temporal_hmr.decoding.decord_images", lambda *_: iter([]))
        (found,) = probes.try_part("decord")
        assert found["level"] == "error" and "0 of 126 frames" in found["message"]
