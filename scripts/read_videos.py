#!/usr/bin/env python3
"""Read the people in rendered videos with the built-in detector, to train on what it makes of them.

    python scripts/render_clips.py MOCAP --videos -o VIDEOS --clips 400 --frames 64 --side 720
    python scripts/read_videos.py VIDEOS -o readings.npz
    python -m temporal_hmr.train configs/temporal.yaml --data MOCAP --readings readings.npz

BlazePose reads everybody in boxes around what can be seen of them, in the frames' mirror images as
well. People of whom half of the frames show nothing are left out. Several folders make one file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import run_door
from temporal_hmr.crops import READABLE_JOINTS
from temporal_hmr.data.described_folder import read_description
from temporal_hmr.data.read_people import write_readings
from temporal_hmr.data.rendered import ClipsDescription
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.readings import read_videos_in_boxes

LEAST_READ = 0.5
"""Of somebody's frames."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the readings; raises `InputError` for folders without rendered videos."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add = parser.add_argument
    add("videos", type=Path, nargs="+", metavar="VIDEOS", help="folders of rendered videos")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="npz to write")
    options = parser.parse_args(arguments)
    described = [
        read_description(folder, ClipsDescription, "rendered videos") for folder in options.videos
    ]
    people = [
        (reading.truth, reading.found)
        for folder in options.videos
        for reading in read_videos_in_boxes(folder)
        if ((reading.found[..., 2] > 0).sum(-1) >= READABLE_JOINTS).mean() >= LEAST_READ
    ]
    if not people:
        raise InputError("nobody was read in half of their frames: render larger videos")
    subjects = {subject for each in described for subject in each.subjects}
    write_readings(options.output, people, subjects)
    print(f"{options.output}: {len(people)} people, {sum(len(each) for _, each in people)} frames")


if __name__ == "__main__":
    run_door(main)
