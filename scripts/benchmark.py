#!/usr/bin/env python3
"""Time every stage from the video to the files, each against another way of doing it.

    python scripts/benchmark.py
    python scripts/benchmark.py --only body overlay --repeat 20 --threads 1
    python scripts/benchmark.py --plot scaling.png

One table. Opponents take turns, so that whatever else the machine does slows both; ratios say how
many times as long the other way took, round by round. Synthetic bodies and the bundled clip with
margins (1280 x 720, one person) are all it needs. `--plot` draws instead how the time and memory of
`track` grow with frames and with people.
"""

import json
import os
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch
from benchmarks import bodies, files, network, pictures
from benchmarks.timing import Row, Settings, heading, line

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.device import choose_device
from temporal_hmr.errors import InputError
from temporal_hmr.output.npz import package_version

PARTS: dict[str, Callable[[Settings], list[Row]]] = {
    "decode": pictures.decode,
    "detection": pictures.detection,
    "model": network.model,
    "refinement": network.refinement,
    "body": bodies.body,
    "metrics": files.metrics,
    "overlay": pictures.overlay,
    "export": files.export,
    "training": network.training,
    "end_to_end": pictures.end_to_end,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, part by part."""
    parser = DoorParser("benchmark.py", (__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", help=f"of {', '.join(PARTS)} (all)")
    add("--repeat", type=_count, default=10, metavar="N", help="rounds (10)")
    add("--threads", type=_count, metavar="N", help="of torch and OpenCV (all cores)")
    add("--device", default="cpu", metavar="NAME", help="auto, cpu or cuda (cpu)")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--frames", type=_count, default=300, metavar="N", help="of end_to_end's longer clip (300)")
    add("--plot", type=Path, metavar="FILE", help="only plot how time and memory grow (minutes)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.only or () if name not in PARTS]:
        raise InputError(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    for file in (options.json, options.plot):
        if file is not None and not file.resolve().parent.is_dir():
            raise InputError(f"there is no folder {file.parent}; make it first")
    if options.plot is not None:
        if options.plot.suffix not in (".png", ".pdf", ".svg"):
            raise InputError(f"--plot takes a .png, .pdf or .svg, not {options.plot.name}")
        _plot(options.plot)
        return
    if options.threads is not None:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    device = choose_device(options.device)
    told = machine(device)
    print(told, heading(), sep="\n", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(options.repeat, device, Path(folder), frames=options.frames)
        for name in options.only or PARTS:
            found = PARTS[name](settings)
            print("\n".join(map(line, found)), flush=True)
            rows += found
    if options.json is not None:
        written = {"machine": told, "rows": [row.as_json() for row in rows]}
        options.json.write_text(json.dumps(written, indent=1))


def _plot(file: Path) -> None:
    """Measure how time and memory grow, print that and draw it; Linux only."""
    from benchmarks.scaling import plot, scaling, told

    points = scaling()
    print(told(points))
    plot(points, file)


def machine(device: torch.device) -> str:
    """What it ran on, and how busy that was."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    load = f"; load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    return (
        f"{name}; {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch "
        f"{torch.__version__}, OpenCV {cv2.__version__}, temporal-hmr {package_version()}{load}"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


if __name__ == "__main__":
    run_door(main)
