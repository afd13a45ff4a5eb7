"""Result files of every system are read as what their systems mean by them."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interchange_files import (
    count_refused,
    dump,
    gvhmr_contents,
    motion,
    phalp_contents,
    rotations,
    vibe_contents,
    wham_contents,
    write_gvhmr,
)
from result_motions import PROVENANCE, make_motion

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.files import FORMATS, read_predictions
from temporal_hmr.output.npz import save_motion
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

SPARSE = np.array([2, 3, 5, 9])
SEEN = {1: {0: 0, 1: 0, 2: 1, 3: 2, 4: 0}, 2: {2: 0, 4: 0}}
"""By person and frame, for how many frames the person had not been seen."""


def check_smpl(smpl: SmplParams, expected: dict[str, np.ndarray]) -> None:
    assert {tensor.dtype for tensor in vars(smpl).values()} == {torch.float64}
    np.testing.assert_allclose(smpl.rotations(), rotations(expected["pose"]), atol=1e-12)
    np.testing.assert_array_equal(smpl.betas, expected["betas"])
    np.testing.assert_array_equal(smpl.transl, expected["trans"])


class TestOurs:
    def test_everything_the_file_says_is_kept(self, tmp_path: Path) -> None:
        written = make_motion()
        body = replace(PROVENANCE, body="SMPL_FEMALE")
        save_motion(written, tmp_path / "person_000.npz", body)
        (read,) = read_predictions(tmp_path / "person_000.npz")
        assert (read.source, read.name) == ("ours", "person_000.npz")
        assert read.smpl.body_pose.dtype == torch.float64
        angles = geodesic_angle(read.smpl.rotations(), written.smpl.rotations().double())
        assert angles.max() < 1e-5
        np.testing.assert_array_equal(read.frames, written.frames)
        assert read.boxes is not None
        assert read.keypoints is not None
        assert read.filled is not None
        np.testing.assert_allclose(read.boxes, written.boxes, rtol=1e-6)
        np.testing.assert_allclose(read.keypoints, written.keypoints, rtol=1e-6)
        np.testing.assert_array_equal(read.filled, ~written.observed)
        assert read.skeleton is written.skeleton
        assert read.camera is not None
        assert torch.equal(read.camera.focal, written.camera.focal)
        assert read.fps == pytest.approx(written.fps)
        assert (read.gender, read.has_depth, read.world) == ("female", True, None)

    @pytest.mark.parametrize("key", ["poses", "trans", "bbox_xyxy", "keypoints2d", "observed"])
    def test_lengths_that_differ_are_refused(self, key: str, tmp_path: Path) -> None:
        path = tmp_path / "person.npz"
        save_motion(make_motion(), path, PROVENANCE)
        with np.load(path) as archive:
            arrays: dict[str, Any] = dict(archive)
        arrays[key] = arrays[key][:-1]
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=rf"person\.npz.*{key}|damaged"):
            read_predictions(path)

    def test_broken_descriptions_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "person.npz"
        save_motion(make_motion(), path, PROVENANCE)
        with np.load(path) as archive:
            arrays: dict[str, Any] = dict(archive)
        for change in ({"meta": np.array("{}")}, {"meta": np.array("x")}, {"K": np.zeros(2)}):
            changed: dict[str, Any] = {**arrays, **change}
            np.savez(path, **changed)
            with pytest.raises(InputError, match=r"person\.npz is damaged"):
                read_predictions(path)


class TestWham:
    @pytest.mark.parametrize("compress", [0, 3])
    def test_camera_and_world_motion_of_everybody(self, compress: int, tmp_path: Path) -> None:
        frames = {0: np.arange(7), 3: SPARSE}
        path = dump(wham_contents(frames), tmp_path / "wham_output.pkl", compress=compress)
        people = read_predictions(path)
        assert [person.name for person in people] == [
            "wham_output.pkl person 0",
            "wham_output.pkl person 3",
        ]
        for number, person in zip(frames, people, strict=True):
            count = len(frames[number])
            np.testing.assert_array_equal(person.frames, frames[number])
            check_smpl(person.smpl, motion(count, number))
            assert person.world is not None
            other = motion(count, number + 50) | {"betas": motion(count, number)["betas"]}
            check_smpl(person.world, other)
            assert (person.source, person.has_depth, person.boxes) == ("wham", True, None)

    def test_a_file_without_world_has_none(self, tmp_path: Path) -> None:
        contents = wham_contents({0: SPARSE})
        del contents[0]["pose_world"], contents[0]["trans_world"]
        (person,) = read_predictions(dump(contents, tmp_path / "a.pkl"))
        assert person.source == "wham"
        assert person.world is None

    def test_poses_that_are_no_numbers_stay_so(self, tmp_path: Path) -> None:
        contents = wham_contents({0: SPARSE})
        contents[0]["pose"][1, 5] = np.nan
        (person,) = read_predictions(dump(contents, tmp_path / "a.pkl"))
        bad = person.smpl.rotations().isnan().flatten(1).any(1)
        assert bad.tolist() == [False, True, False, False]


class TestVibe:
    def test_has_boxes_and_no_depth(self, tmp_path: Path) -> None:
        path = dump(vibe_contents({1: SPARSE}), tmp_path / "vibe_output.pkl")
        (person,) = read_predictions(path)
        assert (person.name, person.source) == ("vibe_output.pkl person 1", "vibe")
        check_smpl(person.smpl, motion(4, 1) | {"trans": np.zeros((4, 3))})
        assert not person.has_depth
        np.testing.assert_array_equal(person.frames, SPARSE)
        assert person.boxes is not None
        np.testing.assert_array_equal(person.boxes, np.tile([60.0, 140, 140, 260], (4, 1)))

    def test_a_standing_person_is_upright_in_the_image(self, tmp_path: Path) -> None:
        """Turned by pi about x, SMPL's up is the image's up; VIBE stores people so."""
        contents = vibe_contents({0: np.arange(2)})
        contents[0]["pose"][:] = 0
        contents[0]["pose"][:, 0] = np.pi
        (person,) = read_predictions(dump(contents, tmp_path / "a.pkl"))
        up = person.smpl.global_orient[0] @ torch.tensor([0.0, 1, 0], dtype=torch.float64)
        np.testing.assert_allclose(up, [0, -1, 0], atol=1e-6)


class TestGvhmr:
    def test_body_joints_of_smplx_are_those_of_smpl(self, tmp_path: Path) -> None:
        (person,) = read_predictions(write_gvhmr(tmp_path / "hmr4d_results.pt", 6))
        assert (person.name, person.source) == ("hmr4d_results.pt", "gvhmr")
        np.testing.assert_array_equal(person.frames, np.arange(6))
        assert person.world is not None
        for smpl, seed in ((person.smpl, 0), (person.world, 50)):
            expected = motion(6, seed)
            hands = [3 * SMPL24.index(name) for name in ("left_hand", "right_hand")]
            for first in hands:
                expected["pose"][:, first : first + 3] = 0
            check_smpl(smpl, expected)

    def test_the_camera_is_that_of_the_image(self, tmp_path: Path) -> None:
        (person,) = read_predictions(write_gvhmr(tmp_path / "a.pt", 3))
        assert person.camera is not None
        assert (person.camera.width, person.camera.height) == (600, 800)
        assert person.camera.focal.tolist() == [1000, 1000]
        assert person.camera.assumed

    def test_frames_are_numbered_where_the_file_says_so(self, tmp_path: Path) -> None:
        """As ours does, in which people come late and go unseen."""
        contents = gvhmr_contents(3)
        torch.save({**contents, "frame_ids": torch.tensor([4, 5, 9])}, tmp_path / "a.pt")
        (person,) = read_predictions(tmp_path / "a.pt")
        assert person.frames.tolist() == [4, 5, 9]
        torch.save({**contents, "frame_ids": torch.tensor([4, 5])}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=r"3 frames in 'smpl_params_incam', not 2"):
            read_predictions(tmp_path / "a.pt")

    def test_cameras_may_be_one_or_many(self, tmp_path: Path) -> None:
        contents = gvhmr_contents(3)
        contents["K_fullimg"][1, 0, 0] = 1200
        torch.save(contents, tmp_path / "a.pt")
        (person,) = read_predictions(tmp_path / "a.pt")
        assert person.camera is not None
        assert person.camera.focal[:, 0].tolist() == [1000, 1200, 1000]
        contents["K_fullimg"] = contents["K_fullimg"][1]
        torch.save(contents, tmp_path / "a.pt")
        (person,) = read_predictions(tmp_path / "a.pt")
        assert person.camera is not None
        assert person.camera.focal.tolist() == [1200, 1000]
        assert not person.camera.assumed


class TestPhalp:
    @pytest.mark.parametrize("compress", [0, 3])
    def test_lists_by_frame_become_motions_by_person(self, compress: int, tmp_path: Path) -> None:
        contents = phalp_contents(6, SEEN)
        first, second = read_predictions(dump(contents, tmp_path / "a.pkl", compress=compress))
        assert (first.name, second.name) == ("a.pkl person 1", "a.pkl person 2")
        assert first.frames.tolist() == [0, 1, 2, 3, 4]
        assert second.frames.tolist() == [2, 4]
        parts = [motion(1, 2000 + frame) for frame in (2, 4)]
        for index, part in enumerate(parts):
            np.testing.assert_allclose(
                second.smpl.rotations()[index], rotations(part["pose"])[0], atol=1e-6
            )
            np.testing.assert_array_equal(second.smpl.betas[index], part["betas"][0])
            np.testing.assert_array_equal(second.smpl.transl[index], part["trans"][0])
        assert second.boxes is not None
        np.testing.assert_array_equal(second.boxes, [[20, 20, 50, 82], [20, 20, 50, 84]])
        assert (first.source, first.has_depth) == ("phalp", False)

    def test_ghosts_are_filled_not_seen(self, tmp_path: Path) -> None:
        first, second = read_predictions(dump(phalp_contents(6, SEEN), tmp_path / "a.pkl"))
        assert first.filled is not None
        assert second.filled is not None
        assert first.filled.tolist() == [False, False, True, True, False]
        assert not second.filled.any()
        assert torch.equal(first.smpl.rotations()[3], first.smpl.rotations()[1])

    def test_its_camera_projects_to_where_the_crop_was(self, tmp_path: Path) -> None:
        """A crop of height h at (u, v), seen by PHALP's camera, gives back (u, v) and h."""
        contents = phalp_contents(1, {1: {0: 0}})
        u, v, height, focal, scale = 400.0, 300.0, 128.0, 5000.0, 0.9
        ratio = 256 / 640
        depth = 2 * focal / (scale * height * ratio)
        shift = (np.array([u, v + 80]) * ratio - 128) * depth / focal
        frame = next(iter(contents.values()))
        frame["camera"] = [np.array([*shift, depth], np.float32)]
        (person,) = read_predictions(dump(contents, tmp_path / "a.pkl"))
        assert person.camera is not None
        points = person.smpl.transl + torch.tensor([[0.0, 0, 0], [0, 1 / scale, 0]])
        pixels = person.camera.project(points)
        np.testing.assert_allclose(pixels, [[u, v], [u, v + height / 2]], atol=1e-3)

    def test_frames_without_numbers_are_counted(self, tmp_path: Path) -> None:
        contents = phalp_contents(6, SEEN)
        backwards = dict(reversed(contents.items()))
        first, _ = read_predictions(dump(backwards, tmp_path / "a.pkl"))
        assert first.frames.tolist() == [0, 1, 2, 3, 4]
        for frame in contents.values():
            del frame["time"]
        first, _ = read_predictions(dump(contents, tmp_path / "a.pkl"))
        assert first.frames.tolist() == [0, 1, 2, 3, 4]

    def test_frames_may_be_named_by_video_and_time(self, tmp_path: Path) -> None:
        contents = phalp_contents(6, SEEN)
        named = {("a.mp4", 512 * frame): value for frame, value in enumerate(contents.values())}
        assert len(read_predictions(dump(named, tmp_path / "a.pkl"))) == 2

    def test_an_entry_written_twice_alike_counts_once(self, tmp_path: Path) -> None:
        contents = phalp_contents(6, SEEN)
        frame = next(iter(contents.values()))
        for key in ("tid", "bbox", "tracked_time", "smpl", "camera", "size"):
            frame[key].append(frame[key][0])
        first, _ = read_predictions(dump(contents, tmp_path / "a.pkl"))
        assert first.frames.tolist() == [0, 1, 2, 3, 4]
        frame["camera"][1] = frame["camera"][1] + 1
        with pytest.raises(InputError, match="person 1 has frame 0 twice"):
            read_predictions(dump(contents, tmp_path / "a.pkl"))


