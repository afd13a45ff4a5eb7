"""Where body files are looked for."""

import pickle
from pathlib import Path

import pytest

from temporal_hmr.diagnosis.file_kinds import search, usual_places


class TestSearch:
    def test_bodies_by_content_or_name_not_deeper_than_stated(self, tmp_path: Path) -> None:
        deep = tmp_path / "a" / "b" / "c" / "d"
        (deep / "e").mkdir(parents=True)
        hidden = tmp_path / ".cache"
        hidden.mkdir()
        plain = pickle.dumps({"v_template": 0})
        for place in (deep, deep / "e", hidden):
            (place / "m.pkl").write_bytes(plain)
        (tmp_path / "mano_right.pkl").write_bytes(b"")
        (tmp_path / "notes.txt").write_bytes(plain)
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"pose": 1}))
        found = search([tmp_path])
        assert set(found.files) == {tmp_path / "mano_right.pkl", deep / "m.pkl"}
        assert found.others == 1 and not found.cut_off

    def test_a_file_named_itself_is_looked_at_whatever_it_is_called(self, tmp_path: Path) -> None:
        (tmp_path / "x.bin").write_bytes(b"\x80")
        assert search([tmp_path / "x.bin"]).files == (tmp_path / "x.bin",)

    def test_usual_places_are_those_that_exist(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("SMPL_DIR", str(tmp_path / "licensed"))
        assert usual_places() == []
        for name in ("body_models", "licensed", "home/body_models"):
            (tmp_path / name).mkdir(parents=True)
        assert usual_places() == [
            tmp_path / "licensed",
            Path("body_models"),
            tmp_path / "home" / "body_models",
        ]
