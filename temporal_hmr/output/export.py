"""A result in the formats of other tools."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporal_hmr.body.load import OPEN_BODY
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.checks.reading import Given, read_result
from temporal_hmr.errors import InputError
from temporal_hmr.output.amass import write_amass
from temporal_hmr.output.bvh import write_bvh
from temporal_hmr.output.exported import Exported, exported
from temporal_hmr.output.folder import SUMMARY, made_folder
from temporal_hmr.output.glb import write_glb
from temporal_hmr.output.layouts import write_gvhmr, write_vibe, write_wham
from temporal_hmr.output.manifest import EXPORTS, Manifest, check_replaceable, is_current, publish
from temporal_hmr.output.obj import write_obj
from temporal_hmr.output.partial import partial_folder

ASSUMED_FPS = 30.0
_SMPL_SHAPES = ("amass", "wham", "vibe", "gvhmr")
"""Formats that speak of SMPL's shape coefficients."""
_STANDING, _FILMED = ("bvh", "amass", "wham", "gvhmr"), ("glb", "obj")
"""Formats in a world where there is one, and those that also ask where the camera is in it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportSettings:
    """What can be chosen when a result is exported."""

    formats: tuple[str, ...]
    """Of `formats.FORMATS`."""
    body: Path | str | None = None
    """The SMPL file that the result was made with."""
    fps: float | None = None
    """For files that do not state their frame rate; None assumes 30."""
    read_as: str | None = None
    """The system whose file it is (`interchange.files.FORMATS`); None tells by what it holds."""
    every: int = 1
    """Of OBJ, the frames from one to the next that is written."""
    unit: str = "cm"
    """Of BVH (`formats.UNITS`)."""


def export_result(result: Path, folder: Path, settings: ExportSettings) -> list[Path]:
    """Write a result in these formats to a folder; returns the paths of what is in it now.

    `result` is a result folder of ours, one npz of it, or another system's file. A format that
    cannot be written stops none of the others. Raises `InputError` if the result cannot be used, a
    file that is no export of ours would be lost, or, in the end, for formats that failed.
    """
    people = _people(read_result(result, settings.body, settings.read_as), settings)
    with made_folder(folder), partial_folder(folder) as partial:
        files, failures = {}, []
        for format in dict.fromkeys(settings.formats):
            try:
                files[format] = _written(format, people, partial, settings)
            except InputError as error:
                failures.append(f"{format}: {error}")
        if files:
            check_replaceable(folder, files)
            publish(partial, folder, _manifest(result, people, files))
        if failures:
            raise InputError("; ".join(failures))
    return [folder / path for paths in files.values() for path in paths]


def export_is_current(result: Path, formats: Sequence[str]) -> bool:
    """Whether the folder of a result holds all of these formats of it."""
    return is_current(result / EXPORTS, _digest(result), formats)


def _digest(result: Path) -> str:
    summary = result / SUMMARY if result.is_dir() else result
    return file_hash(summary) if summary.is_file() else ""


def _people(given: Sequence[Given], settings: ExportSettings) -> list[Exported]:
    fps = settings.fps or ASSUMED_FPS
    people = [
        exported(each.motion, each.body, each.own_body, number, fps)
        for number, each in enumerate(given)
    ]
    names = [person.name for person in people]
    if len(set(names)) < len(names):
        raise InputError(f"two people have the number {people[0].person_id}: export one at a time")
    for each in given:
        _warn(each, settings)
    _warn_of_camera_frame(given, settings.formats)
    return people


def _warn(given: Given, settings: ExportSettings) -> None:
    """Tell what is assumed, and what cannot be known."""
    name = given.motion.name
    if given.motion.fps is None and settings.fps is None:
        _log.warning("%s states no frame rate: %g is assumed (--fps)", name, ASSUMED_FPS)
    if not given.own_body:
        _log.warning(
            "%s is shown on the %s body of mean shape, not on its own (--body)",
            name,
            given.body.name,
        )
    shapes = [format for format in settings.formats if format in _SMPL_SHAPES]
    if given.own_body and given.body.name == OPEN_BODY and shapes:
        _log.warning(
            "%s is on the open body, whose shape coefficients are not SMPL's: they are zero in %s",
            name,
            ", ".join(shapes),
        )
    if not given.motion.has_depth:
        _log.warning("%s has no places in metres: they mean nothing in what is exported", name)


def _warn_of_camera_frame(given: Sequence[Given], formats: Sequence[str]) -> None:
    """Tell once which formats have the camera's frame in place of a world, and of how many."""
    motions = [each.motion for each in given]
    lacking = {
        _STANDING: sum(motion.world is None for motion in motions),
        _FILMED: sum(motion.world_from_camera is None for motion in motions),
    }
    without = {
        format: count
        for group, count in lacking.items()
        for format in formats
        if count and format in group
    }
    if without:
        _log.warning(
            "%d of %d people have no world in %s: the camera's frame stands in for it, turned "
            "upright; up is the picture's, level or not, and the ground is not at 0 (track "
            "--static-camera finds a world where the camera stands still)",
            max(without.values()),
            len(motions),
            ", ".join(without),
        )


def _manifest(
    result: Path, people: Sequence[Exported], files: Mapping[str, Sequence[str]]
) -> Manifest:
    about = tuple(
        {
            "name": person.name,
            "person_id": person.person_id,
            "first_frame": int(person.frames[0]),
            "start_time": float(person.times[0]),
            "fps": person.fps,
        }
        for person in people
    )
    return Manifest(result.resolve().name, _digest(result), about, files)


def _written(
    format: str, people: Sequence[Exported], folder: Path, settings: ExportSettings
) -> list[str]:
    """Write one format to a folder; returns the files' names in it."""
    before = set(folder.rglob("*"))
    _WRITERS[format](people, folder, settings)
    new = sorted(path for path in set(folder.rglob("*")) - before if path.is_file())
    return [path.relative_to(folder).as_posix() for path in new]


def _glb(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    write_glb(people, folder / "people.glb")


def _bvh(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    (folder / "bvh").mkdir()
    for person in people:
        write_bvh(person, folder / "bvh" / f"{person.name}.bvh", settings.unit)


def _amass(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    (folder / "amass").mkdir()
    for person in people:
        write_amass(person, folder / "amass" / f"{person.name}_poses.npz")


def _obj(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    for person in people:
        write_obj(person, folder / "obj" / person.name, settings.every)


def _wham(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    write_wham(people, folder / "wham_output.pkl")


def _vibe(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    write_vibe(people, folder / "vibe_output.pkl")


def _gvhmr(people: Sequence[Exported], folder: Path, settings: ExportSettings) -> None:
    for person in people:
        (folder / "gvhmr" / person.name).mkdir(parents=True)
        write_gvhmr(person, folder / "gvhmr" / person.name / "hmr4d_results.pt")


_WRITERS: Mapping[str, Callable[[Sequence[Exported], Path, ExportSettings], None]] = {
    "glb": _glb,
    "bvh": _bvh,
    "amass": _amass,
    "obj": _obj,
    "wham": _wham,
    "vibe": _vibe,
    "gvhmr": _gvhmr,
}
