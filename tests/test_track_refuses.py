"""The track door, asked for something wrong: one line, and nothing left behind."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_trees import write_picture
from tracked_clips import files_below, leave, make_clip, tiny_config

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.joint_motion import JointMotionConfig


class Bomb:
    """Pickled, a call of `os.mkdir` on reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def wrong_words(folder: Path, walk: Path, weights: Path) -> dict[str, list[str | Path]]:
    """Words for the door that ask for something wrong, with the wrong things in the folder."""
    (folder / "none").mkdir()
    (folder / "text.mp4").write_text("this is no video" * 100)
    (folder / "zero.mp4").touch()
    np.savez(folder / "body.npz", v_template=np.zeros((4, 3)))
    write_picture(folder / "seq" / "1.png", 60, 40)
    (folder / "here").symlink_to(folder)
    (folder / "overlay").mkdir()
    for copy in ("...mp4", "overlay/overlay.mp4"):
        shutil.copy(walk, folder / copy)
    (folder / "bomb.pkl").write_bytes(pickle.dumps({"f": Bomb(folder / "boom")}))
    of_smpl = tiny_config().model_copy(update={"body": "smpl"})
    save_checkpoint(Hmr(of_smpl), of_smpl, "hmr", folder / "smpl.safetensors", half=True)
    other = tiny_config().model_copy(update={"motion": JointMotionConfig(heads=2, layers=3)})
    save_checkpoint(Hmr(tiny_config()), other, "hmr", folder / "other.safetensors", half=True)
    return {
        "missing": [folder / "absent.mp4"],
        "folder without images": [folder / "none"],
        "text": [folder / "text.mp4"],
        "empty": [folder / "zero.mp4"],
        "empty word": ["", "-o", folder / "out"],
        "address": ["https://example.com/a.mp4"],
        "output among the images": [folder / "seq", "-o", folder / "here"],
        "output over the video": [folder / "overlay" / "overlay.mp4", "-o", folder],
        "output above the output folder": [folder / "...mp4", "-o", folder / "none" / "out"],
        "output below a file": [walk, "-o", folder / "zero.mp4" / "out"],
        "body of other arrays": [walk, "--body", folder / "body.npz"],
        "body that runs code": [walk, "--body", folder / "bomb.pkl"],
        "no body": [walk, "--body", folder / "absent.pkl"],
        "weights that are none": [walk, "--weights", folder / "text.mp4"],
        "weights of SMPL's shapes, and no SMPL": [walk, "--weights", folder / "smpl.safetensors"],
        "weights of another configuration": [walk, "--weights", folder / "other.safetensors"],
        "nothing": [],
        "two sources": [walk, "--sample"],
        "person": [walk, "--person", "largst"],
        "focal": [walk, "--focal", "-3"],
        "focal without end": [walk, "--focal", "inf"],
        "end": [walk, "--end", "nan"],
        "focal word": [walk, "--focal", "wide"],
        "device": [walk, "--device", "gpu"],
        "start beyond the end": [walk, "--start", "99"],
        "option": [walk, "--wieghts", weights],
    }


@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "absent.mp4"),
        ("folder without images", "no images"),
        ("text", "cannot be read as a video"),
        ("empty", "is empty"),
        ("empty word", "SOURCE is empty"),
        ("address", "https://example.com/a.mp4 is an address: download"),
        ("output among the images", "seq itself lies: choose another place with --output-dir"),
        ("output over the video", "overlay.mp4 itself lies"),
        ("output above the output folder", "leaves no name for a folder of results"),
        ("output below a file", "--output-dir"),
        ("body of other arrays", "body.npz"),
        ("body that runs code", "bomb.pkl"),
        ("no body", "absent.pkl"),
        ("weights that are none", "not a safetensors file"),
        ("weights of another configuration", "do not match their settings"),
        ("nothing", "give one SOURCE"),
        ("two sources", "give one SOURCE"),
        ("person", "did you mean largest?"),
        ("focal", "positive number of pixels"),
        ("focal without end", "positive number of pixels"),
        ("end", "finite numbers of seconds"),
        ("focal word", "--focal"),
        ("device", "gpu"),
        ("start beyond the end", "99"),
        ("option", "did you mean --weights?"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(
    kind, said, walk, weights, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = wrong_words(tmp_path, walk, weights)[kind]
    if "--weights" not in words:
        words = [*words, "--weights", weights]
    before = files_below(tmp_path)
    assert leave(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert said in shown.err
    assert files_below(tmp_path) == before


def test_another_video_of_the_same_name_is_not_overwritten(
    walk, weights, tmp_path, capsys, detector
) -> None:
    assert leave(walk, "-o", tmp_path / "out", "--weights", weights, "--no-render") == 0
    (tmp_path / "other").mkdir()
    other = make_clip(tmp_path / "other" / "walk.mp4", gray=30)
    assert leave(other, "-o", tmp_path / "out", "--weights", weights) == 2
    assert "holds the results of another video (walk.mp4)" in capsys.readouterr().err
