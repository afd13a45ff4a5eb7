"""Networks in folders and on the hub: what is taken, and what is refused in one line."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from pretrained_folders import change_weights, write_detector, write_pose
from tracked_clips import leave, make_clip

from temporal_hmr.errors import InputError
from temporal_hmr.eyes import choose_eyes
from temporal_hmr.licensing.assets import network_terms
from temporal_hmr.people.pretrained import DEFAULTS, HUB

CPU = torch.device("cpu")


def spoil(kind: str, folder: Path) -> str | Path:
    """Do this to a folder of two networks; returns what to name at the door."""
    pose, detector = folder / "pose", folder / "detector"
    if kind in ("no weights", "no settings", "neither"):
        gone = {"no weights": pose / "model.safetensors", "no settings": pose / "config.json"}
        for path in [gone[kind]] if kind in gone else [pose, detector]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == "truncated":
        content = (pose / "model.safetensors").read_bytes()
        (pose / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif kind == "settings of something else":
        (pose / "config.json").write_text('{"model_type": "bert"}')
    elif kind == "settings that are no JSON":
        (pose / "config.json").write_text("{")
    elif kind == "settings of another size":
        told = json.loads((pose / "config.json").read_text())
        told["backbone_config"]["hidden_size"] = 32
        (pose / "config.json").write_text(json.dumps(told))
    elif kind == "wrong preprocessing":
        (detector / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 800}}')
    elif kind == "two of a kind":
        shutil.rmtree(detector)
        shutil.copytree(pose, detector)
    elif kind == "a parameter too few":
        change_weights(pose, "conv.bias", None)
    elif kind == "not a number":
        change_weights(pose, "conv.bias", float("nan"))
    return {"a file": pose / "config.json", "nowhere": folder / "absent"}.get(kind, folder)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no weights", "pose has no model.safetensors"),
        ("no settings", "there is no config.json"),
        ("neither", "nor a folder detector and a folder pose"),
        ("truncated", "does not load as ViTPose"),
        ("settings of something else", "model_type is 'bert'"),
        ("settings that are no JSON", "cannot be read as JSON"),
        ("settings of another size", "does not load as ViTPose"),
        ("wrong preprocessing", "does not say size (height and width)"),
        ("two of a kind", "do the same"),
        ("a parameter too few", "head.conv.bias is missing"),
        ("not a number", "head.conv.bias has entries that are not finite"),
        ("a file", "there is no folder"),
        ("nowhere", "there is no folder"),
    ],
)
def test_rubbish_ends_in_one_line(kind: str, said: str, eye_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(eye_folder, tmp_path / "eyes")
    given = spoil(kind, tmp_path / "eyes")
    with pytest.raises(InputError) as refused:
        choose_eyes("vitpose", given).open(CPU)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_networks_that_know_no_people_or_other_joints(eye_folder: Path, tmp_path: Path) -> None:
    cats = write_detector(tmp_path / "cats", "cat")
    with pytest.raises(InputError, match="cats finds no people"):
        choose_eyes("vitpose", [cats, eye_folder / "pose"]).open(CPU)
    hands = write_pose(tmp_path / "hands", joints=21)
    with pytest.raises(InputError, match=r"hands reads 21 keypoints; known are COCO's 17"):
        choose_eyes("vitpose", [eye_folder / "detector", hands]).open(CPU)


def test_what_does_not_load_leaves_nothing_behind(eye_folder: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(eye_folder, tmp_path / "eyes")
    change_weights(tmp_path / "eyes" / "pose", "conv.bias", None)
    clip = make_clip(tmp_path / "walk.mp4", 1)
    words = ("--detector", "vitpose", "--detector-weights", tmp_path / "eyes")
    assert leave(clip, *words, "-o", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_transformers_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"'transformers>=4\.48'` \(the extra \[vit\] of"):
        choose_eyes("vitpose")


def test_offline_it_is_said_what_to_fetch_and_where_to_put_it(monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(InputError) as refused:
        choose_eyes("vitpose")
    said = str(refused.value)
    assert "\n" not in said and "nobody answers" in said
    for role, name in DEFAULTS.items():
        assert f"{HUB}{name} to FOLDER/{role}" in said
    with pytest.raises(InputError, match=r"download https://huggingface\.co/somebody/vit \("):
        choose_eyes("vitpose", "somebody/vit")


def test_what_is_on_the_hub_is_fetched_once(eye_folder: Path, monkeypatch) -> None:
    hub, asked = pytest.importorskip("huggingface_hub"), []

    def fetch(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, local_files_only))
        if name == DEFAULTS["pose"] and local_files_only:
            raise FileNotFoundError("not here yet")
        return str(eye_folder / ("pose" if name == DEFAULTS["pose"] else "detector"))

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    eyes = choose_eyes("vitpose")
    names = (DEFAULTS["detector"], DEFAULTS["pose"])
    assert asked == [(names[0], True), (names[1], True), (names[1], False)]
    assert [each.origin for each in eyes.networks] == [HUB + name for name in names]
    asked.clear()
    choose_eyes("vitpose", eye_folder)
    assert not asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--detector", "vit-pose"), "not 'vit-pose'; did you mean vitpose?"),
        (("--detector-weights", "x"), "does nothing without --detector vitpose"),
    ],
)
def test_misspelt_or_useless_options(words, said: str, tmp_path: Path, capsys) -> None:
    assert leave(make_clip(tmp_path / "walk.mp4", 1), *words, "-o", tmp_path / "out") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_terms_of_networks() -> None:
    known = [network_terms(f"RT-DETR {HUB}{name}") for name in DEFAULTS.values()]
    assert {(each.licence, each.commercial) for each in known} == {("Apache-2.0", "allowed")}
    assert all("as stated by its model card" in each.advice for each in known)
    local = network_terms("ViTPose vitpose-base-simple")
    assert (local.licence, local.commercial) == ("unknown", "unknown") and "yours" in local.advice
    assert network_terms(f"ViTPose {HUB}somebody/vit").commercial == "unknown"
