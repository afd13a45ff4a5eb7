"""Measure a model on motion capture: `python -m temporal_hmr.evaluate mocap --data FOLDER`.

Every take is cut into sequences of at most five seconds, filmed by a random camera with a random
body, turned into detections, and recovered by the same code that tracks videos.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from temporal_hmr import metrics
from temporal_hmr.body.load import load_body
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import DoorParser, Stage, run_door
from temporal_hmr.crops import BOX_MARGIN
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise, detect
from temporal_hmr.data.mocap import MocapTake, read_takes, resample, share_shoulder_elevation
from temporal_hmr.data.synthetic import Augmentation, Scene, place
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import Track
from temporal_hmr.recover import load_model, recover
from temporal_hmr.skeleton import COCO23

FPS = 30.0
LONGEST = 150
"""Frames of a sequence: a camera that stands still loses a walker in longer ones."""
SHORTEST = 4
"""Frames: jitter is a third difference."""
DETECTORS = {"clean": CLEAN, "noisy": DetectorNoise(clean_share=0.0)}


@dataclass(frozen=True, eq=False)
class MocapSequence:
    """One filmed stretch of a take."""

    name: str
    track: Track
    camera: Camera
    true_joints: Float[Tensor, "T 24 3"]
    """Camera frame, metres; the frames of the track's first to last sight."""


@dataclass(frozen=True)
class SequenceScores:
    """Figures of one sequence; means over its frames."""

    name: str
    frames: int
    mpjpe: float
    """mm, relative to the pelvis."""
    pa_mpjpe: float
    """mm, after similarity alignment of each frame."""
    acceleration_error: float
    """mm/frame^2 at 30 frames per second."""
    acceleration: float
    """mm/frame^2 of the prediction itself."""
    jitter: float
    """10 m/s^3 of the prediction itself, camera frame, all 24 joints, pelvis path included."""


def film(
    take: MocapTake, body: PosedBody, detector: DetectorNoise, seed: int
) -> list[MocapSequence]:
    """Sequences of a take at 30 frames per second; the same seed gives the same cameras."""
    take = resample(take, FPS) if take.fps != FPS else take
    rotations = share_shoulder_elevation(take.rotations)
    sequences = []
    for number, start in enumerate(range(0, len(take), LONGEST)):
        part = slice(start, min(start + LONGEST, len(take)))
        if part.stop - part.start < SHORTEST:
            continue
        generator = Generator().manual_seed(seed * 7919 + number)
        times = torch.arange(part.stop - part.start)[None] / FPS
        betas = (
            torch.randn(1, 1, 10, generator=generator).clamp(-3, 3).expand(1, times.shape[1], 10)
        )
        motion = rotations[None, part], take.translation[None, part]
        scene = place(*motion, betas, times, body, Augmentation(), generator)
        name = f"{take.subject}/{take.name}" + (f"+{start}" if start else "")
        sequence = _observe(name, scene, body, detector, generator)
        if sequence is not None:
            sequences.append(sequence)
    return sequences


def _observe(
    name: str, scene: Scene, body: PosedBody, detector: DetectorNoise, generator: Generator
) -> MocapSequence | None:
    """Detections of a filmed scene as a track; frames in which nothing was detected are absent.

    None if the person was out of the picture for all but a few frames.
    """
    width, height = (int(value) for value in scene.image_size[0])
    camera = Camera.with_focal(float(scene.focal[0]), width, height)
    points = body.body.regress(scene.smpl, body.detector_points)
    pixels = camera.project(points)
    found = detect(pixels, scene.times, scene.image_size, detector, generator)
    keypoints = torch.cat([found.pixels, found.scores[..., None]], -1)[0].numpy()
    keypoints = np.where(keypoints[..., 2:] > 0, keypoints, 0).astype(np.float32)
    seen = np.flatnonzero((keypoints[..., 2] > 0).any(-1))
    if len(seen) < SHORTEST or seen[-1] - seen[0] + 1 < SHORTEST:
        return None
    keypoints = keypoints[seen]
    track = Track(0, seen, seen / FPS, _boxes(keypoints), keypoints, COCO23)
    true_joints = body.body.joints(scene.smpl)[0, seen[0] : seen[-1] + 1]
    return MocapSequence(name, track, camera, true_joints)


def _boxes(keypoints: Float[np.ndarray, "T J 3"]) -> Float[np.ndarray, "T 4"]:
    known = keypoints[..., 2:] > 0
    low = np.where(known, keypoints[..., :2], np.inf).min(1)
    high = np.where(known, keypoints[..., :2], -np.inf).max(1)
    margin = (BOX_MARGIN - 1) / 2 * (high - low)
    return np.concatenate([low - margin, high + margin], -1).astype(np.float32)


