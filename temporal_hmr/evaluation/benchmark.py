"""One evaluation's data: who is labelled, who is predicted where, what is missing or wrong."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from temporal_hmr.body.load import OPEN_BODY, load_body
from temporal_hmr.command_line import counted, nearest
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.data.verify import verify
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.matching import assign
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.evaluation.score import SequenceScores
from temporal_hmr.evaluation.summary import Run
from temporal_hmr.evaluation.summary import label as metric_label
from temporal_hmr.interchange.folder import FolderEntry, read_folder
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.recover import on_body

_NAMED = 8
"""Frames or files named in one warning before the rest is counted."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Who was predicted for every labelled sequence, and what was noticed on the way."""

    motions: Mapping[str, PredictedMotion | None]
    """By name of the sequence; None where nobody was."""
    warnings: tuple[str, ...] = ()


def read_sequences(
    dataset: Literal["3dpw", "emdb1", "emdb2"], root: Path, split: str, skip_broken: bool
) -> tuple[list[LabelledSequence], list[str]]:
    """The labelled people of a dataset, and what was left out because its files are broken.

    Raises `InputError` naming all that is broken, unless it is to be left out.
    """
    left_out: list[str] = []
    on_broken = left_out.append if skip_broken else None
    if dataset == "3dpw":
        return read_threedpw(root, split, on_broken), left_out
    return read_emdb(root, 1 if dataset == "emdb1" else 2, on_broken), left_out


def chosen_sequences(
    sequences: Sequence[LabelledSequence], names: Sequence[str] | None
) -> list[LabelledSequence]:
    """Those of some videos or people; raises `InputError` for a name that nothing has."""
    if names is None:
        return list(sequences)
    known = {name for each in sequences for name in (each.name, each.video)}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else f"; there are {', '.join(sorted(known))}"
            raise InputError(f"there is no sequence {name}{hint}")
    return [each for each in sequences if each.name in names or each.video in names]


def contradictions(sequences: Iterable[LabelledSequence], bodies: Bodies) -> list[str]:
    """What the labels say twice and not alike, such as stored joints and posed bodies.

    People whose body is not there, because no protocol needs it, cannot be checked; that is told.
    """
    found, unchecked = [], set()
    for sequence in sequences:
        try:
            body = bodies.of(sequence.gender)
        except InputError:
            unchecked.add(sequence.gender)
        else:
            found += [f"labels of {problem}" for problem in verify(sequence, body)]
    return found + [
        f"labels of {gender} people are not checked: there is no {gender} body"
        for gender in sorted(unchecked)
    ]


def read_predictions(
    folder: Path, format: str | None, sequences: Sequence[LabelledSequence], bodies: Bodies
) -> Predictions:
    """Anyone's result files in a folder, each given to the person that it is of.

    Raises `InputError` if no file belongs to any of the videos, two files or two people of one file
    claim the same person, or nothing tells who is who.
    """
    videos = by_video(sequences)
    known = _names(videos)
    found = read_folder(folder, list(known), format)
    warnings = []
    if found.unmatched:
        paths = some([str(path.relative_to(folder)) for path in found.unmatched])
        warnings.append(f"left aside, named after none of these videos: {paths}")
    if found.unknown:
        paths = some([str(path.relative_to(folder)) for path in found.unknown])
        warnings.append(f"left aside, of no known format: {paths}")
    if not found.entries:
        raise InputError(
            f"{folder} has no result of any of these videos: files or their folders are named "
            f"after them, such as {next(iter(videos))}.npz"
        )
    motions: dict[str, PredictedMotion | None] = {}
    for video, people in videos.items():
        entries = [entry for entry in found.entries if known[entry.video] == video]
        named, loose = _by_name(video, people, entries)
        left = [person for person in people if person.name not in named]
        if not left and loose:
            raise InputError(
                f"everybody in {video} has a file of their own, and {loose[0].name} comes on top; "
                "remove one or the other"
            )
        assignment = assign(left, [_on_smpl(motion, bodies) for motion in loose], bodies)
        motions |= {name: _on_smpl(motion, bodies) for name, motion in named.items()}
        motions |= assignment.motions
        warnings += [f"{video}: {note}" for note in assignment.notes]
    if any(motion is not None and motion.source == "gvhmr" for motion in motions.values()):
        warnings.append(
            "GVHMR's files hold SMPL-X parameters, which are read as SMPL's: expect some "
            "millimetres of difference from its published figures, for which it converts vertices"
        )
    return Predictions(motions, tuple(warnings))


