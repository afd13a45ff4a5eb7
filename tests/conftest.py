"""What many tests take, made once: the open body, a tiny model, a video, a made-up detector."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_trees import Bodies, write_bodies
from pretrained_folders import write_detector, write_pose
from tracked_clips import DETECTOR, FakeDetector, make_clip, write_weights

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.video import Clip, open_clip


def pytest_configure(config: pytest.Config) -> None:
    """Workers of `pytest -n` share the cores: one thread each."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The open body, float32; nobody may change it."""
    return load_body()


@pytest.fixture(scope="session")
def posed() -> PosedBody:
    """The open body as models are given it; nobody may change it."""
    return PosedBody(load_body())


@pytest.fixture(scope="session")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Bodies:
    """Bodies of SMPL's three genders, of few vertices."""
    return write_bodies(tmp_path_factory.mktemp("bodies"), vertices=120)


@pytest.fixture(scope="session")
def eye_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two networks, RT-DETR's and ViTPose's; nobody may change it."""
    pytest.importorskip("transformers", reason="the optional package transformers is not there")
    folder = tmp_path_factory.mktemp("networks") / "eyes"
    write_detector(folder / "detector")
    write_pose(folder / "pose")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights: all the doors' machinery, none of its accuracy."""
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of six frames; nobody may change it."""
    return make_clip(tmp_path_factory.mktemp("walk") / "walk.mp4")


@pytest.fixture(scope="session")
def clip(walk: Path) -> Clip:
    return open_clip(walk)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeDetector]]:
    """Puts the fake in the place of BlazePose, whose own tests are elsewhere."""
    monkeypatch.setattr(DETECTOR, FakeDetector)
    yield FakeDetector
    FakeDetector.num_people = 1


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report pages lack their curves, which would take most of the time of a small evaluation."""
    monkeypatch.setattr("temporal_hmr.output.report.draw_timeline", lambda plots, salt: "")
