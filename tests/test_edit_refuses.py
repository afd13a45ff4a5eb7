"""The edit door where it cannot go on: nothing is lost, and one line says why."""

# ruff: noqa: F401, F811 (fixtures are imported, and named again where tests ask for them)

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edited import (
    COUNT,
    EACH,
    arrays,
    bodies,
    contents,
    crowd,
    edit,
    embedded,
    made,
    result,
    weights,
)
from full_disk import limited_files

from temporal_hmr.editing.result import open_result
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.output import folder as folders
from temporal_hmr.output import former
from temporal_hmr.output.folder import write_results


class TestNothingIsLost:
    STEPS = ("--rename", "0=1", "1=0", "--drop", "2")

    @pytest.mark.parametrize("after", range(8))
    def test_what_breaks_off_the_exchange(self, after, result, monkeypatch) -> None:
        """Of 8 moves, 5 of the former files aside and 3 of new ones in, any may fail."""
        error = KeyboardInterrupt if after % 2 else OSError(28, "No space left on device")
        (result / "overlay.mp4").write_bytes(b"drawn")
        before = contents(result)
        failing_after(after, error, monkeypatch)
        status = edit(result, *self.STEPS)
        monkeypatch.undo()
        assert status == (130 if error is KeyboardInterrupt else 2)
        assert contents(result) == before

    @pytest.mark.parametrize("after", range(8))
    def test_what_is_killed_in_the_midst_comes_back(self, after, result, monkeypatch) -> None:
        (result / "overlay.mp4").write_bytes(b"drawn")
        before = contents(result)
        with monkeypatch.context() as killed:
            failing_after(after, KeyboardInterrupt, killed)
            # The dead clean nothing up.
            killed.setattr(former, "bring_back", lambda *_: False)
            killed.setattr(Path, "unlink", lambda *_, **__: None)
            assert edit(result, *self.STEPS) == 130
        assert contents(result) != before or after == 0
        people = [each.motion.person_id for each in open_result(result).people]
        assert people == [0, 1, 2]
        back = contents(result)
        assert {name: back[name] for name in before} == before and not (result / ".former").exists()

    def test_a_full_disk(self, result, capsys) -> None:
        before = contents(result)
        with limited_files(500):
            assert edit(result, *self.STEPS) == 2
        assert "cannot write" in capsys.readouterr().err
        assert contents(result) == before


