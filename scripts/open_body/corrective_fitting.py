"""Fit and judge the linear pose correctives against the finer deformer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from open_body.correctives import (
    FEATURES,
    RIDGE,
    SMALLEST_INFLUENCE,
    SMALLEST_OFFSET,
    FineDeformer,
    pose_feature,
)
from open_body.joints import JOINT_FLIP
from open_body.kinematics import blended_transforms, forward_kinematics
from open_body.pose_sampling import sample_poses
from open_body.shape_space import ShapeSpace
from open_body.topology import MIRROR, enclosed_volume

BETA_DEVIATION = 1.0


@dataclass(frozen=True)
class PosedExample:
    """One random body: `feature` (207,), its `rest` (V, 3), the fine deformer's `target` (V, 3),
    and the linear blend `transform` (V, 3, 3), `shift` (V, 3) of plain 24-joint skinning."""

    feature: np.ndarray
    rest: np.ndarray
    target: np.ndarray
    transform: np.ndarray
    shift: np.ndarray

    def skinned(self, offsets: np.ndarray | float = 0.0) -> np.ndarray:
        """(V, 3) plain skinning of the rest vertices moved by `offsets` (V, 3)."""
        return np.einsum("vij,vj->vi", self.transform, self.rest + offsets) + self.shift


@dataclass(frozen=True)
class CorrectiveFitter:
    """What both fitting and judging need: shapes, joints, weights (V, 24) and the deformer."""

    shapes: ShapeSpace
    joint_regressor: np.ndarray
    weights: np.ndarray
    flip: np.ndarray
    deformer: FineDeformer

    def examples(self, count: int, seed: int) -> Iterator[PosedExample]:
        """Random natural poses of random bodies."""
        generator = np.random.default_rng(seed)
        weights = sparse.csr_matrix(self.weights)
        regressor = sparse.csr_matrix(self.joint_regressor)
        poses = sample_poses(count, generator)
        betas = BETA_DEVIATION * generator.standard_normal((count, self.shapes.directions.shape[2]))
        for rotations, beta in zip(poses, betas, strict=True):
            rest = self.shapes.template + self.shapes.directions @ beta
            joints = regressor @ rest
            world, positions = forward_kinematics(rotations, joints)
            transform, shift = blended_transforms(weights, world, joints, positions)
            target = self.deformer.pose(rest, joints, rotations)
            yield PosedExample(pose_feature(rotations), rest, target, transform, shift)

    def fit(self, count: int, seed: int) -> np.ndarray:
        """(V, 3, 207) mirror-consistent correctives, sparse in the joints of each vertex."""
        vertex_count = len(self.weights)
        moment = np.zeros((FEATURES, FEATURES))
        cross = np.zeros((FEATURES, 3 * vertex_count))
        features, offsets = [], []
        for number, example in enumerate(self.examples(count, seed), start=1):
            residual = example.target - example.skinned()
            wanted = np.linalg.solve(example.transform, residual[..., None])[..., 0]
            features.append(example.feature)
            offsets.append(wanted.reshape(-1))
            if len(features) == 100 or number == count:
                block = np.stack(features)
                moment += block.T @ block
                cross += block.T @ np.stack(offsets)
                features, offsets = [], []
        cross = cross.reshape(FEATURES, vertex_count, 3) / count
        moment, cross = self._symmetrise(moment / count, cross)
        return _solve_sparsely(moment, cross, self.deformer.influences())

    def _symmetrise(self, moment: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Moments as if every pose had been seen with its mirror image too."""
        order, signs = mirror_features()
        mirrored_moment = moment[order][:, order] * signs[:, None] * signs
        mirrored_cross = cross[order][:, self.flip] * signs[:, None, None] * MIRROR
        return 0.5 * (moment + mirrored_moment), 0.5 * (cross + mirrored_cross)

    def judge(
        self, posedirs: np.ndarray, areas: np.ndarray, faces: np.ndarray, count: int, seed: int
    ) -> dict[str, float]:
        """Area-weighted distances in millimetres to the fine deformer, without and with."""
        plain, corrected, ratios = [], [], []
        flat = sparse.csr_matrix(posedirs.reshape(-1, FEATURES))
        for example in self.examples(count, seed):
            offsets = (flat @ example.feature).reshape(-1, 3)
            plain.append(np.linalg.norm(example.skinned() - example.target, axis=1))
            moved = example.skinned(offsets)
            corrected.append(np.linalg.norm(moved - example.target, axis=1))
            wanted = enclosed_volume(example.target, faces)
            ratios.append(
                (enclosed_volume(example.skinned(), faces) / wanted,
                 enclosed_volume(moved, faces) / wanted)
            )  # fmt: skip
        share = areas / areas.sum()
        plain_volume, corrected_volume = np.mean(ratios, axis=0)
        return {
            "plain_mean_mm": 1e3 * float((np.array(plain) @ share).mean()),
            "corrected_mean_mm": 1e3 * float((np.array(corrected) @ share).mean()),
            "corrected_p99_mm": 1e3 * float(np.percentile(corrected, 99)),
            "corrected_max_mm": 1e3 * float(np.max(corrected)),
            "plain_volume_ratio": float(plain_volume),
            "corrected_volume_ratio": float(corrected_volume),
        }


def mirror_features() -> tuple[np.ndarray, np.ndarray]:
    """Order (207,) and signs (207,) that turn a pose's feature into its mirror image's."""
    entries = np.arange(FEATURES).reshape(23, 9)
    order = entries[JOINT_FLIP[1:] - 1].reshape(-1)
    return order, np.tile(np.outer(MIRROR, MIRROR).reshape(-1), 23)


def _solve_sparsely(moment: np.ndarray, cross: np.ndarray, influences: np.ndarray) -> np.ndarray:
    """(V, 3, 207) ridge solutions on each vertex's own joints, the negligible ones dropped."""
    kept = influences[:, 1:] > SMALLEST_INFLUENCE
    first = _solve_on(moment, cross, kept)
    blocks = first.reshape(len(kept), 3, 23, 9)
    squared = np.stack(
        [
            np.einsum("vif,fg,vig->v", blocks[:, :, j], moment[s, s], blocks[:, :, j])
            for j, s in enumerate(slice(9 * j, 9 * j + 9) for j in range(23))
        ],
        axis=1,
    )
    return _solve_on(moment, cross, kept & (np.sqrt(squared) > SMALLEST_OFFSET))


def _solve_on(moment: np.ndarray, cross: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(V, 3, 207) ridge solutions on the joints `kept` (V, 23) marks."""
    solution = np.zeros((len(kept), 3, FEATURES))
    patterns, which = np.unique(kept, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        columns = np.flatnonzero(np.repeat(pattern, 9))
        vertices = np.flatnonzero(which.reshape(-1) == number)
        system = moment[np.ix_(columns, columns)] + RIDGE * np.eye(len(columns))
        right = cross[np.ix_(columns, vertices)].reshape(len(columns), -1)
        solved = np.linalg.solve(system, right).reshape(len(columns), len(vertices), 3)
        axes = np.arange(3)[:, None]
        solution[vertices[:, None, None], axes, columns] = solved.transpose(1, 2, 0)
    return solution
