"""Result files as other systems write them, whole and broken, for the tests of what reads them."""

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix

Contents = dict[Any, Any]


def dump(contents: object, path: Path, **settings: Any) -> Path:
    """With joblib, as the systems do, or as a plain pickle where it is not installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import joblib

        joblib.dump(contents, path, **settings)
    except ImportError:
        path.write_bytes(pickle.dumps(contents))
    return path


def motion(count: int, seed: int = 0) -> dict[str, ndarray]:
    random = np.random.default_rng(seed)
    return {
        "pose": (random.normal(size=(count, 72)) * 0.5).astype(np.float32),
        "betas": random.normal(size=(count, 10)).astype(np.float32),
        "trans": random.normal((0, 0, 4), size=(count, 3)).astype(np.float32),
    }


def rotations(poses: ndarray) -> ndarray:
    return axis_angle_to_matrix(torch.from_numpy(poses).double().reshape(-1, 24, 3)).numpy()


def wham_contents(frames: dict[int, ndarray]) -> Contents:
    """By person, whose number is one of numpy's, in a dict that makes dicts."""
    people: Contents = defaultdict(dict)
    for person, numbers in frames.items():
        local, world = motion(len(numbers), person), motion(len(numbers), person + 50)
        fields = people[np.int64(person)]
        fields["pose"], fields["trans"] = local["pose"], local["trans"]
        fields["pose_world"], fields["trans_world"] = world["pose"], world["trans"]
        fields["betas"] = local["betas"]
        fields["verts"] = np.zeros((len(numbers), 20, 3), np.float32)
        fields["frame_ids"] = numbers
    return people


def vibe_contents(frames: dict[int, ndarray]) -> Contents:
    people: Contents = {}
    for person, numbers in frames.items():
        local, count = motion(len(numbers), person), len(numbers)
        people[person] = {
            "pred_cam": np.ones((count, 3), np.float32),
            "orig_cam": np.ones((count, 4), np.float32),
            "verts": np.zeros((count, 20, 3), np.float32),
            "pose": local["pose"],
            "betas": local["betas"],
            "joints3d": np.zeros((count, 49, 3), np.float32),
            "joints2d": None,
            "bboxes": np.tile([100.0, 200.0, 80.0, 120.0], (count, 1)),
            "frame_ids": numbers,
        }
    return people


def gvhmr_contents(count: int, seed: int = 0) -> Contents:
    """Tensors cut from batches of one, as its demo saves them."""

    def smpl(seed: int) -> dict[str, torch.Tensor]:
        local = {key: torch.from_numpy(value)[None] for key, value in motion(count, seed).items()}
        batch = {
            "body_pose": local["pose"][..., 3:66].clone(),
            "betas": local["betas"],
            "global_orient": local["pose"][..., :3].clone(),
            "transl": local["trans"],
        }
        return {key: value[0] for key, value in batch.items()}

    matrix = torch.tensor([[1000.0, 0, 300], [0, 1000, 400], [0, 0, 1]])
    return {
        "smpl_params_global": smpl(seed + 50),
        "smpl_params_incam": smpl(seed),
        "K_fullimg": matrix.repeat(count, 1, 1),
        "net_outputs": {"model_output": {"pred_x": torch.zeros(1, count, 151)}, "other": None},
    }


def write_gvhmr(path: Path, count: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(gvhmr_contents(count, seed), path)
    return path


def phalp_contents(count: int, people: dict[int, dict[int, int]]) -> Contents:
    """`people` says for every person and frame for how long they were not seen."""
    frames: Contents = {}
    for frame in range(count):
        lists: dict[str, Any] = {"time": frame, "shot": 0, "frame_path": f"img/{frame:06d}.jpg"}
        keys = ("tracked_ids", "tracked_bbox", "tid", "bbox", "tracked_time", "smpl", "camera")
        lists.update({key: [] for key in (*keys, "size", "conf", "mask", "class_name")})
        for person, unseen in people.items():
            if frame in unseen:
                _add_sighting(lists, person, frame - unseen[frame], unseen[frame])
        frames[f"img/{frame + 1:06d}.jpg"] = lists
    return frames


def _add_sighting(lists: dict[str, Any], person: int, seen: int, unseen: int) -> None:
    local = motion(1, 1000 * person + seen)
    matrices = rotations(local["pose"])[0].astype(np.float32)
    box = np.array([10.0 * person, 20.0, 30.0, 60.0 + seen])
    lists["tid"].append(person)
    lists["bbox"].append(box)
    lists["tracked_time"].append(unseen)
    lists["smpl"].append(
        {
            "global_orient": matrices[:1],
            "body_pose": matrices[1:],
            "betas": local["betas"][0],
        }
    )
    lists["camera"].append(local["trans"][0])
    lists["size"].append([480, 640])
    lists["conf"].append(np.float32(0.9))
    lists["mask"].append([{"size": [480, 640], "counts": "abc"}])
    lists["class_name"].append(np.int64(0))
    if not unseen:
        lists["tracked_ids"].append(person)
        lists["tracked_bbox"].append(box)


def mangled(whole: bytes, count: int) -> Iterator[bytes]:
    """Cut short in many places, and with bytes changed."""
    random = np.random.default_rng(3)
    for length in random.integers(0, len(whole) - 1, count):
        yield whole[:length]
    for _ in range(count):
        raw = bytearray(whole)
        for position in random.integers(0, len(raw), random.integers(1, 4)):
            raw[position] = random.integers(0, 256)
        yield bytes(raw)


def read_or_refuse(read: Callable[[Path], object], path: Path) -> object:
    """The contents, or the refusal; any other exception is a fault."""
    try:
        return read(path)
    except InputError as error:
        return error


def count_refused(read: Callable[[Path], object], path: Path, whole: bytes, count: int) -> int:
    refused = 0
    for raw in mangled(whole, count):
        path.write_bytes(raw)
        outcome = read_or_refuse(read, path)
        if isinstance(outcome, InputError):
            refused += 1
            assert str(path) in str(outcome)
            assert "\n" not in str(outcome)
    return refused
