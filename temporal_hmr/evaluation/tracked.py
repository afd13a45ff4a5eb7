"""Our own tracker run over a dataset, video by video; what is done is kept and not done again."""

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from temporal_hmr.body.model import BodyModel, body_digest
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.command_line import Stage
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.benchmark import Predictions, by_video
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.given_keypoints import keypoint_file
from temporal_hmr.evaluation.matching import assign
from temporal_hmr.evaluation.own import OwnSettings, check_images, recover_video
from temporal_hmr.interchange.ours import read_ours
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.output.npz import (
    Provenance,
    atomic_path,
    package_version,
    save_motion,
)
from temporal_hmr.recover import default_weights, load_model

_SETTINGS, _DONE = "settings.json", "people.json"
_DAMAGE = (InputError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What files raise that are lost, cut or garbled."""
_log = logging.getLogger(__name__)


def track_sequences(
    sequences: Sequence[LabelledSequence],
    bodies: Bodies,
    weights: Path | None,
    settings: OwnSettings,
    folder: Path,
) -> Predictions:
    """Predictions for all sequences; each person's result file is written to `folder` at once.

    A run that was interrupted goes on where it stopped: videos whose files are there are not
    tracked again, unless anything that the tracker is told has changed. Raises `InputError` if
    images are missing, or the folder holds predictions that were made otherwise.
    """
    path = default_weights() if weights is None else weights
    model = load_model(path, torch.device("cpu"))
    looks = settings.detects or model.config.image_side() is not None
    if looks:
        for sequence in sequences:
            check_images(sequence)
    body = copy.deepcopy(bodies.of("neutral")).float()
    _claim(folder, {**asdict(settings), "weights": file_hash(path), "body": body.name})
    made_by = f"{package_version()} {body_digest(body)}"
    videos = by_video(sequences)
    motions: dict[str, PredictedMotion | None] = {}
    notes = []
    for video, people in Stage("tracking").track(videos.items(), len(videos), unit="video"):
        place = folder / video.replace("/", "_")
        told = _told(people, made_by, settings.keypoint_folder, looks)
        found = _kept(place, told)
        if found is None:
            provenance = _provenance(video, path, body)
            tracked = recover_video(people, model, body, settings)
            found = {name: PredictedMotion.of(motion, name) for name, motion in tracked.items()}
            _keep(place, tracked, provenance, told)
        if settings.boxes == "truth":
            motions |= {person.name: found.get(person.name) for person in people}
        else:
            assignment = assign(people, list(found.values()), bodies)
            motions |= assignment.motions
            notes += [f"{video}: {note}" for note in assignment.notes]
    return Predictions(motions, tuple(notes))


def _claim(folder: Path, settings: dict[str, object]) -> None:
    """Refuse to mix predictions that were made in different ways."""
    text = (json.dumps(settings, indent=1, default=str) + "\n").encode()
    path = folder / _SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() != text:
            raise InputError(
                f"{folder} holds predictions made with other settings or weights; give another "
                "--output-dir, or remove it"
            )
        path.write_bytes(text)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def _told(
    people: Sequence[LabelledSequence], made_by: str, keypoint_folder: Path | None, looks: bool
) -> str:
    """A hash of who makes the predictions and all that they may be told of a video's people.

    Where it `looks` at images, another size or time of a file is another image.
    """
    digest = hashlib.sha256(made_by.encode())
    for person in people:
        camera = (person.camera.focal, person.camera.center)
        images = [_stamp(path) if looks else str(path) for path in person.images]
        size = (person.camera.width, person.camera.height)
        digest.update(f"{person.name} {person.fps} {size} {images}".encode())
        for array in (person.boxes, person.keypoints, *(each.numpy() for each in camera)):
            digest.update(np.ascontiguousarray(array).tobytes())
        if keypoint_folder is not None and keypoint_file(person, keypoint_folder).is_file():
            digest.update(file_hash(keypoint_file(person, keypoint_folder)).encode())
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _keep(place: Path, motions: dict[str, BodyMotion], provenance: Provenance, told: str) -> None:
    """One file per person; the list of them is written last, and says that all are there."""
    place.mkdir(exist_ok=True)
    files = {}
    for number, (name, motion) in enumerate(motions.items()):
        files[f"person_{number:03d}.npz"] = name
        save_motion(motion, place / f"person_{number:03d}.npz", provenance)
    with atomic_path(place / _DONE) as temporary:
        contents = {"told": told, "people": files}
        temporary.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def _kept(place: Path, told: str) -> dict[str, PredictedMotion] | None:
    """What an earlier run left of this video; None without any, or if it was told otherwise.

    None also for what cannot be read, of which a log line tells.
    """
    if not (place / _DONE).exists():
        return None
    try:
        contents = json.loads((place / _DONE).read_text(encoding="utf-8"))
        if contents["told"] != told:
            return None
        people = contents["people"].items()
        return {name: replace(read_ours(place / file)[0], name=name) for file, name in people}
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        _log.warning("%s is computed anew, being damaged: %s", place, reason)
        return None


def _provenance(video: str, weights: Path, body: BodyModel) -> Provenance:
    return Provenance(
        source=video,
        source_sha256="",
        body=body.name,
        body_licence=body.licence,
        weights=weights.name,
        weights_sha256=file_hash(weights),
        package_version=package_version(),
    )
