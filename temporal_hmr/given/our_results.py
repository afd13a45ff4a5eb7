"""Keypoints in results of ours, so that they are recovered anew without looking for people."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.checkpoint import digest
from temporal_hmr.errors import InputError
from temporal_hmr.given.lens import Lens, told_lens
from temporal_hmr.given.sightings import GivenFile, Sighting
from temporal_hmr.interchange.ours import read_ours
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.video import Clip

OF_A_FOLDER = "person_*.npz"

_log = logging.getLogger(__name__)


def read_results(path: Path, clip: Clip) -> GivenFile:
    """One npz, or all of a folder; what was filled in there is left out.

    Where distortion was taken out it is put back, so that pixels are the video's. Raises
    `InputError` for files that are not ours, or not of this clip.
    """
    files = sorted(path.glob(OF_A_FOLDER)) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} is a result in which nobody was found: there are no keypoints")
    sightings, skeletons, detectors, sizes, sources = [], set(), set(), set(), {}
    for file in files:
        (motion,) = read_ours(file)
        meta = json.loads(str(read_arrays(file, lambda names: ["meta"])["meta"]))
        _check_times(file, motion, clip)
        assert motion.skeleton is not None and motion.camera is not None
        skeletons.add(motion.skeleton)
        detectors.add(str(meta.get("detector") or "unknown"))
        sizes.add((motion.camera.width, motion.camera.height))
        sources[meta.get("source_sha256")] = str(meta.get("source") or "another video")
        sightings += _sightings(file, motion, told_lens(meta, motion.camera))
    if len(skeletons) > 1 or len(sizes) > 1:
        raise InputError(f"{path} holds results of different videos: give those of one")
    _warn_of_another_video(path, sources, clip)
    kind = f"temporal_hmr result ({', '.join(sorted(detectors))})"
    return GivenFile(path, kind, skeletons.pop(), sightings, image_size=sizes.pop())


def _warn_of_another_video(path: Path, sources: Mapping[str | None, str], clip: Clip) -> None:
    """It may be the same one encoded anew, or another one as long and as large."""
    others = {name for sha256, name in sources.items() if sha256 not in (None, digest(clip.path))}
    if others:
        _log.warning(
            "%s was made of %s, which is not the file %s: are these its people?",
            path,
            " and ".join(sorted(others)),
            clip.path.name,
        )


def _sightings(file: Path, motion: PredictedMotion, lens: Lens | None) -> list[Sighting]:
    assert motion.keypoints is not None and motion.filled is not None
    keypoints = np.array(motion.keypoints, np.float64)
    known = keypoints[..., 2] > 0
    if lens is not None:
        keypoints[known, :2] = lens.bent(keypoints[known, :2])
    return [
        Sighting(
            frame=int(frame),
            place=f"{file.name} frame {frame}",
            keypoints=keypoints[position],
            person_id=motion.person_id,
        )
        for position, frame in enumerate(motion.frames)
        if not motion.filled[position]
    ]


def _check_times(file: Path, motion: PredictedMotion, clip: Clip) -> None:
    assert motion.times is not None
    frames = motion.frames
    within = frames < len(clip.times)
    apart = np.abs(clip.times[frames[within]] - motion.times[within])
    if len(apart) and apart.max() > 0.5 / clip.fps:
        at = int(apart.argmax())
        raise InputError(
            f"{file} is of another video: its frame {frames[within][at]} is at "
            f"{motion.times[within][at]:.3f} s, and that of {clip.path.name} at "
            f"{clip.times[frames[within][at]]:.3f} s"
        )
