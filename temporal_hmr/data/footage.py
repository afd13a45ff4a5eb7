"""Whole rendered videos and the truth of everybody in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy import ndarray
from torch import Generator, Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.scene import Scene
from temporal_hmr.data.synthetic import Augmentation, MotionBank, place
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.motion import BodyMotion
from temporal_hmr.rendering.renderer import Renderer, Surroundings
from temporal_hmr.skeleton import COCO23

IN_VIEW = 0.8
"""Share of the first person's keypoints that the image must show over the whole video."""
_ATTEMPTS = 1000


@dataclass(frozen=True, eq=False)
class Footage:
    """One video before it is drawn."""

    scene: Scene
    """A single clip."""
    surroundings: Surroundings
    company_hidden: Bool[Tensor, "T J"] | None
    """Which keypoints of the other person are behind the first one or a thing, if there is one."""
    fps: float
    seed: int
    """Of everything's looks."""

    def images(self, renderer: Renderer) -> Iterator[UInt8[ndarray, "height width 3"]]:
        """The frames; the renderer's `side` is the longer side of the image in pixels."""
        frames = self.scene.times.shape[1]
        size = self.scene.image_size[0]
        boxes = (size / 2).expand(frames, 2), size.max().expand(frames)
        camera = self.camera(renderer.settings.side)
        left, top = ((renderer.settings.side - span) // 2 for span in (camera.width, camera.height))
        rows, columns = slice(top, top + camera.height), slice(left, left + camera.width)
        for image in renderer.film(self.scene, self.surroundings, 0, boxes, self.seed):
            yield image[rows, columns]

    def camera(self, side: int) -> Camera:
        """Of images whose longer side has so many pixels; both sides are even."""
        scale = side / float(self.scene.image_size[0].max())
        width, height = (2 * int(span * scale / 2) for span in self.scene.image_size[0].tolist())
        return Camera.with_focal(float(self.scene.focal[0]) * scale, width, height)

    def motions(self, body: PosedBody, side: int) -> list[BodyMotion]:
        """The truth of everybody, the first person first.

        Keypoints that nobody can see, beyond the image or behind something, have confidence 0.
        """
        people = [(self.scene.smpl[0], self.surroundings.hidden[0])]
        other = self.surroundings.company.of(0)
        if other is not None and self.company_hidden is not None:
            people.append((other, self.company_hidden))
        return [
            self._motion(number, smpl, hidden, body, self.camera(side))
            for number, (smpl, hidden) in enumerate(people)
        ]

    def _motion(
        self, number: int, smpl: SmplParams, hidden: Tensor, body: PosedBody, camera: Camera
    ) -> BodyMotion:
        pixels = camera.project(body.body.regress(smpl, body.detector_points))
        size = torch.tensor([camera.width, camera.height])
        seen = ((pixels >= 0) & (pixels < size)).all(-1) & ~hidden
        keypoints = torch.cat([pixels, seen[..., None]], -1) * seen[..., None]
        count = len(pixels)
        return BodyMotion(
            person_id=number,
            frames=np.arange(count),
            times=self.scene.times[0].double().numpy(),
            fps=self.fps,
            smpl=smpl,
            joints=body.body.joints(smpl).numpy(),
            camera=camera,
            boxes=torch.cat([pixels.amin(1), pixels.amax(1)], -1).numpy(),
            keypoints=keypoints.numpy(),
            skeleton=COCO23,
            observed=seen.any(-1).numpy(),
            confidence=seen.float().mean(-1).numpy(),
        )


@torch.no_grad()
def draw_footage(
    bank: MotionBank,
    body: PosedBody,
    renderer: Renderer,
    frames: int,
    fps: float,
    generator: Generator,
) -> Footage:
    """A random video in which most of the first person is in view.

    Raises `InputError` if the motion never stays within one.
    """
    times = torch.arange(frames)[None] / fps
    for _ in range(_ATTEMPTS):
        rotations, translation = bank.draw(times, generator)
        shape = torch.randn(1, 1, 10, generator=generator).clamp(-3, 3)
        betas = shape.expand(1, frames, 10)
        scene = place(rotations, translation, betas, times, body, Augmentation(), generator)
        points = body.body.regress(scene.smpl, body.detector_points)
        pixels = scene.project(points)
        inside = ((pixels >= 0) & (pixels < scene.image_size[:, None, None])).all(-1)
        if float(inside.float().mean()) >= IN_VIEW:
            around = renderer.surround(scene, points, bank.draw(times, generator), generator)
            seed = int(torch.randint(2**62, (), generator=generator))
            return Footage(scene, around, _hidden(scene, around, body, renderer), fps, seed)
    raise InputError(f"nobody stays in view for {frames} frames: make the videos shorter")


def _hidden(
    scene: Scene, around: Surroundings, body: PosedBody, renderer: Renderer
) -> Bool[Tensor, "T J"] | None:
    """Keypoints of the other person that cannot be seen; None where there is nobody else."""
    other = around.company.of(0)
    if other is None:
        return None
    points = body.body.regress(other, body.detector_points)[None]
    return renderer.hidden_behind_first(points, scene, around)[0]
