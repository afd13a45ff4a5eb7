"""Shards: that the same clips come out of them as from loose images, or it is told."""

# ruff: noqa: F401, F811 (fixtures are imported, and named again where tests ask for them)

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_clips import SIZE, posed
from safetensors.torch import load_file, save_file
from sharded import FRAMES, clips, cutter, loose, quickly, read, shards, tensors, whole, write

from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.cutouts import cutouts, margin_needed, require_room
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.data.shard_plan import describe, report
from temporal_hmr.data.shards import ShardSettings, dealt, read_shards
from temporal_hmr.errors import InputError

LABELS = [field.name for field in fields(Sequence) if field.name != "images"]


def test_labels_are_the_same_numbers(loose: list[Sequence], shards: Path) -> None:
    found = read(shards)
    assert len(found) == len(loose)
    for ours, theirs in zip(found, loose, strict=True):
        for name in LABELS:
            value, expected = getattr(ours, name), getattr(theirs, name)
            if name == "smpl" and expected is not None:
                for key, tensor in vars(expected).items():
                    assert torch.equal(getattr(value, key), tensor)
            else:
                np.testing.assert_array_equal(value, expected, err_msg=name)


def test_whole_images_give_the_same_clips_to_the_bit(loose: list[Sequence], whole: Path) -> None:
    for ours, theirs in zip(read(whole), loose, strict=True):
        for one, other in zip(clips(ours, cutter(), 3), clips(theirs, cutter(), 3), strict=True):
            for name, value in tensors(one).items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value, tensors(other)[name]), name


def test_cutouts_give_the_same_clips_but_for_jpeg(loose: list[Sequence], shards: Path) -> None:
    """However training varies them: labels to the bit, pixels as far as JPEG keeps them."""
    mine, others = cutter(), cutter()
    plain = CropAugmentation(jpeg_share=0.0)
    mine, others = replace(mine, augmentation=plain), replace(others, augmentation=plain)
    for ours, theirs in zip(read(shards), loose, strict=True):
        for one, other in zip(clips(ours, mine, 8), clips(theirs, others, 8), strict=True):
            for name, value in tensors(one).items():
                expected = tensors(other)[name]
                if name == "images":
                    error = (value.int() - expected.int()).abs()
                    assert error.float().mean() < 1.5 and error.max() < 24
                elif isinstance(value, torch.Tensor):
                    assert torch.equal(value, expected), name
    assert not len(mine.uncovered) and not len(mine.unreadable)


def test_smaller_images_keep_their_geometry(loose: list[Sequence], tmp_path: Path) -> None:
    folder = write(tmp_path / "small", loose[:1], side=96)
    [ours] = read(folder)
    assert isinstance(ours.images, ShardFrames)
    assert ours.images.scales.max() < 1
    plain = CropAugmentation(jpeg_share=0.0, blurred_share=0.0)
    mine, others = (replace(cutter(24), augmentation=plain) for _ in range(2))
    for one, other in zip(clips(ours, mine), clips(loose[0], others), strict=True):
        error = tensors(one)["images"].float() - tensors(other)["images"].float()
        assert error.abs().mean() < 4
    assert report(folder, describe_again(loose[:1]))["images made smaller"] == FRAMES


def describe_again(sequences: list[Sequence]):
    return describe("made", "train", sequences, ShardSettings(frames=12), "open")


def test_margins_hold_every_variation() -> None:
    """By brute force over turned, larger and shifted squares about a box of side 1."""
    for varied in (CropAugmentation(), CropAugmentation(rotation=0.1, scale=(0.5, 1.6), shift=0.2)):
        reach = 0.0
        for angle in np.linspace(-2 * varied.rotation, 2 * varied.rotation, 101):
            turn = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            for x in (-1, 1):
                corner = max(varied.scale) / 2 * np.array([x, 1]) + varied.shift * np.array([x, 1])
                reach = max(reach, float(np.abs(turn @ corner).max()))
        assert margin_needed(varied) == pytest.approx(2 * reach, rel=1e-3)
    assert margin_needed(CropAugmentation(varied_share=0, rotated_share=0)) == 1
    assert margin_needed(CropAugmentation()) < ShardSettings().margin


