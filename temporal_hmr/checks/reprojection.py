"""Whether the body covers what was seen: its keypoints in the image against those detected."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.camera import Camera
from temporal_hmr.checks.findings import Finding, Signal, found, not_judged, with_remarks
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.subject import Subject
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.skeleton import COCO17, COCO23

_NAME, _UNIT = "reprojection", "% of box"


def reprojection_findings(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """Distance between projected and detected keypoints, over the longer side of the box."""
    if subject.keypoints is None or subject.skeleton is None:
        return [not_judged(_NAME, _UNIT, "the file has no detected keypoints")]
    if subject.camera is None or subject.camera_place is None:
        return [not_judged(_NAME, _UNIT, "the file has no camera that the body stands before")]
    names = [joint for joint in COCO17.joints if joint in subject.skeleton.joints]
    own, theirs = COCO23.indices(*names), subject.skeleton.indices(*names)
    size = subject.camera.width, subject.camera.height

    def errors(
        points: ndarray, keypoints: ndarray, focal: ndarray, center: ndarray, *boxes: ndarray
    ) -> ndarray:
        detected = keypoints[:, theirs]
        with np.errstate(invalid="ignore"):
            seen = detected[..., 2] > thresholds.reprojection_confidence
        camera = Camera(torch.from_numpy(focal), torch.from_numpy(center), *size)
        pixels = np.linalg.norm(_projected(points[:, own], camera) - detected[..., :2], axis=-1)
        sides = _sides(boxes[0]) if boxes else _sides(_boxes_of(detected, seen))
        return np.stack([seen.any(1), _mean_over(pixels, seen), sides], 1)

    place, camera = subject.camera_place, subject.camera
    boxes = () if subject.boxes is None else (subject.boxes,)
    lens = camera.focal.numpy(), camera.center.numpy()
    seen, error, sides = in_parts(errors, place.points, subject.keypoints, *lens, *boxes).T
    if not seen.any():
        return [not_judged(_NAME, _UNIT, "no COCO keypoint was detected confidently")]
    share = 100.0 * error / sides
    signal = Signal(share, subject.clock)
    limits = thresholds.limits(_NAME)
    moments = signal.moments(limits.fail)
    finding = found(_NAME, signal.mean(), _UNIT, limits, signal, moments)
    known = np.isfinite(share)
    note = f"{error[known].mean():.1f} px in {known.sum()} frames" if known.any() else ""
    behind = f"behind the camera in {np.isinf(share).sum()}" if np.isinf(share).any() else ""
    return [with_remarks(finding, "camera", "; ".join(part for part in (note, behind) if part))]


def _projected(points: Float[ndarray, "T J 3"], camera: Camera) -> Float[ndarray, "T J 2"]:
    """Pixels; infinite for points that are not before the camera, which no keypoint can match."""
    pixels = camera.project(torch.from_numpy(points)).numpy()
    with np.errstate(invalid="ignore"):
        return np.where(points[..., 2:] <= 0, np.inf, pixels)


def _mean_over(values: Float[ndarray, "T J"], chosen: ndarray) -> Float[ndarray, "T"]:
    """Of the chosen joints of every frame; NaN where none is chosen, or one is NaN."""
    number = chosen.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chosen, values, 0.0).sum(1) / np.where(number > 0, number, np.nan)


def _boxes_of(detected: Float[ndarray, "T J 3"], seen: ndarray) -> Float[ndarray, "T 4"]:
    """Around the keypoints that were seen, in place of the system's own boxes."""
    low = np.where(seen[..., None], detected[..., :2], np.inf).min(1)
    high = np.where(seen[..., None], detected[..., :2], -np.inf).max(1)
    return np.concatenate([low, high], 1)


def _sides(boxes: Float[ndarray, "T 4"]) -> Float[ndarray, "T"]:
    """The longer side of each, pixels; NaN where there is none."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    with np.errstate(invalid="ignore"):
        return np.where(sides > 0, sides, np.nan)
