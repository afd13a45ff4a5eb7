"""The edit door: folders of results corrected, and only what must be is made anew."""

# ruff: noqa: F401, F811 (fixtures are imported, and named again where tests ask for them)

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edited import (
    EACH,
    FPS,
    arrays,
    assert_same_body,
    bodies,
    contents,
    crowd,
    edit,
    embedded,
    made,
    result,
    seen,
    told,
    weights,
)

from temporal_hmr.editing import recovering, run
from temporal_hmr.motion import BodyMotion, InWorld
from temporal_hmr.output.encoding import write_video
from temporal_hmr.output.folder import finished_results, write_results
from temporal_hmr.output.manifest import Manifest, publish
from temporal_hmr.output.npz import load_motion
from temporal_hmr.output.viewer.page import PAGE
from temporal_hmr.tracking import digest


class TestDelivers:
    def test_dropping_leaves_the_others_byte_by_byte(self, result, made, capsys) -> None:
        np.savez(result / EACH[2], **arrays(result / EACH[2]))  # packed in another way
        before, summary = contents(result), told(result)
        assert edit(result, "--drop", "1") == 0
        after = contents(result)
        assert sorted(after) == [EACH[0], EACH[2], "result.json"]
        assert all(after[name] == before[name] for name in (EACH[0], EACH[2]))
        people = [person["person_id"] for person in told(result)["people"]]
        (done,) = told(result).pop("edits")
        assert people == [0, 2] and done["steps"] == ["--drop 1"] and done["recovered"] == []
        assert told(result) | {"people": 0, "edits": 0} == summary | {"people": 0, "edits": 0}
        assert asdict(made).items() <= told(result).items()
        assert "2 people, recovered anew: nobody" in capsys.readouterr().out

    def test_numbers_exchanged_twice_are_what_they_were(self, result) -> None:
        before = contents(result)
        assert edit(result, "--rename", "0=2", "2=0", "1=12") == 0
        assert sorted(contents(result)) == [EACH[0], EACH[2], "person_012.npz", "result.json"]
        assert arrays(result / EACH[2])["track_id"] == 2
        assert edit(result, "--rename", "0=2", "2=0", "12=1") == 0
        after = contents(result)
        assert {name: after[name] for name in EACH} == {name: before[name] for name in EACH}
        assert len(told(result)["edits"]) == 2

    def test_split_and_merged_again_is_who_it_was(self, result) -> None:
        before = load_motion(result / EACH[0])
        assert edit(result, "--split", "0@0.16") == 0
        first, second = (load_motion(result / name) for name in (EACH[0], "person_003.npz"))
        assert first.frames.tolist() == [0, 1, 2, 3] and second.frames.tolist() == [*range(6, 12)]
        assert not torch.equal(first.smpl.betas[0], second.smpl.betas[0]), "each their own shape"
        assert edit(result, "--merge", "0", "3") == 0
        assert_same_body(load_motion(result / EACH[0]), before)

    @pytest.mark.parametrize("refine", [False, True])
    def test_bodies_are_moved_onto_keypoints_if_they_were(
        self, refine, crowd, made, tmp_path, monkeypatch
    ) -> None:
        fits = []

        def recovers(*_, fit, **__):
            fits.append(fit)
            return crowd[1]

        monkeypatch.setattr(recovering, "recover", recovers)
        made = replace(made, settings={"refine": refine})
        write_results(tmp_path / "walk", crowd[:2], {}, made)
        assert edit(tmp_path / "walk", "--merge", "0", "1", "--prefer", "first") == 0
        assert fits == [recovering.Reprojection() if refine else None]

    def test_halves_that_were_tracked_apart_are_the_whole(self, bodies, made, tmp_path) -> None:
        track = seen(0, [0, 1, 2, 3, 9, 10, 11])
        halves = [replace(seen(0, range(4)), person_id=3), replace(seen(0, [9, 10, 11]))]
        write_results(tmp_path / "walk", [bodies(half) for half in halves], {}, made)
        assert edit(tmp_path / "walk", "--merge", "3", "0") == 0
        merged = load_motion(tmp_path / "walk" / "person_003.npz")
        assert merged.observed.tolist() == [True] * 4 + [False] * 5 + [True] * 3
        assert_same_body(merged, bodies(track))

    def test_swapping_back_within_a_command_changes_nothing(self, result) -> None:
        before = contents(result)
        assert edit(result, "--swap", "0", "1@f2-f9", "--swap", "1", "0@f2-f9") == 0
        assert all(contents(result)[name] == before[name] for name in EACH)
        assert told(result)["edits"][0]["recovered"] == []

    def test_a_swap_and_who_is_made_anew(self, result, bodies, capsys) -> None:
        before, old = contents(result), [load_motion(result / name) for name in EACH]
        assert edit(result, "--swap", "0", "1@f6-", "--list") == 0
        after, new = contents(result), [load_motion(result / name) for name in EACH]
        assert after[EACH[2]] == before[EACH[2]]
        for one, other in ((0, 1), (1, 0)):
            np.testing.assert_array_equal(new[one].keypoints[:6], old[one].keypoints[:6])
            np.testing.assert_array_equal(new[one].keypoints[6:], old[other].keypoints[6:])
        assert new[0].observed.tolist() == old[0].observed.tolist()
        shown = capsys.readouterr()
        assert "recovered anew: 0, 1" in shown.out and "recovering: 2 people" in shown.err
        head, first = shown.out.splitlines()[1:3]
        assert " ".join(head.split()) == "person seconds frames observed height confidence"
        assert first.split()[:4] == ["0", "0.00-0.44", "0-11", "83%"]

    def test_steps_are_taken_in_the_order_given(self, result) -> None:
        words = ("--rename", "1=5", "--split", "5@f6", "--drop", "0", "6", "--rename", "5=0")
        assert edit(result, *words, "--merge", "2", "0") == 0
        assert sorted(contents(result)) == [EACH[2], "result.json"]
        assert load_motion(result / EACH[2]).frames.tolist() == list(range(20))
        steps = told(result)["edits"][0]["steps"]
        assert steps[:2] == ["--rename 1=5", "--split 5@f6"] and len(steps) == 5

    def test_elsewhere_and_the_former_stays(self, result, tmp_path) -> None:
        (result / "overlay.mp4").write_bytes(b"drawn")
        before = contents(result)
        for _ in range(2):
            assert edit(result, "--drop", "0", "-o", tmp_path / "new") == 0
        assert contents(result) == before
        assert sorted(contents(tmp_path / "new")) == [*EACH[1:], "result.json"]
        assert len(told(tmp_path / "new")["edits"]) == 1

    def test_everybody_dropped_is_a_result(self, result, capsys) -> None:
        assert edit(result, "--drop", "0", "1", "--list") == 0
        assert "nobody is left" not in capsys.readouterr().err
        assert edit(result, "--drop", "2", "--list") == 0
        shown = capsys.readouterr()
        assert shown.out.endswith("nobody\n")
        assert shown.err == (
            f"warning: nobody is left in {result}: track the video with --again to have them back\n"
        )
        assert edit(result, "--drop", "0") == 2
        assert "nobody is in" in capsys.readouterr().err


