"""Rotations: matrices inside, axis-angle in files, 6D inside networks.

Every function takes any number of batch axes. Angles are radians. A rotation matrix acts on column
vectors. Our single 6D layout is the first two *columns* of the matrix, one after the other
(Zhou et al., CVPR 2019, "On the continuity of rotation representations").
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def skew(vector: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """The matrix of the cross product: `skew(v) @ w == v x w`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, -1).reshape(*vector.shape[:-1], 3, 3)


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rodrigues' formula; smooth (values and gradients) through the zero rotation.

    Written with sin(a)/a and (1-cos(a))/a^2 = 2 (sin(a/2)/a)^2, whose limits `torch.sinc` knows.
    """
    squared = (axis_angle * axis_angle).sum(-1, keepdim=True)
    tiny = torch.finfo(axis_angle.dtype).tiny
    angle = (squared + tiny).sqrt()[..., None]
    cross = skew(axis_angle)
    sine = torch.sinc(angle / torch.pi)
    cosine = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * cross + cosine * (cross @ cross)


def matrix_to_quaternion(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternion, scalar first, with a non-negative scalar part.

    Of the four algebraically equal solutions the one with the largest pivot is taken, so that no
    angle (pi included) divides by something small.
    """
    m00, m11, m22 = (matrix[..., i, i] for i in range(3))
    pivots = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], -1
    )
    sums = matrix + matrix.mT
    differences = matrix - matrix.mT
    x, y, z = differences[..., 2, 1], differences[..., 0, 2], differences[..., 1, 0]
    xy, xz, yz = sums[..., 0, 1], sums[..., 0, 2], sums[..., 1, 2]
    rows = [
        torch.stack([pivots[..., 0], x, y, z], -1),
        torch.stack([x, pivots[..., 1], xy, xz], -1),
        torch.stack([y, xy, pivots[..., 2], yz], -1),
        torch.stack([z, xz, yz, pivots[..., 3]], -1),
    ]
    best = pivots.argmax(-1)[..., None, None].expand(*pivots.shape[:-1], 1, 4)
    quaternion = torch.stack(rows, -2).gather(-2, best).squeeze(-2)
    quaternion = functional.normalize(quaternion, dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_axis_angle(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """Axis times angle, angle in [0, pi]; at pi either of the two axes may come out."""
    quaternion = matrix_to_quaternion(matrix)
    vector = quaternion[..., 1:]
    tiny = torch.finfo(matrix.dtype).tiny
    length = ((vector * vector).sum(-1, keepdim=True) + tiny).sqrt()
    angle = 2 * torch.atan2(length, quaternion[..., :1])
    # Where the sine of the half angle vanishes, angle / length tends to 2 / cos(0) = 2.
    small = length < 1e-7
    return vector * torch.where(small, 2.0, angle / torch.where(small, 1.0, length))


def matrix_to_sixd(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 6"]:
    """First column, then second column."""
    return torch.cat([matrix[..., :, 0], matrix[..., :, 1]], -1)


def sixd_to_matrix(sixd: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Gram-Schmidt on the two columns (Zhou et al. 2019, eq. 15)."""
    first = functional.normalize(sixd[..., :3], dim=-1)
    second = sixd[..., 3:]
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def nearest_rotation(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation nearest in Frobenius norm (orthogonal Procrustes); for averaging rotations.

    A weighted sum of rotation matrices projected this way is their chordal mean.
    """
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.linalg.det(left @ right)
    fix = torch.ones_like(matrix[..., 0])
    fix = torch.cat([fix[..., :2], sign[..., None]], -1)
    return (left * fix[..., None, :]) @ right


def geodesic_angle(
    first: Float[Tensor, "*b 3 3"], second: Float[Tensor, "*b 3 3"]
) -> Float[Tensor, "*b"]:
    """Angle of the rotation between two rotations, in [0, pi].

    By atan2 of sine and cosine rather than arccos, which loses half its digits near 0 and pi.
    """
    relative = first @ second.mT
    axis = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(torch.linalg.vector_norm(axis, dim=-1), trace - 1)


def interpolate(
    first: Float[Tensor, "*b 3 3"],
    second: Float[Tensor, "*b 3 3"],
    fraction: Float[Tensor, "*b"],
) -> Float[Tensor, "*b 3 3"]:
    """The point at `fraction` (0 first, 1 second) of the shortest rotation between the two."""
    step = matrix_to_axis_angle(second @ first.mT)
    return axis_angle_to_matrix(step * fraction[..., None]) @ first
