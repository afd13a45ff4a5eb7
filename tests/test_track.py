"""The track door from end to end: what it delivers, and how it refuses."""

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from body_files import made_up_body, write_python2
from numpy import ndarray

from temporal_hmr import tracking
from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoderConfig
from temporal_hmr.models.image_tokens import ImageTokensConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.pose_modulator import PoseModulatorConfig
from temporal_hmr.motion import Person2D, Track
from temporal_hmr.output.npz import load_motion
from temporal_hmr.output.overlay import write_video
from temporal_hmr.skeleton import COCO23, SMPL24
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig
from temporal_hmr.track import SAMPLE, main
from temporal_hmr.tracking import TrackSettings, choose_people, track_video
from temporal_hmr.video import open_clip

WIDTH, HEIGHT = 98, 128
NUM_FRAMES = 6


def tiny_config() -> HmrConfig:
    return HmrConfig(
        tokenizer=KeypointTokenizerConfig(width=16, layers=1, codes=8, code_dim=12, tokens=4),
        encoder=FrameEncoderConfig(width=24, heads=2, layers=1),
        decoder=BodyDecoderConfig(heads=2, layers=1),
        motion=JointMotionConfig(heads=2, layers=1),
        window=4,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights: all the door's machinery, none of its accuracy."""
    config = tiny_config()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_checkpoint(Hmr(config), config, "hmr", path, half=True)
    return path


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


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six frames."""
    return make_clip(tmp_path / "walk.mp4")


def make_clip(path: Path, num_frames: int = NUM_FRAMES, gray: int = 90) -> Path:
    noise = np.random.default_rng(gray).integers(0, gray, (num_frames, HEIGHT, WIDTH, 3), np.uint8)
    images = list(noise)
    write_video(images, 10, path)
    return path


class FakeDetector:
    """Sees one upright person walking right, or as many as `boxes` says; or nobody at all."""

    num_people = 1

    def __enter__(self) -> "FakeDetector":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def state(self) -> None:
        """It takes nothing from frame to frame."""

    def restore(self, state: None) -> None:
        pass

    def people(self, frame) -> list[Person2D]:
        return [self.person(frame, number) for number in range(self.num_people)]

    def person(self, frame, number: int) -> Person2D:
        height, width = frame.image.shape[:2]
        keypoints = np.ones((len(COCO23), 3))
        keypoints[:, :2] = standing() * [0.3 * width, 0.7 * height]
        keypoints[:, :2] += [0.2 * width + frame.index + 0.4 * width * number, 0.15 * height]
        box = np.concatenate([keypoints[:, :2].min(0), keypoints[:, :2].max(0)])
        return Person2D(box, keypoints, COCO23, 0.9)


def standing() -> ndarray:
    """Rough places of COCO23's joints in a box of one by one."""
    height = {"nose": 0.05, "eye": 0.04, "ear": 0.05, "shoulder": 0.2, "elbow": 0.35, "wrist": 0.5}
    height |= {"hip": 0.52, "knee": 0.75, "ankle": 0.95, "heel": 0.98, "toe": 1.0}
    side = {"left": 0.7, "right": 0.3}
    return np.array(
        [
            [side.get(joint.split("_")[0], 0.5), height[joint.split("_")[-1]]]
            for joint in COCO23.joints
        ]
    )


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeDetector]]:
    """Puts the fake in the place of BlazePose, whose own tests are elsewhere."""
    monkeypatch.setattr("temporal_hmr.people.mediapipe.MediapipePeople", FakeDetector)
    yield FakeDetector
    FakeDetector.num_people = 1


def leave(*words: str | Path) -> int | str | None:
    """Exit status of the door with these words."""
    with pytest.raises(SystemExit) as exit_:
        run_door(lambda: main([str(word) for word in words]))
    return exit_.value.code


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def num_decoded(path: Path) -> tuple[int, int, int]:
    """Frames, width and height that OpenCV reads."""
    capture = cv2.VideoCapture(str(path))
    count, shape = 0, (0, 0)
    while (read := capture.read())[0]:
        count, shape = count + 1, read[1].shape
    return count, shape[1], shape[0]


