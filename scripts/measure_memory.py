"""Measure how much memory the doors take, and how long, for videos of several lengths.

    python scripts/measure_memory.py --minutes 1 5 10 30 --people 1
    python scripts/measure_memory.py --minutes 1 30 --people 2 --doors glb bvh view edit world

Every length is tracked in a process of its own, by the `track` door: a video of one grey, in which
a stand-in for the detector sees people who swing their limbs (`--detector built-in` looks for them
in a video of one's own instead, shown again and again: `--video`). `--looking 20` lets it take its
time, as detectors do, so that whatever runs ahead of it does. The model says of the
first windows what it says, and then the same again, which takes as much memory and no time;
`--every-window` asks it each time, for the time it takes. The table has the highest
resident memory of the process by stages, of tracking as a whole, and milliseconds per frame.

With `--doors` one minute is tracked, its result is repeated to each length, and each door is opened
on that in a process of its own. Linux only: the peaks are the kernel's own (`VmHWM`).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError

FPS = 30.0
CYCLE = 300
"""Frames after which the people of the stand-in begin anew."""
RESULTS = "results"
STAGES = ("finding", "recovering", "saving", "drawing", "checking")
FORMATS = ("glb", "bvh", "amass", "obj", "wham", "vibe", "gvhmr")
DOORS = ("check", *FORMATS, "view", "edit", "refine", "world", "foot-lock")
"""What can be done with a result; the last two are what `track -s` does after it has recovered."""
_OBJ_EVERY = 300


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; raises `InputError` where the system tells no peaks, or of a wrong option."""
    options = parse(arguments)
    if not Path("/proc/self/clear_refs").exists():
        raise InputError("the system tells no peaks of memory: run this on Linux")
    if options.child is not None and options.doors:
        print(json.dumps(_door_measured(options.child, options.doors[0])))
        return
    if options.child is not None:
        print(json.dumps(_measured(options)))
        return
    if options.doors:
        print(_doors_table(options))
        return
    rows = [in_own_process(minutes, options) for minutes in options.minutes]
    print(_table(rows))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; raises `InputError` for some that do not go together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add = parser.add_argument
    add("--minutes", type=float, nargs="+", default=[1.0, 5.0, 10.0, 30.0], metavar="M")
    add("--people", type=int, default=1, metavar="N", help="whom the stand-in sees (1)")
    add("--size", default="160x120", metavar="WxH", help="of the video, pixels (160x120)")
    add("--detector", choices=("stand-in", "built-in"), default="stand-in")
    add("--video", type=Path, metavar="FILE", help="shown again and again to the built-in detector")
    add(
        "--looking",
        type=float,
        default=0.0,
        metavar="MS",
        help="milliseconds that the stand-in takes for a frame, as detectors do (0)",
    )
    add("--every-window", action="store_true", help="let the model say something of every window")
    add(
        "--doors", nargs="+", choices=DOORS, metavar="DOOR", help=f"of a result: {', '.join(DOORS)}"
    )
    add("--child", type=Path, help=argparse.SUPPRESS)
    # What follows belongs to the door.
    add("track_options", nargs="*", metavar="-- OPTION", help="options of track, after --")
    options = parser.parse_args(arguments)
    if (options.video is None) != (options.detector == "stand-in"):
        raise InputError("--video goes with --detector built-in, and the other way round")
    return options


def in_own_process(
    minutes: float, options: argparse.Namespace, kept: Path | None = None
) -> dict[str, Any]:
    """Minutes, frames, and of each stage the peak (MiB) and the seconds.

    Video and results are in the folder that is `kept` afterwards, if there is one.
    """
    with tempfile.TemporaryDirectory() as passing:
        frames = round(60 * minutes * FPS)
        video = (kept or Path(passing)) / "long.mp4"
        _write_video(video, frames, options)
        command = [sys.executable, __file__, "--child", str(video), "--people", str(options.people)]
        command += ["--size", options.size, "--detector", options.detector]
        command += ["--looking", str(options.looking)]
        command += ["--every-window"] * options.every_window
        if options.video is not None:
            command += ["--video", str(options.video)]
        command += ["--", *options.track_options]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return {"minutes": minutes, "frames": frames, **json.loads(done.stdout.splitlines()[-1])}