class TestStale:
    def test_what_shows_the_former_result_goes(self, result, capsys) -> None:
        (result / "overlay.mp4").write_bytes(b"drawn")
        (result / PAGE).write_text('<script id="picture-bytes"></script>')
        (result / "mine.txt").write_text("the user's own")
        (result / "made").mkdir()
        (result / "made" / "all.glb").write_bytes(b"glb")
        publish(result / "made", result / "export", Manifest("walk", "", (), {"glb": ["all.glb"]}))
        (result / "made").rmdir()
        assert edit(result, "--drop", "1") == 0
        assert sorted(contents(result)) == ["mine.txt", EACH[0], EACH[2], "result.json"]
        out = capsys.readouterr().out
        for command in (
            f"temporal_hmr.edit {result} --render walk.mp4",
            f"temporal_hmr.export {result} --to glb",
            f"temporal_hmr.view {result}",
        ):
            assert f"anew: python -m {command}\n" in out

    def test_of_exports_only_what_goes_is_told_to_be_gone(self, result, capsys) -> None:
        (result / "made").mkdir()
        (result / "made" / "all.glb").write_bytes(b"glb")
        publish(result / "made", result / "export", Manifest("walk", "", (), {"glb": ["all.glb"]}))
        (result / "export" / "mine.txt").write_text("the user's own")
        assert edit(result, "--drop", "1") == 0
        assert "the export (glb) was of the former result and is gone;" in capsys.readouterr().out
        assert [path.name for path in (result / "export").iterdir()] == ["mine.txt"]

    def test_a_page_of_somebody_elses_stays(self, result) -> None:
        (result / PAGE).write_text("<html>mine</html>")
        assert edit(result, "--drop", "1") == 0
        assert (result / PAGE).is_file()

    def test_many_videos_leave_a_corrected_result_alone(self, result, made) -> None:
        """Without its overlay it would be tracked again, and the corrections lost."""
        assert edit(result, "--drop", "1") == 0
        assert finished_results(result, made) is not None

    def test_the_overlay_is_drawn_anew(self, crowd, made, tmp_path, capsys) -> None:
        pytest.importorskip("cv2")
        video = tmp_path / "walk.mp4"
        write_video([np.full((120, 160, 3), 90, np.uint8)] * 3, FPS, video)
        clip = {"image_size": [160, 120]}
        write_results(tmp_path / "walk", crowd, clip, replace(made, source_sha256=digest(video)))
        assert edit(tmp_path / "walk", "--drop", "2", "--render", video) == 0
        shown = capsys.readouterr()
        assert shown.out.endswith("overlay.mp4\n") and "is gone" not in shown.out
        assert (tmp_path / "walk" / "overlay.mp4").stat().st_size > 0
        write_video([np.full((64, 64, 3), 90, np.uint8)] * 3, FPS, tmp_path / "other.mp4")
        before = contents(tmp_path / "walk")
        assert edit(tmp_path / "walk", "--drop", "1", "--render", tmp_path / "other.mp4") == 2
        assert "is 64 x 64" in capsys.readouterr().err
        assert contents(tmp_path / "walk") == before


