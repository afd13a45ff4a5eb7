"""Labels of some frames of a sequence before one camera, whatever cameras the sequence had."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import BodyTarget
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.augmentation import Turn
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import NEAREST, place_in_camera
from temporal_hmr.data.synthetic import turn_between
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.skeleton import COCO23, SMPL24


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """Cameras of some frames, in pixels of their images."""

    focal: Float[ndarray, "T 2"]
    center: Float[ndarray, "T 2"]

    @staticmethod
    def of(sequence: Sequence, frames: Int[ndarray, "T"]) -> "Intrinsics":
        """The sequence's own, or what is assumed where it does not know."""
        if sequence.focal is None or sequence.center is None:
            return Intrinsics.assumed(sequence.image_size, len(frames))
        return Intrinsics(sequence.focal[frames], sequence.center[frames])

    @staticmethod
    def assumed(image_size: tuple[int, int], frames: int) -> "Intrinsics":
        """The diagonal as focal length, the middle as principal point, as in use."""
        camera = Camera.with_assumed_focal(*image_size)
        focal, center = (
            np.tile(each.numpy(), (frames, 1)) for each in (camera.focal, camera.center)
        )
        return Intrinsics(focal.astype(float), center.astype(float))

    def project(self, points: Float[Tensor, "T J 3"]) -> Float[Tensor, "T J 2"]:
        """Camera-frame points (metres) to pixels; those at or behind the camera mean nothing."""
        focal, center = (torch.from_numpy(each).to(points)[:, None] for each in self._both)
        return points[..., :2] / points[..., 2:].clamp(min=NEAREST) * focal + center

    def at_depth(
        self, pixels: Float[Tensor, "T 2"], depth: Float[Tensor, "T"]
    ) -> Float[Tensor, "T 3"]:
        """The point (metres) that is seen at each frame's pixel."""
        focal, center = (torch.from_numpy(each).to(pixels) for each in self._both)
        return (
            torch.cat([(pixels - center) / focal, torch.ones_like(depth)[:, None]], -1)
            * (depth[:, None])
        )

    @property
    def _both(self) -> tuple[Float[ndarray, "T 2"], Float[ndarray, "T 2"]]:
        return self.focal, self.center


@dataclass(frozen=True, eq=False)
class ClipCamera:
    """One camera of square pixels for all frames of a clip, and the way to its image.

    Frames of other intrinsics are moved and stretched to what this camera would have seen: exact,
    as all of them look out of one point.
    """

    focal: float
    """Pixels of the clip's image."""
    center: Float[ndarray, "2"]
    linear: Float[ndarray, "T 2 2"]
    """Pixels of the clip's image are `linear` times those of the frame's, and `shift`."""
    shift: Float[ndarray, "T 2"]

    @staticmethod
    def of(intrinsics: "Intrinsics", turn: Turn = Turn()) -> "ClipCamera":
        """The camera of the middle frame, turned."""
        middle = len(intrinsics.focal) // 2
        focal, center = float(intrinsics.focal[middle].mean()), intrinsics.center[middle]
        linear = turn.plane() * (focal / intrinsics.focal)[:, None, :]
        shift = center - (linear @ intrinsics.center[..., None])[..., 0]
        return ClipCamera(focal, center, linear, shift)

    def place(self, pixels: Float[Tensor, "T J 2"]) -> Float[Tensor, "T J 2"]:
        """Pixels of the frames' images to those of the clip's."""
        linear, shift = torch.from_numpy(self.linear), torch.from_numpy(self.shift)
        return pixels @ linear.to(pixels).mT + shift.to(pixels)[:, None]


