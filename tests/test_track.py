"""The track door from end to end: what it delivers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from body_files import made_up_body, write_python2
from tracked_clips import (
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    files_below,
    leave,
    make_clip,
    tiny_config,
)

from temporal_hmr import tracking
from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoderConfig
from temporal_hmr.models.image_tokens import ImageTokensConfig
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.pose_modulator import PoseModulatorConfig
from temporal_hmr.motion import Track
from temporal_hmr.output.encoding import write_video
from temporal_hmr.output.npz import load_motion
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tracking import TrackSettings, choose_people, prepare_job, run_job, track_video
from temporal_hmr.video import open_clip


def image_config() -> HmrConfig:
    """A model that looks at pixels and at keypoints."""
    encoder = ImagePoseEncoderConfig(
        side=32,
        backbone=ResNetConfig(width=4, layers=(1, 1, 1, 1)),
        image=ImageTokensConfig(grid=(1, 1)),
        pose=PoseModulatorConfig(tokens=4, code_dim=12, joints=23, mixer_layers=1),
        decoder=MeshDecoderConfig(size="S", width=24, hidden=24, heads=2),
    )
    return tiny_config().model_copy(update={"encoder": encoder})


def num_decoded(path: Path) -> tuple[int, int, int]:
    """Frames, width and height that OpenCV reads."""
    capture = cv2.VideoCapture(str(path))
    count, shape = 0, (0, 0)
    while (read := capture.read())[0]:
        count, shape = count + 1, read[1].shape
    return count, shape[1], shape[0]


@pytest.mark.usefixtures("detector")
class TestDelivers:
    def test_a_model_of_images_and_keypoints(self, walk, tmp_path) -> None:
        """Two clips of other pictures, in which the detector sees the same, give other bodies."""
        config, path = image_config(), tmp_path / "images.safetensors"
        save_checkpoint(Hmr(config), config, "hmr", path, half=False)
        other = make_clip(tmp_path / "dark.mp4", gray=20)
        for source in (walk, other):
            words = (source, "-o", tmp_path / "out", "--weights", path, "--no-render")
            assert leave(*words) == 0
        first, second = (
            load_motion(tmp_path / "out" / name / "person_000.npz") for name in ("walk", "dark")
        )
        assert np.array_equal(first.keypoints, second.keypoints)
        assert not torch.equal(first.smpl.body_pose, second.smpl.body_pose)

    def test_bodies_summary_and_overlay(self, walk, weights, tmp_path, capsys) -> None:
        assert leave(walk, "-o", tmp_path / "out", "--weights", weights) == 0
        folder = tmp_path / "out" / "walk"
        assert files_below(folder) == ["overlay.mp4", "person_000.npz", "result.json"]
        motion = load_motion(folder / "person_000.npz")
        assert motion.frames.tolist() == list(range(NUM_FRAMES))
        assert motion.times == pytest.approx(np.arange(NUM_FRAMES) / 10)
        assert motion.observed.all()
        assert motion.camera.assumed and motion.camera.width == WIDTH
        assert np.isfinite(motion.joints).all()
        assert num_decoded(folder / "overlay.mp4") == (NUM_FRAMES, WIDTH, HEIGHT)
        with np.load(folder / "person_000.npz", allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
        assert meta["source_sha256"] == tracking.digest(walk)
        assert meta["weights_sha256"] == tracking.digest(weights)
        assert meta["body_licence"]
        summary = json.loads((folder / "result.json").read_text())
        assert summary["source"] == "walk.mp4" and summary["num_frames"] == NUM_FRAMES
        assert [person["file"] for person in summary["people"]] == ["person_000.npz"]
        shown = capsys.readouterr()
        assert shown.out == f"{folder}: 1 person in 6 frames\n"
        assert [line.split(":")[0] for line in shown.err.splitlines()] == [
            "finding people",
            "recovering",
            "drawing",
        ]

    def test_nobody_is_a_valid_result_even_over_an_earlier_one(
        self, walk, weights, tmp_path, detector, capsys
    ) -> None:
        words = (walk, "-o", tmp_path / "out", "--weights", weights)
        assert leave(*words) == 0
        capsys.readouterr()
        detector.num_people = 0
        assert leave(*words, "--again") == 0
        assert files_below(tmp_path / "out" / "walk") == ["result.json"]
        summary = json.loads((tmp_path / "out" / "walk" / "result.json").read_text())
        assert summary["people"] == []
        shown = capsys.readouterr()
        assert "warning: nobody was found in walk.mp4\n" in shown.err
        assert shown.out.endswith("0 people in 6 frames\n")

    def test_a_broken_off_video_gives_what_decodes(self, weights, tmp_path, capsys) -> None:
        whole = make_clip(tmp_path / "whole.avi", 12)
        cut = tmp_path / "cut.avi"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
        assert leave(cut, "-o", tmp_path / "out", "--weights", weights) == 0
        motion = load_motion(tmp_path / "out" / "cut" / "person_000.npz")
        assert 1 <= len(motion) < 12
        assert num_decoded(tmp_path / "out" / "cut" / "overlay.mp4")[0] == len(motion)
        assert capsys.readouterr().err.count("warning: cut.avi breaks off after") == 1
        summary = json.loads((tmp_path / "out" / "cut" / "result.json").read_text())
        assert summary["breaks_off_after"] == len(motion) and "damaged_frames" not in summary
        assert leave(cut, "-o", tmp_path / "out", "--weights", weights) == 0
        assert f"cut.avi broke off after {len(motion)} frames" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["one.mp4", "one.png"])
    def test_a_single_frame(self, name, weights, tmp_path) -> None:
        if name.endswith("png"):
            cv2.imwrite(str(tmp_path / name), np.full((HEIGHT, WIDTH - 1, 3), 90, np.uint8))
        else:
            make_clip(tmp_path / name, 1)
        assert leave(tmp_path / name, "-o", tmp_path / "out", "--weights", weights) == 0
        assert len(load_motion(tmp_path / "out" / "one" / "person_000.npz")) == 1
        # The image's odd width is rounded up for the video.
        assert num_decoded(tmp_path / "out" / "one" / "overlay.mp4") == (1, WIDTH, HEIGHT)

    def test_a_range_keeps_the_videos_frame_numbers(self, walk, weights, tmp_path) -> None:
        words = ("--start", "0.2", "--end", "0.45", "--focal", "200")
        assert leave(walk, "-o", tmp_path, "--weights", weights, *words) == 0
        motion = load_motion(tmp_path / "walk" / "person_000.npz")
        assert motion.frames.tolist() == [2, 3, 4]
        assert motion.camera.focal.tolist() == [200, 200] and not motion.camera.assumed
        assert num_decoded(tmp_path / "walk" / "overlay.mp4")[0] == 3

    @pytest.mark.parametrize(("end", "said"), [(None, "it was taken away"), (0.4, "check --start")])
    def test_a_video_that_is_gone_when_it_is_looked_at(self, end, said, weights, tmp_path) -> None:
        source = make_clip(tmp_path / "gone.mp4")
        job = prepare_job(source, TrackSettings(weights=weights, end=end))
        source.unlink()
        with pytest.raises(InputError, match=f"gave not a single frame: {said}"):
            run_job(job)

    def test_a_video_that_is_gone_before_all_is_loaded(
        self, weights, tmp_path, monkeypatch
    ) -> None:
        source = make_clip(tmp_path / "gone.mp4")

        def load_slowly(settings, device):
            source.unlink()
            return load(settings, device)

        load = tracking._load
        monkeypatch.setattr(tracking, "_load", load_slowly)
        with pytest.raises(InputError, match=r"gone\.mp4 cannot be read: No such file"):
            prepare_job(source, TrackSettings(weights=weights))

    def test_one_of_two_people(self, walk, weights, tmp_path, detector, capsys) -> None:
        detector.num_people = 2
        words = (walk, "-o", tmp_path, "--weights", weights, "--no-render")
        assert leave(*words) == 0
        both = sorted((tmp_path / "walk").glob("person_*.npz"))
        assert len(both) == 2
        assert leave(*words, "--person", str(load_motion(both[1]).person_id)) == 0
        assert sorted((tmp_path / "walk").glob("person_*.npz")) == both[1:]
        capsys.readouterr()
        assert leave(*words, "--person", "77") == 2
        assert "there is no person 77; the people in this video are" in capsys.readouterr().err

    def test_python_iterates_frames_and_people(self, walk, weights) -> None:
        result = track_video(str(walk), TrackSettings(weights=str(weights)))
        frames = list(result)
        assert [frame.index for frame in frames] == list(range(NUM_FRAMES)) and len(result) == 6
        for frame in frames:
            (person,) = frame.people
            assert person.smpl.body_pose.shape == (23, 3, 3)
            assert person.smpl.transl.shape == (3,) and person.smpl.betas.shape == (10,)
            assert person.joints.shape == (24, 3) and person.observed

    @pytest.mark.parametrize("words", [(), ("--side-view",), ("--start", "0.1", "--stride", "2")])
    def test_overlays_of_uneven_rate_are_in_time(self, words, weights, tmp_path) -> None:
        pytest.importorskip("av")
        video, times = tmp_path / "call.mp4", np.array([0, 0.04, 0.1, 0.13, 0.5, 0.9, 0.94])
        write_video([np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 7, 10, video, times)
        assert leave(video, *words, "-o", tmp_path / "out", "--weights", weights) == 0
        tracked = times[2::2] if "--stride" in words else times
        shown = open_clip(tmp_path / "out" / "call" / "overlay.mp4").times
        assert shown == pytest.approx(tracked - tracked[0], abs=1e-3)

    @pytest.mark.parametrize("name", ["SMPL_FEMALE.npz", "basicmodel_f_lbs_10_207_0_v1.0.0.pkl"])
    def test_a_file_of_the_size_of_smpl_takes_over(self, name, walk, weights, tmp_path) -> None:
        arrays = made_up_body(6890)
        if name.endswith("npz"):
            np.savez(tmp_path / name, **arrays)
        else:
            write_python2(arrays, tmp_path / name)
        words = (walk, "--end", "0.15", "--body", tmp_path / name)
        assert leave(*words, "-o", tmp_path / "out", "--weights", weights) == 0
        folder = tmp_path / "out" / "walk"
        assert num_decoded(folder / "overlay.mp4")[0] == 2
        motion = load_motion(folder / "person_000.npz")
        joints = load_body(tmp_path / name).joints(motion.smpl)
        np.testing.assert_allclose(motion.joints, joints.numpy(), atol=1e-4)
        with np.load(folder / "person_000.npz", allow_pickle=False) as archive:
            assert str(archive["gender"]) == "female"
            assert json.loads(str(archive["meta"]))["body"] == Path(name).stem

    def test_interrupted_drawing_keeps_the_bodies(
        self, walk, weights, tmp_path, monkeypatch, capsys
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("temporal_hmr.output.overlay.Artist.draw_over", interrupt)
        assert leave(walk, "-o", tmp_path / "out", "--weights", weights) == 130
        folder = tmp_path / "out" / "walk"
        there = [name for name in files_below(folder) if not name.startswith("work")]
        assert there == ["person_000.npz", "result.json"]
        said = f"interrupted: {folder} has everything but the overlay; the same command goes on"
        assert said in capsys.readouterr().err


def test_largest_is_who_fills_most_of_the_picture() -> None:
    def track(number: int, side: float, length: int) -> Track:
        boxes = np.tile([0, 0, side, side], (length, 1))
        frames = np.arange(length)
        return Track(number, frames, frames / 30, boxes, np.zeros((length, 23, 3)), COCO23)

    tracks = [track(3, 10, 50), track(5, 30, 40), track(8, 90, 2)]
    assert [found.person_id for found in choose_people(tracks, "largest")] == [5]
    assert choose_people(tracks, "all") == tracks
    assert [found.person_id for found in choose_people(tracks, "08")] == [8]
    with pytest.raises(InputError, match="3, 5, 8"):
        choose_people(tracks, "4")
