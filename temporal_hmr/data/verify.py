"""Does a labelled sequence agree with itself, and with the body it was made with?

For data that nobody here has seen: the checks find swapped axes, wrong genders, inverted camera
poses and turned images.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.data.label_file import written_frames
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import BODY_JOINTS, CONFIDENT
from temporal_hmr.skeleton import OPENPOSE18, SMPL24

ROTATION_TOLERANCE = 1e-3
"""Largest entry of R R^T - I; files hold single precision at worst."""
CENTER_RANGE = (0.25, 0.75)
"""Where the principal point lies along the image's sides; cameras have it near the middle."""
JOINT_TOLERANCE = 0.005
"""Metres between a joint of the posed body and the same joint as the file states it. Both are
computed from the same parameters; bodies of another gender are centimetres off."""
REPROJECTION_TOLERANCE = 1.0
"""Pixels between a projected joint and the file's projection of it."""
DETECTION_TOLERANCE = 0.1
"""Median distance of detected and projected limb joints over the larger side of the box. Detectors
mean other points by the same names, a few hundredths away; wrong cameras give more than this."""
NEAREST = 0.1
"""Metres before the camera that every joint of a person in view must have."""

_PERSON_IN_VIEW = ("good", "visible_and_camera", "all")
"""Frame rules in which the camera and the person can be relied on; the first there is."""


def verify(sequence: LabelledSequence, body: BodyModel) -> list[str]:
    """What is inconsistent in a sequence, one sentence each with frames and sizes; best empty.

    `body` must be that of the sequence's gender. Checked: camera rotations are rotations; the
    principal point lies in the middle of the image; the posed body's joints are the stated ones
    (where the file states any, as 3DPW's do); in the frames with a person in view, the body is
    in front of the camera, and its joints are projected to the keypoints (exactly where those are
    projections, as EMDB's, roughly where they are detections).
    """
    smpl = sequence.smpl.map(lambda tensor: tensor.to(body.v_template))
    world = body.joints(smpl).double().cpu()
    rule = next(rule for rule in _PERSON_IN_VIEW if rule in sequence.frame_rules)
    in_view = torch.from_numpy(sequence.frame_rules[rule])
    seen = world @ sequence.rotation.mT + sequence.translation[:, None]
    before = (seen[..., 2] > NEAREST).all(1)
    pixels = sequence.camera.project(seen)
    problems = [
        *_rotation_problems(sequence),
        *_center_problems(sequence),
        *_joint_problems(sequence, world),
        *_place_problems(in_view & ~before, seen),
    ]
    if sequence.skeleton == SMPL24:
        problems += _reprojection_problems(sequence, pixels, in_view & before)
    elif sequence.skeleton == OPENPOSE18:
        problems += _detection_problems(sequence, pixels, in_view & before)
    return [f"{sequence.name}: {problem}" for problem in problems]


def _rotation_problems(sequence: LabelledSequence) -> list[str]:
    rotation = sequence.rotation
    error = (rotation @ rotation.mT - torch.eye(3, dtype=rotation.dtype)).abs().amax((1, 2))
    mirrored = torch.linalg.det(rotation) < 0
    problems = []
    if (error > ROTATION_TOLERANCE).any():
        worst = int(error.argmax())
        problems.append(
            f"the camera's rotations are off by up to {error[worst]:.2g} (frame {worst}) from "
            f"rotation matrices in {_written(error > ROTATION_TOLERANCE)}"
        )
    if mirrored.any():
        problems.append(f"the camera's rotations are reflections in {_written(mirrored)}")
    return problems


def _center_problems(sequence: LabelledSequence) -> list[str]:
    camera = sequence.camera
    center = camera.center.tolist()
    shares = (center[0] / camera.width, center[1] / camera.height)
    if all(CENTER_RANGE[0] <= share <= CENTER_RANGE[1] for share in shares):
        return []
    return [
        f"the principal point ({center[0]:.1f}, {center[1]:.1f}) is far from the middle of the "
        f"image of {camera.width} x {camera.height} pixels: the images are turned or resized"
    ]


def _joint_problems(sequence: LabelledSequence, world: Float[Tensor, "T 24 3"]) -> list[str]:
    if sequence.joints is None:
        return []
    error = torch.linalg.vector_norm(world - torch.from_numpy(sequence.joints), dim=-1)
    return _exceeding(
        1e3 * error,
        1e3 * JOINT_TOLERANCE,
        "mm",
        "joints of the posed body lie away from the stated ones: another gender or body, or other "
        "axes",
    )


def _place_problems(behind: Bool[Tensor, "T"], seen: Float[Tensor, "T 24 3"]) -> list[str]:
    if not behind.any():
        return []
    depth = seen[..., 2].amin(1)
    worst = int(torch.where(behind, depth, torch.inf).argmin())
    return [
        f"joints of a person in view lie at or behind the camera, down to a depth of "
        f"{depth[worst]:.2f} m (frame {worst}), in {_written(behind)}: the camera poses are "
        "inverted, or in other axes"
    ]


def _reprojection_problems(
    sequence: LabelledSequence, pixels: Float[Tensor, "T 24 2"], frames: Bool[Tensor, "T"]
) -> list[str]:
    keypoints = torch.from_numpy(sequence.keypoints)
    error = torch.linalg.vector_norm(pixels - keypoints[..., :2], dim=-1)
    error = torch.where(frames[:, None] & (keypoints[..., 2] > 0), error, 0.0)
    return _exceeding(
        error,
        REPROJECTION_TOLERANCE,
        "px",
        "projected joints lie away from the stated projections: another gender, body or camera",
    )


def _exceeding(error: Float[Tensor, "T 24"], tolerance: float, unit: str, what: str) -> list[str]:
    """A sentence on errors of SMPL's joints, if any is too large (or not a number)."""
    too_far = ~(error <= tolerance).all(1)
    if not too_far.any():
        return []
    frame, joint = divmod(int(error.argmax()), len(SMPL24))
    return [
        f"{what}; up to {error[frame, joint]:.3g} {unit} ({SMPL24.joints[joint]}, frame {frame}; "
        f"{tolerance:g} {unit} allowed) in {_written(too_far)}"
    ]


def _detection_problems(
    sequence: LabelledSequence, pixels: Float[Tensor, "T 24 2"], frames: Bool[Tensor, "T"]
) -> list[str]:
    keypoints = torch.from_numpy(sequence.keypoints)[:, OPENPOSE18.indices(*BODY_JOINTS)]
    boxes = torch.from_numpy(sequence.boxes)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    distance = pixels[:, SMPL24.indices(*BODY_JOINTS)] - keypoints[..., :2]
    share = torch.linalg.vector_norm(distance, dim=-1) / side[:, None]
    share = torch.where(frames[:, None] & (keypoints[..., 2] > CONFIDENT), share, torch.nan)
    median = share.nanmedian()
    if not median > DETECTION_TOLERANCE:
        return []
    by_frame = share.nanmedian(1).values
    worst = int(by_frame.nan_to_num().argmax())
    return [
        f"the detected limbs lie {median:.0%} of the box from the projected ones in the median, "
        f"{by_frame[worst]:.0%} in frame {worst} ({DETECTION_TOLERANCE:.0%} allowed), with more "
        f"than allowed in {_written(by_frame > DETECTION_TOLERANCE)}: another camera or person"
    ]


def _written(frames: Bool[Tensor, "T"]) -> str:
    return written_frames(frames.numpy())
