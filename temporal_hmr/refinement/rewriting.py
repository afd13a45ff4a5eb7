"""Result files with other motions in them, everything else as it was.

What a file repeats of the motion in another form (vertices, regressed joints, what a network put
out) would contradict it, and is left out with a warning; vertices of SMPL's mesh are made anew.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import SMPL_VERTICES
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.joblib_files import load_joblib
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.pickled import write_pickle
from temporal_hmr.pickles import Unread
from temporal_hmr.refinement.amass_file import BODY_NUMBERS
from temporal_hmr.torch_files import load_tensors

_REPEATING = (
    *("verts", "vertices", "joints", "joints2d", "joints3d", "2d_joints", "3d_joints"),
    *("net_outputs", "smplx", "pose_6d"),
)
"""Keys under which files have the motion once more."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NewMotion:
    """What is to stand in a file in the place of one person's motion."""

    motion: PredictedMotion
    row: Int[ndarray, "T"]
    """For each frame the row of the file that is it, or is nearest."""
    body: BodyModel

    def numbers(self) -> dict[str, ndarray]:
        """By the names of WHAM and VIBE."""
        smpl, world = self.motion.smpl, self.motion.world
        found = {
            "pose": smpl.poses().numpy(),
            "trans": smpl.transl.numpy(),
            "betas": smpl.betas.numpy(),
            "frame_ids": self.motion.frames,
        }
        if self.motion.boxes is not None:
            center = (self.motion.boxes[:, :2] + self.motion.boxes[:, 2:]) / 2
            size = self.motion.boxes[:, 2:] - self.motion.boxes[:, :2]
            found["bboxes"] = np.concatenate([center, size], 1)
            found["bbox_xyxy"] = self.motion.boxes
        if world is not None:
            found |= {"pose_world": world.poses().numpy(), "trans_world": world.transl.numpy()}
        return found


def rewrite_people(path: Path, new: list[NewMotion], to: Path) -> None:
    """A file of WHAM or VIBE: by person, arrays by name. Who has no frames stays as they are."""
    contents = load_joblib(path)
    assert isinstance(contents, Mapping), "it was read before"
    known = {each.motion.name: each for each in new}
    people = dict(contents)
    for person, values in contents.items():
        place = f"{path.name} person {person}"
        if place not in known:
            continue
        each = known[place]
        numbers = each.numbers()
        placed = each.motion.smpl if "trans" in values else _unplaced(each.motion.smpl)
        if "verts" in values and len(each.body.v_template) == SMPL_VERTICES:
            numbers["verts"] = each.body.vertices(placed).numpy()
        people[person] = _replaced(values, numbers, each.row, place)
    write_pickle(people, to)


def rewrite_gvhmr(path: Path, new: list[NewMotion], to: Path) -> None:
    """A file of GVHMR, whose bodies have no hands."""
    contents = load_tensors(path)
    assert isinstance(contents, Mapping), "it was read before"
    (each,) = new
    places = {"smpl_params_incam": each.motion.smpl, "smpl_params_global": each.motion.world}
    given = len(contents["smpl_params_incam"]["body_pose"])
    written: dict[str, object] = {}
    for key, values in _without_repeats(contents, path.name).items():
        smpl = places.get(key)
        if key == "frame_ids":
            written[key] = torch.from_numpy(np.asarray(each.motion.frames, np.int64))
            continue
        if smpl is None or not isinstance(values, Mapping):
            written[key] = _as_tensor(values, each.row, given)
            continue
        poses = smpl.poses().float()
        numbers = {"global_orient": poses[:, :3], "body_pose": poses[:, 3:BODY_NUMBERS]}
        numbers |= {"betas": smpl.betas.float(), "transl": smpl.transl.float()}
        written[key] = {name: tensor.clone() for name, tensor in numbers.items()}
    with atomic_path(to) as temporary:
        torch.save(written, temporary)


