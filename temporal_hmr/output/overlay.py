"""The video again, with the recovered bodies drawn over the people."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.ahead import Ahead
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.body.simplify import simplified
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.on_disk import let_go
from temporal_hmr.output.encoding import plays_everywhere, write_video
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.painting import draw_keypoints, draw_label, paint_body
from temporal_hmr.output.planar import Kind, Picture, beside, size_of
from temporal_hmr.output.side_view import SideView
from temporal_hmr.rasterize import Scene, Surface
from temporal_hmr.threads import one_thread

_PALETTE = (
    (0.42, 0.63, 0.88),
    (0.96, 0.62, 0.38),
    (0.47, 0.77, 0.50),
    (0.90, 0.50, 0.62),
    (0.68, 0.57, 0.88),
    (0.94, 0.81, 0.42),
    (0.40, 0.76, 0.77),
    (0.79, 0.64, 0.53),
)
"""Soft hues, neighbours in number far apart."""
_FRAMES_POSED_TOGETHER = 32
"""Posing bodies one by one costs ten times as much; all at once, memory grows with the clip."""

_TOLERANCES = (0.003, 0.0015)
"""Metres by which simplified bodies may differ from the whole ones. Of the open body's 6656
vertices these have 1731 and 2993."""
_TOLERABLE = 0.5
"""Pixels that this may be in the picture."""

_log = logging.getLogger(__name__)

_Kind_co = TypeVar("_Kind_co", bound=Picture, covariant=True)


class Images(Protocol[_Kind_co]):
    """Numbered pictures; the part of `video.Frame` that drawing needs."""

    @property
    def index(self) -> int: ...
    @property
    def image(self) -> _Kind_co: ...


@dataclass(frozen=True)
class OverlayStyle:
    """How bodies are drawn over the picture."""

    opacity: float = 0.85
    opacity_filled_in: float = 0.4
    """Of bodies in frames where the person was not seen, filled in from the neighbours in time."""
    keypoints: bool = False
    """Whether to draw what the detector saw, as thin lines."""
    person_ids: bool = True
    side_view: bool = False
    """Whether the same bodies are shown from the side, in a panel on the right."""


@dataclass(frozen=True, eq=False)
class _Posed:
    """A body at one moment."""

    motion: BodyMotion
    at: int
    """Position in the motion."""
    vertices: Float[ndarray, "v 3"]
    surface: Surface
    camera: Camera
    """What it is seen by; vertices are in its frame."""


def person_color(person_id: int) -> tuple[float, float, float]:
    """RGB in 0..1; the same number has the same colour in every video."""
    return _PALETTE[person_id % len(_PALETTE)]


def write_overlay(
    frames: Iterable[Images[Kind]],
    fps: float,
    motions: Sequence[BodyMotion],
    body: BodyModel,
    path: Path | str,
    style: OverlayStyle | None = None,
    times: Float[ndarray, "N"] | None = None,
) -> None:
    """Write `frames` (of one clip, in order) as mp4 with everybody in `motions` drawn in.

    `times` (s) say when they are shown, counted from the first; without them the rate is steady.
    They are drawn into the images themselves, which are used up by that. Sizes are rounded up to
    even numbers, as the format wants. All of the file appears, or nothing.
    Raises `InputError` if the place cannot be written to or there is no encoder.
    """
    if not plays_everywhere():
        _tell_what_plays()
    artist = Artist(motions, body, style or OverlayStyle())
    # Frames are got, drawn into and encoded at the same time.
    with (
        one_thread(),
        Ahead(_drawn(artist, frames)) as images,
        atomic_path(Path(path)) as temporary,
    ):
        write_video(images, fps, temporary, times)


@cache  # once is enough, of many videos too
def _tell_what_plays() -> None:
    _log.warning(
        "overlay videos are MPEG-4 part 2, which players show and browsers, chats and slides do "
        "not: `pip install av` makes them H.264"
    )


def _drawn(artist: "Artist", frames: Iterable[Images[Kind]]) -> Iterator[Kind]:
    with Ahead(frames) as got:
        for frame in got:
            yield artist.draw_over(frame.image, frame.index)


class Artist:
    """Draws the bodies of one clip into its frames, asked for in order of time."""

    def __init__(self, motions: Sequence[BodyMotion], body: BodyModel, style: OverlayStyle) -> None:
        self._style = style
        self._people = [(motion, _PosedBodies(motion.smpl, body, motion)) for motion in motions]
        self._body, self._side = body, None
        self._scenes: dict[tuple[int, int], Scene] = {}

    def draw(self, frame: Images[Kind]) -> Kind:
        """A copy of the frame's image with everybody who is present in it."""
        return self.draw_over(cast(Kind, frame.image.copy()), frame.index)

    def draw_over(self, image: Kind, index: int) -> Kind:
        """Everybody who is present in the frame of that number drawn into its image itself."""
        present = [
            _Posed(motion, at, *posed.at(at), motion.camera)
            for motion, posed in self._people
            if (at := motion.at(index)) is not None
        ]
        # One body alone covers nothing that was drawn.
        self._paint(image, image.copy() if len(present) > 1 else None, present)
        for each in present:
            self._annotate(image, each.motion, each.at)
        if not (self._style.side_view and self._people):
            return image
        return beside(image, self._panel(present, size_of(image)[0]))

    def _panel(self, present: Sequence[_Posed], height: int) -> UInt8[ndarray, "h w 3"]:
        """Those who are present as they are seen from the side."""
        if self._side is None:
            side = SideView.of([motion for motion, _ in self._people], self._body, height)
            # In all detail: who is far away in the video may be large from the side.
            bodies = {
                motion.person_id: _PosedBodies(side.smpl(motion) or motion.smpl, self._body)
                for motion, _ in self._people
            }
            self._side = side, bodies
        side, bodies = self._side
        image = side.backdrop.copy()
        turned = []
        for each in present:
            vertices, surface = bodies[each.motion.person_id].at(each.at)
            seen = side.seen(vertices)
            turned.append(_Posed(each.motion, each.at, seen, surface, side.camera))
        self._paint(image, side.backdrop if len(turned) > 1 else None, turned)
        return image

    def _paint(self, image: Picture, background: Picture | None, bodies: Sequence[_Posed]) -> None:
        """Draw bodies into an image; `background` is the untouched one if there are several."""
        size = size_of(image)
        if size not in self._scenes:  # of the picture, and of the view from the side
            self._scenes[size] = Scene(*size)
        scene = self._scenes[size]
        # Far to near, so that the softened outline of the nearer person lies over the farther.
        for each in sorted(bodies, key=lambda each: -float(each.vertices[:, 2].mean())):
            lit = each.surface.draw_light(each.vertices, each.camera, scene)
            if lit is not None:
                observed = bool(each.motion.observed[each.at])
                opacity = self._style.opacity if observed else self._style.opacity_filled_in
                paint_body(image, background, lit, person_color(each.motion.person_id), opacity)
        scene.clear()

    def _annotate(self, image: Picture, motion: BodyMotion, at: int) -> None:
        if self._style.keypoints:
            draw_keypoints(image, motion.keypoints[at], motion.skeleton)
        if self._style.person_ids:
            color = person_color(motion.person_id)
            draw_label(image, motion.boxes[at], str(motion.person_id), color)


