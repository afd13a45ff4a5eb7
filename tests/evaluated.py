"""An evaluation from end to end: data sets and results to score, and what its door leaves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_trees import write_bodies, write_emdb, write_threedpw
from interchange_files import dump

from temporal_hmr import evaluate
from temporal_hmr.command_line import run_door
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.evaluation.bodies import Bodies

FRAMES = 40


@dataclass(frozen=True)
class Data:
    root: Path
    smpl: Path
    sequences: dict[str, LabelledSequence]


def threedpw_data(folder: Path) -> Data:
    """3DPW's tests and SMPL bodies, written into a folder."""
    root, smpl = folder / "3dpw", folder / "smpl"
    write_bodies(smpl, 200)
    write_threedpw(root, genders(smpl), frames=FRAMES)
    return Data(root, smpl, {each.name: each for each in read_threedpw(root, "test")})


def emdb_data(folder: Path) -> Data:
    """EMDB 1 and SMPL bodies, written into a folder."""
    root, smpl = folder / "emdb", folder / "smpl"
    write_bodies(smpl, 200)
    write_emdb(root, genders(smpl), frames=FRAMES)
    return Data(root, smpl, {each.name: each for each in read_emdb(root, 1)})


def genders(smpl: Path) -> dict[str, Any]:
    bodies = Bodies(smpl)
    return {gender: bodies.of(gender) for gender in ("male", "female", "neutral")}


def answer(data: Data, name: str, turn: float = 0.1) -> dict[str, np.ndarray]:
    """The true parameters in the camera, with the left elbow bent too far (radians)."""
    sequence = data.sequences[name]
    smpl = sequence.in_camera(Bodies(data.smpl).of(sequence.gender))
    pose = smpl.poses().numpy()
    pose[:, 3 * 18] += turn
    return {
        "pose": pose, "trans": smpl.transl.numpy(), "betas": smpl.betas.numpy(),
        "frame_ids": np.arange(len(sequence)),
    }  # fmt: skip


def wham(path: Path, *people: dict[str, np.ndarray]) -> None:
    everybody = {
        number: {**person, "pose_world": person["pose"], "trans_world": person["trans"]}
        for number, person in enumerate(people)
    }
    dump(everybody, path)


def predict_all(data: Data, folder: Path) -> None:
    videos: dict[str, list[str]] = {}
    for name, sequence in data.sequences.items():
        videos.setdefault(sequence.video, []).append(name)
    for video, names in videos.items():
        wham(folder / video / "wham_output.pkl", *(answer(data, name) for name in names))


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: evaluate.main([str(word) for word in words]))
    code = ending.value.code
    assert isinstance(code, int)
    return code


def run(data: Data, dataset: str, out: Path, *words: object) -> int:
    common = ("--dataset", dataset, "--data", data.root, "--smpl", data.smpl, "-o", out)
    return leave(*common, *words)


def scores(out: Path) -> dict[str, Any]:
    return json.loads((out / "scores.json").read_text())


def overall(out: Path) -> float:
    return scores(out)["runs"][0]["overall"]["metrics"]["mpjpe"]["value"]