@dataclass(frozen=True, eq=False)
class ClipLabels:
    """Labels of T frames; pixels are those of each frame's own image."""

    pixels: Float[Tensor, "T 23 2"]
    confidence: Float[Tensor, "T 23"]
    boxes: Float[Tensor, "T 4"]
    joints: Float[Tensor, "T 24 3"]
    has_joints: Bool[Tensor, "T 24"]
    smpl: SmplParams
    has_smpl: Bool[Tensor, "T"]

    @staticmethod
    def of(sequence: Sequence, frames: Int[ndarray, "T"], body: PosedBody) -> "ClipLabels":
        """As the sequence has them; where it has a body, the joints are all the body's.

        A dataset's own joints lie centimetres off SMPL's: the two must not mix in one frame.
        """
        keypoints = torch.from_numpy(sequence.keypoints[frames]).float()
        joints = torch.from_numpy(sequence.joints[frames]).float()
        has_joints = torch.from_numpy(sequence.has_joints[frames])
        if sequence.smpl is None or sequence.has_smpl is None:
            smpl, has_smpl = _no_body(len(frames)), torch.zeros(len(frames), dtype=torch.bool)
        else:
            smpl = sequence.smpl.map(lambda tensor: tensor[frames].float())
            has_smpl = torch.from_numpy(sequence.has_smpl[frames])
        joints = torch.where(has_smpl[:, None, None], body.body.joints(smpl), joints)
        boxes = torch.from_numpy(sequence.boxes[frames]).float()
        return ClipLabels(
            keypoints[..., :2],
            keypoints[..., 2],
            boxes,
            joints,
            has_joints | has_smpl[:, None],
            smpl,
            has_smpl,
        )

    def turned(self, turn: Turn, body: PosedBody) -> "ClipLabels":
        """Space as the turned camera has it; keypoints keep their pixels, and change names."""
        return ClipLabels(
            turn.keypoints(self.pixels),
            turn.keypoints(self.confidence),
            self.boxes,
            turn.joints(self.joints),
            turn.known_joints(self.has_joints),
            turn.smpl(self.smpl, body.body),
            self.has_smpl,
        )

    def with_keypoints_of_body(self, camera: Intrinsics, body: PosedBody) -> "ClipLabels":
        """Keypoints that nobody annotated are where the body has them."""
        points = body.body.regress(self.smpl, body.detector_points)
        unknown = (self.confidence == 0) & self.has_smpl[:, None] & (points[..., 2] > NEAREST)
        return replace(
            self,
            pixels=torch.where(unknown[..., None], camera.project(points), self.pixels),
            confidence=torch.where(unknown, 1.0, self.confidence),
        )

    def placed_by_keypoints(self, camera: Intrinsics, body: PosedBody) -> "ClipLabels":
        """Bodies where the camera must have them to see them at their keypoints.

        For labels whose camera is not known. What cannot be placed is known no longer.
        """
        seen, known = known_points(self, body)
        confidence = (self.confidence * known)[..., None]
        keypoints = torch.cat([self.pixels, confidence], -1).double().numpy()
        moves = place_in_camera(seen.double().numpy(), keypoints, camera.focal, camera.center)
        move = torch.from_numpy(moves).float()
        depth = torch.where(known, seen[..., 2] + move[:, None, 2], torch.inf).amin(1)
        placed = depth > NEAREST
        move = torch.where(placed[:, None], move, 0.0)
        return replace(
            self,
            joints=self.joints + move[:, None],
            has_joints=self.has_joints & placed[:, None],
            smpl=replace(self.smpl, transl=self.smpl.transl + move),
            has_smpl=self.has_smpl & placed,
        )

    def retold(self, true: Intrinsics, told: Intrinsics, body: PosedBody) -> "ClipLabels":
        """What explains the images to who takes the camera for another one.

        Depth scales with the focal length while the pelvis keeps its pixel, and the body turns with
        the ray on which it is seen; exact for a person much smaller than their distance.
        """
        rest = body.pelvis_at_rest(self.smpl.betas)
        pelvis = self.joints[:, SMPL24.index("pelvis")]
        pelvis = torch.where(self.has_smpl[:, None], rest + self.smpl.transl, pelvis)
        ratio = torch.from_numpy((told.focal / true.focal).mean(1)).to(pelvis)
        moved = told.at_depth(true.project(pelvis[:, None])[:, 0], pelvis[:, 2] * ratio)
        turn = turn_between(pelvis, moved)
        joints = (self.joints - pelvis[:, None]) @ turn.mT + moved[:, None]
        orient = turn @ self.smpl.global_orient
        smpl = replace(self.smpl, global_orient=orient, transl=moved - rest)
        return replace(self, joints=joints, smpl=smpl)


def _no_body(frames: int) -> SmplParams:
    rotations = torch.eye(3).expand(frames, len(SMPL24), 3, 3)
    ahead = torch.tensor([0.0, 0.0, 5.0]).expand(frames, 3)
    return SmplParams.from_rotations(rotations, torch.zeros(frames, 10), ahead)


def known_points(
    labels: ClipLabels | BodyTarget, body: PosedBody
) -> tuple[Float[Tensor, "*b 23 3"], Bool[Tensor, "*b 23"]]:
    """Keypoints in space: the body's own, or the joints of the same names."""
    points = body.body.regress(labels.smpl, body.detector_points)
    smpl = labels.has_smpl[..., None]
    instead = labels.has_joints & ~smpl
    known = smpl.expand(points.shape[:-1])[..., None]
    known = joints_for_points(known, instead[..., None], instead)[..., 0]
    return joints_for_points(points, labels.joints, instead), known


def joints_for_points(
    points: Shaped[Tensor, "*b 23 C"],
    joints: Shaped[Tensor, "*b 24 C"],
    instead: Bool[Tensor, "*b 24"],
) -> Shaped[Tensor, "*b 23 C"]:
    """Joints of SMPL24 in place of the points of the same names, those that are taken instead."""
    places = COCO23.positions_in(SMPL24)
    named = torch.tensor([place is not None for place in places], device=points.device)
    places = [place or 0 for place in places]
    chosen = named & instead[..., places]
    return torch.where(chosen[..., None], joints[..., places, :], points)
