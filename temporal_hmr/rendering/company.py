"""A second person beside, in front of or behind the one whom the clip is about."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.scene import Scene
from temporal_hmr.rendering.figure import Figure

_NEAREST = 0.8
"""Metres from the camera within which nobody comes."""
_MASK_SIDE = 320
"""Pixels of the longer side of the image in which is looked who hides whom."""


@dataclass(frozen=True, eq=False)
class Company:
    """N other people, each in a clip of their own."""

    smpl: SmplParams
    """Batch axes N, T; camera frame of their clips."""
    clip: Int[Tensor, "N"]

    def of(self, clip: int) -> SmplParams | None:
        """Who else is in a clip, over its T frames."""
        found = (self.clip == clip).nonzero()[:, 0]
        return self.smpl[int(found[0])] if len(found) else None

    def hides(
        self, points: Float[Tensor, "B T J 3"], scene: Scene, body: BodyModel, figure: Figure
    ) -> Bool[Tensor, "B T J"]:
        """Which points (camera frame, metres) are behind another person's body."""
        hidden = torch.zeros(points.shape[:-1], dtype=torch.bool)
        for clip, smpl in ((int(clip), self.of(int(clip))) for clip in self.clip):
            assert smpl is not None
            scale = _MASK_SIDE / float(scene.image_size[clip].max())
            width, height = (int(size * scale) for size in scene.image_size[clip].tolist())
            camera = Camera.with_focal(float(scene.focal[clip]) * scale, width, height)
            vertices = body.vertices(smpl, figure.vertices).numpy()
            for frame, posed in enumerate(vertices):
                drawing = figure.skin.draw(posed, posed, camera)
                if drawing is None:
                    continue
                depth = np.full((height, width), np.inf, np.float32)
                depth[drawing.window.slices] = drawing.depth
                places = camera.project(points[clip, frame]).floor().long()
                inside = ((places >= 0) & (places < torch.tensor([width, height]))).all(-1)
                columns, rows = places[inside].unbind(-1)
                nearer = torch.from_numpy(depth)[rows, columns] < points[clip, frame, inside, 2]
                hidden[clip, frame, inside] = nearer
        return hidden


def place_company(
    scene: Scene,
    motion: tuple[Float[Tensor, "B T 24 3 3"], Float[Tensor, "B T 3"]],
    body: BodyModel,
    share: float,
    generator: Generator,
) -> Company:
    """Put other people, who move as given (world, y up), near those of some clips.

    They stand on the same floor; who would come too near the camera stays away.
    """
    rotations, translation = motion
    clips, frames = scene.times.shape

    def uniform(low: float, high: float) -> Float[Tensor, "B 1"]:
        return low + (high - low) * torch.rand(clips, 1, generator=generator)

    betas = torch.randn(clips, 1, 10, generator=generator).clamp(-2.5, 2.5)
    betas = betas.expand(clips, frames, 10)
    to_world = scene.world_to_camera.mT
    joints = body.joints(scene.smpl) - scene.world_origin[:, :, None]
    joints = joints @ scene.world_to_camera
    other = body.joints(SmplParams.from_rotations(rotations, betas, translation))
    middle = frames // 2
    away = functional.normalize(to_world[:, middle, :, 2] * torch.tensor([1.0, 0, 1.0]), dim=-1)
    across = torch.stack([away[:, 2], torch.zeros(clips), -away[:, 0]], -1)
    ahead = torch.where(uniform(0, 1) < 0.5, uniform(-1.2, -0.35), uniform(0.35, 2.5))
    beside = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) * uniform(0.1, 0.9)
    target = joints[:, middle, 0] + ahead * away + beside * across
    shift = target - other[:, middle, 0]
    shift[:, 1] = joints[..., 1].amin((1, 2)) - other[..., 1].amin((1, 2))
    pelvis = other[:, :, 0] + shift[:, None]
    rotation = scene.world_to_camera
    seen = (rotation @ pelvis[..., None])[..., 0] + scene.world_origin
    oriented = torch.cat([(rotation @ rotations[:, :, 0])[:, :, None], rotations[:, :, 1:]], 2)
    transl = seen - body.rest_joints(betas)[..., 0, :]
    kept = (torch.rand(clips, generator=generator) < share) & (seen[..., 2].amin(1) > _NEAREST)
    chosen = kept.nonzero()[:, 0]
    return Company(SmplParams.from_rotations(oriented, betas, transl)[chosen], chosen)
