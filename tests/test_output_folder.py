"""Results go out and come back unchanged, and a folder holds those of one run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import limited_files
from result_motions import PROVENANCE, make_motion

from temporal_hmr.errors import InputError
from temporal_hmr.output.folder import check_folder, require_replaceable, write_results
from temporal_hmr.output.npz import atomic_path, load_motion, save_motion
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import COCO23


class TestResultFile:
    def test_comes_back_unchanged(self, tmp_path: Path) -> None:
        motion = make_motion()
        save_motion(motion, tmp_path / "person.npz", PROVENANCE)
        back = load_motion(tmp_path / "person.npz")
        angles = geodesic_angle(motion.smpl.rotations(), back.smpl.rotations())
        assert angles.max() < 1e-5
        assert torch.allclose(motion.smpl.betas, back.smpl.betas)
        assert torch.allclose(motion.smpl.transl, back.smpl.transl)
        for name in ("frames", "times", "joints", "boxes", "keypoints", "observed", "confidence"):
            np.testing.assert_allclose(getattr(motion, name), getattr(back, name), rtol=1e-6)
        assert torch.equal(motion.camera.focal, back.camera.focal)
        assert torch.equal(motion.camera.center, back.camera.center)
        assert (back.camera.width, back.camera.height, back.camera.assumed) == (640, 480, True)
        assert back.skeleton is COCO23
        assert back.person_id == 0
        assert back.fps == pytest.approx(29.97)

    def test_is_plain_and_bears_the_common_names(self, tmp_path: Path) -> None:
        save_motion(make_motion(), tmp_path / "person.npz", PROVENANCE)
        with np.load(tmp_path / "person.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        shapes = {name: array.shape for name, array in arrays.items()}
        assert shapes == {
            "poses": (5, 72),
            "global_orient": (5, 3),
            "body_pose": (5, 69),
            "betas": (10,),
            "trans": (5, 3),
            "gender": (),
            "mocap_frame_rate": (),
            "fps": (),
            "frame_ids": (5,),
            "timestamps": (5,),
            "bbox_xyxy": (5, 4),
            "keypoints2d": (5, 23, 3),
            "joints3d": (5, 24, 3),
            "K": (3, 3),
            "observed": (5,),
            "confidence": (5,),
            "track_id": (),
            "meta": (),
        }
        meta = json.loads(str(arrays["meta"]))
        assert meta["source_sha256"] == PROVENANCE.source_sha256
        assert meta["body_licence"] == "CC0"
        assert meta["focal_assumed"] is True
        assert arrays["poses"].dtype == np.float32

    @pytest.mark.parametrize(
        ("body", "gender"),
        [
            ("open", "neutral"),
            ("SMPL_NEUTRAL", "neutral"),
            ("SMPL_FEMALE", "female"),
            ("basicModel_f_lbs_10_207_0_v1.0.0", "female"),
            ("basicmodel_m_lbs_10_207_0_v1.1.0", "male"),
            ("SMPL_MALE", "male"),
        ],
    )
    def test_gender_is_that_of_the_body(self, body: str, gender: str, tmp_path: Path) -> None:
        save_motion(make_motion(), tmp_path / "person.npz", replace(PROVENANCE, body=body))
        with np.load(tmp_path / "person.npz", allow_pickle=False) as archive:
            assert str(archive["gender"]) == gender

    def test_what_is_not_a_result_is_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "other.npz", poses=np.zeros((1, 72)))
        (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 cut off")
        with (tmp_path / "array.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(InputError, match="a single array"):
            load_motion(tmp_path / "array.npz")
        with pytest.raises(InputError, match="lacks betas"):
            load_motion(tmp_path / "other.npz")
        with pytest.raises(InputError, match="is damaged"):
            load_motion(tmp_path / "noise.npz")
        with pytest.raises(InputError, match="no file at"):
            load_motion(tmp_path / "absent.npz")

    def test_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "person.npz"
        path.write_text("old")
        with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise RuntimeError
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestResultFolder:
    def test_rerun_leaves_nobody_of_the_earlier_run(self, tmp_path: Path) -> None:
        folder = tmp_path / "out" / "walk"
        write_results(folder, [make_motion(3, 0), make_motion(3, 4)], {}, PROVENANCE)
        (folder / "overlay.mp4").write_bytes(b"old")
        (folder / "mine.txt").write_text("the user's own")
        check_folder(folder, PROVENANCE.source_sha256)
        paths = write_results(folder, [make_motion(3, 1)], {"fps": 30}, PROVENANCE)
        assert sorted(path.name for path in folder.iterdir()) == [
            "mine.txt",
            "person_001.npz",
            "result.json",
        ]
        summary = json.loads((folder / "result.json").read_text())
        assert [person["file"] for person in summary["people"]] == [paths[0].name]
        assert summary["people"][0]["frames_observed"] == 2

    def test_another_video_of_the_same_name_is_not_overwritten(self, tmp_path: Path) -> None:
        write_results(tmp_path / "walk", [make_motion()], {}, PROVENANCE)
        with pytest.raises(InputError, match="another video"):
            check_folder(tmp_path / "walk", "00" * 32)

    def test_check_makes_nothing_and_sees_a_file_in_the_way(self, tmp_path: Path) -> None:
        check_folder(tmp_path / "a" / "b", "")
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot write"):
            check_folder(tmp_path / "file" / "b", "")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("name", ["a" * 300, "a\udcff"])
    def test_names_that_cannot_be_are_seen_before_any_work(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="--output-dir"):
            check_folder(tmp_path / name, "")

    def test_a_link_to_itself_is_no_place_to_write_to(self, tmp_path: Path) -> None:
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        with pytest.raises(InputError, match=r"cannot write to .*circle"):
            check_folder(tmp_path / "circle" / "walk", "")

    def test_an_earlier_result_stays_if_the_new_one_does_not_fit(self, tmp_path: Path) -> None:
        folder = tmp_path / "walk"
        write_results(folder, [make_motion(3, 0)], {}, PROVENANCE)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with limited_files(500), pytest.raises(InputError, match="cannot write"):
            write_results(folder, [make_motion(4, 1)], {}, PROVENANCE)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_folders_made_for_a_failed_write_go_away(self, tmp_path: Path, monkeypatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("temporal_hmr.output.folder.save_motion", full)
        with pytest.raises(InputError, match="No space left"):
            write_results(tmp_path / "a" / "b", [make_motion()], {}, PROVENANCE)
        assert list(tmp_path.iterdir()) == []


class TestReplaceable:
    """What `TrackResult.save` may write over."""

    def results(self, folder: Path, **more: object) -> Path:
        write_results(folder, [make_motion()], dict(more), PROVENANCE)
        return folder

    def test_results_of_the_same_video_are(self, tmp_path: Path) -> None:
        require_replaceable(tmp_path / "absent", PROVENANCE.source_sha256)
        require_replaceable(self.results(tmp_path), PROVENANCE.source_sha256)

    def test_corrected_ones_are_not(self, tmp_path: Path) -> None:
        """Known defect: corrections were lost without a word."""
        folder = self.results(tmp_path, edits=[{"steps": ["--drop 1"]}])
        with pytest.raises(
            InputError, match=r"corrected results, .* \(--drop 1\): .*overwrite=True"
        ):
            require_replaceable(folder, PROVENANCE.source_sha256)

    def test_nor_are_those_of_another_video(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="the results of another video"):
            require_replaceable(self.results(tmp_path), "0" * 64)
