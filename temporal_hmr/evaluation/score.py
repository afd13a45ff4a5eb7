"""Scores of one person in one video under a protocol, and their summary over a dataset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr import metrics
from temporal_hmr.command_line import counted
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.points import RootedJoints, Side, blocks, protocol_joints
from temporal_hmr.evaluation.protocol import Metric, Protocol
from temporal_hmr.metrics import FrameValues
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.skeleton import SMPL24

FEET = ("left_big_toe", "left_heel", "right_big_toe", "right_heel")
"""Vertices 3216, 3387, 6617 and 6787 of SMPL."""
DIFFERENCES: tuple[Metric, ...] = (
    "acceleration_error", "acceleration", "jitter", "jitter_all_joints", "jitter_world",
    "w_mpjpe", "wa_mpjpe", "rte", "erve", "foot_sliding",
)  # fmt: skip
"""Metrics that need neighbouring frames, and so depend on how gaps are treated."""
WORLD_METRICS: tuple[Metric, ...] = (
    "jitter_world", "w_mpjpe", "wa_mpjpe", "rte", "erve", "foot_sliding"
)  # fmt: skip
"""Metrics of motion in the world rather than before the camera."""
OF_ONE_SIDE: tuple[Metric, ...] = (
    "acceleration", "jitter", "jitter_all_joints", "jitter_world"
)  # fmt: skip
"""Metrics of how one side moves; the truth's own is given beside the prediction's."""
OTHER_GAPS = "_other_gaps"
"""Ends the name of a metric taken the other way across gaps than the protocol asks."""
TRUTH = "_truth"
"""Ends the name of a figure of the truth's own motion."""

_FRAMES_BEYOND = 0.01
"""Share of a prediction's frames that may lie beyond the end of the video."""

Difference = Callable[[Literal["crossing", "safe"]], FrameValues]
"""A metric that needs neighbouring frames, given how gaps are treated."""


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """What one person's prediction scored; T frames of the video."""

    name: str
    video: str
    fps: float
    wanted: Bool[ndarray, "T"]
    """Frames that the protocol scores."""
    predicted: Bool[ndarray, "T"]
    """Frames that have a prediction."""
    filled: Bool[ndarray, "T"]
    """Predicted frames that the system itself calls a guess."""
    scored: Bool[ndarray, "T"]
    """Wanted and predicted, and within a whole window where the protocol has windows."""
    values: Mapping[str, FrameValues]
    """By metric; with the suffixes `OTHER_GAPS` and `TRUTH`. Empty if no frame was scored; without
    those of the world if the prediction has no place there."""
    notes: tuple[str, ...] = ()
    predicted_joints: Float[Tensor, "N 24 3"] | None = None
    """Kinematic joints of the scored frames in the camera frame, metres; with the pelvis at its
    true place where the prediction does not say how far it is."""
    true_joints: Float[Tensor, "N 24 3"] | None = None
    rooted: tuple[Float[Tensor, "N J 3"], Float[Tensor, "N J 3"]] | None = None
    """Root-relative joints of prediction and truth, for protocols that stitch sequences."""


def coverage(scores: Sequence[SequenceScores]) -> float:
    """Share of the wanted frames that have a prediction, over all sequences; NaN if none is."""
    wanted = sum(int(each.wanted.sum()) for each in scores)
    found = sum(int((each.wanted & each.predicted).sum()) for each in scores)
    return found / wanted if wanted else float("nan")


