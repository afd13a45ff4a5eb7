"""Motion capture as labelled sequences: filmed by random cameras, seen by an imitated detector.

Every take is cut into sequences of at most five seconds, given a random body and a camera that
stands still, and turned into detections, so that the truth is known exactly.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import Stage
from temporal_hmr.crops import BOX_MARGIN, extents
from temporal_hmr.data.detector_noise import CLEAN, SIMPLE, DetectorNoise, detect, draw_blazepose
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.mocap import MocapTake, resample, share_shoulder_elevation
from temporal_hmr.data.synthetic import Augmentation, Scene, place
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.baselines import baselines
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.evaluation.score import SequenceScores, score_sequence
from temporal_hmr.evaluation.summary import Run
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import PredictedMotion, Track
from temporal_hmr.recover import recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23

FPS = 30.0
LONGEST = 150
"""Frames of a sequence: a camera that stands still loses a walker in longer ones."""
SHORTEST = 4
"""Frames: jitter is a third difference."""
DETECTORS = {"clean": CLEAN, "simply noisy": SIMPLE, "noisy": DetectorNoise(clean_share=0.0)}


@dataclass(frozen=True, eq=False)
class FilmedSequence:
    """The truth, and what the detector made of it."""

    truth: LabelledSequence
    track: Track
    """Frames in which nothing was detected are absent."""


@dataclass(frozen=True)
class MocapSettings:
    """What is filmed, and who answers."""

    seed: int = 0
    """Of cameras, bodies and noise."""
    baselines: bool = False
    """Also of what a temporal model has to beat."""
    refine: bool = True
    """Whether bodies are moved onto the detected keypoints in the end."""


def chosen_takes(takes: list[MocapTake], subjects: Sequence[str] | None) -> list[MocapTake]:
    """Those of some subjects; raises `InputError` for one that the data does not have."""
    if subjects is None:
        return takes
    known = sorted({take.subject for take in takes})
    for subject in subjects:
        if subject not in known:
            raise InputError(f"there is no subject {subject}; the data has {', '.join(known)}")
    return [take for take in takes if take.subject in subjects]


def mocap_runs(
    model: Hmr,
    takes: Sequence[MocapTake],
    protocols: Mapping[str, Protocol],
    settings: MocapSettings,
) -> tuple[list[Run], dict[str, LabelledSequence]]:
    """Scores with clean and noisy keypoints, with and without what is temporal, by protocol.

    With baselines also of what a temporal model has to beat. Beside them the sequences of the
    first run, by name. Raises `InputError` if there is nothing to film.
    """
    bodies = Bodies(only_open=True)
    body = load_body()
    posed = PosedBody(body)
    if model.config.image_side() is not None:
        raise InputError("these weights look at images, and motion capture has none: see clips")
    if model.config.body != body.name:
        raise InputError("these weights speak of SMPL's shapes, the bodies filmed here are open")
    first = next(iter(protocols))
    scores: dict[tuple[str, str], list[SequenceScores]] = {}
    truths: dict[str, LabelledSequence] = {}
    for name, detector in DETECTORS.items():
        filmed = film_all(takes, posed, detector, settings.seed)
        truths = truths or {each.truth.name: each.truth for each in filmed}
        for each in Stage(f"{name} keypoints").track(filmed, len(filmed), unit="sequence"):
            for kind, predicted in _answers(model, body, each, settings).items():
                for protocol, switches in protocols.items():
                    label = f"{name} keypoints, {kind}"
                    label += "" if protocol == first else f", {protocol}"
                    score = score_sequence(each.truth, predicted, switches, bodies)
                    scores.setdefault((label, protocol), []).append(score)
    runs = [Run(label, protocols[name], rows) for (label, name), rows in scores.items()]
    return runs, truths


def _answers(
    model: Hmr, body: BodyModel, filmed: FilmedSequence, settings: MocapSettings
) -> dict[str, PredictedMotion]:
    """What is said of a sequence, by who says it."""
    truth, track = filmed.truth, filmed.track
    fit = Reprojection() if settings.refine else None

    def answer(temporal: bool, fit: Reprojection | None) -> PredictedMotion:
        motion = recover(model, body, track, truth.camera, FPS, temporal, fit=fit)
        return PredictedMotion.of(motion, truth.name)

    found: dict[str, PredictedMotion] = {}
    if model.config.is_temporal():
        found["temporal"] = answer(True, fit)
        if settings.baselines and fit is not None:
            found["temporal, not refined"] = answer(True, None)
    alone = found["per frame"] = answer(False, fit)
    if settings.baselines:
        others = baselines(truth.smpl[alone.frames], alone.smpl, alone.frames / FPS)
        found |= {name: replace(alone, smpl=smpl) for name, smpl in others.items()}
    return found


def film_all(
    takes: Sequence[MocapTake], body: PosedBody, detector: DetectorNoise, seed: int
) -> list[FilmedSequence]:
    """All takes; a take meets the same cameras whichever others are filmed with it.

    Raises `InputError` if there is nothing to film.
    """
    filmed = [
        sequence
        for take in takes
        for sequence in film(take, body, detector, seed + zlib.crc32(_name(take).encode()))
    ]
    if not filmed:
        raise InputError(f"the data has no take of at least {SHORTEST} frames")
    return filmed


def film(
    take: MocapTake, body: PosedBody, detector: DetectorNoise, seed: int
) -> list[FilmedSequence]:
    """Sequences of a take at 30 frames per second; the same seed gives the same cameras.

    Stretches in which the person is out of the picture for all but a few frames are left out.
    """
    take = resample(take, FPS) if take.fps != FPS else take
    rotations = share_shoulder_elevation(take.rotations)
    sequences = []
    for number, start in enumerate(range(0, len(take), LONGEST)):
        part = slice(start, min(start + LONGEST, len(take)))
        if part.stop - part.start < SHORTEST:
            continue
        generator = Generator().manual_seed(seed * 7919 + number)
        times = torch.arange(part.stop - part.start)[None] / FPS
        shape = torch.randn(1, 1, 10, generator=generator).clamp(-3, 3)
        betas = shape.expand(1, times.shape[1], 10)
        motion = rotations[None, part], take.translation[None, part]
        scene = place(*motion, betas, times, body, Augmentation(), generator)
        name = _name(take) + (f"+{start}" if start else "")
        sequence = _observe(name, scene, body, detector, generator)
        if sequence is not None:
            sequences.append(sequence)
    return sequences


def _name(take: MocapTake) -> str:
    return f"{take.subject}/{take.name}"


def _observe(
    name: str, scene: Scene, body: PosedBody, detector: DetectorNoise, generator: Generator
) -> FilmedSequence | None:
    width, height = (int(value) for value in scene.image_size[0])
    camera = Camera.with_focal(float(scene.focal[0]), width, height)
    blazepose = draw_blazepose(detector, 1, generator)
    skeleton = BLAZEPOSE23 if blazepose else COCO23
    pixels = camera.project(body.body.regress(scene.smpl, body.points_of(skeleton)))
    found = detect(pixels, scene.times, scene.image_size, detector, generator, blazepose)
    keypoints = torch.cat([found.pixels, found.scores[..., None]], -1)[0].numpy()
    keypoints = np.where(keypoints[..., 2:] > 0, keypoints, 0).astype(np.float32)
    seen = np.flatnonzero((keypoints[..., 2] > 0).any(-1))
    if len(seen) < SHORTEST or seen[-1] - seen[0] + 1 < SHORTEST:
        return None
    boxes = _boxes(keypoints)
    frames = len(keypoints)
    smpl = scene.smpl[0].map(lambda tensor: tensor.double())
    truth = LabelledSequence(
        name=name,
        video=name,
        fps=FPS,
        gender="neutral",
        smpl=smpl,
        rotation=torch.eye(3, dtype=torch.float64).expand(frames, 3, 3),
        translation=torch.zeros(frames, 3, dtype=torch.float64),
        camera=camera,
        boxes=boxes,
        keypoints=keypoints,
        skeleton=skeleton,
        frame_rules={"all": np.ones(frames, bool)},
    )
    track = Track(0, seen, seen / FPS, boxes[seen], keypoints[seen], skeleton)
    return FilmedSequence(truth, track)


def _boxes(keypoints: Float[np.ndarray, "T J 3"]) -> Float[np.ndarray, "T 4"]:
    """Around the known keypoints with some room, NaN where there are none."""
    corners = extents(keypoints)
    margin = (BOX_MARGIN - 1) / 2 * (corners[:, 2:] - corners[:, :2])
    return np.concatenate([corners[:, :2] - margin, corners[:, 2:] + margin], 1)
