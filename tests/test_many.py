"""Many videos in one command: what stops and what does not, what is told and what is kept."""

import json
import logging
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from result_motions import PROVENANCE, make_motion
from tracked_clips import leave, make_clip

from temporal_hmr import track, tracking
from temporal_hmr.errors import InputError
from temporal_hmr.many.attempts import Attempt, Cluster, attempts
from temporal_hmr.many.run import Tracked
from temporal_hmr.output.folder import finished_results, write_results
from temporal_hmr.output.npz import Provenance


def summary_in(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


class FakeTracking:
    """Finds two people in five frames, unless the name of the source asks for something else."""

    def __init__(self) -> None:
        self.tracked: list[Path] = []

    def __call__(self, options: Namespace, source: Path) -> Tracked:
        self.tracked.append(source)
        if source.stem == "bad":
            raise InputError(f"{source} cannot be\nread: copy it again")
        if source.stem == "nobody":
            raise InputError("there is no person 7")
        if source.stem == "odd":
            raise ZeroDivisionError("division\nby zero")
        if source.stem == "stop":
            raise KeyboardInterrupt("the folder has everything but the overlay")
        skipped = source.stem == "old"
        return Tracked(options.output_dir / source.stem, people=2, frames=5, skipped=skipped)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTracking:
    """Stands in for all the work on one video; the working folder is empty."""
    fake = FakeTracking()
    monkeypatch.setattr(track, "track_one_of_many", fake)
    monkeypatch.setattr(tracking, "check_settings", lambda settings: None)
    monkeypatch.chdir(tmp_path)
    return fake


class TestRun:
    def test_all_done_in_their_order(self, fake, tmp_path, capsys) -> None:
        assert leave("b.mp4", "a.mp4", "b.mp4", "old.mp4") == 0
        assert fake.tracked == [Path("b.mp4"), Path("a.mp4"), Path("old.mp4")]
        shown = capsys.readouterr()
        assert shown.out.splitlines() == [
            "1 of 3: outputs/b: 2 people in 5 frames",
            "2 of 3: outputs/a: 2 people in 5 frames",
            "3 of 3: outputs/old: 2 people in 5 frames, finished before",
            "3 videos: 2 done, 1 skipped because finished before, 0 failed; outputs/summary.json",
        ]
        assert shown.err == "warning: named more than once, taken once: b.mp4\n"

    def test_a_failure_stops_no_other_and_the_summary_tells(self, fake, tmp_path, capsys) -> None:
        words = ("a.mp4", "bad.mp4", "odd.mp4", "nobody.mp4", "old.mp4", "-o", tmp_path / "out")
        assert leave(*words) == 2
        assert len(fake.tracked) == 5
        shown = capsys.readouterr()
        *told, last = shown.err.splitlines()
        assert told[0] == "error: 2 of 5: bad.mp4 cannot be read: copy it again"
        unexpected = "unexpected ZeroDivisionError: division by zero (test_many.py, line "
        assert told[1].startswith(f"error: 3 of 5: odd.mp4: {unexpected}")
        assert told[2:] == ["error: 4 of 5: nobody.mp4: there is no person 7"]
        assert last == f"error: 3 of 5 videos failed; {tmp_path}/out/summary.json says why"
        assert "1 done, 1 skipped because finished before, 3 failed" in shown.out
        summary = summary_in(tmp_path / "out")
        sources = summary.pop("sources")
        assert summary == {"done": 1, "skipped": 1, "failed": 3, "not_reached": 0}
        assert [(source["path"], source["status"]) for source in sources] == [
            ("a.mp4", "done"),
            ("bad.mp4", "failed"),
            ("odd.mp4", "failed"),
            ("nobody.mp4", "failed"),
            ("old.mp4", "skipped"),
        ]
        assert sources[0].pop("seconds") >= 0
        kept = {"path": "a.mp4", "status": "done", "error": None, "people": 2, "frames": 5}
        assert sources[0] == kept
        assert sources[2]["error"].startswith(unexpected) and sources[2]["people"] is None

    def test_ctrl_c_stops_all_and_keeps_what_is_finished(self, fake, tmp_path, capsys) -> None:
        assert leave("a.mp4", "bad.mp4", "stop.mp4", "b.mp4") == 130
        assert [path.stem for path in fake.tracked] == ["a", "bad", "stop"]
        said = "1 of 4 videos finished in outputs; the same command does the others"
        assert capsys.readouterr().err.endswith(f"interrupted: {said}\n")
        summary = summary_in(Path("outputs"))
        assert [source["status"] for source in summary["sources"]] == ["done", "failed"]
        assert summary["not_reached"] == 2

    def test_two_of_one_name_are_refused_before_anything(self, fake, tmp_path, capsys) -> None:
        assert leave("a.mp4", "x/walk.mp4", "y/walk.avi") == 2
        said = capsys.readouterr().err
        assert "x/walk.mp4 and of y/walk.avi would both go to outputs/walk: rename one" in said
        assert fake.tracked == [] and list(tmp_path.iterdir()) == []

    def test_what_no_source_can_use_is_refused_once(
        self, fake, tmp_path, monkeypatch, capsys
    ) -> None:
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        assert leave("a.mp4", "b.mp4", "--weights", "none.safetensors", "--no-render") == 2
        said = "error: no weights at none.safetensors; give --weights a .safetensors file\n"
        assert capsys.readouterr().err == said
        assert list(tmp_path.iterdir()) == []

    def test_sources_stand_on_both_sides_of_an_option(self, fake, capsys) -> None:
        assert leave("a.mp4", "--focal", "300", "b.mp4", "-o", "out", "c.mp4") == 0
        assert [path.stem for path in fake.tracked] == ["a", "b", "c"]
        assert leave("a.mp4", "--agian", "b.mp4") == 2
        assert "unknown option --agian; did you mean --again?" in capsys.readouterr().err

    def test_a_list_of_one_is_still_many(self, fake, tmp_path) -> None:
        Path("list.txt").write_text("clips/a.mp4\n")
        assert leave("list.txt") == 0
        assert fake.tracked == [Path("clips/a.mp4")]
        assert summary_in(Path("outputs"))["done"] == 1

    def test_a_place_that_cannot_be_written_to(self, fake, tmp_path, capsys) -> None:
        Path("file").touch()
        assert leave("a.mp4", "b.mp4", "-o", "file/out") == 2
        assert (
            "error: cannot write file/out/summary.json: Not a directory" in capsys.readouterr().err
        )


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.mp4", "--ray-cpus", "2"], "do nothing without --ray"),
        (["a.mp4", "--ray", "local", "--ray-cpus", "0"], "--ray-cpus takes a whole number"),
        (["a.mp4", "--ray", "local", "--ray-gpus", "1.5"], "--ray-gpus takes a share"),
        (["a.mp4", "--ray", "local", "--ray-gpus", "nan"], "--ray-gpus takes a share"),
        (["a.mp4", "--ray", "local", "--device", "cuda"], "needs --ray-gpus above 0"),
        (["a.mp4", "--ray", "local"], "`pip install 'ray>=2.9'` (the extra [ray] of"),
    ],
)
def test_ray_options_are_refused_in_one_line(words, said, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    words = words if "--ray" in words else [*words, "b.mp4"]
    assert leave(*words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert said in shown.err
    assert list(tmp_path.iterdir()) == []


class FakeRay(SimpleNamespace):
    """As much of Ray as is used: tasks run when they are waited for, the last one first."""

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        pass

    def __init__(self) -> None:
        self.exceptions = SimpleNamespace(RayError=self.RayError, RayTaskError=self.RayTaskError)
        self.calls: list[tuple] = []

    def init(self, address: str, **_: object) -> None:
        self.calls.append(("init", address))

    def nodes(self) -> list[dict]:
        return [{"Alive": True, "Resources": {"CPU": 4.0}}]

    def remote(self, **resources: object) -> Callable:
        self.calls.append(("resources", resources))
        return lambda function: SimpleNamespace(remote=lambda *given: (function, *given))

    def wait(self, references: list, num_returns: int = 1, timeout: float | None = None) -> tuple:
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: tuple) -> object:
        function, job, source = reference
        if source.stem == "dies":
            raise self.RayError("The worker died.\nMuch more of this")
        if source.stem == "elsewhere":
            raise self.RayTaskError("ray::job()\n  File ...\nModuleNotFoundError: no temporal_hmr")
        return function(job, source)

    def cancel(self, reference: tuple) -> None:
        self.calls.append(("cancel", reference[-1].stem))

    def shutdown(self) -> None:
        self.calls.append(("shutdown",))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return ray


class TestRayTasks:
    def test_all_are_told_as_they_end_and_written_in_their_order(
        self, fake, ray, tmp_path, capsys
    ) -> None:
        words = ("a.mp4", "bad.mp4", "dies.mp4", "elsewhere.mp4", "b.mp4")
        assert leave(*words, "--ray", "auto", "--ray-cpus", "2") == 2
        resources = {"num_cpus": 2, "num_gpus": 0, "max_retries": 0}
        assert ray.calls == [("init", "auto"), ("resources", resources), ("shutdown",)]
        # Workers stand elsewhere.
        assert fake.tracked == [tmp_path / name for name in ("b.mp4", "bad.mp4", "a.mp4")]
        assert f"1 of 5: {tmp_path}/outputs/b: 2 people in 5 frames" in capsys.readouterr().out
        sources = summary_in(Path("outputs"))["sources"]
        assert [source["path"] for source in sources] == list(words)
        assert [source["error"] for source in sources] == [
            None,
            f"{tmp_path}/bad.mp4 cannot be read: copy it again",
            "its Ray worker failed: The worker died.",
            "its Ray worker failed: ModuleNotFoundError: no temporal_hmr",
            None,
        ]
        assert sources[2]["seconds"] is None

    def test_ctrl_c_stops_those_at_work(self, fake, ray, capsys) -> None:
        assert leave("a.mp4", "stop.mp4", "b.mp4", "--ray", "auto") == 130
        assert ray.calls[2:] == [("cancel", "a"), ("cancel", "stop"), ("shutdown",)]
        assert "interrupted: 1 of 3 videos finished in outputs" in capsys.readouterr().err

    def test_one_source_may_go_there_as_well(self, fake, ray) -> None:
        assert leave("a.mp4", "--ray", "auto") == 0
        assert summary_in(Path("outputs"))["done"] == 1

    def test_what_is_logged_there_is_told_here(self, ray, caplog) -> None:
        def job(item: Path) -> str:
            logging.getLogger("temporal_hmr.tracking").warning("nobody was found in %s", item)
            return item.stem

        ((place, attempt),) = attempts(job, [Path("a.mp4")], Cluster("auto"))
        assert (place, attempt.result) == (0, "a")
        assert attempt.warnings == ("nobody was found in a.mp4",)
        assert caplog.records[-1].name == "temporal_hmr.many.attempts"

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("nonsense", "auto, local, host:port or ray://host:port, not 'nonsense'"),
            ("localhost:seven", "not 'localhost:seven'"),
            ("ray://127.0.0.1:PORT", "nothing answers there"),
            ("127.0.0.1:PORT", "nothing answers there"),
            ("127.0.0.1:99999", "nothing answers there"),
        ],
    )
    def test_a_wrong_address_is_one_line_at_once(self, address, said, fake, ray, capsys) -> None:
        with socket.socket() as unheard:  # bound, so that nobody else listens there
            unheard.bind(("127.0.0.1", 0))
            address = address.replace("PORT", str(unheard.getsockname()[1]))
            assert leave("a.mp4", "b.mp4", "--ray", address) == 2
        shown = capsys.readouterr().err
        assert said in shown and shown.count("\n") == 1
        assert ray.calls == [] and fake.tracked == []

    def test_what_ray_says_against_it_is_one_line(self, fake, ray, capsys) -> None:
        def init(*_: object, **__: object) -> None:
            raise ConnectionError("Could not find any\nrunning Ray instance. Please specify one.")

        ray.init = init
        assert leave("a.mp4", "b.mp4", "--ray", "auto") == 2
        said = "error: --ray auto: Could not find any running Ray instance; give local, or the"
        assert capsys.readouterr().err.startswith(said)

    def test_more_than_any_machine_has(self, fake, ray, capsys) -> None:
        """Ray would wait for it without end; a cluster may grow, a local one cannot."""
        assert leave("a.mp4", "--ray", "local", "--ray-cpus", "5") == 2
        assert "offers 5 CPU and 0 GPU: ask for less" in capsys.readouterr().err
        assert fake.tracked == [] and ray.calls[-1] == ("shutdown",)
        assert leave("a.mp4", "--ray", "auto", "--ray-gpus", "0.5") == 0
        assert "offers 1 CPU and 0.5 GPU now: waiting" in capsys.readouterr().err


