"""Render the sample clip of the package and its true parameters, from curves alone.

    python scripts/render_sample.py

The open body, dressed in colours, marches on the spot while turning to the camera, waves with the
right hand and squats, in front of a wall. Everything is computed here: no footage, no motion
capture.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.encoding import write_video
from temporal_hmr.output.npz import Provenance, save_motion
from temporal_hmr.rasterize import Surface
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24

WIDTH, HEIGHT, FPS, SECONDS = 540, 720, 30, 4.2
CAMERA_HEIGHT, CAMERA_DISTANCE, CAMERA_PITCH = 1.25, 3.1, math.radians(8)
"""Metres above the floor, metres from where the person stops, looking down by so much."""
WALL_DISTANCE = 2.2
"""Metres from where the person stops to the wall behind them."""
SUPERSAMPLING = 2
LIGHT = np.array([-0.45, 1.0, 0.35])
"""Direction towards the light that casts the shadow, in the world (y up, z towards the camera)."""
BETAS = (0.4, -0.5, 0.3, 0.5, 0, 0, 0, 0, 0, 0)

STRIDE = 1.0
"""Seconds in which each foot leaves the floor once."""


def main() -> None:
    """Write the clip and its truth."""
    parser = argparse.ArgumentParser(description="Render the sample clip and its true parameters.")
    assets = Path(__file__).parents[1] / "temporal_hmr" / "assets"
    parser.add_argument("--video", type=Path, default=assets / "sample.mp4")
    parser.add_argument("--truth", type=Path, default=assets / "sample_truth.npz")
    options = parser.parse_args()

    body = load_body()
    world = stand_on_floor(body, poses_through_time())
    vertices_world = body.vertices(world).float().numpy()
    motion = in_camera(body, world)
    camera_vertices = body.vertices(motion.smpl).float().numpy()
    painter = Painter(body)
    images = (
        painter.paint(in_world, in_cam)
        for in_world, in_cam in zip(vertices_world, camera_vertices, strict=True)
    )
    write_video(images, FPS, options.video)
    provenance = Provenance(
        source=options.video.name,
        source_sha256="",
        body=body.name,
        body_licence=body.licence,
        weights="none: these are the parameters that the clip was rendered from",
        weights_sha256="",
        package_version="",
    )
    save_motion(motion, options.truth, provenance)
    print(f"{options.video}: {len(motion)} frames, {options.video.stat().st_size / 1e6:.2f} MB")


@dataclass(frozen=True)
class Moment:
    """How much of each activity there is at one time, 0..1, and how far each has come."""

    time: float
    march: float
    wave: float
    squat: float
    stride: float
    """Phase of the left leg's stride, in strides."""


def moment(time: float) -> Moment:
    """The timetable: march, wave, squat; each eases into the next."""
    march = 1 - ease(time, 1.25, 1.7)
    wave = ease(time, 1.2, 1.9) * (1 - ease(time, 2.4, 3.1))
    squat = ease(time, 2.75, 3.35) * (1 - ease(time, 3.55, 4.15))
    return Moment(time, march, wave, squat, 0.1 + time / STRIDE)


def ease(time: float, begin: float, end: float) -> float:
    """0 before, 1 after, smooth between (quintic, so that accelerations are continuous)."""
    x = min(max((time - begin) / (end - begin), 0.0), 1.0)
    return x**3 * (10 + x * (6 * x - 15))


def poses_through_time() -> torch.Tensor:
    """Rotations [T 24 3 3], the root's in the world (y up, facing +z at yaw 0)."""
    times = np.arange(round(SECONDS * FPS)) / FPS
    return torch.stack([pose(moment(time)) for time in times.tolist()])


def pose(now: Moment) -> torch.Tensor:
    """Rotations [24 3 3] at one moment."""
    angles = leg(now, "left", now.stride) | leg(now, "right", now.stride + 0.5)
    angles |= arm(now, "left", now.stride) | arm(now, "right", now.stride + 0.5)
    angles |= trunk(now)
    rotations = torch.eye(3).repeat(24, 1, 1)
    for joint, degrees in angles.items():
        rotations[SMPL24.index(joint)] = turn(*degrees)
    return rotations


