"""Measure what the built-in detector means and how it errs, on rendered videos.

    python scripts/render_clips.py MOCAP --videos -o VIDEOS --clips 80 --frames 40 --side 720
    python scripts/measure_detector.py VIDEOS

BlazePose reads everybody in their true boxes. The first table says where it puts each keypoint,
from where COCO's annotators would, as an offset that goes with the body part: millimetres in the
axes of the resting body (x to the body's left, y up, z forward), once from every other video and
once from the rest, and the median error before and after. `body/detector_points.py` has their
means. The second table is of the error that remains, over the longer side of the true box, by how
sure the detector was.
"""

import argparse
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.detector_points import part_of
from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import run_door
from temporal_hmr.crops import extents
from temporal_hmr.evaluation.readings import Reading, read_videos_in_boxes
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, SMPL24

SURE = 0.7
"""Confidence from which a keypoint says what the detector means."""
WILD = 0.12
"""Errors beyond this share of the box are mistakes, whatever was meant."""
MISREAD = 0.04
"""Share of the box; in frames whose median error is larger, somebody else or nothing was read."""
LEAST_SIDE = 120
"""Pixels: in smaller people a pixel is centimetres."""
TYPICAL = 0.02
"""Metres from which the robust fit believes an error less and less."""
CONFIDENCES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.01)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables; raises `InputError` for a folder without rendered videos."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("videos", type=Path, metavar="VIDEOS", help="folder of rendered videos")
    folder = parser.parse_args(arguments).videos
    readings = read_videos_in_boxes(folder)
    print_offsets(readings)
    print_errors(readings)


def print_offsets(readings: list[Reading]) -> None:
    """Where the detector puts keypoints, joint by joint."""
    posed = PosedBody(load_body())
    print("keypoint          frames  offset of even videos, mm   of odd videos   median error, mm")
    for joint, name in enumerate(COCO23.joints):
        parts = [seen_from_part(reading, posed, joint) for reading in readings]
        known = [each for each in parts if len(each[0])]
        if not known:
            print(f"{name:16}  never reported")
            continue
        axes, errors = (torch.cat(each) for each in zip(*known, strict=True))
        video = torch.cat(
            [
                torch.full((len(each[0]),), reading.video)
                for reading, each in zip(readings, parts, strict=True)
            ]
        )
        even = video % 2 == 0
        halves = [offset(axes[half], errors[half]) for half in (even, ~even)]
        before = 1000 * float(errors.norm(dim=-1).median())
        rest = errors - axes @ offset(axes, errors)
        after = 1000 * float(rest.norm(dim=-1).median())
        told = "   ".join(
            " ".join(f"{1000 * value:5.0f}" for value in half.tolist()) for half in halves
        )
        print(f"{name:16} {len(errors):6}   {told}   {before:.1f} -> {after:.1f}")


def seen_from_part(
    reading: Reading, posed: PosedBody, joint: int
) -> tuple[Float[Tensor, "n 2 3"], Float[Tensor, "n 2"]]:
    """Image axes in those of the body part, and the detector's error in metres at its depth."""
    truth = reading.truth
    smpl = truth.smpl.map(lambda tensor: tensor.float())
    points = posed.body.regress(smpl, posed.detector_points)[:, joint]
    turned = posed.body.global_rotations(smpl)[:, SMPL24.index(part_of(COCO23.joints[joint]))]
    error = torch.from_numpy(reading.found[:, joint, :2]).float() - truth.camera.project(points)
    metres = error * points[:, 2:] / truth.camera.focal
    chosen = torch.from_numpy(meant(reading)[:, joint])
    return turned[chosen, :2], metres[chosen]


def meant(reading: Reading) -> Bool[ndarray, "T 23"]:
    """Keypoints that the detector was sure of and that are no mistake."""
    truth, side = reading.truth, sides(reading)
    error = np.linalg.norm(reading.found[..., :2] - truth.keypoints[..., :2], axis=-1)
    near = error < WILD * side[:, None]
    there = truth.keypoints[..., 2] > 0
    known = np.where(there & (reading.found[..., 2] > CONFIDENCES[2]), error, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames of NaN have no median
        read = np.nanmedian(known, 1) < MISREAD * side
    sure = there & (reading.found[..., 2] > SURE)
    return sure & near & (read & (side > LEAST_SIDE))[:, None]


def sides(reading: Reading) -> Float[ndarray, "T"]:
    """Longer sides of the true boxes, pixels; 0 where nothing can be seen."""
    box = extents(reading.truth.keypoints)
    return np.nan_to_num((box[:, 2:] - box[:, :2]).max(-1))


def offset(axes: Float[Tensor, "n 2 3"], errors: Float[Tensor, "n 2"]) -> Float[Tensor, "3"]:
    """The vector in the part that explains the errors best (least squares, reweighted)."""
    weight = torch.ones(len(errors))
    solution = torch.zeros(3)
    for _ in range(10):
        weighted = axes * weight[:, None, None]
        normal = torch.einsum("nik,nil->kl", weighted, axes) + 1e-3 * torch.eye(3)
        solution = torch.linalg.solve(normal, torch.einsum("nik,ni->k", weighted, errors))
        rest = (errors - axes @ solution).norm(dim=-1)
        weight = 1 / (1 + (rest / TYPICAL) ** 2)
    return solution


def print_errors(readings: list[Reading]) -> None:
    """What is left of the error when BlazePose's own points are taken for the truth."""
    posed = PosedBody(load_body())
    errors, confidences = [], []
    for reading in readings:
        truth, side = reading.truth, sides(reading)
        smpl = truth.smpl.map(lambda tensor: tensor.float())
        points = posed.body.regress(smpl, posed.points_of(BLAZEPOSE23))
        error = reading.found[..., :2] - truth.camera.project(points).numpy()
        known = (reading.found[..., 2] > 0) & (truth.keypoints[..., 2] > 0)
        share = np.linalg.norm(error, axis=-1) / np.maximum(side, 1)[:, None]
        errors.append(share[known])
        confidences.append(reading.found[..., 2][known])
    error, confidence = np.concatenate(errors), np.concatenate(confidences)
    print("\nconfidence     keypoints   median error   mean   (share of the box)")
    for low, high in itertools.pairwise(CONFIDENCES):
        chosen = error[(confidence >= low) & (confidence < high)]
        if len(chosen):
            middle, mean = float(np.median(chosen)), float(chosen.mean())
            print(f"{low:.2f} - {high:.2f}  {len(chosen):9}   {middle:12.4f}   {mean:.4f}")


if __name__ == "__main__":
    run_door(main)
