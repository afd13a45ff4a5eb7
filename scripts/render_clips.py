"""Render clips of clothed people in scenes from motion capture, with everything that is true.

    python scripts/render_clips.py MOCAP -o FOLDER --clips 2000 --frames 16 --except 07 09

writes a folder of shards that `temporal_hmr.data.rendered.RenderedClips` reads, and a picture of
some of them with the detected keypoints drawn in. The same command continues what was interrupted.
With `--videos` it writes whole videos and an npz of the truth beside each instead.
"""

import argparse
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import DoorParser, Stage, counted, run_door
from temporal_hmr.configuration import Config, load_config
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.footage import draw_footage
from temporal_hmr.data.mocap import MocapTake, TakesConfig, read_takes
from temporal_hmr.data.rendered import (
    ClipsDescription,
    RenderedClips,
    claim_folder,
    valid_clips,
    write_shard,
)
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.output.npz import Provenance, atomic_path, package_version, save_motion
from temporal_hmr.output.overlay import write_video
from temporal_hmr.rendering.renderer import Renderer, find_pictures
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.skeleton import COCO23

CLIPS_PER_SHARD = 32
CLIPS_AT_ONCE = 8
"""Rendered together; more would only take more memory."""
SHEET_ROWS, SHEET_COLUMNS = 6, 8
FPS = 30.0
VIDEOS = RenderingConfig(side=960, sharp_share=1.0, motion_blur_share=0.0, noise=4.0)
"""In a whole image the blur and grain of crops would be too coarse."""


class Variety(Config):
    """How clips vary: what `--settings` holds."""

    rendering: RenderingConfig = RenderingConfig()
    augmentation: Augmentation = Augmentation()
    noise: DetectorNoise = DetectorNoise()


@dataclass(frozen=True, eq=False)
class Job:
    """What every worker needs to know."""

    folder: Path
    description: ClipsDescription
    bank: MotionBank
    pictures: list[Path]


def main(arguments: Sequence[str] | None = None) -> None:
    """Render what is asked for; raises `InputError` for arguments that cannot be followed."""
    options = _parse(arguments)
    read = read_takes(options.mocap, TakesConfig(up_axis=options.up_axis))
    takes = choose_subjects(read, options.subjects, options.without)
    pictures = find_pictures(options.backgrounds)
    variety = Variety(rendering=VIDEOS) if options.videos else Variety()
    if options.settings is not None:
        variety = load_config(options.settings, Variety)
    description = ClipsDescription(
        body=load_body().name,
        subjects=tuple(sorted({take.subject for take in takes})),
        clips=options.clips,
        clips_per_shard=CLIPS_PER_SHARD,
        frames=options.frames,
        seed=options.seed,
        pictures=tuple(path.name for path in pictures),
        **dict(variety),
    )
    if options.side:
        rendering = description.rendering.model_copy(update={"side": options.side})
        description = description.model_copy(update={"rendering": rendering})
    job = Job(options.output, description, MotionBank.of(takes), pictures)
    if options.videos:
        film_videos(job)
    else:
        render_dataset(job, options.workers)


def render_dataset(job: Job, workers: int) -> None:
    """Render what is missing of the dataset, and a picture of some of it."""
    missing = claim_folder(job.folder, job.description)
    shards = in_processes(job, missing, workers)
    try:
        for _ in Stage("rendering").track(shards, len(missing), unit="shard"):
            pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command continues {job.folder}") from None
    sheet = job.folder / "contact_sheet.png"
    cv2.imwrite(str(sheet), contact_sheet(RenderedClips.open(job.folder))[..., ::-1])
    print(f"{job.folder}: {counted(job.description.clips, 'clip')}; see {sheet}")


def film_videos(job: Job) -> None:
    """Write a video for every clip, and beside it an npz of the truth for everybody in it."""
    claim_folder(job.folder, job.description)
    body = PosedBody(load_body()).requires_grad_(False)
    renderer = Renderer(body.body, job.description.rendering, job.pictures)
    side, seed = renderer.settings.side, job.description.seed
    provenance = Provenance(
        source="",
        source_sha256="",
        body=body.body.name,
        body_licence=body.body.licence,
        weights="none: these are the parameters that the video was rendered from",
        weights_sha256="",
        package_version=package_version(),
    )
    for number in Stage("filming").track(range(job.description.clips), unit="video"):
        video = job.folder / f"{number:04}.mp4"
        if video.exists():
            continue
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        frames = job.description.frames
        footage = draw_footage(job.bank, body, renderer, frames, FPS, generator)
        for motion in footage.motions(body, side):
            truth = video.with_name(f"{video.stem}_person{motion.person_id}.npz")
            save_motion(motion, truth, replace(provenance, source=video.name))
        with atomic_path(video) as partial:
            write_video(footage.images(renderer), FPS, partial)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = DoorParser("render_clips.py", "Render training clips from motion capture.")
    add = parser.add_argument
    add("mocap", type=Path, metavar="MOCAP", help="folder of motion capture (npz, bvh)")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where to write")
    add("--clips", type=_positive, default=1000, metavar="N", help="how many (1000)")
    add("--frames", type=_positive, default=16, metavar="T", help="frames of a clip (16)")
    add("--side", type=_side, metavar="PX", help="of crops (256), longer one of videos (960)")
    add("--subjects", nargs="+", metavar="NAME", help="whose motion to use (everybody's)")
    add("--except", nargs="+", dest="without", metavar="NAME", help="whose motion to leave out")
    add("--up-axis", choices=("auto", "y", "z"), default="auto", help="of its worlds (auto)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other clips (0)")
    add("--workers", type=_positive, default=2, metavar="N", help="processes (2)")
    add("--backgrounds", type=Path, metavar="DIR", help="pictures to hang behind people")
    add("--settings", type=Path, metavar="FILE", help="YAML: rendering, augmentation, noise")
    add("--videos", action="store_true", help="write whole videos instead of crops")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _side(text: str) -> int:
    if _positive(text) < 16:
        raise argparse.ArgumentTypeError(f"{text} pixels are too few: give at least 16")
    return int(text)


