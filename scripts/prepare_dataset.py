#!/usr/bin/env python3
"""Read a dataset as training will, and say what is in it and whether it agrees with itself.

    python scripts/prepare_dataset.py human3.6m /data/human36m -o report.json --overlays pictures

prints how much there is of people, frames and labels, where the joints are, how far projected
joints lie from the annotated keypoints (swapped axes, other cameras and wrong orders of joints show
there), and what is broken. With `--overlays` it draws keypoints and projected joints into one
picture of each sequence. With `--shards` it writes what it read as a few large files, which train
like the dataset itself; the same command continues what was interrupted.
"""

import argparse
import json
import logging
from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.command_line import DoorParser, Stage, run_door
from temporal_hmr.configuration import parse_config
from temporal_hmr.crops import extents
from temporal_hmr.data.clip_images import Unreadable, read_frames
from temporal_hmr.data.datasets import DATASETS, read_sequences
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.data.sequence_parts import NEAREST, place_in_camera
from temporal_hmr.data.shard_plan import describe, make_shards, missing_shards
from temporal_hmr.data.shard_plan import report as report_on_shards
from temporal_hmr.data.shards import ShardSettings
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.skeleton import COCO23, SMPL24

FRAMES_CHECKED = 200
"""Of each sequence, evenly spaced, for what is measured; counts are of all frames."""
TOLERANCE = 0.1
"""Of the median distance of projected joints and keypoints, over the larger side of the keypoints'
rectangle: points of one name are up to a few hundredths apart in different datasets."""
OVERLAYS = 100
"""Evenly spaced among the sequences where there are more."""
NAMED = 10
"""Problems and suspicious sequences that are printed; the report has all of them."""
SHARED = tuple(joint for joint in COCO23.joints if joint in SMPL24.joints)
"""Joints that keypoints and SMPL both have."""
KEYPOINT_COLOR, JOINT_COLOR, BOX_COLOR = (70, 220, 70), (255, 140, 0), (90, 160, 255)

_log = logging.getLogger("temporal_hmr")
Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class Projection:
    """Checked frames of one sequence: its joints in space and in the image."""

    frames: list[int]
    joints: Float[ndarray, "T 24 3"]
    pixels: Float[ndarray, "T 24 2"]
    known: Bool[ndarray, "T 24"]
    """Which joints are known and before the camera."""
    error: Float[ndarray, "T joints"]
    """Pixels between projected and annotated `SHARED` joints; NaN where one of them is unknown."""
    size: Float[ndarray, "T"]
    """Larger side of the keypoints' rectangle in pixels; NaN without keypoints."""


def main(arguments: Many[str] | None = None) -> None:
    """Report on what is asked for; raises `InputError` where nothing can be read."""
    options = _parse(arguments)
    if options.dataset == "amass":
        report = report_on_takes(*read_all(read_takes, options))
    else:
        sequences, problems = read_all(read_sequences, options)
        body = load_body(options.body)
        stage = Stage("checking")
        checked = [
            (sequence, project(sequence, body))
            for sequence in stage.track(sequences, len(sequences), "sequence")
        ]
        report = {"body": body.name, **report_on_sequences(checked, problems)}
        if options.shards is not None:
            report |= write_shards(sequences, options, body)
        if options.overlays is not None:
            write_overlays(checked, options.overlays)
    report = {"dataset": options.dataset, "part": options.part, **report}
    print("\n".join(lines_of(report)))
    if options.output is not None:
        with atomic_path(options.output) as path:
            path.write_text(json.dumps(report, indent=1))


def read_takes(dataset: str, folder: Path, part: str, skip_broken: bool) -> list[MocapTake]:
    """Motion capture without pictures."""
    from temporal_hmr.data.amass import read_amass

    return read_amass(folder, part, skip_broken)


def read_all(
    read: Callable[[str, Path, str, bool], list[Read]], options: argparse.Namespace
) -> tuple[list[Read], list[str]]:
    """Everything that is not broken, and what is wrong with the rest, a line each."""
    try:
        return read(options.dataset, options.folder, options.part, False), []
    except InputError as error:
        problems = str(error).splitlines()
    return read(options.dataset, options.folder, options.part, True), problems


