#!/usr/bin/env python3
"""Average two models of the same settings, weight by weight.

    python scripts/average_weights.py A.safetensors B.safetensors --share 0.5 -o MEAN.safetensors

Models that went on from one another lie in one valley of the loss: between them is often better
than either end (Wortsman et al., "Model soups", ICML 2022). The embedded weights are such averages,
see docs/model_card.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError
from temporal_hmr.recover import CHECKPOINT_KIND, load_model


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the average as float16; raises `InputError` for models of different settings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add = parser.add_argument
    add("first", type=Path, metavar="WEIGHTS")
    add("second", type=Path, metavar="WEIGHTS")
    add("--share", type=float, default=0.5, help="of the first, 0 to 1 (0.5)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="safetensors to write")
    options = parser.parse_args(arguments)
    if not 0 <= options.share <= 1:
        raise InputError(f"--share lies between 0 and 1, unlike {options.share:g}")
    first, second = (
        load_model(path, torch.device("cpu")) for path in (options.first, options.second)
    )
    if first.config != second.config:
        raise InputError(f"{options.first} and {options.second} are models of different settings")
    others = second.state_dict()
    for name, values in first.state_dict().items():
        if values.is_floating_point():
            mean = options.share * values.double() + (1 - options.share) * others[name].double()
            values.copy_(mean)
    save_checkpoint(first, first.config, CHECKPOINT_KIND, options.output, half=True)
    print(options.output)


if __name__ == "__main__":
    run_door(main)
