"""People behind things and behind each other: 3DOH50K, and the occluded parts of 3DPW.

3DOH50K: Zhang, Huang and Wang, "Object-occluded human shape and pose estimation from a single color
image" (CVPR 2020), pictures from calibrated cameras with SMPL fitted to several views at once.
3DPW-OC and 3DPW-PC are choices from 3DPW for which ROMP (Sun et al., ICCV 2021) published the lists
that others score by; OC is there called 3DPW-OCC too.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.annotations import (
    Entry,
    Pictures,
    gather,
    read_json,
    without_body,
)
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

DATASET = "3DOH50K"
REPROJECTION_TOLERANCE = 5.0
"""Pixels between the projected 3D joints and the 2D joints in the median, for the camera's frame to
be known."""
THIGH_RANGE = (0.25, 0.6)
"""Metres between hip and knee: files in other units are refused."""
PELVIS_RANGE = 0.6
"""SMPL's pelvis at rest lies no further from the origin of its coordinates, metres."""

OCCLUDED_SCENES = (
    *("courtyard_backpack", "courtyard_basketball", "courtyard_bodyScannerMotions"),
    *("courtyard_box", "courtyard_golf", "courtyard_jacket", "courtyard_laceShoe"),
    *("downtown_stairs", "flat_guitar", "flat_packBags"),
    *("outdoors_climbing", "outdoors_crosscountry", "outdoors_fencing", "outdoors_freestyle"),
    *("outdoors_golf", "outdoors_parcours", "outdoors_slalom"),
)
"""3DPW-OC: all videos of these scenes, of all three splits; a video's name ends in its number."""
CROWDED_FRAMES = {
    "courtyard_basketball_00": (200, 280),
    "courtyard_captureSelfies_00": (500, 600),
    "courtyard_dancing_00": (60, 370),
    "courtyard_dancing_01": (60, 270),
    "courtyard_hug_00": (100, 500),
    "downtown_bus_00": (1620, 1900),
}
"""3DPW-PC: first frame, and the one after the last."""


def select_occluded(sequences: Iterable[LabelledSequence]) -> list[LabelledSequence]:
    """3DPW-OC: people occluded by things, whole videos of `OCCLUDED_SCENES`.

    Of sequences of all three splits; frames are scored by the rule `visible`. Raises `InputError`
    if none of the scenes is among them.
    """
    chosen = [each for each in sequences if each.video.rpartition("_")[0] in OCCLUDED_SCENES]
    if not chosen:
        raise InputError("no sequence is of 3DPW-OC: read all three splits of 3DPW")
    return chosen


def select_crowded(sequences: Iterable[LabelledSequence]) -> list[LabelledSequence]:
    """3DPW-PC: people occluded by people, in the `CROWDED_FRAMES` of six videos.

    The frame rules keep the frames between; scored is by the rule `challenge`. Raises `InputError`
    if none of the videos is among the sequences.
    """
    chosen = []
    for sequence in sequences:
        if sequence.video in CROWDED_FRAMES:
            first, end = CROWDED_FRAMES[sequence.video]
            number = np.arange(len(sequence))
            within = (first <= number) & (number < end)
            rules = {name: rule & within for name, rule in sequence.frame_rules.items()}
            chosen.append(replace(sequence, frame_rules=rules))
    if not chosen:
        raise InputError("no sequence is of 3DPW-PC: read all three splits of 3DPW")
    return chosen


