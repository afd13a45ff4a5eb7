"""Shards: what is written, and that the same clips come out of them as from loose images."""

import json
import math
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_clips import SIZE, posed, write_sequence
from safetensors.torch import load_file, save_file
from torch import Generator

from temporal_hmr.data import shard_plan, shard_writing
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.cutouts import cutouts, margin_needed, require_room
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.sequence import Sequence, ShardFrames, VideoFrames
from temporal_hmr.data.shard_plan import describe, make_shards, missing_shards, plan, report
from temporal_hmr.data.shards import ShardSettings, dealt, read_shards
from temporal_hmr.data.stretches import draw_stretch
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.errors import InputError
from temporal_hmr.rendering.patterns import Patterns

FRAMES, WINDOW = 10, 4
LABELS = [field.name for field in fields(Sequence) if field.name != "images"]


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """The body is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_plan, "_posed", lambda _: posed())
        yield


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> list[Sequence]:
    """With everything, without body, without camera; a picture. JPEG files of noise with spots."""
    folder = tmp_path_factory.mktemp("loose")
    full = textured(write_sequence(folder, FRAMES, name="full", subject="a"))
    boxes = full.boxes.copy()
    boxes[3] = np.nan
    flat = replace(full, name="flat", smpl=None, has_smpl=None, trusted=False, boxes=boxes)
    blind = replace(full, name="blind", focal=None, center=None, subject="")
    picture = textured(write_sequence(folder, 1, name="picture"))
    return [full, flat, blind, picture]


def textured(sequence: Sequence) -> Sequence:
    """With JPEG images that are nowhere black, and smooth enough for JPEG."""
    paths = []
    for number, path in enumerate(sequence.images):  # type: ignore[arg-type]
        coarse = np.random.default_rng(number).integers(60, 190, (15, 20, 3)).astype(np.uint8)
        image = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        paths.append(path.with_suffix(".jpg"))
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return replace(sequence, images=tuple(paths))


def write(folder: Path, sequences: list[Sequence], workers: int = 1, **settings: object) -> Path:
    chosen = ShardSettings.model_validate({"frames": 12, "quality": 95} | settings)
    description = describe("made", "train", sequences, chosen, "open")
    for _ in make_shards(missing_shards(folder, description, sequences), None, workers):
        pass
    return folder


@pytest.fixture(scope="module")
def shards(loose: list[Sequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shards") / "cut", loose)


@pytest.fixture(scope="module")
def whole(loose: list[Sequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shards") / "whole", loose, whole=True)


def read(folder: Path, skip_broken: bool = False) -> list[Sequence]:
    return read_shards(folder.parent, folder.name, skip_broken)


PATTERNS = cache(Patterns.make)


def cutter(side: int = 48) -> WindowCutter:
    settings = WindowSettings(frames=WINDOW, side=side, assumed_focal_share=0.3)
    varied, noise = CropAugmentation(), DetectorNoise()
    return WindowCutter(settings, posed(), varied, noise, patterns=PATTERNS())


def clips(sequence: Sequence, maker: WindowCutter, count: int = 6) -> list:
    found = []
    for seed in range(count):
        stretch = draw_stretch(sequence, maker.settings, Generator().manual_seed(seed))
        found.append(maker.cut(sequence, stretch, seed))
    return found


def tensors(clip: object) -> dict[str, torch.Tensor]:
    assert isinstance(clip, tuple)
    window, target = clip
    return vars(window) | vars(target) | vars(target.smpl)


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
