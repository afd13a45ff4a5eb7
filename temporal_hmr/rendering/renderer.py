"""Scenes as pictures: every frame of a window drawn in its box."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.scene import Scene
from temporal_hmr.errors import InputError
from temporal_hmr.images import IMAGE_SUFFIXES, read_image
from temporal_hmr.rendering.backdrops import (
    Photo,
    Place,
    draw_outdoors,
    draw_photo,
    draw_room,
    made_up_picture,
)
from temporal_hmr.rendering.company import Company, place_company
from temporal_hmr.rendering.effects import Film, Grain
from temporal_hmr.rendering.figure import Figure
from temporal_hmr.rendering.looks import Light, Look, draw_look
from temporal_hmr.rendering.occluders import Occluders, surfaces
from temporal_hmr.rendering.patterns import Patterns
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.rendering.view import View

_PICTURE_SIDE = 1280
"""A user's pictures are made no larger than this."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What stands in the way in each clip, for the detector and for the painter alike."""

    occluders: Occluders
    company: Company
    hidden: Bool[Tensor, "B T J"]
    """Keypoints behind any of them."""


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a clip, ready to be drawn."""

    vertices: Float[ndarray, "T v 3"]
    """Camera frame, metres; still naked."""
    look: Look


class Renderer:
    """Draws clothed people in scenes."""

    def __init__(
        self,
        body: BodyModel,
        settings: RenderingConfig = RenderingConfig(),
        pictures: Sequence[Path] = (),
    ) -> None:
        """`pictures` are image files to hang behind people; without any, pictures are made up.

        Raises `InputError` if one cannot be read or the body cannot be dressed.
        """
        self.body, self.settings = body, settings
        self._figure = Figure.of(body, settings.full_detail)
        self._patterns = Patterns.make()
        self._grain = Grain(settings.noise)
        self._pictures = [_fitted(read_image(path)) for path in pictures]

    def surround(
        self,
        scene: Scene,
        points: Float[Tensor, "B T J 3"],
        motion: tuple[Float[Tensor, "B T 24 3 3"], Float[Tensor, "B T 3"]],
        generator: torch.Generator,
    ) -> Surroundings:
        """Things and people around those whose keypoints (camera frame, metres) are given.

        The other people move as `motion` says (rotations and translation in the world).
        """
        settings, pixels = self.settings, scene.project(points)
        most, share = settings.most_occluders, settings.occluder_share
        occluders = Occluders.draw(pixels, scene.times, most, share, generator)
        company = place_company(scene, motion, self.body, settings.company_share, generator)
        behind = company.hides(points, scene, self.body, self._figure)
        return Surroundings(occluders, company, occluders.covers(pixels) | behind)

    def hidden_behind_first(
        self, points: Float[Tensor, "1 T J 3"], scene: Scene, surroundings: Surroundings
    ) -> Bool[Tensor, "1 T J"]:
        """Which points of somebody else are behind the person of a single clip, or a thing."""
        first = Company(scene.smpl, torch.zeros(1, dtype=torch.long))
        behind = first.hides(points, scene, self.body, self._figure)
        return surroundings.occluders.covers(scene.project(points)) | behind

    def draw(
        self,
        scene: Scene,
        surroundings: Surroundings,
        window: CropWindow,
        generator: torch.Generator,
    ) -> UInt8[Tensor, "B T 3 side side"]:
        """The window's boxes as RGB; black beyond the image and in clips that are not valid.

        Every clip has a random stream of its own: it looks the same whatever else is in the batch.
        """
        clips, frames = scene.times.shape
        seeds = torch.randint(2**62, (clips,), generator=generator).tolist()
        side = self.settings.side
        images = np.zeros((clips, frames, side, side, 3), np.uint8)
        for clip, seed in enumerate(seeds):
            if window.valid[clip].any():
                boxes = window.box_center[clip], window.box_size[clip]
                for frame, image in enumerate(self.film(scene, surroundings, clip, boxes, seed)):
                    images[clip, frame] = image
        return torch.from_numpy(images).movedim(-1, 2)

    def film(
        self,
        scene: Scene,
        surroundings: Surroundings,
        clip: int,
        boxes: tuple[Float[Tensor, "T 2"], Float[Tensor, "T"]],
        seed: int,
    ) -> Iterator[UInt8[ndarray, "side side 3"]]:
        """One clip's frames one after another, seen through boxes of given middles and sizes."""
        views = _views(scene, clip, boxes, self.settings.side)
        rng = np.random.default_rng(seed)
        company = surroundings.company.of(clip)
        people = [scene.smpl[clip], *([] if company is None else [company])]
        studio = _Studio.draw(self, people, views, rng)
        for frame, view in enumerate(views):
            image = studio.photograph(surroundings.occluders, (clip, frame), view)
            image = studio.film.develop(image, view.scale, rng)
            _blacken_outside(image, view)
            yield image

    def person(self, smpl: SmplParams, rng: np.random.Generator) -> Person:
        """A body over T frames, dressed at random."""
        vertices = self.body.vertices(smpl, self._figure.vertices).cpu().numpy()
        return Person(vertices, draw_look(self._figure, self._patterns, rng, self.settings))

    def backdrop(
        self, people: list[Person], views: list[View], rng: np.random.Generator
    ) -> Photo | Place:
        """A picture, or a place whose floor the first person stands on."""
        settings, middle = self.settings, views[len(views) // 2]
        stood = [view.to_world(v) for view, v in zip(views, people[0].vertices, strict=True)]
        lowest = [float(points[:, 1].min()) for points in stood]
        floor = float(np.quantile(lowest, 0.1))
        cameras = np.stack([view.position for view in views])
        in_ground = cameras[:, 1].min() < floor + 0.15
        if in_ground or rng.random() < settings.photo_share:
            if self._pictures:
                picture = self._pictures[rng.integers(len(self._pictures))]
            else:
                picture = made_up_picture(self._patterns, rng)
            return draw_photo(picture, middle, rng)
        around = np.concatenate([np.stack([points.mean(0) for points in stood]), cameras])
        build = draw_outdoors if rng.random() < settings.outdoor_share else draw_room
        place = build(self._patterns, rng, around, floor)
        return replace(place, detail=1.0 if rng.random() < settings.sharp_share else 0.5)

    def occluder_textures(
        self, count: int, rng: np.random.Generator
    ) -> list[UInt8[ndarray, "64 64 3"]]:
        """One surface for each thing in the way."""
        return surfaces(self._patterns, count, rng)

    @property
    def figure(self) -> Figure:
        """The body's mesh and the map that it is dressed on."""
        return self._figure

    @property
    def grain(self) -> Grain:
        """Noise to choose a sensor's from."""
        return self._grain


@dataclass(frozen=True, eq=False)
class _Studio:
    """Everything that stays the same over a clip."""

    figure: Figure
    people: list[Person]
    light: Light
    backdrop: Photo | Place
    textures: list[UInt8[ndarray, "64 64 3"]]
    film: Film

    @staticmethod
    def draw(
        renderer: Renderer, smpl: list[SmplParams], views: list[View], rng: np.random.Generator
    ) -> "_Studio":
        people = [renderer.person(each, rng) for each in smpl]
        return _Studio(
            renderer.figure,
            people,
            Light.draw(rng),
            renderer.backdrop(people, views, rng),
            renderer.occluder_textures(renderer.settings.most_occluders, rng),
            Film.draw(renderer.grain, rng, renderer.settings),
        )

    def photograph(
        self, occluders: Occluders, place: tuple[int, int], view: View
    ) -> UInt8[ndarray, "side side 3"]:
        """The frame `place` (clip, frame) through a perfect lens."""
        posed = [person.vertices[place[1]] for person in self.people]
        if isinstance(self.backdrop, Photo):
            image = self.backdrop.draw(view)
        else:
            image, floor = self.backdrop.draw(view)
            if floor is not None and floor.any():
                for vertices in posed:
                    self._cast_shadow(image, floor, vertices, view)
        depth = np.full(image.shape[:2], np.inf, np.float32)
        for vertices, person in zip(posed, self.people, strict=True):
            self._paint(image, depth, vertices, person.look, view)
        occluders.paint(image, place, view.corner, view.scale, self.textures)
        return image

    def _paint(
        self,
        image: UInt8[ndarray, "side side 3"],
        depth: Float[ndarray, "side side"],
        vertices: Float[ndarray, "v 3"],
        look: Look,
        view: View,
    ) -> None:
        """Draw somebody where they are nearer than what is there; updates both arrays."""
        figure = self.figure
        normals = figure.skin.normals(vertices)
        lit = self.light.falling_on(normals, view.rotation)
        attributes = np.concatenate([figure.map_place, lit[figure.twins, None]], 1)
        dressed = (vertices + normals * look.thickness[:, None])[figure.twins]
        drawn = figure.surface.draw(dressed, attributes, view.camera())
        if drawn is None:
            return
        columns, rows, brightness = cv2.split(drawn.color)
        colours = cv2.remap(look.texture, columns, rows, cv2.INTER_LINEAR)
        level = cv2.convertScaleAbs(brightness, alpha=255)
        factor = cv2.LUT(cv2.merge([level, level, level]), self.light.colours)
        colours = cv2.multiply(colours, factor, scale=1 / 128)
        behind = depth[drawn.window.slices]
        nearer = (drawn.depth < behind).astype(np.uint8)
        cv2.copyTo(drawn.depth, nearer, behind)
        cv2.copyTo(colours, nearer, image[drawn.window.slices])

    def _cast_shadow(
        self,
        image: UInt8[ndarray, "side side 3"],
        floor: UInt8[ndarray, "side side"],
        vertices: Float[ndarray, "v 3"],
        view: View,
    ) -> None:
        """Darken the floor where the light does not reach it."""
        assert isinstance(self.backdrop, Place)
        towards = self.light.direction
        world = view.to_world(vertices)
        above = world[:, 1:] - self.backdrop.floor
        fallen = world - above[:, :1].clip(0) * (towards / towards[1])
        fallen[:, 1] = self.backdrop.floor
        flat = view.to_camera(fallen).astype(np.float32)
        drawn = self.figure.skin.draw(flat, flat, view.camera(0.5))
        if drawn is None:
            return
        small = view.side // 2
        mask = np.zeros((small, small), np.uint8)
        mask[drawn.window.slices] = np.where(np.isfinite(drawn.depth), 255, 0)
        mask = cv2.resize(cv2.blur(mask, (5, 5)), (view.side, view.side))
        mask = cv2.min(mask, floor)
        kept = cv2.convertScaleAbs(mask, alpha=-self.light.shadow)
        kept = cv2.bitwise_not(kept)
        cv2.multiply(image, cv2.merge([kept, kept, kept]), image, scale=1 / 255)


def _views(
    scene: Scene, clip: int, boxes: tuple[Float[Tensor, "T 2"], Float[Tensor, "T"]], side: int
) -> list[View]:
    """The box of every frame of a clip, seen with the scene's true focal length."""
    center, size = (values.double().numpy() for values in boxes)
    rotation = scene.world_to_camera[clip].double().numpy()
    origin = scene.world_origin[clip].double().numpy()
    image_size = scene.image_size[clip].double().numpy()
    focal = float(scene.focal[clip])
    return [
        View(side, c - s / 2, side / float(s), focal, image_size, r, o)
        for c, s, r, o in zip(center, size, rotation, origin, strict=True)
    ]


def _blacken_outside(image: UInt8[ndarray, "side side 3"], view: View) -> None:
    """There is nothing beyond the edges of the full image."""
    left, top = np.ceil(-view.corner * view.scale - 0.5).clip(0, view.side).astype(int)
    edge = (view.image_size - view.corner) * view.scale
    right, bottom = np.ceil(edge - 0.5).clip(0, view.side).astype(int)
    image[:top], image[bottom:], image[:, :left], image[:, right:] = 0, 0, 0, 0


def find_pictures(folder: Path | None) -> list[Path]:
    """Image files of a folder, in order of name; raises `InputError` if there are none."""
    if folder is None:
        return []
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(f"{folder} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def _fitted(picture: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "height width 3"]:
    shrink = _PICTURE_SIDE / max(picture.shape[:2])
    if shrink >= 1:
        return picture
    return cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
