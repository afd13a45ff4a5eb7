"""The result file: one plain npz per person, under the names that AMASS made common.

| field | shape | meaning |
|---|---|---|
| `poses` | T 72 | axis-angle of SMPL's 24 joints |
| `global_orient`, `body_pose` | T 3, T 69 | its first three and its other columns |
| `betas` | 10 | shape of this person, the same in every frame |
| `trans` | T 3 | metres, camera frame; the pelvis stands at its rest place + `trans` |
| `gender`, `mocap_frame_rate`, `fps` | | of the body, by its file name; frames per second |
| `frame_ids`, `timestamps` | T | frame numbers of the video, presentation times in seconds |
| `bbox_xyxy` | T 4 | pixels |
| `keypoints2d` | T J 3 | what was detected: pixels and confidence |
| `joints3d` | T 24 3 | metres, camera frame |
| `K` | 3 3 | camera matrix, pixels |
| `observed` | T | False where a frame was filled in from its neighbours |
| `joint_confidence` | T 24 | probability that the joint is within 0.1 m, seen from the pelvis |
| `confidence` | T | the mean of that |
| `track_id` | | the person's number |
| `poses_world`, `trans_world` | T 72, T 3 | the same motion in a world, where one was asked for \
and found: y up, metres, the ground at y = 0, the camera looking towards -z |
| `world_from_camera` | 4 4 | from camera coordinates to that world's |
| `meta` | | JSON text: schema, axes, units, body, weights, source, how the world was found |
"""

import json
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr import skeleton as skeletons
from temporal_hmr.archive import read_arrays
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion, InWorld
from temporal_hmr.on_disk import chunks, copied, zeros
from temporal_hmr.skeleton import Skeleton

SCHEMA_VERSION = 1

_FIELDS = (
    "poses",
    "betas",
    "trans",
    "fps",
    "frame_ids",
    "timestamps",
    "bbox_xyxy",
    "keypoints2d",
    "joints3d",
    "K",
    "observed",
    "confidence",
    "track_id",
    "meta",
)
"""What a file must hold to be read back; the others repeat these for the sake of other readers."""
_WORLD_FIELDS = ("poses_world", "trans_world", "world_from_camera")
"""What it holds besides, all of it or nothing."""


@dataclass(frozen=True)
class Provenance:
    """Where a result came from; written into every file so that it can be traced and repeated."""

    source: str
    """Name of the video (without its folder)."""
    source_sha256: str
    body: str
    """Name of the body model; shape coefficients mean something only together with it."""
    body_licence: str
    weights: str
    """Name of the weights file."""
    weights_sha256: str
    package_version: str
    body_sha256: str = ""
    """Of the body's arrays: the same for the same body in another format."""
    settings: dict[str, object] = field(default_factory=dict)
    """What else was chosen when the video was tracked, by the names of the options."""
    detector: str = ""
    """What found the people, and its version; empty where nobody was looked for."""
    detector_weights: dict[str, str] = field(default_factory=dict)
    """Of each network that it was given (none comes with mediapipe's) its SHA-256."""


def package_version(package: str = "temporal-hmr") -> str:
    """Of an installed package; it says so if none is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well, else removed.

    Raises `InputError` where the system refuses (folder gone, no permission, disk full).
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; choose another place with "
            "--output-dir"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def save_motion(motion: BodyMotion, path: Path | str, provenance: Provenance) -> None:
    """Write one person's motion as npz (float32, no pickle); all of the file appears, or nothing.

    Raises `InputError` if the place cannot be written to.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        write_arrays(_arrays(motion, provenance, path.parent), temporary)


def rewrite_motion(path: Path, motion: BodyMotion, to: Path, world_too: bool) -> None:
    """The file at `path` with the motion's number, and its world if `world_too`, at `to`.

    All else is the same bit by bit. Raises `InputError` if `to` cannot be written, or `path` is no
    plain npz.
    """
    arrays = read_arrays(path, list, partial(copied, folder=to.parent))
    arrays["track_id"] = np.array(motion.person_id)
    if world_too:
        arrays = {name: arrays[name] for name in arrays if name not in _WORLD_FIELDS}
        arrays |= _world_arrays(motion, to.parent)
        meta = json.loads(str(arrays["meta"]))
        meta.pop("world", None)
        arrays["meta"] = np.array(json.dumps(meta | _world_meta(motion)))
    with atomic_path(to) as temporary:
        write_arrays(arrays, temporary)


