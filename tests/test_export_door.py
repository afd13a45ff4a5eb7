"""The export door: what it writes where, what it replaces, and how it refuses."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from exported_people import toy_body
from interchange_files import dump, wham_contents
from numpy import arange, eye
from result_motions import make_motion

from temporal_hmr.checks import reading
from temporal_hmr.command_line import run_door
from temporal_hmr.export import main
from temporal_hmr.interchange.files import read_predictions
from temporal_hmr.interchange.folder import read_folder
from temporal_hmr.motion import BodyMotion, InWorld
from temporal_hmr.output import export
from temporal_hmr.output.export import ExportSettings, export_is_current, export_result
from temporal_hmr.output.folder import write_results
from temporal_hmr.output.formats import FORMATS
from temporal_hmr.output.npz import Provenance

ALL = {
    "people.glb",
    "bvh/person_000.bvh",
    "bvh/person_001.bvh",
    "amass/person_000_poses.npz",
    "amass/person_001_poses.npz",
    "obj/person_000/000007.obj",
    "obj/person_000/000010.obj",
    "obj/person_001/000007.obj",
    "obj/person_001/000010.obj",
    "wham_output.pkl",
    "vibe_output.pkl",
    "gvhmr/person_000/hmr4d_results.pt",
    "gvhmr/person_001/hmr4d_results.pt",
    "export.json",
}


def track(folder: Path, people: int, frames: int = 4, source: str = "ab" * 32) -> Path:
    """What tracking leaves."""
    return write([make_motion(frames, n) for n in range(people)], folder, source)


def write(motions: list[BodyMotion], folder: Path, source: str = "ab" * 32) -> Path:
    provenance = Provenance("walk.mp4", source, "open", "CC0", "w.safetensors", "cd" * 32, "0.0")
    write_results(folder, motions, {}, provenance)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of 60 vertices in the place of the open one, which others test."""
    monkeypatch.setattr(reading, "load_body", lambda *_, **__: toy_body("open"))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return track(tmp_path / "walk", people=2)


