"""Augmentation: what moves pixels moves the truth with them, and colours move nothing."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from body_files import small_body
from labelled_clips import MARKED, SIZE, a_motion, posed, spot, write_sequence

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.model import BodyArrays, BodyModel
from temporal_hmr.crops import crop_image, warp_image
from temporal_hmr.data.augmentation import UNVARIED, CropAugmentation, Turn, Variation
from temporal_hmr.data.crop_looks import Looks, blacken_outside
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.stretches import cover
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.models.hmr import project_to_box
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import COCO23, SMPL24, mirrored

SIDE, FRAMES = 96, 4
ROTATED = UNVARIED.model_copy(update={"rotated_share": 1.0, "rotation": 0.6})
FLIPPED = UNVARIED.model_copy(update={"flip": 1.0})
JITTERED = UNVARIED.model_copy(update={"varied_share": 1.0, "scale": (0.7, 1.4), "shift": 0.15})
HALVED = UNVARIED.model_copy(update={"truncated_share": 1.0})
TOGETHER = CropAugmentation(
    **UNVARIED.model_dump()
    | {"rotated_share": 1.0, "rotation": 0.6, "flip": 1.0}
    | {"varied_share": 1.0, "scale": (0.7, 1.4), "shift": 0.15, "truncated_share": 0.5}
)
GEOMETRY = {
    "none": UNVARIED,
    "rotation": ROTATED,
    "flip": FLIPPED,
    "jitter": JITTERED,
    "half body": HALVED,
    "all": TOGETHER,
}


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    return write_sequence(tmp_path_factory.mktemp("images"), FRAMES)


@pytest.fixture(scope="module")
def zooming(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """Pixels that are not square, and a lens that zooms."""
    focal = np.linspace(230, 280, FRAMES)[:, None] * np.array([1.0, 1.05])
    return write_sequence(tmp_path_factory.mktemp("zoom"), FRAMES, focal)


def cutter(augmentation: CropAugmentation, side: int | None = SIDE) -> WindowCutter:
    return WindowCutter(WindowSettings(frames=FRAMES, side=side), posed(), augmentation)


def cut(
    sequence: Sequence, augmentation: CropAugmentation, seed: int = 0, side: int | None = SIDE
) -> tuple[CropWindow, BodyTarget]:
    maker = cutter(augmentation, side)
    made = maker.cut(sequence, cover(sequence, maker.settings)[0], seed)
    assert made is not None
    return made


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bodies_project_onto_keypoints_and_keypoints_onto_pixels(
    sequence: Sequence, zooming: Sequence, name: str, seed: int
) -> None:
    """The law of all that moves: space, camera, keypoints and picture stay one scene."""
    found = 0
    for each in (sequence, zooming):
        window, target = cut(each, GEOMETRY[name], seed)
        assert target.has_keypoints.all() and window.images is not None
        # The body is its own mirror image to some millimetres only.
        tolerance = 0.025 if GEOMETRY[name].flip else 2e-3
        projected = posed()(target.smpl, window).keypoints
        torch.testing.assert_close(projected, target.keypoints, atol=tolerance, rtol=0)
        joints = posed().body.joints(target.smpl)
        torch.testing.assert_close(joints, target.joints, atol=tolerance, rtol=0)
        seen = window.scores > 0
        torch.testing.assert_close(
            window.keypoints[seen], target.keypoints[seen], atol=1e-4, rtol=0
        )
        flipped = GEOMETRY[name].flip == 1
        for channel, joint in enumerate(MARKED):
            place = COCO23.index(mirrored(joint) if flipped else joint)
            for frame in range(FRAMES):
                where = spot(window.images[0, frame], channel)
                expected = target.keypoints[0, frame, place].double()
                if where.isfinite().all() and expected.abs().max() < 0.8:
                    assert float((where - expected).abs().max()) < 0.02
                    found += 1
    assert found >= 2 * FRAMES, "spots are in the crops"


def test_joints_of_the_truth_project_to_the_same_place_as_the_body(sequence: Sequence) -> None:
    """3D joints are moved by other code than bodies."""
    window, target = cut(sequence, TOGETHER)
    of_body = project_to_box(posed().body.joints(target.smpl), window)
    torch.testing.assert_close(project_to_box(target.joints, window), of_body, atol=0.025, rtol=0)


def test_rolling_is_exact_far_from_the_principal_point(sequence: Sequence) -> None:
    """Turned by hand about the box instead, the body no longer lies where it is seen."""
    straight, truth = cut(sequence, UNVARIED)
    distance = (straight.box_center - straight.center[:, None]).norm(dim=-1)
    assert float(distance.min()) > 0.3 * float(straight.box_size.max())
    turn = Turn(0.7)
    smpl = turn.smpl(truth.smpl[0], posed().body)
    points = posed().body.regress(smpl, posed().detector_points)
    pixels = points[..., :2] / points[..., 2:] * straight.focal[0] + straight.center[0]
    original = truth.keypoints[0] * straight.box_size[0, :, None, None] / 2
    original = original + straight.box_center[0, :, None]
    plane = torch.from_numpy(turn.plane()).float()
    rolled = (original - straight.center[0]) @ plane.T + straight.center[0]
    torch.testing.assert_close(pixels, rolled, atol=0.05, rtol=0)
    box = straight.box_center[0, :, None]
    about_box = (original - box) @ plane.T + box
    assert float((pixels - about_box).norm(dim=-1).min()) > 20


def test_rolling_rolls_the_root_and_leaves_the_pose(sequence: Sequence) -> None:
    smpl = cut(sequence, UNVARIED)[1].smpl[0]
    rolled = Turn(0.7).smpl(smpl, posed().body)
    angle = geodesic_angle(smpl.global_orient, rolled.global_orient)
    torch.testing.assert_close(angle, torch.full_like(angle, 0.7), atol=1e-3, rtol=0)
    torch.testing.assert_close(smpl.body_pose, rolled.body_pose)
    torch.testing.assert_close(smpl.betas, rolled.betas)


def test_a_positive_angle_turns_x_towards_y() -> None:
    """Clockwise as one looks at the image, whose y points down; what was on the left is right."""
    np.testing.assert_allclose(Turn(torch.pi / 2).plane() @ [1, 0], [0, 1], atol=1e-12)
    np.testing.assert_allclose(Turn(mirrored=True).plane() @ [1, 2], [-1, 2])


@pytest.mark.parametrize("turn", [Turn(0.5), Turn(mirrored=True), Turn(-0.8, mirrored=True)])
def test_the_pelvis_goes_where_space_goes(turn: Turn) -> None:
    """SMPL turns about its pelvis, and this body's is not in its middle."""
    arrays = small_body()
    made_up = BodyModel(
        BodyArrays(
            "made up",
            "",
            arrays["v_template"],
            arrays["f"],
            arrays["shapedirs"],
            arrays["posedirs"],
            arrays["J_regressor"],
            arrays["weights"],
        )
    )
    smpl = a_motion(3).map(lambda tensor: tensor.float())
    assert float(made_up.rest_joints(smpl.betas)[0, 0, 0].abs()) > 0.05
    expected = made_up.joints(smpl)[:, 0]
    plane = torch.from_numpy(turn.plane()).float()
    expected = torch.cat([expected[:, :2] @ plane.T, expected[:, 2:]], -1)
    found = made_up.joints(turn.smpl(smpl, made_up))[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_mirroring_twice_changes_nothing(sequence: Sequence) -> None:
    target = cut(sequence, UNVARIED)[1]
    turn, body = Turn(mirrored=True), posed().body
    twice = turn.smpl(turn.smpl(target.smpl[0], body), body)
    torch.testing.assert_close(twice.rotations(), target.smpl[0].rotations())
    torch.testing.assert_close(twice.transl, target.smpl[0].transl)
    torch.testing.assert_close(turn.joints(turn.joints(target.joints[0])), target.joints[0])


def test_the_mirror_swaps_masks_with_what_they_mask(sequence: Sequence) -> None:
    has_joints = sequence.has_joints.copy()
    has_joints[:, SMPL24.index("left_wrist")] = False
    keypoints = sequence.keypoints.copy()
    keypoints[:, COCO23.index("left_ear"), 2] = 0
    known = np.zeros(FRAMES, bool)
    changed = replace(sequence, has_joints=has_joints, keypoints=keypoints, has_smpl=known)
    window, target = cut(changed, FLIPPED)
    assert not target.has_joints[..., SMPL24.index("right_wrist")].any()
    assert target.has_joints[..., SMPL24.index("left_wrist")].all()
    assert not target.has_keypoints[..., COCO23.index("right_ear")].any()
    assert not window.scores[..., COCO23.index("right_ear")].any()
    assert window.scores[..., COCO23.index("left_ear")].all()


def test_half_a_body_fills_the_crop_and_the_rest_is_unseen(sequence: Sequence) -> None:
    whole, _ = cut(sequence, UNVARIED, side=None)
    seen = []
    for seed in range(8):
        half, target = cut(sequence, HALVED, seed, side=None)
        assert float(half.box_size.max()) < 0.8 * float(whole.box_size.min())
        assert target.has_keypoints.all()
        shown = half.scores[0, 0] > 0
        seen.append(bool(shown[COCO23.index("nose")]))
        assert shown[COCO23.index("nose")] != shown[COCO23.index("left_ankle")]
        assert shown[COCO23.index("left_hip")]
    assert True in seen and False in seen


def test_one_draw_for_a_clip(sequence: Sequence) -> None:
    """A still camera and person stay still: no frame of a clip is varied by itself."""
    still = replace(
        sequence,
        images=(sequence.images[0],) * FRAMES,  # type: ignore[index]
        boxes=sequence.boxes[[0] * FRAMES],
        keypoints=sequence.keypoints[[0] * FRAMES],
        joints=sequence.joints[[0] * FRAMES],
        smpl=sequence.smpl[[0] * FRAMES],  # type: ignore[index]
    )
    everything = TOGETHER.model_copy(
        update={"brightness": 0.3, "hue": 0.3, "blurred_share": 1.0, "jpeg_share": 1.0}
        | {"patch_share": 1.0}
    )
    window, target = cut(still, everything, 5)
    assert window.images is not None
    assert (window.images == window.images[:, :1]).all()
    torch.testing.assert_close(target.joints, target.joints[:, :1].expand_as(target.joints))


def test_colours_move_nothing(sequence: Sequence) -> None:
    coloured = CropAugmentation(
        **CropAugmentation(patch_share=0.0, occluded_share=0.0, blurred_share=1.0).model_dump()
        | {"varied_share": 0.0, "rotated_share": 0.0, "flip": 0.0, "truncated_share": 0.0}
    )
    plain, truth = cut(sequence, UNVARIED)
    window, target = cut(sequence, coloured)
    assert plain.images is not None and window.images is not None
    assert (plain.images != window.images).any()
    torch.testing.assert_close(window.keypoints, plain.keypoints)
    torch.testing.assert_close(target.joints, truth.joints)


def test_grey_keeps_its_hue_and_nothing_changes_without_limits() -> None:
    rng = np.random.default_rng(0)
    settings = UNVARIED.model_copy(update={"hue": 1.0, "saturation": 1.0})
    grey = np.full((8, 8, 3), 90, np.uint8)
    for _ in range(5):
        out = Looks.draw(settings, 1, rng).photograph(grey)
        assert np.abs(out.astype(int) - 90).max() <= 1
    image = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(Looks.draw(UNVARIED, 1, rng).photograph(image), image)


def test_brighter_is_brighter() -> None:
    settings = UNVARIED.model_copy(update={"brightness": 0.5})
    image = np.full((4, 4, 3), 100, np.uint8)
    rng = np.random.default_rng(1)
    values = [int(Looks.draw(settings, 1, rng).photograph(image)[0, 0, 0]) for _ in range(50)]
    assert 50 <= min(values) < 70 and 130 < max(values) <= 150


def test_blacked_out_is_one_side_and_the_same_in_all_frames(sequence: Sequence) -> None:
    """INT's erasing: a side of the clip, in some of its frames."""
    settings = UNVARIED.model_copy(update={"erased_share": 0.5})
    looks = Looks.draw(settings, 200, np.random.default_rng(3))
    assert 60 < looks.darkened.sum() < 140
    holes = []
    for frame in np.flatnonzero(looks.darkened)[:3]:
        image = np.full((20, 20, 3), 9, np.uint8)
        looks.erase(image, int(frame))
        holes.append(image)
    assert (holes[0] == holes[1]).all() and (holes[0] == holes[2]).all()
    black = (holes[0] == 0).all(-1)
    assert black.all(0).any() != black.all(1).any()
    assert 0 < black.mean() <= 0.7
    untouched = np.full((20, 20, 3), 9, np.uint8)
    looks.erase(untouched, int(np.flatnonzero(~looks.darkened)[0]))
    assert (untouched == 9).all()


def test_things_in_the_way_are_painted_where_they_lower_scores(
    sequence: Sequence, tmp_path: Path
) -> None:
    grey = np.full((SIZE[1], SIZE[0], 3), 77, np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    plain = replace(sequence, images=(tmp_path / "grey.png",) * FRAMES)
    settings = UNVARIED.model_copy(update={"occluded_share": 1.0})
    hidden, shown = 0, 0
    for seed in range(12):
        window, target = cut(plain, settings, seed)
        assert target.has_keypoints.all() and window.images is not None
        painted = (window.images[0] != 77).any(1)
        places = ((target.keypoints[0] + 1) / 2 * SIDE).long()
        pixels = target.keypoints[0] * window.box_size[0, :, None, None] / 2
        pixels = pixels + window.box_center[0, :, None]
        inside = ((pixels > 2) & (pixels < torch.tensor(SIZE) - 2)).all(-1)
        for frame, joint in inside.nonzero().tolist():
            x, y = places[frame, joint].tolist()
            # The edge of a thing may run through the pixel.
            if not 1 <= x < SIDE - 1 or not 1 <= y < SIDE - 1:
                continue
            around = painted[frame, y - 1 : y + 2, x - 1 : x + 2]
            if around.any() and not around.all():
                continue
            lowered = bool(window.scores[0, frame, joint] < 1)
            assert lowered == bool(painted[frame, y, x])
            hidden, shown = hidden + lowered, shown + (not lowered)
    assert hidden > 30 and shown > 30


def test_beyond_the_image_it_stays_black_whatever_the_colours() -> None:
    image = np.full((50, 60, 3), 255, np.uint8)
    angle = 0.4
    linear = 0.9 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([linear, [20.0, 10.0]])
    crop = warp_image(image, matrix, 64)
    painted = np.where(crop > 127, crop, 60).astype(np.uint8)
    blacken_outside(painted, matrix, (60, 50))
    inside, outside = crop[..., 0] > 200, crop[..., 0] < 10
    assert inside.sum() > 500 and outside.sum() > 500
    assert (painted[outside] == 0).all() and (painted[inside] > 200).all()


def test_warping_by_a_box_is_cropping() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    for size in (10.0, 16.0, 32.0, 39.0):
        center = np.array([20.3, 17.1])
        scale = 16 / size
        shift = 8 - scale * center
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        assert np.array_equal(warp_image(image, matrix, 16), crop_image(image, center, size, 16))


def test_shares_are_kept_and_angles_cut() -> None:
    rng = np.random.default_rng(0)
    settings = CropAugmentation(rotated_share=0.5, rotation=0.4, flip=0.3, truncated_share=0.2)
    drawn = [Variation.draw(settings, rng) for _ in range(2000)]
    angles = np.array([each.turn.angle for each in drawn])
    assert np.abs(angles).max() <= 0.8 + 1e-9
    assert (angles != 0).mean() == pytest.approx(0.5, abs=0.05)
    assert np.mean([each.turn.mirrored for each in drawn]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([each.half is not None for each in drawn]) == pytest.approx(0.2, abs=0.05)
    scales = np.array([each.scale for each in drawn])
    assert scales.min() >= 0.8 and scales.max() <= 1.25
