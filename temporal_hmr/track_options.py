"""The words that the `track` door takes."""

import os
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser
from temporal_hmr.errors import InputError
from temporal_hmr.output.formats import FORMATS

_LIVE = ("sources", "body", "weights", "detector", "detector_weights", "focal", "device", "light")
"""What means something before a camera too, beside --delay."""


class _Parser(DoorParser):
    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """As in argparse, but sources may stand on both sides of an option."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if any(word.startswith("-") for word in unknown):
            return parsed, unknown
        parsed.sources = [*parsed.sources, *unknown]
        return parsed, []


def parse_track(arguments: Sequence[str] | None) -> Namespace:
    """The options of the door; exits with status 2 and one line on what does not fit."""
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
    _add_model_options(parser)
    _add_output_options(parser)
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


def _add_model_options(parser: DoorParser) -> None:
    add = parser.add_argument
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    add(
        "--light",
        action="store_true",
        help="faster: a smaller model, and one reading of each frame",
    )
    add(
        "--refine",
        action=BooleanOptionalAction,
        default=True,
        help="move bodies onto the detected keypoints at the end (yes)",
    )
    add(
        "--delay",
        type=int,
        metavar="N",
        help="of a camera: bodies N frames late, with 4 about as good as of a video (0)",
    )


def _add_output_options(parser: DoorParser) -> None:
    add = parser.add_argument
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
    add(
        "--again",
        action="store_true",
        help="track anew what is finished or was corrected with edit",
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


def check_live(options: Namespace) -> None:
    """Raise `InputError` for what does nothing where a camera is only looked through."""
    usual = vars(parse_track(["0"]))
    for name, value in vars(options).items():
        if name not in (*_LIVE, "delay") and value != usual[name]:
            word = name.replace("_", "-")
            said = f"--no-{word}" if value is False else f"--{word}"
            raise InputError(
                f"{said} is for videos: leave it out to look through a camera, or record first"
            )
