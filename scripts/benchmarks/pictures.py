"""What is done to the pictures of a clip: read, looked at, drawn into; and all of it together."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import cv2

from benchmarks.sample import HEIGHT, WIDTH, Sample, sample_720p
from benchmarks.timing import Row, Settings, Timing, Work, in_turn
from temporal_hmr.body.load import load_body
from temporal_hmr.native_output import silenced
from temporal_hmr.output.footage import footage
from temporal_hmr.output.overlay import Artist, OverlayStyle, write_overlay
from temporal_hmr.people.mediapipe import MediapipePeople, find_people
from temporal_hmr.people.settings import DetectionSettings
from temporal_hmr.tracking import TrackSettings, prepare_job, track_video
from temporal_hmr.video import open_clip

_SIZE = f"{WIDTH} x {HEIGHT}"
_ROUNDS_OF_CLIPS = 3
"""What takes seconds is not done more often."""
_ALONE = {
    "detector": "the detector, frame by frame",
    "ahead": "the detector, frames begun ahead",
    "once": "the same, reading once",
    "Pose": "mediapipe's Pose",
}
_BESIDE = {
    "track": ("detector", "ahead", "Pose"),
    "no overlay": ("detector", "ahead", "Pose"),
    "light, no overlay": ("once", "Pose"),
}
"""All of it, and what of `_ALONE` each is compared with."""


def decode(settings: Settings) -> list[Row]:
    """Frames of a clip, as the package gets them and as OpenCV does."""
    sample = sample_720p(settings.folder)
    ways = {"ours": lambda: _exhaust(open_clip(sample.path)), "OpenCV": lambda: _read(sample.path)}
    taken = in_turn(ways, settings)
    count = len(sample.clip)
    against = "OpenCV and cvtColor"
    return [Row("decode", _SIZE, count, "frame", taken["ours"], against, taken["OpenCV"])]


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _read(path: Path) -> None:
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, image = capture.read()
        if not ok:
            return
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def detection(settings: Settings) -> list[Row]:
    """Everybody's keypoints by BlazePose, against mediapipe's own solution, which follows one.

    Reading the clip is part of all. As a camera's frames are looked at, one by one, and as a
    video's are: the next ones are begun before the last is done with; and so, with `--light`'s one
    reading.
    """
    sample = sample_720p(settings.folder)
    count, taken = len(sample.clip), in_turn(_alone(sample), _fewer(settings))
    theirs = taken["Pose"]
    return [
        Row(
            part="detection",
            work=work,
            amount=count,
            unit="frame",
            ours=ours,
            against=_ALONE["Pose"],
            theirs=theirs,
            note=f"{_rate(count, ours):.1f} frames/s; {_cpu(count, ours)}, "
            f"theirs {_cpu(count, theirs)}",
        )
        for work, ours in (
            ("frame by frame", taken["detector"]),
            ("begun ahead", taken["ahead"]),
            ("begun ahead, reading once", taken["once"]),
        )
    ]


def _alone(sample: Sample) -> dict[str, Work]:
    """What there is to look for people with."""
    once = DetectionSettings(mirrored=False)
    return {
        "detector": lambda: _detect(sample.path),
        "ahead": lambda: _exhaust(find_people(open_clip(sample.path))),
        "once": lambda: _exhaust(find_people(open_clip(sample.path), once)),
        "Pose": lambda: _follow_one(sample.path),
    }


def _detect(path: Path) -> None:
    with MediapipePeople() as detector:
        for frame in open_clip(path):
            detector.people(frame)


def _follow_one(path: Path) -> None:
    with silenced():
        from mediapipe.python.solutions.pose import Pose  # type: ignore[import-untyped]

        pose = Pose()
    with pose:
        for frame in open_clip(path):
            pose.process(frame.image)


def overlay(settings: Settings) -> list[Row]:
    """Drawing alone, and writing the video with the body and without."""
    sample = sample_720p(settings.folder)
    body, frames = load_body(), list(footage(sample.clip))
    path, fps = settings.folder / "overlay.mp4", sample.motion.fps

    def draw() -> None:
        artist = Artist([sample.motion], body, OverlayStyle())
        for frame in frames:
            artist.draw(frame)

    ways = {
        "draw": draw,
        "with": lambda: write_overlay(footage(sample.clip), fps, [sample.motion], body, path),
        "without": lambda: write_overlay(footage(sample.clip), fps, [], body, path),
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
    """`track` with its files, with the overlay and without, against looking for people alone.

    With our ways of doing that, which find everybody, and with mediapipe's, which finds one; then
    in a longer clip, of which opening is a smaller part. The weights and the body are read anew
    each time: that is a row of its own.
    """
    sample = sample_720p(settings.folder)
    ways = {
        **_whole_ways(sample, settings),
        "opening": lambda: prepare_job(sample.path, _settings(settings)),
    }
    taken = in_turn(ways, _fewer(settings))
    opening = taken["opening"]
    rows = _whole_rows(len(sample.clip), taken)
    note = f"{median(opening.cpu):.2f} s of CPU, part of all of the above"
    rows.append(Row("end_to_end", "reading weights and body", 1, "video", opening, note=note))
    longer = sample_720p(settings.folder, settings.frames)
    taken = in_turn(_whole_ways(longer, settings), _fewer(settings))
    return rows + _whole_rows(len(longer.clip), taken)


def _whole_ways(sample: Sample, settings: Settings) -> dict[str, Work]:
    return {
        "track": lambda: _track(sample, settings, render=True),
        "no overlay": lambda: _track(sample, settings, render=False),
        "light, no overlay": lambda: _track(sample, settings, render=False, light=True),
        **_alone(sample),
    }


def _whole_rows(count: int, taken: Mapping[str, Timing]) -> list[Row]:
    return [
        Row(
            part="end_to_end",
            work=f"{name}, {count} frames",
            amount=count,
            unit="frame",
            ours=taken[name],
            against=_ALONE[only],
            theirs=taken[only],
            note=bars(count, taken[name], taken[only]),
        )
        for name, beside in _BESIDE.items()
        for only in beside
    ]


def _track(sample: Sample, settings: Settings, render: bool, light: bool = False) -> None:
    result = track_video(sample.path, _settings(settings, light))
    bodies = settings.folder / sample.path.stem
    result.save(bodies)
    if render:
        result.render(bodies)


def _settings(settings: Settings, light: bool = False) -> TrackSettings:
    return TrackSettings(device=str(settings.device), light=light)


def bars(count: int, whole: Timing, alone: Timing) -> str:
    """What is asked of the whole: frame rate over that of looking alone, and the share of CPU."""
    beyond = [1 - seen / all_of_it for seen, all_of_it in zip(alone.cpu, whole.cpu, strict=True)]
    rate = [seen / all_of_it for seen, all_of_it in zip(alone.wall, whole.wall, strict=True)]
    return (
        f"{_rate(count, whole):.1f} frames/s, {median(rate):.2f} of its rate; "
        f"{_cpu(count, whole)}, {median(beyond):.0%} of it beyond that"
    )


def _cpu(count: int, timing: Timing) -> str:
    return f"{1000 * median(timing.cpu) / count:.1f} ms of CPU"


def _rate(count: int, timing: Timing) -> float:
    return count / median(timing.wall)


def _fewer(settings: Settings) -> Settings:
    repeat = min(settings.repeat, _ROUNDS_OF_CLIPS)
    return replace(settings, repeat=repeat, warm_up=0)
