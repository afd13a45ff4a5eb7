"""Training on what the detector really made of people in rendered videos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.detector_noise import CLEAN, Detections
from temporal_hmr.data.read_people import Readings, ReadingsConfig, ReadPeople, write_readings
from temporal_hmr.data.scene import Scene
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody, project_to_box
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import BodyMotion
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import BLAZEPOSE23, SMPL24
from temporal_hmr.training.opening import DataConfig, Given, open_source

FRAMES = 40
CAMERA = Camera.with_focal(900.0, 640, 480)
PAIRS, ERRORS = ReadingsConfig(pairs=1, errors=0), ReadingsConfig(pairs=0, errors=1)


def waving(phase: float) -> SmplParams:
    """Upright before a camera, somewhat to the right of its middle, the left arm moving."""
    turns = torch.zeros(FRAMES, 24, 3)
    turns[:, 0, 0] = torch.pi
    turns[:, SMPL24.index("left_elbow"), 1] = torch.sin(torch.arange(FRAMES) / 5 + phase)
    transl = torch.tensor([[0.3, 0.0, 4.0]]).repeat(FRAMES, 1)
    return SmplParams.from_rotations(axis_angle_to_matrix(turns), torch.zeros(FRAMES, 10), transl)


def motion(posed: PosedBody, smpl: SmplParams) -> BodyMotion:
    frames = np.arange(FRAMES)
    return BodyMotion(
        person_id=0,
        frames=frames,
        times=frames / 30,
        fps=30.0,
        smpl=smpl,
        joints=posed.body.joints(smpl).numpy(),
        camera=CAMERA,
        boxes=np.zeros((FRAMES, 4)),
        keypoints=np.zeros((FRAMES, 23, 3)),
        skeleton=BLAZEPOSE23,
        observed=np.ones(FRAMES, bool),
        confidence=np.ones(FRAMES),
    )


def read(posed: PosedBody, smpl: SmplParams, shift: float) -> np.ndarray:
    """The right wrist so many pixels too far right, the nose unknown."""
    points = CAMERA.project(posed.body.regress(smpl, posed.blazepose_points))
    found = torch.cat([points, torch.full_like(points[..., :1], 0.9)], -1).numpy()
    found[:, BLAZEPOSE23.index("right_wrist"), 0] += shift
    found[:, BLAZEPOSE23.index("nose")] = 0
    return found


@pytest.fixture(scope="module")
def file(posed: PosedBody, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readings") / "readings.npz"
    people = [(motion(posed, smpl), read(posed, smpl, 30.0)) for smpl in map(waving, (0.0, 1.0))]
    write_readings(path, people, {"02", "01"})
    return path


@pytest.fixture(scope="module")
def people(posed: PosedBody, file: Path) -> ReadPeople:
    return ReadPeople.open(file, posed)


def scene(clips: int, frames: int) -> Scene:
    """Somebody at rest, elsewhere and larger."""
    turns = torch.zeros(clips, frames, 24, 3)
    turns[..., 0, 0] = torch.pi
    transl = torch.tensor([0.0, 0.0, 2.5]).expand(clips, frames, 3)
    smpl = SmplParams.from_rotations(
        axis_angle_to_matrix(turns), torch.zeros(clips, frames, 10), transl
    )
    return Scene(
        smpl=smpl,
        times=(torch.arange(frames) / 30).expand(clips, frames),
        focal=torch.full((clips,), 1000.0),
        image_size=torch.tensor([1920.0, 1080.0]).expand(clips, 2),
        world_to_camera=torch.eye(3).expand(clips, frames, 3, 3),
        world_origin=torch.zeros(clips, frames, 3),
    )


def mixed(
    people: ReadPeople, posed: PosedBody, shares: ReadingsConfig, frames: int = 8
) -> tuple[Scene, Detections, Tensor]:
    """Scene and detections, and where the scene's keypoints were before."""
    before = scene(16, frames)
    elsewhere = before.project(posed.body.regress(before.smpl, posed.blazepose_points))
    exact = Detections(elsewhere, torch.ones_like(elsewhere[..., 0]))
    readings = Readings(people, shares)
    generator = Generator().manual_seed(0)
    after, detections = readings.mixed_in(before, elsewhere, exact, posed, generator)
    return after, detections, elsewhere


def test_what_was_written_is_read(people: ReadPeople, posed: PosedBody) -> None:
    assert people.lengths.tolist() == [FRAMES, FRAMES] and people.subjects == ("01", "02")
    torch.testing.assert_close(people.smpl[:FRAMES].body_pose, waving(0.0).body_pose)
    exact = CAMERA.project(posed.body.regress(waving(1.0), posed.blazepose_points))
    torch.testing.assert_close(people.meant[FRAMES:], exact, atol=1e-2, rtol=0)


def test_pairs_lie_on_their_truth_but_for_the_errors_of_the_reading(
    people: ReadPeople, posed: PosedBody
) -> None:
    """In the mirror too, where it is the left wrist that is too far left."""
    after, detections, _ = mixed(people, posed, PAIRS)
    exact = after.project(posed.body.regress(after.smpl, posed.blazepose_points))
    error = detections.pixels - exact
    left, right, nose = (BLAZEPOSE23.index(name) for name in ("left_wrist", "right_wrist", "nose"))
    wrong = torch.zeros_like(error)
    mirrored = error[:, 0, left, 0] < -20
    assert 0 < mirrored.sum() < 16
    wrong[mirrored, :, left, 0], wrong[~mirrored, :, right, 0] = -30, 30
    known = [joint for joint in range(23) if joint != nose]
    # An open body is its own mirror image but for a millimetre or two.
    torch.testing.assert_close(error[:, :, known], wrong[:, :, known], atol=1.5, rtol=0)
    assert (detections.scores[:, :, nose] == 0).all()
    assert (after.focal == 900).all() and (after.image_size == torch.tensor([640.0, 480.0])).all()


