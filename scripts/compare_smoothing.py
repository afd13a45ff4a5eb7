"""What refining others' results is worth, on motion capture whose per-frame results are simulated.

    python scripts/compare_smoothing.py MOCAP --subjects 09 17 94 131

Three kinds of results: errors that linger with a little trembling (what published per-frame methods
look like), the same with more trembling, flips, exchanged legs, broken arms and teleports of up to
four frames, and our own model frame by frame on a simulated detector's keypoints.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from temporal_hmr import metrics
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.checks.reading import Given
from temporal_hmr.command_line import Stage
from temporal_hmr.data.detector_noise import smooth_noise
from temporal_hmr.data.mocap import TakesConfig, read_takes
from temporal_hmr.evaluation.mocap import DETECTORS, FPS, chosen_takes, film_all
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.recover import load_model, recover
from temporal_hmr.refinement.run import METHODS, RefineSettings, refine_motion
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

ERROR_DEGREES = {
    **{"pelvis": 3.0, "hip": 5.0, "spine1": 2.0, "knee": 6.0, "spine2": 2.0, "ankle": 7.0},
    **{"spine3": 2.0, "foot": 3.0, "neck": 5.0, "collar": 2.5, "head": 6.0, "shoulder": 7.0},
    **{"elbow": 9.0, "wrist": 9.0, "hand": 4.0},
}
LEGS = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
KINDS = {"usual": (0.15, 1.2, False), "rough": (0.4, 1.0, True)}
"""Trembling and lingering error, relative to `ERROR_DEGREES`; whether there are sudden frames."""
FEWEST = 20


def simulated(truth: SmplParams, kind: str, generator: Generator) -> SmplParams:
    """The truth as a per-frame method would have it."""
    white, lingering, faults = KINDS[kind]
    count = len(truth.transl)
    times = torch.arange(count)[None] / FPS
    usual = [next(v for k, v in ERROR_DEGREES.items() if j.endswith(k)) for j in SMPL24.joints]
    lasting = smooth_noise(times, 73, 0.3, generator)[0].double()
    trembling = torch.randn(count, 76, generator=generator).double()
    error = white * trembling[:, :72] + lingering * lasting[:, :72]
    turns = torch.deg2rad(torch.tensor(usual).double())[:, None] * error.unflatten(1, (24, 3))
    rotations = truth.rotations().double() @ axis_angle_to_matrix(turns)
    depth = 1 + 0.02 * trembling[:, 72:73] + 0.03 * lasting[:, 72:]
    transl = truth.transl.double() * depth + 0.01 * trembling[:, 73:]
    if faults:
        rotations, transl = _with_faults(rotations, transl, generator)
    return SmplParams.from_rotations(rotations, truth.betas.double(), transl)


def _with_faults(
    rotations: Float[Tensor, "T 24 3 3"], transl: Float[Tensor, "T 3"], generator: Generator
) -> tuple[Tensor, Tensor]:
    """About one in two and a half seconds, of one to four frames."""
    rotations, transl = rotations.clone(), transl.clone()
    about = axis_angle_to_matrix(torch.tensor([0.0, torch.pi, 0.0], dtype=torch.float64))
    frame = 0
    while True:
        gap = torch.empty(1).exponential_(0.4, generator=generator)
        frame += int(gap * FPS) + 2
        length = int(torch.randint(1, 5, (1,), generator=generator))
        if frame + length >= len(transl) - 2:
            return rotations, transl
        part = slice(frame, frame + length)
        mirrored = flip_rotations(rotations[part])
        kind = int(torch.randint(0, 3, (1,), generator=generator))
        if kind == 0:
            rotations[part] = mirrored
            rotations[part, 0] = mirrored[:, 0] @ about
        elif kind == 1:
            legs = SMPL24.indices(*LEGS)
            rotations[part, legs] = mirrored[:, legs]
        else:
            arm = SMPL24.indices("left_shoulder", "left_elbow")
            turn = axis_angle_to_matrix(1.2 * torch.randn(1, 2, 3, generator=generator).double())
            rotations[part, arm] = rotations[part, arm] @ turn
            transl[part] += 0.7 * torch.randn(3, generator=generator).double()
        frame += length


def scores(found: SmplParams, truth: SmplParams, body: BodyModel) -> Float[np.ndarray, "5"]:
    """MPJPE, PA-MPJPE (mm), acceleration error (mm/frame^2), jitter and the truth's (10 m/s^3)."""
    bare = [SmplParams(s.global_orient, s.body_pose, s.betas, 0 * s.transl) for s in (found, truth)]
    ours, true = (body.joints(smpl).numpy() for smpl in bare)
    return np.array(
        [
            float(metrics.mpjpe(ours, true).mean()),
            float(metrics.pa_mpjpe(ours, true).mean()),
            float(metrics.acceleration_error(ours, true).mean()),
            float(metrics.jitter(ours, FPS).mean()),
            float(metrics.jitter(true, FPS).mean()),
        ]
    )


def main() -> None:
    """Print a table per kind of result; the means weigh sequences by their frames."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--subjects", nargs="+", required=True)
    parser.add_argument("--up-axis", choices=("auto", "y", "z"), default="auto")
    parser.add_argument("--every", type=int, default=1, help="take every N-th sequence")
    options = parser.parse_args()
    torch.set_num_threads(1)
    body = load_body(dtype=torch.float64)
    model = load_model(None, torch.device("cpu"))
    read = read_takes(options.mocap, TakesConfig(up_axis=options.up_axis))
    takes = chosen_takes(read, options.subjects)
    filmed = film_all(takes, PosedBody(load_body()), DETECTORS["noisy"], 0)[:: options.every]
    filmed = [each for each in filmed if len(each.track) >= FEWEST]
    for kind in (*KINDS, "own per frame"):
        rows: dict[str, list] = {}
        frames = []
        for number, each in enumerate(Stage(kind).track(filmed, len(filmed), "sequence")):
            first, last = int(each.track.frames[0]), int(each.track.frames[-1])
            truth = each.truth.smpl[first : last + 1]
            if kind in KINDS:
                given = simulated(truth, kind, Generator().manual_seed(number))
            else:
                given = _own(model, each.track, each.truth.camera)
            frames.append(len(truth.transl))
            rows.setdefault("as given", []).append(scores(given, truth, body))
            motion = PredictedMotion("", "npz", np.arange(len(truth.transl)), given, fps=FPS)
            for method in METHODS:
                settings = RefineSettings(method)
                _, found = refine_motion(Given(motion, body, True), FPS, settings, model)
                rows.setdefault(method, []).append(scores(found.motion.smpl, truth, body))
        print(f"{kind}: {len(frames)} sequences, {sum(frames)} frames")
        print("| | MPJPE | PA-MPJPE | accel. error | jitter | (truth) |\n|---|---|---|---|---|---|")
        for name, values in rows.items():
            mean = np.average(values, 0, weights=frames)
            print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in mean) + " |", flush=True)


def _own(model: Hmr, track, camera) -> SmplParams:
    found = recover(model, load_body(), track, camera, FPS, temporal=False)
    return found.smpl.map(lambda tensor: tensor.double())


if __name__ == "__main__":
    main()
