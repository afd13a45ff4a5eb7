"""Train the lessons of a configuration: `python -m temporal_hmr.train CONFIG --data FOLDER`.

On several GPUs: `torchrun --nproc-per-node GPUS -m temporal_hmr.train CONFIG --data FOLDER`.

A configuration with a single lesson, `training`, is that of the rotation tokenizer.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    import torch


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the configuration says, resuming whatever lies unfinished in the output folder.

    Raises `InputError` if configuration, data or output folder cannot be used.
    """
    options = _options(arguments)
    folder = options.output or Path("runs") / options.config.stem
    try:
        _run(options, folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the same command continues {folder} from its last checkpoint"
        ) from None


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser("temporal-hmr train", "Train the tokenizer, then the model.")
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG", help="YAML file, see configs/")
    add(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="motion capture (npz, bvh), clips made by scripts/render_clips.py, or a folder with "
        "a folder for each dataset of the configuration",
    )
    add(
        "--held-out",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="with rendered clips: clips of other subjects to judge by",
    )
    add(
        "--backgrounds",
        type=Path,
        metavar="FOLDER",
        help="with rendering in the configuration: pictures to hang behind people",
    )
    add(
        "--readings",
        type=Path,
        metavar="FILE",
        help="with motion capture: what the detector read in rendered videos, see "
        "scripts/read_videos.py",
    )
    add("--start", type=Path, metavar="FILE", help="weights of a whole model to go on from")
    add("--tokenizer", type=Path, metavar="FILE", help="a trained keypoint tokenizer")
    add("--smpl", type=Path, metavar="FOLDER", help="SMPL bodies, for datasets ($SMPL_DIR)")
    add("--rotations", type=Path, metavar="FILE", help="a trained rotation tokenizer")
    add("--classifier", type=Path, metavar="FILE", help="converted weights of PCT's classifier")
    add(
        *("-o", "--output-dir", "--output"),
        type=Path,
        metavar="FOLDER",
        dest="output",
        help="run folder (runs/<name of CONFIG>)",
    )
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    return parser.parse_args(arguments)


def _run(options: Namespace, folder: Path) -> None:
    from temporal_hmr.device import choose_device
    from temporal_hmr.training.distributed import is_first, joined_processes

    with joined_processes(choose_device(options.device)) as device:
        path = _train(options, folder, device)
        if is_first():
            print(path)


def _train(options: Namespace, folder: Path, device: "torch.device") -> Path:
    from temporal_hmr.configuration import parse_config, read_settings
    from temporal_hmr.training.opening import Given
    from temporal_hmr.training.run import TrainingConfig, train

    values, source = read_settings(options.config), str(options.config)
    if isinstance(values, dict) and "training" in values:
        return _train_rotations(values, options, folder, device)
    config = parse_config(values, TrainingConfig, source)
    given = Given(
        options.data,
        options.held_out,
        backgrounds=options.backgrounds,
        readings=options.readings,
        keypoints=options.tokenizer,
        rotations=options.rotations,
        classifier=options.classifier,
        start=options.start,
        smpl=options.smpl,
    )
    return train(config, given, folder, device)


def _train_rotations(
    values: object, options: Namespace, folder: Path, device: "torch.device"
) -> Path:
    from temporal_hmr.body.load import load_body
    from temporal_hmr.configuration import parse_config
    from temporal_hmr.data.mocap import counted_subjects, read_takes
    from temporal_hmr.training.claiming import claim
    from temporal_hmr.training.rotation_task import RotationTrainingConfig, train_rotations

    for name in (
        "held_out",
        "backgrounds",
        "readings",
        "start",
        "tokenizer",
        "rotations",
        "classifier",
        "smpl",
    ):
        if getattr(options, name):
            raise InputError(
                f"--{name.replace('_', '-')} does nothing for a rotation tokenizer: leave it out"
            )
    config = parse_config(values, RotationTrainingConfig, str(options.config))
    takes = read_takes(options.data, config)
    claim(folder, config, subjects=counted_subjects(takes))
    return train_rotations(config, takes, load_body(), folder, device)


if __name__ == "__main__":
    run_door(main)
