"""Which frame of the video is meant by the numbers and names that files give."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tracked_clips import NUM_FRAMES

from temporal_hmr.errors import InputError
from temporal_hmr.given.frame_numbers import count_frames
from temporal_hmr.video import Clip, open_clip


class TestFrameNumbers:
    def count(self, clip: Clip, *keys: int | str, counts_from: int = 0) -> list[int]:
        return list(count_frames(Path("f"), keys, counts_from, clip).frames.values())

    def test_count_from_zero_or_one(self, clip) -> None:
        assert self.count(clip, 0, 3) == [0, 3]
        assert self.count(clip, 1, NUM_FRAMES) == [0, NUM_FRAMES - 1]
        assert self.count(clip, 2, 3) == [2, 3]
        assert self.count(clip, 2, 3, counts_from=1) == [1, 2]
        assert self.count(clip, 0, 3, counts_from=1) == [0, 3]

    def test_are_the_last_number_of_a_name(self, clip) -> None:
        assert self.count(clip, "0.jpg", "v2/cam7_000003.png", "walk_5_rendered") == [0, 3, 5]

    def test_names_of_images_win_over_numbers(self, tmp_path) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        image = np.zeros((8, 8, 3), np.uint8)
        for number in (107, 98):
            cv2.imwrite(str(folder / f"im{number}.png"), image)
        pictures = open_clip(folder)
        assert self.count(pictures, "im107.png", "im98.png") == [1, 0]
        assert self.count(pictures, "im107") == [1]

    def test_beyond_the_video_are_refused(self, clip) -> None:
        with pytest.raises(InputError, match=r"frame 6, and walk.mp4 has 6 \(0 to 5\)"):
            self.count(clip, 0, NUM_FRAMES)
        with pytest.raises(InputError, match="whose name ends in no number"):
            self.count(clip, "first.jpg")
        with pytest.raises(InputError, match="both would be frame 1"):
            self.count(clip, "a1.jpg", "b1.jpg")