def test_errors_go_with_other_motion_and_with_the_size_of_who_moves(
    people: ReadPeople, posed: PosedBody
) -> None:
    after, detections, elsewhere = mixed(people, posed, ERRORS)
    before = scene(16, 8)
    torch.testing.assert_close(after.smpl.transl, before.smpl.transl)
    error = (detections.pixels - elsewhere)[..., 0]
    wrists = [BLAZEPOSE23.index(name) for name in ("left_wrist", "right_wrist")]
    far = error[..., wrists].abs().amax(-1)
    tall = elsewhere[0, 0, :, 1].max() - elsewhere[0, 0, :, 1].min()
    meant = people.meant[0]
    expected = 30 * float(tall / (meant[:, 1].max() - meant[:, 1].min()))
    torch.testing.assert_close(far, torch.full_like(far, expected), rtol=0.05, atol=0)
    assert expected > 35, "who moves is larger than who was read"


def test_clips_longer_than_every_reading_stay_as_they_are(
    people: ReadPeople, posed: PosedBody
) -> None:
    after, detections, elsewhere = mixed(people, posed, PAIRS, frames=FRAMES + 1)
    assert (after.focal == 1000).all()
    torch.testing.assert_close(detections.pixels, elsewhere)


def test_frames_are_as_far_apart_as_those_they_replace(
    people: ReadPeople, posed: PosedBody
) -> None:
    before = scene(8, 4)
    before = replace(before, times=before.times * 3)
    generator = Generator().manual_seed(0)
    frame, there = people.draw(before.times, generator)
    assert there.all() and (frame.diff(dim=1) == 3).all()
    assert ((frame[:, 0] < FRAMES) == (frame[:, -1] < FRAMES)).all(), "all of one person"


def test_shares_are_kept(people: ReadPeople, posed: PosedBody) -> None:
    shares = ReadingsConfig(pairs=0.3, errors=0.2)
    pairs = wrong = 0
    for seed in range(20):
        before = scene(64, 2)
        elsewhere = before.project(posed.body.regress(before.smpl, posed.blazepose_points))
        exact = Detections(elsewhere, torch.ones_like(elsewhere[..., 0]))
        after, detections = Readings(people, shares).mixed_in(
            before, elsewhere, exact, posed, Generator().manual_seed(seed)
        )
        is_pair = after.focal == 900
        pairs += int(is_pair.sum())
        wrong += int(((detections.scores[:, 0] < 1).any(-1) & ~is_pair).sum())
    assert abs(pairs / 1280 - 0.3) < 0.05 and abs(wrong / 1280 - 0.2) < 0.05


def test_windows_of_readings_have_their_truth_in_the_box(
    people: ReadPeople, posed: PosedBody
) -> None:
    """What is learned from is projected as it is seen, with the focal length that is told."""
    bank = MotionBank.of([_still()])
    augmentation = Augmentation(assumed_focal_share=0.0)
    readings = Readings(people, PAIRS)
    window, target = synthesise(
        bank, posed, (6, 8), augmentation, CLEAN, Generator().manual_seed(1), readings=readings
    )
    points = posed.body.regress(target.smpl, posed.detector_points)
    torch.testing.assert_close(project_to_box(points, window), target.keypoints, atol=1e-3, rtol=0)
    knees = [BLAZEPOSE23.index(name) for name in ("left_knee", "right_knee")]
    beside = (window.keypoints - target.keypoints)[:, :, knees].norm(dim=-1)
    assert beside.max() < 0.1


def _still() -> MocapTake:
    rotations = torch.eye(3).expand(30, 24, 3, 3).clone()
    return MocapTake("still", "01", rotations, torch.zeros(30, 3), 30.0, torch.zeros(10))


def test_subjects_who_judge_must_not_train(file: Path, tmp_path: Path, posed: PosedBody) -> None:
    people = ReadPeople.open(file, posed)
    with pytest.raises(InputError, match="the readings are of 02"):
        people.require_none_of(("02", "09"))
    people.require_none_of(("09",))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("found", np.zeros((2 * FRAMES, 22, 3), np.float32), "found has the shape"),
        ("lengths", np.array([FRAMES, FRAMES + 1]), "does not go with the rest"),
        ("lengths", np.array([0.5, 1.5]), "lengths are not whole numbers"),
        ("transl", np.full((2 * FRAMES, 3), np.nan, np.float32), "no finite number"),
        ("focal", np.array(["a", "b"]), "no finite number"),
        ("betas", None, "has no betas"),
    ],
)
def test_files_that_are_something_else_are_told(
    file: Path, tmp_path: Path, posed: PosedBody, name: str, value: np.ndarray | None, said: str
) -> None:
    with np.load(file) as archive:
        arrays = dict(archive)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    other = tmp_path / "other.npz"
    np.savez(other, **arrays)
    with pytest.raises(InputError, match=said):
        ReadPeople.open(other, posed)


def test_shares_of_more_than_everything_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        ReadingsConfig(pairs=0.8, errors=0.3)


def test_settings_without_a_file_and_a_file_of_nobody_are_refused(
    file: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there are no readings at"):
        Given(tmp_path, readings=tmp_path / "none.npz").hashes()
    drawn = DataConfig.model_validate({"rendering": {}})
    with pytest.raises(InputError, match="--readings go with motion capture"):
        open_source(drawn, HmrConfig(), Given(tmp_path, readings=file))
