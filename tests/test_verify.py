"""Checks of sequences against themselves: silent on honest ones, loud on planted errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import Bodies, write_bodies, write_emdb, write_threedpw

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.data.verify import verify

FRAMES = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bodies")


@pytest.fixture(scope="module")
def bodies(folder: Path) -> Bodies:
    return write_bodies(folder, vertices=300)


@pytest.fixture(scope="module")
def threedpw(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> list[LabelledSequence]:
    root = tmp_path_factory.mktemp("3DPW")
    write_threedpw(root, bodies, frames=FRAMES)
    return read_threedpw(root, "test")


@pytest.fixture(scope="module")
def emdb(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> list[LabelledSequence]:
    root = tmp_path_factory.mktemp("EMDB")
    write_emdb(root, bodies, frames=FRAMES)
    return read_emdb(root)


def swapped_axes(smpl: SmplParams) -> SmplParams:
    """The world's z taken for its y."""
    turn = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    return replace(smpl, global_orient=turn @ smpl.global_orient, transl=smpl.transl @ turn.mT)


def only(problems: list[str], *words: str) -> str:
    (problem,) = problems
    assert all(word in problem for word in words), problem
    return problem


def test_honest_trees_pass(
    threedpw: list[LabelledSequence], emdb: list[LabelledSequence], bodies: Bodies, folder: Path
) -> None:
    for sequence in (*threedpw, *emdb):
        assert verify(sequence, bodies[sequence.gender]) == []
        single = load_body(folder / f"SMPL_{sequence.gender.upper()}.pkl", torch.float32)
        assert verify(sequence, single) == []


def test_swapped_axes(
    threedpw: list[LabelledSequence], emdb: list[LabelledSequence], bodies: Bodies
) -> None:
    for sequence in (*threedpw, *emdb):
        spoilt = replace(sequence, smpl=swapped_axes(sequence.smpl))
        problems = verify(spoilt, bodies[sequence.gender])
        assert problems and all(problem.startswith(f"{sequence.name}: ") for problem in problems)
        kinds = "joints of the posed body" if sequence.joints is not None else "projected joints"
        assert any(kinds in problem for problem in problems)


def test_wrong_gender(
    threedpw: list[LabelledSequence], emdb: list[LabelledSequence], bodies: Bodies
) -> None:
    other = {"male": "female", "female": "male", "neutral": "male"}
    for sequence in threedpw:
        problems = verify(sequence, bodies[other[sequence.gender]])
        only(problems, "joints of the posed body", "another gender", "mm", "frames 0-19")
    for sequence in emdb:
        problems = verify(sequence, bodies[other[sequence.gender]])
        only(problems, "projected joints", "px", "frames 0-5, 9-18")


def test_one_wrong_joint_is_named_with_size_and_frames(
    threedpw: list[LabelledSequence], bodies: Bodies
) -> None:
    assert threedpw[0].joints is not None
    joints = threedpw[0].joints.copy()
    joints[4:7, 20, 1] += [0.05, 0.2, 0.05]
    joints[9, 3, 0] += 0.004
    problem = only(verify(replace(threedpw[0], joints=joints), bodies["female"]), "frames 4-6")
    assert "200 mm (left_wrist, frame 5; 5 mm allowed)" in problem
    joints[15] = np.nan
    only(verify(replace(threedpw[0], joints=joints), bodies["female"]), "nan mm", "frames 4-6, 15")


def test_masked_frames_may_be_wrong(emdb: list[LabelledSequence], bodies: Bodies) -> None:
    keypoints = emdb[0].keypoints.copy()
    keypoints[6:9, :, :2] += 40
    assert verify(replace(emdb[0], keypoints=keypoints), bodies[emdb[0].gender]) == []
    keypoints[12, 7, 0] += 3
    problem = only(verify(replace(emdb[0], keypoints=keypoints), bodies[emdb[0].gender]))
    assert "3 px (left_ankle, frame 12; 1 px allowed) in frame 12" in problem


def test_inverted_camera_poses(
    threedpw: list[LabelledSequence], emdb: list[LabelledSequence], bodies: Bodies
) -> None:
    """Camera to world read as world to camera."""
    for sequence in (*threedpw, *emdb):
        inverse = sequence.rotation.mT
        translation = -(inverse @ sequence.translation[..., None])[..., 0]
        spoilt = replace(sequence, rotation=inverse, translation=translation)
        assert verify(spoilt, bodies[sequence.gender])


def test_detections_of_somebody_else(threedpw: list[LabelledSequence], bodies: Bodies) -> None:
    first, second = (s for s in threedpw if s.video == "downtown_talk_00")
    spoilt = replace(first, keypoints=second.keypoints, boxes=second.boxes)
    only(verify(spoilt, bodies["male"]), "the detected limbs lie", "10% allowed", "another camera")


def test_rotations_that_are_none(emdb: list[LabelledSequence], bodies: Bodies) -> None:
    rotation = emdb[0].rotation.clone()
    rotation[[7, 8]] *= 1.01
    only(verify(replace(emdb[0], rotation=rotation), bodies["male"]), "0.02 (frame 7)", "7-8")
    mirrored = emdb[0].rotation.clone()
    mirrored[6, :, 0] *= -1
    only(verify(replace(emdb[0], rotation=mirrored), bodies["male"]), "reflections in frame 6")


def test_turned_images(threedpw: list[LabelledSequence], bodies: Bodies) -> None:
    camera = replace(threedpw[0].camera, width=192, height=108)
    problem = only(verify(replace(threedpw[0], camera=camera), bodies["female"]))
    assert "(54.0, 96.0) is far from the middle of the image of 192 x 108 pixels" in problem


def test_person_behind_the_camera(emdb: list[LabelledSequence], bodies: Bodies) -> None:
    away = emdb[0].translation.clone()
    away[12:14, 2] -= 10
    problems = verify(replace(emdb[0], translation=away), bodies["male"])
    only(problems, "behind the camera", "m (frame 1", "frames 12-13")


def test_nobody_detected_is_no_contradiction(
    threedpw: list[LabelledSequence], bodies: Bodies
) -> None:
    keypoints, boxes = np.zeros_like(threedpw[0].keypoints), np.full((FRAMES, 4), np.nan)
    spoilt = replace(threedpw[0], keypoints=keypoints, boxes=boxes)
    assert verify(spoilt, bodies["female"]) == []
