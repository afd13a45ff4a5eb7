"""What is done to the pictures of a clip: read, looked at, drawn into; and all of it together."""

from collections.abc import Iterable
from pathlib import Path
from statistics import median

import cv2

from benchmarks.sample import HEIGHT, WIDTH, Sample, sample_720p
from benchmarks.timing import Row, Settings, Timing, in_turn
from temporal_hmr.body.load import load_body
from temporal_hmr.output.overlay import Artist, OverlayStyle, write_overlay
from temporal_hmr.people.mediapipe import MediapipePeople
from temporal_hmr.tracking import TrackSettings, track_video
from temporal_hmr.video import Frame, open_clip

_SIZE = f"{WIDTH} x {HEIGHT}"
_ROUNDS_OF_CLIPS = 3
"""What takes seconds is not done more often."""


def decode(settings: Settings) -> list[Row]:
    """Frames of a clip, as the package gets them and as OpenCV does."""
    sample = sample_720p(settings.folder)
    ways = {"ours": lambda: _exhaust(open_clip(sample.path)), "OpenCV": lambda: _read(sample.path)}
    taken = in_turn(ways, settings)
    count = len(sample.clip)
    against = "OpenCV and cvtColor"
    return [Row("decode", _SIZE, count, "frame", taken["ours"], against, taken["OpenCV"])]


def _exhaust(frames: Iterable[Frame]) -> None:
    for _ in frames:
        pass


def _read(path: Path) -> None:
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, image = capture.read()
        if not ok:
            return
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def detection(settings: Settings) -> list[Row]:
    """People and their keypoints by BlazePose, reading the clip included."""
    sample = sample_720p(settings.folder)
    taken = in_turn({"ours": lambda: _detect(sample.path)}, _fewer(settings))
    note = f"{_rate(len(sample.clip), taken['ours']):.1f} frames/s"
    return [Row("detection", _SIZE, len(sample.clip), "frame", taken["ours"], note=note)]


def _detect(path: Path) -> None:
    with MediapipePeople() as detector:
        for frame in open_clip(path):
            detector.people(frame)


def overlay(settings: Settings) -> list[Row]:
    """Drawing alone, and writing the video with the body and without."""
    sample = sample_720p(settings.folder)
    body, frames = load_body(), list(sample.frames())
    path, fps = settings.folder / "overlay.mp4", sample.motion.fps

    def draw() -> None:
        artist = Artist([sample.motion], body, OverlayStyle())
        for frame in frames:
            artist.draw(frame)

    ways = {
        "draw": draw,
        "with": lambda: write_overlay(sample.frames(), fps, [sample.motion], body, path),
        "without": lambda: write_overlay(sample.frames(), fps, [], body, path),
    }
    taken = in_turn(ways, settings)
    count, unit = len(frames), "person-frame"
    drawn, plain = taken["with"], taken["without"]
    wall, cpu = (
        1000 * median(a - b for a, b in zip(*pair, strict=True)) / count
        for pair in ((drawn.wall, plain.wall), (drawn.cpu, plain.cpu))
    )
    return [
        Row(
            part="overlay",
            work=f"drawing, {_SIZE}",
            amount=count,
            unit=unit,
            ours=taken["draw"],
            note=f"{1000 * median(taken['draw'].cpu) / count:.1f} ms of CPU",
        ),
        Row(
            part="overlay",
            work="reading, drawing, encoding",
            amount=count,
            unit=unit,
            ours=drawn,
            against="without a body",
            theirs=plain,
            note=f"a body adds {wall:.1f} ms, {cpu:.1f} of CPU",
        ),
    ]


def end_to_end(settings: Settings) -> list[Row]:
    """`track` with its files and overlay, against running the detector alone on the same clip."""
    sample = sample_720p(settings.folder)
    ways = {
        "track": lambda: _track(sample, settings, render=True),
        "no overlay": lambda: _track(sample, settings, render=False),
        "detector": lambda: _detect(sample.path),
    }
    taken = in_turn(ways, _fewer(settings))
    count, alone = len(sample.clip), taken["detector"]
    return [
        Row("end_to_end", name, count, "frame", ours, "the detector alone", alone, note)
        for name, ours in taken.items()
        if ours is not alone
        for note in [_told(count, ours, alone)]
    ]


def _track(sample: Sample, settings: Settings, render: bool) -> None:
    result = track_video(sample.path, TrackSettings(device=str(settings.device)))
    result.save(settings.folder / "bodies")
    if render:
        result.render(settings.folder / "bodies")


def _told(count: int, whole: Timing, detector: Timing) -> str:
    beyond = [1 - seen / all_of_it for seen, all_of_it in zip(detector.cpu, whole.cpu, strict=True)]
    return (
        f"{_rate(count, whole):.1f} frames/s; {median(whole.cpu):.1f} s CPU, "
        f"{median(beyond):.0%} of it beyond detection"
    )


def _rate(count: int, timing: Timing) -> float:
    return count / median(timing.wall)


def _fewer(settings: Settings) -> Settings:
    repeat = min(settings.repeat, _ROUNDS_OF_CLIPS)
    return Settings(repeat, settings.device, settings.folder, warm_up=0)
