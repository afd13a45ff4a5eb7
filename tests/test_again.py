"""What was done already: corrections are not lost, pictures are drawn without looking again."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tracked_clips import DETECTOR, HEIGHT, WIDTH, FakeDetector, leave, make_clip

from temporal_hmr import cameras, edit, live
from temporal_hmr.command_line import plain_warnings, run_door
from temporal_hmr.editing.drawing import has_overlay
from temporal_hmr.editing.recovering import clip_of
from temporal_hmr.editing.result import open_result
from temporal_hmr.editing.steps import step_of
from temporal_hmr.errors import InputError
from temporal_hmr.output.folder import corrections, seen_from, tracked_video
from temporal_hmr.output.side_view import panel_width
from temporal_hmr.tracking import TrackSettings, track_video
from temporal_hmr.video import Frame, open_clip

PACKAGE = Path(edit.__file__).parent


@pytest.fixture
def two_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDetector, "num_people", 2)
    monkeypatch.setattr(DETECTOR, FakeDetector)


@pytest.fixture(scope="module")
def tracked(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `videos/walk.mp4`, where two people were found, and its results in `out`."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "videos").mkdir()
    make_clip(folder / "videos" / "walk.mp4", 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeDetector, "num_people", 2)
        patch.setattr(DETECTOR, FakeDetector)
        words = ("--weights", weights, "-o", folder / "out", "--no-render")
        assert leave(folder / "videos" / "walk.mp4", *words) == 0
    return folder


@pytest.fixture
def place(tracked: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(tracked, tmp_path / "place"))


def corrected(folder: Path, *words: object) -> int | str | None:
    """Exit status of the door `edit`."""
    with pytest.raises(SystemExit) as exit_:
        run_door(lambda: edit.main([str(folder), *map(str, words)]))
    return exit_.value.code


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class Blind:
    """A detector that must not be asked."""

    def __init__(self, *_: object) -> None:
        raise AssertionError("people are looked for again")


class TestCorrectionsStay:
    def test_a_corrected_result_is_not_tracked_over(self, place, weights, capsys) -> None:
        """Known defect: whoever was dropped was back, and nobody said so."""
        walk = place / "out" / "walk"
        assert corrected(walk, "--drop", 1) == 0
        assert corrected(walk, "--rename", "0=4") == 0
        before = contents(walk)
        words = (place / "videos" / "walk.mp4", "--weights", weights, "-o", place / "out")
        capsys.readouterr()
        assert leave(*words, "--no-render") == 0
        shown = capsys.readouterr().out
        assert "finished before and corrected since: say --again to track it anew\n" in shown
        assert leave(*words, "--no-render", "--focal", 200) == 2
        (said,) = capsys.readouterr().err.splitlines()
        repeated = f"python -m temporal_hmr.edit {walk} --drop 1 --rename 0=4"
        assert repeated in said and "--again" in said and "--output-dir" in said
        assert contents(walk) == before and not (walk / "work").exists()

    def test_nor_among_many_with_other_settings(self, place, weights, capsys) -> None:
        walk = place / "out" / "walk"
        assert corrected(walk, "--drop", 1) == 0
        before = contents(walk)
        words = (place / "videos", "--weights", weights, "-o", place / "out", "--no-render")
        assert leave(*words) == 0
        assert "1 person in 2 frames, finished before" in capsys.readouterr().out
        assert leave(*words, "--focal", 200) == 2
        assert "was corrected, which would be lost" in capsys.readouterr().err
        assert contents(walk) == before

    @pytest.mark.usefixtures("two_people")
    def test_unless_asked_for_and_then_it_says_how_to_repeat_them(
        self, place, weights, capsys
    ) -> None:
        walk = place / "out" / "walk"
        assert corrected(walk, "--drop", 1) == 0
        words = ("--weights", weights, "-o", place / "out", "--no-render", "--again")
        capsys.readouterr()
        assert leave(place / "videos" / "walk.mp4", *words) == 0
        shown = capsys.readouterr()
        assert "2 people in 2 frames" in shown.out
        assert f"warning: {walk} is as tracked" in shown.err
        assert f"temporal_hmr.edit {walk} --drop 1\n" in shown.err
        assert corrections(walk) == []

    @pytest.mark.usefixtures("two_people")
    def test_nor_by_who_calls_save(self, place, weights) -> None:
        """Known defect: the function lost what the door refuses to lose."""
        walk = place / "out" / "walk"
        assert corrected(walk, "--drop", 1) == 0
        before = contents(walk)
        result = track_video(place / "videos" / "walk.mp4", TrackSettings(weights=weights))
        with pytest.raises(InputError, match=r"corrected results, .*--drop 1.*overwrite=True"):
            result.save(walk)
        assert contents(walk) == before
        assert len(result.save(walk, overwrite=True)) == 2 and corrections(walk) == []

    def test_whom_to_believe_is_part_of_a_merge(self) -> None:
        assert step_of("merge", ("0", "2"), "first").text == "--merge 0 2 --prefer first"
        assert step_of("merge", ("0", "2")).text == "--merge 0 2"
        assert step_of("drop", ("1",), "first").text == "--drop 1"

    def test_what_a_damaged_summary_says_is_no_correction(self, tmp_path: Path) -> None:
        for text in ("", "[]", '{"edits": 3}', '{"edits": ["x"]}'):
            (tmp_path / "result.json").write_text(text)
            assert corrections(tmp_path) == []


class TestFinished:
    def test_one_video_alone_is_not_tracked_again_either(
        self, place, weights, monkeypatch, capsys
    ) -> None:
        """As one of many is not. Known defect: it was, for as long as the first time."""
        words = (place / "videos" / "walk.mp4", "--weights", weights, "-o", place / "out")
        walk, looked = place / "out" / "walk", DETECTOR
        before = contents(walk)
        with monkeypatch.context() as patch:
            patch.setattr(looked, Blind)
            capsys.readouterr()
            assert leave(*words, "--no-render") == 0
            shown = capsys.readouterr()
            told = f"{walk}: 2 people in 2 frames, finished before: say --again to track it anew\n"
            assert shown.out == told and shown.err == ""
            assert contents(walk) == before
            assert leave(*words, "--export", "obj") == 0, "what is missing is made"
            assert (walk / "overlay.mp4").exists() and (walk / "export" / "obj").exists()
            drawn = (walk / "overlay.mp4").read_bytes()
            # As a run leaves it that is killed while it draws.
            (walk / "overlay.mp4").rename(walk / ".overlay.abcd.mp4")
            (walk / "work").mkdir()
            assert leave(*words) == 0
            assert (walk / "overlay.mp4").read_bytes() == drawn
            assert not (walk / ".overlay.abcd.mp4").exists() and not (walk / "work").exists()
        monkeypatch.setattr(looked, FakeDetector)
        # What is in memory differs from the files by rounding.
        monkeypatch.setattr("temporal_hmr.tracked.TrackResult.render", None)
        assert leave(*words, "--again") == 0
        assert "1 person in 2 frames\n" in capsys.readouterr().out
        at_once = (walk / "overlay.mp4").read_bytes()
        (walk / "overlay.mp4").unlink()
        assert leave(*words) == 0
        assert (walk / "overlay.mp4").read_bytes() == at_once, "drawn with the rest, or later"

    def test_other_settings_or_a_lost_file_are_not_finished(
        self, place, weights, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr(DETECTOR, FakeDetector)
        words = (place / "videos" / "walk.mp4", "--weights", weights, "-o", place / "out")
        assert leave(*words, "--no-render", "--focal", 200) == 0
        (place / "out" / "walk" / "person_000.npz").unlink()
        assert leave(*words, "--no-render", "--focal", 200) == 0
        assert "finished before" not in capsys.readouterr().out


class TestDrawnLater:
    def test_side_view_of_what_is_finished(self, place, weights, monkeypatch, capsys) -> None:
        """Known defect: it was not drawn, and nothing said so."""
        monkeypatch.setattr(DETECTOR, Blind)
        walk = place / "out" / "walk"
        words = (place / "videos", "--weights", weights, "-o", place / "out")
        before = contents(walk)
        assert leave(*words) == 0
        assert open_clip(walk / "overlay.mp4").width == WIDTH
        assert leave(*words, "--side-view") == 0
        assert open_clip(walk / "overlay.mp4").width == WIDTH + panel_width(HEIGHT)
        assert "finished before" in capsys.readouterr().out
        drawn = (walk / "overlay.mp4").stat().st_mtime_ns
        assert leave(*words) == 0 and leave(*words, "--side-view") == 0
        assert (walk / "overlay.mp4").stat().st_mtime_ns == drawn
        assert contents(walk).items() >= before.items()

    def test_edit_draws_as_it_was_drawn_and_knows_where_the_video_is(
        self, place, monkeypatch, capsys
    ) -> None:
        monkeypatch.chdir(place)
        walk = Path("out", "walk")
        assert corrected(walk, "--render", "--side-view") == 0
        assert corrected(walk, "--drop", 1) == 0
        assert f"temporal_hmr.edit {walk} --render --side-view\n" in capsys.readouterr().out
        assert corrected(walk, "--render", "--side-view") == 0
        assert corrected(walk, "--rename", "0=3", "--render") == 0
        summary = json.loads((walk / "result.json").read_text())
        assert has_overlay(walk, summary, side_view=True)
        (place / "videos" / "walk.mp4").unlink()
        capsys.readouterr()
        assert corrected(walk, "--render") == 2
        assert "walk.mp4 is not where it was" in capsys.readouterr().err
        assert corrected(walk, "--list", "--side-view") == 2

    def test_an_overlay_that_cannot_be_read_is_none(self, tmp_path: Path) -> None:
        summary = {"image_size": [160, 120]}
        assert not has_overlay(tmp_path, summary, side_view=False)
        (tmp_path / "overlay.mp4").write_bytes(b"no video")
        assert has_overlay(tmp_path, summary, side_view=False)
        assert not has_overlay(tmp_path, summary, side_view=True)
        assert not has_overlay(tmp_path, {}, side_view=True)

    def test_pictures_are_those_that_the_bodies_were_found_in(self, place) -> None:
        """Without the distortion that was taken out. Known defect of drawing anew."""
        result = open_result(place / "out" / "walk")
        video = place / "videos" / "walk.mp4"
        (as_filmed, *_) = clip_of(result, video)
        lens = {"camera": {"distortion_taken_out": [0.2, 0.0, 0.0, 0.0]}}
        made = replace(result.provenance, settings=result.settings | lens)
        (straight, *_) = clip_of(replace(result, provenance=made), video)
        assert straight.image.shape == as_filmed.image.shape
        assert not np.array_equal(straight.image, as_filmed.image)


class TestWhereTheVideoIs:
    def test_it_is_found_again_from_anywhere(self, place, tmp_path, monkeypatch) -> None:
        """Known defect: only videos in or around the folder of results were found."""
        walk, video = place / "out" / "walk", place / "videos" / "walk.mp4"
        stated = json.loads((walk / "result.json").read_text())["source_path"]
        assert stated == "../../videos/walk.mp4"
        monkeypatch.chdir(tmp_path)
        assert tracked_video(walk) == video.resolve()
        assert corrected(walk, "--drop", 1, "-o", tmp_path / "elsewhere" / "deep" / "walk") == 0
        assert tracked_video(tmp_path / "elsewhere" / "deep" / "walk") == video.resolve()
        moved = Path(shutil.move(place, tmp_path / "moved"))
        assert tracked_video(moved / "out" / "walk") == (moved / "videos" / "walk.mp4").resolve()
        assert tracked_video(tmp_path / "elsewhere" / "deep" / "walk") is None

    @pytest.mark.parametrize("text", ["", "{}", '{"source_path": 7}', '{"source_path": ""}'])
    def test_or_is_unknown(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "result.json").write_text(text)
        assert tracked_video(tmp_path) is None

    def test_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "disk" / "out").mkdir(parents=True)
        (tmp_path / "home").symlink_to(tmp_path / "disk" / "out")
        assert seen_from(tmp_path / "home", tmp_path / "disk" / "a.mp4") == "../a.mp4"


class TestLive:
    def test_that_there_is_no_camera_is_told_before_anything_is_loaded(
        self, weights, monkeypatch, capsys
    ) -> None:
        """Known defect: model, body and detector were loaded first."""

        def none_there(number: int):
            raise InputError(f"camera {number} gives no picture")
            yield

        monkeypatch.setattr(cameras, "camera_frames", none_there)
        monkeypatch.setattr("temporal_hmr.tracking.check_settings", Blind)
        assert leave(0, "--weights", weights) == 2
        assert capsys.readouterr().err == "error: camera 0 gives no picture\n"

    def test_a_delay_without_room_is_told_before_a_camera_is_asked_for(
        self, weights, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr(cameras, "camera_frames", Blind)
        assert leave(0, "--weights", weights, "--delay", 400) == 2
        assert "the delay takes 0 to 2 frames here, not 400" in capsys.readouterr().err

    def test_bodies_may_be_late(self, weights, monkeypatch, capsys) -> None:
        monkeypatch.setattr(DETECTOR, FakeDetector)
        noise = np.random.default_rng(0).integers(0, 90, (8, HEIGHT, WIDTH, 3), np.uint8)
        frames = [Frame(at, at * 0.5, image) for at, image in enumerate(noise)]
        monkeypatch.setattr(cameras, "camera_frames", lambda number: iter(frames))
        monkeypatch.setattr(live, "window", lambda: None)
        assert leave(0, "--weights", weights, "--delay", 2, "--focal", 150) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines and all(1000 <= float(line.split()[-3]) < 1500 for line in lines)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((0, "--delay", 9), "the delay takes 0 to 2 frames here, not 9"),
            ((0, "--export", "glb"), "--export is for videos"),
            ((0, "--side-view"), "--side-view is for videos"),
            ((0, "--stride", 2), "--stride is for videos"),
            ((0, "--no-refine"), "--no-refine is for videos"),
            (("walk.mp4", "--delay", 2), "--delay is for a camera"),
        ],
        ids=lambda each: str(each[-2]) if isinstance(each, tuple) else "",
    )
    def test_what_does_nothing_is_refused(
        self, words, said: str, weights, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr(cameras, "camera_frames", lambda number: iter([None]))
        assert leave(*words, "--weights", weights) == 2
        assert said in capsys.readouterr().err


def test_doors_warn_in_the_words_of_doors(capsys) -> None:
    """Known defect: as `python -m` a door is called `__main__`, of which nothing is known."""
    for path in PACKAGE.glob("*.py"):
        text = path.read_text()
        assert 'if __name__ == "__main__"' not in text or "getLogger(__name__)" not in text, path
    with plain_warnings():
        logging.getLogger("temporal_hmr.track").warning("so")
    assert capsys.readouterr().err == "warning: so\n"