def test_too_little_margin_is_refused_and_blurred_crops_are_told(
    shards: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = CropAugmentation(scale=(0.5, 2.0))
    with pytest.raises(InputError, match=r"shards made: .* --margin 3\.0"):
        require_room(read(shards), wild, 64, "shards made")
    require_room(read(whole), wild, 64, "whole")
    require_room(read(shards), wild, None, "no images")
    require_room(read(shards), CropAugmentation(), 257, "made")
    assert "256 pixels across a person's box, the model looks at 257" in caplog.text
    assert "--side 514" in caplog.text


def test_what_shards_lack_is_counted(loose: list[Sequence], tmp_path: Path, caplog) -> None:
    [ours] = read(write(tmp_path / "tight", loose[:1], margin=1.0))
    maker = replace(cutter(), augmentation=CropAugmentation(varied_share=1.0, scale=(1.5, 1.5)))
    clips(ours, maker, 3)
    assert 3 <= len(maker.uncovered) <= 12
    assert "larger --margin" in caplog.text


def test_cutouts_follow_those_who_are_nowhere_seen(loose: list[Sequence]) -> None:
    """Frames without labels lean on their neighbours; without any, the image is whole."""
    flat = replace(loose[1], has_joints=np.zeros_like(loose[1].has_joints))
    nothing = np.zeros_like(flat.keypoints)
    none = replace(flat, keypoints=nothing, boxes=np.full_like(flat.boxes, np.nan))
    boxes, _ = cutouts(none, posed(), 2.0)
    assert (boxes == [0, 0, *SIZE]).all()
    late = nothing.copy()
    late[-1] = flat.keypoints[-1]
    times = np.arange(FRAMES) * 1.0
    boxes, sides = cutouts(replace(none, keypoints=late, times=times), posed(), 2.0)
    assert (boxes == boxes[-1]).all()
    low, high = late[-1, :, :2].min(0), late[-1, :, :2].max(0)
    assert sides == pytest.approx(np.full(FRAMES, 2 * 1.2 * (high - low).max()))


def test_a_corrupt_member_is_counted_and_never_fatal(
    loose: list[Sequence], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One changed byte in the middle of an image: a decoder would say nothing."""
    folder = write(tmp_path / "made", loose[:1])
    [ours] = read(folder)
    assert isinstance(ours.images, ShardFrames)
    content = bytearray((folder / "00000.tar").read_bytes())
    content[int(ours.images.offsets[4] + ours.images.sizes[4] // 2)] ^= 1
    (folder / "00000.tar").write_bytes(content)
    maker = cutter()
    found = clips(read(folder)[0], maker)
    assert all(each is not None for each in found) and len(maker.unreadable) == 1
    assert "00000.tar: 00000_00000_000004.jpg is not what was written" in caplog.text
    invalid = sum(int((~window.valid).sum()) for window, _ in found)
    assert invalid > 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "00001.tar").unlink(), r"00001\.tar"),
        (lambda f: cut_off(f / "00001.tar"), r"00001\.tar has \d+ bytes"),
        (lambda f: (f / "00001.safetensors").unlink(), r"no index .*00001\.safetensors"),
        (lambda f: cut_off(f / "00001.safetensors"), r"00001\.safetensors is damaged"),
        (lambda f: rewritten(f / "00001.safetensors", "boxes"), r"00001\.safetensors.*no boxes"),
        (lambda f: rewritten(f / "00001.safetensors", ""), r"00001\.safetensors: .*no contents"),
        (lambda f: (f / "description.json").unlink(), r"description\.json"),
        (lambda f: (f / "description.json").write_text("{}"), r"description\.json: dataset"),
    ],
)
def test_what_is_broken_is_named(
    loose: list[Sequence], tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    folder = write(tmp_path / "made", loose[2:], frames=10)
    spoil(folder)
    with pytest.raises(InputError, match=said):
        read(folder)
    if "description" not in said:
        assert [each.name for each in read(folder, skip_broken=True)] == ["blind"]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def rewritten(path: Path, without: str) -> None:
    """An index that lacks an array, or what is no array."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        told = file.metadata() if without else None
    save_file({k: v for k, v in load_file(path).items() if k != without}, path, told)


def test_folders_and_tars_are_named_by_patterns(loose: list[Sequence], tmp_path: Path) -> None:
    write(tmp_path / "day one", loose[:2], frames=10)
    write(tmp_path / "day two", loose[2:], frames=10)

    def names(part: str) -> list[str]:
        return [each.name for each in read_shards(tmp_path, part)]

    assert names("day *") == ["full", "flat", "blind", "picture"]
    assert names("day */00001.tar") == ["flat", "picture"]
    assert names(str(tmp_path / "day two")) == ["blind", "picture"]
    with pytest.raises(InputError, match=r"there are no shards at .*/night"):
        names("night")


def test_processes_learn_from_different_sequences_that_together_are_all() -> None:
    class Of:
        def __init__(self, frames: int):
            self.frames = frames

        def __len__(self) -> int:
            return self.frames

    lengths = np.random.default_rng(0).integers(1, 40, 200).tolist()
    sequences = [Of(length) for length in lengths]
    for count in (1, 2, 7):
        parts = [dealt(sequences, process, count) for process in range(count)]  # type: ignore[arg-type]
        assert [each for part in parts for each in part] == sequences
        shares = [sum(map(len, part)) for part in parts]
        assert max(shares) - min(shares) <= 2 * max(lengths)
    few = sequences[:3]
    assert all(dealt(few, process, 4) == few for process in range(4))  # type: ignore[arg-type]
