"""Results from files: which people are in them, and on which body they stand."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.containers import VIDEO_SUFFIXES
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.files import read_predictions
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.folder import SUMMARY

OURS = "ours"
"""`PredictedMotion.source` of our own files."""


@dataclass(frozen=True, eq=False)
class Given:
    """One person's motion and the body to pose it on, which computes in float64."""

    motion: PredictedMotion
    body: BodyModel
    own_body: bool
    """False where the body stands in for the system's own, with betas of zero."""


def read_result(path: Path, body: Path | str | None, format: str | None = None) -> list[Given]:
    """The people of a result folder of ours, of one npz of ours, or of another system's file.

    `body` is the SMPL file that the result was made with; results of ours say whether they were
    made with the open body. `format` names the system whose file it is. Raises `InputError` if
    nothing can be read, nobody is in it, or the body is another than the one the result names.
    """
    loaded = None if body is None else load_body(body, torch.float64)
    opened = load_body(dtype=torch.float64)
    people = [
        Given(motion, *_body_for(file, motion, loaded, opened))
        for file in result_files(path)
        for motion in read_predictions(file, format)
    ]
    if not people:
        raise InputError(f"{path} has nobody in it")
    return people


def result_files(path: Path) -> list[Path]:
    """The file itself; of a folder of ours the people that its summary lists, else all there."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"there is no file at {path}: check the path")
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise InputError(f"{path} is a video: track it, and give the folder of its results")
        return [path]
    if (path / SUMMARY).exists():
        return [path / name for name in _listed(path / SUMMARY)]
    files = sorted(path.glob("person_*.npz"))
    if not files:
        raise InputError(
            f"{path} is no result: give a folder that track wrote, or a file of another tool"
        )
    return files


def _listed(summary: Path) -> list[str]:
    """The files of the people, by their names without a folder."""
    try:
        people = json.loads(summary.read_text(encoding="utf-8"))["people"]
        return [Path(person["file"]).name for person in people]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{summary} is damaged: it does not list the files of the people; give one npz instead"
        ) from error


def _body_for(
    file: Path, motion: PredictedMotion, loaded: BodyModel | None, opened: BodyModel
) -> tuple[BodyModel, bool]:
    """The body to pose a motion on, and whether it is the one that the motion was made with."""
    named = _named_body(file) if motion.source == OURS else None
    if named is None:
        return (opened, False) if loaded is None else (loaded, True)
    if loaded is None:
        return opened, named == opened.name
    if named == opened.name:
        raise InputError(f"{file} was made with the open body: leave --body out")
    if named != loaded.name:
        raise InputError(f"{file} was made with the body {named}, not {loaded.name}: give its file")
    return loaded, True


def _named_body(file: Path) -> str:
    """Of a result of ours."""
    try:
        meta = read_arrays(file, lambda names: [name for name in names if name == "meta"])["meta"]
        return str(json.loads(str(meta))["body"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file} does not say on which body it was made: track anew") from error
