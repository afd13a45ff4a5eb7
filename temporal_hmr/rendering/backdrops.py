"""What is behind people: pictures that turn with the camera, rooms, and places under the sky."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from temporal_hmr.rasterize import Surface
from temporal_hmr.rendering.patterns import (
    Colour,
    Patterns,
    cloth_colour,
    cut,
    hsv,
    scaled,
    tinted,
)
from temporal_hmr.rendering.view import View

_DOME = 80.0
"""Metres to the sky."""
_CELL = 1.0
"""Metres of the side of the pieces that floors and walls consist of."""
_ROW = 256
"""Rows of a place's texture: the floor's tile above, walls or panorama below."""
_PANORAMA = 1024


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture infinitely far away, mirrored beyond its edges."""

    image: UInt8[ndarray, "height width 3"]
    facing: Float[ndarray, "3 3"]
    """World to the camera that would see the picture straight on."""
    focal: float
    """Of that camera, in pixels of the picture."""

    def draw(self, view: View) -> UInt8[ndarray, "side side 3"]:
        height, width = self.image.shape[:2]
        taken_with = np.array([[self.focal, 0, width / 2], [0, self.focal, height / 2], [0, 0, 1]])
        to_picture = taken_with @ self.facing @ view.rotation.T @ np.linalg.inv(view.matrix())
        return cv2.warpPerspective(
            self.image,
            to_picture,
            (view.side, view.side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


@dataclass(frozen=True, eq=False)
class Place:
    """Floor and walls, or ground and sky, that stand still in the world."""

    vertices: Float[ndarray, "v 3"]
    """World, metres."""
    surface: Surface
    attributes: Float[ndarray, "v 3"]
    """Column and row of the texture, and brightness 0..1."""
    texture: UInt8[ndarray, "height width 3"]
    floor: float
    """Height of the floor, on which shadows fall."""
    ground: UInt8[ndarray, "3"]
    """Mean colour of the floor, for what is nearer than can be drawn."""
    detail: float = 1.0
    """Pixels it is drawn with per pixel of the crop, along each side: 1 is sharp."""

    def draw(self, view: View) -> tuple[UInt8[ndarray, "side side 3"], ndarray | None]:
        """The picture, and 255 where it shows the floor (None if nothing is in view)."""
        camera = view.camera(self.detail)
        vertices = view.to_camera(self.vertices).astype(np.float32)
        drawn = self.surface.draw(vertices, self.attributes, camera)
        image = np.empty((camera.height, camera.width, 3), np.uint8)
        image[:] = self.ground
        size = (view.side, view.side)
        if drawn is None:
            return cv2.resize(image, size), None
        columns, rows, light = cv2.split(drawn.color)
        found = cv2.remap(self.texture, columns, rows, cv2.INTER_LINEAR)
        gray = cv2.convertScaleAbs(light, alpha=255)
        if self.attributes[:, 2].min() < 1:
            found = cv2.multiply(found, cv2.merge([gray, gray, gray]), scale=1 / 255)
        # Where nothing is drawn all attributes are 0, brightness among them.
        cv2.copyTo(found, gray, image[drawn.window.slices])
        floor = np.zeros(image.shape[:2], np.uint8)
        floor[drawn.window.slices] = cv2.min(cv2.inRange(rows, 0.0, _ROW - 0.5), gray)
        if self.detail == 1:
            return image, floor
        return cv2.resize(image, size), cv2.resize(floor, size)


def draw_photo(picture: UInt8[ndarray, "height width 3"], middle: View, rng: Generator) -> Photo:
    """Hang a picture behind everything that the full image shows, at a random size."""
    height, width = picture.shape[:2]
    cover = max(middle.image_size[0] / width, middle.image_size[1] / height)
    return Photo(picture, middle.rotation, middle.focal / (cover * rng.uniform(0.7, 1.2)))


def made_up_picture(patterns: Patterns, rng: Generator) -> UInt8[ndarray, "height width 3"]:
    """An abstract scene: a gradient, clouds, things of all sizes, more or less out of focus."""
    size = (432, 576)
    kind = rng.random()
    top, bottom = _wall_colour(rng), _wall_colour(rng)
    if kind < 0.3:
        image = tinted(
            patterns.noise(rng, size, float(np.exp(rng.uniform(-0.5, 1.5)))), top, bottom
        )
    elif kind < 0.5:
        image = tinted(patterns.motif(rng, size, float(np.exp(rng.uniform(-1, 1)))), top, bottom)
    else:
        gray = np.repeat(np.linspace(0, 255, size[0])[:, None], size[1], 1).astype(np.uint8)
        image = tinted(gray, top, bottom)
    _scatter(image, rng, int(rng.integers(0, 40)), patterns)
    if rng.random() < 0.7:
        image = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(-0.7, 1.8))))
    return image