def score(
    name: str, predicted: Float[Tensor, "T 24 3"], true: Float[Tensor, "T 24 3"]
) -> SequenceScores:
    """Compare joints in the camera frame."""
    return SequenceScores(
        name=name,
        frames=len(true),
        mpjpe=float(metrics.mpjpe(predicted, true).mean()),
        pa_mpjpe=float(metrics.pa_mpjpe(predicted, true).mean()),
        acceleration_error=float(metrics.acceleration_error(predicted, true).mean()),
        acceleration=float(metrics.acceleration(predicted - predicted[:, :1]).mean()),
        jitter=float(metrics.jitter(predicted, FPS).mean()),
    )


def frame_weighted(name: str, scores: Sequence[SequenceScores]) -> SequenceScores:
    """Mean over all frames of all sequences."""
    weights = [row.frames for row in scores]

    def mean(field: str) -> float:
        return float(np.average([getattr(row, field) for row in scores], weights=weights))

    fields = ("mpjpe", "pa_mpjpe", "acceleration_error", "acceleration", "jitter")
    return SequenceScores(name, sum(weights), *(mean(field) for field in fields))


def evaluate(
    model: Hmr, takes: Sequence[MocapTake], detector: DetectorNoise, seed: int, stage: Stage
) -> dict[str, list[SequenceScores]]:
    """Scores per sequence of the model, of the same per frame, and of the truth against itself."""
    body = load_body()
    posed = PosedBody(body)
    rows: dict[str, list[SequenceScores]] = {
        kind: [] for kind in ("temporal", "per frame", "truth")
    }
    for take in stage.track(takes, total=len(takes), unit="take"):
        # Seeded by name: a take meets the same cameras whichever others are evaluated with it.
        own = seed + zlib.crc32(f"{take.subject}/{take.name}".encode())
        for sequence in film(take, posed, detector, own):
            true = sequence.true_joints
            for kind, temporal in (("temporal", True), ("per frame", False)):
                motion = recover(model, body, sequence.track, sequence.camera, FPS, temporal)
                rows[kind].append(score(sequence.name, torch.from_numpy(motion.joints), true))
            rows["truth"].append(score(sequence.name, true, true))
    if not rows["truth"]:
        raise InputError("the data has no take of at least four frames")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, and write all scores as JSON if asked.

    Raises `InputError` if data or weights cannot be used.
    """
    parser = DoorParser("temporal-hmr evaluate", "Measure a model on held-out motion capture.")
    add = parser.add_argument
    add("dataset", choices=["mocap"], help="kind of data")
    add("--data", type=Path, required=True, metavar="FOLDER", help="takes (npz, bvh)")
    add("--subjects", nargs="+", metavar="NAME", help="only these subjects (all)")
    add("--weights", type=Path, metavar="FILE", help="your model instead of the embedded one")
    add("--seed", type=int, default=0, metavar="N", help="which cameras, bodies and noise (0)")
    add("--json", type=Path, metavar="FILE", help="write scores per sequence")
    options = parser.parse_args(arguments)
    model = load_model(options.weights, torch.device("cpu"))
    takes = _chosen(read_takes(options.data), options.subjects)
    report = {}
    if options.json is not None:
        _check_writable(options.json)
    for name, detector in DETECTORS.items():
        rows = evaluate(model, takes, detector, options.seed, Stage(f"{name} keypoints"))
        print(_table(name, rows))
        report[name] = {kind: [vars(row) for row in scores] for kind, scores in rows.items()}
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1))


def _check_writable(path: Path) -> None:
    """Before the work, not after it."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _chosen(takes: list[MocapTake], subjects: list[str] | None) -> list[MocapTake]:
    if subjects is None:
        return takes
    known = sorted({take.subject for take in takes})
    for subject in subjects:
        if subject not in known:
            raise InputError(f"there is no subject {subject}; the data has {', '.join(known)}")
    return [take for take in takes if take.subject in subjects]


def _table(name: str, rows: dict[str, list[SequenceScores]]) -> str:
    lines = [
        f"{name} keypoints, {len(rows['truth'])} sequences, "
        f"{sum(row.frames for row in rows['truth'])} frames",
        "            MPJPE  PA-MPJPE  accel. error  acceleration  jitter",
        "               mm        mm    mm/frame^2    mm/frame^2  10 m/s^3",
    ]
    for kind, scores in rows.items():
        mean = frame_weighted(kind, scores)
        lines.append(
            f"{kind:10} {mean.mpjpe:6.1f}  {mean.pa_mpjpe:8.1f}  {mean.acceleration_error:12.2f}"
            f"  {mean.acceleration:12.2f}  {mean.jitter:8.2f}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_door(main)
