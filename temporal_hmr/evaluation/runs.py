"""The runs of one evaluation: predictions scored under each protocol that can score them."""

from collections.abc import Iterable, Mapping, Sequence

from temporal_hmr.command_line import Stage
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.benchmark import Predictions, some
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.points import REGRESSED
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.evaluation.score import FEET, WORLD_METRICS, score_sequence
from temporal_hmr.evaluation.summary import Run


def usable_protocols(
    protocols: Mapping[str, Protocol], sequences: Iterable[LabelledSequence], bodies: Bodies
) -> tuple[dict[str, Protocol], list[str]]:
    """Those whose bodies are there, and what was left out; loads them before anything is tracked.

    The last is the one asked for: what it lacks raises `InputError` naming the first body,
    regressor or landmark. Any other is left out.
    """
    genders = {sequence.gender for sequence in sequences}
    usable, left_out = dict(protocols), []
    for label, protocol in protocols.items():
        try:
            _require_bodies(protocol, genders, bodies)
        except InputError as error:
            if label == [*protocols][-1]:
                raise
            del usable[label]
            left_out.append(f"{label} unchanged is left out: {error}")
    return usable, left_out


def _require_bodies(protocol: Protocol, genders: set[str], bodies: Bodies) -> None:
    posed = {"neutral"} | (genders if protocol.truth_body == "gendered" else set())
    for gender in sorted(posed):
        bodies.of(gender)
        if protocol.joints in REGRESSED:
            bodies.regressor(REGRESSED[protocol.joints], gender)
        if "foot_sliding" in protocol.metrics:
            bodies.landmarks(FEET, gender)


def score_protocols(
    protocols: Mapping[str, Protocol],
    sequences: Sequence[LabelledSequence],
    predictions: Predictions,
    bodies: Bodies,
) -> tuple[list[Run], list[str]]:
    """Every sequence under every protocol, and which were left out as they score nothing.

    Raises `InputError` if there is nothing to score under any.
    """
    runs, empty = [], {}
    for label, protocol in protocols.items():
        stage = Stage(f"scoring, {label}")
        scores = [
            score_sequence(sequence, predictions.motions[sequence.name], protocol, bodies)
            for sequence in stage.track(sequences, total=len(sequences), unit="sequence")
        ]
        run = Run(label, protocol, scores)
        if any(each.values for each in scores):
            runs.append(run)
        else:
            empty[label] = _why_nothing(run, predictions)
    if not runs:
        raise InputError("; ".join(f"{label}: {why}" for label, why in empty.items()))
    return runs, [f"{label} is left out: {why}" for label, why in empty.items()]


def _why_nothing(run: Run, predictions: Predictions) -> str:
    if any(each.scored.any() for each in run.scores):
        return (
            "it scores in the world frame only, and no prediction has a translation; choose "
            "metrics of the camera frame, such as --set metrics=mpjpe,pa_mpjpe,pve"
        )
    notes = [f"{each.name}: {note}" for each in run.scores for note in each.notes]
    return some(
        ["not one frame both counts and has a prediction", *notes, *predictions.warnings], "; "
    )


def world_facts(runs: Sequence[Run], predictions: Predictions) -> tuple[tuple[str, str], ...]:
    """What placed the predictions in the world, where that matters."""
    if not any({*WORLD_METRICS} & {*run.protocol.metrics} for run in runs):
        return ()
    motions = [m for m in predictions.motions.values() if m is not None and m.has_place]
    if not motions:
        return ()
    own = sum(motion.world is not None for motion in motions)
    if own == len(motions):
        return (("camera motion", "the system's own world frame"),)
    if own:
        return (("camera motion", f"own world frame for {own} people, true camera poses else"),)
    return (("camera motion", "the true camera poses"),)
