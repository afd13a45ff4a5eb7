"""Legs that put ankles where they are wanted: two links, bent in the plane that they bend in."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.world.feet import SIDES

_LONGEST = 0.999
"""Of a leg's length, to which it may be stretched."""


def move_ankles(smpl: SmplParams, body: BodyModel, offsets: Float[ndarray, "T 2 3"]) -> SmplParams:
    """The same bodies with ankles (left, right) displaced by metres and feet turned as before.

    Knees stay in their planes. Where a leg is too short, the ankle goes as far as it reaches.
    Rotations lie on the disk.
    """
    rotations = zeros((len(offsets), len(SMPL24), 3, 3), scratch(), smpl.transl.dtype)
    for part in chunks(len(rotations), rotations, smpl.body_pose):
        rotations[part] = torch.from_numpy(_turned(smpl[part], body, offsets[part]))
    return SmplParams.from_rotations(rotations, smpl.betas, smpl.transl)


def _turned(
    smpl: SmplParams, body: BodyModel, offsets: Float[ndarray, "T 2 3"]
) -> Float[ndarray, "T 24 3 3"]:
    frames = body.transforms(smpl).numpy()
    turns, places = frames[..., :3].copy(), frames[..., 3]
    joints = [SMPL24.indices(*(f"{side}_{part}" for part in _PARTS)) for side in SIDES]
    pelvis = SMPL24.index("pelvis")
    rotations = smpl.rotations().numpy().copy()
    for side, (hip, knee, ankle) in enumerate(joints):
        start, bend, end = (places[:, joint] for joint in (hip, knee, ankle))
        # A knee that is straight bends about the person's own left, as knees do.
        hinge = _across(bend - start, end - bend, turns[:, pelvis, :, 0])
        target = end + offsets[:, side]
        thigh, shank = _reached(start, bend, end, target, hinge)
        turned = {
            hip: _turn(bend - start, thigh, hinge) @ turns[:, hip],
            knee: _turn(end - bend, shank, hinge) @ turns[:, knee],
            ankle: turns[:, ankle],
        }
        for joint, parent in ((hip, turns[:, pelvis]), (knee, turned[hip]), (ankle, turned[knee])):
            rotations[:, joint] = parent.swapaxes(-1, -2) @ turned[joint]
    return rotations


_PARTS = ("hip", "knee", "ankle")


def _across(
    thigh: Float[ndarray, "T 3"], shank: Float[ndarray, "T 3"], left: Float[ndarray, "T 3"]
) -> Float[ndarray, "T 3"]:
    """The unit axis about which the knee bends: positive turns bring the shank back."""
    axis = np.cross(thigh, shank)
    size = np.linalg.norm(thigh, axis=-1) * np.linalg.norm(shank, axis=-1)
    bent = np.linalg.norm(axis, axis=-1) / size
    # From 3 to 9 degrees of bend the joint's own axis takes over from the person's.
    share = np.clip((bent - 0.05) / 0.1, 0.0, 1.0)[..., None]
    return _unit(share * _unit(axis) + (1.0 - share) * left)


def _reached(
    start: Float[ndarray, "T 3"],
    bend: Float[ndarray, "T 3"],
    end: Float[ndarray, "T 3"],
    target: Float[ndarray, "T 3"],
    hinge: Float[ndarray, "T 3"],
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3"]]:
    """Thigh and shank as vectors, for an ankle at the target."""
    upper = np.linalg.norm(bend - start, axis=-1)
    lower = np.linalg.norm(end - bend, axis=-1)
    wanted = target - start
    length = np.linalg.norm(wanted, axis=-1)
    # No leg is stretched further than it was, but for those that are bent.
    longest = np.maximum(_LONGEST * (upper + lower), np.linalg.norm(end - start, axis=-1))
    reach = np.clip(length, 1.001 * np.abs(upper - lower) + 1e-6, longest)
    direction = _unit(wanted)
    cosine = (upper**2 + reach**2 - lower**2) / (2 * upper * reach)
    angle = np.arccos(np.clip(cosine, -1, 1))[..., None]
    axis = _unit(hinge - (hinge * direction).sum(-1, keepdims=True) * direction)
    # The knee is before the line from hip to ankle: turned back about the hinge.
    thigh = upper[..., None] * (
        np.cos(angle) * direction - np.sin(angle) * np.cross(axis, direction)
    )
    return thigh, reach[..., None] * direction - thigh


def _turn(
    before: Float[ndarray, "T 3"], after: Float[ndarray, "T 3"], hinge: Float[ndarray, "T 3"]
) -> Float[ndarray, "T 3 3"]:
    """The rotation of a bone from one direction to another that turns its hinge least."""
    return _basis(after, hinge) @ _basis(before, hinge).swapaxes(-1, -2)


def _basis(bone: Float[ndarray, "T 3"], hinge: Float[ndarray, "T 3"]) -> Float[ndarray, "T 3 3"]:
    first = _unit(bone)
    second = _unit(hinge - (hinge * first).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], -1)


def _unit(vectors: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
