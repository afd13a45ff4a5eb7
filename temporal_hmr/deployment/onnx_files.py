"""Files of ONNX: written by torch's exporter, made smaller, and run, with onnxruntime."""

import logging
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from temporal_hmr.dependencies import installation
from temporal_hmr.deployment.plain_model import INPUTS, OUTPUTS
from temporal_hmr.errors import InputError

OPSET = 17
_COARSE = ("/model/context/", "/model/decoder/", "/model/motion/", "/model/encoder/blocks.")
"""Where weights may be rounded to int8: the transformers. Keypoints as they come in, codes, heads
and the body itself are small, and there a hundredth is centimetres."""


def require_onnx() -> None:
    """Raises `InputError` if the packages are not there."""
    for name in ("onnx", "onnxruntime"):
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"exporting a model needs {name} ({error}): {installation('onnx')}"
            ) from error


def write_onnx(model: nn.Module, example: tuple[Tensor, ...], path: Path, any_frames: bool) -> None:
    """Write a model of `INPUTS` and `OUTPUTS` for any batch, and if so said any number of frames.

    By tracing: the exporter that follows every symbol needs minutes for the same graph.
    """
    axes: dict[str, Any] = {
        port.name: {
            axis: word
            for axis, word in enumerate(port.shape)
            if word == "batch" or (word == "frames" and any_frames)
        }
        for port in (*INPUTS, *OUTPUTS)
    }
    torch.onnx.register_custom_op_symbolic("aten::mT", _swapped, OPSET)  # type: ignore
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                example,
                path,
                input_names=[port.name for port in INPUTS],
                output_names=[port.name for port in OUTPUTS],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::mT", OPSET)  # type: ignore


def _swapped(graph, tensor):
    """`Tensor.mT`, for which the exporter has no rule."""
    order = list(range(tensor.type().dim()))
    order[-2:] = order[:-3:-1]
    return graph.op("Transpose", tensor, perm_i=order)


def write_int8(source: Path, path: Path) -> None:
    """The same model with the weights of its transformers in 8 bits, a scale for each column."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = [node.name for node in onnx.load(source).graph.node if node.op_type == "MatMul"]
    chosen = [name for name in nodes if name.startswith(_COARSE)]
    # It recommends a step that the exporter has done, by the logger that is everybody's.
    heard = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            source,
            path,
            nodes_to_quantize=chosen,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.disable(heard)


def open_onnx(path: Path) -> Callable[[tuple[Tensor, ...]], Mapping[str, ndarray]]:
    """A function from tensors in the order of `INPUTS` to arrays by the names of `OUTPUTS`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(tensors: tuple[Tensor, ...]) -> Mapping[str, ndarray]:
        arrays = {port.name: each.numpy() for port, each in zip(INPUTS, tensors, strict=True)}
        names = [port.name for port in OUTPUTS]
        found = [np.asarray(each) for each in session.run(names, arrays)]
        return dict(zip(names, found, strict=True))

    return run
