"""Rendered videos and what is tracked in them: `track` itself against a truth known exactly.

The videos are those of `scripts/render_clips.py --videos`: `0000.mp4` beside `0000_person0.npz`,
the truth of everybody in it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from temporal_hmr.command_line import Stage
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.benchmark import Predictions, by_video
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.matching import assign
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.output.npz import load_motion

SUFFIX = ".mp4"


def read_videos(folder: Path) -> list[LabelledSequence]:
    """Everybody in every video of a folder, in the camera frame of their video.

    A frame counts if something of the person can be seen in it. Raises `InputError` if there is no
    video, or one without truth.
    """
    videos = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not videos:
        raise InputError(f"{folder} has no rendered videos: see scripts/render_clips.py --videos")
    people = []
    for video in videos:
        truths = sorted(folder.glob(f"{video.stem}_person*.npz"))
        if not truths:
            raise InputError(f"{video} has no truth beside it ({video.stem}_person0.npz)")
        people += [_labelled(load_motion(path), path, video) for path in truths]
    return people


def _labelled(motion: BodyMotion, path: Path, video: Path) -> LabelledSequence:
    frames = len(motion.frames)
    return LabelledSequence(
        name=path.stem,
        video=video.stem,
        fps=motion.fps,
        gender="neutral",
        smpl=motion.smpl.map(lambda tensor: tensor.double()),
        rotation=torch.eye(3, dtype=torch.float64).expand(frames, 3, 3),
        translation=torch.zeros(frames, 3, dtype=torch.float64),
        camera=motion.camera,
        boxes=motion.boxes,
        keypoints=motion.keypoints,
        skeleton=motion.skeleton,
        frame_rules={"all": motion.observed},
    )


def track_videos(
    folder: Path,
    sequences: Sequence[LabelledSequence],
    track: Callable[[Path, LabelledSequence], Sequence[BodyMotion]],
    bodies: Bodies,
) -> Predictions:
    """Who was found for everybody in the videos of the sequences.

    `track` is given a video and somebody labelled in it, who knows its camera.
    """
    motions: dict[str, PredictedMotion | None] = {}
    notes: list[str] = []
    videos: Mapping[str, Sequence[LabelledSequence]] = by_video(sequences)
    for video, people in Stage("tracking").track(videos.items(), len(videos), unit="video"):
        found = [
            PredictedMotion.of(motion, f"{video} person {motion.person_id}")
            for motion in track(folder / f"{video}{SUFFIX}", people[0])
        ]
        assignment = assign(people, found, bodies)
        motions |= assignment.motions
        notes += [f"{video}: {note}" for note in assignment.notes]
    return Predictions(motions, tuple(notes))