def turn(about_x: float, about_y: float = 0, about_z: float = 0, twist: float = 0) -> torch.Tensor:
    """Degrees; twist about x first, then z, then y, then x."""
    rotation = torch.eye(3)
    for axis, degrees in ((0, about_x), (1, about_y), (2, about_z), (0, twist)):
        vector = torch.zeros(3)
        vector[axis] = math.radians(degrees)
        rotation = rotation @ axis_angle_to_matrix(vector)
    return rotation


def leg(now: Moment, side: str, stride: float) -> dict[str, tuple[float, ...]]:
    """SMPL's thigh swings forward about -x, its shank back about +x.

    The foot stays level while it bears; the second half of the stride lifts it.
    """
    outwards = 1 if side == "left" else -1
    lift = now.march * max(-math.sin(2 * math.pi * stride), 0) ** 2
    hip = 44 * lift + 96 * now.squat + 2
    knee = 80 * lift + 100 * now.squat + 4
    level = lean(now) - hip + knee
    # The weight goes over the bearing foot: both legs tilt sideways, their soles stay level.
    tilt = -2.5 * now.march * math.sin(2 * math.pi * now.stride)
    return {
        f"{side}_hip": (-hip, 0, tilt + outwards * 2),
        f"{side}_knee": (knee,),
        f"{side}_ankle": (-level + 16 * lift, 0, -tilt - outwards * 2),
    }


def arm(now: Moment, side: str, stride: float) -> dict[str, tuple[float, ...]]:
    """From SMPL's T-pose the arm sinks about z, swings about x and bends about y."""
    left = 1 if side == "left" else -1
    waving = now.wave if side == "right" else 0.0
    # Arms swing against the leg of their side.
    swing = 24 * now.march * math.sin(2 * math.pi * stride) + 105 * now.squat - 4
    sink = (1 - waving) * 72 + waving * 2
    wag = 22 * math.sin(2 * math.pi * 2.1 * (now.time - 1.5))
    bend = (1 - waving) * (16 + 10 * now.march + 6 * now.squat) + waving * (92 + wag)
    return {
        f"{side}_collar": (0, 0, -left * 4 * (1 - waving) + left * 10 * waving),
        f"{side}_shoulder": (-swing * (1 - waving), 0, -left * sink, -88 * waving),
        f"{side}_elbow": (0, -left * bend, 0),
        f"{side}_wrist": (0, 0, -left * 6 * (1 - waving)),
    }


def lean(now: Moment) -> float:
    """Of the pelvis, forward."""
    return 2 * now.march + 26 * now.squat


def trunk(now: Moment) -> dict[str, tuple[float, ...]]:
    """Root heading and lean, and the spine that turns with the arms."""
    swing = now.march * math.sin(2 * math.pi * now.stride)
    heading = -30 * (1 - ease(now.time, 0.3, 1.6))
    return {
        "pelvis": (0, heading, 0, lean(now)),
        "spine1": (4 * now.squat, -2 * swing, swing),
        "spine2": (4 * now.squat, -3 * swing, swing),
        "spine3": (2 * now.squat, -2 * swing, 3 * now.wave),
        "neck": (-8 * now.squat, 2 * swing, -2 * now.wave),
        "head": (-12 * now.squat - 2, 3 * swing - 0.5 * heading, -4 * now.wave),
    }


