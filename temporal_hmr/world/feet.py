"""What the ground knows of a person, in the camera frame: where the soles are, when they stand, and
where the weight is that they bear.

A foot that stands has no speed. Of what a single camera sees, the speed across the line of sight
is known well and that along it badly: the whole body swims to and fro in depth. So the first is
judged as it is, and in the second the pelvis's own depth is smoothed before.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.motion import BodyMotion
from temporal_hmr.on_disk import chunks, copied, scratch, zeros
from temporal_hmr.skeleton import COCO23, SMPL24

SIDES = ("left", "right")
_POINTS = ("big_toe", "small_toe", "heel")
_FEET = [COCO23.indices(*(f"{side}_{point}" for point in _POINTS)) for side in SIDES]

_PARTS = (
    ("pelvis", "spine1", 0.142),
    ("spine1", "spine3", 0.139),
    ("spine3", "neck", 0.216),
    ("head", "head", 0.081),
    ("*_hip", "*_knee", 0.2),
    ("*_knee", "*_ankle", 0.093),
    ("*_ankle", "*_foot", 0.029),
    ("*_shoulder", "*_elbow", 0.056),
    ("*_elbow", "*_wrist", 0.032),
    ("*_hand", "*_hand", 0.012),
)
"""Shares of the body's mass, both sides together (Winter, "Biomechanics and motor control of human
movement", table 4.1)."""
_SEEN = 0.3
"""Confidence of an ankle's keypoint above which the foot is in the picture."""
_SMOOTH, _SMOOTH_DEPTH = 0.03, 0.25
"""Seconds; standard deviations of what foot points, and the depth of the body, are smoothed by."""
_STANDING_SPEED, _STANDING_SPEED_DEPTH = 0.4, 1.0
"""m/s across and along the line of sight, below which a foot point may stand."""
_SHORTEST = 0.1
"""Seconds for which a foot stands at least, and for which it may seem not to."""


@dataclass(frozen=True, eq=False)
class Walker:
    """One person as the ground knows them; camera frame, metres."""

    motion: BodyMotion
    smpl: SmplParams
    """The motion's, float64; its rotations lie on the disk."""
    soles: Float[ndarray, "T 2 3 3"]
    """Left and right: big toe, small toe, heel, on the skin; on the disk."""
    rest_heights: Float[ndarray, "3"]
    """Of these points above the sole, when the foot stands flat."""
    seen: Bool[ndarray, "T 2"]
    """Whether the foot was in the picture."""
    slow: Bool[ndarray, "T 2 3"]
    """Whether the point is as slow as one that stands, whatever its height."""
    mass: Float[ndarray, "T 3"]
    """Centre of the body's mass."""
    left: Float[ndarray, "T 3"]
    """Unit vectors to the person's own left."""

    def lowered(self, up: Float[ndarray, "3"]) -> Float[ndarray, "T 2 3 3"]:
        """The points of the soles, each brought down to where the ground is when it stands."""
        return self.soles - self.rest_heights[:, None] * up


def walker(motion: BodyMotion, body: BodyModel) -> Walker:
    """Somebody's feet, on the body that the motion was made with, which computes in float64."""
    smpl = in_double(motion.smpl)
    points = copied(sole_points(smpl, body), scratch())
    ankles = motion.skeleton.indices(*(f"{side}_ankle" for side in SIDES))
    confidence = motion.keypoints[:, ankles, 2]
    mass, pelvis, left = (np.empty((len(motion), 3)) for _ in range(3))
    for part in chunks(len(motion), motion.joints, smpl.body_pose):
        joints = np.asarray(motion.joints[part], np.float64)
        mass[part], pelvis[part] = _centre_of_mass(joints), joints[:, SMPL24.index("pelvis")]
        left[part] = smpl.global_orient[part, :, 0].numpy()
    return Walker(
        motion=motion,
        smpl=smpl,
        soles=points,
        rest_heights=rest_heights(smpl, body),
        seen=(confidence > _SEEN) & motion.observed[:, None],
        slow=_slow(points, pelvis, motion.times),
        mass=mass,
        left=left,
    )


