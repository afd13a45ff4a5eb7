"""Who is who in a clip: its frames looked at one after the other, and people linked into tracks."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.ahead import Ahead
from temporal_hmr.journal import Journal
from temporal_hmr.motion import Track
from temporal_hmr.people.backwards import BodyReader, follow_back
from temporal_hmr.people.recalled import Detector, RecalledPeople
from temporal_hmr.people.shots import CutDetector
from temporal_hmr.people.tracker import Tracker
from temporal_hmr.video import Clip, Frame
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
    people_in_frames: Int[ndarray, "N"]
    """How many were seen in each frame, whether they could be followed or not."""


def follow(
    frames: Iterable[Frame],
    detector: Detector,
    journal: Journal | None = None,
    watch: CameraWatch | None = None,
    clip: Clip | None = None,
) -> Followed:
    """Look at every frame that can be read. Nobody is followed from one shot into the next.

    The next few frames are got meanwhile, in a thread of their own. What the detector finds goes
    into the journal, and what is there already is not looked for again; keypoints lie in files
    beside it. `watch` is shown the frames too. Whoever was found is followed back, too, if the clip
    that the frames are of is given and the detector is one that can (`people.backwards`).
    """
    tracker, seeing = Tracker(), RecalledPeople(detector, journal)
    numbers, times, cuts, counts = array("q"), array("d"), array("q"), array("q")
    with Ahead(_in_shots(frames)) as coming:
        for frame, begins_shot, people in seeing.seen(coming):
            if begins_shot:
                tracker.cut()
                cuts.append(frame.index)
            tracker.update(frame, people)
            if watch is not None and not frame.damaged:
                watch.add(frame, np.array([person.box for person in people]).reshape(-1, 4))
            numbers.append(frame.index)
            times.append(frame.time)
            counts.append(len(people))
    looked_at, at, begun = (np.array(each) for each in (numbers, times, cuts))
    folder = None if journal is None else journal.folder
    tracks = tracker.tracks(folder)
    if clip is not None and isinstance(detector, BodyReader):
        tracks = follow_back(tracks, clip, (looked_at, at), begun, detector, folder)
    return Followed(tracks, looked_at, at, begun, np.array(counts))


def _in_shots(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether another shot begins with it."""
    shots = CutDetector()
    for frame in frames:
        yield frame, not frame.damaged and shots.begins(frame.image)
