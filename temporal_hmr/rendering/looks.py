"""What people look like: skin, hair, faces and clothes, painted on the body's map."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from temporal_hmr.rendering.figure import ATLAS, Figure, Points
from temporal_hmr.rendering.patterns import Colour, Patterns, cloth_colour, hsv, scaled, tinted
from temporal_hmr.rendering.settings import RenderingConfig

_SKIN: tuple[Colour, ...] = (
    *((236, 204, 182), (228, 186, 158), (214, 166, 134), (192, 140, 104)),
    *((164, 112, 78), (124, 82, 56), (88, 58, 42)),
)
"""From pale to dark, about the tones of the Monk scale."""
_HAIR: tuple[Colour, ...] = (
    *((22, 18, 16), (22, 18, 16), (48, 32, 22), (84, 56, 34), (128, 84, 46)),
    *((196, 158, 98), (150, 70, 36), (168, 166, 164), (226, 224, 220)),
)


@dataclass(frozen=True, eq=False)
class Look:
    """One person's appearance."""

    texture: UInt8[ndarray, "atlas 2*atlas 3"]
    """RGB on the figure's map."""
    thickness: Float[ndarray, "v"]
    """Metres that cloth and hair stand off the skin at each of its vertices."""


@dataclass(frozen=True)
class Outfit:
    """Cuts of clothes and hair in metres of the rest pose; what is None is not worn."""

    waist: float
    """Height of the trousers' upper end."""
    leg_end: float
    """Height at which trousers or shorts end."""
    hem: float
    """Height of the lower end of shirt or dress."""
    sleeve: float
    """Distance from the body's middle at which sleeves end."""
    neckline: float
    """How deep the neck is cut in front."""
    boot: float
    """Height at which shoes end."""
    hair: float | None
    """How far down from the eyes hair hangs at the back."""
    hairline: float
    """Height of the hair's front above the eyes."""
    hat: bool = False
    beard: bool = False
    dressed: bool = True
    joints: dict[str, Float[ndarray, "3"]] = field(default_factory=dict)
    landmarks: dict[str, Float[ndarray, "3"]] = field(default_factory=dict)

    def shirt(self, points: Points) -> Bool[ndarray, "n"]:
        x, y = np.abs(points.position[:, 0]), points.position[:, 1]
        top = self.joints["neck"][1] + 0.015
        top = top - self.neckline * np.clip(1 - x / 0.09, 0, 1) * points.front
        covered = ~points.part["head"] & ~points.part["hand"] & ~points.part["foot"]
        armpit = self.joints["left_shoulder"][1] - 0.11
        covered &= (x < self.sleeve) | (~points.part["arm"] & (y < armpit))
        return covered & (y > self.hem) & (y < top)

    def trousers(self, points: Points) -> Bool[ndarray, "n"]:
        y = points.position[:, 1]
        covered = points.part["trunk"] | points.part["leg"] | points.part["foot"]
        return covered & (y < self.waist) & (y > self.leg_end)

    def shoes(self, points: Points) -> Bool[ndarray, "n"]:
        return (points.part["foot"] | points.part["leg"]) & (points.position[:, 1] < self.boot)

    def hair_on(self, points: Points) -> Bool[ndarray, "n"]:
        if self.hair is None:
            return np.zeros(len(points.position), bool)
        eye, ear = self.landmarks["left_eye"], self.landmarks["left_ear"]
        x, y, z = np.abs(points.position[:, 0]), *points.position[:, 1:].T
        up, forward = y - eye[1], z - eye[2]
        scalp = points.part["head"] & (up > self.hairline + 1.5 * (forward + 0.02))
        scalp &= (up > -0.09) & ~((x > ear[0] - 0.008) & (up < 0.02) & (z > ear[2] - 0.02))
        behind = (z < ear[2] - 0.03) & (x < 0.10) & ~points.part["arm"]
        return scalp | (behind & (up > -self.hair) & (up < 0))

    def hat_on(self, points: Points) -> Bool[ndarray, "n"]:
        rim = self.landmarks["left_eye"][1] + 0.045
        return points.part["head"] & (points.position[:, 1] > rim) & self.hat

    def beard_on(self, points: Points) -> Bool[ndarray, "n"]:
        nose, ear = self.landmarks["nose"], self.landmarks["left_ear"]
        y, z = points.position[:, 1:].T
        jaw = points.part["head"] & (y < nose[1] - 0.018) & (z > ear[2])
        return jaw & self.beard & points.front

    def thickness(
        self, points: Points, rng: Generator, settings: RenderingConfig
    ) -> Float[ndarray, "n"]:
        """Metres that things stand off the skin."""
        result = np.zeros(len(points.position), np.float32)
        if self.dressed:
            for worn, most in (
                (self.shoes(points), 0.012),
                (self.trousers(points), 0.022),
                (self.shirt(points), 0.025),
            ):
                result[worn] = rng.uniform(0.003, most)
        result[self.hair_on(points)] = rng.uniform(0.006, 0.03)
        result[self.hat_on(points)] = rng.uniform(0.012, 0.03)
        return settings.looseness * result


