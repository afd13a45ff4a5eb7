"""Recover the bodies of the people in a video: `python -m temporal_hmr.track video.mp4`."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, counted, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.tracking import TrackJob, TrackResult

SAMPLE = Path(__file__).parent / "assets" / "sample.mp4"


def main(arguments: Sequence[str] | None = None) -> None:
    """Track one video and write its folder of results; the npz files first, then the overlay.

    Raises `InputError` for whatever cannot be used, before anything is computed or created.
    """
    options = _parse(arguments)
    source = _source(options)
    folder = options.output_dir / _name(source)
    result = _track(_prepare(options, source, folder))
    paths = result.save(folder)
    if result.motions and not options.no_render:
        _render(result, folder)
    _report(result, folder, paths)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser("temporal-hmr track", "Recover the bodies of the people in a video.")
    add = parser.add_argument
    add("source", nargs="?", metavar="SOURCE", help="video file, or folder of images")
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
    add("--focal", type=float, metavar="PX", help="focal length in pixels (the image diagonal)")
    add("--person", default="all", metavar="WHO", help="all, largest, or a person's number (all)")
    add("--start", type=float, metavar="S", help="seconds (the beginning)")
    add("--end", type=float, metavar="S", help="seconds (the end)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    add("--no-render", action="store_true", help="write no overlay video")
    return parser.parse_args(arguments)


def _source(options: Namespace) -> Path:
    if options.sample == (options.source is not None):
        raise InputError("give one SOURCE, a video or a folder of images, or --sample")
    return SAMPLE if options.sample else Path(options.source)


def _name(source: Path) -> str:
    """What to call the source's folder of results."""
    source = source.resolve()
    return source.name if source.is_dir() else source.stem


def _prepare(options: Namespace, source: Path, folder: Path) -> "TrackJob":
    from temporal_hmr.output.folder import check_folder
    from temporal_hmr.output.overlay import require_encodable
    from temporal_hmr.rasterize import require_rasterizer
    from temporal_hmr.tracking import TrackSettings, prepare_job

    if not options.no_render:
        require_rasterizer()
    settings = TrackSettings(
        body=options.body,
        weights=options.weights,
        focal=options.focal,
        person=options.person,
        start=options.start,
        end=options.end,
        device=options.device,
        progress=True,
    )
    job = prepare_job(source, settings)
    if not options.no_render:
        require_encodable(job.clip.width, job.clip.height)
    check_folder(folder, job.provenance.source_sha256)
    return job


def _track(job: "TrackJob") -> "TrackResult":
    from temporal_hmr.tracking import run_job

    return run_job(job)


def _render(result: "TrackResult", folder: Path) -> None:
    try:
        result.render(folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} has everything but the overlay") from None


def _report(result: "TrackResult", folder: Path, paths: Sequence[Path]) -> None:
    print(f"{folder}: {counted(len(paths), 'person')} in {counted(len(result), 'frame')}")


if __name__ == "__main__":
    run_door(main)