def status(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        run_door(lambda: main([str(word) for word in words]))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def below(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in files}


class TestWrites:
    def test_all_formats_of_everybody(self, result, capsys) -> None:
        assert status(result, "--to", *FORMATS, "--every", "3") == 0
        assert below(result / "export") == ALL
        shown = capsys.readouterr()
        named = {Path(line).relative_to(result / "export") for line in shown.out.split()}
        assert Path("people.glb") in named and Path("obj/person_000") in named
        assert "zero in amass, wham, vibe, gvhmr" in shown.err
        assert shown.err.count("no world") == 1
        assert "2 of 2 people have no world in bvh, amass, wham, gvhmr, glb, obj:" in shown.err

    def test_nothing_is_said_of_a_world_that_is_there(self, tmp_path, capsys) -> None:
        world = InWorld(make_motion(4).smpl, eye(4), {})
        result = write([replace(make_motion(4), world=world), make_motion(4, 1)], tmp_path / "walk")
        assert status(result / "person_000.npz", "--to", *FORMATS) == 0
        assert "no world" not in capsys.readouterr().err
        assert status(result, "--to", "vibe", "amass") == 0
        assert "1 of 2 people have no world in amass:" in capsys.readouterr().err

    def test_the_table_of_formats_is_whole(self) -> None:
        assert set(export._WRITERS) == set(FORMATS)

    def test_the_manifest_says_when_people_come(self, result) -> None:
        assert status(result, "--to", "bvh") == 0
        manifest = json.loads((result / "export" / "export.json").read_text())
        assert manifest["result"] == "walk"
        second = manifest["people"][1]
        assert second["name"] == "person_001" and second["first_frame"] == 7
        assert second["start_time"] == pytest.approx(7 / 29.97)

    def test_one_npz_goes_beside_it(self, result) -> None:
        assert status(result / "person_001.npz", "--to", "bvh", "--unit", "m") == 0
        assert below(result / "person_001_export") == {"bvh/person_001.bvh", "export.json"}

    def test_a_file_of_wham(self, tmp_path, capsys) -> None:
        path = dump(wham_contents({3: arange(4), 8: arange(2, 5)}), tmp_path / "wham_output.pkl")
        assert status(path, "--to", "glb", "bvh", "wham", "-o", tmp_path / "out") == 0
        assert {"people.glb", "bvh/person_001.bvh"} < below(tmp_path / "out")
        err = capsys.readouterr().err
        assert "30 is assumed (--fps)" in err and "open body of mean shape" in err
        again = read_predictions(tmp_path / "out" / "wham_output.pkl")
        assert again[0].smpl.betas.any(), "the betas are SMPL's and stay"


class TestReplaces:
    def test_formats_are_added_and_replaced(self, result) -> None:
        assert status(result, "--to", "obj", "glb") == 0
        assert status(result, "--to", "obj", "--every", "2") == 0
        objs = {name for name in below(result / "export") if name.startswith("obj/person_000")}
        assert objs == {"obj/person_000/000007.obj", "obj/person_000/000009.obj"}
        assert (result / "export" / "people.glb").is_file()

    def test_tracking_again_takes_exports_of_before_away(self, result) -> None:
        """Else the second person of yesterday would stand beside the one of today."""
        assert status(result, "--to", "bvh", "glb") == 0
        (result / "export" / "mine.txt").write_text("kept")
        track(result, people=1)
        assert below(result / "export") == {"mine.txt"}
        (result / "export" / "mine.txt").unlink()
        assert status(result, "--to", "bvh") == 0
        track(result, people=1)
        assert not (result / "export").exists()

    def test_what_no_export_wrote_is_not_overwritten(self, result, tmp_path, capsys) -> None:
        """The user's own result of WHAM, say, in the place given with -o."""
        mine = tmp_path / "out" / "wham_output.pkl"
        mine.parent.mkdir()
        mine.write_bytes(b"mine")
        assert status(result, "--to", "wham", "-o", mine.parent) == 2
        assert f"error: {mine} was not written by an export" in capsys.readouterr().err
        assert below(mine.parent) == {"wham_output.pkl"} and mine.read_bytes() == b"mine"

    def test_a_manifest_cannot_point_out_of_the_folder(self, result) -> None:
        assert status(result, "--to", "bvh") == 0
        path = result / "export" / "export.json"
        manifest = json.loads(path.read_text())
        outside = [str(result / "result.json"), "../person_000.npz"]
        path.write_text(json.dumps(manifest | {"files": {"bvh": outside}}))
        track(result, people=2)
        assert (result / "result.json").is_file() and (result / "person_000.npz").is_file()

    def test_whether_an_export_is_of_this_result(self, result) -> None:
        assert not export_is_current(result, ["bvh"])
        export_result(result, result / "export", ExportSettings(("bvh", "glb")))
        assert export_is_current(result, ["bvh", "glb"])
        assert not export_is_current(result, ["bvh", "obj"])
        (result / "export" / "people.glb").unlink()
        assert not export_is_current(result, ["glb"])
        (result / "result.json").write_text("{}")
        assert not export_is_current(result, ["bvh"])

    def test_evaluation_does_not_take_exports_for_results(self, result) -> None:
        """They are the same people once more."""
        before = read_folder(result.parent, ["walk"]).entries
        assert status(result, "--to", "wham", "amass", "gvhmr") == 0
        after = read_folder(result.parent, ["walk"]).entries
        assert [entry.path for entry in after] == [entry.path for entry in before]
        (given,) = read_folder(result / "export", ["wham"]).entries
        assert given.path.name == "wham_output.pkl"


class TestFails:
    def test_one_format_stops_none_of_the_others(self, tmp_path, capsys) -> None:
        """WHAM's files have no camera, which VIBE's ask for."""
        path = dump(wham_contents({3: arange(4)}), tmp_path / "wham_output.pkl")
        assert status(path, "--to", "vibe", "bvh", "-o", tmp_path / "out") == 2
        assert "error: vibe: person_000 has no camera" in capsys.readouterr().err
        assert below(tmp_path / "out") == {"bvh/person_000.bvh", "export.json"}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--to", "fbx"), "invalid choice: 'fbx'"),
            (("--format", "glb"), "say what to write: --to glb"),
            ((), "say what to write: --to glb bvh (--format is"),
            (("--to", "bvh", "--every", "0"), "'0' is not a positive whole number"),
            (("--to", "bvh", "--every", "2"), "--every does nothing without --to obj"),
            (("--to", "obj", "--unit", "m"), "--unit does nothing without --to bvh"),
            (("--to", "bvh", "--fps", "0"), "--fps takes a positive number"),
            (("--to", "bvh", "--formt", "wham"), "did you mean --format?"),
        ],
    )
    def test_words_that_make_no_sense(self, words, said, result, capsys) -> None:
        assert status(result, *words) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and err.startswith("error: ")
        assert not (result / "export").exists()

    def test_results_that_cannot_be_used(self, tmp_path, capsys) -> None:
        nobody = track(tmp_path / "nobody", people=0)
        for path, said in (
            (tmp_path / "absent", "check the path"),
            (tmp_path, "is no result: give a folder that track wrote"),
            (nobody, "has nobody in it"),
        ):
            assert status(path, "--to", "glb") == 2
            err = capsys.readouterr().err
            assert said in err and err.count("\n") == 1
        assert not (nobody / "export").exists()

    def test_a_place_that_cannot_be_written_to(self, result, tmp_path, capsys) -> None:
        (tmp_path / "file").write_text("")
        assert status(result, "--to", "obj", "-o", tmp_path / "file" / "out") == 2
        *_, error = capsys.readouterr().err.splitlines()
        assert error.startswith("error: ") and "cannot write to" in error

    def test_as_a_program(self, result) -> None:
        words = [sys.executable, "-m", "temporal_hmr", "export", str(result), "--to", "gbl"]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1
