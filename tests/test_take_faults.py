"""Planted faults of capture are cut out of takes, and nothing that a body can do is."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.data.mocap import split_subjects
from temporal_hmr.data.take import MocapTake
from temporal_hmr.data.take_faults import faulty_frames, sound_pieces
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

FRAMES = 90
RATES = (25.0, 30.0, 60.0, 120.0)


def take_of(
    vectors: Float[Tensor, "T 24 3"], translation: Float[Tensor, "T 3"], fps: float = 30.0
) -> MocapTake:
    rotations = axis_angle_to_matrix(vectors)
    return MocapTake("walk", "01", rotations, translation, fps, torch.zeros(10))


def turning(joint: str, axis: int, angle: Float[Tensor, "T"]) -> Float[Tensor, "T 24 3"]:
    vectors = torch.zeros(len(angle), 24, 3)
    vectors[:, SMPL24.index(joint), axis] = angle
    return vectors


def walking(fps: float = 30.0, frames: int = FRAMES) -> MocapTake:
    """Arms and legs swing; a metre and a half per second."""
    times = torch.arange(frames) / fps
    swing = torch.sin(2 * math.pi * times)
    vectors = torch.zeros(frames, 24, 3)
    for joint, size in (("left_hip", 0.5), ("right_hip", -0.5), ("left_shoulder", -0.4)):
        vectors[:, SMPL24.index(joint), 0] = size * swing
    path = torch.stack([0.02 * swing, 0.95 + 0.02 * swing.abs(), 1.5 * times], -1)
    return take_of(vectors, path, fps)


def held_up(take: MocapTake, frames: slice, pose: int) -> MocapTake:
    """The take with some frames repeating one pose."""
    rotations, translation = take.rotations.clone(), take.translation.clone()
    rotations[frames], translation[frames] = rotations[pose], translation[pose]
    return replace(take, rotations=rotations, translation=translation)


def spans(take: MocapTake) -> list[tuple[int, int]]:
    """First and last frame of each piece, told by content."""
    found = []
    for piece in sound_pieces(take):
        starts = [
            start
            for start in range(len(take) - len(piece) + 1)
            if torch.equal(take.rotations[start : start + len(piece)], piece.rotations)
            and torch.equal(take.translation[start : start + len(piece)], piece.translation)
        ]
        assert len(starts) == 1
        assert piece.name == ("walk" if starts[0] == 0 else f"walk+{starts[0]}")
        assert (piece.subject, piece.fps) == (take.subject, take.fps)
        found.append((starts[0], starts[0] + len(piece) - 1))
    return found


@pytest.mark.parametrize("fps", RATES)
def test_a_cut_is_a_border_of_pieces(fps: float) -> None:
    """Two recordings end to end: the pelvis jumps by 15 cm, the pose may even agree."""
    take = walking(fps, 180)
    moved = take.translation.clone()
    moved[100:, 0] += 0.15
    assert spans(replace(take, translation=moved)) == [(0, 98), (101, 179)]


@pytest.mark.parametrize("fps", RATES)
def test_a_single_frame_elsewhere_is_left_out(fps: float) -> None:
    take = walking(fps, 180)
    moved = take.translation.clone()
    moved[100] += torch.tensor([0.0, 0.1, 0.1])
    assert spans(replace(take, translation=moved)) == [(0, 98), (102, 179)]


@pytest.mark.parametrize("joint", ["left_wrist", "right_ankle", "left_elbow", "pelvis"])
def test_flipped_joints_are_left_out_with_what_lies_between(joint: str) -> None:
    """A forearm that turns by 170 degrees from one frame to the next, and back a little later."""
    take = walking()
    rotations = take.rotations.clone()
    flip = axis_angle_to_matrix(torch.tensor([math.radians(170), 0.0, 0.0]))
    flipped = rotations[40:47, SMPL24.index(joint)] @ flip
    rotations[40:47, SMPL24.index(joint)] = flipped
    assert spans(replace(take, rotations=rotations)) == [(0, 38), (48, 89)]


def test_a_frozen_end_is_left_out() -> None:
    """CMU's 06_02 repeats one pose for its last 0.67 s, in the middle of a dribble."""
    take = held_up(walking(), slice(70, 90), 69)
    assert spans(take) == [(0, 68)]


def test_frozen_stretches_are_left_out_wherever_they_are() -> None:
    assert spans(held_up(walking(), slice(41, 50), 40)) == [(0, 39), (51, 89)]
    assert spans(held_up(walking(), slice(0, 12), 12)) == [(13, 89)]


def test_a_repeated_frame_is_no_frozen_stretch() -> None:
    """Old converters repeat a frame where one was lost: a hitch, but no pose held."""
    take = walking()
    take = replace(take, translation=take.translation * 0)
    again = held_up(take, slice(41, 42), 40)
    assert not faulty_frames(again).any()


def test_displaced_first_frames_are_left_out() -> None:
    """All takes of CMU's 60 and 61: the fit starts at a rest pose and closes in by halves."""
    take = walking()
    vectors = 0.02 * torch.sin(torch.arange(FRAMES) / 9)[:, None, None].expand(-1, 24, 3).clone()
    for joint in SMPL24.indices("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"):
        vectors[:, joint, 2] += 1.2 * 0.3 ** torch.arange(FRAMES)
    take = take_of(vectors, take.translation)
    assert spans(take) == [(3, 89)]


@pytest.mark.parametrize(("at", "left"), [(15, [(16, 59)]), (16, [(0, 14), (17, 59)])])
def test_pieces_shorter_than_half_a_second_are_dropped(at: int, left: list) -> None:
    take = walking(frames=60)
    moved = take.translation.clone()
    moved[at:] += torch.tensor([0.0, 0.0, 1.0])
    assert spans(replace(take, translation=moved)) == left


