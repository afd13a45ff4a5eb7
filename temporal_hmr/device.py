"""Choosing where tensors live."""

import re

import torch

from temporal_hmr.errors import InputError


def choose_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises `InputError` for any other name, and for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise InputError(f"--device takes auto, cpu, cuda or cuda:1 and so on, not {name!r}")
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"there is no device {name} here; pass --device cpu, or leave it out")
    return device
