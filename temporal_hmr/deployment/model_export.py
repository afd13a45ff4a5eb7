"""From weights to a folder with the model for other runtimes: `model.onnx` and what it means."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.deployment.onnx_files import open_onnx, require_onnx, write_int8, write_onnx
from temporal_hmr.deployment.parity import Answer, Parity, compare
from temporal_hmr.deployment.plain_model import INPUTS, OUTPUTS, PlainHmr, plain
from temporal_hmr.deployment.simulated import simulated_windows
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.models.token_motion import TokenMotionConfig
from temporal_hmr.output.npz import package_version
from temporal_hmr.recover import default_weights, load_model
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, SMPL24

MODEL, INT8, DESCRIPTION = "model.onnx", "model_int8.onnx", "model.json"
_WINDOWS = 12
"""On which copies are compared, and a quarter of them again in shorter windows."""

Run = Callable[[tuple[Tensor, ...]], Mapping[str, ndarray]]


@dataclass(frozen=True)
class ModelExport:
    """What to export."""

    weights: Path | None = None
    """None is the model that comes with the package."""
    int8: bool = False
    window: int | None = None
    """Frames on which copies are compared; None takes those the model was trained on."""


def export_model(settings: ModelExport, folder: Path) -> dict[Path, Parity]:
    """Write the model and its description; how far each file is from PyTorch.

    Raises `InputError` if packages are missing, the model cannot be exported, the folder cannot be
    written, or a copy says something else than the model; of such a copy nothing stays.
    """
    weights = settings.weights or default_weights()
    body = PosedBody(load_body())
    model = PlainHmr(load_model(weights, torch.device("cpu")), body).eval()
    config = model.model.config
    frames = config.window if settings.window is None else settings.window
    if frames < 2:
        raise InputError(f"--window takes 2 frames or more, not {frames}")
    require_onnx()
    _make(folder)
    any_frames = not isinstance(config.motion, TokenMotionConfig)
    windows = comparison_windows(body, frames, any_frames)
    found: dict[Path, Parity] = {}
    partial = folder / f"{MODEL}.partial"
    smaller = folder / f"{INT8}.partial"
    try:
        write_onnx(model, plain(windows[0]), partial, any_frames)
        found[folder / MODEL] = checked(model, open_onnx(partial), windows, int8=False)
        if settings.int8:
            write_int8(partial, smaller)
            found[folder / INT8] = checked(model, open_onnx(smaller), windows, int8=True)
            smaller.replace(folder / INT8)
        partial.replace(folder / MODEL)
    finally:
        partial.unlink(missing_ok=True)
        smaller.unlink(missing_ok=True)
    if not settings.int8:
        # Of an earlier export: the description would not speak of it.
        (folder / INT8).unlink(missing_ok=True)
    stated = described(weights, config.window, frames, any_frames, found)
    text = json.dumps(stated, indent=2) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return found


def comparison_windows(body: PosedBody, frames: int, any_frames: bool) -> list[CropWindow]:
    """Batches of windows, the first of the length asked for."""
    windows = [simulated_windows(_WINDOWS, frames, body, seed=0)]
    if any_frames:
        windows.append(simulated_windows(_WINDOWS // 4, max(frames // 2, 1), body, seed=1))
    return windows


def checked(model: PlainHmr, copy: Run, windows: list[CropWindow], int8: bool) -> Parity:
    """How far a copy is off; raises `InputError` if that is too far."""
    names = [port.name for port in OUTPUTS]
    own, others = [], []
    for window in windows:
        tensors, valid = plain(window), window.valid.numpy()
        with torch.inference_mode():
            outputs = dict(zip(names, (each.numpy() for each in model(*tensors)), strict=True))
        own.append(Answer.of(outputs, valid))
        others.append(Answer.of(dict(copy(tensors)), valid))
    parity = compare(own, others)
    fault = parity.fault(int8)
    if fault is not None:
        kind = "the int8 model" if int8 else "the exported model"
        raise InputError(f"{kind} was not kept: {fault}")
    return parity


def described(
    weights: Path, trained: int, frames: int, any_frames: bool, found: Mapping[Path, Parity]
) -> dict[str, object]:
    """What a program that runs the files has to know, and how far they can be trusted."""
    return {
        "schema": 1,
        "made_by": f"temporal_hmr {package_version()}",
        "weights": {"name": weights.name, "sha256": file_hash(weights)},
        "trained_window_frames": trained,
        "frames": "any number" if any_frames else frames,
        "inputs": [asdict(port) for port in INPUTS],
        "outputs": [asdict(port) for port in OUTPUTS],
        "camera_frame": "OpenCV: x right, y down, z forward; metres; full image, no distortion",
        "keypoint_skeletons": {each.name: list(each.joints) for each in (COCO23, BLAZEPOSE23)},
        "body": {
            "name": "open",
            "joints": list(SMPL24.joints),
            "parents": list(SMPL24.parents),
            "turning": "SMPL turns about its pelvis: it stands at J0(betas) + transl",
        },
        "compared_with_pytorch_on": {"windows": "simulated", "frames": frames},
        "files": {
            path.name: {
                "sha256": file_hash(path),
                "bytes": path.stat().st_size,
                "parity": asdict(parity),
            }
            for path, parity in found.items()
        },
    }


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made a folder: {error.strerror}") from error
