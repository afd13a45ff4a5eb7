"""Folders of images: what the numbers in their names say is missing."""

from pathlib import Path

import numpy as np
import pytest
from picture_trees import write_picture

from temporal_hmr.errors import InputError
from temporal_hmr.image_numbers import image_series
from temporal_hmr.images import images_in
from temporal_hmr.video import open_clip


def folder_of(path: Path, names: list[str]) -> Path:
    for name in names:
        write_picture(path / name, 60, 40)
    return path


class TestHoles:
    def test_frames_behind_keep_their_times_and_a_warning_says_which(
        self, tmp_path, caplog
    ) -> None:
        names = [f"shot_{number:03d}.jpg" for number in range(95, 125) if number not in (99, 110)]
        clip = open_clip(folder_of(tmp_path / "seq", names), fps=10)
        frames = list(clip)
        assert [frame.time for frame in frames] == pytest.approx(np.arange(30) / 10)
        assert [frame.index for frame in frames if frame.damaged] == [4, 15]
        assert clip.damaged == (4, 15)
        assert [clip.frame_names()[place] for place in (4, 5)] == ["shot_099.jpg", "shot_100.jpg"]
        (record,) = caplog.records
        assert record.getMessage() == (
            "2 of 30 images in seq are missing: shot_099.jpg, shot_110.jpg; they count as unseen"
        )

    def test_beside_images_that_cannot_be_read(self, tmp_path, caplog) -> None:
        folder = folder_of(tmp_path / "seq", [f"{n}.jpg" for n in range(1, 31) if n != 9])
        (folder / "20.jpg").write_bytes(b"")
        list(open_clip(folder))
        assert "2 of 30 images in seq are missing or cannot be read: 9.jpg, 20.jpg;" in caplog.text

    def test_numbers_may_go_in_steps(self) -> None:
        files = [Path(f"cam2_{number}_left.png") for number in range(0, 200, 10) if number != 90]
        series = image_series(files)
        assert series.holes == {9} and series.files[9] == Path("cam2_90_left.png")
        assert series.present() == files
        assert image_series(files[:9]).holes == frozenset()

    def test_too_many_are_none_and_a_warning_says_which(self, tmp_path, caplog) -> None:
        clip = open_clip(folder_of(tmp_path / "f_gap", ["1.jpg", "2.jpg", "5.jpg", "10.jpg"]))
        assert clip.times == pytest.approx(np.arange(4) / 30)
        assert caplog.messages == [
            "f_gap has 4 images numbered 1 to 10, without 3 to 4, 6 to 9: they are taken as "
            "consecutive frames"
        ]

    def test_times_of_day_are_no_numbers_of_frames(self, caplog) -> None:
        files = [
            Path(f"seq/{1_699_999_900_123_456_789 + 33_341_007 * n + n % 2}.png") for n in range(9)
        ]
        assert image_series(files).files == tuple(files)
        assert "and 5 stretches more: they are taken as consecutive" in caplog.text

    @pytest.mark.parametrize(
        "names",
        [
            ["a.png", "b1.png", "b7.png"],
            ["1_1.png", "1_2.png", "2_1.png", "2_9.png"],
            ["1.png", "01.png", "7.png"],
            ["7.png"],
            [f"IMG_{n}.{suffix}" for n, suffix in enumerate(["jpg", "JPG", "jpeg", "png"])],
        ],
    )
    def test_names_that_say_nothing_warn_of_nothing(self, names, caplog) -> None:
        files = [Path(name) for name in names]
        series = image_series(files)
        assert (series.files, series.holes) == (tuple(files), frozenset())
        assert not caplog.records


def test_a_frame_and_its_mask_of_one_name_are_refused(tmp_path) -> None:
    folder = folder_of(tmp_path / "seq", ["1.jpg", "2.jpg"])
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"seq holds both 2\.jpg and 2\.png"):
        images_in(folder)
