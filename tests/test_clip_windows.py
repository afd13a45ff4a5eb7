"""Windows of a track, and the images that pass by while they are cut."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import (
    WINDOWS_AT_ONCE,
    fill_frames,
    window_starts,
    windows,
    windows_with_images,
)
from temporal_hmr.crops import crop_image
from temporal_hmr.motion import Track
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame

CAMERA = Camera.with_assumed_focal(64, 48)
SIDE = 8


def a_track(frames: list[int]) -> Track:
    generator = np.random.default_rng(0)
    points = generator.uniform(5, 40, (1, 23, 2)) + np.array(frames)[:, None, None] * 0.1
    keypoints = np.concatenate([points, np.full((len(frames), 23, 1), 0.9)], -1)
    boxes = np.concatenate([points.min(1), points.max(1)], -1)
    return Track(0, np.array(frames), np.array(frames) / 25, boxes, keypoints.astype("f4"), COCO23)


def picture(index: int) -> Frame:
    generator = np.random.default_rng(index)
    return Frame(index, index / 25, generator.integers(0, 255, (48, 64, 3), np.uint8))


@pytest.mark.parametrize("count", [1, 5, 8, 9, 30, 90])
def test_every_window_has_the_images_of_its_boxes(count: int) -> None:
    """Against cutting every crop by itself; the clip goes on before and after the person."""
    first, length = 3, 8
    seen = fill_frames(a_track(list(range(first, first + count))))
    video = [picture(index) for index in range(first + count + 4)]
    found = list(windows_with_images(seen, length, CAMERA, SIDE, video))
    assert [start for starts, _ in found for start in starts] == window_starts(count, length)
    plain = list(windows(seen, length, CAMERA))
    for (starts, window), (_, without) in zip(found, plain, strict=True):
        assert torch.equal(window.keypoints, without.keypoints)
        assert window.images is not None
        for row, start in enumerate(starts):
            for place in range(length):
                crop = window.images[row, place].permute(1, 2, 0).numpy()
                if start + place >= count:
                    assert not crop.any(), "padding"
                    continue
                center, size = window.box_center[row, place], window.box_size[row, place]
                image = video[first + start + place].image
                assert np.array_equal(crop, crop_image(image, center.numpy(), float(size), SIDE))


def test_images_that_are_missing_stay_black() -> None:
    seen = fill_frames(a_track(list(range(10))))
    video = [picture(index) for index in range(10) if index != 4]
    (_, window), *_ = windows_with_images(seen, 8, CAMERA, SIDE, video)
    assert window.images is not None
    assert not window.images[0, 4].any()
    assert window.images[0, 5].any()


def test_windows_are_handed_over_while_the_clip_goes_on() -> None:
    """Memory holds a few windows: of a long clip, most have gone before its end is read."""
    count, read = 400, []

    def video() -> Iterator[Frame]:
        for index in range(count):
            read.append(index)
            yield picture(index)

    seen = fill_frames(a_track(list(range(count))))
    for starts, _ in windows_with_images(seen, 8, CAMERA, SIDE, video()):
        assert len(starts) <= WINDOWS_AT_ONCE
        assert read[-1] <= starts[-1] + 8 + 4 * WINDOWS_AT_ONCE