def score_sequence(
    sequence: LabelledSequence,
    motion: PredictedMotion | None,
    protocol: Protocol,
    bodies: Bodies,
) -> SequenceScores:
    """Compare a person's prediction (None: there is none) with the truth.

    Frames without a prediction are not scored; `coverage` says how many. Raises `InputError` if
    the prediction names frames that the video does not have, or the protocol scores frames by a
    rule that the dataset does not know.
    """
    wanted = _wanted(sequence, protocol)
    predicted, filled = np.zeros_like(wanted), np.zeros_like(wanted)
    notes = []
    if motion is not None and len(motion):
        inside = (motion.frames >= 0) & (motion.frames < len(sequence))
        if not inside.all():
            notes.append(_beyond(sequence, motion, int((~inside).sum())))
        predicted[motion.frames[inside]] = True
        if motion.filled is not None:
            filled[motion.frames[inside]] = motion.filled[inside]
    if protocol.guesses == "skip":
        predicted &= ~filled
    scored = _whole_windows(wanted & predicted, protocol.window)
    if protocol.window and scored.sum() < (wanted & predicted).sum():
        left = int((wanted & predicted).sum() - scored.sum())
        notes.append(f"{left} frames beyond whole windows of {protocol.window} are not scored")
    if motion is not None and not motion.has_place and {*WORLD_METRICS} & {*protocol.metrics}:
        notes.append(f"{motion.name} has no translation, so nothing of it is scored in the world")
    base = SequenceScores(
        sequence.name,
        sequence.video,
        sequence.fps,
        wanted,
        predicted,
        filled,
        scored,
        {},
        tuple(notes),
    )
    if motion is None or not scored.any():
        return base
    comparison = _Comparison(sequence, motion, protocol, bodies, scored)
    return replace(
        base,
        values=comparison.scores(),
        predicted_joints=comparison.predicted_in_camera(),
        true_joints=comparison.true.kinematic_joints(),
        rooted=comparison.rooted if protocol.stitched else None,
    )


def _wanted(sequence: LabelledSequence, protocol: Protocol) -> Bool[ndarray, "T"]:
    if protocol.frames not in sequence.frame_rules:
        raise InputError(
            f"the frame rule {protocol.frames} means nothing for {sequence.name}; it has "
            f"{', '.join(sequence.frame_rules)}: choose with --set frames="
        )
    return sequence.frame_rules[protocol.frames].copy()


def _beyond(sequence: LabelledSequence, motion: PredictedMotion, beyond: int) -> str:
    """A decoder may count a frame more; more than that is another video, or another numbering."""
    told = (
        f"{motion.name} has frames {motion.frames[0]} to {motion.frames[-1]}, but {sequence.name} "
        f"has frames 0 to {len(sequence) - 1}"
    )
    if beyond > max(2, _FRAMES_BEYOND * len(motion)):
        raise InputError(f"{told}: is this another video, or are its frames numbered otherwise?")
    return f"{told}: {counted(beyond, 'frame')} beyond the video left out"