def project(sequence: Sequence, body: BodyModel) -> Projection:
    """The dataset's joints, else those of its SMPL parameters on `body`.

    Where the camera is unknown the diagonal of the image is its focal length, and the joints stand
    where they fit their keypoints best.
    """
    count = min(FRAMES_CHECKED, len(sequence))
    frames = np.linspace(0, len(sequence) - 1, count).round().astype(int)
    joints, known = sequence.joints[frames], sequence.has_joints[frames]
    if sequence.smpl is not None and sequence.has_smpl is not None:
        of_body = sequence.has_smpl[frames] & ~known.any(1)
        smpl = sequence.smpl[frames].map(lambda value: value.to(body.v_template))
        posed = body.joints(smpl).double().numpy()
        joints = np.where(of_body[:, None, None], posed, joints)
        known = known | of_body[:, None]
    ours, theirs = SMPL24.indices(*SHARED), COCO23.indices(*SHARED)
    keypoints = sequence.keypoints[frames][:, theirs]
    compared = known[:, ours] & (keypoints[..., 2] > 0)
    if sequence.focal is not None and sequence.center is not None:
        focal, center = sequence.focal[frames], sequence.center[frames]
    else:
        size = np.array(sequence.image_size, float)
        focal = np.full((count, 2), np.linalg.norm(size))
        center = np.tile(size / 2, (count, 1))
        weighted = np.concatenate([keypoints[..., :2], compared[..., None]], -1)
        shift = place_in_camera(joints[:, ours], weighted, focal, center)
        joints = joints + np.nan_to_num(shift)[:, None]
        known = known & np.isfinite(shift[:, :1])
    known = known & (joints[..., 2] >= NEAREST)
    depth = np.where(known, joints[..., 2], 1.0)[..., None]
    pixels = joints[..., :2] / depth * focal[:, None] + center[:, None]
    error = np.linalg.norm(pixels[:, ours] - keypoints[..., :2], axis=-1)
    error = np.where(known[:, ours] & compared, error, np.nan)
    corners = extents(sequence.keypoints[frames])
    side = (corners[:, 2:] - corners[:, :2]).max(1)
    return Projection(frames.tolist(), joints, pixels, known, error, side)


def report_on_sequences(
    checked: Many[tuple[Sequence, Projection]], problems: list[str]
) -> dict[str, object]:
    """What the file of the report holds, but for the dataset's name."""
    sequences = [sequence for sequence, _ in checked]
    frames = sum(map(len, sequences))
    has_smpl = [each.has_smpl.sum() for each in sequences if each.has_smpl is not None]
    known = np.concatenate([projection.joints[projection.known] for _, projection in checked])
    error = np.concatenate([projection.error.ravel() for _, projection in checked])
    share = np.concatenate([(p.error / p.size[:, None]).ravel() for _, p in checked])
    suspicious = {
        sequence.name: round(median, 3)
        for sequence, p in checked
        if (median := _median((p.error / p.size[:, None]).ravel()) or 0) > TOLERANCE
    }
    names = {each.subject or each.name for each in sequences}
    return {
        "sequences": len(sequences),
        "persons": len(names),
        "frames": frames,
        "trusted": all(each.trusted for each in sequences),
        "share_with_smpl": float(sum(has_smpl)) / frames,
        "share_with_joints": sum(float(each.has_joints.any(1).sum()) for each in sequences)
        / frames,
        "share_with_keypoints": sum(
            float((each.keypoints[..., 2] > 0).any(1).sum()) for each in sequences
        )
        / frames,
        "joint_ranges_m": {
            axis: [float(known[:, place].min()), float(known[:, place].max())]
            for place, axis in enumerate("xyz")
            if len(known)
        },
        "reprojection_px": {"median": _median(error), "p95": _percentile(error, 95)},
        "reprojection_over_size": {"median": _median(share), "p95": _percentile(share, 95)},
        "suspicious": suspicious,
        "problems": problems,
    }