def test_a_take_may_be_dropped_as_a_whole() -> None:
    take = walking(frames=20)
    moved = take.translation.clone()
    moved[10:] += 1
    assert sound_pieces(replace(take, translation=moved)) == []


@pytest.mark.parametrize("frames", [1, 2, 3, 10])
def test_what_is_sound_comes_back_as_it_is_however_short(frames: int) -> None:
    take = walking(frames=frames)
    assert sound_pieces(take) == [take]


@pytest.mark.parametrize("fps", [0.2, 3.0])
def test_slow_takes_have_no_start_to_settle_in(fps: float) -> None:
    take = walking(fps, frames=6)
    assert sound_pieces(take) == [take]


@pytest.mark.parametrize("fps", RATES)
class TestWhatABodyCanDo:
    """Analytic motions at the edge of what people have been measured to do."""

    def unharmed(self, vectors: Tensor, height: Tensor, fps: float) -> bool:
        breath = turning("spine2", 0, 0.01 * torch.sin(1.5 * torch.arange(len(height)) / fps))
        vectors = vectors + breath
        path = torch.stack([torch.zeros_like(height), height, torch.zeros_like(height)], -1)
        return not faulty_frames(take_of(vectors, path, fps)).any()

    def times(self, fps: float) -> Tensor:
        return torch.arange(int(3 * fps)) / fps

    def test_a_skaters_spin(self, fps: float) -> None:
        """342 turns a minute, the record."""
        times = self.times(fps)
        vectors = turning("pelvis", 1, 342 / 60 * 2 * math.pi * times)
        assert self.unharmed(vectors, torch.full_like(times, 0.95), fps)

    def test_a_jump_from_a_height(self, fps: float) -> None:
        """A fall of a metre from rest, caught by the legs within 45 cm, knees bent."""
        times, fall = self.times(fps), 1.0
        speed = math.sqrt(2 * 9.81 * fall)
        hit, depth = 1.0 + speed / 9.81, 0.45
        braking = speed**2 / (2 * depth)
        since = (times - hit).clamp(0, speed / braking)
        drop = 0.5 * 9.81 * (times - 1).clamp(0, hit - 1) ** 2
        height = 1.95 - drop - speed * since + 0.5 * braking * since**2
        assert braking < 30
        vectors = turning("left_knee", 0, 2.0 * since * braking / speed)
        assert self.unharmed(vectors, height, fps)

    def test_a_pitch(self, fps: float) -> None:
        """The upper arm turns about itself at 126 rad/s, the elbow at 46, for 30 ms."""
        times = self.times(fps)
        burst = ((times - 1.5) / 0.03).clamp(0, 1)
        vectors = turning("right_shoulder", 0, 126 * 0.03 * burst)
        vectors += turning("right_elbow", 1, 46 * 0.03 * burst)
        assert self.unharmed(vectors, torch.full_like(times, 0.95), fps)

    def test_a_sprint(self, fps: float) -> None:
        """12 m/s, each step lifting and braking the pelvis."""
        times = self.times(fps)
        height = 0.95 + 0.03 * torch.sin(2 * math.pi * 4.5 * times)
        path = torch.stack([torch.zeros_like(times), height, 12 * times], -1)
        knees = turning("left_knee", 0, 1.1 + 1.1 * torch.sin(2 * math.pi * 2.2 * times))
        assert not faulty_frames(take_of(knees, path, fps)).any()

    def test_standing_as_still_as_a_statue(self, fps: float) -> None:
        times = self.times(fps)
        assert self.unharmed(turning("neck", 0, 0 * times), torch.full_like(times, 0.95), fps)

    def test_coming_to_rest(self, fps: float) -> None:
        """Synthetic motion may end in perfect rest; a body that slows down first is not frozen."""
        times = self.times(fps)
        rest = 1 - (1 - times / 1.5).clamp(min=0) ** 3
        assert self.unharmed(turning("left_shoulder", 2, rest), torch.full_like(times, 0.95), fps)

    def test_a_start_from_the_middle_of_a_run(self, fps: float) -> None:
        times = self.times(fps)
        hips = turning("left_hip", 0, 0.8 * torch.sin(2 * math.pi * 1.5 * times))
        assert self.unharmed(hips, torch.full_like(times, 0.95), fps)


def test_training_takes_are_cut_and_held_out_ones_stay_as_they_are() -> None:
    """Figures on held-out subjects must compare with those of earlier models."""
    take = held_up(walking(), slice(41, 50), 40)
    other = replace(take, subject="02")
    training, evaluation = split_subjects([take, other], {"02"}, ())
    assert [len(piece) for piece in training] == [40, 39]
    assert evaluation == [other]
    broken = walking(frames=20)
    broken = replace(broken, translation=torch.where(torch.arange(20)[:, None] < 10, 0.0, 9.0))
    with pytest.raises(InputError, match="nothing to train on"):
        split_subjects([broken, other], {"02"}, ())


def test_a_subject_to_ignore_need_not_be_there(caplog: pytest.LogCaptureFixture) -> None:
    take = walking()
    other = replace(take, subject="02")
    assert [len(part) for part in split_subjects([take, other], {"02"}, {"07"}, "mocap.")] == [1, 1]
    assert caplog.messages == ["mocap.ignored: there is no subject 07 in the data"]
    with pytest.raises(InputError, match=r"mocap\.held_out leaves .* subjects 01, 02 in"):
        split_subjects([take, other], (), {"07"}, "mocap.")