class _PosedBodies:
    """Vertices of one person frame by frame, posed some frames at a time."""

    def __init__(self, smpl: SmplParams, body: BodyModel, motion: BodyMotion | None = None) -> None:
        """`motion` says how large the person is in the picture; None takes all the detail."""
        self._smpl, self._body, self._motion = smpl, body, motion
        self._begin, self._block = 0, np.zeros((0, 0, 3), np.float32)
        self._surface = _drawable(body, 0.0)[1]

    def at(self, position: int) -> tuple[Float[ndarray, "v 3"], Surface]:
        """Vertices in the frame of the parameters, metres, and what they span."""
        if not self._begin <= position < self._begin + len(self._block):
            part = slice(position, position + _FRAMES_POSED_TOGETHER)
            tolerance = 0.0 if self._motion is None else tolerance_for(self._motion, part)
            body, self._surface = _drawable(self._body, tolerance)
            smpl = self._smpl[part].map(lambda tensor: tensor.to(body.v_template))
            self._begin = position
            self._block = body.vertices(smpl).detach().cpu().float().numpy()
            let_go(self._smpl.body_pose)
        return self._block[position - self._begin], self._surface


def tolerance_for(motion: BodyMotion, part: slice) -> float:
    """Metres by which a body may be simplified at its nearest there; 0 for not at all."""
    nearest = float(motion.joints[part, :, 2].mean(1).min())
    size = float(motion.camera.focal.max()) / nearest if nearest > 0 else np.inf
    return next((metres for metres in _TOLERANCES if metres * size <= _TOLERABLE), 0.0)


@lru_cache(maxsize=4)
def _drawable(body: BodyModel, tolerance: float) -> tuple[BodyModel, Surface]:
    """Made once of a body: a live camera's frames are drawn by an artist each."""
    drawn = simplified(body, tolerance) if tolerance > 0 else body
    return drawn, Surface(drawn.faces.cpu().numpy(), len(drawn.v_template))