def _write_video(path: Path, frames: int, options: argparse.Namespace) -> None:
    import cv2

    from temporal_hmr.output.encoding import write_video
    from temporal_hmr.video import open_clip

    width, height = _size(options.size)
    images = repeat(np.full((height, width, 3), 128, np.uint8))
    if options.video is not None:
        clip = open_clip(options.video)
        images = (
            cv2.resize(frame.image, (width, height)) for frame in chain.from_iterable(repeat(clip))
        )
    write_video(islice(images, frames), FPS, path)


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size takes pixels such as 160x120, not {text!r}")
    return int(width), int(height)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """The highest memory (MiB) and the seconds of each stage, in this very process."""
    from temporal_hmr import track, tracked, tracking
    from temporal_hmr.editing import drawing
    from temporal_hmr.eyes import Eyes
    from temporal_hmr.models.hmr import Hmr

    peaks: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")
        began = time.perf_counter()
        yield
        seconds[name] += time.perf_counter() - began
        peaks[name] = max(peaks[name], _highest_memory())

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with stage(name):
                return function(*arguments, **named)

        return call

    result, size = tracked.TrackResult, _size(options.size)
    output = options.child.parent / RESULTS
    with (
        patch.object(tracking, "follow", noted("finding", tracking.follow)),
        patch.object(tracking, "recover", noted("recovering", tracking.recover)),
        patch.object(result, "save", noted("saving", result.save)),
        patch.object(drawing, "draw_overlay", noted("drawing", drawing.draw_overlay)),
    ):
        if options.detector == "stand-in":
            seeing = _StandIn(options.people, size, options.looking / 1000)
            patch.object(Eyes, "open", lambda eyes, device: seeing).start()
        if not options.every_window:
            patch.object(Hmr, "bodies", _repeated(Hmr.bodies)).start()
        track.main([str(options.child), "-o", str(output), *options.track_options])
    with stage("checking"):
        _check(output / options.child.stem)
    return {"peaks": peaks, "seconds": seconds}


def _repeated(function: Callable[..., Any]) -> Callable[..., Any]:
    """One that says of windows, its second argument, what it said of the first of their shape."""
    said: dict[tuple[int, ...], Any] = {}

    def call(first: Any, window: Any, *arguments: Any) -> Any:
        shape = tuple(window.times.shape)
        if shape not in said:
            said[shape] = function(first, window, *arguments)
        return said[shape]

    return call


def _highest_memory() -> float:
    """MiB that were resident at most since the peak was last cleared."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _check(folder: Path) -> None:
    from temporal_hmr.checks.run import check_result

    check_result(folder)


class _StandIn:
    """Sees people of a detector's skeleton who stand side by side and swing their limbs."""

    def __init__(self, people: int, size: tuple[int, int], looking: float) -> None:
        """`looking` is how long that takes, seconds."""
        self._looking = looking
        self._keypoints = [_swinging(number, people, size) for number in range(people)]

    def __enter__(self) -> "_StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def people(self, frame: Any) -> list[Any]:
        from temporal_hmr.motion import Person2D
        from temporal_hmr.skeleton import BLAZEPOSE23

        time.sleep(self._looking)
        seen = [keypoints[frame.index % CYCLE] for keypoints in self._keypoints]
        return [
            Person2D(np.concatenate([each[:, :2].min(0), each[:, :2].max(0)]), each, BLAZEPOSE23, 1)
            for each in seen
        ]

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass


def _swinging(number: int, people: int, size: tuple[int, int]) -> Float[ndarray, "n 23 3"]:
    """Keypoints of one of the people through the cycle: pixels and confidence."""
    import torch

    from temporal_hmr.body.detector_points import blazepose_regressor
    from temporal_hmr.body.load import load_body
    from temporal_hmr.body.params import SmplParams
    from temporal_hmr.camera import Camera
    from temporal_hmr.rotation import axis_angle_to_matrix

    body, camera = load_body(), Camera.with_assumed_focal(*size)
    draw = torch.Generator().manual_seed(number)
    angle = 2 * torch.pi * torch.arange(CYCLE)[:, None, None] / CYCLE
    beat = torch.randint(2, 12, (24, 3), generator=draw)
    turns = 0.15 * torch.sin(beat * angle + 6 * torch.rand(24, 3, generator=draw))
    rotations = axis_angle_to_matrix(turns)
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ rotations[:, 0]
    aside = 1.2 * (number - (people - 1) / 2)
    place = torch.tensor([aside, 0.2, 4.0 + people]).expand(CYCLE, 3)
    smpl = SmplParams.from_rotations(rotations, torch.zeros(CYCLE, 10), place)
    points = body.regress(smpl, body.point_regressor(blazepose_regressor(body)))
    pixels = camera.project(points)
    pixels = pixels + 0.004 * size[1] * torch.randn(pixels.shape, generator=draw)
    return torch.cat([pixels, torch.full((CYCLE, 23, 1), 0.9)], -1).numpy()


