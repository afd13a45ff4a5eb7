"""The metrics once more, frame by frame in plain numpy: to check ours, and to time them against.

Written from the definitions and sharing nothing with the package. One clip at a time, points
[T P 3] in metres; each function gives the list of values that count, in the order of frames.
`valid` is a list of booleans. Runs of neighbours: `runs(valid, length, crossing)`.
"""

import numpy as np


def frames_of(valid):
    return [frame for frame, good in enumerate(valid) if good]


def runs(valid, length, crossing=False):
    """Frame numbers of every run of `length` neighbouring valid frames."""
    if crossing:
        kept = frames_of(valid)
        return [kept[start : start + length] for start in range(len(kept) - length + 1)]
    starts = range(len(valid) - length + 1)
    return [list(range(s, s + length)) for s in starts if all(valid[s : s + length])]


def distances(first, second):
    return np.sqrt(((first - second) ** 2).sum(-1))


def similarity(source, target, with_scale=True):
    """Kabsch's rotation by singular values, of one set of points; Umeyama's scale."""
    p_mean, q_mean = source.mean(0), target.mean(0)
    p, q = source - p_mean, target - q_mean
    u, s, vt = np.linalg.svd(q.T @ p)
    sign = 1.0 if np.linalg.det(u @ vt) > 0 else -1.0
    rotation = u @ np.diag([1.0, 1.0, sign]) @ vt
    scale = (s[0] + s[1] + sign * s[2]) / (p * p).sum() if with_scale else 1.0
    return scale, rotation, q_mean - scale * rotation @ p_mean


def horn_similarity(source, target):
    """The same by quaternions: the largest eigenvector of a 4x4 matrix (Horn 1987)."""
    p, q = source - source.mean(0), target - target.mean(0)
    s = p.T @ q
    cross = np.array([s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]])
    n = np.empty((4, 4))
    n[0, 0] = np.trace(s)
    n[0, 1:] = n[1:, 0] = cross
    n[1:, 1:] = s + s.T - np.trace(s) * np.eye(3)
    w, x, y, z = np.linalg.eigh(n)[1][:, -1]
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    scale = (q * (p @ rotation.T)).sum() / (p * p).sum()
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def moved(points, fit):
    scale, rotation, translation = fit
    return scale * points @ rotation.T + translation


def rooted(points, root):
    return points if root is None else points - points[list(root)].mean(0)


def mpjpe(predicted, true, root, valid):
    return [
        1000 * distances(rooted(predicted[t], root), rooted(true[t], root)).mean()
        for t in frames_of(valid)
    ]


def pa_mpjpe(predicted, true, valid):
    values = []
    for t in frames_of(valid):
        aligned = moved(predicted[t], similarity(predicted[t], true[t]))
        values.append(1000 * distances(aligned, true[t]).mean())
    return values


def pve(predicted, true, predicted_root, true_root, valid):
    return [
        1000 * distances(predicted[t] - predicted_root[t], true[t] - true_root[t]).mean()
        for t in frames_of(valid)
    ]


def pa_pve(predicted, true, predicted_joints, true_joints, valid):
    values = []
    for t in frames_of(valid):
        aligned = moved(predicted[t], similarity(predicted_joints[t], true_joints[t]))
        values.append(1000 * distances(aligned, true[t]).mean())
    return values


def pck(predicted, true, root, joints, threshold, valid):
    values = []
    for t in frames_of(valid):
        error = distances(rooted(predicted[t], root), rooted(true[t], root))[list(joints)]
        values.append(100 * np.mean(error <= threshold))
    return values


def auc(predicted, true, root, joints, valid):
    values = []
    for t in frames_of(valid):
        error = distances(rooted(predicted[t], root), rooted(true[t], root))[list(joints)]
        curve = (1000 * error[:, None] <= np.arange(200)).mean(0)
        values.append(((curve[:-1] + curve[1:]) / 2).sum() / 199)
    return values


def mpjae(predicted, true, valid):
    """By the logarithm's sine and cosine, of each part of each frame."""
    values = []
    for t in frames_of(valid):
        angles = []
        for p, q in zip(predicted[t], true[t], strict=True):
            turn = p @ q.T
            sine = np.array(
                [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
            )
            angles.append(np.arctan2(np.sqrt(sine @ sine), np.trace(turn) - 1))
        values.append(np.degrees(np.mean(angles)))
    return values


def pa_mpjae(predicted, true, predicted_joints, true_joints, valid):
    turned = np.full(predicted.shape, np.nan)
    for t in frames_of(valid):
        turned[t] = similarity(predicted_joints[t], true_joints[t])[1] @ predicted[t]
    return mpjae(turned, true, valid)


def acceleration(points, valid, crossing=False):
    """In metres/frame^2."""
    return [
        distances(points[a] + points[c], 2 * points[b]).mean()
        for a, b, c in runs(valid, 3, crossing)
    ]


def acceleration_error(predicted, true, root, valid, crossing=False):
    """In metres/frame^2."""
    values = []
    for a, b, c in runs(valid, 3, crossing):
        p, q = ([rooted(points[t], root) for t in (a, b, c)] for points in (predicted, true))
        values.append(distances(p[0] - 2 * p[1] + p[2], q[0] - 2 * q[1] + q[2]).mean())
    return values


def jitter(points, fps, valid, crossing=False, zeroed=()):
    values = []
    for a, b, c, d in runs(valid, 4, crossing):
        third = (points[d] - 3 * points[c] + 3 * points[b] - points[a]) * fps**3
        third[list(zeroed)] = 0
        values.append(np.sqrt((third**2).sum(-1)).mean() / 10)
    return values


def foot_sliding(predicted, true, threshold, valid, crossing=False):
    values = []
    for a, b in runs(valid, 2, crossing):
        for vertex in range(predicted.shape[1]):
            if distances(true[b, vertex], true[a, vertex]) < threshold:
                values.append(1000 * distances(predicted[b, vertex], predicted[a, vertex]))
    return values


def chunks(valid, length, crossing=False):
    """Frame numbers of every chunk; without crossing, a chunk ends where the video has a gap."""
    found = []
    for t in frames_of(valid):
        gap = bool(found) and not crossing and found[-1][-1] != t - 1
        if not found or gap or len(found[-1]) == length:
            found.append([])
        found[-1].append(t)
    return found


def world_mpjpe(predicted, true, valid, crossing, length, fitted):
    values = []
    for chunk in chunks(valid, length, crossing):
        first = chunk[:fitted]
        fit = similarity(predicted[first].reshape(-1, 3), true[first].reshape(-1, 3))
        values += [1000 * distances(moved(predicted[t], fit), true[t]).mean() for t in chunk]
    return values


def rte(predicted, true, valid, crossing=False):
    kept = frames_of(valid)
    fit = similarity(predicted[kept], true[kept], with_scale=False)
    path = sum(distances(true[b], true[a]) for a, b in runs(valid, 2, crossing))
    return [100 * distances(moved(predicted[t], fit), true[t]) / path for t in kept]


def erve(predicted, true, predicted_orientation, true_orientation, valid, crossing=False):
    values = []
    for a, b in runs(valid, 2, crossing):
        turn = true_orientation[a] @ predicted_orientation[a].T
        values.append(1000 * distances(turn @ (predicted[b] - predicted[a]), true[b] - true[a]))
    return values
