"""What is tried in a process of its own: imports, the GPU, and every part of the chain.

Each function answers for one item with plain data; `try_part` and `try_gpu` with findings.
"""

import subprocess
import sysconfig
import tempfile
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from temporal_hmr.diagnosis.findings import Finding, error, ok, warning

SAMPLE = Path(__file__).parents[1] / "assets" / "sample.mp4"
SAMPLE_FRAMES, SAMPLE_SIZE = 126, (540, 720)
PARTS = ("decord", "opencv", "encoder", "detector", "weights", "body")
"""Of the chain, in its order; `chain` is all of it."""


def import_module_named(name: str) -> dict[str, str]:
    """Import a module; tells where it comes from, and if a file of the user's took its place."""
    module = import_module(name)
    if name == "torch":
        # A torch built for numpy 1 imports well beside numpy 2, and fails here.
        import_module("numpy")
        module.zeros(1).numpy()
    file = getattr(module, "__file__", None) or ""
    return {"file": file, "shadow": _shadow(file)}


def _shadow(file: str) -> str:
    """The file, if it lies in the working directory rather than where packages are installed."""
    here = Path.cwd()
    if not file or not Path(file).is_relative_to(here):
        return ""
    homes = [sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")]
    return "" if any(Path(file).is_relative_to(home) for home in homes) else file


def try_part(part: str) -> list[dict]:
    """One of `PARTS`, or "chain"; raises whatever goes wrong."""
    return [asdict(_PARTS[part]())]


def _decord() -> Finding:
    from temporal_hmr.decoding import decord_facts, decord_images, has_decord

    if not has_decord():
        return _without_decord()
    facts = decord_facts(SAMPLE)
    shapes = [image.shape for image in decord_images(SAMPLE, 0, SAMPLE_FRAMES)]
    if facts is None or len(facts[0]) != SAMPLE_FRAMES or shapes != _expected_shapes():
        return error("decord", _undecodable("decord", len(shapes)))
    return ok("decord", f"reads the sample clip, {len(shapes)} frames")


def _without_decord() -> Finding:
    from temporal_hmr.video import open_clip

    shapes = [frame.image.shape for frame in open_clip(SAMPLE)]
    if shapes != _expected_shapes():
        return error("decord", _undecodable("PyAV", len(shapes)))
    return ok("decord", f"none for this machine: PyAV reads the sample clip, {len(shapes)} frames")


def _opencv() -> Finding:
    import cv2

    from temporal_hmr.decoding import opencv_images

    shapes = [image.shape for _, image in opencv_images(SAMPLE)]
    if shapes != _expected_shapes():
        return error("opencv", _undecodable("opencv-contrib-python", len(shapes)))
    if not hasattr(cv2, "triangleRasterize"):
        return error(
            "opencv",
            f"OpenCV {cv2.__version__} cannot draw bodies: run `pip install "
            "'opencv-contrib-python>=5'`, or pass --no-render to track",
        )
    return ok("opencv", f"{cv2.__version__} reads the sample clip, {len(shapes)} frames")


def _undecodable(package: str, frames: int) -> str:
    return (
        f"the sample clip gives {frames} of {SAMPLE_FRAMES} frames: run `pip install "
        f"--force-reinstall {package}`"
    )


def _expected_shapes() -> list[tuple[int, int, int]]:
    width, height = SAMPLE_SIZE
    return [(height, width, 3)] * SAMPLE_FRAMES


def _encoder() -> Finding:
    import numpy as np

    from temporal_hmr.decoding import opencv_images
    from temporal_hmr.output.encoding import plays_everywhere, write_video

    images = [np.full((64, 96, 3), shade, np.uint8) for shade in (40, 120, 200)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(images, 30.0, path)
        back = [float(image.mean()) for _, image in opencv_images(path)]
    package = "av" if plays_everywhere() else "opencv-contrib-python"
    if len(back) != 3 or max(abs(a - b) for a, b in zip(back, (40, 120, 200), strict=True)) > 12:
        return error(
            "encoder",
            f"a clip comes back changed: run `pip install --force-reinstall {package}`, or pass "
            "--no-render to track",
        )
    if plays_everywhere():
        return ok("encoder", "PyAV writes H.264, which everything plays")
    return ok("encoder", "OpenCV writes MPEG-4; `pip install av` adds H.264, which browsers play")


def _detector() -> Finding:
    from temporal_hmr.people.mediapipe import MediapipePeople
    from temporal_hmr.video import open_clip

    frame = next(iter(open_clip(SAMPLE)))
    with MediapipePeople() as detector:
        people = detector.people(frame)
    if len(people) != 1:
        return error(
            "detector",
            f"it sees {len(people)} people in the sample clip instead of one: run `pip install "
            "--force-reinstall mediapipe==0.10.9`",
        )
    return ok("detector", "BlazePose sees the person in the sample clip")


def _weights() -> Finding:
    import torch

    from temporal_hmr.recover import default_weights, load_model

    model = load_model(None, torch.device("cpu"))
    parameters = list(model.parameters())
    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
        return error("weights", f"{default_weights()} has entries that are not finite: reinstall")
    count = sum(parameter.numel() for parameter in parameters)
    return ok("weights", f"the embedded model loads, {count / 1e6:.1f} million parameters")


def _body() -> Finding:
    import torch

    from temporal_hmr.body.load import load_body
    from temporal_hmr.body.params import SmplParams

    body = load_body()
    rest = SmplParams.from_poses(torch.zeros(72), torch.zeros(10), torch.zeros(3))
    height = float(body.vertices(rest)[:, 1].max() - body.vertices(rest)[:, 1].min())
    if not 1.5 < height < 1.9:
        return error("body", f"the open body is {height:.2f} m tall: reinstall temporal_hmr")
    return ok("body", f"the open body loads, {len(body.v_template)} vertices, {height:.2f} m")


def _chain() -> Finding:
    from temporal_hmr.tracking import TrackSettings, track_video

    begun = time.monotonic()
    result = track_video(SAMPLE, TrackSettings(end=2.0))
    with tempfile.TemporaryDirectory() as folder:
        result.save(folder)
        result.render(folder)
    seconds = time.monotonic() - begun
    if len(result.motions) != 1 or len(result.motions[0]) < 55:
        return error("chain", "tracking the sample clip does not find its one person: reinstall")
    return ok("chain", f"two seconds of video tracked, written and drawn in {seconds:.0f} s")


_PARTS = {
    "decord": _decord,
    "opencv": _opencv,
    "encoder": _encoder,
    "detector": _detector,
    "weights": _weights,
    "body": _body,
    "chain": _chain,
}


def try_gpu(device: str) -> list[dict]:
    """Findings on the GPU; an error only if `device` asks for one that cannot be used."""
    return [asdict(_gpu(device.startswith("cuda")))]


def _gpu(asked_for: bool) -> Finding:
    import torch

    judge = error if asked_for else warning
    driver = nvidia_driver()
    built_for = torch.version.cuda
    details = {"driver": driver, "torch": torch.__version__, "built_for_cuda": built_for}
    if built_for is None:
        return _without_cuda(driver, asked_for, details)
    if not torch.cuda.is_available():
        if driver is None and not asked_for:
            return ok("gpu", "none here; all runs on the CPU", **details)
        return judge(
            "gpu",
            f"torch {torch.__version__} cannot use the GPU ({driver or 'no NVIDIA driver'}): "
            f"install a driver for CUDA {built_for} or newer, or a torch for an older CUDA",
            **details,
        )
    return _usable_gpu(judge, details)


def _without_cuda(driver: str | None, asked_for: bool, details: dict) -> Finding:
    if driver is None and not asked_for:
        return ok("gpu", "none here; all runs on the CPU", **details)
    judge = error if asked_for else warning
    seen = f"beside {driver}" if driver else "and no NVIDIA driver is here"
    return judge(
        "gpu",
        f"torch {details['torch']} is a build without CUDA {seen}: for the GPU, choose a CUDA "
        "build at https://pytorch.org/get-started/locally; without it, all runs on the CPU",
        **details,
    )


def _usable_gpu(judge, details: dict) -> Finding:
    """It is there; whether this torch has programs for it shows only when one runs."""
    import torch

    name = torch.cuda.get_device_name(0)
    try:
        square = torch.eye(8, device="cuda")
        works = float((square @ square).sum()) == 8
    except RuntimeError as failure:
        works, details = False, {**details, "failure": str(failure)}
    if not works:
        return judge(
            "gpu",
            f"torch {torch.__version__} has no working programs for {name}: install a build for a "
            "CUDA version that knows this GPU (https://pytorch.org/get-started/locally)",
            **details,
        )
    free, total = torch.cuda.mem_get_info(0)
    said = f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GB free, CUDA {torch.version.cuda}"
    if free < 2**30:
        return warning("gpu", f"{said}: close what else uses it, or pass --device cpu", **details)
    return ok("gpu", said, **details)


def nvidia_driver() -> str | None:
    """The first GPU and its driver, as the driver's own tool tells; None without one."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = told.stdout.strip().splitlines()
    if told.returncode or not lines:
        return None
    name, _, version = lines[0].partition(",")
    return f"{name.strip()} (driver {version.strip()})"
