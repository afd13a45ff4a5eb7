"""Rendered clips as labelled sequences, and what a model makes of them.

A clip goes through the model as it is stored: one window, the detections that were rendered with
it, its images where the model looks at images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import Stage, counted
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.rendered import RenderedClips
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.evaluation.score import SequenceScores, score_sequence
from temporal_hmr.evaluation.summary import Run
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.recover import load_model
from temporal_hmr.skeleton import COCO23
from temporal_hmr.training.sources import Labelled
from temporal_hmr.training.tasks import CLIPS_AT_ONCE, to_device

_USUAL_FPS = 30.0
"""Of a clip of one frame, which has no rate."""


@dataclass(frozen=True, eq=False)
class ClipTrial:
    """A model before rendered clips."""

    model: Hmr
    body: PosedBody
    clips: RenderedClips
    chosen: Sequence[int]
    """Numbers of the clips that are looked at."""

    @staticmethod
    def open(
        weights: Path | None, folder: Path, most: int | None, device: torch.device
    ) -> "ClipTrial":
        """Load and open; `most` clips are spread evenly over all, None takes all.

        Raises `InputError` if model and clips do not go together.
        """
        clips = RenderedClips.open(folder)
        model = load_model(weights, device)
        clips.require_fit(model.config)
        body = PosedBody(load_body()).requires_grad_(False).to(device)
        return ClipTrial(model, body, clips, chosen_clips(clips, most))

    def batches(self) -> Iterator[Labelled]:
        """The chosen clips, a few at a time."""
        for first in range(0, len(self.chosen), CLIPS_AT_ONCE):
            places = [(clip, 0) for clip in self.chosen[first : first + CLIPS_AT_ONCE]]
            yield self.clips.read(places, self.clips.description.frames)

    def answers(self, window: CropWindow, temporal: bool) -> tuple[SmplParams, Tensor]:
        """Bodies and their joints [B T 24 3] in the camera frame."""
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            prediction = self.model(to_device(window, device), self.body, temporal)
        cpu = torch.device("cpu")
        return to_device(prediction.smpl, cpu), prediction.joints.to(cpu)

    def kinds(self) -> Mapping[str, bool]:
        """With and without the temporal module, as far as there is one and it has work."""
        if not self.model.config.is_temporal() or self.clips.description.frames < 2:
            return {"per frame": False}
        return {"temporal": True, "per frame": False}

    def doubts(self) -> list[str]:
        """What may make the figures worse than the model is."""
        frames, learned = self.clips.description.frames, self.model.config.window
        if not self.model.config.is_temporal() or frames <= learned:
            return []
        return [
            f"clips have {counted(frames, 'frame')}, the model learned on windows of {learned}: "
            "the temporal module sees more than it knows"
        ]


def chosen_clips(clips: RenderedClips, most: int | None) -> list[int]:
    """Numbers of all clips, or of so many spread evenly; raises `InputError` for too many."""
    count = len(clips) if most is None else most
    if count > len(clips):
        raise InputError(f"{clips.folder} has {counted(len(clips), 'clip')}, not {count}")
    return [number * len(clips) // count for number in range(count)]


def clip_runs(
    trial: ClipTrial, protocols: Mapping[str, Protocol]
) -> tuple[list[Run], dict[str, LabelledSequence]]:
    """Scores by kind of answer (`kinds`) and protocol, and the clips by name.

    Raises `InputError` if no frame of any clip counts.
    """
    bodies = Bodies(only_open=True)
    first = next(iter(protocols))
    scores: dict[tuple[str, str], list[SequenceScores]] = {}
    truths: dict[str, LabelledSequence] = {}
    stage = Stage("scoring")
    for truth, answers in stage.track(_clip_by_clip(trial), len(trial.chosen), unit="clip"):
        truths[truth.name] = truth
        for name, protocol in protocols.items():
            for kind, smpl in answers.items():
                label = kind if name == first else f"{kind}, {name}"
                frames = np.arange(len(truth))
                motion = PredictedMotion(truth.name, "ours", frames, smpl)
                score = score_sequence(truth, motion, protocol, bodies)
                scores.setdefault((label, name), []).append(score)
    if not any(each.scored.any() for rows in scores.values() for each in rows):
        raise InputError(f"no frame of {trial.clips.folder} counts: render other clips")
    return [Run(label, protocols[name], rows) for (label, name), rows in scores.items()], truths


def _clip_by_clip(trial: ClipTrial) -> Iterator[tuple[LabelledSequence, dict[str, SmplParams]]]:
    """Every clip's truth, and the bodies that the model sees in it, by kind of answer."""
    numbers = iter(trial.chosen)
    for window, target in trial.batches():
        answers = {kind: trial.answers(window, on)[0] for kind, on in trial.kinds().items()}
        for place in range(len(window.valid)):
            found = {
                kind: smpl.map(lambda tensor, place=place: tensor[place].double())
                for kind, smpl in answers.items()
            }
            yield labelled(next(numbers), window, target, place), found


def labelled(number: int, window: CropWindow, target: BodyTarget, place: int) -> LabelledSequence:
    """One clip of a batch before the camera that the model is told of."""
    times, focal, center = window.times[place], window.focal[place], window.center[place]
    frames = len(times)
    fps = (frames - 1) / float(times[-1] - times[0]) if frames > 1 else _USUAL_FPS
    middle, half = window.box_center[place], window.box_size[place, :, None] / 2
    pixels = middle[:, None] + half[:, None] * window.keypoints[place]
    seen = window.scores[place, ..., None]
    keypoints = torch.cat([pixels, seen], -1).where(seen > 0, 0.0)
    width, height = (round(float(value)) for value in 2 * center)
    name = f"clip {number:05}"
    return LabelledSequence(
        name=name,
        video=name,
        fps=fps,
        gender="neutral",
        smpl=target.smpl.map(lambda tensor: tensor[place].double()),
        rotation=torch.eye(3, dtype=torch.float64).expand(frames, 3, 3),
        translation=torch.zeros(frames, 3, dtype=torch.float64),
        camera=Camera(focal, center, width, height),
        boxes=torch.cat([middle - half, middle + half], -1).numpy(),
        keypoints=keypoints.numpy(),
        skeleton=COCO23,
        frame_rules={"all": window.valid[place].numpy()},
    )
