"""The model, what is fitted after it, and a step of its training."""

from functools import partial
from statistics import median

import torch
from benchmark_training import PLAIN, Budget, Way, all_subjects, measure
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sample import sample_720p
from benchmarks.timing import Row, Settings, Timing, in_turn
from temporal_hmr.batch import CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.clip_windows import fill_frames, windows
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.recover import load_model, recover
from temporal_hmr.reprojection import fit_to_keypoints

_MATRIX = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the product that shows what the machine can do."""
_LESSON = "readings"
_LONG = 64
"""Frames of a window twice as long as the default weights were trained on, which others state."""


def model(settings: Settings) -> list[Row]:
    """A whole window at once, against its frames one by one; both float32 and eager."""
    network = load_model(None, settings.device)
    return [_window_row(network, length, settings) for length in (network.config.window, _LONG)]


def _window_row(network: Hmr, length: int, settings: Settings) -> Row:
    posed, window = _opened(length, settings)
    frames = window.times.shape[1]
    single = [_frame(window, at) for at in range(frames)]
    size = _MATRIX[settings.device.type]
    matrix = torch.randn(size, size, device=settings.device)
    ways = {
        "window": lambda: network(window, posed),
        "frames": lambda: [network(each, posed) for each in single],
        "matrix": lambda: matrix @ matrix,
    }
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            ways["window"]()
        operations = counter.get_total_flops()
        taken = in_turn(ways, settings)
    rate = operations / median(taken["window"].wall)
    peak = 2 * size**3 / median(taken["matrix"].wall)
    note = (
        f"{frames / median(taken['window'].wall):.0f} frames/s; {operations / frames / 1e6:.0f} "
        f"MFLOP/frame, {rate / 1e9:.0f} GFLOP/s: {rate / peak:.0%} of a {size} x {size} product's"
    )
    work, against = f"window of {frames} frames", "frame by frame"
    return Row("model", work, frames, "frame", taken["window"], against, taken["frames"], note)


def refinement(settings: Settings) -> list[Row]:
    """Bodies moved onto the keypoints, on the CPU, against the network that put them there."""
    network, body = load_model(None, settings.device), load_body()
    sample = sample_720p(settings.folder)
    track, camera, fps = sample.track(), sample.motion.camera, sample.motion.fps
    seen, posed = fill_frames(track), PosedBody(body)

    def by_network() -> SmplParams:
        return recover(network, body, track, camera, fps, fit=None).smpl

    first = by_network()
    fit = partial(fit_to_keypoints, first, seen, camera, posed, track.skeleton)
    taken = in_turn({"fit": fit, "network": by_network}, settings)
    work, against = f"clip of {len(seen)} frames", "the network"
    return [Row("refinement", work, len(seen), "frame", taken["fit"], against, taken["network"])]


def _opened(length: int, settings: Settings) -> tuple[PosedBody, CropWindow]:
    """The default body, and one window of the sample."""
    posed = PosedBody(load_body()).to(settings.device)
    sample = sample_720p(settings.folder)
    seen = fill_frames(sample.track())
    _, cut = next(windows(seen, length, sample.motion.camera))
    return posed, cut.map(lambda tensor: tensor[:1].to(settings.device))


def _frame(window: CropWindow, at: int) -> CropWindow:
    """A window of one frame; focal and centre belong to the clip."""
    once = {"focal", "center"}
    values = {
        name: value if name in once else value[:, at : at + 1]
        for name, value in vars(window).items()
        if value is not None
    }
    return CropWindow(**values)


def training(settings: Settings) -> list[Row]:
    """Steps of one small lesson in our loop, against a plain one."""
    subject = next(each for each in all_subjects(settings.device, True) if each.name == _LESSON)
    ours, theirs = [], []
    for _ in range(settings.repeat):
        for way, taken in ((Way(0, subject.settings.precision), ours), (PLAIN, theirs)):
            taken.append(median(measure(subject, way, Budget(1, 3), settings.device).seconds))
    clips = subject.settings.clips
    return [
        Row(
            part="training",
            work=f"{_LESSON}, {clips} clips of {subject.frames}",
            amount=clips,
            unit="clip",
            ours=_wall_only(ours),
            against="plain loop",
            theirs=_wall_only(theirs),
            note=subject.settings.precision,
        )
    ]


def _wall_only(seconds: list[float]) -> Timing:
    return Timing(tuple(seconds), tuple(seconds))
