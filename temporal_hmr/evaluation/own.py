"""Our own answer for a labelled video, by the code that tracks users' videos.

What is measured is what users get, except where the settings hand over something of the truth:
boxes, keypoints or focal length.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import Stage
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.given_keypoints import dataset_track, file_track
from temporal_hmr.images import read_image
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import BodyMotion, Person2D, Track
from temporal_hmr.people.boxed import BoxedPeople
from temporal_hmr.people.mediapipe import find_people
from temporal_hmr.people.tracker import link
from temporal_hmr.recover import recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.video import Frame

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnSettings:
    """What our tracker is told of the truth, and what it must find itself.

    Raises `InputError` where two of the settings contradict each other.
    """

    boxes: Literal["truth", "tracked"] = "truth"
    """Whether people are read in their true boxes, or found and followed in the bare video."""
    keypoints: Literal["detected", "dataset"] = "detected"
    """Whether keypoints are detected in the images, or those of the dataset are taken."""
    keypoint_folder: Path | None = None
    """Keypoints from elsewhere instead: a folder of `<sequence name>.npz`, see `file_track`."""
    focal: Literal["truth", "assumed"] = "truth"
    """Whether the camera is known, or its focal length is taken to be the image diagonal."""
    temporal: bool = True
    """False leaves the temporal module out."""
    refine: bool = True
    """Whether bodies are moved onto the detected keypoints in the end."""

    def __post_init__(self) -> None:
        if self.keypoint_folder is not None and self.keypoints == "dataset":
            raise InputError("keypoints come from the dataset or from a folder, not from both")
        if self.boxes == "tracked" and not self.detects:
            raise InputError("given keypoints say who is where: leave the boxes at truth")

    @property
    def detects(self) -> bool:
        """Whether the images are needed."""
        return self.keypoints == "detected" and self.keypoint_folder is None


def recover_video(
    people: Sequence[LabelledSequence],
    model: Hmr,
    body: BodyModel,
    settings: OwnSettings = OwnSettings(),
    stage: Stage | None = None,
) -> dict[str, BodyMotion]:
    """The bodies of all labelled people of one video, or of everybody tracked in it, by name.

    In true boxes a motion bears the name of its sequence, and whoever was never seen has none; a
    log line says so. People tracked are named after the video and their number, and who is who
    remains to be found.

    Raises `InputError` for images or keypoint files that are not there or cannot be used.
    """
    if not people:
        return {}
    if model.config.image_side() is not None:
        for person in people:
            check_images(person)
    tracks = find_tracks(people, settings, stage)
    camera, fps = _camera(people[0].camera, settings.focal), people[0].fps

    def images(track: Track) -> Iterator[Frame]:
        return _frames(people[0], np.arange(track.frames[0], track.frames[-1] + 1))

    fit = Reprojection() if settings.refine else None
    return {
        name: recover(model, body, track, camera, fps, settings.temporal, images(track), fit)
        for name, track in tracks.items()
    }


def find_tracks(
    people: Sequence[LabelledSequence], settings: OwnSettings, stage: Stage | None = None
) -> dict[str, Track]:
    """What `recover_video` recovers bodies from, by name; the costly part of it where it detects.

    Raises `InputError` as `recover_video` does.
    """
    if len({person.video for person in people}) != 1:
        raise ValueError("give the people of one video")
    stage = stage or Stage("", shown=False)
    if not settings.detects:
        tracks = {
            person.name: _given(person, settings.keypoint_folder)
            for person in stage.track(people, len(people), unit="person")
        }
        return _found(tracks)
    for person in people:
        check_images(person)
    if settings.boxes == "tracked":
        return _follow(people[0], stage)
    return _found(_read_boxes(people, stage))


def check_images(person: LabelledSequence) -> None:
    """Whether there is an image for every frame; none is opened.

    Raises `InputError` that counts those missing and names the first.
    """
    if not person.images:
        raise InputError(
            f"{person.name} has no images: get those of the dataset, or give its keypoints"
        )
    missing = [path for path in person.images if not path.is_file()]
    if missing:
        raise InputError(
            f"{person.name} lacks {len(missing)} of its {len(person.images)} images, first "
            f"{missing[0]}: get the images of the dataset, or give its keypoints"
        )


def _camera(truth: Camera, focal: str) -> Camera:
    if focal == "assumed":
        return Camera.with_assumed_focal(truth.width, truth.height)
    # Models compute in float32, whatever the labels were stored in.
    return replace(truth, focal=truth.focal.float(), center=truth.center.float())


def _given(person: LabelledSequence, folder: Path | None) -> Track | None:
    return dataset_track(person) if folder is None else file_track(person, folder)


def _found(tracks: dict[str, Track | None]) -> dict[str, Track]:
    for name, track in tracks.items():
        if track is None:
            _log.warning("%s is seen in no frame and has no prediction", name)
    return {name: track for name, track in tracks.items() if track is not None}


def _follow(person: LabelledSequence, stage: Stage) -> dict[str, Track]:
    """Everybody in the video of this person, found as in users' videos."""
    numbers = np.arange(len(person))
    frames = stage.track(_frames(person, numbers), len(numbers))
    tracks = link((frame.index, frame.time, seen) for frame, seen in find_people(frames))
    return {f"{person.video} person {track.person_id}": track for track in tracks}


def _read_boxes(people: Sequence[LabelledSequence], stage: Stage) -> dict[str, Track | None]:
    """Each person as read in their true boxes; None for whoever could be read in none."""
    boxes = np.stack([person.boxes for person in people], 1)
    numbers = np.flatnonzero(np.isfinite(boxes).all(-1).any(-1))
    frames = stage.track(_frames(people[0], numbers), len(numbers))
    with BoxedPeople() as reader:
        readings = {frame.index: reader.read_boxes(frame, boxes[frame.index]) for frame in frames}
    return {
        person.name: _read_track(person, {frame: seen[row] for frame, seen in readings.items()})
        for row, person in enumerate(people)
    }


def _read_track(person: LabelledSequence, readings: dict[int, Person2D | None]) -> Track | None:
    seen = {frame: reading for frame, reading in readings.items() if reading is not None}
    if not seen:
        return None
    frames = np.array(list(seen))
    keypoints = np.stack([reading.keypoints for reading in seen.values()])
    boxes, skeleton = person.boxes[frames], next(iter(seen.values())).skeleton
    return Track(0, frames, frames / person.fps, boxes, keypoints, skeleton)


def _frames(person: LabelledSequence, numbers: Int[ndarray, "N"]) -> Iterator[Frame]:
    """Those frames of the person's video; one whose image cannot be read is left out and logged.

    Raises `InputError` for an image of another size than the camera's.
    """
    camera = person.camera
    for number in numbers.tolist():
        path = person.images[number]
        try:
            image = read_image(path)
        except InputError:
            _log.warning(
                "frame %d of %s counts as unseen: its image %s cannot be read",
                number,
                person.video,
                path,
            )
            continue
        height, width = image.shape[:2]
        if (width, height) != (camera.width, camera.height):
            raise InputError(
                f"{path} is {width} x {height} pixels where the labels of {person.name} are for "
                f"{camera.width} x {camera.height}: get the images in their original size"
            )
        yield Frame(number, number / person.fps, image)