def _whole_windows(frames: Bool[ndarray, "T"], window: int) -> Bool[ndarray, "T"]:
    """VIBE cuts what is left of a track into windows and drops the remainder."""
    if not window:
        return frames
    kept = np.flatnonzero(frames)
    kept = kept[: len(kept) // window * window]
    result = np.zeros_like(frames)
    result[kept] = True
    return result


class _Comparison:
    """Prediction and truth side by side in the scored frames of one sequence."""

    def __init__(
        self,
        sequence: LabelledSequence,
        motion: PredictedMotion,
        protocol: Protocol,
        bodies: Bodies,
        scored: Bool[ndarray, "T"],
    ):
        self.sequence, self.motion, self.protocol = sequence, motion, protocol
        self.valid = torch.from_numpy(scored)
        self.frames = self.valid.nonzero().flatten()
        rows = torch.from_numpy(np.searchsorted(motion.frames, self.frames.numpy()))
        gender = sequence.gender if protocol.truth_body == "gendered" else "neutral"
        self.true_body, self.predicted_body = bodies.of(gender), bodies.of(motion.gender)
        in_camera = sequence.in_camera(self.true_body)[self.frames]
        self.true = Side(in_camera, gender, bodies)
        self.predicted = Side(motion.smpl[rows], motion.gender, bodies)
        self.true_world = Side(sequence.smpl[self.frames], gender, bodies)
        self.predicted_world = None if motion.world is None else motion.world[rows]

    def scores(self) -> dict[str, FrameValues]:
        wanted: list[Metric] = [each for each in self.protocol.metrics if self._tells(each)]
        values: dict[str, FrameValues] = {}
        surface = self._surface() if {"pve", "pa_pve"} & set(wanted) else {}
        for metric in wanted:
            if metric in surface:
                values[metric] = surface[metric]
            elif metric in DIFFERENCES:
                values |= self._through_time(metric)
            else:
                values[metric] = self._frame_by_frame(metric)
        return values

    def _tells(self, metric: Metric) -> bool:
        return metric not in WORLD_METRICS or self.motion.has_place

    def predicted_in_camera(self) -> Float[Tensor, "N 24 3"]:
        joints = self.predicted.kinematic_joints()
        if self.motion.has_depth:
            return joints
        pelvis = SMPL24.index("pelvis")
        return joints - joints[:, pelvis, None] + self.true.kinematic_joints()[:, pelvis, None]

    @cached_property
    def joints(self) -> tuple[RootedJoints, RootedJoints]:
        """Of prediction and truth, both at the origin unless the protocol says otherwise."""
        sides = self.predicted, self.true
        if self.protocol.regress_at == "origin":
            sides = self.predicted.at_origin(), self.true.at_origin()
        predicted, true = (protocol_joints(side, self.protocol) for side in sides)
        return predicted, true

    @cached_property
    def rooted(self) -> tuple[Float[Tensor, "N J 3"], Float[Tensor, "N J 3"]]:
        predicted, true = self.joints
        return predicted.rooted(), true.rooted()

    def _frame_by_frame(self, metric: Metric) -> FrameValues:
        predicted, true = self.rooted
        if metric == "mpjpe":
            return self._placed(metrics.mpjpe(predicted, true, root=None))
        if metric == "pa_mpjpe":
            return self._placed(metrics.pa_mpjpe(predicted, true))
        if metric in ("pck", "auc"):
            function = metrics.pck if metric == "pck" else metrics.auc
            joints, true_joints = (
                side.at_origin().kinematic_joints() for side in (self.predicted, self.true)
            )
            return self._placed(function(joints, true_joints))
        parts = list(metrics.MPJAE_PARTS)
        turned, true_turned = (
            side.orientations()[:, parts] for side in (self.predicted, self.true)
        )
        if metric == "mpjae":
            return self._placed(metrics.mpjae(turned, true_turned))
        rotation = metrics.procrustes(predicted, true).rotation
        return self._placed(metrics.pa_mpjae(turned, true_turned, rotation))

    def _surface(self) -> dict[str, FrameValues]:
        """PVE and PA-PVE, block by block: vertices of a whole sequence would fill the memory."""
        sides = self.predicted, self.true
        if self.protocol.regress_at == "origin":
            sides = self.predicted.at_origin(), self.true.at_origin()
        predicted, true = self.joints
        aligned = self.protocol.vertices == "root"
        parts: dict[str, list[Tensor]] = {"pve": [], "pa_pve": []}
        for part in blocks(len(self.frames)):
            surface, true_surface = (side.vertices(part) for side in sides)
            roots = (predicted.root[part], true.root[part]) if aligned else (None, None)
            parts["pve"].append(metrics.pve(surface, true_surface, *roots).values)
            if "pa_pve" in self.protocol.metrics:
                similarity = metrics.procrustes(predicted.joints[part], true.joints[part])
                parts["pa_pve"].append(metrics.pa_pve(surface, true_surface, similarity).values)
        return {
            name: self._at_frames(torch.cat(values)) for name, values in parts.items() if values
        }

    def _through_time(self, metric: Metric) -> dict[str, FrameValues]:
        """The metric as the protocol treats gaps, and the other way."""
        function = self._difference(metric)
        usual = self.protocol.gaps
        other: Literal["crossing", "safe"] = "safe" if usual == "crossing" else "crossing"
        values = {metric: function(usual), metric + OTHER_GAPS: function(other)}
        if metric in OF_ONE_SIDE:
            values[metric + TRUTH] = self._of_one_side(metric, truth=True)(usual)
        return values

    def _difference(self, metric: Metric) -> Difference:
        valid, protocol = self.valid, self.protocol
        if metric in OF_ONE_SIDE:
            return self._of_one_side(metric, truth=False)
        if metric == "acceleration_error":
            predicted, true = (self._over_time(points) for points in self.rooted)
            fps = self._acceleration_fps
            return lambda gaps: metrics.acceleration_error(
                predicted, true, root=None, fps=fps, valid=valid, gaps=gaps,
                trim=protocol.acceleration_trim,
            )  # fmt: skip
        sides = self.world
        if metric == "foot_sliding":
            feet, true_feet = (self._over_time(side.landmarks(*FEET)) for side in sides)
            return lambda gaps: metrics.foot_sliding(feet, true_feet, valid=valid, gaps=gaps)
        if metric == "rte":
            paths = [self._over_time(self._root_path(side)) for side in sides]
            return lambda gaps: metrics.rte(*paths, valid=valid, gaps=gaps)
        if metric == "erve":
            pelvis = SMPL24.index("pelvis")
            roots = [self._over_time(side.kinematic_joints()[:, pelvis]) for side in sides]
            turned = [self._over_time(side.smpl.global_orient) for side in sides]
            return lambda gaps: metrics.erve(*roots, *turned, valid=valid, gaps=gaps)
        function = metrics.w_mpjpe if metric == "w_mpjpe" else metrics.wa_mpjpe
        joints = [self._over_time(self._joints_of(side)) for side in sides]
        return lambda gaps: function(*joints, valid=valid, gaps=gaps)

    @property
    def _acceleration_fps(self) -> float | None:
        return self.sequence.fps if self.protocol.acceleration_unit == "m/s^2" else None

    def _of_one_side(self, metric: Metric, truth: bool) -> Difference:
        """How one side moves by itself: acceleration of the root-relative joints, or jitter."""
        valid = self.valid
        if metric == "acceleration":
            rooted, own_fps = (
                self._over_time(self.rooted[1 if truth else 0]),
                self._acceleration_fps,
            )
            return lambda gaps: metrics.acceleration(rooted, own_fps, valid=valid, gaps=gaps)
        if metric == "jitter_world":
            joints = self._joints_of(self.world[1 if truth else 0])
        else:
            side = self.true if truth else self.predicted
            # EMDB's own figure of the truth keeps its translation, that of predictions does not.
            keeps = truth and metric == "jitter"
            joints = (side if keeps else side.at_origin()).kinematic_joints()
        points, fps = self._over_time(joints), self.sequence.fps
        zeroed = metrics.EMDB_ZEROED if metric == "jitter" else ()
        return lambda gaps: metrics.jitter(points, fps, valid=valid, gaps=gaps, zeroed=zeroed)

    @cached_property
    def world(self) -> tuple[Side, Side]:
        """Both sides in world frames, each of its own; without one, ours by the true cameras."""
        if self.predicted_world is not None:
            return replace(self.predicted, smpl=self.predicted_world), self.true_world
        rotation = self.sequence.rotation[self.frames].mT
        translation = -(rotation @ self.sequence.translation[self.frames, :, None]).squeeze(-1)
        moved = self.predicted_body.transform(self.predicted.smpl, rotation, translation)
        return replace(self.predicted, smpl=moved), self.true_world

    def _root_path(self, side: Side) -> Float[Tensor, "N 3"]:
        if self.protocol.rte_root == "translation":
            return side.smpl.transl
        return protocol_joints(side, self.protocol.model_copy(update={"root": "pelvis"})).root

    def _joints_of(self, side: Side) -> Float[Tensor, "N J 3"]:
        """The protocol's joints where the body stands."""
        return protocol_joints(side, self.protocol).joints

    def _over_time(self, points: Float[Tensor, "N *rest"]) -> Float[Tensor, "T *rest"]:
        """Points of the scored frames at their place in the video, NaN elsewhere."""
        result = points.new_full((len(self.valid), *points.shape[1:]), torch.nan)
        result[self.frames] = points
        return result

    def _placed(self, scored: FrameValues) -> FrameValues:
        return self._at_frames(scored.values)

    def _at_frames(self, values: Float[Tensor, "N"]) -> FrameValues:
        """Values of the scored frames, which all count, with the frames' numbers in the video."""
        return FrameValues(values, torch.ones_like(values, dtype=torch.bool), self.frames)