def draw_room(
    patterns: Patterns, rng: Generator, around: Float[ndarray, "n 3"], floor: float
) -> Place:
    """A room with furniture-like things on its walls that holds the given points."""
    turn = _heading(rng.uniform(0, 2 * np.pi))
    local = around @ turn.T
    margin = rng.uniform(0.6, 3.0, (2, 2))
    low, high = local[:, [0, 2]].min(0) - margin[0], local[:, [0, 2]].max(0) + margin[1]
    top = max(floor + rng.uniform(2.4, 3.6), float(local[:, 1].max()) + 0.3)
    (left, near), (right, far) = low, high
    a, b, c, d = ((left, near), (right, near), (right, far), (left, far))
    up, brightness = np.array([0, top - floor, 0.0]), rng.uniform(0.65, 1.0, 5)
    pieces = [_tiled((a, b, d), floor, local)]
    for number, (start, end) in enumerate(((b, a), (c, b), (d, c), (a, d))):
        begin = np.array([start[0], floor, start[1]])
        along = np.array([end[0], floor, end[1]]) - begin
        columns = (256 * number + 1, 256 * number + 255)
        pieces.append(_sheet(begin, along, up, columns, brightness[number]))
    begin = np.array([left, top, near])
    across, ahead = np.array([right - left, 0.0, 0.0]), np.array([0.0, 0.0, far - near])
    pieces.append(_sheet(begin, across, ahead, (1025, 1055), brightness[4]))
    texture = np.zeros((2 * _ROW, 1056, 3), np.uint8)
    texture[:_ROW, : 3 * _ROW] = _levels(_floor_tile(patterns, rng, indoors=True))
    colour = _wall_colour(rng)
    walls = tinted(patterns.noise(rng, (_ROW, 1024), 0.6), scaled(colour, 0.9), colour)
    if rng.random() < 0.35:
        motif = patterns.motif(rng, (_ROW, 1024), float(np.exp(rng.uniform(-1.5, -0.3))))
        walls = tinted(motif, scaled(colour, rng.uniform(0.6, 0.95)), colour)
    _furnish(walls, rng, patterns)
    texture[_ROW:, :1024] = walls
    texture[_ROW:, 1024:] = scaled((238, 236, 230), rng.uniform(0.7, 1.0))
    return _place(pieces, turn, texture, floor)


def draw_outdoors(
    patterns: Patterns, rng: Generator, around: Float[ndarray, "n 3"], floor: float
) -> Place:
    """Ground as far as one sees, a skyline, and sky."""
    middle = around.mean(0)
    turn = _heading(rng.uniform(0, 2 * np.pi))
    x, _, z = turn @ middle
    reach = 14.0
    corners = ((x - reach, z - reach), (x + reach, z - reach), (x - reach, z + reach))
    pieces = [
        _tiled(corners, floor, around @ turn.T),
        _dome(np.array([x, floor + 1.5, z])),
    ]
    texture = np.zeros((2 * _ROW, _PANORAMA, 3), np.uint8)
    ground = _floor_tile(patterns, rng, indoors=False)
    texture[:_ROW, : 3 * _ROW] = _levels(ground)
    texture[_ROW:] = _panorama(patterns, rng, ground)
    return _place(pieces, turn, texture, floor)


Piece = tuple[ndarray, ndarray, ndarray]
"""Vertices [n 3], faces [f 3], attributes [n 3]."""


def _place(
    pieces: list[Piece], turn: ndarray, texture: UInt8[ndarray, "h w 3"], floor: float
) -> Place:
    starts = np.cumsum([0] + [len(piece[0]) for piece in pieces])
    vertices = np.concatenate([piece[0] for piece in pieces])
    faces = np.concatenate([piece[1] + at for piece, at in zip(pieces, starts, strict=False)])
    attributes = np.concatenate([piece[2] for piece in pieces]).astype(np.float32)
    ground = texture[:_ROW, :_ROW].reshape(-1, 3).mean(0).astype(np.uint8)
    return Place(vertices @ turn, Surface(faces, len(vertices)), attributes, texture, floor, ground)


