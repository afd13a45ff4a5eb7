#!/usr/bin/env python3
"""The bundled clip against its truth, as tracked and without refinement.

    python scripts/score_sample.py

One easy clip of one person: for figures that mean something see `temporal_hmr.evaluate`.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from temporal_hmr.command_line import run_door
from temporal_hmr.metrics.positions import mpjpe
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import load_motion
from temporal_hmr.track import SAMPLE
from temporal_hmr.tracking import TrackSettings, track_video


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both errors of both ways."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.parse_args(arguments)
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    for name, refine in (("refined", True), ("--no-refine", False)):
        (motion,) = track_video(SAMPLE, TrackSettings(refine=refine)).motions
        seen, placed = errors(motion, truth)
        print(f"{name}: {seen:.1f} mm as seen from the pelvis, {placed:.1f} mm in the camera frame")


def errors(motion: BodyMotion, truth: BodyMotion) -> tuple[float, float]:
    """MPJPE (mm) about the pelvis, and of the places themselves, over the frames of both."""
    _, ours, theirs = np.intersect1d(motion.frames, truth.frames, return_indices=True)
    joints = motion.joints[ours], truth.joints[theirs]
    return float(mpjpe(*joints).mean()), float(mpjpe(*joints, root=None).mean())


if __name__ == "__main__":
    run_door(main)