def report_on_takes(takes: Many[MocapTake], problems: list[str]) -> dict[str, object]:
    """Of motion capture, whose worlds have y up and the floor near 0."""
    heights = np.concatenate([take.translation[:, 1].numpy() for take in takes])
    seconds = sum(len(take) / take.fps for take in takes)
    return {
        "sequences": len(takes),
        "persons": len({take.subject for take in takes}),
        "frames": len(heights),
        "hours": seconds / 3600,
        "share_with_smpl": 1.0,
        "heights_of_root_m": [float(heights.min()), float(heights.max())],
        "problems": problems,
    }


def _median(values: Float[ndarray, "N"]) -> float | None:
    return _percentile(values, 50)


def _percentile(values: Float[ndarray, "N"], percent: float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if len(finite) else None


def lines_of(report: dict[str, object]) -> list[str]:
    """The report for people to read."""
    lines = []
    for name, value in report.items():
        if name in ("problems", "suspicious", "unreadable"):
            continue
        lines.append(f"{name.replace('_', ' ')}: {_written(value)}")
    suspicious = report.get("suspicious")
    if isinstance(suspicious, dict) and suspicious:
        lines.append(
            f"in {len(suspicious)} sequences joints and keypoints lie far from each other (over "
            f"the person's size; {TOLERANCE:g} allowed): another camera, other axes or another "
            "order of joints?"
        )
        worst = sorted(suspicious.items(), key=lambda item: -item[1])[:NAMED]
        lines += [f"  {name}: {share:g}" for name, share in worst]
    problems = report["problems"]
    if isinstance(problems, list) and problems:
        lines.append("broken, and left out of the above:")
        lines += [f"  {problem}" for problem in problems[:NAMED]]
        if len(problems) > NAMED:
            lines.append(f"  and {len(problems) - NAMED} more")
    return lines


def _written(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(each)}" for name, each in value.items()) or "unknown"
    if isinstance(value, list):
        return " to ".join(_written(each) for each in value)
    if value is None:
        return "unknown"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_shards(
    sequences: list[Sequence], options: argparse.Namespace, body: BodyModel
) -> dict[str, object]:
    """What is not there yet; returns what is to be reported of all."""
    names = {"side": "side", "margin": "margin", "quality": "quality", "shard_frames": "frames"}
    given = {name: getattr(options, option) for option, name in names.items()}
    given = {name: value for name, value in given.items() if value is not None}
    if options.whole_images and (idle := given.keys() & {"side", "margin"}):
        raise InputError(f"--{min(idle)} does nothing to whole images: leave it out")
    given["whole"] = options.whole_images
    settings = parse_config(given, ShardSettings, "options of --shards")
    description = describe(options.dataset, options.part, sequences, settings, body.name)
    jobs = missing_shards(options.shards, description, sequences)
    try:
        made = make_shards(jobs, options.body, options.workers)
        for _ in Stage("writing").track(made, len(jobs), "shard"):
            pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command continues {options.shards}") from None
    return report_on_shards(options.shards, description)


def write_overlays(checked: Many[tuple[Sequence, Projection]], folder: Path) -> None:
    """A picture of each sequence, or of `OVERLAYS` of them, the first frame with labels."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.linspace(0, len(checked) - 1, min(OVERLAYS, len(checked))).round().astype(int)
    for place in Stage("drawing").track(chosen.tolist(), len(chosen), "picture"):
        sequence, projection = checked[place]
        image = draw_labels(sequence, projection)
        name = sequence.name.strip("/").replace("/", "_")
        with atomic_path(folder / f"{name}.jpg") as path:
            encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
            path.write_bytes(encoded.tobytes())


def draw_labels(sequence: Sequence, projection: Projection) -> UInt8[ndarray, "H W 3"]:
    """The first checked frame with labels: keypoints, projected joints and box."""
    labelled = projection.known.any(1) | (projection.size > 0)
    at = int(labelled.argmax())
    frame = projection.frames[at]
    image = whole_image(sequence, frame)
    thick = max(1, round(max(image.shape) / 500))
    if np.isfinite(sequence.boxes[frame]).all():
        low, high = sequence.boxes[frame].round().astype(int).reshape(2, 2)
        cv2.rectangle(image, low.tolist(), high.tolist(), BOX_COLOR, thick)
    pixels, known = projection.pixels[at], projection.known[at]
    parents = {child: parent for child, parent in enumerate(SMPL24.parents) if parent >= 0}
    bones = [bone for bone in parents.items() if known[list(bone)].all()]
    _draw(image, pixels, known, bones, JOINT_COLOR, 2 * thick)
    keypoints = sequence.keypoints[frame]
    named = [tuple(COCO23.indices(*bone)) for bone in COCO23.bones]
    seen = keypoints[:, 2] > 0
    _draw(image, keypoints, seen, [b for b in named if seen[list(b)].all()], KEYPOINT_COLOR, thick)
    legend = (("keypoints", KEYPOINT_COLOR), ("projected joints", JOINT_COLOR), ("box", BOX_COLOR))
    for row, (text, color) in enumerate(legend, 1):
        place = (10 * thick, 18 * thick * row)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thick, color, thick)
    return image


def _draw(
    image: UInt8[ndarray, "H W 3"],
    points: Float[ndarray, "J K"],
    shown: Bool[ndarray, "J"],
    bones: Many[tuple[int, ...]],
    color: tuple[int, int, int],
    thick: int,
) -> None:
    """Points and bones; what lies far outside is left out."""
    near = shown & (np.abs(points[:, :2]) < 4 * max(image.shape)).all(1)
    places = np.where(near[:, None], points[:, :2], 0).round().astype(int).tolist()
    for start, end in bones:
        if near[start] and near[end]:
            cv2.line(image, places[start], places[end], color, thick, cv2.LINE_AA)
    for place in np.flatnonzero(near):
        cv2.circle(image, places[place], 2 * thick, color, -1, cv2.LINE_AA)


def whole_image(sequence: Sequence, frame: int) -> UInt8[ndarray, "H W 3"]:
    """Upright, black where a shard has nothing of it; raises `InputError` if it cannot be read."""
    unreadable = Unreadable()
    for _, image in read_frames(sequence, [frame], unreadable):
        if not isinstance(sequence.images, ShardFrames):
            return np.array(image)
        matrix = sequence.images.of_stored(frame, np.eye(2, 3))
        return cv2.warpAffine(image, matrix, sequence.image_size)
    raise InputError(next(iter(unreadable.reasons.values())))


def _parse(arguments: Many[str] | None) -> argparse.Namespace:
    parser = DoorParser("prepare_dataset.py", (__doc__ or "").split("\n\n")[0])
    parser.add_argument("dataset", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("folder", type=Path, help="where the dataset is")
    parser.add_argument("--part", default="train", help="part, split or file of it (default train)")
    parser.add_argument("-o", "--output", type=Path, help="write the report here, as json")
    parser.add_argument("--overlays", type=Path, help="draw a picture of each sequence in here")
    parser.add_argument("--body", type=Path, help="body of SMPL parameters (default: the open one)")
    shards = parser.add_argument_group("shards")
    add = shards.add_argument
    add("--shards", type=Path, metavar="DIR", help="write images and labels in large files here")
    add("--whole-images", action="store_true", help="and not what is cut out around people")
    add("--side", type=int, metavar="PX", help="of what is cut out, at most (512)")
    add("--margin", type=float, metavar="X", help="sides of it over those of people's boxes (2)")
    add("--quality", type=int, metavar="Q", help="of JPEG, 1 to 100 (90)")
    add("--shard-frames", type=int, metavar="N", help="frames of a shard at most (4000)")
    add("--workers", type=int, default=1, metavar="N", help="processes that write (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_door(main)