def _heading(angle: float) -> Float[ndarray, "3 3"]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def _sheet(
    begin: ndarray, along: ndarray, up: ndarray, columns: tuple[float, float], light: float
) -> Piece:
    """A rectangle in cells, seen from the side from which `along` x `up` comes towards one."""
    counts = [max(int(np.ceil(np.linalg.norm(edge) / _CELL)), 1) for edge in (along, up)]
    i, j = np.meshgrid(*(np.linspace(0, 1, count + 1) for count in counts), indexing="ij")
    vertices = begin + i[..., None] * along + j[..., None] * up
    across = columns[0] + i * (columns[1] - columns[0])
    rows = _ROW + 1 + (1 - j) * (_ROW - 3)
    attributes = np.stack([across, rows, np.full_like(i, light)], -1)
    return vertices.reshape(-1, 3), _cells(*counts), attributes.reshape(-1, 3)


Corner = tuple[float, float]


def _tiled(
    corners: tuple[Corner, Corner, Corner], height: float, around: Float[ndarray, "n 3"]
) -> Piece:
    """The floor from one corner to its right and ahead, in cells of two to a tile each way.

    Every cell has corners of its own. The first point of `around` is whom the camera looks at, the
    last is the camera; cells farther away than that show a smoothed tile, lest they flicker.
    """
    corner, right, ahead = corners
    counts = [
        max(int(np.ceil(np.hypot(*np.subtract(end, corner)) / _CELL)), 1) for end in (right, ahead)
    ]
    i, j = (index.reshape(-1, 1) for index in np.indices(counts))
    di, dj = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    x = corner[0] + (i + di) * _CELL
    z = corner[1] + (j + dj) * _CELL
    vertices = np.stack([x, np.full_like(x, height), z], -1).reshape(-1, 3)
    eye = around[-1]
    distance = np.hypot(x - eye[0], z - eye[2]).min(1, keepdims=True)
    usual = max(np.hypot(*(around[0] - eye)[[0, 2]]), 2.0)
    level = np.searchsorted([1.4, 2.2], distance / usual)
    half = _ROW / 2 - 1
    columns, rows = (1 + half * (index % 2 + d) for index, d in ((i, di), (j, dj)))
    light = np.ones_like(x)
    attributes = np.stack([columns + _ROW * level, rows, light], -1).reshape(-1, 3)
    faces = np.array([[0, 1, 2], [1, 3, 2]]) + 4 * np.arange(len(i))[:, None, None]
    return vertices, faces.reshape(-1, 3), attributes


def _dome(middle: Float[ndarray, "3"]) -> Piece:
    """A sphere seen from inside, from just below the horizon to straight up."""
    counts = (24, 8)
    i, j = np.meshgrid(*(np.linspace(0, 1, count + 1) for count in counts), indexing="ij")
    heading, height = 2 * np.pi * i, -0.15 + (np.pi / 2 + 0.15) * j
    level = np.cos(height)
    direction = np.stack([level * np.cos(heading), np.sin(height), level * np.sin(heading)], -1)
    columns = i * (_PANORAMA - 1)
    # Half of the rows for the 60 degrees about the horizon, where everything happens.
    rows = _ROW + (_ROW - 1) * (0.5 - 0.5 * np.sign(height) * (np.abs(height) * 2 / np.pi) ** 0.63)
    attributes = np.stack([columns, rows.clip(_ROW + 0.5), np.ones_like(i)], -1)
    vertices = middle + _DOME * direction
    return vertices.reshape(-1, 3), _cells(*counts), attributes.reshape(-1, 3)


def _cells(along: int, up: int) -> ndarray:
    start = (np.arange(along)[:, None] * (up + 1) + np.arange(up)).reshape(-1, 1)
    a, b, c, d = start, start + 1, start + up + 1, start + up + 2
    return np.concatenate([np.concatenate([a, c, b], 1), np.concatenate([b, c, d], 1)])


def _floor_tile(patterns: Patterns, rng: Generator, indoors: bool) -> UInt8[ndarray, "row row 3"]:
    if indoors:
        tone = hsv(rng.uniform(0.02, 0.14), rng.uniform(0, 0.5), rng.uniform(0.3, 0.9))
    else:
        hue, saturation = [(0.27, 0.5), (0.1, 0.3), (0.6, 0.04), (0.12, 0.2)][rng.integers(4)]
        tone = hsv(hue + rng.uniform(-0.03, 0.03), saturation, rng.uniform(0.3, 0.75))
    stock = patterns.motifs if rng.random() < (0.6 if indoors else 0.3) else patterns.noises
    tile = stock[rng.integers(len(stock))]
    grain = patterns.noises[rng.integers(4)]
    gray = cv2.addWeighted(tile, 0.75, grain, 0.25, 0)
    return tinted(gray, scaled(tone, rng.uniform(0.5, 0.9)), tone)