def choose_subjects(
    takes: list[MocapTake], subjects: Sequence[str] | None, without: Sequence[str] | None
) -> list[MocapTake]:
    """Takes of these subjects, or of all but those; raises `InputError` for one not there."""
    known = {take.subject for take in takes}
    for name in [*(subjects or ()), *(without or ())]:
        if name not in known:
            raise InputError(f"there is no subject {name}; there are {', '.join(sorted(known))}")
    kept = (set(subjects) if subjects else known) - set(without or ())
    if not kept:
        raise InputError("no subject is left to render: --except names them all")
    return [take for take in takes if take.subject in kept]


def in_processes(job: Job, shards: list[int], workers: int) -> Iterator[int]:
    """Render shards in so many processes; yields the number of each one finished."""
    workers = min(workers, len(shards))
    if workers <= 1:
        yield from render_shards(job, shards)
        return
    context = multiprocessing.get_context("spawn")
    done: SimpleQueue = context.SimpleQueue()
    processes = [
        context.Process(target=_work, args=(job, shards[first::workers], done), daemon=True)
        for first in range(workers)
    ]
    try:
        for process in processes:
            process.start()
        for _ in shards:
            finished = done.get()
            if isinstance(finished, BaseException):
                raise finished
            yield finished
    finally:
        # A shard being written is not there until it is whole.
        for process in processes:
            process.terminate()


def _work(job: Job, shards: list[int], done: SimpleQueue) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        for number in render_shards(job, shards):
            done.put(number)
    except Exception as error:
        done.put(error)


def render_shards(job: Job, shards: list[int]) -> Iterator[int]:
    """Render and write shards one after another, yielding their numbers.

    A shard depends on the seed and its number, not on which others there are.
    """
    body = PosedBody(load_body()).requires_grad_(False)
    renderer = Renderer(body.body, job.description.rendering, job.pictures)
    sizes = job.description.shard_sizes()
    for number in shards:
        generator = torch.Generator().manual_seed(job.description.seed * 1_000_003 + number)
        window, target = render_clips(job, body, renderer, sizes[number], generator)
        write_shard(job.folder, number, window, target)
        yield number


@torch.no_grad()
def render_clips(
    job: Job, body: PosedBody, renderer: Renderer, clips: int, generator: torch.Generator
) -> tuple[CropWindow, BodyTarget]:
    """So many clips in which there is something to see."""
    settings, found, count = job.description, [], 0
    while count < clips:
        shape = (CLIPS_AT_ONCE, settings.frames)
        varied, noise = settings.augmentation, settings.noise
        found.append(synthesise(job.bank, body, shape, varied, noise, generator, renderer))
        count += int(found[-1][0].valid.any(1).sum())
    return valid_clips(found, clips)


def contact_sheet(clips: RenderedClips) -> UInt8[ndarray, "height width 3"]:
    """The middle frames of some clips; what the detector found is drawn into every second one."""
    window, _ = clips.held_out(SHEET_ROWS * SHEET_COLUMNS, clips.description.frames)
    assert window.images is not None
    middle = window.images.shape[1] // 2
    tiles = []
    for number, image in enumerate(window.images[:, middle].movedim(1, -1).numpy()):
        tile = image.copy()
        if number % 2:
            pixels = 0.5 * len(tile) * (window.keypoints[number, middle] + 1)
            draw_keypoints(tile, pixels.numpy(), window.scores[number, middle].numpy())
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    starts = range(0, len(tiles), SHEET_COLUMNS)
    return np.concatenate([np.concatenate(tiles[at : at + SHEET_COLUMNS], 1) for at in starts])


def draw_keypoints(
    image: UInt8[ndarray, "side side 3"],
    pixels: Float[ndarray, "J 2"],
    scores: Float[ndarray, "J"],
) -> None:
    """Bones between known keypoints: the left side red, the right side blue."""
    for bone in COCO23.bones:
        start, end = COCO23.indices(*bone)
        if scores[start] > 0 and scores[end] > 0:
            left = any(joint.startswith("left_") for joint in bone)
            color = (255, 60, 60) if left else (60, 140, 255)
            begin, finish = (np.round(pixels[joint]).astype(int).tolist() for joint in (start, end))
            cv2.line(image, begin, finish, color, 1, cv2.LINE_AA)


if __name__ == "__main__":
    run_door(main)