def _table(rows: list[dict[str, Any]]) -> str:
    names = ["minutes", "frames", "peak MiB", "over the first", *STAGES, "ms/frame", "of which"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    first = max(rows[0]["peaks"][name] for name in STAGES[:4])
    for row in rows:
        peaks, seconds, frames = row["peaks"], row["seconds"], row["frames"]
        highest = max(peaks[name] for name in STAGES[:4])
        shares = ", ".join(f"{name} {1000 * seconds[name] / frames:.1f}" for name in STAGES[:4])
        cells = [f"{row['minutes']:g}", frames, f"{highest:.0f}", f"{highest / first - 1:+.1%}"]
        cells += [f"{peaks[name]:.0f}" for name in STAGES]
        cells += [f"{1000 * sum(seconds[name] for name in STAGES[:4]) / frames:.1f}", shares]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _doors_table(options: argparse.Namespace) -> str:
    """Highest memory and processor time of each door, for each length."""
    lines = ["| door | minutes | peak MiB | over the first | CPU s | files MB |", "|" + "---|" * 6]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undrawn = argparse.Namespace(**{**vars(options), "track_options": ["--no-render"]})
        in_own_process(1.0, undrawn, folder)
        for minutes in options.minutes:
            lengthen(folder / RESULTS / "long", folder / f"{minutes:g}", round(60 * minutes * FPS))
        for door in options.doors:
            first = 0.0
            for minutes in options.minutes:
                command = [sys.executable, __file__, "--child", str(folder / f"{minutes:g}")]
                command += ["--doors", door]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                first = first or found["peak"]
                cells = [door, f"{minutes:g}", f"{found['peak']:.0f}"]
                cells += [f"{found['peak'] / first - 1:+.1%}", f"{found['seconds']:.1f}"]
                lines.append("| " + " | ".join([*cells, f"{found['size']:.1f}"]) + " |")
    return "\n".join(lines)


def lengthen(result: Path, folder: Path, frames: int) -> None:
    """The people of a result again and again, as if so many frames had been tracked."""
    import torch

    from temporal_hmr.interchange.ours import stated_provenance
    from temporal_hmr.output.folder import SUMMARY, publish_results
    from temporal_hmr.output.npz import load_motion, save_motion

    summary = json.loads((result / SUMMARY).read_text())
    provenance = stated_provenance(result / SUMMARY, summary)

    def write(partial: Path) -> None:
        for told in summary["people"]:
            motion = load_motion(result / told["file"])
            rows = np.arange(frames) % len(motion)
            arrays = ("joints", "boxes", "keypoints", "observed", "confidence", "joint_confidence")
            longer = replace(
                motion,
                frames=np.arange(frames),
                times=np.arange(frames) / FPS,
                smpl=motion.smpl[torch.from_numpy(rows)],
                **{name: getattr(motion, name)[rows] for name in arrays},
            )
            save_motion(longer, partial / told["file"], provenance)

    publish_results(folder, summary | {"num_frames": frames}, write)


def _door_measured(result: Path, door: str) -> dict[str, float]:
    """The highest memory (MiB), processor time (s) and size of what was written (MB)."""
    output = result.with_name(f"{result.name}_{door}")
    _open(door, result, output)
    peak, seconds = _highest_memory(), time.process_time()
    files = [path for path in output.rglob("*") if path.is_file()] if output.exists() else []
    size = sum(path.stat().st_size for path in files) / 1e6
    shutil.rmtree(output, ignore_errors=True)
    return {"peak": peak, "seconds": seconds, "size": size}


def _open(door: str, result: Path, output: Path) -> None:
    from temporal_hmr import edit, export, refine, view

    where = [str(result), "-o", str(output)]
    if door == "check":
        _check(result)
    elif door in FORMATS:
        export.main([*where, "--to", door, *(["--every", str(_OBJ_EVERY)] * (door == "obj"))])
    elif door == "view":
        output.mkdir()
        view.main([str(result), "-o", str(output / "view.html"), "--no-video"])
    elif door == "edit":
        edit.main([*where, "--rename", "0=99"])
    elif door == "refine":
        refine.main(where)
    else:
        _place(result, foot_lock=door == "foot-lock")


def _place(result: Path, foot_lock: bool) -> None:
    from temporal_hmr.body.load import load_body
    from temporal_hmr.on_disk import scratch
    from temporal_hmr.output.npz import load_motion
    from temporal_hmr.world.placing import find_world

    motions = [load_motion(file, scratch()) for file in sorted(result.glob("person_*.npz"))]
    find_world(motions, load_body(), foot_lock)


if __name__ == "__main__":
    run_door(main)
