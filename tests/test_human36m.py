"""Human3.6M in the form that users hold: images and labels in SPIN's manner."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from training_trees import H36M_PLACES, human36m_columns, named, open_body, write_human36m

from temporal_hmr.data.human36m import REST_PELVIS, read_human36m
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, SMPL24

KNOWN = (
    *("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("neck", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist"),
)


def with_seventeen(columns: dict, people: dict) -> dict:
    """The same in the order of the field's regressor, from the camera, as evaluation files are."""
    points = np.concatenate([named(who.joints, H36M_PLACES, 17) for who in people.values()])
    points[:, [7, 9, 10]] = points[:, [0]]
    pixels = [who.pixels(points[4 * n : 4 * n + 4, :, :3]) for n, who in enumerate(people.values())]
    part = np.concatenate([np.concatenate(pixels), np.ones((len(points), 17, 1))], -1)
    return columns | {"S": points, "part": part}


def test_everybody_stands_where_the_pixels_say(tmp_path: Path) -> None:
    columns, people = human36m_columns()
    sequences = read_human36m(write_human36m(tmp_path, columns), "train")
    assert [each.subject for each in sequences] == ["S1", "S1", "S5", "S5"]
    for sequence in sequences:
        who = people[sequence.name]
        assert sequence.trusted and sequence.smpl is None and len(sequence) == 4
        assert sequence.image_size == (1000, 1002)
        np.testing.assert_allclose(sequence.times, [0, 0.1, 0.2, 0.3])
        known = {SMPL24.joints[place] for place in np.flatnonzero(sequence.has_joints.all(0))}
        assert known == set(KNOWN) and sequence.has_joints.sum() == 4 * len(KNOWN)
        for joint in KNOWN:
            place = SMPL24.index(joint)
            np.testing.assert_allclose(
                sequence.joints[:, place], who.joints[:, place], atol=0.002, err_msg=joint
            )
        for joint in COCO23.joints:
            keypoint = sequence.keypoints[2, COCO23.index(joint)]
            if joint in KNOWN:
                np.testing.assert_allclose(keypoint[:2], who.pixel_of(joint, 2))
                assert keypoint[2] == 1
            else:
                assert not keypoint.any()


def test_the_parts_are_the_official_people(tmp_path: Path) -> None:
    columns, _ = human36m_columns()
    write_human36m(tmp_path, columns, "h36m_valid_protocol1.npz")
    assert {each.subject for each in read_human36m(tmp_path, "evaluation")} == {"S9"}
    with pytest.raises(InputError, match=r"'train' in its name.*none|one .npz"):
        read_human36m(tmp_path, "train")
    with pytest.raises(InputError, match="no part 'test'"):
        read_human36m(tmp_path, "test")


def test_seventeen_joints_have_the_left_leg_first(tmp_path: Path) -> None:
    """The dataset's own order has the right one first: files in it would be mirrored."""
    columns, people = human36m_columns()
    write_human36m(tmp_path, with_seventeen(columns, people))
    for sequence in read_human36m(tmp_path, "train"):
        knees = SMPL24.indices("left_knee", "right_knee")
        expected = people[sequence.name].joints[:, knees]
        np.testing.assert_allclose(sequence.joints[:, knees], expected, atol=0.002)


def test_swapped_sides_would_be_seen(tmp_path: Path) -> None:
    """Mirrored points do not fit the pixels: what comes out is not where the person is."""
    columns, people = human36m_columns()
    swapped = columns["S"][:, [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, *range(12, 24)]]
    write_human36m(tmp_path, columns | {"S": swapped})
    sequence = read_human36m(tmp_path, "train")[0]
    error = np.abs(sequence.joints - people[sequence.name].joints)[sequence.has_joints]
    assert error.max() > 0.2


def test_without_a_pelvis_it_is_the_middle_of_the_hips(tmp_path: Path) -> None:
    columns, people = human36m_columns()
    columns["S"][:, 14, 3] = 0
    for sequence in read_human36m(write_human36m(tmp_path, columns), "train"):
        hips = people[sequence.name].joints[:, SMPL24.indices("left_hip", "right_hip")]
        assert sequence.has_joints[:, SMPL24.index("pelvis")].all()
        pelvis = sequence.joints[:, SMPL24.index("pelvis")]
        np.testing.assert_allclose(pelvis, hips.mean(1), atol=0.002)


