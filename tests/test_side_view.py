"""From the side bodies look as they would in front of a camera that stands there."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from test_overlay import standing

from temporal_hmr.body.model import BodyModel
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion, InWorld
from temporal_hmr.output.overlay import Artist, OverlayStyle, write_overlay
from temporal_hmr.output.side_view import SideView, panel_width
from temporal_hmr.video import Frame

SIDE = OverlayStyle(person_ids=False, side_view=True)
WIDTH, HEIGHT = 160, 120
FROM_CAMERA = np.array([[1.0, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, -1, 3], [0, 0, 0, 1]])


def frame(index: int = 0, height: int = HEIGHT) -> Frame:
    return Frame(index, index / 10, np.full((height, WIDTH, 3), 60, np.uint8))


def turned(motion: BodyMotion, body: BodyModel, degrees: float) -> BodyMotion:
    """About the vertical through the pelvis."""
    angle = np.radians(degrees)
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    turn = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    smpl = replace(motion.smpl, global_orient=turn @ motion.smpl.global_orient)
    return replace(motion, smpl=smpl, joints=body.joints(smpl).numpy())


def panel(body: BodyModel, *motions: BodyMotion, index: int = 0) -> np.ndarray:
    return Artist(motions, body, SIDE).draw(frame(index))[:, WIDTH:]


def silhouette(body: BodyModel, *motions: BodyMotion, index: int = 0) -> np.ndarray:
    """Where the panel differs from the one without anybody."""
    empty = SideView.of(motions, body, HEIGHT).backdrop
    drawn = panel(body, *motions, index=index).astype(int)
    return np.abs(drawn - empty).max(-1) > 12


def cut_out(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    part = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return cv2.resize(part.astype(np.uint8), (100, 100), interpolation=cv2.INTER_AREA) > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_somebody_turned_by_a_right_angle_looks_as_from_the_front(body: BodyModel) -> None:
    camera, height = Camera.with_focal(1200.0, 480, 360), 360
    front = replace(standing(body, 0, (0, 0, 8)), camera=camera)
    video = Frame(0, 0.0, np.full((height, 480, 3), 60, np.uint8))
    image = Artist([front], body, OverlayStyle(person_ids=False)).draw(video)
    seen = cut_out(np.abs(image.astype(int) - 60).max(-1) > 12)
    from_the_side = {}
    for degrees in (0, 90):
        motion = turned(front, body, degrees)
        drawn = Artist([motion], body, SIDE).draw(video)[:, 480:].astype(int)
        empty = SideView.of([motion], body, height).backdrop
        from_the_side[degrees] = cut_out(np.abs(drawn - empty).max(-1) > 12)
    assert overlap(from_the_side[90], seen) > 0.92
    assert overlap(from_the_side[0], seen) < 0.5


def test_it_is_no_mirror_image(body: BodyModel) -> None:
    """Who faces the video's camera, which is on the left, looks to the left."""
    motion = standing(body, 0, (0, 0, 4))
    view = SideView.of([motion], body, HEIGHT)
    ahead, pelvis = np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 4.0])
    seen = view.seen(np.stack([ahead, pelvis]))
    assert seen[0, 0] < seen[1, 0] and seen[0, 2] == pytest.approx(seen[1, 2])
    assert seen[0, 1] == pytest.approx(seen[1, 1])
    rotation = view.seen(np.eye(3)) - view.seen(np.zeros((1, 3)))
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)


def test_moving_away_is_moving_to_the_right(body: BodyModel) -> None:
    motion = standing(body, 0, (0, 0, 4))
    steps = torch.tensor([[0.0, 0, 0], [0, 0, 1.5]])
    smpl = replace(motion.smpl, transl=motion.smpl.transl + steps)
    motion = replace(motion, smpl=smpl, joints=body.joints(smpl).numpy(), observed=np.ones(2, bool))
    near, far = (silhouette(body, motion, index=index) for index in (0, 1))
    columns = [np.nonzero(mask)[1].mean() for mask in (near, far)]
    rows = [np.nonzero(mask)[0].max() for mask in (near, far)]
    assert columns[1] - columns[0] > 20 and abs(rows[1] - rows[0]) <= 1


def test_who_is_further_right_in_the_video_is_in_front(body: BodyModel) -> None:
    left, right = standing(body, 0, (-0.7, 0, 5)), standing(body, 1, (0.7, 0, 5))
    image = panel(body, left, right)
    blue, orange = (
        image[..., 2].astype(int) - image[..., 0],
        image[..., 0].astype(int) - image[..., 2],
    )
    assert (orange > 40).sum() > 4 * (blue > 40).sum()