def _by_name(
    video: str, people: Sequence[LabelledSequence], entries: Sequence[FolderEntry]
) -> tuple[dict[str, PredictedMotion], list[PredictedMotion]]:
    """Motions of people that their file's name tells, and those of whoever they may be of."""
    known = [person.name for person in people]
    named: dict[str, PredictedMotion] = {}
    loose: list[PredictedMotion] = []
    for entry in entries:
        name = f"{video}_{entry.actor}"
        if entry.actor == 0 and len(people) == 1:
            name = known[0]
        if entry.actor is None:
            loose += entry.motions
        elif name not in known or len(entry.motions) != 1:
            raise InputError(
                f"{entry.path} is named after person {entry.actor} of {video} and holds "
                f"{counted(len(entry.motions), 'person')}; {video} has {', '.join(known)}, and a "
                "file of one of them holds one person"
            )
        elif name in named:
            raise InputError(f"two files claim {name}, one is {entry.path}; remove one of them")
        else:
            named[name] = entry.motions[0]
    return named, loose


def _on_smpl(motion: PredictedMotion, bodies: Bodies) -> PredictedMotion:
    """Results on our open body mean their pose for SMPL too, but their shape for nobody else."""
    if motion.body != OPEN_BODY:
        return motion
    smpl = on_body(motion.smpl, load_body(dtype=torch.float64), bodies.of("neutral"))
    return replace(motion, smpl=smpl)


def _names(videos: Collection[str]) -> dict[str, str]:
    """What videos may be called: their names, or those of EMDB's folders (no participant)."""
    names = {video: video for video in videos}
    for video in videos:
        participant, _, rest = video.partition("_")
        if participant[:1] == "P" and participant[1:].isdecimal() and rest:
            names.setdefault(rest, video)
    return names


def by_video(sequences: Sequence[LabelledSequence]) -> dict[str, list[LabelledSequence]]:
    """The labelled people of each video."""
    videos: dict[str, list[LabelledSequence]] = {}
    for sequence in sequences:
        videos.setdefault(sequence.video, []).append(sequence)
    return videos


def scope(
    read: Sequence[LabelledSequence], scored: Sequence[LabelledSequence], left_out: Sequence[str]
) -> str:
    """How much of the dataset stands behind the figures."""
    text = f"{len(scored)} of {len(read)} people, {len({each.video for each in scored})} videos"
    return f"{text}; broken files were left out" if left_out else text


def shortcomings(runs: Sequence[Run], skip_nan: bool) -> list[str]:
    """What is missing from the predictions or wrong with them, sequence by sequence.

    What is not so in every run names those in which it is.
    """
    labels: dict[str, list[str]] = {}
    for run in runs:
        for line in _shortcomings(run, skip_nan):
            labels.setdefault(line, []).append(run.label)
    return [
        line if len(where) == len(runs) else f"{line} [{'; '.join(where)}]"
        for line, where in labels.items()
    ]


def _shortcomings(run: Run, skip_nan: bool) -> list[str]:
    lines = []
    for scores in run.scores:
        missing = np.flatnonzero(scores.wanted & ~scores.predicted)
        wanted = int(scores.wanted.sum())
        if not wanted:
            lines.append(f"{scores.name}: no frame counts under this protocol")
        elif len(missing) == wanted:
            lines.append(f"{scores.name}: no prediction at all ({wanted} frames count)")
        elif len(missing):
            lines.append(
                f"{scores.name}: {len(missing)} of {wanted} frames that count have no prediction "
                f"(frames {some([str(frame) for frame in missing])})"
            )
        guessed = int((scores.scored & scores.filled).sum())
        if guessed:
            lines.append(
                f"{scores.name}: {guessed} of {int(scores.scored.sum())} scored frames are filled "
                "in by the system, not seen (--set guesses=skip leaves them out)"
            )
        lines += _not_numbers(scores, run.protocol, skip_nan)
        lines += [f"{scores.name}: {note}" for note in scores.notes]
    return lines


def _not_numbers(scores: SequenceScores, protocol: Protocol, skip_nan: bool) -> list[str]:
    """Which metrics are no numbers in which frames, those first that say most narrowly where."""
    broken: dict[tuple[int, ...], list[str]] = {}
    for metric in protocol.metrics:
        found = scores.values.get(metric)
        if found is not None and int(found.num_nan()):
            frames = found.frames[found.counted & found.values.isnan()]
            broken.setdefault(tuple(frames.tolist()), []).append(metric_label(metric, protocol))
    if not broken:
        return []
    places = [
        f"{', '.join(broken[frames])} in frames {some([str(frame) for frame in frames])}"
        for frames in sorted(broken, key=len)
    ]
    fate = "left out" if skip_nan else "and neither are the means (--skip-nan leaves them out)"
    return [f"{scores.name}: predictions are not numbers for {'; '.join(places)}: {fate}"]


def some(names: Sequence[str], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return between.join(names[:_NAMED]) + more