Change = Callable[[dict[Any, Any]], object]

FAULTS: list[tuple[str, Change, str]] = [
    ("wham", lambda c: c[3].pop("betas"), r"person 3 has no 'betas'"),
    ("wham", lambda c: c[3].pop("pose_world"), r"person 3 has no 'pose_world'"),
    ("wham", lambda c: c[3].update(pose=None), r"person 3 has no 'pose'"),
    ("wham", lambda c: c[3].update(trans=np.zeros((3, 3))), r"'trans' of shape \(3, 3\), not \(4"),
    ("wham", lambda c: c[3].update(pose=np.zeros((4, 69))), r"'pose' of shape \(4, 69\)"),
    ("wham", lambda c: c[3].update(pose="x"), r"'pose' of type str, which holds no numbers"),
    ("wham", lambda c: c[3].update(pose=[[1], [1, 2]]), r"different sizes in 'pose'"),
    ("wham", lambda c: c[3].update(pose={1: 2}), r"'pose' of type dict"),
    ("wham", lambda c: c[3].update(frame_ids=np.array([1, 2, 2, 3])), r"frame 2 twice"),
    ("wham", lambda c: c[3].update(frame_ids=np.array([1, 5, 4, 6])), r"frame 5 before 4"),
    ("wham", lambda c: c[3].update(frame_ids=np.array([-1, 0, 1, 2])), r"no whole numbers"),
    ("wham", lambda c: c[3].update(frame_ids=np.array([0, 1.5, 2, 3])), r"no whole numbers"),
    ("wham", lambda c: c[3].update(frame_ids=np.array([0, 1, np.nan, 3])), r"no whole numbers"),
    ("wham", lambda c: c.update({5: np.zeros(3)}), r"person 5 has values of type ndarray"),
    ("vibe", lambda c: c[3].pop("betas"), r"person 3 has no 'betas'"),
    ("vibe", lambda c: c[3].update(bboxes=np.zeros((4, 3))), r"'bboxes' of shape \(4, 3\)"),
    ("gvhmr", lambda c: c.pop("K_fullimg"), r"has no 'K_fullimg'"),
    ("gvhmr", lambda c: c["smpl_params_incam"].pop("transl"), r"'smpl_params_incam' has no 'tra"),
    ("gvhmr", lambda c: c.update(smpl_params_incam=3), r"'smpl_params_incam' has values of type"),
    ("gvhmr", lambda c: c.update(K_fullimg=torch.zeros(3, 3)), r"matrices in 'K_fullimg'"),
    ("gvhmr", lambda c: c.update(K_fullimg=torch.ones(2, 3, 3)), r"of shape \(2, 3, 3\), not"),
    (
        "gvhmr",
        lambda c: c["smpl_params_global"].update(betas=torch.zeros(4, 10).bfloat16()),
        r"'smpl_params_global' has 'betas' of type Unread",
    ),
    ("phalp", lambda c: _frame(c)["smpl"].pop(), r"frame .* has 0 entries in 'smpl' where 1"),
    ("phalp", lambda c: _frame(c).pop("tracked_time"), r"frame .* has no 'tracked_time'"),
    ("phalp", lambda c: _frame(c).update(camera=np.zeros((2, 3))), r"'camera' of shape \(2, 3\)"),
    ("phalp", lambda c: _frame(c).update(time=0), r"the 'time' 0, as frame 'img/000001.jpg'"),
    ("phalp", lambda c: _frame(c).pop("time"), r"frame .* has no 'time'"),
    ("phalp", lambda c: _frame(c)["smpl"][0].pop("betas"), r"person 1 'smpl' has no 'betas'"),
    (
        "phalp",
        lambda c: _frame(c)["smpl"][0].update(body_pose=np.zeros((21, 3, 3))),
        r"'body_pose' of shape \(21, 3, 3\)",
    ),
]


