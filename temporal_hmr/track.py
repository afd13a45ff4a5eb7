"""Recover the bodies of the people in videos: `python -m temporal_hmr.track video.mp4 ...`."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError
from temporal_hmr.many.attempts import Cluster
from temporal_hmr.many.run import Tracked, run_many
from temporal_hmr.track_options import check_live, parse_track

if TYPE_CHECKING:
    from temporal_hmr.output.work import Work
    from temporal_hmr.tracked import TrackResult
    from temporal_hmr.tracking import TrackJob, TrackSettings

SAMPLE = Path(__file__).parent / "assets" / "sample.mp4"

_EDIT = ("python", "-m", "temporal_hmr.edit")
_log = logging.getLogger("temporal_hmr.track")


def main(arguments: Sequence[str] | None = None) -> None:
    """Track videos and write a folder of results for each; npz files first, then the overlay.

    Raises `InputError` for whatever cannot be used, before anything is computed or created. Of
    many videos, one that fails stops none of the others; the error comes when all have ended.
    """
    options = parse_track(arguments)

    from temporal_hmr.many.sources import camera_number, find_sources

    words = _words(options)
    number = camera_number(words)
    if number is not None:
        check_live(options)
        _watch(number, options)
        return
    if options.delay is not None:
        raise InputError("--delay is for a camera: bodies of a video wait for all of it")
    sources = find_sources(words)
    if options.ray is None and len(words) == 1 and sources == [Path(words[0])]:
        found = _track_unless_finished(options, sources[0])
        print(f"{found}{_told_before(found.folder) if found.skipped else ''}")
    else:
        _track_many(options, sources)


def _watch(number: int, options: Namespace) -> None:
    from temporal_hmr.cameras import camera_frames

    if options.delay is not None:
        _check_delay(options)
    frames = camera_frames(number)
    next(frames)  # whether there is a camera shows before anything heavy is loaded
    from temporal_hmr.eyes import choose_eyes
    from temporal_hmr.live import Seer, watch, window
    from temporal_hmr.online import OnlineSettings, check_delay
    from temporal_hmr.tracking import check_settings

    model, body = check_settings(_settings(options))
    settings = OnlineSettings(delay=options.delay or 0)
    check_delay(model.config, settings)
    # A second reading would come late.
    eyes = choose_eyes(options.detector, options.detector_weights, mirrored=False)
    with eyes.open(next(model.parameters()).device) as detector:
        seer = Seer(detector, model, body, settings, options.focal)
        watch(seer, frames, window())


def _check_delay(options: Namespace) -> None:
    """Refuse what the model has no room for; needs neither a camera nor the loaded model."""
    from temporal_hmr.online import OnlineSettings, check_delay
    from temporal_hmr.recover import model_config

    check_delay(model_config(options.weights), OnlineSettings(delay=options.delay))


def _words(options: Namespace) -> list[str]:
    if options.sample == bool(options.sources):
        raise InputError("give one SOURCE or more, videos or folders of images, or --sample")
    return [str(SAMPLE)] if options.sample else options.sources


def _folder(options: Namespace, source: Path) -> Path:
    """The source's folder of results.

    Raises `InputError` where results would come among the images of the source, or in its place,
    and for a name that none can be called by.
    """
    from temporal_hmr.output.folder import OVERLAY

    place = Path(os.path.realpath(source))
    name = place.name if os.path.isdir(place) else place.stem
    if name in ("", ".", ".."):
        raise InputError(f"{source} leaves no name for a folder of results: rename it")
    folder = options.output_dir / name
    if place in (there := Path(os.path.realpath(folder)), there / OVERLAY):
        raise InputError(
            f"the results would go to {folder}, where {source} itself lies: choose another place "
            "with --output-dir"
        )
    return folder


def _prepare(options: Namespace, source: Path, folder: Path) -> "TrackJob":
    from temporal_hmr.editing.drawing import require_drawable
    from temporal_hmr.output.folder import check_folder
    from temporal_hmr.rasterize import require_rasterizer
    from temporal_hmr.tracking import prepare_job

    if not options.no_render:
        require_rasterizer()
    job = prepare_job(source, _settings(options))
    if not options.no_render:
        require_drawable(job.clip, options.side_view)
    check_folder(folder, job.provenance.source_sha256)
    return job


def _settings(options: Namespace) -> "TrackSettings":
    from temporal_hmr.tracking import TrackSettings

    return TrackSettings(
        body=options.body,
        weights=options.weights,
        focal=options.focal,
        person=options.person,
        start=options.start,
        end=options.end,
        stride=options.stride,
        static_camera=options.static_camera,
        foot_lock=options.foot_lock,
        detector=options.detector,
        detector_weights=options.detector_weights,
        keypoints=options.keypoints,
        camera=options.camera,
        device=options.device,
        light=options.light,
        refine=options.refine,
        progress=options.ray is None,
    )


def _track(job: "TrackJob", folder: Path, options: Namespace) -> Tracked:
    from temporal_hmr.output.folder import corrections
    from temporal_hmr.output.work import working_in

    edited = " ".join([*_EDIT, str(folder), *corrections(folder)]) if corrections(folder) else ""
    if edited and not options.again:
        raise InputError(
            f"{folder} was corrected, which would be lost ({edited}): choose another place with "
            "--output-dir, or say --again"
        )
    try:
        with working_in(folder, options.keep_work) as work:
            result, refused = _written(job, folder, options, work)
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or f"{folder} has what was found so far"
        raise KeyboardInterrupt(f"{kept}; the same command goes on from there") from None
    if refused is not None:
        raise InputError(f"{folder} has everything but an export: {refused}")
    if edited:
        _log.warning("%s is as tracked; its corrections, if they still fit: %s", folder, edited)
    if result.motions and result.no_world is not None:
        _refuse_world(folder, result.no_world)
    return Tracked(folder, len(result.motions), len(result))


def _written(
    job: "TrackJob", folder: Path, options: Namespace, work: "Work"
) -> tuple["TrackResult", InputError | None]:
    """The result, in its folder by now, and why an export of it is not there."""
    from temporal_hmr.editing.drawing import draw_overlay
    from temporal_hmr.tracking import run_job

    result = run_job(job, work)
    result.save(folder, overwrite=True)  # what was there is seen to by now
    refused = _export(folder, options) if result.motions else None
    if result.motions and not options.no_render:
        # Of the files: it is the same, to the byte, if a run that was killed here is completed.
        draw_overlay(folder, job.pictures(), job.body, options.side_view, job.progress)
    return result, refused


def _refuse_world(folder: Path, why: str) -> NoReturn:
    raise InputError(
        f"{folder} has the bodies as the camera saw them, but no world: {why}; leave out "
        "--static-camera"
    )


def _export(folder: Path, options: Namespace) -> InputError | None:
    """Write what is asked for beside the result; returns what went wrong, which loses nothing."""
    from temporal_hmr.output.export import ExportSettings, export_result
    from temporal_hmr.output.manifest import EXPORTS

    if not options.export:
        return None
    try:
        export_result(folder, folder / EXPORTS, ExportSettings(tuple(options.export), options.body))
    except InputError as error:
        return error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} has everything but exports and overlay") from None
    return None


def _told_before(folder: Path) -> str:
    """That results were there, and how to have them made anew."""
    from temporal_hmr.output.folder import corrections

    since = " and corrected since" if corrections(folder) else ""
    return f", finished before{since}: say --again to track it anew"


def track_one_of_many(options: Namespace, source: Path) -> Tracked:
    """Track one video, unless whole results made in the same way are there already.

    Raises `InputError` for whatever cannot be used.
    """
    return _track_unless_finished(options, source, named=True)


def _track_unless_finished(options: Namespace, source: Path, named: bool = False) -> Tracked:
    """Track, or complete what is there; `named` tells which one it is where several are."""
    from temporal_hmr.output.folder import finished_results

    folder = _folder(options, source)
    job = _prepare(options, source, folder)
    if not options.again:
        found = finished_results(folder, job.provenance)
        if found is not None:
            if found.get("breaks_off_after") is not None:
                told = source.name, found["breaks_off_after"]
                _log.warning("%s broke off after %d frames, where its results end", *told)
            if found["people"]:
                _complete(job, folder, found, options)
            no_world = found.get("world", {}).get("missing")
            if found["people"] and no_world is not None:
                _refuse_world(folder, no_world)
            return Tracked(folder, len(found["people"]), found["num_frames"], skipped=True)
    if named and job.progress:
        print(f"{source}:", file=sys.stderr, flush=True)
    return _track(job, folder, options)


def _complete(job: "TrackJob", folder: Path, found: dict, options: Namespace) -> None:
    """Export and draw what is missing of results that were there before.

    With it goes what a run left that was killed over that. Raises `InputError` for what cannot be
    written.
    """
    from temporal_hmr.editing.drawing import draw_overlay, has_overlay
    from temporal_hmr.output.export import export_is_current
    from temporal_hmr.output.work import working_in

    undone = options.export and not export_is_current(folder, options.export)
    undrawn = not options.no_render and not has_overlay(folder, found, options.side_view)
    if not (undone or undrawn):
        return
    with working_in(folder, options.keep_work):
        refused = _export(folder, options) if undone else None
        if undrawn:
            draw_overlay(folder, job.pictures(), job.body, options.side_view, job.progress)
    if refused is not None:
        raise refused


def _track_many(options: Namespace, sources: Sequence[Path]) -> None:
    cluster, output_dir = _cluster(options), options.output_dir
    _check(options, sources)
    if cluster is not None:
        options = _from_anywhere(options)
    run_many(partial(track_one_of_many, options), sources, output_dir, cluster)


def _cluster(options: Namespace) -> Cluster | None:
    if options.ray is None:
        if options.ray_cpus is not None or options.ray_gpus is not None:
            raise InputError(
                "--ray-cpus and --ray-gpus do nothing without --ray: give it an address"
            )
        return None
    cpus = 1 if options.ray_cpus is None else options.ray_cpus
    gpus = 0 if options.ray_gpus is None else options.ray_gpus
    if options.device.startswith("cuda") and not gpus:
        raise InputError(f"--device {options.device} on Ray needs --ray-gpus above 0")
    return Cluster(options.ray, cpus, gpus)


def _check(options: Namespace, sources: Sequence[Path]) -> None:
    """Refuse what could not be done for all of the sources, before the first is begun."""
    from temporal_hmr.rasterize import require_rasterizer
    from temporal_hmr.tracking import check_settings

    if options.keypoints is not None and len(sources) > 1:
        raise InputError("--keypoints are of one video: give one SOURCE")
    taken: dict[Path, Path] = {}
    for source in sources:
        folder = _folder(options, source)
        other = taken.setdefault(folder, source)
        if other != source:
            raise InputError(
                f"the results of {other} and of {source} would both go to {folder}: rename one, "
                "or track them one after the other with different --output-dir"
            )
    if not options.no_render:
        require_rasterizer()
    settings = _settings(options)
    # The machines of a cluster may have devices that this one lacks.
    check_settings(settings if options.ray is None else replace(settings, device="cpu"))


def _from_anywhere(options: Namespace) -> Namespace:
    """With paths that mean the same wherever a worker stands."""
    absolute = {
        name: value.absolute() for name, value in vars(options).items() if isinstance(value, Path)
    }
    return Namespace(**{**vars(options), **absolute})


if __name__ == "__main__":
    run_door(main)
