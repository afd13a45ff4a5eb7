"""Labels as fits to pictures give them: right about keypoints, wrong about bodies.

Most video with "3D truth" has it from a fit to 2D keypoints. TokenHMR (Dwivedi et al., CVPR 2024,
section 3.1) shows what such labels do to who learns from them: limbs bend and trunks lean to make
up for a camera that is not the true one. This makes such labels of exact ones, to measure remedies.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from temporal_hmr.batch import BodyTarget
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24


class PseudoLabels(Config):
    """How wrong the labels are; angles in radians."""

    share: float = Field(default=0.5, ge=0, le=1)
    """Clips whose labels are pseudo."""
    spread: float = Field(default=0.12, ge=0)
    """Standard deviation of the error about each axis of each joint, constant over a clip."""
    bent_knees: float = Field(default=0.35, ge=0)
    """Mean flexion of the knees that is not there; the hips give as much, the trunk keeps."""
    lean: float = Field(default=0.15, ge=0)
    """Mean angle by which the whole body leans towards the camera."""
    shape: float = Field(default=0.7, ge=0)
    """Standard deviation of the error of the betas."""
    kept: bool = True
    """False drops the wrong bodies and keeps their keypoints, as if nobody had fitted any."""

    def replace_some(self, target: BodyTarget, body: BodyModel, generator: Generator) -> BodyTarget:
        """The same batch with pseudo-labels, no longer trusted, in a share of its clips.

        2D keypoints and the place of the pelvis stay true.
        """
        clips = len(target.trusted)
        pseudo = torch.rand(clips, generator=generator) < self.share
        rotations = target.smpl.rotations()
        wrong = self._wrong(rotations, generator)
        betas = target.smpl.betas
        error = self.shape * torch.randn(clips, 1, betas.shape[-1], generator=generator)
        betas = torch.where(pseudo[:, None, None], betas + error, betas)
        rotations = torch.where(pseudo[:, None, None, None, None], wrong, rotations)
        pelvis = target.joints[..., 0, :]
        transl = pelvis - body.rest_joints(betas)[..., 0, :]
        smpl = SmplParams.from_rotations(rotations, betas, transl)
        known = ~pseudo | self.kept
        return replace(
            target,
            smpl=smpl,
            joints=body.joints(smpl),
            has_smpl=target.has_smpl & known[:, None],
            has_joints=target.has_joints & known[:, None, None],
            trusted=target.trusted & ~pseudo,
        )

    def _wrong(
        self, rotations: Float[Tensor, "B T 24 3 3"], generator: Generator
    ) -> Float[Tensor, "B T 24 3 3"]:
        clips = len(rotations)
        extra = self.spread * torch.randn(clips, 1, len(SMPL24), 3, generator=generator)
        bend = self.bent_knees * (0.5 + torch.rand(clips, 1, generator=generator))
        for side in ("left", "right"):
            extra[..., SMPL24.index(f"{side}_knee"), 0] += bend
            extra[..., SMPL24.index(f"{side}_hip"), 0] -= bend / 2
        wrong = rotations @ axis_angle_to_matrix(extra)
        lean = torch.zeros(clips, 1, 3)
        lean[..., 0] = self.lean * (0.5 + torch.rand(clips, 1, generator=generator))
        # In the camera frame, x right and y down: positive about x brings the head forward.
        root = axis_angle_to_matrix(lean) @ wrong[:, :, 0]
        return torch.cat([root[:, :, None], wrong[:, :, 1:]], 2)
