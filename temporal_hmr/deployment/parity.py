"""How far a copy of a model is from the model."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.rotation import geodesic_angle

FLOAT_LIMIT_MM = 0.05
"""Largest distance of any joint: ten times what float32 sums in another order differ by."""
INT8_LIMIT_MM = 5.0
"""Mean distance of joints as seen from the pelvis: a tenth of the embedded model's own error (50 mm
of held-out motion). Errors of different causes add as squares, so that it costs 0.5 % more."""


@dataclass(frozen=True)
class Parity:
    """Distances of the answers for the same windows; means and largest."""

    rotation_mean_deg: float
    rotation_max_deg: float
    joint_mean_mm: float
    """Of joints in the camera frame."""
    joint_max_mm: float
    from_pelvis_mean_mm: float
    """Of joints as seen from the pelvis."""
    from_pelvis_max_mm: float
    frames: int

    def fault(self, int8: bool) -> str | None:
        """What is wrong with a copy so far off, None if nothing is."""
        name, value, limit = ("largest distance of joints", self.joint_max_mm, FLOAT_LIMIT_MM)
        if int8:
            name, value, limit = (
                "mean distance of joints seen from the pelvis",
                self.from_pelvis_mean_mm,
                INT8_LIMIT_MM,
            )
        # NaN is no agreement either.
        if value <= limit:
            return None
        return f"its {name} from PyTorch's is {value:.3g} mm, the limit is {limit:g} mm"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of the valid frames of some windows."""

    rotations: Float[ndarray, "N 24 3 3"]
    joints: Float[ndarray, "N 24 3"]

    @staticmethod
    def of(outputs: dict[str, ndarray], valid: Bool[ndarray, "B T"]) -> "Answer":
        """From the arrays of all frames, by name."""
        return Answer(outputs["rotations"][valid], outputs["joints"][valid])


def compare(model: list[Answer], copy: list[Answer]) -> Parity:
    """Over all frames of answers to the same windows, one after the other."""
    rotations, joints = (
        [np.concatenate([getattr(each, name) for each in side]).astype(np.float64) for side in both]
        for name, both in (("rotations", (model, copy)), ("joints", (model, copy)))
    )
    turned = geodesic_angle(*(torch.from_numpy(each) for each in rotations)).numpy()
    degrees = np.rad2deg(turned)
    apart = _apart_mm(*joints)
    from_pelvis = _apart_mm(*(each - each[:, :1] for each in joints))
    return Parity(
        rotation_mean_deg=float(degrees.mean()),
        rotation_max_deg=float(degrees.max()),
        joint_mean_mm=float(apart.mean()),
        joint_max_mm=float(apart.max()),
        from_pelvis_mean_mm=float(from_pelvis.mean()),
        from_pelvis_max_mm=float(from_pelvis.max()),
        frames=len(apart),
    )


def _apart_mm(
    first: Float[ndarray, "N 24 3"], second: Float[ndarray, "N 24 3"]
) -> Float[ndarray, "N 24"]:
    apart = 1000 * np.linalg.norm(first - second, axis=-1)
    return np.where(np.isfinite(apart), apart, math.inf)
