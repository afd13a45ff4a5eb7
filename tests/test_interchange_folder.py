"""Result files in a folder are assigned to the videos that their paths name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from interchange_files import dump, wham_contents, write_gvhmr
from result_motions import PROVENANCE, make_motion

from temporal_hmr.errors import InputError
from temporal_hmr.interchange.folder import read_folder
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.npz import save_motion

SPARSE = np.array([2, 3, 5, 9])
VIDEOS = ["downtown_arguing_00", "P1_14_outdoor_climb", "walk_1", "walk_10", "walk"]


def read_names(folder: Path, *names: str) -> dict[str, tuple[str, int | None] | None]:
    """For each file, in a folder of its own kind, the video and the actor."""
    for name in names:
        if name.endswith(".pt"):
            write_gvhmr(folder / name, 2)
        elif name.endswith(".npz"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            save_motion(make_motion(), folder / name, PROVENANCE)
        else:
            dump(wham_contents({0: SPARSE, 1: SPARSE}), folder / name)
    found = read_folder(folder, VIDEOS)
    assert all(isinstance(one, PredictedMotion) for each in found.entries for one in each.motions)
    named = {
        str(entry.path.relative_to(folder)): (entry.video, entry.actor) for entry in found.entries
    }
    assert list(named) == sorted(named)
    return named | {str(path.relative_to(folder)): None for path in found.unmatched}


@pytest.mark.parametrize(
    ("name", "video", "actor"),
    [
        ("downtown_arguing_00/wham_output.pkl", "downtown_arguing_00", None),
        ("demo_downtown_arguing_00.pkl", "downtown_arguing_00", None),
        ("downtown_arguing_00_0.npz", "downtown_arguing_00", 0),
        ("results/demo_downtown_arguing_00_1.pkl", "downtown_arguing_00", 1),
        ("downtown_arguing_00_1/hmr4d_results.pt", "downtown_arguing_00", 1),
        ("downtown_arguing_00_1/downtown_arguing_00_0.pkl", "downtown_arguing_00", 0),
        ("outputs/P1_14_outdoor_climb/person_000.npz", "P1_14_outdoor_climb", None),
        ("walk_1.pkl", "walk_1", None),
        ("walk_10.pkl", "walk_10", None),
        ("walk_10/person_001.npz", "walk_10", None),
        ("walk_1_0.pkl", "walk_1", 0),
        ("walk-1.pkl", "walk", None),
        ("walk.results.pkl", "walk", None),
        ("walk/walk_1.pkl", "walk_1", None),
    ],
)
def test_the_path_names_the_video(name: str, video: str, actor: int | None, tmp_path: Path) -> None:
    assert read_names(tmp_path, name) == {name: (video, actor)}


@pytest.mark.parametrize(
    "name", ["walker.pkl", "walk1.pkl", "sidewalk.pkl", "sub/Walk.pkl", "other_00.pt"]
)
def test_what_names_no_video_is_left_and_told(name: str, tmp_path: Path) -> None:
    assert read_names(tmp_path, name) == {name: None}


def test_everything_in_order(tmp_path: Path) -> None:
    names = ("b/walk.pkl", "a/walk_10.pkl", "a/nobody.npz", "c/walk_1_0.npz")
    assert read_names(tmp_path, *names) == {
        "a/walk_10.pkl": ("walk_10", None),
        "b/walk.pkl": ("walk", None),
        "c/walk_1_0.npz": ("walk_1", 0),
        "a/nobody.npz": None,
    }


def test_other_files_of_the_systems_are_left_alone(tmp_path: Path) -> None:
    write_gvhmr(tmp_path / "walk/hmr4d_results.pt", 2)
    (tmp_path / "walk/preprocess").mkdir()
    torch.save({"bbx_xys": torch.zeros(3)}, tmp_path / "walk/preprocess/bbx.pt")
    for name in ("result.json", "overlay.mp4", "1_incam.mp4", ".person_000.ab.npz"):
        (tmp_path / "walk" / name).write_bytes(b"x")
    found = read_folder(tmp_path, VIDEOS)
    assert [entry.path.name for entry in found.entries] == ["hmr4d_results.pt"]
    assert found.unmatched == ()


def test_two_videos_named_alike_in_a_path_are_refused(tmp_path: Path) -> None:
    dump(wham_contents({0: SPARSE}), tmp_path / "jump_1/walk_1.pkl")
    with pytest.raises(InputError, match=r"walk_1\.pkl could be of jump_1 or walk_1"):
        read_folder(tmp_path, ["jump_1", "walk_1"])


def test_empty_and_absent_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no result file"):
        read_folder(tmp_path, VIDEOS)
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "absent", VIDEOS)


def test_a_file_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    (tmp_path / "walk.pkl").write_bytes(b"x")
    with pytest.raises(InputError, match=r"walk\.pkl is damaged"):
        read_folder(tmp_path, VIDEOS)
