"""What is shown: the people of a result folder, with their bodies and what `check` finds."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.checks.reading import OURS, Given, read_result, result_files
from temporal_hmr.checks.run import CheckSettings, PersonReport, check_people
from temporal_hmr.checks.timing import Clock, frame_step
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.skeleton import SMPL24


@dataclass(frozen=True, eq=False)
class Person:
    """One person to be shown."""

    person_id: int
    name: str
    """Of the file."""
    motion: PredictedMotion
    times: Float[ndarray, "T"]
    """Presentation times in seconds."""
    confidence: Float[ndarray, "T"]
    """0..1; 0 where the person was not seen."""
    body: BodyModel
    """Computes in float64."""
    own_body: bool
    """False where the body stands in for the one that the result was made with."""
    smpl: SmplParams
    """On that body, camera frame."""
    joints: Float[ndarray, "T 24 3"]
    """Metres, camera frame; on the disk."""
    report: PersonReport

    def clock(self, fps: float) -> Clock:
        """When the frames of the motion are, so many of which are looked at in a second."""
        return Clock(self.motion.frames, self.times, fps)


@dataclass(frozen=True, eq=False)
class Result:
    """The people of one video, at least one."""

    path: Path
    people: tuple[Person, ...]
    camera: Camera
    fps: float
    """Of the frames that were looked at."""
    step: int
    """Every so manieth frame of the video was."""
    meta: dict[str, object]
    """As `output.npz` writes it: source, body, licence, weights, settings."""

    @property
    def source(self) -> str:
        """Name of the video, without its folder."""
        return str(self.meta.get("source", ""))


def open_result(path: Path, body: Path | None = None) -> Result:
    """Read a result folder of `track`, or one npz of it, and check it.

    `body` is the SMPL file that it was made with. Where it is needed and not given, the open body
    stands in with its mean shape. Raises `InputError` if the result or the body cannot be used.
    """
    files = result_files(path)
    given = read_result(path, body)
    for each in given:
        if each.motion.source != OURS:
            raise InputError(
                f"{path} is a file of {each.motion.source}: a page is made of results of track"
            )
    reports = check_people(given, CheckSettings())
    people = tuple(map(_person, files, given, reports))
    camera = people[0].motion.camera
    assert camera is not None
    meta = json.loads(str(_read(files[0], "meta")))
    step = frame_step([each.motion for each in given])
    return Result(path, people, camera, float(given[0].motion.fps or 30.0), step, meta)


def _read(file: Path, name: str) -> ndarray:
    return read_arrays(file, lambda names: [name])[name]


def _person(file: Path, given: Given, report: PersonReport) -> Person:
    motion = given.motion
    smpl = _on_body(file, given)
    confidence = np.asarray(_read(file, "confidence"), np.float64)
    times = np.asarray(_read(file, "timestamps"), np.float64)
    return Person(
        person_id=int(_read(file, "track_id")),
        name=motion.name,
        motion=motion,
        times=times,
        confidence=confidence,
        body=given.body,
        own_body=given.own_body,
        smpl=smpl,
        joints=_joints(given.body, smpl),
        report=report,
    )


def _joints(body: BodyModel, smpl: SmplParams) -> Float[ndarray, "T 24 3"]:
    joints = zeros((len(smpl.transl), len(SMPL24), 3), scratch(), torch.float64).numpy()
    for part in chunks(len(joints), joints, smpl.body_pose):
        joints[part] = body.joints(smpl[part]).numpy()
    return joints


def _on_body(file: Path, given: Given) -> SmplParams:
    """One shape for all frames; a stand-in has its mean shape, and the pelvis where it was.

    SMPL's pelvis stands at its rest place plus `transl`, and every body has a rest place of its
    own.
    """
    smpl = given.motion.smpl
    if given.own_body:
        return replace(smpl, betas=smpl.betas[:1].expand_as(smpl.betas))
    joints = torch.from_numpy(np.asarray(_read(file, "joints3d"), np.float64))
    betas = torch.zeros_like(smpl.betas)
    pelvis = SMPL24.index("pelvis")
    rest = given.body.rest_joints(betas[:1])[:, pelvis]
    return replace(smpl, betas=betas, transl=joints[:, pelvis] - rest)