@pytest.mark.usefixtures("detector")
class TestDelivers:
    def test_a_model_of_images_and_keypoints(self, clip, tmp_path) -> None:
        """Two clips of other pictures, in which the detector sees the same, give other bodies."""
        config, path = image_config(), tmp_path / "images.safetensors"
        save_checkpoint(Hmr(config), config, "hmr", path, half=False)
        other = make_clip(tmp_path / "dark.mp4", gray=20)
        for source in (clip, other):
            words = (source, "-o", tmp_path / "out", "--weights", path, "--no-render")
            assert leave(*words) == 0
        first, second = (
            load_motion(tmp_path / "out" / name / "person_000.npz") for name in ("walk", "dark")
        )
        assert np.array_equal(first.keypoints, second.keypoints)
        assert not torch.equal(first.smpl.body_pose, second.smpl.body_pose)

    def test_bodies_summary_and_overlay(self, clip, weights, tmp_path, capsys) -> None:
        assert leave(clip, "-o", tmp_path / "out", "--weights", weights) == 0
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
        assert meta["source_sha256"] == tracking.digest(clip)
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
        self, clip, weights, tmp_path, detector, capsys
    ) -> None:
        words = (clip, "-o", tmp_path / "out", "--weights", weights)
        assert leave(*words) == 0
        capsys.readouterr()
        detector.num_people = 0
        assert leave(*words) == 0
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

    def test_a_range_keeps_the_videos_frame_numbers(self, clip, weights, tmp_path) -> None:
        words = ("--start", "0.2", "--end", "0.45", "--focal", "200")
        assert leave(clip, "-o", tmp_path, "--weights", weights, *words) == 0
        motion = load_motion(tmp_path / "walk" / "person_000.npz")
        assert motion.frames.tolist() == [2, 3, 4]
        assert motion.camera.focal.tolist() == [200, 200] and not motion.camera.assumed
        assert num_decoded(tmp_path / "walk" / "overlay.mp4")[0] == 3

    def test_one_of_two_people(self, clip, weights, tmp_path, detector, capsys) -> None:
        detector.num_people = 2
        words = (clip, "-o", tmp_path, "--weights", weights, "--no-render")
        assert leave(*words) == 0
        both = sorted((tmp_path / "walk").glob("person_*.npz"))
        assert len(both) == 2
        assert leave(*words, "--person", str(load_motion(both[1]).person_id)) == 0
        assert sorted((tmp_path / "walk").glob("person_*.npz")) == both[1:]
        capsys.readouterr()
        assert leave(*words, "--person", "77") == 2
        assert "there is no person 77; the people in this video are" in capsys.readouterr().err

    def test_python_iterates_frames_and_people(self, clip, weights) -> None:
        result = track_video(str(clip), TrackSettings(weights=str(weights)))
        frames = list(result)
        assert [frame.index for frame in frames] == list(range(NUM_FRAMES)) and len(result) == 6
        for frame in frames:
            (person,) = frame.people
            assert person.smpl.body_pose.shape == (23, 3, 3)
            assert person.smpl.transl.shape == (3,) and person.smpl.betas.shape == (10,)
            assert person.joints.shape == (24, 3) and person.observed

    @pytest.mark.parametrize("name", ["SMPL_FEMALE.npz", "basicmodel_f_lbs_10_207_0_v1.0.0.pkl"])
    def test_a_file_of_the_size_of_smpl_takes_over(self, name, clip, weights, tmp_path) -> None:
        arrays = made_up_body(6890)
        if name.endswith("npz"):
            np.savez(tmp_path / name, **arrays)
        else:
            write_python2(arrays, tmp_path / name)
        words = (clip, "--end", "0.15", "--body", tmp_path / name)
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
        self, clip, weights, tmp_path, monkeypatch, capsys
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("temporal_hmr.output.overlay.Artist.draw", interrupt)
        assert leave(clip, "-o", tmp_path / "out", "--weights", weights) == 130
        folder = tmp_path / "out" / "walk"
        there = [name for name in files_below(folder) if not name.startswith("work")]
        assert there == ["person_000.npz", "result.json"]
        said = f"interrupted: {folder} has everything but the overlay; the same command goes on"
        assert said in capsys.readouterr().err