def write_arrays(arrays: Mapping[str, ndarray], path: Path) -> None:
    """As `numpy.savez_compressed` does, but some frames at a time; without pickles."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(member, {**header, "fortran_order": False})
                if not array.ndim:
                    member.write(array.tobytes())
                for part in chunks(len(array) if array.ndim else 0, array):
                    member.write(array[part].tobytes())


def load_motion(path: Path | str, folder: Path | None = None) -> BodyMotion:
    """Read back what `save_motion` wrote; into files of the folder, if there is one.

    Raises `InputError` if the file is absent, is not an npz, or lacks a field.
    """
    path = Path(path)
    arrays = read_arrays(path, lambda names: _fields(path, names), partial(copied, folder=folder))
    meta = json.loads(str(arrays["meta"]))
    if meta["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path} has result schema {meta['schema_version']}, this version of temporal_hmr "
            f"reads schema {SCHEMA_VERSION}; track the video again"
        )
    return _motion(arrays, meta, folder)


def _fields(path: Path, names: list[str]) -> tuple[str, ...]:
    missing = [name for name in _FIELDS if name not in names]
    if missing:
        raise InputError(f"{path} is not a temporal_hmr result: it lacks {', '.join(missing)}")
    world = [name for name in _WORLD_FIELDS if name in names]
    if world and len(world) < len(_WORLD_FIELDS):
        raise InputError(f"{path} has only {', '.join(world)} of its world: track the video again")
    return (*_FIELDS, *world, *(name for name in names if name == "joint_confidence"))


def _arrays(motion: BodyMotion, provenance: Provenance, folder: Path) -> dict[str, ndarray]:
    """What is computed of all frames lies in files of the folder."""
    poses = _poses(motion.smpl, folder)
    betas = motion.smpl.betas.reshape(-1, motion.smpl.betas.shape[-1])[0]
    return {
        "poses": poses,
        "global_orient": poses[:, :3],
        "body_pose": poses[:, 3:],
        "betas": _numbers(betas),
        "trans": _numbers(motion.smpl.transl),
        "gender": np.array(_gender(provenance.body)),
        "mocap_frame_rate": np.array(motion.fps, np.float32),
        "fps": np.array(motion.fps, np.float32),
        "frame_ids": np.asarray(motion.frames, np.int64),
        # In float32 an hour is coarser than a tenth of a millisecond, a day than 5 ms.
        "timestamps": np.asarray(motion.times, np.float64),
        "bbox_xyxy": np.asarray(motion.boxes, np.float32),
        "keypoints2d": np.asarray(motion.keypoints, np.float32),
        "joints3d": np.asarray(motion.joints, np.float32),
        "K": motion.camera.matrix().cpu().float().numpy(),
        "observed": np.asarray(motion.observed, bool),
        "confidence": np.asarray(motion.confidence, np.float32),
        "track_id": np.array(motion.person_id),
        **_world_arrays(motion, folder),
        **_joint_confidence(motion),
        "meta": np.array(json.dumps(_meta(motion, provenance))),
    }


def _poses(smpl: SmplParams, folder: Path) -> Float[ndarray, "T 72"]:
    """Axis-angle, some frames at a time: on the way to it a frame takes twenty times the room."""
    poses = zeros((len(smpl.transl), 72), folder).numpy()
    for part in chunks(len(poses), poses, smpl.body_pose):
        poses[part] = smpl[part].map(lambda tensor: tensor.detach().cpu().float()).poses().numpy()
    return poses


def _numbers(tensor: torch.Tensor) -> Float[ndarray, "*n"]:
    return tensor.detach().cpu().float().numpy()


def _joint_confidence(motion: BodyMotion) -> dict[str, ndarray]:
    if motion.joint_confidence is None:
        return {}
    return {"joint_confidence": np.asarray(motion.joint_confidence, np.float32)}


def _world_arrays(motion: BodyMotion, folder: Path) -> dict[str, ndarray]:
    if motion.world is None:
        return {}
    return {
        "poses_world": _poses(motion.world.smpl, folder),
        "trans_world": _numbers(motion.world.smpl.transl),
        "world_from_camera": np.asarray(motion.world.from_camera, np.float64),
    }


def _gender(body: str) -> str:
    """Of SMPL's three bodies, by the file names under which they are published."""
    words = re.split(r"[^a-z]+", body.lower())
    for gender in ("female", "male"):
        if gender in words or gender[0] in words:
            return gender
    return "neutral"


