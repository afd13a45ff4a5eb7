"""From a dataset to shards through the script, and from shards to weights through the door."""

import json
import runpy
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

import pytest
import torch
from picture_trees import penn_labels, write_penn
from safetensors.torch import load_file
from test_train_datasets import MODEL
from toy_task import rows

from temporal_hmr import train
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.training import distributed, loop, sources
from temporal_hmr.training.dataset_source import DatasetWindows
from temporal_hmr.training.opening import DataConfig, Given, open_source

SCRIPT = Path(__file__).parents[1] / "scripts" / "prepare_dataset.py"
DATASETS = """
datasets:
  train: [{dataset: shards, part: penn}]
  judge: [{dataset: shards, part: penn-test}]
"""
LESSON = "frame_training: {steps: 3, clips: 2, warmup: 1, save_every: 1, looks: false}\n"
CONFIG = MODEL[: MODEL.index("frame_training")] + LESSON + DATASETS


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, script: dict[str, Any]) -> Path:
    """Penn Action, and shards of its two parts."""
    folder = tmp_path_factory.mktemp("data")
    penn = folder / "penn-action"
    for number in range(1, 6):
        write_penn(
            penn, f"{number:04}", penn_labels(4 + number, number, train=1 if number < 5 else -1)
        )
    words = ["penn-action", penn, "--shard-frames", 10, "--side", 128]
    run(script, *words, "--shards", folder / "shards" / "penn", "-o", folder / "report.json")
    run(script, *words, "--shards", folder / "shards" / "penn-test", "--part", "test")
    return folder


def run(script: dict[str, Any], *words: object) -> None:
    script["main"]([str(word) for word in words])


def test_the_script_tells_what_it_wrote(
    data: Path, script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads((data / "report.json").read_text())
    assert (told["frames"], told["images in shards"], told["unreadable images"]) == (26, 26, 0)
    files = sorted(path.name for path in (data / "shards/penn").iterdir())
    assert len(files) == 1 + 2 * told["shards"]
    sizes = [path.stat().st_size for path in (data / "shards/penn").glob("*.tar")]
    assert told["bytes of shards"] == sum(sizes)
    # The same look at the data, this time through the shards.
    words = ["shards", data / "shards", "--part", "penn", "-o", tmp_path / "again.json"]
    run(script, *words, "--overlays", tmp_path / "pictures")
    again = json.loads((tmp_path / "again.json").read_text())
    for name in ("sequences", "persons", "frames", "share_with_keypoints", "trusted"):
        assert again[name] == told[name]
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    assert "images in shards: 26" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--whole-images", "--side", "64"), "--side does nothing to whole images"),
        (("--quality", "0"), "options of --shards: quality"),
        (("--side", "128"), "settings, .* differ|settings differ"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    data: Path, script: dict[str, Any], words: Many[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(script, "penn-action", data / "penn-action", "--shards", data / "shards/penn", *words)


def test_a_shard_is_no_dataset_to_be_cut_again(
    data: Path, script: dict[str, Any], tmp_path: Path
) -> None:
    words = ["shards", data / "shards", "--part", "penn", "--shards", tmp_path / "again"]
    with pytest.raises(InputError, match="is a shard already"):
        run(script, *words)


class Killed(BaseException):
    """Nothing in the loop catches this."""


def test_a_run_that_was_killed_goes_on_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same log and the same weights, with images of shards and threads that load ahead."""
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 2)
    (tmp_path / "run.yaml").write_text(CONFIG)
    words = [tmp_path / "run.yaml", "--data", data, "--device", "cpu", "-o"]
    train.main([str(word) for word in (*words, tmp_path / "whole")])
    save, saved = loop.save, []

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        saved.append(1)
        if len(saved) == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", save_and_die)
        with pytest.raises(Killed):
            train.main([str(word) for word in (*words, tmp_path / "broken")])
    train.main([str(word) for word in (*words, tmp_path / "broken")])
    assert rows(tmp_path / "broken/frames") == rows(tmp_path / "whole/frames")
    ours, others = (load_file(tmp_path / f / "model.safetensors") for f in ("broken", "whole"))
    assert ours.keys() == others.keys()
    assert not [name for name in ours if not torch.equal(ours[name], others[name])]


def opened(data: Path, part: str = "penn") -> DatasetWindows:
    parts = {
        "train": [{"dataset": "shards", "part": part}],
        "judge": [{"dataset": "shards", "part": "penn-test"}],
    }
    source = open_source(DataConfig.model_validate({"datasets": parts}), HmrConfig(), Given(data))
    assert isinstance(source, DatasetWindows)
    return source


def test_two_processes_see_disjoint_clips_that_together_are_all(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = names(opened(data).train["shards penn"])
    monkeypatch.setattr(distributed, "process_count", lambda: 2)
    parts, seen = [], []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        source = opened(data)
        parts.append(names(source.train["shards penn"]))
        assert names(source.judges["shards penn-test"]) == ["0005"]
        window, _ = source.of_length(2).draw(20, torch.Generator().manual_seed(0))
        seen.append({tuple(box) for box in window.box_center.flatten(0, 1).tolist()})
    assert parts[0] + parts[1] == everything == ["0001", "0002", "0003", "0004"]
    assert parts[0] and parts[1] and not seen[0] & seen[1]


def names(sequences: Many[Sequence]) -> list[str]:
    return [each.name for each in sequences]


def test_labels_stay_on_disk(data: Path) -> None:
    """Arrays of a shard's sequences are views of the mapped index."""
    for each in opened(data).train["shards penn"]:
        assert isinstance(each.images, ShardFrames)
        assert not each.keypoints.flags.owndata and not each.images.offsets.flags.owndata


def test_the_margin_of_shards_is_that_of_the_augmentation(data: Path) -> None:
    wide = {"train": [{"dataset": "shards", "part": "penn"}], "augmentation": {"scale": [0.5, 2]}}
    config = {"datasets": wide | {"judge": [{"dataset": "shards", "part": "penn-test"}]}}
    model = HmrConfig.model_validate({"encoder": {"kind": "int"}, "decoder": None})
    with pytest.raises(InputError, match="shards penn: shards hold 2 times the box"):
        open_source(DataConfig.model_validate(config), model, Given(data))
    assert len(opened(data, "penn/*.tar").train["shards penn/*.tar"]) == 4
