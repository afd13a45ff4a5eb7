"""Shards of rendered windows: what was written is read, and what is broken is named."""

import json
import logging
import runpy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_synthetic import swinging_take
from torch import Generator

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.rendered import (
    ClipsDescription,
    RenderedClips,
    claim_folder,
    valid_clips,
    write_shard,
)
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.output.npz import load_motion
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.video import open_clip

SIDE, FRAMES = 16, 6
DESCRIPTION = ClipsDescription(
    body="open",
    subjects=("01", "05"),
    clips=5,
    clips_per_shard=3,
    frames=FRAMES,
    seed=0,
    rendering=RenderingConfig(side=SIDE),
    augmentation=Augmentation(),
    noise=DetectorNoise(),
)

Batch = tuple[CropWindow, BodyTarget]


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    window, target = batch
    found = {}
    for group in (window, target, target.smpl):
        for field in fields(group):
            value = getattr(group, field.name)
            if isinstance(value, torch.Tensor):
                found[f"{type(group).__name__}.{field.name}"] = value
    return found


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Five clips whose images tell clip and frame."""
    posed = PosedBody(load_body())
    bank = MotionBank.of([swinging_take()])
    generator = Generator().manual_seed(0)
    shape = (5, FRAMES)
    window, target = synthesise(bank, posed, shape, Augmentation(), DetectorNoise(), generator)
    images = torch.randint(0, 255, (5, FRAMES, 3, SIDE, SIDE), dtype=torch.uint8)
    images[:, :, 0, 0] = (10 * torch.arange(5)[:, None] + torch.arange(FRAMES))[..., None].byte()
    return replace(window, images=images, valid=torch.ones_like(window.valid)), target


def part(batch: Batch, chosen: slice) -> Batch:
    window, target = batch
    cut = {field.name: getattr(target, field.name)[chosen] for field in fields(BodyTarget)}
    return window.map(lambda tensor: tensor[chosen]), BodyTarget(**cut)


@pytest.fixture
def folder(batch: Batch, tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    assert claim_folder(folder, DESCRIPTION) == [0, 1]
    write_shard(folder, 0, *part(batch, slice(0, 3)))
    write_shard(folder, 1, *part(batch, slice(3, 5)))
    return folder


def test_what_was_written_is_read(batch: Batch, folder: Path) -> None:
    clips = RenderedClips.open(folder)
    assert len(clips) == 5
    read = tensors(clips.read([(number, 0) for number in range(5)], FRAMES))
    written = tensors(batch)
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(read[name], tensor), name


def test_a_stretch_is_the_same_stretch_of_everything(batch: Batch, folder: Path) -> None:
    read = tensors(RenderedClips.open(folder).read([(4, 2), (1, 3)], 3))
    for name, tensor in tensors(batch).items():
        has_time = tensor.ndim > 1 and tensor.shape[1] == FRAMES
        expected = (tensor[4, 2:5], tensor[1, 3:6]) if has_time else (tensor[4], tensor[1])
        assert torch.equal(read[name], torch.stack(expected)), name


def test_random_stretches_cover_everything_and_follow_the_generator(folder: Path) -> None:
    clips = RenderedClips.open(folder)
    window, _ = clips.draw(300, 2, Generator().manual_seed(0))
    assert window.images is not None
    first = window.images[:, 0, 0, 0, 0].int()
    assert {int(mark) // 10 for mark in first} == set(range(5))
    assert {int(mark) % 10 for mark in first} == set(range(FRAMES - 1))
    again, _ = clips.draw(300, 2, Generator().manual_seed(0))
    assert again.images is not None and torch.equal(window.images, again.images)


def test_held_out_clips_are_the_same_at_every_call(folder: Path) -> None:
    clips = RenderedClips.open(folder)
    for count, marks in ((2, [0, 20]), (5, [0, 10, 20, 30, 40]), (9, [0, 10, 20, 30, 40])):
        window, _ = clips.held_out(count, FRAMES)
        assert window.images is not None
        assert window.images[:, 0, 0, 0, 0].tolist() == marks


def test_subjects_who_must_not_be_in_it_are_named(folder: Path) -> None:
    clips = RenderedClips.open(folder)
    clips.require_none_of(["07"])
    with pytest.raises(InputError, match="rendered from 05"):
        clips.require_none_of(["05", "07"])


def test_clips_in_which_nothing_is_seen_are_left_out(batch: Batch) -> None:
    window, target = batch
    valid = window.valid.clone()
    valid[[0, 3]] = False
    some = replace(window, valid=valid), target
    joined, _ = valid_clips([some, some], 5)
    assert joined.images is not None
    assert (joined.images[:, 0, 0, 0, 0] // 10).tolist() == [1, 2, 4, 1, 2]


def test_a_begun_folder_is_continued_and_only_with_the_same_arguments(folder: Path) -> None:
    assert claim_folder(folder, DESCRIPTION) == []
    (folder / "00001.safetensors").unlink()
    assert claim_folder(folder, DESCRIPTION) == [1]
    other = DESCRIPTION.model_copy(update={"seed": 1, "frames": 4})
    with pytest.raises(InputError, match=r"frames, seed differ"):
        claim_folder(folder, other)


def test_an_unfinished_folder_is_read_with_a_warning(folder: Path, caplog) -> None:
    (folder / "00000.safetensors").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(RenderedClips.open(folder)) == 2
    assert "1 of 2 shards" in caplog.text
    (folder / "00001.safetensors").unlink()
    with pytest.raises(InputError, match="no finished shard"):
        RenderedClips.open(folder)


def test_a_folder_of_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        claim_folder(tmp_path, DESCRIPTION)
    with pytest.raises(InputError, match=r"description\.json"):
        RenderedClips.open(tmp_path)


def test_longer_stretches_than_stored_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="have 6 frames, 7 were asked for"):
        RenderedClips.open(folder).draw(1, 7, Generator())


class TestBroken:
    def test_description(self, folder: Path) -> None:
        path = folder / "description.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {"frames": "many"}))
        with pytest.raises(InputError, match=r"description\.json: frames: "):
            RenderedClips.open(folder)
        path.write_text(json.dumps(values | {"schema_version": 2}))
        with pytest.raises(InputError, match=r"description\.json: schema_version: "):
            RenderedClips.open(folder)
        path.write_text(path.read_text()[:50])
        with pytest.raises(InputError, match=r"description\.json is damaged"):
            RenderedClips.open(folder)

    def test_images_cut_short_or_absent(self, folder: Path) -> None:
        path = folder / "00000.images.npy"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match=r"00000\.images\.npy is absent or damaged"):
            RenderedClips.open(folder)
        path.unlink()
        with pytest.raises(InputError, match=r"00000\.images\.npy is absent or damaged"):
            RenderedClips.open(folder)

    def test_images_of_another_shape(self, folder: Path) -> None:
        np.save(folder / "00001.images.npy", np.zeros((2, FRAMES, 3, SIDE, 8), np.uint8))
        with pytest.raises(InputError, match=r"00001\.images\.npy: images of shape"):
            RenderedClips.open(folder)

    def test_labels_cut_short(self, folder: Path) -> None:
        path = folder / "00001.safetensors"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(InputError, match=r"00001\.safetensors is damaged"):
            RenderedClips.open(folder)

    def test_a_missing_or_misshapen_field_is_named(self, folder: Path) -> None:
        path = folder / "00000.safetensors"
        values = load_file(path)
        save_file({name: values[name] for name in values if name != "window.scores"}, path)
        with pytest.raises(InputError, match=r"00000\.safetensors: there is no window\.scores"):
            RenderedClips.open(folder)
        save_file(values | {"target.joints": values["target.joints"][:, :2].contiguous()}, path)
        with pytest.raises(InputError, match=r"target\.joints has shape"):
            RenderedClips.open(folder)


def test_a_shard_that_cannot_be_written_leaves_nothing(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_shard(tmp_path / "absent", 0, *batch)
    with pytest.raises(InputError, match="no images"):
        write_shard(tmp_path, 0, replace(batch[0], images=None), batch[1])
    assert list(tmp_path.iterdir()) == []


class TestDoor:
    """scripts/render_clips.py"""

    @pytest.fixture
    def mocap(self, tmp_path: Path) -> Path:
        take = swinging_take()
        for subject in ("01", "05"):
            folder = tmp_path / "mocap" / subject
            folder.mkdir(parents=True)
            np.savez(
                folder / "swing_poses.npz",
                poses=SmplParams.from_rotations(
                    take.rotations, torch.zeros(len(take), 10), take.translation
                ).poses(),
                trans=take.translation + torch.tensor([0, 0.95, 0]),
                betas=np.zeros(10),
                mocap_framerate=30.0,
            )
        return tmp_path / "mocap"

    def run(self, *arguments: object) -> None:
        path = Path(__file__).parents[1] / "scripts" / "render_clips.py"
        runpy.run_path(str(path))["main"]([str(argument) for argument in arguments])

    def test_renders_continues_and_leaves_out(self, mocap: Path, tmp_path: Path) -> None:
        folder = tmp_path / "out"
        asked = (mocap, "-o", folder, "--clips", 3, "--frames", 2, "--side", 32, "--workers", 1)
        self.run(*asked, "--except", "01")
        clips = RenderedClips.open(folder)
        assert clips.description.subjects == ("05",)
        window, _ = clips.held_out(3, 2)
        assert window.images is not None and window.images.shape == (3, 2, 3, 32, 32)
        assert window.valid.all() and window.images.float().std() > 10
        assert (folder / "contact_sheet.png").exists()
        shard = folder / "00000.safetensors"
        before = shard.read_bytes()
        shard.unlink()
        self.run(*asked, "--except", "01")
        assert shard.read_bytes() == before
        with pytest.raises(InputError, match="subjects differ"):
            self.run(*asked)
        with pytest.raises(InputError, match="no subject 99"):
            self.run(*asked, "--subjects", "99")
        with pytest.raises(InputError, match="holds no pictures"):
            self.run(*asked, "--backgrounds", mocap)

    def test_videos_come_with_the_truth(self, mocap: Path, tmp_path: Path) -> None:
        folder = tmp_path / "videos"
        asked = ("--clips", 1, "--frames", 3, "--side", 64, "--videos")
        self.run(mocap, "-o", folder, *asked)
        clip = open_clip(folder / "0000.mp4")
        truth = load_motion(folder / "0000_person0.npz")
        assert (clip.width, clip.height) == (truth.camera.width, truth.camera.height)
        assert len(list(clip)) == len(truth.frames) == 3
        assert max(clip.width, clip.height) == 64
        known = truth.keypoints[..., 2] > 0
        inside = (truth.keypoints[..., :2] >= 0) & (
            truth.keypoints[..., :2] < [clip.width, clip.height]
        )
        assert known.mean() > 0.3 and inside[known].all()
