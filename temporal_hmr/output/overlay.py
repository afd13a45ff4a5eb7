"""The video again, with the recovered bodies drawn over the people."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.ahead import Ahead, one_thread_each
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.on_disk import let_go
from temporal_hmr.output.encoding import plays_everywhere, write_video
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.side_view import SideView
from temporal_hmr.rasterize import Drawing, Surface
from temporal_hmr.skeleton import Skeleton

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

_log = logging.getLogger(__name__)


class Images(Protocol):
    """Numbered RGB images; the part of `video.Frame` that drawing needs."""

    @property
    def index(self) -> int: ...
    @property
    def image(self) -> UInt8[ndarray, "h w 3"]: ...


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


_Posed = tuple[BodyMotion, int, Float[ndarray, "v 3"]]
"""Whose body, at which position of their motion, and its vertices."""


def person_color(person_id: int) -> tuple[float, float, float]:
    """RGB in 0..1; the same number has the same colour in every video."""
    return _PALETTE[person_id % len(_PALETTE)]


def write_overlay(
    frames: Iterable[Images],
    fps: float,
    motions: Sequence[BodyMotion],
    body: BodyModel,
    path: Path | str,
    style: OverlayStyle | None = None,
) -> None:
    """Write `frames` (of one clip, in order) as mp4 with everybody in `motions` drawn in.

    They are drawn into the images themselves, which are used up by that. Sizes are rounded up to
    even numbers, as the format wants. All of the file appears, or nothing.
    Raises `InputError` if the place cannot be written to or there is no encoder.
    """
    if not plays_everywhere():
        _tell_what_plays()
    artist = Artist(motions, body, style or OverlayStyle())
    # Frames are got, drawn into and encoded at the same time.
    with (
        one_thread_each(),
        Ahead(_drawn(artist, frames)) as images,
        atomic_path(Path(path)) as temporary,
    ):
        write_video(images, fps, temporary)


@cache  # once is enough, of many videos too
def _tell_what_plays() -> None:
    _log.warning(
        "overlay videos are MPEG-4 part 2, which players show and browsers, chats and slides do "
        "not: `pip install av` makes them H.264"
    )


def _drawn(artist: "Artist", frames: Iterable[Images]) -> Iterator[UInt8[ndarray, "h w 3"]]:
    with Ahead(frames) as got:
        for frame in got:
            yield artist.draw_over(frame.image, frame.index)


class Artist:
    """Draws the bodies of one clip into its frames, asked for in order of time."""

    def __init__(self, motions: Sequence[BodyMotion], body: BodyModel, style: OverlayStyle) -> None:
        self._style = style
        self._surface = Surface(np.asarray(body.faces), len(body.v_template))
        self._people = [(motion, _PosedBodies(motion.smpl, body)) for motion in motions]
        self._body, self._side = body, None
        self._depth = np.zeros((0, 0), np.float32)

    def draw(self, frame: Images) -> UInt8[ndarray, "h w 3"]:
        """A copy of the frame's image with everybody who is present in it."""
        return self.draw_over(frame.image.copy(), frame.index)

    def draw_over(self, image: UInt8[ndarray, "h w 3"], index: int) -> UInt8[ndarray, "h w 3"]:
        """Everybody who is present in the frame of that number drawn into its image itself."""
        present = [
            (motion, at, posed.vertices(at))
            for motion, posed in self._people
            if (at := motion.at(index)) is not None
        ]
        # One body alone covers nothing that was drawn.
        untouched = image.copy() if len(present) > 1 else image
        self._paint(image, untouched, [(*each, each[0].camera) for each in present])
        for motion, at, _ in present:
            self._annotate(image, motion, at)
        if not (self._style.side_view and self._people):
            return image
        return np.concatenate([image, self._panel(present, len(image))], axis=1)

    def _panel(self, present: Sequence[_Posed], height: int) -> UInt8[ndarray, "h w 3"]:
        """Those who are present as they are seen from the side."""
        if self._side is None:
            side = SideView.of([motion for motion, _ in self._people], self._body, height)
            bodies = [
                (motion.person_id, _PosedBodies(smpl, self._body))
                for motion, _ in self._people
                if (smpl := side.smpl(motion)) is not None
            ]
            self._side = side, dict(bodies)
        side, bodies = self._side
        image = side.backdrop.copy()
        turned = []
        for motion, at, vertices in present:
            own = bodies.get(motion.person_id)
            seen = side.seen(vertices if own is None else own.vertices(at))
            turned.append((motion, at, seen, side.camera))
        self._paint(image, side.backdrop, turned)
        return image

    def _paint(
        self,
        image: UInt8[ndarray, "h w 3"],
        background: UInt8[ndarray, "h w 3"],
        bodies: Sequence[tuple[BodyMotion, int, Float[ndarray, "v 3"], Camera]],
    ) -> None:
        """Draw bodies (whose, at which position, where, before which camera) into an image."""
        # Far to near, so that the softened outline of the nearer person lies over the farther.
        bodies = sorted(bodies, key=lambda entry: -float(entry[2][:, 2].mean()))
        depth, drawn = self._empty_depth(*image.shape[:2]), []
        for motion, at, vertices, camera in bodies:
            colors = self._surface.shade(vertices, np.array(person_color(motion.person_id)))
            drawing = self._surface.draw(vertices, colors, camera)
            if drawing is not None:
                observed = bool(motion.observed[at])
                opacity = self._style.opacity if observed else self._style.opacity_filled_in
                _blend(image, background, depth, drawing, opacity)
                drawn.append(drawing.window)
        for window in drawn:
            depth[window.slices] = np.inf

    def _empty_depth(self, height: int, width: int) -> Float[ndarray, "h w"]:
        """Infinitely far; kept, for filling it anew costs more than drawing somebody small."""
        if self._depth.shape != (height, width):
            self._depth = np.full((height, width), np.inf, np.float32)
        return self._depth

    def _annotate(self, image: UInt8[ndarray, "h w 3"], motion: BodyMotion, at: int) -> None:
        if self._style.keypoints:
            _draw_keypoints(image, motion.keypoints[at], motion.skeleton)
        if self._style.person_ids:
            _draw_label(image, motion.boxes[at], motion.person_id)


