"""BEDLAM's processed labels for SMPL, whole and broken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from training_trees import (
    BEDLAM_VERTICES,
    Written,
    bedlam_columns,
    bedlam_points,
    write_bedlam_scene,
    write_images,
)

from temporal_hmr.data.bedlam import read_bedlam
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, SMPL24

SCENE = "20221010_3_1000_batch01hand_6fps"
CLOSEUP = "20221011_1_250_batch01hand_closeup_suburb_a_6fps"


def test_bodies_are_projected_to_the_stated_keypoints(tmp_path: Path) -> None:
    columns, people = bedlam_columns()
    write_bedlam_scene(tmp_path, SCENE, columns)
    sequences = read_bedlam(str(tmp_path), "train")
    assert [each.subject for each in sequences] == list(people)
    assert len({each.name for each in sequences}) == 2
    for sequence in sequences:
        assert sequence.trusted and sequence.smpl_gender == "neutral"
        assert sequence.image_size == (128, 72) and sequence.quarter_turns == 0
        assert sequence.smpl is not None and sequence.has_smpl is not None
        assert sequence.has_smpl.all() and not sequence.has_joints.any()
        np.testing.assert_allclose(sequence.times, np.arange(4) / 6)
        check_projection(sequence, people[sequence.subject])
        assert isinstance(sequence.images, tuple) and all(p.is_file() for p in sequence.images)


def check_projection(sequence: Sequence, who: Written) -> None:
    """The body that came out, posed and projected here, lies on the keypoints that came out."""
    assert sequence.smpl is not None
    assert sequence.focal is not None and sequence.center is not None
    points = bedlam_points(sequence.smpl)
    names = (*SMPL24.joints, *BEDLAM_VERTICES)
    for joint, name in enumerate(COCO23.joints):
        point = points[:, names.index(name)]
        pixels = sequence.focal * point[:, :2] / point[:, 2:] + sequence.center
        np.testing.assert_allclose(sequence.keypoints[:, joint, :2], pixels, atol=1e-6)
    assert (sequence.keypoints[..., 2] == 1).all()
    np.testing.assert_allclose(sequence.smpl.transl, who.smpl.transl, atol=1e-9)


def test_close_ups_are_stored_lying_on_their_side(tmp_path: Path) -> None:
    columns, people = bedlam_columns(closeup=True)
    write_bedlam_scene(tmp_path, CLOSEUP, columns)
    for sequence in read_bedlam(tmp_path, "train"):
        assert sequence.image_size == (72, 128) and sequence.quarter_turns == 1
        check_projection(sequence, people[sequence.subject])


def test_only_24_joints_and_more_betas_will_do(tmp_path: Path) -> None:
    columns, _ = bedlam_columns()
    shape = np.concatenate([columns["shape"], np.full((8, 1), 9.0)], 1)
    changed = columns | {"gtkps": columns["gtkps"][:, :24, :2], "shape": shape}
    write_bedlam_scene(tmp_path, SCENE, changed)
    sequence = read_bedlam(tmp_path, "train")[0]
    assert sequence.smpl is not None and sequence.smpl.betas.shape == (4, 10)
    seen = {COCO23.joints[place] for place in np.flatnonzero(sequence.keypoints[0, :, 2])}
    assert "left_wrist" in seen and "nose" not in seen and len(seen) == 12


def test_people_are_parted_by_name_video_and_time(tmp_path: Path) -> None:
    columns, _ = bedlam_columns()
    columns = {key: np.concatenate([value, value[:4]]) for key, value in columns.items()}
    columns["imgname"][4:8] = [
        name.replace("seq_000003", "seq_000004") for name in columns["imgname"][4:8]
    ]
    columns["sub"][4:8] = columns["sub"][0]
    columns["sub"][8:] = columns["sub"][0]
    write_bedlam_scene(tmp_path, SCENE, columns)
    sequences = read_bedlam(tmp_path, "train")
    assert [len(each) for each in sequences] == [4, 4, 4]
    assert [each.name.split("/")[1] for each in sequences] == [
        "seq_000003",
        "seq_000004",
        "seq_000003",
    ]
    assert len({each.name for each in sequences}) == 3


def test_time_that_starts_anew_is_another_person(tmp_path: Path) -> None:
    columns, people = bedlam_columns()
    columns["sub"][:] = columns["sub"][0]
    write_bedlam_scene(tmp_path, SCENE, columns)
    sequences = read_bedlam(tmp_path, "train")
    assert [len(each) for each in sequences] == [4, 4]
    for sequence, who in zip(sequences, people.values(), strict=True):
        check_projection(sequence, who)


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(float)
    array.reshape(len(array), -1)[5, 0] = np.nan
    return array


REMOVED = [
    (key, lambda _: None, f"no '{key}'")
    for key in (
        *("imgname", "center", "scale", "pose_cam", "shape"),
        *("trans_cam", "cam_int", "cam_ext", "gtkps", "sub"),
    )
]


@pytest.mark.parametrize(
    ("key", "spoil", "said"),
    [
        *REMOVED,
        *[
            (key, with_nan, f"'{key}' is not finite")
            for key in ("center", "pose_cam", "shape", "trans_cam", "cam_int", "cam_ext", "gtkps")
        ],
        ("pose_cam", lambda pose: np.tile(pose, 3)[:, :165], "SMPL-X"),
        ("shape", lambda shape: shape[:, :9], "'shape'"),
        ("trans_cam", lambda trans: trans[:, None], "'trans_cam' has the shape"),
        ("cam_ext", lambda matrix: matrix[:, :3], "'cam_ext' has the shape"),
        ("cam_int", lambda matrix: -matrix, "'cam_int'"),
        ("gtkps", lambda points: points[:, :30], "'gtkps' has the shape"),
        ("sub", lambda names: names[:-1], "'sub' has 7 rows"),
        ("sub", lambda names: np.arange(len(names)), "'sub' holds"),
        ("imgname", lambda names: np.array(["a.png"] * len(names)), "'imgname'"),
    ],
)
def test_broken_scenes_are_refused_by_file_and_key(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    key: str,
    spoil: Callable,
    said: str,
) -> None:
    columns, _ = bedlam_columns()
    path = write_bedlam_scene(tmp_path, SCENE, columns)
    write_bedlam_scene(tmp_path, CLOSEUP, bedlam_columns(closeup=True)[0])
    spoilt = columns | {key: spoil(columns[key])}
    np.savez(path, **{name: value for name, value in spoilt.items() if value is not None})
    with pytest.raises(InputError, match=SCENE) as error:
        read_bedlam(tmp_path, "train")
    assert said in str(error.value)
    left = read_bedlam(tmp_path, "train", skip_broken=True)
    assert {each.name.split("/")[0] for each in left} == {CLOSEUP} and said in caplog.text


def test_missing_and_resized_images(tmp_path: Path) -> None:
    columns, _ = bedlam_columns()
    write_bedlam_scene(tmp_path, SCENE, columns)
    images = tmp_path / "training_images" / SCENE / "png" / "seq_000003"
    (images / "seq_000003_0005.png").unlink()
    (images / "seq_000003_0015.png").unlink()
    with pytest.raises(InputError, match=r"2 images are missing.*seq_000003_0005\.png"):
        read_bedlam(tmp_path, "train")
    write_images(sorted(images.iterdir()), 64, 36)
    with pytest.raises(InputError, match="do not resize"):
        read_bedlam(tmp_path, "train")


def test_parts_are_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labels"):
        read_bedlam(tmp_path, "train")
    with pytest.raises(InputError, match="no part 'test'"):
        read_bedlam(tmp_path, "test")
    write_bedlam_scene(tmp_path, SCENE, bedlam_columns()[0])
    with pytest.raises(InputError, match="validation"):
        read_bedlam(tmp_path, "validation")
    labels = tmp_path / "training_labels"
    (labels / "all_npz_12_smpl_training").rename(tmp_path / "all_npz_12_validation")
    (tmp_path / "training_images" / SCENE).rename(tmp_path / SCENE)
    assert len(read_bedlam(tmp_path, "validation")) == 2


def test_the_order_of_the_joints_matters(tmp_path: Path) -> None:
    """Left is left: the body's own left wrist, not the right one."""
    columns, people = bedlam_columns()
    write_bedlam_scene(tmp_path, SCENE, columns)
    sequence = read_bedlam(tmp_path, "train")[0]
    who = people[sequence.subject]
    wrist = sequence.keypoints[0, COCO23.index("left_wrist"), :2]
    np.testing.assert_allclose(wrist, who.pixel_of("left_wrist", 0), atol=1e-6)
    assert np.linalg.norm(wrist - who.pixel_of("right_wrist", 0)) > 5
