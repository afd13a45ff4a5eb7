"""OpenPose's json, a file for each frame, and what AlphaPose writes in its manner."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from temporal_hmr.data.annotations import Entry, read_json
from temporal_hmr.errors import InputError
from temporal_hmr.given.sightings import OPENPOSE, GivenFile, Sighting, keypoints_of
from temporal_hmr.skeleton import OPENPOSE25, Skeleton

_ENDING = "_keypoints"
_PEOPLE = {
    "people": ("pose_keypoints_2d", "pose_keypoints"),
    "bodies": ("joints",),
}
"""Who is in a frame, by what the format calls them, and what it calls their keypoints."""


def is_frame(contents: Any) -> bool:
    """Whether it is one frame of OpenPose's."""
    return isinstance(contents, dict) and any(key in contents for key in _PEOPLE)


def read_frames_folder(folder: Path) -> GivenFile:
    """`walk_000000000012_keypoints.json` and so on; the number is the frame's.

    Raises `InputError` for what is not as it should be.
    """
    paths = sorted(folder.glob(f"[!.]*{_ENDING}.json")) or sorted(folder.glob("[!.]*.json"))
    frames = {}
    for path in paths:
        contents = read_json(path)
        if not is_frame(contents):
            raise InputError(f"{path} has no 'people': a frame of OpenPose has")
        frames[path] = contents
    return _file(folder, "OpenPose", ((path, path.stem, each) for path, each in frames.items()))


def read_frame(path: Path, contents: dict[str, Any]) -> GivenFile:
    """One such file by itself. Raises `InputError` for what is not as it should be."""
    return _file(path, "OpenPose", [(path, path.stem, contents)])


def read_frames(path: Path, contents: dict[str, Any]) -> GivenFile:
    """AlphaPose's `--format open` and `cmu`: the frames in one file, by the names of their images.

    Raises `InputError` for what is not as it should be.
    """
    return _file(path, "AlphaPose", ((path, name, contents) for name, contents in contents.items()))


def _file(path: Path, kind: str, frames: Any) -> GivenFile:
    found: dict[Skeleton, Path] = {}
    sightings = []
    for file, name, contents in frames:
        for skeleton, sighting in _people(file, name, contents):
            found.setdefault(skeleton, file)
            sightings.append(sighting)
    if len(found) > 1:
        raise InputError(f"{path} mixes frames of BODY_25 and of COCO's 18 keypoints")
    return GivenFile(path, kind, next(iter(found), OPENPOSE25), sightings)


def _people(file: Path, name: str, contents: Any) -> Iterator[tuple[Skeleton, Sighting]]:
    frame = Entry.of(file, name, contents)
    key = next((key for key in _PEOPLE if key in frame), None)
    if key is None:
        raise frame.fault("people", "is missing")
    for number, person in enumerate(frame.entries(key, f"{name} person")):
        names = [each for each in _PEOPLE[key] if each in person] or [_PEOPLE[key][0]]
        if names[0] in person and not person.values[names[0]]:
            continue  # only a face or hands were found
        skeleton, keypoints = keypoints_of(person, names[0], OPENPOSE)
        yield (
            skeleton,
            Sighting(
                frame=name.removesuffix(_ENDING),
                place=f"{name} person {number}",
                keypoints=keypoints,
                person_id=_identity(person),
            ),
        )


def _identity(person: Entry) -> int | None:
    """OpenPose writes [-1] unless it was asked who is who."""
    values = person.values.get("person_id")
    number = values[0] if isinstance(values, list) and values else None
    return number if isinstance(number, int) and number >= 0 else None
