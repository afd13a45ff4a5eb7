"""Our own result file, one person in a plain npz."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.fields import Fields
from temporal_hmr.interchange.plain import GENDERS
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.output.npz import load_motion

_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError)


def read_ours(path: Path) -> list[PredictedMotion]:
    """The one person. Raises `InputError` if the file is not one that `save_motion` wrote."""
    try:
        return [_predicted(path, load_motion(path))]
    except InputError as error:
        named = str(path) in str(error)
        raise error if named else InputError(f"{path}: {error}") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged ({reason}); track the video again") from error


def _predicted(path: Path, motion: BodyMotion) -> PredictedMotion:
    fields = Fields(path, "", {"frame_ids": motion.frames})
    frames = fields.frames("frame_ids")
    _check_shapes(path, motion, len(frames))
    predicted = PredictedMotion.of(motion, fields.name)
    return replace(
        predicted,
        frames=frames,
        gender=_gender(path),
        body=_body(path),
    )


def _check_shapes(path: Path, motion: BodyMotion, count: int) -> None:
    expected = {
        "poses": (motion.smpl.rotations().numpy(), (count, 24, 3, 3)),
        "betas": (motion.smpl.betas.numpy(), (count, 10)),
        "trans": (motion.smpl.transl.numpy(), (count, 3)),
        "bbox_xyxy": (motion.boxes, (count, 4)),
        "keypoints2d": (motion.keypoints, (count, len(motion.skeleton), 3)),
        "observed": (motion.observed.view(np.uint8), (count,)),
        "K": (motion.camera.matrix().numpy(), (3, 3)),
    }
    if motion.world is not None:
        expected |= {
            "poses_world": (motion.world.smpl.rotations().numpy(), (count, 24, 3, 3)),
            "trans_world": (motion.world.smpl.transl.numpy(), (count, 3)),
            "world_from_camera": (motion.world.from_camera, (4, 4)),
        }
    fields = Fields(path, "", {key: values for key, (values, _) in expected.items()})
    if motion.observed.dtype != bool:
        fields.refuse(f"'observed' of type {motion.observed.dtype}, not bool")
    for key, (_, shape) in expected.items():
        fields.numbers(key, shape)


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
