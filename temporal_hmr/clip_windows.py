"""From a track to the windows that a model looks at, with the images of its boxes if need be."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from temporal_hmr.batch import CropWindow
from temporal_hmr.camera import Camera
from temporal_hmr.crops import crop_image, cut_window
from temporal_hmr.motion import Track
from temporal_hmr.on_disk import let_go, zeros
from temporal_hmr.video import Frame

WINDOWS_AT_ONCE = 8
TRAINED_FPS = 30.0
"""The rate of the clips from which models learn."""


@dataclass(frozen=True, eq=False)
class FilledTrack:
    """A track without holes: unseen frames have keypoints of confidence 0."""

    frames: Int[ndarray, "T"]
    times: Float[ndarray, "T"]
    boxes: Float[ndarray, "T 4"]
    keypoints: Float[ndarray, "T J 3"]
    observed: Bool[ndarray, "T"]

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, positions: Int[ndarray, "K"], folder: Path | None = None) -> "FilledTrack":
        """Some of its frames; their keypoints in a file of the folder if there is one."""
        if len(positions) == len(self):
            return self
        keypoints = zeros((len(positions), *self.keypoints.shape[1:]), folder).numpy()
        np.take(self.keypoints, positions, 0, out=keypoints, mode="clip")
        let_go(keypoints, self.keypoints)
        values = (self.frames, self.times, self.boxes, self.observed)
        frames, times, boxes, observed = (each[positions] for each in values)
        return FilledTrack(frames, times, boxes, keypoints, observed)

    def without(self, some: Bool[ndarray, "T J"], folder: Path | None = None) -> "FilledTrack":
        """As if some of its keypoints had not been seen; they lie in a file of the folder."""
        if not some.any():
            return self
        keypoints = zeros(self.keypoints.shape, folder).numpy()
        np.copyto(keypoints, self.keypoints)
        keypoints[some] = 0
        let_go(keypoints, self.keypoints)
        return replace(self, keypoints=keypoints)


def fill_frames(track: Track, folder: Path | None = None) -> FilledTrack:
    """Every frame that was looked at from first to last sight, unseen ones with boxes in between.

    A track that does not say which were looked at has them all, unseen ones at times in between.
    Keypoints that are put in between lie in a file of the folder, if there is one.
    """
    if track.looked_at is None or track.looked_at_times is None:
        frames = np.arange(track.frames[0], track.frames[-1] + 1)
        times = np.interp(frames, track.frames, track.times)
    else:
        frames, times = track.looked_at, track.looked_at_times
    position = np.searchsorted(frames, track.frames)
    observed = np.zeros(len(frames), bool)
    observed[position] = True
    keypoints = track.keypoints.astype(np.float32, copy=False)
    if not observed.all():
        keypoints = zeros((len(frames), *track.keypoints.shape[1:]), folder).numpy()
        keypoints[position] = track.keypoints
        let_go(keypoints, track.keypoints)
    columns = [np.interp(times, track.times, column) for column in track.boxes.T]
    return FilledTrack(frames, times, np.stack(columns, -1).astype(np.float32), keypoints, observed)


def at_trained_rate(times: Float[ndarray, "T"]) -> Int[ndarray, "K"]:
    """Which frames to show a model that learned from 30 a second: all, or every second of 60.

    Windows have as many frames as in training; if they came four times as fast, the model would
    see a quarter of the time and take quick movements for slow ones. The first and the last frame
    are among them.
    """
    rate = 1 / float(np.median(np.diff(times))) if len(times) > 1 else TRAINED_FPS
    step = max(round(rate / TRAINED_FPS), 1)
    return np.unique(np.append(np.arange(0, len(times), step), len(times) - 1))


def overlap(length: int) -> int:
    """Frames that neighbouring windows of so many frames share: a quarter.

    Sharing half costs half as much again and is no better once bodies lie on their keypoints.
    """
    return max(length // 4, 1)


def window_starts(frames: int, length: int) -> list[int]:
    """Overlapping windows, of which the last ends with the last frame; one if the clip is short."""
    if frames <= length:
        return [0]
    return [*range(0, frames - length, max(length - overlap(length), 1)), frames - length]


def windows(
    seen: FilledTrack, length: int, camera: Camera
) -> Iterator[tuple[list[int], CropWindow]]:
    """First frames of some windows, counted from the track's first, and the windows themselves."""
    starts = window_starts(len(seen), length)
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        chunk = starts[first : first + WINDOWS_AT_ONCE]
        yield chunk, _cut(seen, chunk, length, camera)
        let_go(seen.keypoints)


def windows_with_images(
    seen: FilledTrack, length: int, camera: Camera, side: int, images: Iterable[Frame]
) -> Iterator[tuple[list[int], CropWindow]]:
    """The same with crops of `side` pixels, as soon as the images passing by complete them.

    `images` come in order; those that are missing, and padding, stay black. Memory holds the crops
    of the windows that are open, however long the clip.
    """
    starts = window_starts(len(seen), length)
    begun: dict[int, CropWindow] = {}

    def window(row: int) -> CropWindow:
        if row not in begun:
            empty = torch.zeros(1, length, 3, side, side, dtype=torch.uint8)
            begun[row] = replace(_cut(seen, [starts[row]], length, camera), images=empty)
        return begun[row]

    def take(rows: range) -> tuple[list[int], CropWindow]:
        taken = [window(row) for row in rows]
        for row in rows:
            del begun[row]
        return [starts[row] for row in rows], _stacked(taken)

    done = 0
    for frame in images:
        position = int(np.searchsorted(seen.frames, frame.index))
        if position == len(seen) or seen.frames[position] != frame.index:
            continue
        complete = bisect_right(starts, position - length)
        while complete - done >= WINDOWS_AT_ONCE:
            yield take(range(done, done + WINDOWS_AT_ONCE))
            done += WINDOWS_AT_ONCE
        for row in range(complete, bisect_right(starts, position)):
            place, cut = position - starts[row], window(row)
            assert cut.images is not None, "they were put there"
            center, size = cut.box_center[0, place].numpy(), float(cut.box_size[0, place])
            crop = crop_image(frame.image, center, size, side)
            cut.images[0, place] = torch.from_numpy(crop).permute(2, 0, 1)
    for first in range(done, len(starts), WINDOWS_AT_ONCE):
        yield take(range(first, min(first + WINDOWS_AT_ONCE, len(starts))))


def _stacked(windows: list[CropWindow]) -> CropWindow:
    """One batch of them."""
    names = [each.name for each in fields(CropWindow)]
    return CropWindow(**{name: torch.cat([getattr(w, name) for w in windows]) for name in names})


def _cut(seen: FilledTrack, starts: list[int], length: int, camera: Camera) -> CropWindow:
    """The windows at the given frames, padded by repeating the last frame where the clip ends."""
    index = torch.tensor(starts)[:, None] + torch.arange(length)
    valid = index < len(seen)
    index = index.clamp(max=len(seen) - 1)
    keypoints = torch.from_numpy(seen.keypoints)[index]
    # Seconds from the window's start: float32 keeps milliseconds even hours into a video.
    times = torch.from_numpy(seen.times)[index]
    times = (times - times[:, :1]).float()
    focal = camera.focal.expand(len(starts), 2)
    center = camera.center.expand(len(starts), 2)
    scores = keypoints[..., 2] * valid[..., None]
    return cut_window(keypoints[..., :2], scores, times, valid, focal, center)
