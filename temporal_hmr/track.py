"""Recover the bodies of the people in videos: `python -m temporal_hmr.track video.mp4 ...`."""

import os
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError
from temporal_hmr.many.attempts import Cluster
from temporal_hmr.many.run import Tracked, run_many
from temporal_hmr.output.formats import FORMATS

if TYPE_CHECKING:
    from temporal_hmr.output.work import Work
    from temporal_hmr.tracked import TrackResult
    from temporal_hmr.tracking import TrackJob, TrackSettings

SAMPLE = Path(__file__).parent / "assets" / "sample.mp4"


def main(arguments: Sequence[str] | None = None) -> None:
    """Track videos and write a folder of results for each; npz files first, then the overlay.

    Raises `InputError` for whatever cannot be used, before anything is computed or created. Of
    many videos, one that fails stops none of the others; the error comes when all have ended.
    """
    from temporal_hmr.many.sources import camera_number, find_sources

    options = _parse(arguments)
    words = _words(options)
    number = camera_number(words)
    if number is not None:
        _watch(number, options)
        return
    sources = find_sources(words)
    if options.ray is None and len(words) == 1 and sources == [Path(words[0])]:
        folder = _folder(options, sources[0])
        print(_track(_prepare(options, sources[0], folder), folder, options))
    else:
        _track_many(options, sources)


class _Parser(DoorParser):
    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """As in argparse, but sources may stand on both sides of an option."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if any(word.startswith("-") for word in unknown):
            return parsed, unknown
        parsed.sources = [*parsed.sources, *unknown]
        return parsed, []


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = _Parser("temporal-hmr track", "Recover the bodies of the people in videos.")
    add = parser.add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="video file, folder of images, folder of videos, .txt file with a path in each line, "
        "quoted pattern, or the number of a camera (0), which is only looked through",
    )
    add("--sample", action="store_true", help="track the sample clip of the package")
    add(
        "-o",
        "--output-dir",
        type=Path,
        default=Path("outputs"),
        metavar="FOLDER",
        help="gets a folder for each video (outputs/)",
    )
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz instead of the open body")
    add("--weights", type=Path, metavar="FILE", help="your model instead of the embedded one")
    _add_detector_options(parser)
    add("--focal", type=float, metavar="PX", help="focal length in pixels (the image diagonal)")
    _add_given_options(parser)
    add(
        "--person",
        default="all",
        metavar="WHO",
        help="all, largest (fills most of the picture), longest (is seen in most frames), or a "
        "person's number (all)",
    )
    add("--start", type=float, metavar="S", help="seconds (the beginning)")
    add("--end", type=float, metavar="S", help="seconds (the end)")
    add("--stride", type=int, default=1, metavar="N", help="look at every Nth frame only (1)")
    _add_world_options(parser)
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    add("--light", action="store_true", help="a faster model, hardly worse")
    add(
        "--refine",
        action=BooleanOptionalAction,
        default=True,
        help="move bodies onto the detected keypoints at the end (yes)",
    )
    add("--no-render", action="store_true", help="write no overlay video")
    add("--side-view", action="store_true", help="show the bodies from the side too, beside it")
    add(
        "--export",
        nargs="+",
        choices=FORMATS,
        default=[],
        metavar="FORMAT",
        help=f"write the result in these formats too, to its export folder: {', '.join(FORMATS)}",
    )
    add(
        "--keep-work",
        action="store_true",
        help="leave what was found on the way in the work folder, for runs with other settings",
    )
    add("--again", action="store_true", help="of many videos, track the finished ones anew")
    _add_ray_options(parser)
    return parser.parse_args(arguments)


def _add_detector_options(parser: DoorParser) -> None:
    parser.add_argument(
        "--detector",
        default="mediapipe",
        metavar="NAME",
        help="what finds people: mediapipe (BlazePose), or vitpose (RT-DETR and ViTPose, slow "
        "without a GPU) (mediapipe)",
    )
    parser.add_argument(
        "--detector-weights",
        action="append",
        type=lambda word: os.path.abspath(word) if os.path.isdir(word) else word,
        metavar="FOLDER",
        help="networks for vitpose: a folder that holds a folder detector and a folder pose; or "
        "one network, a folder or a name on the Hugging Face hub, and again for the other "
        "(RT-DETR R50 and ViTPose-B of the hub)",
    )


def _add_given_options(parser: DoorParser) -> None:
    parser.add_argument(
        "--camera",
        type=lambda word: os.path.abspath(word) if os.path.exists(word) else word,
        metavar="WHAT",
        help="fx,fy,cx,cy in pixels, a calibration file of OpenCV (yaml, json, xml), or the folder "
        "of a COLMAP model, of which intrinsics and distortion are used, and poses are not",
    )
    parser.add_argument(
        "--keypoints",
        type=Path,
        metavar="PATH",
        help="keypoints or boxes that you have, in place of a detector's: json of COCO or "
        "AlphaPose, a folder of OpenPose's, text of the MOT Challenge, or a result of track",
    )


def _add_world_options(parser: DoorParser) -> None:
    parser.add_argument(
        "-s",
        "--static-camera",
        action="store_true",
        help="the camera stands still: find a world too, y up, metres, the ground at y = 0",
    )
    parser.add_argument(
        "--foot-lock", action="store_true", help="in that world, hold feet where they stand"
    )


def _add_ray_options(parser: DoorParser) -> None:
    add = parser.add_argument
    add(
        "--ray",
        metavar="ADDRESS",
        help="track each video as a task of Ray: auto, local, or a cluster's host:port; its "
        "machines need this package, and see videos and output folder at the same paths",
    )
    add("--ray-cpus", type=int, metavar="N", help="CPUs for each video on Ray (1)")
    add("--ray-gpus", type=float, metavar="X", help="GPUs for each, 0.5 is half of one (0)")


def _watch(number: int, options: Namespace) -> None:
    if options.keypoints is not None or options.camera is not None:
        raise InputError("--keypoints and --camera are for videos: leave them out to look live")
    from temporal_hmr.eyes import choose_eyes
    from temporal_hmr.live import Seer, camera_frames, watch, window
    from temporal_hmr.tracking import check_settings

    model, body = check_settings(_settings(options))
    eyes = choose_eyes(options.detector, options.detector_weights)
    with eyes.open(next(model.parameters()).device) as detector:
        watch(Seer(detector, model, body), camera_frames(number), window())


def _words(options: Namespace) -> list[str]:
    if options.sample == bool(options.sources):
        raise InputError("give one SOURCE or more, videos or folders of images, or --sample")
    return [str(SAMPLE)] if options.sample else options.sources


def _folder(options: Namespace, source: Path) -> Path:
    """The source's folder of results."""
    source = Path(os.path.realpath(source))
    return options.output_dir / (source.name if os.path.isdir(source) else source.stem)


