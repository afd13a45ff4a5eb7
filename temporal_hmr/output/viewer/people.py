"""What a page is told of each person: mesh, poses, what was seen, curves, findings."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from temporal_hmr.body.model import BodyModel, pose_feature
from temporal_hmr.checks.findings import Finding, Moment
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.on_disk import chunks, let_go
from temporal_hmr.output.overlay import person_color
from temporal_hmr.output.viewer.arrays import Pack
from temporal_hmr.output.viewer.curves import ANGLE, joint_curves, sampled
from temporal_hmr.output.viewer.frames import Frames
from temporal_hmr.output.viewer.result import Person
from temporal_hmr.rotation import matrix_to_quaternion
from temporal_hmr.skeleton import SMPL24

ABSENT, FILLED_IN, SEEN, BROKEN = range(4)
"""What a person is in a frame; broken: with numbers that are not finite."""
MOST_JOINTS_PER_VERTEX = 8
_MOST_MOMENTS = 40
"""Of one finding that are marked, the worst."""
_POSED = 12
"""Frames in which the page's surface is compared with the body's."""


def rows_of(person: Person, frames: Frames) -> tuple[int, Int[ndarray, "n"]]:
    """Place among the shown frames at which the person enters, and rows of the motion from there.

    A row is -1 in a frame in which the person is absent.
    """
    rows = np.searchsorted(person.motion.frames, frames.numbers)
    rows = np.minimum(rows, len(person.motion) - 1)
    present = person.motion.frames[rows] == frames.numbers
    if not present.any():
        return 0, np.zeros(0, int)
    first, last = np.flatnonzero(present)[[0, -1]]
    return int(first), np.where(present, rows, -1)[first : last + 1]


def add_body(pack: Pack, body: BodyModel) -> dict[str, object]:
    """What all people of one body share: faces, skinning weights, the tree."""
    weights, joints = body.weights.topk(MOST_JOINTS_PER_VERTEX, dim=1)
    weights = weights / weights.sum(1, keepdim=True)
    return {
        "name": body.name,
        "licence": body.licence,
        "parents": list(body.parents),
        "faces": pack.add(body.faces.numpy(), "uint32"),
        "skinJoints": pack.add(joints.numpy(), "uint8"),
        "skinWeights": pack.add(np.round(weights.numpy() * 65535), "uint16"),
    }


def add_person(pack: Pack, person: Person, frames: Frames) -> dict[str, object] | None:
    """The person's entry; None if in none of the frames shown."""
    first, rows = rows_of(person, frames)
    if len(rows) == 0:
        return None
    status = _status(person, rows)
    observed = int((~_filled(person)).sum())
    seen = person.confidence[person.confidence > 0]
    betas = person.smpl.betas[:1]
    return {
        "id": person.person_id,
        "file": person.name,
        "color": [round(channel, 4) for channel in person_color(person.person_id)],
        "first": first,
        "count": len(rows),
        "span": [float(person.times[0]), float(person.times[-1])],
        "frameSpan": [int(person.motion.frames[0]), int(person.motion.frames[-1])],
        "observedFrames": observed,
        "confidenceMean": float(seen.mean()) if len(seen) else 0.0,
        "verdict": person.report.verdict,
        "notes": list(person.report.notes),
        "findings": _findings(person.report.findings),
        "status": pack.add(status, "uint8"),
        "confidence": pack.add(np.round(255 * person.confidence[rows]), "uint8"),
        "template": pack.add(_shaped(person.body, betas), "int16"),
        "restJoints": pack.add(person.body.rest_joints(betas)[0].numpy(), "float32"),
        **_add_motion(pack, person, rows),
        "curves": _add_curves(pack, person, rows, frames),
    }


def corrective_error(people: Sequence[Person]) -> float:
    """Metres that the pose correctives, which a page leaves out, move a vertex at most, in some
    frames of each person."""
    directions = people[0].body.posedirs.float().flatten(0, 1)
    features = [_pose_features(person) for person in people]
    moved = directions @ torch.cat(features).float().mT
    return float(moved.unflatten(0, (-1, 3)).norm(dim=1).max()) if moved.numel() else 0.0