def in_double(smpl: SmplParams) -> SmplParams:
    """The same numbers as float64, rotations on the disk."""
    rotations = zeros((len(smpl.transl), 24, 3, 3), scratch(), torch.float64)
    for part in chunks(len(rotations), rotations, smpl.body_pose):
        rotations[part] = smpl[part].map(lambda tensor: tensor.detach().cpu()).rotations()
    betas, transl = (each.detach().cpu().double() for each in (smpl.betas, smpl.transl))
    return SmplParams.from_rotations(rotations, betas, transl)


def _centre_of_mass(joints: Float[ndarray, "T 24 3"]) -> Float[ndarray, "T 3"]:
    """Each part's mass in the middle between its ends."""
    total = np.zeros_like(joints[:, 0])
    for first, second, mass in _PARTS:
        ends = [joint.replace("*", side) for side in SIDES for joint in (first, second)]
        total += mass * joints[:, SMPL24.indices(*ends)].mean(1)
    return total / sum(mass for *_, mass in _PARTS)


def sole_points(smpl: SmplParams, body: BodyModel) -> Float[ndarray, "T 2 3 3"]:
    """Big toe, small toe and heel of both feet, in the frame that `smpl` is given in."""
    regressor = body.point_regressor(np.asarray(body.regressors["coco_feet"])[np.ravel(_FEET)])
    parts = chunks(len(smpl.transl), smpl.body_pose)
    blocks = [body.regress(smpl[part], regressor) for part in parts]
    return torch.cat(blocks).numpy().reshape(-1, 2, 3, 3)


def rest_heights(smpl: SmplParams, body: BodyModel) -> Float[ndarray, "3"]:
    """Of big toe, small toe and heel above the sole: the zero pose stands on flat feet, y up."""
    upright = torch.eye(3, dtype=smpl.transl.dtype)
    rest = SmplParams(upright, upright.expand(23, 3, 3), smpl.betas[0], smpl.transl[0])
    heights = sole_points(rest.map(lambda tensor: tensor[None]), body)[0, ..., 1].mean(0)
    return heights - heights.min()


def _slow(
    points: Float[ndarray, "T 2 3 3"], pelvis: Float[ndarray, "T 3"], times: Float[ndarray, "T"]
) -> Bool[ndarray, "T 2 3"]:
    """Which points hardly move."""
    if len(points) < 2:
        return np.ones(points.shape[:3], bool)
    interval = float(np.median(np.diff(times)))
    depth = np.linalg.norm(pelvis, axis=-1)
    calm = smoothed(depth, _SMOOTH_DEPTH / interval) - depth
    slow = np.empty(points.shape[:3], bool)
    for foot, place in np.ndindex(points.shape[1:3]):
        point = points[:, foot, place]
        sight = point / np.linalg.norm(point, axis=-1, keepdims=True)
        point = smoothed(point + calm[:, None] * sight, _SMOOTH / interval)
        speed = np.gradient(point, times, axis=0)
        along = (speed * sight).sum(-1)
        across = np.linalg.norm(speed - along[:, None] * sight, axis=-1)
        stands = (across < _STANDING_SPEED) & (np.abs(along) < _STANDING_SPEED_DEPTH)
        slow[:, foot, place] = stands
    return slow


def smoothed(values: Float[ndarray, "T *n"], sigma: float) -> Float[ndarray, "T *n"]:
    """By a bell of so many frames' standard deviation, the ends continued as they are."""
    return gaussian_filter1d(values, max(sigma, 1e-3), axis=0, mode="nearest")


def lasting(flags: Bool[ndarray, "T *n"], times: Float[ndarray, "T"]) -> Bool[ndarray, "T *n"]:
    """Without stretches, and then without gaps, too short for a foot."""
    if len(flags) < 3:
        return flags
    frames = max(round(_SHORTEST / float(np.median(np.diff(times)))), 1)
    shape = (frames + 1, *[1] * (flags.ndim - 1))
    # Beyond the ends whatever is there goes on.
    padded = np.pad(flags, [(frames, frames), *[(0, 0)] * (flags.ndim - 1)], mode="edge")
    closed = binary_closing(padded, np.ones(shape))
    return binary_opening(closed, np.ones(shape))[frames:-frames]
