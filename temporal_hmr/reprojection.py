"""Bodies bent until their keypoints lie where the detector saw them.

A network that saw many people is right about depth, which pictures hide, and a little beside what
they show. Here its answer is the prior: rotations, place and shape are moved so that the projected
keypoints come to lie on the detected ones, as far as the detections can be believed (as in SMPLify,
Bogo et al., ECCV 2016, with the network's own answer in the place of a mixture of poses). A whole
clip is one least-squares problem, solved by Gauss-Newton steps.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Bool
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.keypoint_fit.clip import Clip
from temporal_hmr.keypoint_fit.settings import Reprojection
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.on_disk import let_go, zeros
from temporal_hmr.skeleton import COCO23, Skeleton
from temporal_hmr.threads import one_thread

CORE, MARGIN = 384, 64
"""Frames that are fitted at once, and those beside them that are fitted for their sake alone: so
far away, nothing is felt of a frame."""


def fit_to_keypoints(
    first: SmplParams,
    seen: FilledTrack,
    camera: Camera,
    body: PosedBody,
    skeleton: Skeleton = COCO23,
    settings: Reprojection = Reprojection(),
    jumps: Bool[ndarray, "T J"] | None = None,
    folder: Path | None = None,
) -> SmplParams:
    """The network's bodies, moved so that their keypoints lie on the detected ones.

    `first` has batch axis T, one shape, and a row for each frame of `seen`, on the CPU as `body`.
    `skeleton` says whose the keypoints are: `COCO23` or `BLAZEPOSE23`; bodies are not moved onto
    those of `jumps`. Frames without keypoints
    follow their neighbours. Shape comes first, from some frames of the clip, then motion. Time and
    memory for a frame do not depend on the length of the clip; what there is of each lies in files
    of the folder, if there is one.
    """
    # Pieces are too small to share: threads would spend their time waiting for each other, on a
    # busy machine a hundred times what the work takes.
    with torch.no_grad(), one_thread():
        jump = None if jumps is None else torch.from_numpy(jumps)
        clip = Clip.of(first, seen, camera, body, skeleton, settings, jump, folder)
        if settings.shaped:
            clip = clip.of_shape(clip.fitted_shape())
        rotations = zeros((len(seen), 24, 3, 3), folder, first.transl.dtype)
        transl = clip.first.transl.clone()
        for kept, around in _parts(len(seen)):
            there = slice(kept.start - around.start, kept.stop - around.start)
            found = clip.some(around).fitted()[there]
            rotations[kept], transl[kept] = found.rotations(), found.transl
            let_go(rotations, first.body_pose, seen.keypoints, clip.evidence.weight)
        return SmplParams.from_rotations(rotations, clip.first.betas, transl)


def _parts(frames: int) -> Iterator[tuple[slice, slice]]:
    """Frames to fit, some at a time, and all those that are fitted with them."""
    for begin in range(0, frames, CORE):
        end = min(begin + CORE, frames)
        yield slice(begin, end), slice(max(begin - MARGIN, 0), min(end + MARGIN, frames))
