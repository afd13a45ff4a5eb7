"""From tracks to motions: windows, gaps, other bodies."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import SMALL
from torch import Tensor

from temporal_hmr.blending import Blend
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import overlap, window_starts
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import Track
from temporal_hmr.recover import load_model, matching_betas, recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.rotation import axis_angle_to_matrix, nearest_rotation
from temporal_hmr.skeleton import COCO17, COCO23
from temporal_hmr.video import Frame

CAMERA = Camera.with_assumed_focal(640, 480)


@pytest.fixture(scope="module")
def model() -> Hmr:
    torch.manual_seed(0)
    return Hmr(SMALL).eval()


def a_track(frames: list[int]) -> Track:
    generator = np.random.default_rng(0)
    shape = generator.uniform(100, 300, (1, 23, 2))
    drift = np.array(frames)[:, None, None] * np.array([1.0, 0.3])
    scores = np.full((len(frames), 23, 1), 0.9)
    keypoints = np.concatenate([shape + drift, scores], -1).astype(np.float32)
    boxes = np.concatenate([keypoints[..., :2].min(1), keypoints[..., :2].max(1)], -1)
    return Track(3, np.array(frames), np.array(frames) / 25, boxes, keypoints, COCO23)


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 12, 30])
def test_any_length(model: Hmr, body: BodyModel, frames: int) -> None:
    motion = recover(model, body, a_track(list(range(5, 5 + frames))), CAMERA, 25.0)
    assert len(motion) == frames
    assert motion.frames[0] == 5
    assert motion.observed.all()
    for tensor in (motion.smpl.global_orient, motion.smpl.transl):
        assert torch.isfinite(tensor).all()
    rotations = motion.smpl.rotations()
    identity = torch.eye(3).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.smpl.betas, motion.smpl.betas[:1].expand(frames, 10))


def test_gaps_are_filled_and_marked(model: Hmr, body: BodyModel) -> None:
    motion = recover(model, body, a_track([0, 1, 2, 6, 7]), CAMERA, 25.0)
    assert motion.frames.tolist() == list(range(8))
    assert motion.observed.tolist() == [True] * 3 + [False] * 3 + [True] * 2
    assert (motion.keypoints[3:6] == 0).all()
    assert motion.confidence[3:6].max() < motion.confidence[[2, 6]].min()
    np.testing.assert_allclose(motion.confidence, motion.joint_confidence.mean(-1))
    assert motion.times[4] == pytest.approx(4 / 25)
    assert motion.at(4) == 4
    assert motion.at(9) is None


@pytest.mark.parametrize(("fit", "room"), [(None, 0.5), (Reprojection(), 3.0)])
def test_a_long_absence_does_not_throw_the_person_away(
    model: Hmr, body: BodyModel, fit: Reprojection | None, room: float
) -> None:
    """Whole windows without sight of someone: they stay between where they went and came back.

    This model has learned nothing, and what keypoints say is metres from what it says itself.
    """
    frames = [*range(10), *range(50, 60)]
    motion = recover(model, body, a_track(frames), CAMERA, 25.0, fit=fit)
    ends = motion.joints[[9, 50], 0]
    low, high = ends.min(0) - room, ends.max(0) + room
    between = motion.joints[12:48, 0]
    assert ((between > low) & (between < high)).all()
    steps = np.linalg.norm(np.diff(motion.joints[:, 0], axis=0), axis=-1)
    assert steps.max() < min(room, 1.0)


def test_joints_are_those_of_the_parameters(model: Hmr, body: BodyModel) -> None:
    motion = recover(model, body, a_track(list(range(10))), CAMERA, 25.0)
    np.testing.assert_allclose(motion.joints, body.joints(motion.smpl).numpy(), atol=1e-5)


def test_frames_far_apart_do_not_share_windows(model: Hmr, body: BodyModel) -> None:
    """The end of a long clip does not depend on how it began, but for the shape that is shared."""
    track = a_track(list(range(40)))
    changed = track.keypoints.copy()
    changed[:4, :, :2] += 30

    def pose(of: Track) -> torch.Tensor:
        return recover(model, body, of, CAMERA, 25.0, fit=None).smpl.body_pose

    first, second = pose(track), pose(replace(track, keypoints=changed))
    torch.testing.assert_close(first[20:], second[20:], atol=1e-6, rtol=0)
    assert float((first[:4] - second[:4]).abs().max()) > 1e-5


def test_other_keypoints_are_refused(model: Hmr, body: BodyModel) -> None:
    with pytest.raises(InputError, match="COCO17"):
        recover(model, body, replace(a_track([0, 1]), skeleton=COCO17), CAMERA, 25.0)


def test_matching_betas_between_equal_bodies(body: BodyModel) -> None:
    """Tall stays tall: the fitted skeleton is within millimetres of the wanted one."""
    torch.manual_seed(0)
    betas = torch.randn(3, 10)
    fitted = matching_betas(betas, body, body)
    wanted, found = body.rest_joints(betas), body.rest_joints(fitted)
    assert float((wanted - found).norm(dim=-1).max()) < 0.004


def test_another_body_takes_over_pose_and_place(model: Hmr, body: BodyModel) -> None:
    other = load_body()
    other.name = "another"
    other.joint_template += torch.tensor([0.0, 0.05, 0.0])
    track = a_track(list(range(10)))
    ours = recover(model, body, track, CAMERA, 25.0)
    theirs = recover(model, other, track, CAMERA, 25.0)
    torch.testing.assert_close(ours.smpl.rotations(), theirs.smpl.rotations())
    np.testing.assert_allclose(ours.joints[:, 0], theirs.joints[:, 0], atol=1e-4)


def test_a_model_of_images_sees_the_persons_box(body: BodyModel) -> None:
    """What is outside the box changes nothing; without images the remedy is named."""
    torch.manual_seed(0)
    encoder = {
        "kind": "postometro",
        "sees": "image",
        "side": 32,
        "backbone": {"kind": "resnet", "width": 4, "layers": [1, 1, 1, 1]},
        "decoder": {"size": "S", "width": 32, "hidden": 32, "heads": 2},
        "frame": "nothing",
    }
    config = HmrConfig.model_validate({"encoder": encoder, "motion": None, "window": 4})
    model, track = Hmr(config).eval(), a_track(list(range(6)))
    rng = np.random.default_rng(0)
    plain = [rng.integers(0, 255, (480, 640, 3), np.uint8) for _ in range(6)]
    outside, inside = ([image.copy() for image in plain] for _ in range(2))
    for far, near in zip(outside, inside, strict=True):
        far[:, 500:] = 0
        near[150:250, 150:250] = 0

    def poses(images: list[np.ndarray]) -> torch.Tensor:
        frames = (Frame(number, number / 25, image) for number, image in enumerate(images))
        return recover(model, body, track, CAMERA, 25.0, images=frames).smpl.body_pose

    assert torch.equal(poses(plain), poses(outside))
    assert not torch.equal(poses(plain), poses(inside))
    with pytest.raises(InputError, match="look at images"):
        recover(model, body, track, CAMERA, 25.0)


def test_weights_of_smpls_shapes_need_smpl(model: Hmr, body: BodyModel) -> None:
    speaks_of_smpl = Hmr(model.config.model_copy(update={"body": "smpl"})).eval()
    with pytest.raises(InputError, match="--body"):
        recover(speaks_of_smpl, body, a_track([0, 1, 2]), CAMERA, 25.0)


def test_windows_fade_into_each_other_without_a_kink(body: BodyModel) -> None:
    """Windows that disagree by a metre: the way between them has no corner to jolt at."""
    length, frames = 32, 104
    blend = Blend(frames, PosedBody(copy.deepcopy(body)))
    for number, start in enumerate(window_starts(frames, length)):
        rotations = torch.eye(3).expand(1, length, 24, 3, 3)
        transl = torch.zeros(1, length, 3)
        transl[..., 2] = 4 + number % 2
        smpl = SmplParams.from_rotations(rotations, torch.zeros(1, length, 10), transl)
        blend.add([start], smpl, torch.tensor([True]))
    depth = blend.result().transl[:, 2]
    assert float(depth.min()) == pytest.approx(4, abs=0.02)
    assert float(depth.max()) == pytest.approx(5, abs=0.02)
    straight = 1 / overlap(length)
    assert float(depth.diff(n=2).abs().max()) < 0.7 * straight, "a ramp's corners bend by that"


def blended(
    body: BodyModel, starts: list[int], frames: int, trusted: list[bool], smpl: SmplParams
) -> SmplParams:
    blend = Blend(frames, PosedBody(copy.deepcopy(body)))
    blend.add(starts, smpl, torch.tensor(trusted))
    return blend.result()


def standing_at(depth: Tensor, betas: Tensor | None = None) -> SmplParams:
    """Bodies at these depths [B T], on the optical axis."""
    shape = depth.shape
    transl = torch.stack([torch.zeros(shape), torch.zeros(shape), depth], -1)
    betas = torch.zeros(*shape, 10) if betas is None else betas
    return SmplParams.from_rotations(torch.eye(3).expand(*shape, 24, 3, 3), betas, transl)


def test_windows_of_the_unseen_do_not_leak_into_their_neighbours(body: BodyModel) -> None:
    """A body a kilometre away in a window next door moves nobody, however little it counts."""
    depth = torch.cat([torch.full((1, 24), 1000.0), torch.full((1, 24), 4.0)])
    found = blended(body, [0, 12], 36, [False, True], standing_at(depth)).transl[:, 2]
    torch.testing.assert_close(found, torch.full((36,), 4.0), atol=1e-4, rtol=0)


def test_where_nobody_is_readable_something_is_still_said(body: BodyModel) -> None:
    found = blended(body, [0], 8, [False], standing_at(torch.full((1, 8), 7.0))).transl[:, 2]
    torch.testing.assert_close(found, torch.full((8,), 7.0), atol=1e-4, rtol=0)


def test_rotations_are_the_nearest_to_the_means_of_windows(body: BodyModel) -> None:
    """Where windows agree, agree nearly and do not agree at all."""
    generator = torch.Generator().manual_seed(0)
    length, frames = 16, 28
    first = axis_angle_to_matrix(torch.randn(length, 24, 3, generator=generator))
    apart = torch.tensor([0.0, 1e-4, 0.01, 0.05, 0.5, 2.0]).repeat(4)[:, None]
    other = first @ axis_angle_to_matrix(apart * torch.randn(length, 24, 3, generator=generator))
    rotations, starts = torch.stack([first, other.roll(-12, 0)]), [0, 12]
    standing = standing_at(torch.full((2, length), 4.0))
    smpl = SmplParams.from_rotations(rotations, standing.betas, standing.transl)
    found = blended(body, starts, frames, [True, True], smpl).rotations()
    shares = torch.sin(torch.pi / 2 * (torch.arange(4) + 0.5) / 4)[:, None, None, None] ** 2
    mean = (1 - shares) * rotations[0, 12:] + shares * rotations[1, :4]
    torch.testing.assert_close(found[12:16], nearest_rotation(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:12], first[:12], atol=1e-6, rtol=0)


def test_models_are_loaded_whatever_they_would_begin_with() -> None:
    """Nothing that is not in the file is left to chance."""
    loaded = load_model(None, torch.device("cpu"))
    usual = Hmr(loaded.config)
    for name, buffer in usual.named_buffers():
        if name not in usual.state_dict():
            torch.testing.assert_close(loaded.get_buffer(name), buffer, rtol=0, atol=0)


def test_a_person_has_the_mean_of_the_shapes_of_all_frames(body: BodyModel) -> None:
    """INT and TokenHMR say another shape in each frame; the first is not the one."""
    betas = torch.zeros(1, 16, 10)
    betas[:, 1:, 0] = 2.0
    found = blended(body, [0], 16, [True], standing_at(torch.full((1, 16), 4.0), betas)).betas
    assert float(found[0, 0]) == pytest.approx(2.0, abs=0.05)
    torch.testing.assert_close(found, found[:1].expand(16, 10))