class _PosedBodies:
    """Vertices of one person frame by frame, posed some frames at a time."""

    def __init__(self, smpl: SmplParams, body: BodyModel) -> None:
        self._smpl, self._body = smpl, body
        self._begin, self._block = 0, np.zeros((0, 0, 3), np.float32)

    def vertices(self, position: int) -> Float[ndarray, "v 3"]:
        """In the frame of the parameters, metres."""
        if not self._begin <= position < self._begin + len(self._block):
            smpl = self._smpl[position : position + _FRAMES_POSED_TOGETHER]
            smpl = smpl.map(lambda tensor: tensor.to(self._body.v_template))
            self._begin = position
            self._block = self._body.vertices(smpl).detach().cpu().float().numpy()
            let_go(self._smpl.body_pose)
        return self._block[position - self._begin]


def _blend(
    image: UInt8[ndarray, "h w 3"],
    background: UInt8[ndarray, "h w 3"],
    depth: Float[ndarray, "h w"],
    drawing: Drawing,
    opacity: float,
) -> None:
    """Put a drawing over image and depth, where it is nearer than what is there.

    The picture shines through from `background`, the untouched frame: where two people overlap the
    farther must not show through the nearer.
    """
    rows_columns = drawing.window.slices
    box, behind, farthest = (each[rows_columns] for each in (image, background, depth))
    nearer = drawing.depth < farthest
    np.copyto(farthest, drawing.depth, where=nearer)
    # A 3 x 3 box over coverage and coloured coverage alike softens the stairs of the outline.
    coverage = cv2.merge([cv2.blur(nearer.astype(np.float32), (3, 3))] * 3)
    color = cv2.blur(cv2.copyTo(drawing.color, nearer.view(np.uint8)), (3, 3))
    # To image come coverage * (opacity * colour + (1 - opacity) * background - image), where the
    # blurred colour has its coverage in it already. OpenCV takes a third of numpy's time.
    change = cv2.addWeighted(behind, 1 - opacity, box, -1, 0, dtype=cv2.CV_32F)
    change = cv2.scaleAdd(color, 255 * opacity, cv2.multiply(change, coverage))
    box[:] = cv2.add(box, change, dtype=cv2.CV_8U)


def _draw_keypoints(
    image: UInt8[ndarray, "h w 3"], keypoints: Float[ndarray, "joints 3"], skeleton: Skeleton
) -> None:
    known = keypoints[:, 2] > 0
    points = [tuple(map(int, np.round(point))) for point in keypoints[:, :2]]
    for bone in skeleton.bones:
        start, end = skeleton.indices(*bone)
        if known[start] and known[end]:
            cv2.line(image, points[start], points[end], (255, 255, 255), 1, cv2.LINE_AA)


def _draw_label(image: UInt8[ndarray, "h w 3"], box: Float[ndarray, "4"], person_id: int) -> None:
    """The person's number above their box, in their colour with a dark rim."""
    scale, font = max(image.shape[0] / 900, 0.5), cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(round(2 * scale), 1)
    (width, height), _ = cv2.getTextSize(str(person_id), font, scale, thickness)
    place = (int((box[0] + box[2] - width) / 2), max(int(box[1] - height / 2), height + 2))
    color = tuple(255 * channel for channel in person_color(person_id))
    for stroke, ink in ((thickness + 3, (40, 40, 40)), (thickness, color)):
        cv2.putText(image, str(person_id), place, font, scale, ink, stroke, cv2.LINE_AA)
