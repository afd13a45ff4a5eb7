"""Image files: which they are, in what order, and what is in them, in RGB and upright."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

_TRIED = 10
"""Images at the beginning of a folder of which one at least must be readable."""


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order of their names.

    Raises `InputError` if two of them differ in their suffix alone, like a picture and its mask.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
    files = [file for file in files if not (file.name.startswith(".") or file.is_dir())]
    files = sorted(files, key=_natural_order)
    named: dict[str, Path] = {}
    for file in files:
        other = named.setdefault(file.stem, file)
        if other != file:
            raise InputError(
                f"the folder {folder} holds both {other.name} and {file.name}, which cannot both "
                "be one frame: give the frames a folder of their own"
            )
    return files


def _natural_order(file: Path) -> list[tuple[int, str]]:
    """A sorting key in which frame9 comes before frame10."""
    parts = re.split(r"(\d+)", file.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def first_readable(files: Sequence[Path]) -> UInt8[ndarray, "H W 3"]:
    """The first image that can be read; raises `InputError` if that is none of the first few."""
    for file in files[:_TRIED]:
        image = image_or_none(file)
        if image is not None:
            return image
    which = "" if len(files) == 1 else f", nor the {min(len(files), _TRIED) - 1} after it"
    raise InputError(f"{files[0]} cannot be read as an image{which}: replace it or take it away")


def read_image(file: Path, silently: bool = True) -> UInt8[ndarray, "H W 3"]:
    """An RGB image, turned upright as its EXIF orientation says.

    `silently` keeps the decoder's complaints off the terminal, and with them what other threads
    write there meanwhile. Raises `InputError` if the file is absent or cannot be read as an image.
    """
    image = image_or_none(file, silently)
    if image is None:
        raise InputError(f"{file} cannot be read as an image: replace it or take it away")
    return image


def image_or_none(file: Path, silently: bool = True) -> UInt8[ndarray, "H W 3"] | None:
    """As `read_image`; None for a file that is no image."""
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise InputError(f"the image {file} cannot be opened: {error.strerror}") from error
    with silenced() if silently else contextlib.nullcontext():
        return decode_image(content)


def decode_image(content: UInt8[ndarray, "bytes"]) -> UInt8[ndarray, "H W 3"] | None:
    """What an image file holds in RGB, upright as its EXIF orientation says; None if no image."""
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