class Bomb:
    """Pickled, a call of `os.mkdir` on reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def wrong_words(folder: Path, clip: Path, weights: Path) -> dict[str, list[str | Path]]:
    """Words for the door that ask for something wrong, with the wrong things in the folder."""
    (folder / "none").mkdir()
    (folder / "text.mp4").write_text("this is no video" * 100)
    (folder / "zero.mp4").touch()
    np.savez(folder / "body.npz", v_template=np.zeros((4, 3)))
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
        "output below a file": [clip, "-o", folder / "zero.mp4" / "out"],
        "body of other arrays": [clip, "--body", folder / "body.npz"],
        "body that runs code": [clip, "--body", folder / "bomb.pkl"],
        "no body": [clip, "--body", folder / "absent.pkl"],
        "weights that are none": [clip, "--weights", folder / "text.mp4"],
        "weights of SMPL's shapes, and no SMPL": [clip, "--weights", folder / "smpl.safetensors"],
        "weights of another configuration": [clip, "--weights", folder / "other.safetensors"],
        "nothing": [],
        "two sources": [clip, "--sample"],
        "person": [clip, "--person", "largst"],
        "focal": [clip, "--focal", "-3"],
        "focal without end": [clip, "--focal", "inf"],
        "end": [clip, "--end", "nan"],
        "focal word": [clip, "--focal", "wide"],
        "device": [clip, "--device", "gpu"],
        "start beyond the end": [clip, "--start", "99"],
        "option": [clip, "--wieghts", weights],
    }


@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "absent.mp4"),
        ("folder without images", "no images"),
        ("text", "cannot be read as a video"),
        ("empty", "is empty"),
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
    kind, said, clip, weights, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = wrong_words(tmp_path, clip, weights)[kind]
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
    clip, weights, tmp_path, capsys, detector
) -> None:
    assert leave(clip, "-o", tmp_path / "out", "--weights", weights, "--no-render") == 0
    (tmp_path / "other").mkdir()
    other = make_clip(tmp_path / "other" / "walk.mp4", gray=30)
    assert leave(other, "-o", tmp_path / "out", "--weights", weights) == 2
    assert "holds the results of another video (walk.mp4)" in capsys.readouterr().err


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


def test_the_sample_is_seen_by_the_real_detector(weights, tmp_path) -> None:
    pytest.importorskip("mediapipe")
    words = ("--sample", "--start", "2", "--end", "2.15", "-o", tmp_path, "--weights", weights)
    assert leave(*words, "--no-render") == 0
    motion = load_motion(tmp_path / "sample" / "person_000.npz")
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    assert motion.frames.tolist() == [60, 61, 62, 63, 64]
    for joint in ("left_wrist", "right_wrist", "left_knee", "right_ankle"):
        seen = motion.keypoints[:, COCO23.index(joint), :2]
        true = truth.keypoints[60:65, COCO23.index(joint), :2]
        # A person 500 px tall; their left and right stand 60 px and more apart.
        assert np.abs(seen - true).max() < 20, joint


def test_the_samples_truth_belongs_to_the_body_and_the_clip() -> None:
    """Fails when the open body changes and scripts/render_sample.py was not run again."""
    body = load_body()
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    np.testing.assert_allclose(body.joints(truth.smpl).numpy(), truth.joints, atol=1e-4)
    clip = open_clip(SAMPLE)
    assert (clip.width, clip.height, len(clip)) == (540, 720, len(truth))
    # Facing the camera, the left hand is right in the image; the right one waves above the head.
    hands = truth.keypoints[66, COCO23.indices("left_wrist", "right_wrist"), :2]
    assert hands[0, 0] > hands[1, 0] + 100
    assert hands[1, 1] < truth.keypoints[66, COCO23.index("nose"), 1]
    # One foot bears: in no frame do both go faster than 15 cm/s.
    feet = truth.joints[:, SMPL24.indices("left_foot", "right_foot")]
    speed = np.linalg.norm(np.diff(feet, axis=0), axis=-1).min(-1) * truth.fps
    assert speed.max() < 0.15