def read_3doh50k(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All pictures of `train` or `test`, one sequence of one frame each.

    `folder` holds `trainset` and `testset`, each with `annots.json` and `images`. SMPL is given in
    the camera frame; that needs the resting pelvis, which the stated joints tell. Whether they are
    in the world's frame or the camera's is found by projecting them. Keypoints are the projected
    joints of SMPL that COCO has too, all with confidence 1: nothing says which are hidden.

    Raises `InputError` for what is broken, missing or does not fit together; with `skip_broken` it
    is logged and left out.
    """
    path = folder / f"{part}set" / "annots.json"
    labels = Entry.of(path, "", read_json(path))
    pictures = Pictures()

    def read(name: str) -> list[Sequence]:
        entry = Entry.of(path, f"picture {name}", labels.values[name])
        return [_picture(entry, f"{part}_{name}", pictures)]

    return gather(sorted(labels.values), read, pictures, skip_broken)


def _picture(entry: Entry, name: str, pictures: Pictures) -> Sequence:
    image = entry.file.parent / entry.text("img_path").replace("\\", "/")
    intrinsics = entry.numbers("intri", 3, 3)
    pixels = entry.numbers("smpl_joints_2d", len(SMPL24), 2)
    scale = entry.row("scale", 1)[0]
    if scale <= 0:
        raise entry.fault("scale", f"is {scale:g}, not positive")
    extrinsics = entry.numbers("extri", 4, 4)
    rotation = extrinsics[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise entry.fault("extri", "holds no rotation")
    world, seen = _joints(entry, extrinsics, intrinsics, pixels)
    joints = seen / scale
    hip, knee = joints[SMPL24.indices("left_hip", "left_knee")]
    thigh = np.linalg.norm(hip - knee)
    if not THIGH_RANGE[0] <= thigh <= THIGH_RANGE[1]:
        raise entry.fault("smpl_joints_3d", f"has thighs of {thigh:.2g} m: another unit?")
    pelvis = SMPL24.index("pelvis")
    rest = (world[pelvis] - entry.row("trans", 3)) / scale
    if np.linalg.norm(rest) > PELVIS_RANGE:
        raise entry.fault("trans", "and 'smpl_joints_3d' do not agree on the pelvis")
    flat = without_body(
        name=name,
        dataset=DATASET,
        images=(image,),
        image_size=pictures.size(image),
        times=np.zeros(1),
        boxes=entry.row("bbox", 4)[None],
        keypoints=coco_keypoints(np.c_[pixels, np.ones(len(pixels))][None], SMPL24),
    )
    return replace(
        flat,
        focal=intrinsics.diagonal()[None, :2].copy(),
        center=intrinsics[None, :2, 2].copy(),
        joints=joints[None],
        has_joints=np.ones((1, len(SMPL24)), bool),
        smpl=_smpl(entry, rotation, joints[pelvis] - rest),
        has_smpl=np.ones(1, bool),
    )


def _smpl(entry: Entry, rotation: Float[ndarray, "3 3"], transl: Float[ndarray, "3"]) -> SmplParams:
    poses = torch.from_numpy(entry.row("pose", 3 * len(SMPL24))).reshape(1, -1, 3)
    rotations = axis_angle_to_matrix(poses)
    rotations[:, 0] = torch.from_numpy(rotation) @ rotations[:, 0]
    betas = torch.from_numpy(entry.row("betas", 10))[None]
    return SmplParams.from_rotations(rotations, betas, torch.from_numpy(transl)[None])


def _joints(
    entry: Entry,
    extrinsics: Float[ndarray, "4 4"],
    intrinsics: Float[ndarray, "3 3"],
    pixels: Float[ndarray, "24 2"],
) -> tuple[Float[ndarray, "24 3"], Float[ndarray, "24 3"]]:
    """In the world's frame and in the camera's, in the units of the file."""
    stated = entry.numbers("smpl_joints_3d", len(SMPL24), 3)
    rotation, translation = extrinsics[:3, :3], extrinsics[:3, 3]
    frames = (
        (stated, stated @ rotation.T + translation),
        ((stated - translation) @ rotation, stated),
    )
    for world, seen in frames:
        if (seen[:, 2] > 0).all():
            projected = seen @ intrinsics.T
            error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - pixels, axis=1)
            if np.median(error) <= REPROJECTION_TOLERANCE:
                return world, seen
    raise entry.fault("smpl_joints_3d", "is not projected to 'smpl_joints_2d' by the camera")
