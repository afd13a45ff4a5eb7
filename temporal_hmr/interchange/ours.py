"""Our own result file, one person in a plain npz."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.fields import Fields
from temporal_hmr.interchange.plain import GENDERS
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.output.npz import Provenance, load_motion

_LARGEST_SIDE = 2**16
"""Pixels."""
_FASTEST = 100_000
"""Frames per second, which no camera reaches."""
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError)


def read_ours(path: Path) -> list[PredictedMotion]:
    """The one person. Raises `InputError` if the file is not one that `save_motion` wrote."""
    try:
        return [_predicted(path, load_motion(path, scratch()))]
    except InputError as error:
        named = str(path) in str(error)
        raise error if named else InputError(f"{path}: {error}") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged ({reason}); track the video again") from error


def stated_provenance(path: Path, told: Mapping[str, Any]) -> Provenance:
    """Where a result comes from, as its summary or the `meta` of a file says.

    Raises `InputError` if that is not told, or not properly.
    """
    given = {field.name: told[field.name] for field in fields(Provenance) if field.name in told}
    try:
        provenance = Provenance(**given)
    except TypeError as error:
        raise InputError(f"{path} does not say how it was made; track the video again") from error
    empty = asdict(Provenance("", "", "", "", "", "", ""))
    for name, value in asdict(provenance).items():
        if not isinstance(value, type(empty[name])):
            raise InputError(f"{path} has no proper {name!r} in it; track the video again")
    return provenance


def _predicted(path: Path, motion: BodyMotion) -> PredictedMotion:
    held = Fields(path, "", {"frame_ids": motion.frames})
    frames = held.frames("frame_ids")
    _check_shapes(path, motion, len(frames))
    world = motion.world and replace(motion.world, smpl=_in_double(motion.world.smpl))
    motion = replace(motion, smpl=_in_double(motion.smpl), world=world)
    predicted = PredictedMotion.of(motion, held.name)
    return replace(
        predicted,
        frames=frames,
        gender=_gender(path),
        body=_body(path),
    )


def _in_double(smpl: SmplParams) -> SmplParams:
    """The same numbers as float64, on the disk."""
    rotations = zeros((len(smpl.transl), 24, 3, 3), scratch(), torch.float64)
    for part in chunks(len(rotations), rotations, smpl.body_pose):
        rotations[part] = smpl[part].rotations()
    return SmplParams.from_rotations(rotations, smpl.betas.double(), smpl.transl.double())


def _check_shapes(path: Path, motion: BodyMotion, count: int) -> None:
    expected = {
        "poses": (motion.smpl.body_pose.numpy(), (count, 23, 3, 3)),
        "trans": (motion.smpl.transl.numpy(), (count, 3)),
        "bbox_xyxy": (motion.boxes, (count, 4)),
        "keypoints2d": (motion.keypoints, (count, len(motion.skeleton), 3)),
        "observed": (motion.observed.view(np.uint8), (count,)),
        "joints3d": (motion.joints, (count, 24, 3)),
        "fps": (np.asarray(motion.fps), ()),
    }
    finite = {
        "timestamps": (motion.times, (count,)),
        "confidence": (motion.confidence, (count,)),
        "betas": (motion.smpl.betas.numpy(), (count, 10)),
        "K": (motion.camera.matrix().numpy(), (3, 3)),
    }
    if motion.joint_confidence is not None:
        finite["joint_confidence"] = (motion.joint_confidence, (count, 24))
    if motion.world is not None:
        expected |= {
            "poses_world": (motion.world.smpl.body_pose.numpy(), (count, 23, 3, 3)),
            "trans_world": (motion.world.smpl.transl.numpy(), (count, 3)),
        }
        finite["world_from_camera"] = (motion.world.from_camera, (4, 4))
    held = Fields(path, "", {key: values for key, (values, _) in (expected | finite).items()})
    if motion.observed.dtype != bool:
        held.refuse(f"'observed' of type {motion.observed.dtype}, not bool")
    for key, (_, shape) in expected.items():
        held.check_numbers(key, shape)
    for key, (_, shape) in finite.items():
        held.finite(key, shape)
    held.rate("fps")
    if (np.diff(motion.times) <= 0).any():
        held.refuse("times that do not increase in 'timestamps'")
    if (np.diff(motion.frames) > _FASTEST * np.diff(motion.times)).any():
        held.refuse(f"more than {_FASTEST} frames in a second by its 'frame_ids' and 'timestamps'")
    _check_camera(held, motion.camera)


def _check_camera(held: Fields, camera: Camera) -> None:
    if not (camera.focal > 0).all():
        held.refuse("a focal length in 'K' that is not above 0")
    sides = (camera.width, camera.height)
    if not all(isinstance(side, int) and 0 < side <= _LARGEST_SIDE for side in sides):
        held.refuse(f"pictures of {sides[0]} x {sides[1]} pixels in 'meta'")
    if not isinstance(camera.assumed, bool):
        held.refuse("no word in 'meta' on whether the focal length is assumed")


def _gender(path: Path) -> str:
    """Of the body; neutral where the file does not say."""
    arrays = read_arrays(path, lambda names: [name for name in names if name == "gender"])
    gender = str(arrays.get("gender", np.array("neutral")))
    if gender not in GENDERS:
        raise InputError(f"{path} has a body of gender {gender!r}; track the video again")
    return gender


def _body(path: Path) -> str:
    """Name of the body that the betas are of."""
    meta = read_arrays(path, lambda names: [name for name in names if name == "meta"])["meta"]
    return str(json.loads(str(meta)).get("body", ""))
