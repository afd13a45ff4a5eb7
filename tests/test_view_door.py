"""The view door: where it finds the video, what it says, and the status it leaves with."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from viewer_results import CAMERA, COUNT, FPS, frames_of_video, image_folder, two_walkers

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.command_line import run_door
from temporal_hmr.output.encoding import write_video
from temporal_hmr.view import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


@pytest.fixture
def _loaded_once(body: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporal_hmr.checks.reading.load_body", lambda *_, **__: body)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "walk")


@pytest.fixture
def folder(tmp_path: Path, body: BodyModel, video: Path) -> Path:
    return two_walkers(tmp_path / "outputs" / "walk", body, "walk", video)


def status(*words: str | Path) -> int:
    """What the process leaves with."""
    with pytest.raises(SystemExit) as ended:
        run_door(lambda: main([str(word) for word in words]))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.usefixtures("_loaded_once")
class TestVideo:
    def test_is_found_near_the_result(self, folder: Path, capsys: pytest.CaptureFixture) -> None:
        assert status(folder) == 0
        shown = capsys.readouterr()
        assert shown.out.startswith(f"{folder / 'view.html'}: 2 people in {COUNT} frames, ")
        assert shown.err == ""
        assert '"pictures":{"width":160' in (folder / "view.html").read_text(encoding="utf-8")

    def test_another_of_the_same_name_is_not_taken(
        self, folder: Path, video: Path, capsys: pytest.CaptureFixture
    ) -> None:
        (video / "000.png").unlink()
        assert status(folder) == 0
        shown = capsys.readouterr()
        assert shown.err == "warning: walk was not found: the page has no video; give --video\n"
        assert "The video walk was not found (--video) when this page was made." in shown.out
        assert '"pictures":null' in (folder / "view.html").read_text(encoding="utf-8")

    def test_the_overlay_stands_in(
        self, folder: Path, video: Path, capsys: pytest.CaptureFixture
    ) -> None:
        video.rename(video.with_name("elsewhere"))
        write_video(iter(frames_of_video()), FPS, folder / "overlay.mp4")
        assert status(folder) == 0
        assert "overlay.mp4 stands in, bodies drawn in" in capsys.readouterr().out

    def test_a_given_one_is_taken_and_compared(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        other = image_folder(tmp_path / "other", COUNT + 1)
        assert status(folder, "--video", other, "-o", tmp_path / "page.html") == 0
        assert "other is not the very file that was tracked" in capsys.readouterr().err
        assert (tmp_path / "page.html").is_file() and not (folder / "view.html").exists()

    def test_it_may_be_left_out(self, folder: Path, capsys: pytest.CaptureFixture) -> None:
        assert status(folder / "person_003.npz", "--no-video") == 0
        assert capsys.readouterr().out.startswith(f"{folder / 'person_003_view.html'}: 1 person")


@pytest.mark.usefixtures("_loaded_once")
class TestErrors:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["nowhere"], "there is no file at nowhere"),
            (["FOLDER", "--video", "nowhere.mp4"], "there is no video at nowhere.mp4"),
            (["FOLDER", "--video", "x", "--no-video"], "give --video or --no-video, not both"),
            (["FOLDER", "--start", "9"], "no frame of"),
            (["FOLDER", "--megabytes", "0"], "--megabytes takes a positive number, not 0"),
            (["FOLDER", "--megabytes", "0.01"], "--megabytes 0.01 is too little"),
            (["FOLDER", "-o", "no/page.html"], "there is no folder no: make it"),
            (["FOLDER", "-o", "FOLDER"], "is a folder: give --output the name of a file in it"),
            (["FOLDER", "--vidio", "x"], "unknown option --vidio; did you mean --video?"),
            ([], "the following arguments are required: RESULT"),
        ],
    )
    def test_one_line_and_status_2(
        self, folder: Path, words: list[str], line: str, capsys: pytest.CaptureFixture
    ) -> None:
        assert status(*(folder if word == "FOLDER" else word for word in words)) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
        assert line in shown.err
        assert not (folder / "view.html").exists()

    def test_a_body_that_is_not_there(
        self, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("temporal_hmr.checks.reading.load_body", load_body)
        assert status(folder, "--body", "nowhere.pkl") == 2
        assert capsys.readouterr().err.startswith("error: nowhere.pkl does not exist;")

    def test_a_video_of_another_shape(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        other = tmp_path / "wide.mp4"
        write_video((image[:60] for image in frames_of_video()), FPS, other)
        assert status(folder, "--video", other) == 2
        told = capsys.readouterr().err
        assert f"is 160 x 60, but the video that was tracked is {CAMERA.width} x" in told

    def test_a_folder_without_people(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        assert status(tmp_path) == 2
        assert "is no result: give a folder that track wrote" in capsys.readouterr().err


def test_help_comes_at_once_and_imports_nothing_heavy() -> None:
    words = [sys.executable, "-m", "temporal_hmr", "view", "--help"]
    run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "opens offline in any browser" in " ".join(run.stdout.split())
    code = "import sys, temporal_hmr.view; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.strip() == "False"