def _meta(motion: BodyMotion, provenance: Provenance) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "axes": "camera frame of OpenCV: x right, y down, z forward",
        "units": {"length": "metre", "angle": "radian", "image": "pixel", "time": "second"},
        "model_type": "smpl",
        "skeleton": motion.skeleton.name,
        "focal_assumed": motion.camera.assumed,
        "image_size": [motion.camera.width, motion.camera.height],
        **asdict(provenance),
        **_world_meta(motion),
    }


def _world_meta(motion: BodyMotion) -> dict[str, object]:
    return {} if motion.world is None else {"world": motion.world.told}


def _motion(arrays: dict[str, ndarray], meta: dict, folder: Path | None) -> BodyMotion:
    num_frames = len(arrays["frame_ids"])
    betas = torch.from_numpy(arrays["betas"]).expand(num_frames, -1)
    matrix = torch.from_numpy(arrays["K"])
    width, height = meta["image_size"]
    return BodyMotion(
        person_id=int(arrays["track_id"]),
        frames=arrays["frame_ids"],
        times=arrays["timestamps"],
        fps=float(arrays["fps"]),
        smpl=_smpl(arrays["poses"], betas, arrays["trans"], folder),
        joints=arrays["joints3d"],
        camera=Camera(
            matrix.diagonal()[:2], matrix[:2, 2], width, height, assumed=meta["focal_assumed"]
        ),
        boxes=arrays["bbox_xyxy"],
        keypoints=arrays["keypoints2d"],
        skeleton=skeleton_named(meta["skeleton"]),
        observed=arrays["observed"],
        confidence=arrays["confidence"],
        world=_world(arrays, meta, betas, folder),
        joint_confidence=arrays.get("joint_confidence"),
    )


def _world(
    arrays: dict[str, ndarray],
    meta: dict,
    betas: Float[torch.Tensor, "T 10"],
    folder: Path | None,
) -> InWorld | None:
    if _WORLD_FIELDS[0] not in arrays:
        return None
    poses, transl, from_camera = (arrays[name] for name in _WORLD_FIELDS)
    return InWorld(_smpl(poses, betas, transl, folder), from_camera, meta.get("world", {}))


def _smpl(
    poses: Float[ndarray, "T 72"],
    betas: Float[torch.Tensor, "T 10"],
    transl: Float[ndarray, "T 3"],
    folder: Path | None,
) -> SmplParams:
    """Axis-angle made matrices, some frames at a time as in `_poses`."""
    axis_angle, place = torch.from_numpy(poses), torch.from_numpy(transl)
    rotations = zeros((len(poses), 24, 3, 3), folder, axis_angle.dtype)
    for part in chunks(len(poses), poses, rotations):
        some = SmplParams.from_poses(axis_angle[part], betas[part], place[part])
        rotations[part] = some.rotations()
    return SmplParams.from_rotations(rotations, betas, place)


def skeleton_named(name: str) -> Skeleton:
    """The skeleton of that name. Raises `InputError` if there is none."""
    skeleton = getattr(skeletons, name, None)
    if not isinstance(skeleton, Skeleton):
        raise InputError(f"the result names a skeleton {name!r} that temporal_hmr does not know")
    return skeleton
