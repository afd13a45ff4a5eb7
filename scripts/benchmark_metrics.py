#!/usr/bin/env python3
"""Time the camera-frame metrics against a plain loop over frames, and watch their memory.

    python scripts/benchmark_metrics.py --frames 100000

Both sides get the same random bodies and the same frames: float32 joints and orientations, and
vertices made a few frames at a time. The loop (`tests/naive_metrics.py`, numpy; its inputs turned
to float64 beforehand) is timed on the first frames only and scaled to all, unless `--loop-frames`
says otherwise.
"""

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from scipy.spatial.transform import Rotation

from temporal_hmr import metrics
from temporal_hmr.skeleton import SMPL24

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import naive_metrics as naive

VERTICES, PARTS, FPS = 6890, len(metrics.MPJAE_PARTS), 30.0
VERTEX_FRAMES = 512
"""Frames whose vertices are held at a time."""
WARM_UP = 64
"""Frames of a first, untimed call, in which threads and allocators start."""
HIPS = SMPL24.indices("left_hip", "right_hip")
LIMBS = metrics.CHALLENGE_LIMBS


@dataclass(frozen=True, eq=False)
class Bodies:
    """Predictions and truths, float32 arrays with one row per frame."""

    joints: tuple[ndarray, ndarray]
    """T 24 3 each, metres."""
    orientations: tuple[ndarray, ndarray]
    """T 9 3 3 each."""
    vertices: tuple[ndarray, ndarray]
    """T 6890 3 each, metres; no rows where a metric needs none."""

    def first(self, frames: int) -> "Bodies":
        """The first frames."""
        both = (self.joints, self.orientations, self.vertices)
        return Bodies(*((predicted[:frames], true[:frames]) for predicted, true in both))

    def doubles(self) -> "Bodies":
        """In float64, as metrics are computed."""
        both = (self.joints, self.orientations, self.vertices)
        return Bodies(*((p.astype(np.float64), q.astype(np.float64)) for p, q in both))


@dataclass(frozen=True)
class Case:
    """One metric, computed both ways."""

    name: str
    ours: Callable[[Bodies], object]
    loop: Callable[[Bodies, list[bool]], object]


JOINT_CASES = (
    Case(
        "MPJPE",
        lambda b: metrics.mpjpe(*b.joints, HIPS),
        lambda b, valid: naive.mpjpe(*b.joints, HIPS, valid),
    ),
    Case(
        "PA-MPJPE",
        lambda b: metrics.pa_mpjpe(*b.joints),
        lambda b, valid: naive.pa_mpjpe(*b.joints, valid),
    ),
    Case(
        "PCK",
        lambda b: metrics.pck(*b.joints),
        lambda b, valid: naive.pck(*b.joints, metrics.PELVIS, LIMBS, 0.05, valid),
    ),
    Case(
        "AUC",
        lambda b: metrics.auc(*b.joints),
        lambda b, valid: naive.auc(*b.joints, metrics.PELVIS, LIMBS, valid),
    ),
    Case(
        "MPJAE",
        lambda b: metrics.mpjae(*b.orientations),
        lambda b, valid: naive.mpjae(*b.orientations, valid),
    ),
    Case(
        "PA-MPJAE",
        lambda b: metrics.pa_mpjae(*b.orientations, metrics.procrustes(*b.joints).rotation),
        lambda b, valid: naive.pa_mpjae(*b.orientations, *b.joints, valid),
    ),
    Case(
        "acceleration error",
        lambda b: metrics.acceleration_error(*b.joints, HIPS, FPS),
        lambda b, valid: naive.acceleration_error(*b.joints, HIPS, valid),
    ),
    Case(
        "jitter",
        lambda b: metrics.jitter(b.joints[0], FPS),
        lambda b, valid: naive.jitter(b.joints[0], FPS, valid),
    ),
)
VERTEX_CASES = (
    Case(
        "PVE",
        lambda b: metrics.pve(*b.vertices, *_pelves(b)),
        lambda b, valid: naive.pve(*b.vertices, *_pelves(b), valid),
    ),
    Case(
        "PA-PVE",
        lambda b: metrics.pa_pve(*b.vertices, metrics.procrustes(*b.joints)),
        lambda b, valid: naive.pa_pve(*b.vertices, *b.joints, valid),
    ),
)