def _frame(contents: dict[Any, Any]) -> dict[str, Any]:
    return list(contents.values())[1]


def contents_of(kind: str) -> dict[Any, Any]:
    if kind == "gvhmr":
        return gvhmr_contents(4)
    if kind == "phalp":
        return phalp_contents(3, {1: {0: 0, 1: 0, 2: 0}})
    return {"wham": wham_contents, "vibe": vibe_contents}[kind]({0: np.arange(3), 3: SPARSE})


def write(kind: str, contents: dict[Any, Any], folder: Path) -> Path:
    """Under a name that tells nothing."""
    if kind == "gvhmr":
        torch.save(contents, folder / "results.bin")
        return folder / "results.bin"
    return dump(contents, folder / "results.bin")


@pytest.mark.parametrize(("kind", "change", "words"), FAULTS)
def test_faults_are_named_with_file_person_and_key(
    kind: str, change: Change, words: str, tmp_path: Path
) -> None:
    contents = contents_of(kind)
    change(contents)
    path = write(kind, contents, tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)


class TestTelling:
    @pytest.mark.parametrize("kind", ["wham", "vibe", "gvhmr", "phalp"])
    def test_content_tells_the_format_not_the_name(self, kind: str, tmp_path: Path) -> None:
        path = write(kind, contents_of(kind), tmp_path)
        people = read_predictions(path)
        assert {person.source for person in people} == {kind}
        assert [p.name for p in read_predictions(path, format=kind)] == [p.name for p in people]

    def test_ours_under_any_name(self, tmp_path: Path) -> None:
        save_motion(make_motion(), tmp_path / "person.npz", PROVENANCE)
        path = (tmp_path / "person.npz").rename(tmp_path / "person.pkl")
        assert read_predictions(path)[0].source == "ours"
        assert read_predictions(path, format="ours")[0].source == "ours"

    def test_unknown_contents_are_named_with_what_is_known(self, tmp_path: Path) -> None:
        path = dump({0: {"joints": np.zeros(3), "scores": 1}}, tmp_path / "a.pkl")
        with pytest.raises(InputError, match="its keys are joints, scores; known are") as caught:
            read_predictions(path)
        assert all(kind in str(caught.value) for kind in FORMATS)
        np.savez(tmp_path / "b.npz", verts=np.zeros(3))
        with pytest.raises(InputError, match="its keys are verts; known are"):
            read_predictions(tmp_path / "b.npz")
        with pytest.raises(InputError, match="holds a ndarray and no named values"):
            read_predictions(dump(np.zeros(3), tmp_path / "c.pkl"))
        torch.save({"bbx_xys": torch.zeros(3)}, tmp_path / "d.pt")
        with pytest.raises(InputError, match="its keys are bbx_xys"):
            read_predictions(tmp_path / "d.pt")

    def test_a_format_given_is_held_to(self, tmp_path: Path) -> None:
        path = dump(vibe_contents({0: SPARSE}), tmp_path / "a.pkl")
        with pytest.raises(InputError, match="person 0 has no 'trans'"):
            read_predictions(path, format="wham")
        with pytest.raises(InputError, match="there is no result format 'romp'; known are ours"):
            read_predictions(path, format="romp")

    def test_nobody_is_an_answer(self, tmp_path: Path) -> None:
        assert read_predictions(dump({}, tmp_path / "a.pkl")) == []
        assert read_predictions(dump(phalp_contents(3, {}), tmp_path / "b.pkl")) == []

    @pytest.mark.parametrize("kind", ["wham", "vibe"])
    def test_somebody_without_frames_is_left_out_and_told(
        self, kind: str, tmp_path: Path, caplog
    ) -> None:
        contents = contents_of(kind)
        contents[3] = {key: value[:0] for key, value in contents[3].items() if value is not None}
        with caplog.at_level(logging.WARNING):
            people = read_predictions(write(kind, contents, tmp_path))
        assert [person.name for person in people] == ["results.bin person 0"]
        assert "person 3 of" in caplog.text and "has no frames" in caplog.text

    def test_missing_and_broken_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is not a file"):
            read_predictions(tmp_path / "absent.pkl")
        for raw in (b"", b"PK\x03\x04 cut off", b"\x78\x9c\x00"):
            (tmp_path / "a.npz").write_bytes(raw)
            with pytest.raises(InputError, match="damaged"):
                read_predictions(tmp_path / "a.npz")

    @pytest.mark.parametrize("kind", ["wham", "vibe", "gvhmr", "phalp"])
    def test_broken_files_are_refused_in_words(self, kind: str, tmp_path: Path) -> None:
        path = write(kind, contents_of(kind), tmp_path)
        assert count_refused(read_predictions, path, path.read_bytes(), 60) > 60