def _prepare(options: Namespace, source: Path, folder: Path) -> "TrackJob":
    from temporal_hmr.output.folder import check_folder
    from temporal_hmr.output.overlay import require_encodable
    from temporal_hmr.output.side_view import panel_width
    from temporal_hmr.rasterize import require_rasterizer
    from temporal_hmr.tracking import prepare_job

    if not options.no_render:
        require_rasterizer()
    job = prepare_job(source, _settings(options))
    if not options.no_render:
        beside = panel_width(job.clip.height) if options.side_view else 0
        require_encodable(job.clip.width + beside, job.clip.height)
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
    from temporal_hmr.output.work import working_in

    try:
        with working_in(folder, options.keep_work) as work:
            result, refused = _written(job, folder, options, work)
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or f"{folder} has what was found so far"
        raise KeyboardInterrupt(f"{kept}; the same command goes on from there") from None
    if refused is not None:
        raise InputError(f"{folder} has everything but an export: {refused}")
    if result.motions and result.no_world is not None:
        _refuse_world(folder, result.no_world)
    return Tracked(folder, len(result.motions), len(result))


def _written(
    job: "TrackJob", folder: Path, options: Namespace, work: "Work"
) -> tuple["TrackResult", InputError | None]:
    """The result, in its folder by now, and why an export of it is not there."""
    from temporal_hmr.output.overlay import OverlayStyle
    from temporal_hmr.tracking import run_job

    result = run_job(job, work)
    result.save(folder)
    refused = _export(folder, options) if result.motions else None
    if result.motions and not options.no_render:
        try:
            result.render(folder, OverlayStyle(side_view=options.side_view))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{folder} has everything but the overlay") from None
    return result, refused


def _refuse_world(folder: Path, why: str) -> NoReturn:
    raise InputError(
        f"{folder} has everything but the world frame: {why}; leave out --static-camera"
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


def track_one_of_many(options: Namespace, source: Path) -> Tracked:
    """Track one video, unless whole results made in the same way are there already.

    Raises `InputError` for whatever cannot be used.
    """
    from temporal_hmr.output.folder import finished_results

    folder = _folder(options, source)
    job = _prepare(options, source, folder)
    if not options.again:
        found = finished_results(folder, job.provenance, overlay=not options.no_render)
        if found is not None:
            if options.export and found["people"]:
                _export_if_missing(folder, options)
            no_world = found.get("world", {}).get("missing")
            if found["people"] and no_world is not None:
                _refuse_world(folder, no_world)
            return Tracked(folder, len(found["people"]), found["num_frames"], skipped=True)
    return _track(job, folder, options)


def _export_if_missing(folder: Path, options: Namespace) -> None:
    """Of results that were there before. Raises `InputError` for what cannot be written."""
    from temporal_hmr.output.export import export_is_current

    if not export_is_current(folder, options.export):
        refused = _export(folder, options)
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
