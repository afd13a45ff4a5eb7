"""Plain arrays in an npz are read as a prediction."""

from pathlib import Path

import numpy as np
import pytest
from interchange_files import motion
from test_interchange import SPARSE, check_smpl

from temporal_hmr.errors import InputError
from temporal_hmr.interchange.files import read_predictions


def test_the_least_there_can_be(tmp_path: Path) -> None:
    local = motion(5)
    np.savez(tmp_path / "walk.npz", poses=local["pose"], betas=local["betas"][0])
    (read,) = read_predictions(tmp_path / "walk.npz")
    assert (read.source, read.gender, read.has_depth) == ("npz", "neutral", False)
    expected = {"betas": np.tile(local["betas"][0], (5, 1)), "trans": np.zeros((5, 3))}
    check_smpl(read.smpl, {"pose": local["pose"], **expected})
    assert read.frames.tolist() == [0, 1, 2, 3, 4]
    assert read.world is None


def test_a_shape_of_all_frames_may_be_a_row(tmp_path: Path) -> None:
    local = motion(5)
    np.savez(tmp_path / "walk.npz", poses=local["pose"], betas=local["betas"][:1])
    (read,) = read_predictions(tmp_path / "walk.npz")
    assert read.smpl.betas.tolist() == [local["betas"][0].tolist()] * 5


def test_all_there_may_be(tmp_path: Path) -> None:
    local, world = motion(4), motion(4, seed=1)
    np.savez(
        tmp_path / "walk.npz",
        poses=local["pose"], betas=local["betas"], trans=local["trans"], frame_ids=SPARSE,
        gender="female", mocap_frame_rate=25.0, bbox_xyxy=np.tile([1.0, 2, 30, 40], (4, 1)),
        poses_world=world["pose"], trans_world=world["trans"],
    )  # fmt: skip
    (read,) = read_predictions(tmp_path / "walk.npz")
    check_smpl(read.smpl, local)
    assert read.world is not None
    check_smpl(read.world, {**world, "betas": local["betas"]})
    assert read.boxes is not None
    assert (read.gender, read.fps, read.has_depth) == ("female", 25.0, True)
    assert read.frames.tolist() == SPARSE.tolist()
    assert read.boxes[3].tolist() == [1, 2, 30, 40]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"betas": np.zeros(9)}, "'betas' of shape"),
        ({"trans": np.zeros((4, 3))}, "'trans' of shape"),
        ({"frame_ids": np.arange(4)}, "5 frames in 'poses', not 4"),
        ({"frame_ids": np.zeros(0, int)}, "no frames in 'frame_ids'"),
        ({"gender": "other"}, "gender 'other'"),
        ({"trans_world": np.zeros((5, 3))}, "no 'poses_world'"),
    ],
)
def test_what_does_not_fit_is_named(change, said, tmp_path: Path) -> None:
    local = motion(5)
    arrays = {"poses": local["pose"], "betas": local["betas"]} | change
    np.savez(tmp_path / "walk.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read_predictions(tmp_path / "walk.npz")
