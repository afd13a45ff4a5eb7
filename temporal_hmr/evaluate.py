"""Measure on labelled sequences: `python -m temporal_hmr.evaluate --dataset 3dpw --data ROOT`.

Either our own tracker runs on them, by the same code that tracks videos, or the results of any
system are read (`--predictions`). How they are compared is a named protocol, printed with the
figures. Rendered clips (`--dataset clips`) also show what hiding a part costs (`--occlusion`);
rendered videos (`--dataset videos`) go through `track` itself, pixels in.
"""

import logging
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.data.labelled import LabelledSequence
    from temporal_hmr.evaluation.benchmark import Predictions
    from temporal_hmr.evaluation.bodies import Bodies
    from temporal_hmr.evaluation.clips import ClipTrial
    from temporal_hmr.evaluation.protocol import Protocol
    from temporal_hmr.evaluation.tables import Results
    from temporal_hmr.motion import BodyMotion

DATASETS = ("3dpw", "emdb1", "emdb2", "mocap", "clips", "videos")
SCORES, TABLE, PAGE = "scores.json", "scores.csv", "report.html"
PREDICTIONS = "predictions"

_log = logging.getLogger("temporal_hmr.evaluate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print tables; write `scores.json`, `scores.csv` and `report.html`, and maps of occlusion.

    Raises `InputError` if data, predictions, bodies or weights cannot be used.
    """
    options = _options(arguments)
    folder = options.output_dir or Path("outputs") / "evaluation" / _default_name(options)
    _check_folder(folder)
    trial = _trial(options) if options.dataset == "clips" else None
    if trial is not None:
        results, sequences = _clips(options, trial)
    elif options.dataset == "mocap":
        results, sequences = _mocap(options)
    elif options.dataset == "videos":
        results, sequences = _videos(options, folder)
    else:
        results, sequences = _benchmark(options, folder)
    label = results.runs[0].label
    title = label if label.startswith(options.dataset) else f"{options.dataset}, {label}"
    _deliver(results, sequences, folder, title)
    if trial is not None and options.occlusion:
        _hide(options, trial, folder)


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr evaluate",
        "Measure our tracker, or anyone's results, on labelled sequences under a named protocol.",
    )
    add = parser.add_argument
    add("--dataset", choices=DATASETS, required=True, help="kind of data")
    add("--data", type=Path, required=True, metavar="ROOT", help="where it lies")
    add("--split", metavar="NAME", help="of 3dpw: train, validation or test (test)")
    add("--protocol", metavar="NAME", help="how to score (the dataset's own; see docs/evaluation)")
    add("--set", action="append", default=[], metavar="SWITCH=VALUE", dest="switches",
        help="score a second time with a switch of the protocol changed; repeatable")  # fmt: skip
    add("--sequences", nargs="+", metavar="NAME", help="only these videos or people (all)")
    add("--predictions", type=Path, metavar="FOLDER", help="score these results instead of running")
    add("--format", metavar="NAME", help="of the results (told by content)")
    add("--smpl", type=Path, metavar="FOLDER", help="SMPL bodies and regressors ($SMPL_DIR)")
    add("--weights", type=Path, metavar="FILE", help="your model instead of the embedded one")
    add("--boxes", choices=("truth", "tracked"), help="whose boxes (truth)")
    add("--keypoints", metavar="FROM",
        help="detected, dataset, or a folder of npz files (detected)")  # fmt: skip
    add("--focal", choices=("truth", "assumed"), help="focal length (truth; of videos assumed)")
    add("--no-refine", action="store_true", help="leave bodies as the model has them")
    add("--subjects", nargs="+", metavar="NAME", help="of mocap: only these (all)")
    add("--up-axis", choices=("auto", "y", "z"), help="of mocap: of its files' worlds (auto)")
    add("--seed", type=int, metavar="N", help="of mocap: cameras, bodies, noise (0)")
    add("--baselines", action="store_true", help="of mocap: also filters and the mean pose")
    add("--clips", type=_count, metavar="N", help="of clips: so many, spread evenly (all)")
    add("--occlusion", action="store_true", help="of clips: what hiding each part of a crop costs")
    add("--skip-nan", action="store_true", help="leave out frames whose prediction is no number")
    add("--skip-broken", action="store_true", help="leave out what has broken files")
    add("--strict", action="store_true", help="labels that contradict themselves are an error")
    add("-o", "--output-dir", type=Path, metavar="FOLDER", help="(outputs/evaluation/...)")
    options = parser.parse_args(arguments)
    _refuse_idle(options)
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _refuse_idle(options: Namespace) -> None:
    """An option that would do nothing is a mistake somewhere; raises `InputError`."""
    tracked = ("boxes", "keypoints", "focal", "weights")
    mocap, scored = (
        ("subjects", "up_axis", "seed", "baselines"),
        ("predictions", "format", "smpl", "sequences"),
    )
    idle: tuple[str, ...] = mocap
    reads_results = options.dataset not in ("mocap", "clips", "videos")
    if not reads_results:
        own = {
            "mocap": (*tracked[:-1], *scored),
            "clips": (*mocap, *tracked[:-1], *scored, "no_refine"),
        }
        videos = (*mocap, *tracked[:2], *scored[:-1])
        idle = (*own.get(options.dataset, videos), "strict")
        if options.dataset != "mocap":
            idle = (*idle, "skip_broken")
    elif options.predictions is not None:
        idle = (*mocap, *tracked, "no_refine")
    elif options.format is not None:
        idle = (*mocap, "format")
    if options.dataset != "3dpw":
        idle = (*idle, "split")
    if options.dataset != "clips":
        idle = (*idle, "clips", "occlusion")
    for name in idle:
        if getattr(options, name) not in (None, False):
            scoring = reads_results and options.predictions is not None
            with_what = "--predictions" if scoring else f"--dataset {options.dataset}"
            raise InputError(
                f"--{name.replace('_', '-')} does nothing with {with_what}: leave it out"
            )


def _default_name(options: Namespace) -> str:
    who = f"_{options.predictions.resolve().name}" if options.predictions else ""
    split = f"_{options.split}" if options.split else ""
    return f"{options.dataset}{split}_{options.protocol or options.dataset}{who}"


def _benchmark(
    options: Namespace, folder: Path
) -> tuple["Results", Mapping[str, "LabelledSequence"]]:
    from temporal_hmr.evaluation import benchmark, runs
    from temporal_hmr.evaluation.bodies import Bodies
    from temporal_hmr.evaluation.tables import Results

    asked = _protocols(options)
    split = options.split or "test"
    read, left_out = benchmark.read_sequences(
        options.dataset, options.data, split, options.skip_broken
    )
    sequences = benchmark.chosen_sequences(read, options.sequences)
    # Whoever else is in these videos helps to tell who is who.
    videos = {sequence.video for sequence in sequences}
    everybody = [sequence for sequence in read if sequence.video in videos]
    bodies = Bodies(options.smpl)
    protocols, unusable = runs.usable_protocols(asked, everybody, bodies)
    doubts = benchmark.contradictions(sequences, bodies)
    if doubts and options.strict:
        raise InputError("; ".join(doubts))
    if options.predictions is None:
        predictions, facts = _track(options, everybody, bodies, folder)
    else:
        predictions = benchmark.read_predictions(
            options.predictions, options.format, everybody, bodies
        )
        facts = (("predictions", str(options.predictions)),)
    scored, empty = runs.score_protocols(protocols, sequences, predictions, bodies)
    shortcomings = benchmark.shortcomings(scored, options.skip_nan)
    warnings = (*left_out, *unusable, *doubts, *predictions.warnings, *empty, *shortcomings)
    facts = (
        *_common_facts(options),
        *((("split", split),) if options.dataset == "3dpw" else ()),
        ("sequences", benchmark.scope(read, sequences, left_out)),
        *facts,
        *runs.world_facts(scored, predictions),
    )
    results = Results(facts, scored, warnings, options.skip_nan)
    return results, {sequence.name: sequence for sequence in sequences}


def _protocols(options: Namespace) -> dict[str, "Protocol"]:
    """The one asked for, and the same with switches changed; by name."""
    from temporal_hmr.evaluation.protocol import preset, with_switches

    name = options.protocol or options.dataset
    protocols = {name: preset(name, options.dataset)}
    if options.switches:
        changed = with_switches(protocols[name], options.switches)
        protocols[f"{name} with {', '.join(options.switches)}"] = changed
    return protocols


def _track(
    options: Namespace, sequences: Sequence["LabelledSequence"], bodies: "Bodies", folder: Path
) -> tuple["Predictions", tuple[tuple[str, str], ...]]:
    """Our own tracker on the dataset's images; its results stay in the folder."""
    from temporal_hmr.evaluation.own import OwnSettings
    from temporal_hmr.evaluation.tracked import track_sequences

    keypoints = options.keypoints or "detected"
    in_files = keypoints not in ("detected", "dataset")
    settings = OwnSettings(
        boxes=options.boxes or "truth",
        keypoints="detected" if in_files else keypoints,
        keypoint_folder=Path(keypoints) if in_files else None,
        focal=options.focal or "truth",
        refine=not options.no_refine,
    )
    try:
        predictions = track_sequences(
            sequences, bodies, options.weights, settings, folder / PREDICTIONS
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command continues {folder}") from None
    facts = (
        ("predictions", "temporal_hmr's own tracker"),
        ("boxes", settings.boxes),
        ("keypoints", keypoints),
        ("focal length", settings.focal),
        ("refined", "yes" if settings.refine else "no"),
        *_weights_fact(options),
    )
    return predictions, facts


def _mocap(options: Namespace) -> tuple["Results", Mapping[str, "LabelledSequence"]]:
    import torch

    from temporal_hmr.data.mocap import TakesConfig, read_takes
    from temporal_hmr.evaluation.benchmark import shortcomings
    from temporal_hmr.evaluation.mocap import MocapSettings, chosen_takes, mocap_runs
    from temporal_hmr.evaluation.tables import Results
    from temporal_hmr.recover import load_model

    protocols = _protocols(options)
    model = load_model(options.weights, torch.device("cpu"))
    reading = TakesConfig(up_axis=options.up_axis or "auto", skip_broken=options.skip_broken)
    takes = chosen_takes(read_takes(options.data, reading), options.subjects)
    settings = MocapSettings(options.seed or 0, options.baselines, not options.no_refine)
    runs, sequences = mocap_runs(model, takes, protocols, settings)
    facts = (
        *_common_facts(options),
        ("subjects", ", ".join(options.subjects or ["all"])),
        *((("up axis", options.up_axis),) if options.up_axis else ()),
        ("cameras, bodies and noise", f"random, seed {settings.seed}"),
        ("refined", "yes" if settings.refine else "no"),
        *_weights_fact(options),
    )
    warnings = tuple(shortcomings(runs, options.skip_nan))
    return Results(facts, runs, warnings, options.skip_nan), sequences


def _videos(options: Namespace, folder: Path) -> tuple["Results", Mapping[str, "LabelledSequence"]]:
    """Rendered videos through the code of `track`; the results stay in the folder."""
    from temporal_hmr.evaluation import benchmark, runs
    from temporal_hmr.evaluation.bodies import Bodies
    from temporal_hmr.evaluation.tables import Results
    from temporal_hmr.evaluation.videos import read_videos, track_videos
    from temporal_hmr.tracking import TrackSettings, track_video

    protocols, bodies = _protocols(options), Bodies(only_open=True)
    read = read_videos(options.data)
    sequences = benchmark.chosen_sequences(read, options.sequences)

    def track(video: Path, person: "LabelledSequence") -> "Sequence[BodyMotion]":
        focal = float(person.camera.focal.mean()) if options.focal == "truth" else None
        result = track_video(
            video, TrackSettings(weights=options.weights, focal=focal, refine=not options.no_refine)
        )
        result.save(folder / PREDICTIONS / video.stem, overwrite=True)
        return result.motions

    videos = {sequence.video for sequence in sequences}
    everybody = [sequence for sequence in read if sequence.video in videos]
    predictions = track_videos(options.data, everybody, track, bodies)
    scored, empty = runs.score_protocols(protocols, sequences, predictions, bodies)
    facts = (
        *_common_facts(options),
        ("sequences", benchmark.scope(read, sequences, [])),
        ("predictions", "track"),
        ("focal length", options.focal or "assumed"),
        *_weights_fact(options),
    )
    shortcomings = benchmark.shortcomings(scored, options.skip_nan)
    warnings = (*predictions.warnings, *empty, *shortcomings)
    results = Results(facts, scored, warnings, options.skip_nan)
    return results, {sequence.name: sequence for sequence in sequences}


def _trial(options: Namespace) -> "ClipTrial":
    from temporal_hmr.device import choose_device
    from temporal_hmr.evaluation.clips import ClipTrial

    return ClipTrial.open(options.weights, options.data, options.clips, choose_device("auto"))


def _clips(
    options: Namespace, trial: "ClipTrial"
) -> tuple["Results", Mapping[str, "LabelledSequence"]]:
    from temporal_hmr.evaluation.benchmark import shortcomings
    from temporal_hmr.evaluation.clips import clip_runs
    from temporal_hmr.evaluation.tables import Results

    runs, sequences = clip_runs(trial, _protocols(options))
    description = trial.clips.description
    facts = (
        *_common_facts(options),
        ("subjects", ", ".join(description.subjects)),
        ("clips", f"{len(trial.chosen)} of {len(trial.clips)}, {description.frames} frames each"),
        *_weights_fact(options),
    )
    warnings = (*trial.doubts(), *shortcomings(runs, options.skip_nan))
    return Results(facts, runs, warnings, options.skip_nan), sequences


def _hide(options: Namespace, trial: "ClipTrial", folder: Path) -> None:
    """Maps of what hiding each part of the crop costs, beside the scores."""
    from temporal_hmr.evaluation.occlusion import maps_of_clips
    from temporal_hmr.evaluation.occlusion_report import write_maps

    facts = dict((*_common_facts(options), *_weights_fact(options)))
    try:
        names = write_maps(maps_of_clips(trial), facts, folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} has the scores, but no maps") from None
    print(f"{folder}: {', '.join(names)}")


def _common_facts(options: Namespace) -> tuple[tuple[str, str], ...]:
    from temporal_hmr.output.npz import package_version

    name = options.protocol or options.dataset
    return (
        ("data", f"{options.dataset}, {options.data}"),
        ("protocol", name),
        ("temporal_hmr", package_version()),
    )


def _weights_fact(options: Namespace) -> tuple[tuple[str, str], ...]:
    from temporal_hmr.checkpoint import file_hash
    from temporal_hmr.recover import default_weights

    path = options.weights or default_weights()
    return (("weights", f"{path.name}, SHA-256 {file_hash(path)[:12]}"),)


def _check_folder(folder: Path) -> None:
    """Before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def _deliver(
    results: "Results", sequences: Mapping[str, "LabelledSequence"], folder: Path, title: str
) -> None:
    """Numbers first: whatever happens to the page, they are there."""
    from temporal_hmr.evaluation.page import page
    from temporal_hmr.evaluation.tables import csv_report, json_report, text_report
    from temporal_hmr.output.npz import atomic_path
    from temporal_hmr.output.report import write_report

    for name, text in ((SCORES, json_report(results)), (TABLE, csv_report(results))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(text_report(results), flush=True)
    for warning in results.warnings:
        _log.warning("%s", warning)
    write_report(page(title, results, sequences), folder / PAGE)
    print(f"{folder}: {SCORES}, {TABLE}, {PAGE}")


if __name__ == "__main__":
    run_door(main)