def stand_on_floor(body: BodyModel, rotations: torch.Tensor) -> SmplParams:
    """Place the body so that its lowest point touches y = 0 and the bearing foot does not slide.

    Its pelvis ends above the origin.
    """
    betas = torch.tensor(BETAS).expand(len(rotations), 10)
    in_place = SmplParams.from_rotations(rotations, betas, torch.zeros(len(rotations), 3))
    vertices = body.vertices(in_place)
    heels_and_toes = [joint for joint in COCO23.joints if "heel" in joint or "toe" in joint]
    soles = points_on(body, in_place)[:, COCO23.indices(*heels_and_toes)]
    height = soles[..., 1] - vertices[..., 1].min(1, keepdim=True).values
    # Several points bear at once when level; millimetres decide who does otherwise.
    bearing = torch.softmax(-height / 0.008, dim=1)
    steps = -(soles[1:] - soles[:-1]) * ((bearing[1:] + bearing[:-1]) / 2)[..., None]
    path = torch.cat([torch.zeros(1, 3), steps.sum(1).cumsum(0)])
    path = torch.from_numpy(smooth(path.numpy()))
    transl = path - path[-1]
    last = body.joints(in_place[-1])[SMPL24.index("pelvis")]
    transl[:, 0] -= last[0]
    transl[:, 2] -= last[2]
    transl[:, 1] = -torch.from_numpy(smooth(vertices[..., 1].min(1).values.numpy()[:, None])[:, 0])
    return SmplParams.from_rotations(rotations, betas, transl)


def points_on(body: BodyModel, smpl: SmplParams) -> torch.Tensor:
    """The detector's keypoints on the body [T 23 3], metres."""
    return body.regress(smpl, body.point_regressor(body.regressors["coco_feet"]))


def smooth(signal: ndarray, sigma: float = 1.2) -> ndarray:
    """Gaussian over time (sigma in frames), to take the corners off a change of feet."""
    return gaussian_filter1d(signal, sigma, axis=0, mode="nearest").astype(np.float32)


def world_to_camera() -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation and translation from the world (y up) to the camera (OpenCV axes)."""
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotation = turn(math.degrees(CAMERA_PITCH)) @ flip
    position = torch.tensor([0.0, CAMERA_HEIGHT, CAMERA_DISTANCE])
    return rotation, -rotation @ position


def in_camera(body: BodyModel, world: SmplParams) -> BodyMotion:
    """The motion as the camera sees it, everything observed."""
    rotation, translation = world_to_camera()
    smpl = body.transform(world, rotation, translation)
    joints = body.joints(smpl).float()
    camera = make_camera()
    pixels = camera.project(points_on(body, smpl)).numpy()
    times = np.arange(len(pixels)) / FPS
    return BodyMotion(
        person_id=0,
        frames=np.arange(len(pixels)),
        times=times,
        fps=FPS,
        smpl=smpl,
        joints=joints.numpy(),
        camera=camera,
        boxes=np.concatenate([pixels.min(1), pixels.max(1)], -1),
        keypoints=np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1),
        skeleton=COCO23,
        observed=np.ones(len(pixels), bool),
        confidence=np.ones(len(pixels)),
    )


def make_camera(scale: int = 1) -> Camera:
    """The camera, at the clip's size or a multiple of it; its focal length is the diagonal."""
    diagonal = math.hypot(WIDTH, HEIGHT) * scale
    return Camera.with_focal(diagonal, WIDTH * scale, HEIGHT * scale)


class Painter:
    """Paints the person, their shadow, the floor and the wall."""

    def __init__(self, body: BodyModel) -> None:
        self._camera = make_camera(SUPERSAMPLING)
        self._surface = Surface(np.asarray(body.faces), len(body.v_template))
        self._clothes = clothes(body)
        self._room = room(self._camera)

    def paint(self, in_world: ndarray, in_cam: ndarray) -> ndarray:
        """RGB uint8 at the clip's size."""
        image = self._room * self._shadow(in_world)[..., None]
        colors = self._surface.shade(in_cam, self._clothes)
        drawing = self._surface.draw(in_cam, colors, self._camera)
        if drawing is not None:
            drawn = np.isfinite(drawing.depth)
            image[drawing.window.slices][drawn] = drawing.color[drawn]
        small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return (small * 255 + 0.5).clip(0, 255).astype(np.uint8)

    def _shadow(self, in_world: ndarray) -> ndarray:
        """Light [H W] that reaches the floor: 1 in full light, softer further from the feet."""
        rotation, translation = (tensor.numpy() for tensor in world_to_camera())
        flat = in_world - in_world[:, 1:2] / LIGHT[1] * LIGHT
        covered = np.zeros((self._camera.height, self._camera.width), np.float32)
        on_floor = (flat @ rotation.T + translation).astype(np.float32)
        drawing = self._surface.draw(on_floor, np.ones_like(on_floor), self._camera)
        if drawing is not None:
            covered[drawing.window.slices] = np.isfinite(drawing.depth)
        return 1 - 0.42 * cv2.GaussianBlur(covered, (0, 0), 9)


