"""Whole results corrected: people recovered anew where need be, the rest bit by bit as it was."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporal_hmr.editing.frame_times import FrameTimes
from temporal_hmr.editing.recovering import RecoverSettings, recovered, result_body
from temporal_hmr.editing.result import Person, Result
from temporal_hmr.editing.steps import Step
from temporal_hmr.editing.tracks import same_sightings
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.folder import (
    described,
    person_file,
    publish_results,
    seen_from,
    tracked_video,
)
from temporal_hmr.output.npz import package_version, rewrite_motion, save_motion
from temporal_hmr.world.placing import find_world

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EditedPerson:
    """Somebody in the corrected result."""

    motion: BodyMotion
    former: Person | None
    """Of whom just the same was seen; None if the motion was recovered anew."""


@dataclass(frozen=True, eq=False)
class EditedResult:
    """A corrected result, not yet written."""

    result: Result
    """As it was."""
    people: list[EditedPerson]
    """In the order of their numbers."""
    steps: tuple[Step, ...]
    world: dict[str, Any] | None = None
    """What the summary says of the world, if it was found anew."""

    @property
    def anew(self) -> list[int]:
        """The numbers of those who were recovered anew."""
        return [each.motion.person_id for each in self.people if each.former is None]

    def save(self, folder: Path) -> None:
        """Write it in the place of what is in the folder, which stays whole until all is written.

        Raises `InputError` if it cannot be written.
        """
        video = tracked_video(self.result.folder)
        place = {} if video is None else {"source_path": seen_from(folder, video)}
        publish_results(folder, self.summary() | place, self._write)

    def summary(self) -> dict[str, Any]:
        """What `result.json` is to say."""
        before = self.result.summary
        told = {each["file"]: each for each in before["people"]}
        people = [
            described(each.motion)
            if each.former is None
            else told[each.former.file.name]
            | {"person_id": each.motion.person_id, "file": person_file(each.motion.person_id)}
            for each in self.people
        ]
        edit = {
            "steps": [step.text for step in self.steps],
            "recovered": self.anew,
            "package_version": package_version(),
        }
        edits = [*before.get("edits", []), edit]
        world = {} if self.world is None else {"world": self.world}
        return before | world | {"people": people, "edits": edits}

    def _write(self, folder: Path) -> None:
        for each in self.people:
            to = folder / person_file(each.motion.person_id)
            if each.former is None:
                save_motion(each.motion, to, self.result.provenance)
            elif each.motion is each.former.motion:
                shutil.copyfile(each.former.file, to)
            else:
                rewrite_motion(each.former.file, each.motion, to, self.world is not None)


def edit_result(
    result: Result, steps: Sequence[Step], settings: RecoverSettings = RecoverSettings()
) -> EditedResult:
    """Take the steps one after the other, and recover those whose sightings they changed.

    Where the result has a world and anybody changes, everybody's place in it is found anew. Raises
    `InputError` for a step that cannot be taken, and if bodies cannot be recovered as before.
    """
    before = [person.track for person in result.people]
    if not before:
        raise InputError(f"nobody is in {result.folder}: there is nothing to edit")
    clock = FrameTimes.of(before, result.settings.get("stride") or 1)
    tracks = list(before)
    for step in steps:
        tracks = step.change(tracks, clock)
    former = [_former(track, result.people) for track in tracks]
    changed = [track for track, person in zip(tracks, former, strict=True) if person is None]
    _warn_of_cuts(changed, result, clock)
    anew = iter(recovered(result, changed, settings) if changed else ())
    people = [
        EditedPerson(next(anew) if person is None else _numbered(person, track), person)
        for track, person in zip(tracks, former, strict=True)
    ]
    edited = EditedResult(result, people, tuple(steps))
    had_world = any(person.motion.world is not None for person in result.people)
    return _in_world(edited, settings) if changed and had_world else edited


def _former(track: Track, people: Sequence[Person]) -> Person | None:
    """Who is just the same, whatever the number."""
    return next((each for each in people if same_sightings(each.track, track)), None)


def _numbered(person: Person, track: Track) -> BodyMotion:
    if track.person_id == person.motion.person_id:
        return person.motion
    return replace(person.motion, person_id=track.person_id)


def _warn_of_cuts(tracks: Sequence[Track], result: Result, clock: FrameTimes) -> None:
    for track in tracks:
        first, last = track.frames[[0, -1]]
        for cut in (cut for cut in result.summary.get("cuts", []) if first < cut <= last):
            _log.warning(
                "person %d goes on over the cut at %.2f s (frame %d): the body moves smoothly from "
                "one shot into the other",
                track.person_id,
                clock.time(cut),
                cut,
            )


def _in_world(edited: EditedResult, settings: RecoverSettings) -> EditedResult:
    """With everybody's place in the world of those who are there now."""
    body = result_body(edited.result, settings.body)
    foot_lock = edited.result.settings.get("foot_lock") is True
    found = find_world([each.motion for each in edited.people], body, foot_lock)
    if isinstance(found, str):
        _log.warning("there is no world any more: %s", found)
        motions = [replace(each.motion, world=None) for each in edited.people]
        world: dict[str, Any] = {"missing": found}
    else:
        motions = found
        world = next(each.world.told for each in found if each.world is not None)
    people = [
        replace(each, motion=motion) for each, motion in zip(edited.people, motions, strict=True)
    ]
    return replace(edited, people=people, world=world)