def draw_outfit(figure: Figure, rng: Generator, settings: RenderingConfig) -> Outfit:
    """Random cuts."""
    joints = figure.joints
    hip, knee, ankle = (joints[f"left_{name}"][1] for name in ("hip", "knee", "ankle"))
    shoulder, elbow, wrist = (joints[f"left_{name}"][0] for name in ("shoulder", "elbow", "wrist"))
    waist = joints["pelvis"][1] + rng.uniform(0.0, 0.12)
    leg_ends = (ankle + rng.uniform(-0.02, 0.06), rng.uniform(knee - 0.25, knee), hip - 0.22)
    leg_end = rng.choice(np.array(leg_ends), p=[0.65, 0.15, 0.2])
    dress = rng.random() < 0.12
    hem = rng.uniform(knee - 0.1, hip - 0.15) if dress else waist - rng.uniform(-0.03, 0.2)
    sleeves = (shoulder * 0.9, rng.uniform(0.3, 0.9 * elbow), elbow + 0.1, wrist - 0.02)
    hair = None if rng.random() < 0.1 else rng.choice([0.09, 0.12, 0.3], p=[0.6, 0.2, 0.2])
    return Outfit(
        waist=waist,
        leg_end=leg_end,
        hem=hem,
        sleeve=rng.choice(np.array(sleeves), p=[0.1, 0.42, 0.08, 0.4]),
        neckline=rng.uniform(0, 0.1) * (rng.random() < 0.5),
        boot=ankle + (rng.uniform(-0.02, 0.03) if rng.random() < 0.8 else rng.uniform(0.05, 0.25)),
        hair=hair,
        hairline=rng.uniform(0.035, 0.06),
        hat=bool(rng.random() < 0.12),
        beard=bool(rng.random() < 0.15 and (hair or 0) < 0.2),
        dressed=bool(rng.random() < settings.dressed_share),
        joints=joints,
        landmarks=figure.landmarks,
    )


def draw_look(
    figure: Figure, patterns: Patterns, rng: Generator, settings: RenderingConfig
) -> Look:
    """Somebody to be seen."""
    outfit = draw_outfit(figure, rng, settings)
    paint = _Paint(figure, patterns, rng)
    skin_tone = scaled(_SKIN[rng.integers(len(_SKIN))], rng.uniform(0.92, 1.05))
    everywhere = np.ones(len(figure.texels.position), bool)
    paint.fill(everywhere, scaled(skin_tone, 0.93), skin_tone, 0.3)
    hair_tone = _HAIR[rng.integers(len(_HAIR))]
    _paint_face(paint, figure, skin_tone, hair_tone)
    paint.fill(outfit.beard_on(figure.texels), scaled(hair_tone, 0.7), hair_tone, 0.2)
    if outfit.dressed:
        bare_ankle = rng.random() < 0.4
        if not bare_ankle:
            socks = figure.texels.part["foot"]
            paint.fill(socks, scaled(cloth_colour(rng), 0.9), cloth_colour(rng), 1.0)
        colour = cloth_colour(rng)
        paint.fill(outfit.shoes(figure.texels), scaled(colour, 0.75), colour, 0.2)
        paint.cloth(outfit.trousers(figure.texels), patterned=0.2)
        shirt = outfit.shirt(figure.texels)
        paint.cloth(shirt, patterned=0.5)
        if rng.random() < 0.3:
            paint.cloth(shirt & _logo(figure.texels, rng), patterned=0.7)
    paint.fill(outfit.hair_on(figure.texels), scaled(hair_tone, 0.65), hair_tone, 0.15)
    paint.cloth(outfit.hat_on(figure.texels), patterned=0.2)
    thickness = outfit.thickness(figure.points, rng, settings)
    return Look(paint.texture(), thickness)