def room(camera: Camera) -> ndarray:
    """Floor boards and a wall with a skirting board, RGB 0..1 [H W 3]."""
    rotation, _ = (tensor.numpy() for tensor in world_to_camera())
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    pixels = np.stack([columns, rows], -1)
    rays = np.concatenate(
        [(pixels - camera.center.numpy()) / camera.focal.numpy(), np.ones_like(pixels[..., :1])], -1
    )
    rays = rays @ rotation
    to_wall = (-WALL_DISTANCE - CAMERA_DISTANCE) / rays[..., 2]
    height = CAMERA_HEIGHT + to_wall * rays[..., 1]
    across = to_wall * rays[..., 0]
    wall = np.array([0.74, 0.77, 0.78]) * (0.86 + 0.07 * height - 0.03 * np.abs(across))[..., None]
    wall[(height > 0) & (height < 0.1)] = (0.9, 0.9, 0.88)
    with np.errstate(divide="ignore"):
        to_floor = -CAMERA_HEIGHT / np.minimum(rays[..., 1], -1e-6)
    x, z = to_floor * rays[..., 0], CAMERA_DISTANCE + to_floor * rays[..., 2]
    board = np.floor(x / 0.18)
    tone = 0.9 + 0.06 * np.sin(board * 12.9898) + 0.03 * np.sin(z * 7 + board * 4.1)
    seam = np.abs(x / 0.18 - board - 0.5) > 0.485
    floor = np.array([0.62, 0.48, 0.36]) * (tone * (1 - 0.25 * seam))[..., None]
    return np.where((height < 0)[..., None], floor, wall).clip(0, 1).astype(np.float32)


def clothes(body: BodyModel) -> ndarray:
    """RGB 0..1 for each vertex: hair, skin, short-sleeved shirt, trousers.

    By where the vertex is in the T-pose, measured from the joints.
    """
    place = body.v_template.float().numpy()
    joints = dict(
        zip(SMPL24.joints, body.rest_joints(torch.zeros(10)).float().numpy(), strict=True)
    )
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    head = joints["head"]
    up, forward = y - head[1], z - head[2]
    is_head = (y > joints["neck"][1]) & (x < 0.12)
    colors = np.tile(np.array([0.80, 0.58, 0.46], np.float32), (len(place), 1))
    sleeve = x < (joints["left_shoulder"][0] + joints["left_elbow"][0]) / 2
    colors[sleeve & (y < joints["neck"][1] + 0.005) & (y > joints["left_knee"][1])] = (
        0.16,
        0.42,
        0.66,
    )
    legs = (y < joints["pelvis"][1] + 0.05) & (y > joints["left_ankle"][1] + 0.03)
    colors[legs & (x < 0.3)] = (0.23, 0.24, 0.29)
    ears = (x > 0.062) & (up < 0.09) & (forward > -0.01)
    colors[is_head & ~ears & (up > -0.06) & (up > 0.115 + 1.6 * (forward - 0.06))] = (
        0.17,
        0.11,
        0.08,
    )
    eyes = (np.abs(x - 0.031) < 0.013) & (np.abs(up - 0.067) < 0.006) & (forward > 0.07)
    brows = (np.abs(x - 0.033) < 0.02) & (np.abs(up - 0.089) < 0.0035) & (forward > 0.07)
    lips = (x < 0.022) & (np.abs(up + 0.012) < 0.009) & (forward > 0.09)
    colors[is_head & eyes] = (0.20, 0.14, 0.11)
    colors[is_head & brows] = (0.45, 0.31, 0.24)
    colors[is_head & lips] = (0.66, 0.34, 0.31)
    return colors


if __name__ == "__main__":
    main()