def test_moshed_bodies_stand_at_the_annotated_pelvis(tmp_path: Path) -> None:
    columns, people = human36m_columns(mosh=True)
    has_smpl = np.arange(len(columns["S"])) % 2
    write_human36m(tmp_path, columns | {"has_smpl": has_smpl})
    for sequence in read_human36m(tmp_path, "train"):
        who, smpl = people[sequence.name], sequence.smpl
        assert smpl is not None and sequence.has_smpl is not None
        assert sequence.has_smpl.tolist() == [False, True, False, True]
        np.testing.assert_allclose(smpl.rotations(), who.smpl.rotations(), atol=1e-9)
        np.testing.assert_allclose(smpl.betas, who.smpl.betas)
        np.testing.assert_allclose(smpl.transl, who.smpl.transl, atol=0.05)
    rest = open_body().rest_joints(open_body().shapedirs.new_zeros(10))[0]
    np.testing.assert_allclose(rest, REST_PELVIS, atol=0.005)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("images/", "").replace("_Walking", "/Walking"),
        lambda name: name.replace(".54138969_", ".54138969/").replace(".60457274_", ".60457274/"),
        lambda name: (
            name.replace("images/S", "s_0")
            .replace("_Walking_1.54138969", "_act_02_subact_01_ca_01")
            .replace("_Walking_1.60457274", "_act_02_subact_01_ca_04")
        ),
    ],
)
def test_users_keep_images_in_many_ways(tmp_path: Path, rename: Callable[[str], str]) -> None:
    columns, people = human36m_columns()
    names = np.array([rename(str(name)) for name in columns["imgname"]])
    sequences = read_human36m(write_human36m(tmp_path, columns | {"imgname": names}), "train")
    expected = [who for video, who in people.items() if "S9" not in video]
    assert [each.subject for each in sequences] == ["S1", "S1", "S5", "S5"]
    for sequence, who in zip(sequences, expected, strict=True):
        assert sequence.focal is not None
        np.testing.assert_allclose(sequence.focal[0], who.camera[:2], atol=0.01)
        np.testing.assert_allclose(sequence.times, [0, 0.1, 0.2, 0.3])


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(float)
    array.reshape(len(array), -1)[2, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("key", "spoil", "said"),
    [
        ("S", lambda _: None, "no 'S'"),
        ("imgname", lambda names: np.array([f"x{n}.jpg" for n in range(len(names))]), "subject"),
        ("imgname", lambda names: np.array([n.replace(".54138969", "") for n in names]), "camera"),
        ("imgname", lambda names: names[[0, 0, *range(2, len(names))]], "twice"),
        ("S", lambda points: points[:, :23], "'S' has the shape"),
        ("S", lambda points: points[:-1], "'S' has 23 rows"),
        ("S", lambda points: points.astype(str), "'S' holds"),
        ("S", with_nan, "'S' is not finite"),
        ("part", with_nan, "'part' is not finite"),
        ("part", lambda part: part[..., :2], "'part' has the shape"),
        ("center", with_nan, "'center' is not finite"),
        ("scale", with_nan, "'scale' is not finite"),
        ("scale", lambda scale: scale[:, None], "'scale' has the shape"),
        ("pose", with_nan, "'pose' is not finite"),
        ("pose", lambda pose: pose[:, :69], "'pose' has the shape"),
        ("shape", lambda _: None, "no 'shape'"),
        ("S", lambda points: points * [1, 1, -40, 1], "behind the camera"),
    ],
)
def test_broken_labels_are_refused_by_file_and_key(
    tmp_path: Path, key: str, spoil: Callable, said: str
) -> None:
    columns, _ = human36m_columns(mosh=True)
    write_human36m(tmp_path, columns)
    spoilt = columns | {key: spoil(columns[key])}
    np.savez(tmp_path / "h36m_train.npz", **{k: v for k, v in spoilt.items() if v is not None})
    with pytest.raises(InputError, match=r"h36m_train\.npz") as error:
        read_human36m(tmp_path, "train")
    assert said in str(error.value)


def test_missing_images_are_counted_and_one_named(tmp_path: Path) -> None:
    columns, _ = human36m_columns()
    write_human36m(tmp_path, columns)
    for frame in (6, 11):
        (tmp_path / f"images/S5_Walking_1.54138969_{frame:06d}.jpg").unlink()
    with pytest.raises(InputError, match=r"2 images are missing.*S5_Walking_1\.54138969_000006"):
        read_human36m(tmp_path, "train")
    names = [each.name for each in read_human36m(tmp_path, "train", skip_broken=True)]
    assert len(names) == 3 and "images/S5_Walking_1.54138969" not in names


def test_one_bad_video_does_not_take_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns, _ = human36m_columns()
    write_human36m(tmp_path, columns | {"S": with_nan(columns["S"])})
    assert len(read_human36m(tmp_path, "train", skip_broken=True)) == 3
    assert "'S' is not finite" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.npz"):
        read_human36m(tmp_path, "train", skip_broken=True)