class _Paint:
    """Colours of the map's texels, layer upon layer."""

    def __init__(self, figure: Figure, patterns: Patterns, rng: Generator) -> None:
        rows, columns = figure.texel_place
        self._place = rows * 2 * ATLAS + columns
        self._colours = np.zeros((len(figure.texels.position), 3), np.uint8)
        self._patterns, self._rng = patterns, rng

    def fill(self, where: Bool[ndarray, "n"], dark: Colour, light: Colour, zoom: float) -> None:
        """Two colours mixed by clouds of the given zoom."""
        gray = self._patterns.noise(self._rng, (ATLAS, 2 * ATLAS), zoom)
        self._put(where, gray, dark, light)

    def dab(self, where: Bool[ndarray, "n"], colour: Colour) -> None:
        """One flat colour."""
        self._colours[where] = np.array(colour, np.uint8)

    def cloth(self, where: Bool[ndarray, "n"], patterned: float) -> None:
        """Cloth of one colour in folds, or with a pattern in that share of cases."""
        rng, size = self._rng, (ATLAS, 2 * ATLAS)
        colour = cloth_colour(rng)
        if rng.random() < patterned:
            other = cloth_colour(rng) if rng.random() < 0.7 else scaled(colour, 0.7)
            if rng.random() < 0.7:
                gray = self._patterns.motif(rng, size, float(np.exp(rng.uniform(-2.0, 0.0))))
            else:
                gray = self._patterns.noise(rng, size, float(np.exp(rng.uniform(-1.5, 0.7))))
            self._put(where, gray, other, colour)
        else:
            folds = self._patterns.noise(rng, size, rng.uniform(0.15, 0.5))
            self._put(where, folds, scaled(colour, rng.uniform(0.6, 0.95)), colour)

    def _put(
        self,
        where: Bool[ndarray, "n"],
        gray: UInt8[ndarray, "height width"],
        dark: Colour,
        light: Colour,
    ) -> None:
        covered = np.flatnonzero(where)
        if len(covered):
            shades = gray.reshape(-1).take(self._place.take(covered))
            self._colours[covered] = tinted(shades[None], dark, light)[0]

    def texture(self) -> UInt8[ndarray, "atlas 2*atlas 3"]:
        image = np.zeros((ATLAS * 2 * ATLAS, 3), np.uint8)
        image[self._place] = self._colours
        return image.reshape(ATLAS, 2 * ATLAS, 3)


def _paint_face(paint: _Paint, figure: Figure, skin_tone: Colour, hair_tone: Colour) -> None:
    points, marks = figure.texels, figure.landmarks
    x, y = np.abs(points.position[:, 0]), points.position[:, 1]
    face = points.part["head"] & points.front
    eye_x, eye_y = marks["left_eye"][:2]
    nose_y = marks["nose"][1]

    def oval(middle_x: float, middle_y: float, width: float, height: float) -> ndarray:
        return face & (((x - middle_x) / width) ** 2 + ((y - middle_y) / height) ** 2 < 1)

    lips = (skin_tone[0] * 0.8, skin_tone[1] * 0.56, skin_tone[2] * 0.54)
    for where, colour in (
        (oval(eye_x, eye_y, 0.022, 0.016), scaled(skin_tone, 0.82)),
        (oval(eye_x, eye_y, 0.015, 0.007), (226, 222, 218)),
        (oval(eye_x, eye_y, 0.007, 0.007), (44, 34, 28)),
        (oval(eye_x, eye_y + 0.022, 0.02, 0.005), scaled(hair_tone, 0.9)),
        (oval(0, nose_y - 0.045, 0.025, 0.009), lips),
        (oval(0.008, nose_y - 0.014, 0.007, 0.004), scaled(skin_tone, 0.6)),
    ):
        paint.dab(where, colour)


def _logo(points: Points, rng: Generator) -> Bool[ndarray, "n"]:
    """A patch on chest or back."""
    middle = np.array([rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.15)])
    half = rng.uniform(0.03, 0.13, 2)
    offset = np.abs(points.position[:, :2] - middle) / half
    shape = np.hypot(*offset.T) if rng.random() < 0.5 else offset.max(1)
    return (shape < 1) & (points.front == (rng.random() < 0.7))


@dataclass(frozen=True, eq=False)
class Light:
    """One sun or lamp, and the light from all around."""

    direction: Float[ndarray, "3"]
    """Unit vector towards the lamp, in the world (y up)."""
    colours: UInt8[ndarray, "256 1 3"]
    """Table from how lit a point is (0..255) to a factor for its colour, 128 for one."""
    shadow: float
    """How much a cast shadow takes away, 0..1."""

    @staticmethod
    def draw(rng: Generator) -> "Light":
        """Any direction from above, soft to harsh, warm or cool."""
        heading, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(25, 80))
        direction = np.array(
            [np.cos(heading) * np.cos(height), np.sin(height), np.sin(heading) * np.cos(height)]
        )
        harsh = rng.uniform(0.15, 1.0)
        cast = hsv(rng.choice([0.09, 0.6]), rng.uniform(0, 0.2), 1.0)
        sky = hsv(rng.choice([0.6, 0.1]), rng.uniform(0, 0.15), 1.0)
        exposure = rng.uniform(0.7, 1.1) * 128 / 255
        low = scaled(sky, exposure * (0.7 - 0.36 * harsh))
        high = scaled(cast, exposure * (1.05 + 0.25 * harsh))
        share = np.linspace(0, 1, 256)[:, None, None]
        table = np.array(low) * (1 - share) + np.array(high) * share
        return Light(direction, np.clip(table, 0, 255).astype(np.uint8), 0.15 + 0.5 * harsh)

    def falling_on(
        self, normals: Float[ndarray, "v 3"], world_to_camera: Float[ndarray, "3 3"]
    ) -> Float[ndarray, "v"]:
        """How lit points with these normals (camera frame) are, 0..1."""
        towards, up = world_to_camera @ self.direction, world_to_camera[:, 1]
        return 0.68 * np.clip(normals @ towards, 0, 1) + 0.16 * (1 + normals @ up)