def test_the_real_ray() -> None:
    pytest.importorskip("ray")

    def job(item: str) -> int:
        if item == "dies":
            os._exit(3)
        if item == "bad":
            raise InputError("it is bad")
        return len(item)

    ended = dict(attempts(job, ["four", "dies", "bad", "seven"], Cluster("local")))
    assert [ended[place].result for place in range(4)] == [4, None, None, 5]
    assert ended[2].error == "it is bad"
    assert ended[1].error is not None and "The worker died unexpectedly" in ended[1].error
    assert all(isinstance(attempt, Attempt) for attempt in ended.values())


class TestFinishedResults:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_results(tmp_path / "walk", [make_motion()], {"num_frames": 5}, PROVENANCE)
        return tmp_path / "walk"

    def test_are_whole(self, folder: Path) -> None:
        found = finished_results(folder, PROVENANCE)
        assert found is not None
        assert (len(found["people"]), found["num_frames"]) == (1, 5)
        (folder / "person_000.npz").unlink()
        assert finished_results(folder, PROVENANCE) is None

    def test_of_nobody_are_results_too(self, tmp_path: Path) -> None:
        write_results(tmp_path / "empty", [], {}, PROVENANCE)
        assert finished_results(tmp_path / "empty", PROVENANCE) is not None
        assert finished_results(tmp_path / "absent", PROVENANCE) is None

    @pytest.mark.parametrize("field", [field.name for field in fields(Provenance)])
    def test_were_made_in_just_this_way(self, field: str, folder: Path) -> None:
        value = {"focal": 200.0} if field == "settings" else "other"
        assert finished_results(folder, replace(PROVENANCE, **{field: value})) is None

    def test_of_versions_that_noted_less_do_not_count(self, folder: Path) -> None:
        summary = json.loads((folder / "result.json").read_text())
        del summary["settings"]
        (folder / "result.json").write_text(json.dumps(summary))
        assert finished_results(folder, PROVENANCE) is None