def _pose_features(person: Person) -> Float[torch.Tensor, "n 207"]:
    """Of frames spread over the motion."""
    finite = np.flatnonzero(_finite(person))
    chosen = finite[np.unique(np.linspace(0, len(finite) - 1, _POSED).astype(int))[: len(finite)]]
    return pose_feature(person.smpl[torch.from_numpy(chosen)])


def _shaped(body: BodyModel, betas: Float[torch.Tensor, "1 10"]) -> Float[ndarray, "V 3"]:
    """The body in the zero pose, with its shape."""
    offsets = body.shapedirs[..., : betas.shape[-1]] @ betas[0]
    return (body.v_template + offsets).numpy()


def _filled(person: Person) -> ndarray:
    filled = person.motion.filled
    return np.zeros(len(person.motion), bool) if filled is None else filled


def _finite(person: Person) -> Bool[ndarray, "T"]:
    return in_parts(lambda joints: np.isfinite(joints).all((1, 2)), person.joints)


def _status(person: Person, rows: Int[ndarray, "n"]) -> ndarray:
    of_rows = np.where(_finite(person), np.where(_filled(person), FILLED_IN, SEEN), BROKEN)
    return np.where(rows < 0, ABSENT, of_rows[rows])


def _add_motion(pack: Pack, person: Person, rows: Int[ndarray, "n"]) -> dict[str, object]:
    """Rotations relative to the parents (quaternions, scalar first), places, what was detected."""
    smpl, shown = person.smpl, torch.from_numpy(np.maximum(rows, 0))
    quaternions = np.empty((len(rows), len(SMPL24), 4))
    for part in chunks(len(rows), smpl.body_pose):
        some = matrix_to_quaternion(smpl[shown[part]].rotations())
        quaternions[part] = some.numpy()
    entry: dict[str, object] = {
        "quaternions": pack.add(quaternions, "int16"),
        "translations": pack.add(smpl.transl[shown].numpy(), "float32"),
    }
    motion = person.motion
    if motion.boxes is not None:
        entry["boxes"] = pack.add(motion.boxes[rows], "float32")
    if motion.keypoints is not None and motion.skeleton is not None:
        keypoints = motion.keypoints[rows]
        let_go(motion.keypoints)
        skeleton = motion.skeleton
        entry["keypoints"] = pack.add(keypoints[..., :2], "int16")
        entry["keypointConfidence"] = pack.add(np.round(255 * keypoints[..., 2]), "uint8")
        entry["bones"] = [skeleton.indices(*bone) for bone in skeleton.bones] or [
            [parent, joint] for joint, parent in enumerate(skeleton.parents) if parent >= 0
        ]
    return entry


def _add_curves(
    pack: Pack, person: Person, rows: Int[ndarray, "n"], frames: Frames
) -> dict[str, int]:
    """Of frames left out the highest value is shown at the frame before them."""
    known = rows >= 0
    numbers = {}
    for name, values in joint_curves(person, frames.fps).items():
        shown = np.full((len(rows), values.shape[1]), np.nan)
        highest = frames.step > 1 and name != ANGLE
        shown[known] = sampled(values, rows[known], highest)
        numbers[name] = pack.add(shown, "float16")
        let_go(values)
    return numbers


def _findings(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """What is worth a look or wrong, with its worst moments."""
    return [
        {
            "name": finding.name,
            "verdict": finding.verdict,
            "space": finding.space,
            "value": _number(finding.value),
            "unit": finding.unit,
            "note": finding.note,
            "moments": [
                [moment.first_frame, moment.last_frame, _number(moment.value), moment.what]
                for moment in _worst(finding)
            ],
        }
        for finding in findings
        if finding.verdict in ("warn", "fail")
    ]


def _worst(finding: Finding) -> list[Moment]:
    chosen = sorted(finding.moments, key=lambda moment: -moment.value)[:_MOST_MOMENTS]
    if not chosen and finding.worst is not None:
        chosen = [finding.worst]
    return sorted(chosen, key=lambda moment: moment.first_frame)


def _number(value: float | None) -> float | None:
    """Strict JSON knows finite numbers only."""
    return float(value) if value is not None and np.isfinite(value) else None
