"""A small result to be corrected, whose model is as small, and the door to it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tracked_clips import tiny_config, write_weights

from temporal_hmr.body.model import BodyModel, body_digest
from temporal_hmr.camera import Camera
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.command_line import run_door
from temporal_hmr.edit import main
from temporal_hmr.editing import recovering
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.folder import write_results
from temporal_hmr.output.npz import Provenance
from temporal_hmr.recover import load_model, recover
from temporal_hmr.skeleton import COCO23

CAMERA = Camera.with_focal(300.0, 160, 120)
FPS, COUNT = 25.0, 12
EACH = ("person_000.npz", "person_001.npz", "person_002.npz")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small model, with random numbers in it."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return write_weights(path, tiny_config().model_copy(update={"window": 8}))


@pytest.fixture(autouse=True)
def embedded(weights: Path, body: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small model in the place of the one that comes with the package."""
    monkeypatch.setattr(recovering, "default_weights", lambda: weights)
    monkeypatch.setattr(recovering, "load_body", lambda path: body if path is None else 1 / 0)


def seen(number: int, frames: range | list[int]) -> Track:
    """Somebody who walks to the right."""
    random = np.random.default_rng(number)
    shape = random.uniform(20, 60, (23, 2)) + np.array(frames)[:, None, None] * (1.0, 0.2)
    points = np.concatenate([shape, np.full((len(frames), 23, 1), 0.9)], -1).astype(np.float32)
    boxes = np.concatenate([points[..., :2].min(1), points[..., :2].max(1)], -1)
    every = np.arange(frames[0], frames[-1] + 1)
    times = np.array(frames) / FPS
    return Track(number, np.array(frames), times, boxes, points, COCO23, every, every / FPS)


@pytest.fixture(scope="module")
def bodies(weights: Path, body: BodyModel) -> Callable[[Track], BodyMotion]:
    model = load_model(weights, torch.device("cpu"))

    def found(track: Track) -> BodyMotion:
        return recover(model, body, track, CAMERA, FPS, fit=None)

    return found


@pytest.fixture(scope="module")
def crowd(bodies) -> list[BodyMotion]:
    """Two who cross, the first of them unseen for two frames, and one who comes later."""
    first = seen(0, [n for n in range(COUNT) if n not in (4, 5)])
    return [bodies(each) for each in (first, seen(1, range(COUNT)), seen(2, range(14, 20)))]


def provenance(weights: Path, body: BodyModel, **changed) -> Provenance:
    settings: dict[str, object] = {
        "start": None,
        "end": None,
        "stride": 1,
        "refine": False,
        "foot_lock": False,
    }
    made = Provenance(
        "walk.mp4", "ab" * 32, "open", body.licence, weights.name, file_hash(weights), "0.0"
    )
    made = replace(made, body_sha256=body_digest(body), settings=settings, detector="somebody")
    return replace(made, **changed)


@pytest.fixture
def made(weights: Path, body: BodyModel) -> Provenance:
    return provenance(weights, body)


@pytest.fixture
def result(tmp_path: Path, crowd: list[BodyMotion], made: Provenance) -> Path:
    clip = {"fps": FPS, "image_size": [160, 120], "num_frames": 20, "cuts": []}
    write_results(tmp_path / "walk", crowd, clip, made)
    return tmp_path / "walk"


def edit(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        run_door(lambda: main([str(word) for word in words]))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def told(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def assert_same_body(first: BodyMotion, second: BodyMotion) -> None:
    for name in ("frames", "times", "observed", "boxes", "keypoints"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-9)
    for name in ("joints", "confidence", "joint_confidence"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-5)
    assert torch.allclose(first.smpl.rotations(), second.smpl.rotations(), atol=1e-5)
    assert torch.allclose(first.smpl.betas, second.smpl.betas, atol=1e-5)
