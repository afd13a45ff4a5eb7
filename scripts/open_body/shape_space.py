"""Ten shape directions of unit variance: principal components turned to stature and weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from open_body.topology import MIRROR, enclosed_volume

BODY_DENSITY = 1010.0  # kilograms per cubic metre, near water's


@dataclass(frozen=True)
class ShapeSpace:
    """Linear shapes: `template` (V, 3) plus `directions` (V, 3, K) times standard normal betas."""

    template: np.ndarray
    directions: np.ndarray
    stature_correlation: float
    mass_index_correlation: float

    def project(self, bodies: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """(N, K) betas that fit (N, V, 3) bodies best, errors weighted by (V,) areas."""
        root = np.sqrt(areas)[:, None]
        basis = (self.directions * root[..., None]).reshape(-1, self.directions.shape[2])
        centred = ((bodies - self.template) * root).reshape(len(bodies), -1)
        return np.linalg.lstsq(basis, centred.T, rcond=None)[0].T

    def residuals(self, bodies: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """(N, V) distances in metres between bodies and their nearest shapes."""
        betas = self.project(bodies, areas)
        fitted = self.template + np.einsum("vik,nk->nvi", self.directions, betas)
        return np.linalg.norm(bodies - fitted, axis=2)


def learn_shape_space(
    bodies: np.ndarray, faces: np.ndarray, areas: np.ndarray, flip: np.ndarray, count: int
) -> ShapeSpace:
    """Learn `count` directions from (N, V, 3) bodies.

    The principal subspace is kept, but turned so that the first beta is stature and the second is
    body mass index; the others follow by decreasing variance of the surface.
    """
    template = bodies.mean(axis=0)
    template = 0.5 * (template + template[flip] * MIRROR)
    root = np.sqrt(areas / areas.sum())[:, None]
    centred = ((bodies - template) * root).reshape(len(bodies), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T / len(bodies))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    scores = vectors * np.sqrt(len(bodies))  # (N, K) whitened
    stature = np.ptp(bodies[:, :, 1], axis=1)
    mass_index = BODY_DENSITY * volumes(bodies, faces) / stature**2
    turn = _turn_to_measures(scores, values, stature, mass_index)
    betas = scores @ turn
    directions = np.tensordot(betas, bodies - template, axes=(0, 0)) / len(bodies)
    directions = directions.transpose(1, 2, 0)
    directions = 0.5 * (directions + directions[flip] * MIRROR[:, None])
    return ShapeSpace(
        template,
        directions,
        float(np.corrcoef(betas[:, 0], stature)[0, 1]),
        float(np.corrcoef(betas[:, 1], mass_index)[0, 1]),
    )


def volumes(bodies: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N,) volumes in cubic metres of (N, V, 3) bodies."""
    return np.array([enclosed_volume(body, faces) for body in bodies])


def _turn_to_measures(
    scores: np.ndarray, variances: np.ndarray, stature: np.ndarray, mass_index: np.ndarray
) -> np.ndarray:
    """(K, K) rotation of whitened (N, K) scores: stature, mass index, rest by variance."""
    first = scores.T @ (stature - stature.mean())
    first /= np.linalg.norm(first)
    second = scores.T @ (mass_index - mass_index.mean())
    second -= first * (first @ second)
    second /= np.linalg.norm(second)
    basis, _ = np.linalg.qr(np.column_stack([first, second, np.eye(len(first))]))
    complement = basis[:, 2:]
    spread, axes = np.linalg.eigh(complement.T @ (variances[:, None] * complement))
    rest = complement @ axes[:, np.argsort(-spread)]
    largest = rest[np.abs(rest).argmax(axis=0), np.arange(rest.shape[1])]
    return np.column_stack([first, second, rest * np.sign(largest)])