class TestWorld:
    @pytest.fixture
    def placed(self, tmp_path, crowd, made) -> Path:
        made = replace(made, settings=made.settings | {"foot_lock": True})
        motions = [replace(each, world=self.world(each, 1.0)) for each in crowd]
        write_results(tmp_path / "walk", motions, {"world": {"height": 1.0}}, made)
        return tmp_path / "walk"

    @staticmethod
    def world(motion: BodyMotion, height: float) -> InWorld:
        return InWorld(motion.smpl, np.eye(4) * height, {"height": height})

    def test_whoever_changes_moves_the_world_of_all(self, placed, monkeypatch) -> None:
        before = arrays(placed / EACH[2])

        def found(motions, body, foot_lock):
            assert foot_lock and body.name == "open" and len(motions) == 4
            return [replace(each, world=self.world(each, 2.0)) for each in motions]

        monkeypatch.setattr(run, "find_world", found)
        assert edit(placed, "--split", "1@f5") == 0
        assert told(placed)["world"] == {"height": 2.0}
        after = arrays(placed / EACH[2])
        changed = [name for name in before if before[name].tobytes() != after[name].tobytes()]
        assert {"world_from_camera", "meta"} <= set(changed)
        assert set(changed) <= {"poses_world", "trans_world", "world_from_camera", "meta"}
        assert json.loads(str(after["meta"]))["world"] == {"height": 2.0}
        assert all("poses_world" in arrays(path) for path in placed.glob("*.npz"))

    def test_no_world_is_told(self, placed, monkeypatch, capsys) -> None:
        monkeypatch.setattr(run, "find_world", lambda *_: "nobody steps")
        assert edit(placed, "--split", "1@f5") == 0
        assert "warning: there is no world any more: nobody steps" in capsys.readouterr().err
        assert told(placed)["world"] == {"missing": "nobody steps"}
        assert not any("poses_world" in arrays(path) for path in placed.glob("*.npz"))

    def test_dropping_leaves_it_alone(self, placed, monkeypatch) -> None:
        monkeypatch.setattr(run, "find_world", None)
        before = contents(placed)
        assert edit(placed, "--drop", "0") == 0
        assert contents(placed)[EACH[1]] == before[EACH[1]]