@pytest.mark.parametrize("places", [[(0, 0, 3)], [(-2, 0, 3), (1, 0.3, 14)], [(0, -4, 40)]])
def test_everybody_fits_whole_with_feet_down(body: BodyModel, places) -> None:
    motions = [standing(body, number, place) for number, place in enumerate(places)]
    mask = silhouette(body, *motions)
    assert mask.sum() > 60
    assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    view = SideView.of(motions, body, HEIGHT)
    heads = view.seen(np.concatenate([motion.joints[0, 15:16] for motion in motions]))
    feet = view.seen(np.concatenate([motion.joints[0, 10:11] for motion in motions]))
    assert (heads[:, 1] < feet[:, 1]).all()


def test_feet_stand_on_the_ground_line(body: BodyModel) -> None:
    motion = standing(body, 0, (0, 0, 4))
    view = SideView.of([motion], body, HEIGHT)
    lowest = view.seen(body.vertices(motion.smpl)[0].numpy())[:, 1].max()
    assert lowest == pytest.approx(view.ground, abs=0.02)


def test_a_world_levels_what_a_tilted_camera_saw(body: BodyModel) -> None:
    """The video shows somebody who leans; their world says that they stand upright."""
    upright = standing(body, 0, (0, 0, 4))
    flip = torch.tensor(FROM_CAMERA[:3, :3]).float()
    moved = torch.tensor([0.0, 1.1, -1.0]).expand(2, 3)
    world = replace(upright.smpl, global_orient=flip @ upright.smpl.global_orient, transl=moved)
    tilt = torch.tensor(cv2.Rodrigues(np.array([0.5, 0.0, 0.0]))[0]).float()
    leaning = replace(upright.smpl, global_orient=tilt @ upright.smpl.global_orient)
    tilted = replace(upright, smpl=leaning, joints=body.joints(leaning).numpy())
    placed = replace(tilted, world=InWorld(world.map(torch.Tensor.double), FROM_CAMERA, {}))
    level = cut_out(silhouette(body, upright))
    assert overlap(cut_out(silhouette(body, placed)), level) > 0.9
    assert overlap(cut_out(silhouette(body, tilted)), level) < 0.7


def test_without_a_world_people_who_keep_their_balance_level_it(body: BodyModel) -> None:
    """Known defect: of a camera that looks down, everybody leaned."""
    count = 40
    motion = standing(body, 0, (0, 0, 4))
    still = motion.smpl[torch.zeros(count, dtype=torch.long)]
    tilt = torch.tensor(cv2.Rodrigues(np.array([0.4, 0.0, 0.0]))[0]).float()
    rest = body.rest_joints(still.betas)[:, 0]
    turned = (tilt @ (still.transl + rest)[..., None])[..., 0] - rest
    views = []
    for smpl in (still, replace(still, global_orient=tilt @ still.global_orient, transl=turned)):
        long = replace(
            motion,
            smpl=smpl,
            joints=body.joints(smpl).numpy(),
            frames=np.arange(count),
            times=np.arange(count) / 10,
            observed=np.ones(count, bool),
            boxes=np.zeros((count, 4)),
            keypoints=np.ones((count, 23, 3)),
            confidence=np.ones(count),
        )
        views.append(SideView.of([long], body, HEIGHT).seen(long.joints[0]))
    away = np.linalg.norm(views[0] - views[1], axis=-1)
    assert away.max() < 0.02, "the same from the side, however the camera was held"


def test_one_frame_flung_away_makes_nobody_tiny(body: BodyModel) -> None:
    count = 300
    motion = standing(body, 0, (0, 0, 4))
    smpl = motion.smpl[torch.zeros(count, dtype=torch.long)]
    joints = body.joints(smpl).numpy()
    usual = SideView.of(
        [replace(motion, smpl=smpl, joints=joints, frames=np.arange(count))], body, HEIGHT
    )
    joints = joints.copy()
    joints[7] += 100
    flung = SideView.of(
        [replace(motion, smpl=smpl, joints=joints, frames=np.arange(count))], body, HEIGHT
    )
    assert flung.distance == pytest.approx(usual.distance, rel=0.01)


def test_the_video_is_left_as_it_is_and_written_beside_it(body: BodyModel, tmp_path) -> None:
    motion = standing(body, 0, (0, 0, 3))
    plain = Artist([motion], body, replace(SIDE, side_view=False)).draw(frame(height=121))
    both = Artist([motion], body, SIDE).draw(frame(height=121))
    np.testing.assert_array_equal(both[:, :WIDTH], plain)
    assert both.shape == (121, WIDTH + panel_width(121), 3)
    write_overlay([frame(0), frame(1)], 10, [motion], body, tmp_path / "overlay.mp4", SIDE)
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == WIDTH + panel_width(HEIGHT)


def test_absent_people_are_absent_there_too(body: BodyModel) -> None:
    motion = standing(body, 0, (0, 0, 3))
    np.testing.assert_array_equal(
        panel(body, motion, index=5), SideView.of([motion], body, HEIGHT).backdrop
    )
