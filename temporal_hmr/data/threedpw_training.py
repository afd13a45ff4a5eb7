"""3DPW to train on: labelled people in the axes of the camera.

The same files as for evaluation (`data/threedpw.py`), whose people stand in the world.
"""

import logging
from pathlib import Path

import numpy as np
import torch

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.annotations import Pictures, gather
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

USABLE = "challenge"
"""The rule of 3DPW's frames in which its bodies and cameras hold."""

_log = logging.getLogger(__name__)


def read_threedpw_training(
    folder: str | Path, part: str, skip_broken: bool = False
) -> list[Sequence]:
    """Everybody of one split of 3DPW (`train`, `validation`, `test`), by video and actor.

    `folder` as for `read_threedpw`, with the images. Raises `InputError` for broken labels and
    missing images; with `skip_broken` those are left out with a warning.
    """
    people = read_threedpw(folder, part, _log.warning if skip_broken else None)
    return gather(
        people, lambda person: [in_camera_axes(person, "3DPW", USABLE)], Pictures(), skip_broken
    )


def in_camera_axes(
    person: LabelledSequence, dataset: str, usable: str, body: BodyModel | None = None
) -> Sequence:
    """A labelled person as training takes them; the body stays of its gender.

    `usable` is the frame rule by which body and camera hold; outside it neither body nor joints
    are known. The joints are those that the dataset states, else those of `body`, which must be
    of the person's gender. SMPL turns about its pelvis, whose
    place at rest follows from the joints.
    Raises `InputError` if neither joints nor body is given, or the rule is none of the person's.
    """
    if usable not in person.frame_rules:
        raise InputError(f"{dataset} {person.name} has no frame rule {usable!r}")
    if person.joints is not None:
        world = torch.from_numpy(person.joints)
    elif body is not None:
        world = body.joints(person.smpl.map(lambda value: value.to(body.v_template))).double()
    else:
        raise InputError(f"{dataset} {person.name} states no joints: give its body")
    known = person.frame_rules[usable]
    joints = world @ person.rotation.mT + person.translation[:, None]
    pelvis = SMPL24.index("pelvis")
    smpl = SmplParams(
        person.rotation @ person.smpl.global_orient,
        person.smpl.body_pose,
        person.smpl.betas,
        joints[:, pelvis] - (world[:, pelvis] - person.smpl.transl),
    )
    frames = len(person)
    camera = person.camera
    return Sequence(
        name=person.name,
        dataset=dataset,
        trusted=True,
        images=person.images,
        image_size=(camera.width, camera.height),
        times=np.arange(frames) / person.fps,
        focal=camera.focal.double().numpy() * np.ones((frames, 1)),
        center=camera.center.double().numpy() * np.ones((frames, 1)),
        boxes=person.boxes,
        keypoints=coco_keypoints(person.keypoints, person.skeleton),
        joints=joints.numpy(),
        has_joints=np.repeat(known[:, None], len(SMPL24), 1),
        smpl=smpl,
        has_smpl=known.copy(),
        smpl_gender=person.gender,
        subject=person.name,
    )
