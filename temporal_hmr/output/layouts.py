"""Result files in the layouts of WHAM, VIBE and GVHMR, for the tools made for theirs.

`interchange` reads them, and tells what each field means. What those files have and we do not is
left out: regressed joints, outputs of their networks, and the vertices, unless the body is SMPL's
own mesh, whose triangles those tools know. Where a world is asked for and the result has none, it
is the camera's frame with y up, which is the world of a level camera that stands still.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.load import SMPL_VERTICES
from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.output.exported import Exported
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.pickled import InParts, write_pickle

_GVHMR_BODY = slice(3, 66)
_BOX_MARGIN = 1.1
"""VIBE's crops are so much larger than the person's box."""


def write_wham(people: Sequence[Exported], path: Path) -> None:
    """`wham_output.pkl`, everybody in one file. Raises `InputError` if it cannot be written."""
    contents = {}
    for person in people:
        world = person.standing()
        contents[person.person_id] = {
            "pose": _poses(person.smpl),
            "trans": person.smpl.transl.float().numpy(),
            "pose_world": _poses(world),
            "trans_world": world.transl.float().numpy(),
            "betas": np.asarray(person.smpl_betas, np.float32),
            **_vertices(person, person.smpl),
            "frame_ids": person.frames,
        }
    write_pickle(contents, path)


def write_vibe(people: Sequence[Exported], path: Path) -> None:
    """`vibe_output.pkl`, everybody in one file.

    The weak perspective cameras put the pelvis where the perspective one has it, and show it as
    large. The orientation stays that of the whole image's camera. Raises `InputError` if somebody
    has no camera or no depth, or the file cannot be written.
    """
    contents = {}
    for person in people:
        boxes = _square_boxes(person)
        cameras = _weak_perspective(person, boxes)
        unplaced = replace(person.smpl, transl=torch.zeros_like(person.smpl.transl))
        contents[person.person_id] = {
            **cameras,
            **_vertices(person, unplaced),
            "pose": _poses(person.smpl),
            "betas": np.asarray(person.smpl_betas, np.float32),
            "joints2d": None,
            "bboxes": boxes,
            "frame_ids": person.frames,
        }
    write_pickle(contents, path)


def write_gvhmr(person: Exported, path: Path) -> None:
    """`hmr4d_results.pt` of one person, with `frame_ids`, which GVHMR itself does not have.

    GVHMR's body is SMPL-X's: SMPL's two joints of the hands are left out. Raises `InputError` if
    the person has no camera or no depth, or the file cannot be written.
    """
    _require_camera(person, "GVHMR's")
    matrix = _camera_matrices(person)
    contents = {
        "smpl_params_global": _gvhmr_params(person, person.standing()),
        "smpl_params_incam": _gvhmr_params(person, person.smpl),
        "K_fullimg": torch.from_numpy(matrix).float(),
        "frame_ids": torch.from_numpy(np.asarray(person.frames, np.int64)),
    }
    with atomic_path(path) as temporary:
        torch.save(contents, temporary)


def _gvhmr_params(person: Exported, smpl: SmplParams) -> dict[str, torch.Tensor]:
    count = len(smpl.transl)
    body_pose, orient = (zeros((count, width), scratch()) for width in (63, 3))
    for part in chunks(count, body_pose, smpl.body_pose):
        poses = smpl[part].poses()
        body_pose[part], orient[part] = poses[:, _GVHMR_BODY], poses[:, :3]
    betas, transl = torch.as_tensor(person.smpl_betas).float(), smpl.transl.float().clone()
    return {"body_pose": body_pose, "betas": betas, "global_orient": orient, "transl": transl}


def _square_boxes(person: Exported) -> Float[ndarray, "T 4"]:
    """Centre and size, as large as the longer side and somewhat larger."""
    _require_camera(person, "VIBE's")
    boxes = person.boxes
    if boxes is None:
        matrix = torch.from_numpy(_camera_matrices(person))
        boxes = np.empty((len(person), 4))
        for part in chunks(len(person), person.smpl.body_pose):
            joints = person.body.joints(person.smpl[part]) @ matrix[part].mT
            pixels = (joints[..., :2] / joints[..., 2:]).numpy()
            boxes[part] = np.concatenate([pixels.min(1), pixels.max(1)], 1)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * _BOX_MARGIN
    return np.concatenate([center, side, side], 1).astype(np.float64)


def _weak_perspective(
    person: Exported, boxes: Float[ndarray, "T 4"]
) -> dict[str, Float[ndarray, "T n"]]:
    """VIBE's two cameras: of the crop (s, tx, ty), of the image (sx, sy, tx, ty).

    Of the crop of size h at c, a point X of the body without translation is seen at
    c + s h / 2 (X + t). Of an image of size w at w / 2 + s w / 2 (X + t).
    """
    camera, matrices = person.camera, _camera_matrices(person)
    assert camera is not None
    rest = person.body.rest_joints(person.smpl.betas[0])[0].numpy()
    pelvis = rest + person.smpl.transl.numpy()
    focal, center = matrices[:, [0, 1], [0, 1]], matrices[:, :2, 2]
    pixels_per_metre = focal / pelvis[:, 2:]
    shift = (center - boxes[:, :2]) / pixels_per_metre + pelvis[:, :2] - rest[:2]
    scale = 2 * pixels_per_metre.mean(1, keepdims=True) / boxes[:, 2:3]
    size = np.array([camera.width, camera.height])
    whole = (center - size / 2) / pixels_per_metre + pelvis[:, :2] - rest[:2]
    return {
        "pred_cam": np.concatenate([scale, shift], 1).astype(np.float32),
        "orig_cam": np.concatenate([2 * pixels_per_metre / size, whole], 1).astype(np.float32),
    }


def _camera_matrices(person: Exported) -> Float[ndarray, "T 3 3"]:
    assert person.camera is not None
    matrices = person.camera.matrix().detach().cpu().double().numpy()
    return np.broadcast_to(matrices, (len(person), 3, 3)).copy()


def _require_camera(person: Exported, whose: str) -> None:
    if person.camera is None or not person.has_depth:
        lacks = "camera" if person.camera is None else "depth"
        raise InputError(
            f"{person.name} has no {lacks}, which {whose} layout asks for: choose other formats"
        )


def _vertices(person: Exported, smpl: SmplParams) -> dict[str, InParts]:
    body = person.body
    if len(body.v_template) != SMPL_VERTICES:
        return {}
    shape = (len(smpl.transl), SMPL_VERTICES, 3)
    return {"verts": InParts(shape, lambda rows: body.vertices(smpl[rows]).numpy(), smpl.body_pose)}


def _poses(smpl: SmplParams) -> InParts:
    shape = (len(smpl.transl), 72)
    return InParts(shape, lambda rows: smpl[rows].poses().numpy(), smpl.body_pose)
