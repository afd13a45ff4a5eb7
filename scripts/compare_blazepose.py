"""Our bodies beside BlazePose's own world landmarks, on videos without truth.

    python scripts/compare_blazepose.py VIDEO [VIDEO ...]

mediapipe's pose solution, smoothing on as it comes, follows one person; ours is the one who is
seen where they are. Without truth it can still be told that bones keep their length, that joints
do not jerk, and that bodies lie on their picture.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.motion import BodyMotion
from temporal_hmr.native_output import silenced
from temporal_hmr.skeleton import BLAZEPOSE33, COCO23
from temporal_hmr.tracking import track_video
from temporal_hmr.video import Clip, open_clip

SIDES = ("left", "right")
JOINTS = [
    f"{side}_{part}"
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in SIDES
]
BONES = [
    (JOINTS.index(f"{side}_{upper}"), JOINTS.index(f"{side}_{lower}"))
    for upper, lower in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("hip", "knee"),
        ("knee", "ankle"),
    )
    for side in SIDES
]


@dataclass(frozen=True, eq=False)
class InSpace:
    """Twelve joints of one person, in space and in the picture."""

    frames: Int[ndarray, "T"]
    space: Float[ndarray, "T 12 3"]
    """Metres."""
    projected: Float[ndarray, "T 12 2"]
    """Pixels."""
    detected: Float[ndarray, "T 12 2"]

    def bone_drift(self) -> float:
        """Standard deviation of the lengths of arms and legs over their mean, percent."""
        upper, lower = (self.space[:, list(ends)] for ends in zip(*BONES, strict=True))
        lengths = np.linalg.norm(upper - lower, axis=-1)
        return float((100 * lengths.std(0) / lengths.mean(0)).mean())

    def jitter(self, fps: float) -> float:
        """Third differences as seen from between the hips, 10 m/s^3, where frames follow."""
        hips = self.space[:, [JOINTS.index("left_hip"), JOINTS.index("right_hip")]]
        jerk = np.diff(self.space - hips.mean(1, keepdims=True), n=3, axis=0)
        follow = self.frames[3:] - self.frames[:-3] == 3
        if not follow.any():
            return float("nan")
        return float(np.linalg.norm(jerk[follow], axis=-1).mean() * fps**3 / 10)

    def reprojection(self) -> float:
        """Mean distance of projected and detected joints, percent of their box."""
        size = (self.detected.max(1) - self.detected.min(1)).max(1)
        away = np.linalg.norm(self.projected - self.detected, axis=-1).mean(1)
        return float((100 * away / size).mean())


def blazepose(clip: Clip) -> InSpace:
    """What mediapipe's pose solution makes of a clip; raises `InputError` if it sees nobody."""
    with silenced():
        from mediapipe.python.solutions.pose import Pose  # type: ignore[import-untyped]

        rows = []
        with Pose() as pose:
            for frame in clip:
                found: Any = pose.process(frame.image)
                if found.pose_world_landmarks is not None:
                    rows.append((frame.index, found.pose_world_landmarks, found.pose_landmarks))
    if not rows:
        raise InputError(f"BlazePose sees nobody in {clip.path}")
    which = BLAZEPOSE33.indices(*JOINTS)
    space = np.array([[(m.x, m.y, m.z) for m in world.landmark] for _, world, _ in rows])
    image = np.array([[(m.x, m.y) for m in flat.landmark] for *_, flat in rows])
    space, picture = space[:, which], image[:, which] * (clip.width, clip.height)
    return InSpace(np.array([row[0] for row in rows]), space, weakly(space, picture), picture)


def weakly(
    space: Float[ndarray, "T n 3"], picture: Float[ndarray, "T n 2"]
) -> Float[ndarray, "T n 2"]:
    """Points of unknown camera, projected with the best scale and shift of each frame."""
    flat = space[..., :2]
    middle, there = flat.mean(1, keepdims=True), picture.mean(1, keepdims=True)
    flat, beside = flat - middle, picture - there
    scale = (flat * beside).sum((1, 2)) / (flat**2).sum((1, 2))
    return scale[:, None, None] * flat + there


def ours(motion: BodyMotion, posed: PosedBody) -> InSpace:
    """The same joints of a recovered body, in frames in which it was observed."""
    which, seen = COCO23.indices(*JOINTS), motion.observed
    with torch.inference_mode():
        points = posed.body.regress(motion.smpl, posed.points_of(motion.skeleton))[:, which]
    projected = motion.camera.project(points).numpy()[seen]
    detected = motion.keypoints[seen][:, which, :2]
    return InSpace(motion.frames[seen], points.numpy()[seen], projected, detected)


def nearest(people: list[InSpace], to: InSpace) -> InSpace:
    """Who is seen where somebody else was seen; raises `InputError` if nobody is there."""

    def away(person: InSpace) -> float:
        _, mine, theirs = np.intersect1d(person.frames, to.frames, return_indices=True)
        apart = person.detected[mine] - to.detected[theirs]
        return float(np.abs(apart).mean()) if len(mine) else np.inf

    if not people:
        raise InputError("we find nobody where BlazePose sees somebody")
    return min(people, key=away)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; raises `InputError` for videos that cannot be used or show nobody."""
    parser = argparse.ArgumentParser(description="Our bodies beside BlazePose's world landmarks.")
    parser.add_argument("videos", nargs="+", type=Path)
    print(f"{'video':28s} {'joints of':14s} frames  bone drift %  jitter  reprojection %")
    posed = PosedBody(load_body())
    for video in parser.parse_args(arguments).videos:
        clip = open_clip(video)
        theirs = blazepose(clip)
        motion = nearest([ours(each, posed) for each in track_video(video).motions], theirs)
        for name, joints in (("BlazePose", theirs), ("temporal_hmr", motion)):
            print(
                f"{video.name:28s} {name:14s} {len(joints.frames):6d}  {joints.bone_drift():12.1f}"
                f"  {joints.jitter(clip.fps):6.1f}  {joints.reprojection():14.2f}"
            )


if __name__ == "__main__":
    run_door(main)
