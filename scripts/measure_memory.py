"""Measure how much memory tracking takes, and how long, for videos of several lengths.

    python scripts/measure_memory.py --minutes 1 5 10 30

Every length is tracked in a process of its own, by the `track` door: a video of one grey, in which
a stand-in for the detector sees people who swing their limbs (`--detector built-in` looks for them
in a video of one's own instead, shown again and again: `--video`). The model says of the
first windows what it says, and then the same again, which takes as much memory and no time;
`--every-window` asks it each time, for the time it takes. The table has the highest
resident memory of the process by stages, of tracking as a whole, and milliseconds per frame. Linux
only: the peaks are the kernel's own (`VmHWM`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
STAGES = ("finding", "recovering", "saving", "drawing", "checking")
MEBIBYTE = 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; raises `InputError` where the system tells no peaks, or of a wrong option."""
    options = parse(arguments)
    if not Path("/proc/self/clear_refs").exists():
        raise InputError("the system tells no peaks of memory: run this on Linux")
    if options.child is not None:
        print(json.dumps(_measured(options)))
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
    add("--every-window", action="store_true", help="let the model say something of every window")
    add("--child", type=Path, help=argparse.SUPPRESS)
    # What follows belongs to the door.
    add("track_options", nargs="*", metavar="-- OPTION", help="options of track, after --")
    options = parser.parse_args(arguments)
    if (options.video is None) != (options.detector == "stand-in"):
        raise InputError("--video goes with --detector built-in, and the other way round")
    return options


def in_own_process(minutes: float, options: argparse.Namespace) -> dict[str, Any]:
    """Minutes, frames, and of each stage the peak (MiB) and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        frames = round(60 * minutes * FPS)
        video = Path(folder) / "long.mp4"
        _write_video(video, frames, options)
        command = [sys.executable, __file__, "--child", str(video), "--people", str(options.people)]
        command += ["--size", options.size, "--detector", options.detector]
        command += ["--every-window"] * options.every_window
        if options.video is not None:
            command += ["--video", str(options.video)]
        command += ["--", *options.track_options]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return {"minutes": minutes, "frames": frames, **json.loads(done.stdout.splitlines()[-1])}


def _write_video(path: Path, frames: int, options: argparse.Namespace) -> None:
    import cv2

    from temporal_hmr.output.overlay import write_video
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
    output = options.child.parent / "results"
    with (
        patch.object(tracking, "follow", noted("finding", tracking.follow)),
        patch.object(tracking, "recover", noted("recovering", tracking.recover)),
        patch.object(result, "save", noted("saving", result.save)),
        patch.object(result, "render", noted("drawing", result.render)),
    ):
        stand_in = patch.object(Eyes, "open", lambda eyes, device: _StandIn(options.people, size))
        if options.detector == "stand-in":
            stand_in.start()
        if not options.every_window:
            patch.object(Hmr, "forward", _repeated(Hmr.forward)).start()
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

    def __init__(self, people: int, size: tuple[int, int]) -> None:
        self._keypoints = [_swinging(number, people, size) for number in range(people)]

    def __enter__(self) -> "_StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def people(self, frame: Any) -> list[Any]:
        from temporal_hmr.motion import Person2D
        from temporal_hmr.skeleton import BLAZEPOSE23

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


if __name__ == "__main__":
    run_door(main)
