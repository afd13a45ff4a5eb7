"""Who is who in a clip: its frames looked at one after the other, and people linked into tracks."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.journal import Journal
from temporal_hmr.motion import Track
from temporal_hmr.people.recalled import Detector, RecalledPeople
from temporal_hmr.people.shots import CutDetector
from temporal_hmr.people.tracker import Tracker
from temporal_hmr.video import Frame
from temporal_hmr.world.camera_watch import CameraWatch


@dataclass(frozen=True, eq=False)
class Followed:
    """What looking at a clip gave."""

    tracks: list[Track]
    frames: Int[ndarray, "N"]
    """Numbers of all frames that were looked at."""
    times: Float[ndarray, "N"]
    """Their presentation times in seconds."""
    cuts: Int[ndarray, "C"]
    """Numbers of the frames that begin another shot."""


def follow(
    frames: Iterable[Frame],
    detector: Detector,
    journal: Journal | None = None,
    watch: CameraWatch | None = None,
) -> Followed:
    """Look at every frame. Nobody is followed from one shot into the next.

    What the detector finds goes into the journal, and what is there already is not looked for
    again; keypoints lie in files beside it. `watch` is shown the frames too.
    """
    tracker, shots, seeing = Tracker(), CutDetector(), RecalledPeople(detector, journal)
    numbers, times, cuts = array("q"), array("d"), array("q")
    for frame in frames:
        if shots.begins(frame.image):
            tracker.cut()
            seeing.begin_shot()
            cuts.append(frame.index)
        people = seeing.people(frame)
        tracker.update(frame, people)
        if watch is not None:
            watch.add(frame, np.array([person.box for person in people]).reshape(-1, 4))
        numbers.append(frame.index)
        times.append(frame.time)
    arrays = (np.array(each) for each in (numbers, times, cuts))
    return Followed(tracker.tracks(None if journal is None else journal.folder), *arrays)
