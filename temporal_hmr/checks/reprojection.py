"""Whether the body covers what was seen: its keypoints in the image against those detected."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Signal, found, not_judged, with_remarks
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
    detected = subject.keypoints[:, subject.skeleton.indices(*names)]
    with np.errstate(invalid="ignore"):
        seen = detected[..., 2] > thresholds.reprojection_confidence
    if not seen.any():
        return [not_judged(_NAME, _UNIT, "no COCO keypoint was detected confidently")]
    projected = _projected(subject)[:, COCO23.indices(*names)]
    pixels = np.linalg.norm(projected - detected[..., :2], axis=-1)
    error = _mean_over(pixels, seen)
    share = 100.0 * error / _box_sides(subject, detected, seen)
    signal = Signal(share, subject.clock)
    limits = thresholds.limits(_NAME)
    moments = signal.moments(limits.fail)
    finding = found(_NAME, signal.mean(), _UNIT, limits, signal, moments)
    known = np.isfinite(share)
    note = f"{error[known].mean():.1f} px in {known.sum()} frames" if known.any() else ""
    behind = f"behind the camera in {np.isinf(share).sum()}" if np.isinf(share).any() else ""
    return [with_remarks(finding, "camera", "; ".join(part for part in (note, behind) if part))]


def _projected(subject: Subject) -> Float[ndarray, "T 23 2"]:
    """Pixels; infinite for points that are not before the camera, which no keypoint can match."""
    assert subject.camera is not None and subject.camera_place is not None
    points = subject.camera_place.points
    pixels = subject.camera.project(torch.from_numpy(points)).numpy()
    with np.errstate(invalid="ignore"):
        return np.where(points[..., 2:] <= 0, np.inf, pixels)


def _mean_over(values: Float[ndarray, "T J"], chosen: ndarray) -> Float[ndarray, "T"]:
    """Of the chosen joints of every frame; NaN where none is chosen, or one is NaN."""
    number = chosen.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chosen, values, 0.0).sum(1) / np.where(number > 0, number, np.nan)


def _box_sides(
    subject: Subject, detected: Float[ndarray, "T J 3"], seen: ndarray
) -> Float[ndarray, "T"]:
    """Pixels: the longer side of the box, or of the detected keypoints where there are no boxes."""
    if subject.boxes is not None:
        sides = (subject.boxes[:, 2:] - subject.boxes[:, :2]).max(1)
    else:
        low = np.where(seen[..., None], detected[..., :2], np.inf).min(1)
        high = np.where(seen[..., None], detected[..., :2], -np.inf).max(1)
        sides = (high - low).max(1)
    with np.errstate(invalid="ignore"):
        return np.where(sides > 0, sides, np.nan)
