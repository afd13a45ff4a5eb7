"""Rotations, forward kinematics and skinning of the 24-joint body, in NumPy."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from open_body.joints import JOINT_PARENTS


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of (..., 3) rotation vectors in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    axis = vectors / np.maximum(angle, 1e-12)
    skew = np.zeros((*vectors.shape, 3))
    skew[..., 0, 1], skew[..., 0, 2], skew[..., 1, 2] = -axis[..., 2], axis[..., 1], -axis[..., 0]
    skew = skew - np.swapaxes(skew, -1, -2)
    sine, cosine = np.sin(angle)[..., None], np.cos(angle)[..., None]
    return np.eye(3) + sine * skew + (1.0 - cosine) * (skew @ skew)


def forward_kinematics(rotations: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (24, 3, 3) and positions (24, 3) of local rotations and rest joints."""
    world, positions = rotations.copy(), joints.copy()
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            world[joint] = world[parent] @ rotations[joint]
            offset = joints[joint] - joints[parent]
            positions[joint] = positions[parent] + world[parent] @ offset
    return world, positions


def blended_transforms(
    weights: sparse.csr_matrix, rotations: np.ndarray, anchors: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear blends (V, 3, 3) and (V, 3) of rotations about anchors that move to positions."""
    offsets = positions - np.einsum("gij,gj->gi", rotations, anchors)
    blended = weights @ np.concatenate([rotations.reshape(-1, 9), offsets], axis=1)
    return blended[:, :9].reshape(-1, 3, 3), blended[:, 9:]


def skin_dual_quaternion(
    weights: sparse.csr_matrix,
    rotations: np.ndarray,
    anchors: np.ndarray,
    positions: np.ndarray,
    vertices: np.ndarray,
) -> np.ndarray:
    """(V, 3) vertices moved by blended dual quaternions (Kavan et al. 2007)."""
    offsets = positions - np.einsum("gij,gj->gi", rotations, anchors)
    real = quaternions(rotations)
    real = real * np.where(real @ real[0] < 0, -1.0, 1.0)[:, None]
    translation = np.concatenate([np.zeros((len(offsets), 1)), offsets], axis=1)
    dual = 0.5 * _quaternion_product(translation, real)
    blended = weights @ np.concatenate([real, dual], axis=1)
    blended = blended / np.linalg.norm(blended[:, :4], axis=1, keepdims=True)
    real, dual = blended[:, :4], blended[:, 4:]
    conjugate = real * np.array([1.0, -1.0, -1.0, -1.0])
    moved = 2.0 * _quaternion_product(dual, conjugate)[:, 1:]
    scalar, vector = real[:, :1], real[:, 1:]
    turned = np.cross(vector, np.cross(vector, vertices) + scalar * vertices)
    return vertices + 2.0 * turned + moved


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """(G, 4) unit quaternions (w, x, y, z) of (G, 3, 3) rotations, by a dominant eigenvector."""
    m = rotations
    form = np.empty((len(m), 4, 4))
    form[:, 0, 0] = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    form[:, 0, 1] = form[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    form[:, 0, 2] = form[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    form[:, 0, 3] = form[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    form[:, 1:, 1:] = m + np.swapaxes(m, 1, 2)
    trace = form[:, 0, 0].copy()
    for axis in range(3):
        form[:, 1 + axis, 1 + axis] = 2.0 * m[:, axis, axis] - trace
    return np.linalg.eigh(form)[1][:, :, -1]


def _quaternion_product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 4) Hamilton products."""
    scalar_1, vector_1 = first[..., :1], first[..., 1:]
    scalar_2, vector_2 = second[..., :1], second[..., 1:]
    scalar = scalar_1 * scalar_2 - (vector_1 * vector_2).sum(-1, keepdims=True)
    vector = scalar_1 * vector_2 + scalar_2 * vector_1 + np.cross(vector_1, vector_2)
    return np.concatenate([scalar, vector], axis=-1)


def split_swing_twist(rotation: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, float]:
    """Swing (3, 3) and twist angle about the unit `axis` such that rotation = swing @ twist."""
    quaternion = quaternions(rotation[None])[0]
    angle = 2.0 * np.arctan2(quaternion[1:] @ axis, quaternion[0])
    angle = float((angle + np.pi) % (2.0 * np.pi) - np.pi)
    return rotation @ rotation_matrices(-angle * axis), angle


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """(3,) rotation vector of a rotation matrix, at most half a turn long."""
    quaternion = quaternions(rotation[None])[0]
    quaternion = quaternion if quaternion[0] >= 0 else -quaternion
    sine = np.linalg.norm(quaternion[1:])
    if sine < 1e-9:
        return np.zeros(3)
    return quaternion[1:] * (2.0 * np.arctan2(sine, quaternion[0]) / sine)
