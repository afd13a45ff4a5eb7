"""Exports made by the track door: after the npz files, before the overlay, losing nothing."""

from argparse import Namespace
from pathlib import Path

import pytest
from exported_people import toy_body
from result_motions import PROVENANCE, make_motion

from temporal_hmr import track, tracking
from temporal_hmr.checks import reading
from temporal_hmr.editing import drawing
from temporal_hmr.errors import InputError
from temporal_hmr.output import export
from temporal_hmr.output.folder import write_results


class FakeResult:
    """As tracking gives it, of two people or of none."""

    no_world = None

    def __init__(self, people: int = 2) -> None:
        self.motions = [make_motion(3, number) for number in range(people)]
        self.there_before_overlay: list[str] = []

    def save(self, folder: Path, overwrite: bool = False) -> list[Path]:
        return write_results(folder, self.motions, {}, PROVENANCE)

    def draw(self, folder: Path, *_: object) -> None:
        self.there_before_overlay = files_below(folder)
        (folder / "overlay.mp4").write_bytes(b"")

    def __len__(self) -> int:
        return 3


class Job:
    """Of which nothing is asked but what to hand on to who draws."""

    body = progress = None

    def pictures(self) -> None:
        pass


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> FakeResult:
    found = FakeResult()
    monkeypatch.setattr(tracking, "run_job", lambda *_: found)
    monkeypatch.setattr(drawing, "draw_overlay", found.draw)
    monkeypatch.setattr(reading, "load_body", lambda *_, **__: toy_body())
    return found


def options(*formats: str) -> Namespace:
    shown = {"no_render": False, "side_view": False}
    return Namespace(export=list(formats), body=None, keep_work=False, **shown)


def test_after_the_npz_files_and_before_the_overlay(result, tmp_path) -> None:
    track._track(Job(), tmp_path, options("bvh", "glb"))  # type: ignore[arg-type]
    assert result.there_before_overlay == [
        "export/bvh/person_000.bvh",
        "export/bvh/person_001.bvh",
        "export/export.json",
        "export/people.glb",
        "person_000.npz",
        "person_001.npz",
        "result.json",
    ]


def test_a_failure_is_told_in_the_end_and_loses_nothing(result, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("no room")

    monkeypatch.setitem(export._WRITERS, "obj", refuse)
    with pytest.raises(InputError, match="has everything but an export: obj: no room"):
        track._track(Job(), tmp_path, options("obj", "bvh"))  # type: ignore[arg-type]
    there = files_below(tmp_path)
    assert {"person_001.npz", "overlay.mp4", "export/bvh/person_001.bvh"} <= set(there)


def test_nobody_found_is_nothing_to_export(result, tmp_path) -> None:
    result.motions = []
    track._track(Job(), tmp_path, options("glb"))  # type: ignore[arg-type]
    assert files_below(tmp_path) == ["result.json"]


def test_results_of_before_are_exported_if_they_are_not_yet(result, tmp_path) -> None:
    track._track(Job(), tmp_path, options())  # type: ignore[arg-type]
    track._complete(None, tmp_path, {}, options("glb"))  # type: ignore[arg-type]
    made = tmp_path / "export" / "people.glb"
    written = made.stat().st_mtime_ns
    track._complete(None, tmp_path, {}, options("glb"))  # type: ignore[arg-type]
    assert made.stat().st_mtime_ns == written, "and not twice"


def test_an_unknown_format_is_refused_before_anything_is_done(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        track.main(["walk.mp4", "--export", "fbx"])
    assert ended.value.code == 2
    assert "invalid choice: 'fbx'" in capsys.readouterr().err
