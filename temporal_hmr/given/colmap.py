"""Intrinsics of a COLMAP model (Schönberger and Frahm, CVPR 2016), as text or binary.

`cameras.txt` has a line CAMERA_ID MODEL WIDTH HEIGHT PARAMS... for each camera; `cameras.bin` the
same in little endian: uint64 count, then int32 id, int32 model, uint64 width and height, float64
parameters. `images.txt` has two lines for each image, the first of which is IMAGE_ID QW QX QY QZ TX
TY TZ CAMERA_ID NAME. Pixels are counted from the corner of the first one, as here. The poses of the
images are not read.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from temporal_hmr.errors import InputError
from temporal_hmr.given.measured import Measured
from temporal_hmr.video import Clip

COLMAP_NAMES = ("cameras.txt", "cameras.bin", "images.txt", "images.bin")
_IN_FOLDERS = ("", "sparse/0", "sparse", "0")
"""Where COLMAP leaves models in a workspace."""


@dataclass(frozen=True)
class _Model:
    name: str
    parameters: tuple[str, ...] | None
    """None for what no pinhole stands for."""


_MODELS = (
    _Model("SIMPLE_PINHOLE", ("f", "cx", "cy")),
    _Model("PINHOLE", ("fx", "fy", "cx", "cy")),
    _Model("SIMPLE_RADIAL", ("f", "cx", "cy", "k1")),
    _Model("RADIAL", ("f", "cx", "cy", "k1", "k2")),
    _Model("OPENCV", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
    _Model("OPENCV_FISHEYE", None),
    _Model(
        "FULL_OPENCV",
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    ),
    *(
        _Model(name, None)
        for name in ("FOV", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE")
    ),
)
"""In the order of their numbers in binary files."""
_DISTORTION = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def read_colmap(path: Path, clip: Clip) -> Measured:
    """The camera that filmed the clip.

    `path` is the folder of a model, or one of its files. Of several cameras it is the one whose
    images, by their names in `images`, are of the clip: frames of a folder, or in a folder of the
    video's name. Raises `InputError` if there is none or more than one, if it is a fisheye, or if
    the files are damaged.
    """
    file = _cameras_file(path)
    cameras = _parsed(file, _text_cameras, _binary_cameras)
    if not cameras:
        raise InputError(f"{file} holds no camera: give the folder of a finished model")
    if len({each[1:] for each in cameras}) > 1:
        cameras = _of_clip(file, cameras, clip)
    _, model, width, height, values = cameras[0]
    named = dict(zip(_parameters(file, model), values, strict=True))
    distortion = tuple(named.get(name, 0.0) for name in _DISTORTION)
    if not np.isfinite([width, height, *values]).all() or min(width, height) < 1:
        raise InputError(f"{file} is damaged: a camera has no finite size and parameters")
    return Measured(
        name=f"{file.name} ({model.name})",
        focal=(named.get("f", named.get("fx", 0.0)), named.get("f", named.get("fy", 0.0))),
        center=(named["cx"], named["cy"]),
        distortion=distortion if any(distortion) else (),
        size=(width, height),
    )


_Camera = tuple[int, _Model, int, int, tuple[float, ...]]
"""Number, model, width, height, parameters."""
_Image = tuple[str, int]
"""Name, number of its camera."""


def _cameras_file(path: Path) -> Path:
    folders = [path / inner for inner in _IN_FOLDERS] if path.is_dir() else [path.parent]
    wanted = (".bin", ".txt") if path.is_dir() else (path.suffix,)
    for folder in folders:
        for suffix in wanted:
            if (folder / f"cameras{suffix}").is_file():
                return folder / f"cameras{suffix}"
    raise InputError(f"{path} is no COLMAP model: there is no cameras.txt or cameras.bin in it")


def _parsed(file: Path, text: Callable, binary: Callable) -> list:
    try:
        contents = file.read_bytes()
        return list(binary(file, contents) if file.suffix == ".bin" else text(contents.decode()))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, IndexError, struct.error, StopIteration) as error:
        raise InputError(f"{file} is damaged ({error}): export the model anew") from error


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            yield line.split()


def _text_cameras(text: str) -> Iterator[_Camera]:
    for words in _lines(text):
        if not words:
            continue
        known = [model for model in _MODELS if model.name == words[1]]
        model = known[0] if known else _Model(words[1], None)
        values = tuple(map(float, words[4:]))
        if model.parameters is not None and len(values) != len(model.parameters):
            raise ValueError(f"{model.name} has {len(values)} parameters")
        yield int(words[0]), model, int(words[2]), int(words[3]), values


def _binary_cameras(file: Path, contents: bytes) -> Iterator[_Camera]:
    (count,), at = struct.unpack_from("<Q", contents), 8
    for _ in range(count):
        number, model_number, width, height = struct.unpack_from("<iiQQ", contents, at)
        at += 24
        if not 0 <= model_number < len(_MODELS):
            raise ValueError(f"it has a camera model {model_number}")
        model = _MODELS[model_number]
        values = struct.unpack_from(f"<{len(_parameters(file, model))}d", contents, at)
        at += 8 * len(values)
        yield number, model, width, height, values


def _parameters(file: Path, model: _Model) -> tuple[str, ...]:
    if model.parameters is None:
        raise InputError(
            f"{file} has a camera of model {model.name}, which no pinhole stands for: let COLMAP's "
            "image_undistorter make one, or use OPENCV"
        )
    return model.parameters


def _text_images(text: str) -> Iterator[_Image]:
    # Every second line is of the points in the image, and may be empty.
    for words in list(_lines(text))[::2]:
        if words:
            yield " ".join(words[9:]), int(words[8])


def _binary_images(file: Path, contents: bytes) -> Iterator[_Image]:
    (count,), at = struct.unpack_from("<Q", contents), 8
    if count > len(contents):
        raise ValueError(f"{file.name} would have {count} images")
    for _ in range(count):
        (camera,) = struct.unpack_from("<i", contents, at + 60)
        end = contents.index(b"\0", at + 64)
        (points,) = struct.unpack_from("<Q", contents, end + 1)
        yield contents[at + 64 : end].decode(), camera
        at = end + 9 + 24 * points


def _of_clip(file: Path, cameras: list[_Camera], clip: Clip) -> list[_Camera]:
    images = file.with_name(f"images{file.suffix}")
    seen = _parsed(images, _text_images, _binary_images) if images.is_file() else []
    numbers = {camera for name, camera in seen if _is_of(name, clip)}
    chosen = [each for each in cameras if each[0] in numbers]
    if not chosen or len({each[1:] for each in chosen}) > 1:
        raise InputError(
            f"{file} has {len(cameras)} different cameras, and {images.name} does not say which "
            f"one filmed {clip.path.name}: give the fx,fy,cx,cy of that one, or run COLMAP with "
            "one camera for the video"
        )
    return chosen


def _is_of(name: str, clip: Clip) -> bool:
    path = PurePosixPath(name)
    return path.name in clip.frame_names() or clip.path.stem in path.parts[:-1]