def failing_after(moves: int, error, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves of files of the exchange fail, after so many that went well."""
    replace_file, done = os.replace, []

    class Moves:
        path = os.path

        @staticmethod
        def replace(source: Path, to: Path) -> None:
            if len(done) == moves:
                done.append(None)
                raise error
            done.append(None)
            replace_file(source, to)

        def __getattr__(self, name: str):
            return getattr(os, name)

    for module in (folders, former):
        monkeypatch.setattr(module, "os", Moves())


class TestRefuses:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "say what to correct"),
            (("--side-view",), "--side-view goes with --render"),
            (("--drop", "9"), "the people in this result are 0, 1, 2"),
            (("--merge", "0", "1"), "both seen from 0.00 to 0.12 s (frames 0 to 3), from 0.24"),
            (("--prefer", "surer", "--drop", "1"), "does nothing without --merge"),
            (("--list", "-o", "x"), "does nothing without a correction"),
            (("--split", "1@12.5"), "person 1 is seen from 0.00 to 0.44 s"),
            (("--split", "1@f5", "--weights", "absent"), "no weights at absent"),
            (("--split", "1@f5", "--body", "x.npz"), "leave --body out"),
            (("--drop", "1", "--render", "absent.mp4"), "there is no video at absent.mp4"),
            (("--drp", "1"), "did you mean --drop?"),
        ],
    )
    def test_words_that_make_no_sense(self, words, said, result, capsys) -> None:
        before = contents(result.parent)
        assert edit(result, *words) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and err.startswith("error: ")
        assert contents(result.parent) == before

    def test_a_folder_behind_the_numbers(self, result, capsys) -> None:
        assert edit("--drop", "1", result) == 2
        assert "name the result folder" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"weights_sha256": "cd" * 32}, "(SHA-256 cdcdcdcdcdcd): give those as --weights"),
            ({"body": "SMPL_NEUTRAL"}, "was made with the body SMPL_NEUTRAL: give it as --body"),
            ({"body_sha256": "ef" * 32}, "another body open (SHA-256 efefefefefef)"),
        ],
    )
    def test_bodies_that_were_made_otherwise(
        self, changed, said, crowd, made, tmp_path, capsys
    ) -> None:
        """They cannot be made anew, and can be renamed and dropped."""
        write_results(tmp_path / "walk", crowd, {}, replace(made, **changed))
        before = contents(tmp_path / "walk")
        assert edit(tmp_path / "walk", "--split", "1@f5") == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
        assert contents(tmp_path / "walk") == before
        assert edit(tmp_path / "walk", "--drop", "0", "--rename", "1=0") == 0

    def test_models_of_images_without_the_video(self, result, monkeypatch, capsys) -> None:
        monkeypatch.setattr(HmrConfig, "image_side", lambda _: 32)
        assert edit(result, "--split", "1@f5") == 2
        assert "tiny.safetensors look at images: give --video walk.mp4" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("result.json", "", "is damaged"),
            ("result.json", "[]", "no proper list of the people"),
            ("result.json", '{"people": 3}', "no proper list of the people"),
            ("result.json", '{"people": [{"file": "../x.npz"}]}', "no proper list of the people"),
            ("result.json", '{"people": []}', "result schema None"),
            ("result.json", '{"people": [], "schema_version": 1}', "how it was made"),
            (EACH[1], "", "damaged"),
            (EACH[1], None, "there is no file at"),
            ("result.json", None, "no folder that track wrote"),
            ("refined.json", "{}", "holds refined results"),
        ],
    )
    def test_folders_that_are_damaged_or_not_of_track(
        self, name, text, said, result, capsys
    ) -> None:
        if text is None:
            (result / name).unlink()
        else:
            (result / name).write_text(text)
        for words in (("--drop", "0"), ("--list",)):
            assert edit(result, *words) == 2
            err = capsys.readouterr().err
            assert said in err and err.count("\n") == 1

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("observed", np.zeros(COUNT, bool), "any frame in which the person was seen"),
            ("observed", np.ones(3, bool), "observed"),
            ("timestamps", np.zeros(COUNT), "times that do not increase"),
            ("timestamps", np.full(COUNT, np.nan), "not finite"),
            ("keypoints2d", np.full((COUNT, 23, 3), np.nan), "keypoints2d"),
            ("track_id", np.array(7), "of another person"),
            ("meta", np.array("{}"), "damaged"),
            ("confidence", np.zeros(2), "'confidence' of shape"),
        ],
    )
    def test_people_that_are_damaged(self, key, value, said, result, capsys) -> None:
        np.savez(result / EACH[1], **arrays(result / EACH[1]) | {key: value})
        assert edit(result, "--drop", "0") == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1

    def test_somebody_of_another_result(self, result, crowd, made, tmp_path, capsys) -> None:
        write_results(tmp_path / "other", crowd, {}, replace(made, weights="other.safetensors"))
        (tmp_path / "other" / EACH[1]).replace(result / EACH[1])
        assert edit(result, "--drop", "0") == 2
        assert "was not made together with result.json" in capsys.readouterr().err

    def test_a_merge_over_a_cut_is_told(self, crowd, made, tmp_path, capsys) -> None:
        write_results(tmp_path / "walk", crowd, {"cuts": [13]}, made)
        assert edit(tmp_path / "walk", "--merge", "1", "2") == 0
        err = capsys.readouterr().err
        assert "warning: person 1 goes on over the cut at 0.52 s (frame 13)" in err