@dataclass(frozen=True)
class Row:
    """Seconds of one metric for all frames."""

    name: str
    frames: int
    ours: float
    loop: float
    loop_frames: int
    """How many frames the loop was timed on."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000, help="frames of joints (100000)")
    parser.add_argument("--vertex-frames", type=int, help="frames of vertices (as many)")
    parser.add_argument("--loop-frames", type=int, default=2000, help="timed in the loop (2000)")
    options = parser.parse_args(arguments)
    vertex_frames = options.vertex_frames or options.frames
    # Ours first: the peak of memory only ever grows, and the loop would hide it.
    ours, memory = {}, []
    for cases, frames, vertices in (
        (VERTEX_CASES, vertex_frames, VERTICES),
        (JOINT_CASES, options.frames, 0),
    ):
        ours |= time_ours(cases, random_bodies(frames, vertices), memory)
    rows = []
    for cases, frames, vertices in (
        (JOINT_CASES, options.frames, 0),
        (VERTEX_CASES, vertex_frames, VERTICES),
    ):
        looped = min(frames, options.loop_frames)
        loop = time_loop(cases, random_bodies(looped, vertices))
        scaled = {name: seconds * frames / looped for name, seconds in loop.items()}
        rows += [Row(c.name, frames, ours[c.name], scaled[c.name], looped) for c in cases]
    print(table(rows))
    print(
        f"peak memory beyond the inputs: {memory[0]:.0f} MB with vertices ({VERTEX_FRAMES} frames "
        f"at a time), {memory[1]:.0f} MB more with all joints; {torch.get_num_threads()} threads"
    )


def time_ours(
    cases: Sequence[Case], chunks: Iterator[Bodies], memory: list[float]
) -> dict[str, float]:
    """Seconds of each case over all chunks; adds to `memory` by how much the peak grew."""
    seconds: dict[str, float] = defaultdict(float)
    before = None
    for chunk in chunks:
        if before is None:
            before = _peak_megabytes()
            for case in cases:
                case.ours(chunk.first(WARM_UP))
        for case in cases:
            seconds[case.name] += _seconds(case.ours, chunk)
    memory.append(_peak_megabytes() - (before or 0))
    return seconds


def time_loop(cases: Sequence[Case], chunks: Iterator[Bodies]) -> dict[str, float]:
    """Seconds of each case's loop over the frames of all chunks."""
    seconds: dict[str, float] = defaultdict(float)
    for chunk in chunks:
        doubles = chunk.doubles()
        valid = [True] * len(chunk.joints[0])
        for case in cases:
            seconds[case.name] += _seconds(case.loop, doubles, valid)
    return seconds


def random_bodies(frames: int, vertices: int) -> Iterator[Bodies]:
    """Random points and rotations, all frames at once or, with vertices, a few at a time.

    The same arrays are filled again and again, and the first frames are always the same.
    """
    generator = np.random.default_rng(0)
    held = min(frames, VERTEX_FRAMES) if vertices else frames
    bodies = Bodies(
        joints=_pair(held, len(SMPL24), 3),
        orientations=_pair(held, PARTS, 3, 3),
        vertices=_pair(held, vertices, 3),
    )
    for start in range(0, frames, held):
        for row in range(0, held, VERTEX_FRAMES):
            part = slice(row, row + VERTEX_FRAMES)
            for predicted, true in (bodies.joints, bodies.vertices):
                generator.random(out=predicted[part], dtype=np.float32)
                generator.random(out=true[part], dtype=np.float32)
            for matrices in bodies.orientations:
                shape = matrices[part].shape
                quaternions = generator.normal(size=(shape[0] * shape[1], 4))
                matrices[part] = Rotation.from_quat(quaternions).as_matrix().reshape(shape)
        yield bodies.first(min(held, frames - start))


def _pair(*shape: int) -> tuple[ndarray, ndarray]:
    return np.empty(shape, np.float32), np.empty(shape, np.float32)


def table(rows: Sequence[Row]) -> str:
    """One line per metric; a scaled time of the loop is marked."""
    lines = [f"{'metric':20}{'frames':>9}{'ours, s':>10}{'loop, s':>10}{'ratio':>8}"]
    for row in rows:
        mark = "*" if row.loop_frames < row.frames else " "
        lines.append(
            f"{row.name:20}{row.frames:9}{row.ours:10.3f}{row.loop:9.1f}{mark}"
            f"{row.loop / row.ours:8.0f}"
        )
    ours, loop = sum(row.ours for row in rows), sum(row.loop for row in rows)
    lines.append(f"{'all':29}{ours:10.3f}{loop:9.1f} {loop / ours:8.0f}")
    lines.append(f"* timed on {rows[0].loop_frames} frames and scaled to all")
    return "\n".join(lines)


def _pelves(bodies: Bodies) -> tuple[ndarray, ndarray]:
    predicted, true = bodies.joints
    return predicted[:, 0], true[:, 0]


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _peak_megabytes() -> float:
    """Of this process so far (Linux counts kilobytes, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