def _levels(tile: UInt8[ndarray, "row row 3"]) -> UInt8[ndarray, "row 3*row 3"]:
    """A tile as it is, smoothed, and smoothed more."""
    smooth = cv2.blur(tile, (9, 9), borderType=cv2.BORDER_REFLECT)
    smoother = cv2.blur(smooth, (41, 41), borderType=cv2.BORDER_REFLECT)
    return np.concatenate([tile, smooth, smoother], 1)


def _panorama(
    patterns: Patterns, rng: Generator, ground: UInt8[ndarray, "row row 3"]
) -> UInt8[ndarray, "row width 3"]:
    """All headings; sky above the middle row, far ground below, a skyline between."""
    blue = hsv(0.58, rng.uniform(0.05, 0.6), rng.uniform(0.6, 1.0))
    white = scaled((235, 238, 242), rng.uniform(0.8, 1.05))
    clouds = tinted(patterns.noise(rng, (_ROW, _PANORAMA), rng.uniform(0.7, 1.5)), blue, white)
    horizon = _ROW // 2
    image = clouds
    tops = horizon - 45 * rng.random() * rng.random(400)
    if rng.random() < 0.5:
        tops = np.repeat(tops, 3)[:400]
    colour = _wall_colour(rng) if rng.random() < 0.5 else hsv(rng.uniform(0.22, 0.35), 0.4, 0.4)
    right = 0
    for top in tops:
        left, right = right, right + int(rng.integers(4, 40))
        shade = scaled(colour, rng.uniform(0.6, 1.2))
        cv2.rectangle(image, (left, int(top)), (right, _ROW), shade, -1)
        if right > _PANORAMA:
            break
    grain = cut(patterns.noises[rng.integers(6)], rng, (_ROW, _PANORAMA), 0.4)
    mixed = cv2.addWeighted(image, 0.8, cv2.merge([grain, grain, grain]), 0.2, 0)
    image[horizon - 50 : horizon] = mixed[horizon - 50 : horizon]
    image[horizon + 1 :] = ground.reshape(-1, 3).mean(0).astype(np.uint8)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))


def _furnish(walls: UInt8[ndarray, "row width 3"], rng: Generator, patterns: Patterns) -> None:
    """Doors, windows, pictures, shelves; a skirting board."""
    height, width = walls.shape[:2]
    for _ in range(int(rng.integers(2, 18))):
        w, h = rng.integers(12, 90), rng.integers(15, 130)
        standing = rng.random() < 0.4
        top = height - h - 2 if standing else int(rng.integers(15, max(height // 2, 16)))
        left = int(rng.integers(0, width - w))
        _panel(walls, (left, int(top)), (int(w), int(h)), rng, patterns)
    if rng.random() < 0.6:
        walls[-6:] = cloth_colour(rng)


def _scatter(
    image: UInt8[ndarray, "h w 3"], rng: Generator, count: int, patterns: Patterns
) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        size = np.exp(rng.uniform(2.0, 5.2, 2)).astype(int)
        at = int(rng.integers(-20, width)), int(rng.integers(-20, height))
        if rng.random() < 0.3:
            axes = (int(size[0]) // 2, int(size[1]) // 2)
            cv2.ellipse(image, at, axes, rng.uniform(0, 180), 0, 360, cloth_colour(rng), -1)
        else:
            at = max(at[0], 0), max(at[1], 0)
            _panel(image, at, (int(size[0]), int(size[1])), rng, patterns)


def _panel(
    image: UInt8[ndarray, "h w 3"],
    at: tuple[int, int],
    size: tuple[int, int],
    rng: Generator,
    patterns: Patterns,
) -> None:
    """A framed rectangle with something in it."""
    part = image[at[1] : at[1] + size[1], at[0] : at[0] + size[0]]
    if not part.size:
        return
    colour, gray_kind = cloth_colour(rng), rng.random()
    if gray_kind < 0.4:
        part[:] = colour
    else:
        source = patterns.motif if gray_kind < 0.6 else patterns.noise
        gray = source(rng, part.shape[:2], float(np.exp(rng.uniform(-1.5, 0.5))))
        part[:] = tinted(gray, cloth_colour(rng), colour)
    if rng.random() < 0.5:
        end = (part.shape[1] - 1, part.shape[0] - 1)
        cv2.rectangle(part, (0, 0), end, scaled(colour, 0.5), int(rng.integers(1, 4)))


def _wall_colour(rng: Generator) -> Colour:
    if rng.random() < 0.6:
        return hsv(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.35, 0.98))
    return cloth_colour(rng)