def rewrite_phalp(path: Path, new: list[NewMotion], to: Path) -> None:
    """A file of PHALP: by frame, lists with an entry per person. Frames are not added."""
    contents = load_joblib(path)
    assert isinstance(contents, Mapping), "it was read before"
    timed = any("time" in values for values in contents.values())
    people = {each.motion.name.rsplit(" ", 1)[-1]: each.motion for each in new}
    written = {}
    for number, (name, given) in enumerate(contents.items()):
        frame = int(given["time"]) if timed else number
        values = _without_repeats(given, path.name)
        bodies, cameras = list(values.get("smpl", [])), list(values.get("camera", []))
        for index, person in enumerate(np.asarray(values["tid"], int).tolist()):
            motion = people[str(person)]
            row = int(np.searchsorted(motion.frames, frame))
            smpl = motion.smpl[row]
            bodies[index] = {
                **bodies[index],
                "global_orient": smpl.global_orient[None].float().numpy(),
                "body_pose": smpl.body_pose.float().numpy(),
                "betas": smpl.betas.float().numpy(),
            }
            cameras[index] = smpl.transl.float().numpy()
        written[name] = {**values, "smpl": bodies, "camera": cameras}
    write_pickle(written, to)


def rewrite_arrays(path: Path, new: list[NewMotion], to: Path) -> None:
    """A file of plain arrays, or one in AMASS's layout."""
    (each,) = new
    arrays = read_arrays(path, list)
    numbers = each.numbers()
    poses = numbers.pop("pose")
    if arrays["poses"].shape[1] > poses.shape[1]:
        whole = arrays["poses"][each.row].astype(np.float64)
        whole[:, :BODY_NUMBERS] = poses[:, :BODY_NUMBERS]
        poses = whole
        numbers.pop("betas")
    numbers |= {"poses": poses}
    if "pose_world" in numbers:
        numbers["poses_world"] = numbers.pop("pose_world")
    if arrays.get("betas", poses).ndim == 1 and "betas" in numbers:
        numbers["betas"] = numbers["betas"][0]
    count = len(arrays["poses"])
    if "frame_ids" not in arrays and len(each.motion) != count:
        arrays["frame_ids"] = np.arange(count)
    written = _replaced(arrays, numbers, each.row, path.name, count)
    with atomic_path(to) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **written)


def write_plain(motion: PredictedMotion, to: Path) -> None:
    """Plain arrays, whatever the motion came in: what `interchange.plain` reads, and `filled`."""
    numbers: dict[str, Any] = {
        "poses": motion.smpl.poses().numpy().astype(np.float32),
        "betas": motion.smpl.betas.numpy().astype(np.float32),
        "frame_ids": motion.frames,
        "gender": np.array(motion.gender),
        "filled": np.asarray(motion.filled),
    }
    if motion.has_depth:
        numbers["trans"] = motion.smpl.transl.numpy().astype(np.float32)
    if motion.world is not None:
        numbers["poses_world"] = motion.world.poses().numpy().astype(np.float32)
        numbers["trans_world"] = motion.world.transl.numpy().astype(np.float32)
    if motion.fps is not None:
        numbers["fps"] = np.array(motion.fps)
    with atomic_path(to) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **numbers)


def write_json(values: object, to: Path) -> None:
    """Indented, all of it or nothing."""
    with atomic_path(to) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _replaced(
    values: Mapping[str, Any],
    numbers: Mapping[str, ndarray],
    row: Int[ndarray, "T"],
    place: str,
    count: int | None = None,
) -> dict[str, Any]:
    """New numbers under the names that are there, of their types; rows of the rest follow."""
    given = len(values["frame_ids"]) if count is None else count
    fresh = [key for key in numbers if key in _REPEATING]
    written: dict[str, Any] = {}
    for key, value in _without_repeats(values, place, fresh).items():
        if key in numbers:
            written[key] = numbers[key].astype(np.asarray(value).dtype)
        elif isinstance(value, ndarray) and value.ndim and len(value) == given:
            written[key] = value[row]
        else:
            written[key] = value
    return written


def _without_repeats(
    values: Mapping[str, Any], place: str, fresh: list[str] | None = None
) -> dict[str, Any]:
    stale = [
        key
        for key, value in values.items()
        if (key in _REPEATING and key not in (fresh or []) and value is not None)
        or isinstance(value, Unread)
    ]
    if stale:
        _log.warning("%s: %s left out, being of the motion before", place, ", ".join(stale))
    return {key: value for key, value in values.items() if key not in stale}


def _unplaced(smpl: SmplParams) -> SmplParams:
    return SmplParams(smpl.global_orient, smpl.body_pose, smpl.betas, torch.zeros_like(smpl.transl))


def _as_tensor(value: object, row: Int[ndarray, "T"], given: int) -> object:
    """Some rows of what has one for each of so many frames that were given; a matrix is a whole."""
    if not isinstance(value, ndarray):
        return value
    by_frame = value.ndim > 0 and len(value) == given and value.shape != (3, 3)
    return torch.from_numpy(value[row] if by_frame else value.copy())
