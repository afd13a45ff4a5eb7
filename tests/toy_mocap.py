"""Motion capture of a few frames, in AMASS's layout."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_mocap(root: Path, subjects: Sequence[str] = ("a", "b"), frames: int = 60) -> Path:
    """One swinging take of each subject, Y up; returns the folder."""
    generator = np.random.default_rng(0)
    for subject in subjects:
        folder = root / subject
        folder.mkdir(parents=True)
        swing = np.sin(np.arange(frames) / 8)[:, None]
        poses = 0.3 * swing * generator.normal(size=(1, 72))
        poses[:, :3] = 0
        np.savez(
            folder / f"{subject}_01_poses.npz",
            poses=poses.astype(np.float32),
            trans=np.tile([0.0, 0.95, 0.0], (frames, 1)).astype(np.float32),
            betas=np.zeros(10),
            gender="neutral",
            mocap_framerate=30.0,
        )
    return root
