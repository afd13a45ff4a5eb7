"""`scripts/prepare_dataset.py`: what it counts, what it measures, and what it finds."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_trees import write_bodies, write_threedpw
from training_trees import (
    bedlam_columns,
    human36m_columns,
    write_amass,
    write_bedlam_scene,
    write_human36m,
    write_mpi_recording,
)

from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "prepare_dataset.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def report_on(script: dict[str, Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(dataset: str, folder: Path, *more: str) -> dict[str, Any]:
        output = tmp_path / "report.json"
        script["main"]([dataset, str(folder), "-o", str(output), *more])
        return json.loads(output.read_text())

    return run


def test_a_whole_dataset(
    report_on: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, people = human36m_columns()
    report = report_on("human3.6m", write_human36m(tmp_path / "h36m", columns))
    assert (report["sequences"], report["persons"], report["frames"]) == (4, 2, 16)
    assert report["trusted"] and report["problems"] == [] and report["suspicious"] == {}
    assert report["share_with_smpl"] == 0
    assert report["share_with_joints"] == report["share_with_keypoints"] == 1
    assert report["reprojection_px"]["p95"] < 0.1
    known = [who.joints for name, who in people.items() if "S9" not in name]
    low, high = report["joint_ranges_m"]["z"]
    assert np.min(known) < low < high < np.max(known) + 0.01 and low > 3
    printed = capsys.readouterr().out
    assert "sequences: 4" in printed and "reprojection px: median" in printed


def test_swapped_sides_are_found(
    report_on: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, _ = human36m_columns()
    swapped = columns["S"][:, [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, *range(12, 24)]]
    report = report_on("human3.6m", write_human36m(tmp_path / "h36m", columns | {"S": swapped}))
    assert report["reprojection_px"]["median"] > 20
    assert len(report["suspicious"]) == 4
    assert "another order of joints?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil",
    [lambda points: points[..., [1, 0, 2, 3]], lambda points: points * [1, -1, 1, 1]],
    ids=["x and y", "y upwards"],
)
def test_swapped_axes_are_refused(
    report_on: Callable, tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    columns, _ = human36m_columns()
    root = write_human36m(tmp_path / "h36m", columns | {"S": spoil(columns["S"])})
    with pytest.raises(InputError, match="they are in other axes"):
        report_on("human3.6m", root)


def test_a_wrong_camera_is_found(report_on: Callable, tmp_path: Path) -> None:
    folder = write_mpi_recording(tmp_path / "3dhp", "S1/Seq1")
    report = report_on("mpi-inf-3dhp", tmp_path / "3dhp")
    assert report["reprojection_px"]["p95"] < 1e-6 and not report["trusted"]
    calibration = folder / "camera.calibration"
    calibration.write_text(calibration.read_text().replace("70.0 0 48.0", "140.0 0 48.0"))
    report = report_on("mpi-inf-3dhp", tmp_path / "3dhp")
    assert list(report["suspicious"]) == ["S1/Seq1/video_0"]


def test_bodies_stand_in_for_joints(report_on: Callable, tmp_path: Path) -> None:
    write_bedlam_scene(tmp_path / "bedlam", "scene_6fps", bedlam_columns()[0])
    report = report_on("bedlam", tmp_path / "bedlam")
    assert report["share_with_smpl"] == 1 and report["share_with_joints"] == 0
    assert report["reprojection_px"]["p95"] < 0.1


def test_3dpw_and_its_crowds(report_on: Callable, tmp_path: Path) -> None:
    bodies = write_bodies(tmp_path / "bodies", vertices=120)
    root = tmp_path / "3DPW"
    videos = {"courtyard_golf_00": "f", "courtyard_dancing_01": "mf"}
    write_threedpw(root, bodies, split="train", frames=16, sequences=videos)
    report = report_on("3dpw", root)
    assert (report["sequences"], report["frames"]) == (3, 48)
    assert report["suspicious"] == {} and 0 < report["reprojection_px"]["median"] < 10
    assert report_on("3dpw-occ", root)["sequences"] == 1


def test_broken_parts_are_told_and_left_out(
    report_on: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, _ = human36m_columns()
    columns["S"][0, 0, 0] = np.nan
    root = write_human36m(tmp_path / "h36m", columns)
    (root / "images/S5_Walking_1.54138969_000006.jpg").unlink()
    report = report_on("human3.6m", root)
    assert report["sequences"] == 2
    assert any("'S' is not finite" in problem for problem in report["problems"])
    assert any("1 images are missing" in problem for problem in report["problems"])
    assert "broken, and left out" in capsys.readouterr().out


def test_motion_capture(report_on: Callable, tmp_path: Path) -> None:
    write_amass(tmp_path / "amass", "CMU/01/01_01_poses.npz")
    report = report_on("amass", tmp_path / "amass")
    assert (report["sequences"], report["persons"], report["frames"]) == (1, 1, 8)
    assert report["hours"] == pytest.approx(8 / 120 / 3600)
    np.testing.assert_allclose(report["heights_of_root_m"], 0.9, atol=1e-6)


def test_a_picture_of_every_sequence(report_on: Callable, tmp_path: Path) -> None:
    """Drawn where the labels are, and lying images are turned upright."""
    write_mpi_recording(tmp_path / "3dhp", "S1/Seq1")
    pictures = tmp_path / "pictures"
    report_on("mpi-inf-3dhp", tmp_path / "3dhp", "--overlays", str(pictures))
    names = sorted(path.name for path in pictures.iterdir())
    assert names == ["S1_Seq1_video_0.jpg", "S1_Seq1_video_2.jpg"]
    image = cv2.imread(str(pictures / names[0]))
    assert image is not None and image.shape == (80, 96, 3) and np.ptp(image) > 100
    write_bedlam_scene(tmp_path / "bedlam", "closeup_6fps", bedlam_columns(closeup=True)[0])
    report_on("bedlam", tmp_path / "bedlam", "--overlays", str(pictures))
    upright = [cv2.imread(str(path)) for path in pictures.glob("closeup*")]
    assert len(upright) == 2 and all(each is not None and each.shape[0] == 128 for each in upright)


def test_every_name_has_its_reader(script: dict[str, Any], tmp_path: Path) -> None:
    """Whatever it says of an empty folder, it is no complaint about the dataset's name."""
    for dataset in script["DATASETS"]:
        with pytest.raises(InputError) as error:
            script["main"]([dataset, str(tmp_path), "--part", "train"])
        assert "there is no dataset" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["human36m", "."], "did you mean human3.6m"),
        (["3dpw", "/nowhere"], "/nowhere"),
        (["bedlam", ".", "--parts", "x"], "did you mean --part"),
    ],
)
def test_mistakes_are_told_in_a_line(
    script: dict[str, Any], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as status:
        run_door(lambda: script["main"](words))
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
