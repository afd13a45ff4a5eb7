"""Shards as they are written: whole, readable by anybody, the same after interruptions."""

# ruff: noqa: F401, F811 (fixtures are imported, and named again where tests ask for them)

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_clips import SIZE
from sharded import FRAMES, clips, cutter, loose, quickly, read, shards, tensors, write
from torch import Generator

from temporal_hmr.data import shard_writing
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.sequence import Sequence, ShardFrames, VideoFrames
from temporal_hmr.data.shard_plan import describe, plan, report
from temporal_hmr.data.shards import ShardSettings
from temporal_hmr.data.stretches import draw_stretch
from temporal_hmr.errors import InputError


def test_any_tar_program_reads_them(loose: list[Sequence], shards: Path) -> None:
    """Samples of the package webdataset: files in a row whose names agree up to the first point."""
    rows = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as archive:
            rows += [(each.name, archive.extractfile(each).read()) for each in archive]  # type: ignore[union-attr]
    names = [name.split(".", 1) for name, _ in rows]
    assert [key for key, _ in names[::2]] == [key for key, _ in names[1::2]]
    assert [kind for _, kind in names] == ["jpg", "json"] * (3 * FRAMES + 1)
    assert len({key for key, _ in names}) == 3 * FRAMES + 1
    labels = json.loads(rows[1][1])
    image = cv2.imdecode(np.frombuffer(rows[0][1], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    full = loose[0]
    assert full.smpl is not None
    np.testing.assert_allclose(labels["keypoints"], full.keypoints[0], atol=1e-6)
    np.testing.assert_allclose(labels["poses"], full.smpl[0].poses(), atol=1e-6)
    assert labels["has_smpl"] is True and labels["image_size"] == list(SIZE)
    # What it says of the crop is so: the same pixels are at that place of the full image.
    left, top = map(int, labels["corner"])
    assert labels["scale"] == [1, 1]
    original = cv2.imread(str(full.images[0]))  # type: ignore[index]
    assert original is not None
    part = original[top : top + len(image), left : left + image.shape[1]].astype(int)
    assert np.abs(image.astype(int) - part).mean() < 1.5
    flat = json.loads(dict(rows)["00001_00000_000003.json"])
    assert flat["box"] is None and "poses" not in flat


def test_clips_never_cross_shards(loose: list[Sequence], tmp_path: Path) -> None:
    """A sequence is in one shard; too long a one is cut in parts, of one person still."""
    for ours in read(write(tmp_path / "short", loose, frames=4)):
        assert isinstance(ours.images, ShardFrames) and len(ours) <= 4
    found = [each for shard in plan(loose, 4) for each in shard]
    assert [len(each) for each in found[:3]] == [3, 3, 4]
    joined = np.concatenate([each.keypoints for each in found[:3]])
    np.testing.assert_array_equal(joined, loose[0].keypoints)
    assert {each.subject for each in found[:3]} == {"a"}
    assert {each.subject for each in found[6:9]} == {"blind"}
    assert len({each.name for each in found}) == len(found)
    assert [sum(map(len, shard)) for shard in plan(loose, 12)] == [10, 10, 11]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_interrupted_and_continued_gives_the_same_bytes(
    loose: list[Sequence], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off inside a tar, and between a tar and its index."""
    folder = tmp_path / "again"
    original, calls = shard_writing._Writer._write, []

    def until(number: int) -> Callable[..., int]:
        def write_until(*arguments: object) -> int:
            calls.append(1)
            if len(calls) == number:
                raise KeyboardInterrupt
            return original(*arguments)  # type: ignore[arg-type]

        return write_until

    for number in (25, 7):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(shard_writing._Writer, "_write", until(number))
            with pytest.raises(KeyboardInterrupt):
                write(folder, loose)
    assert not (folder / "00001.tar").exists() and (folder / "00000.safetensors").exists()
    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(folder, loose)
    with pytest.raises(InputError, match=r"no index .*00001\.safetensors"):
        read(folder)
    kept = (folder / "00000.tar").stat().st_mtime_ns
    write(folder, loose)
    assert (folder / "00000.tar").stat().st_mtime_ns == kept
    assert files(folder) == files(shards)
    with pytest.raises(InputError, match="settings differ"):
        write(folder, loose, quality=50)
    with pytest.raises(InputError, match="labels differ"):
        write(folder, [replace(loose[0], trusted=False), *loose[1:]])


def test_unreadable_images_are_told_and_might_never_have_been(
    loose: list[Sequence], tmp_path: Path
) -> None:
    paths = list(loose[0].images)  # type: ignore[arg-type]
    paths[2] = tmp_path / "broken.jpg"
    paths[2].write_bytes(paths[0].read_bytes()[:-3000])
    broken = replace(loose[0], images=tuple(paths))
    folder = write(tmp_path / "made", [broken], whole=True)
    told = report(folder, describe("made", "train", [broken], ShardSettings(), "open"))
    assert (told["images in shards"], told["unreadable images"]) == (FRAMES - 1, 1)
    assert "broken.jpg breaks off" in told["unreadable"][0]  # type: ignore[index]
    mine, others = cutter(), cutter()
    for one, other in zip(clips(read(folder)[0], mine), clips(broken, others), strict=True):
        assert torch.equal(one[0].images, other[0].images)
        assert torch.equal(one[0].valid, other[0].valid)
    assert mine.unreadable.summary() == "1 images of 1 files could not be read and were left out"


def test_images_of_every_kind_are_stored_upright(loose: list[Sequence], tmp_path: Path) -> None:
    """Lying images and frames of a video; whole ones stay as they lie."""
    lying = []
    for frame, path in enumerate(loose[0].images):  # type: ignore[arg-type]
        image = cv2.imread(str(path))
        assert image is not None
        lying.append(tmp_path / f"{frame}.png")
        cv2.imwrite(str(lying[-1]), cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))
    video = tmp_path / "video.avi"
    stream = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, SIZE)
    for path in loose[0].images:  # type: ignore[union-attr]
        stream.write(np.asarray(cv2.imread(str(path))))
    stream.release()
    turned = replace(loose[0], name="turned", images=tuple(lying), quarter_turns=1)
    filmed = replace(loose[0], images=VideoFrames(video, tuple(range(FRAMES))))
    plain = CropAugmentation(jpeg_share=0.0)
    for settings in ({"whole": True}, {"frames": 5}):
        place = 0
        for ours in read(write(tmp_path / str(settings), [turned, filmed], **settings)):
            maker = replace(cutter(), augmentation=plain)
            stretch = draw_stretch(ours, maker.settings, Generator().manual_seed(0))
            in_all = replace(stretch, frames=stretch.frames + place % FRAMES)
            one, other = maker.cut(ours, stretch, 1), maker.cut(loose[0], in_all, 1)
            error = tensors(one)["images"].float() - tensors(other)["images"].float()
            assert error.abs().mean() < 3 and tensors(one)["valid"].all()
            place += len(ours)
        assert place == 2 * FRAMES


def test_a_disk_that_is_full_is_told(
    loose: list[Sequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shard_writing._Writer, "_write", full)
    with pytest.raises(InputError, match=r"shard 0 cannot be written to .*No space left"):
        write(tmp_path / "made", loose)


@pytest.mark.slow
def test_several_processes_write_the_same(
    loose: list[Sequence], shards: Path, tmp_path: Path
) -> None:
    assert files(write(tmp_path / "two", loose, workers=2)) == files(shards)
