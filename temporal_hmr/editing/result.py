"""Result folders of ours, read so that they can be corrected: the people, and their tracks."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.ours import read_ours, stated_provenance
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.on_disk import copied, let_go, scratch
from temporal_hmr.output.folder import SUMMARY
from temporal_hmr.output.former import bring_back
from temporal_hmr.output.npz import SCHEMA_VERSION, Provenance, load_motion
from temporal_hmr.refinement.run import REPORT


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a folder of results."""

    file: Path
    motion: BodyMotion
    track: Track
    """What was seen of them, of which the motion was made."""


@dataclass(frozen=True, eq=False)
class Result:
    """A folder of results."""

    folder: Path
    summary: dict[str, Any]
    """As `result.json` has it."""
    provenance: Provenance
    people: list[Person]
    """In the order of their numbers."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen when the video was tracked."""
        return self.provenance.settings


def open_result(folder: Path) -> Result:
    """Read a folder that `track` wrote, or an earlier correction of one.

    Raises `InputError` for any other, and for one that is damaged.
    """
    _check_folder(folder)
    try:
        bring_back(folder, SUMMARY)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; make it writable") from error
    summary = _summary(folder / SUMMARY)
    provenance = _provenance(folder / SUMMARY, summary)
    people = [_person(folder, told, provenance) for told in summary["people"]]
    people.sort(key=lambda person: person.motion.person_id)
    numbers = [person.motion.person_id for person in people]
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{folder / SUMMARY} lists somebody twice: track the video again")
    return Result(folder, summary, provenance, people)


def track_of(motion: BodyMotion) -> Track:
    """What was seen of somebody, of which their motion was made."""
    seen = motion.observed
    keypoints = motion.keypoints
    return Track(
        person_id=motion.person_id,
        frames=motion.frames[seen],
        times=motion.times[seen],
        boxes=motion.boxes[seen],
        keypoints=keypoints if seen.all() else copied(keypoints[seen], scratch()),
        skeleton=motion.skeleton,
        looked_at=motion.frames,
        looked_at_times=motion.times,
    )


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise InputError(f"there is nothing at {folder}: check the path")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: give the whole folder that track wrote")
    if (folder / REPORT).exists():
        raise InputError(
            f"{folder} holds refined results, which do not follow from what was seen: edit the "
            "folder they were made of, and refine that"
        )


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent} is no folder that track wrote: it has no {SUMMARY}")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged; track the video again") from error
    if not isinstance(summary, dict) or "people" not in summary or not _lists(summary):
        raise InputError(f"{path} has no proper list of the people; track the video again")
    if summary.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path} has result schema {summary.get('schema_version')}, this version of "
            f"temporal_hmr writes schema {SCHEMA_VERSION}; track the video again"
        )
    return summary


def _lists(summary: dict[str, Any]) -> bool:
    people, edits, cuts = (summary.get(key, []) for key in ("people", "edits", "cuts"))
    size = summary.get("image_size") or [0, 0]
    return (
        isinstance(size, list)
        and [type(side) for side in size] == [int, int]
        and isinstance(people, list)
        and isinstance(edits, list)
        and isinstance(cuts, list)
        and all(isinstance(cut, int) for cut in cuts)
        and all(isinstance(each, dict) and _is_name(each.get("file")) for each in people)
    )


def _is_name(file: object) -> bool:
    return isinstance(file, str) and file == Path(file).name and file.endswith(".npz")


def _provenance(path: Path, summary: dict[str, Any]) -> Provenance:
    provenance = stated_provenance(path, summary)
    start, end, stride = (provenance.settings.get(name) for name in ("start", "end", "stride"))
    proper = all(isinstance(bound, int | float | None) for bound in (start, end))
    if not proper or not isinstance(stride, int | None) or (stride or 1) < 1:
        raise InputError(f"{path} has no proper range of frames in it; track the video again")
    return provenance


def _person(folder: Path, told: dict[str, Any], provenance: Provenance) -> Person:
    file = folder / told["file"]
    read_ours(file)
    motion = load_motion(file, scratch())
    meta = json.loads(str(read_arrays(file, lambda names: ["meta"])["meta"]))
    if any(meta.get(name) != value for name, value in _stated(provenance).items()):
        raise InputError(
            f"{file} was not made together with {SUMMARY}: edit a folder as track wrote it"
        )
    if motion.person_id != told.get("person_id") or motion.person_id < 0:
        raise InputError(f"{file} is of another person than {SUMMARY} says; track the video again")
    _check_arrays(file, motion)
    return Person(file, motion, track_of(motion))


def _stated(provenance: Provenance) -> dict[str, object]:
    """Without what files of earlier versions do not state."""
    return {name: value for name, value in asdict(provenance).items() if value not in ("", {})}


def _check_arrays(file: Path, motion: BodyMotion) -> None:
    """What reading for other purposes has not looked at."""
    wrong: Sequence[tuple[bool, str]] = (
        (not np.isfinite(motion.boxes).all(), "a box per frame"),
        (not np.isfinite(motion.keypoints).all(), "finite keypoints2d"),
        (not motion.observed.any(), "any frame in which the person was seen"),
    )
    let_go(motion.keypoints)
    for bad, what in wrong:
        if bad:
            raise InputError(f"{file} has not {what}; track the video again")
