"""From a track to the windows that a model looks at, with the images of its boxes if need be."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.camera import Camera
from temporal_hmr.crops import crop_image, cut_window
from temporal_hmr.motion import Track
from temporal_hmr.video import Frame

WINDOWS_AT_ONCE = 8


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


def fill_frames(track: Track) -> FilledTrack:
    """Every frame from first to last sight; boxes and times of unseen ones lie in between."""
    frames = np.arange(track.frames[0], track.frames[-1] + 1)
    position = np.searchsorted(frames, track.frames)
    observed = np.zeros(len(frames), bool)
    observed[position] = True
    keypoints = np.zeros((len(frames), *track.keypoints.shape[1:]), np.float32)
    keypoints[position] = track.keypoints
    times = np.interp(frames, track.frames, track.times)
    columns = [np.interp(frames, track.frames, column) for column in track.boxes.T]
    return FilledTrack(frames, times, np.stack(columns, -1).astype(np.float32), keypoints, observed)


def window_starts(frames: int, length: int) -> list[int]:
    """Windows that overlap by half and end with the last frame; one if the clip is short."""
    if frames <= length:
        return [0]
    return [*range(0, frames - length, max(1, length // 2)), frames - length]


def windows(
    seen: FilledTrack, length: int, camera: Camera
) -> Iterator[tuple[list[int], CropWindow]]:
    """First frames of some windows, counted from the track's first, and the windows themselves."""
    starts = window_starts(len(seen), length)
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        chunk = starts[first : first + WINDOWS_AT_ONCE]
        yield chunk, _cut(seen, chunk, length, camera)


def windows_with_images(
    seen: FilledTrack, length: int, camera: Camera, side: int, images: Iterable[Frame]
) -> Iterator[tuple[list[int], CropWindow]]:
    """The same with crops of `side` pixels, as soon as the images passing by complete them.

    `images` come in order; those that are missing, and padding, stay black. Memory holds the crops
    of the windows that are open, however long the clip.
    """
    starts = window_starts(len(seen), length)
    window = _cut(seen, starts, length, camera)
    crops: dict[int, UInt8[Tensor, "T 3 side side"]] = {}

    def take(rows: list[int]) -> tuple[list[int], CropWindow]:
        empty = torch.zeros(length, 3, side, side, dtype=torch.uint8)
        pictures = torch.stack([crops.pop(row, empty) for row in rows])
        chosen = window.map(lambda tensor: tensor[rows])
        return [starts[row] for row in rows], replace(chosen, images=pictures)

    done = 0
    for frame in images:
        position = frame.index - int(seen.frames[0])
        if not 0 <= position < len(seen):
            continue
        complete = bisect_right(starts, position - length)
        while complete - done >= WINDOWS_AT_ONCE:
            yield take(list(range(done, done + WINDOWS_AT_ONCE)))
            done += WINDOWS_AT_ONCE
        for row in range(complete, bisect_right(starts, position)):
            place = position - starts[row]
            center, size = window.box_center[row, place].numpy(), window.box_size[row, place]
            crop = crop_image(frame.image, center, float(size), side)
            if row not in crops:
                crops[row] = torch.zeros(length, 3, side, side, dtype=torch.uint8)
            crops[row][place] = torch.from_numpy(crop).permute(2, 0, 1)
    for first in range(done, len(starts), WINDOWS_AT_ONCE):
        yield take(list(range(first, min(first + WINDOWS_AT_ONCE, len(starts)))))


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