@pytest.mark.usefixtures("detector")
def test_from_end_to_end_and_again(weights, tmp_path, capsys) -> None:
    """A video of a list, and a missing one; then the same command, other settings, and anew."""
    make_clip(tmp_path / "walk.mp4", 2)
    (tmp_path / "list.txt").write_text("absent.mp4\nwalk.mp4\n")
    out = tmp_path / "out"
    person = out / "walk" / "person_000.npz"
    settings = ("--weights", weights, "-o", out, "--no-render")

    def status(*more: str) -> str:
        assert leave(tmp_path / "list.txt", *settings, *more) == 2
        absent = tmp_path / "absent.mp4"
        said = f"error: 1 of 2: there is no video at {absent}: check the path\n"
        assert said in capsys.readouterr().err
        missing, walk = summary_in(out)["sources"]
        assert (missing["path"], missing["status"]) == (str(absent), "failed")
        assert (walk["people"], walk["frames"]) == (1, 2)
        return walk["status"]

    assert status() == "done"
    written = person.stat().st_mtime_ns
    assert status() == "skipped"
    assert person.stat().st_mtime_ns == written
    assert status("--focal", "200") == "done"
    assert status("--focal", "200", "--again") == "done"
    # Alone, a video is treated alike, and nothing is summed up.
    (out / "summary.json").unlink()
    written = person.stat().st_mtime_ns
    assert leave(tmp_path / "walk.mp4", *settings, "--focal", "200") == 0
    assert "finished before: say --again" in capsys.readouterr().out
    assert person.stat().st_mtime_ns == written
    assert leave(tmp_path / "walk.mp4", *settings, "--focal", "200", "--again") == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out}/walk: 1 person in 2 frames\n"
    stages = [line.split(":")[0] for line in shown.err.splitlines()]
    assert stages == ["finding people", "recovering"]
    assert person.stat().st_mtime_ns > written
    assert not (out / "summary.json").exists()
