"""Draw triangle meshes without a graphics card or a display, with OpenCV 5's rasteriser.

`cv2.triangleRasterize` looks along OpenGL's axes (y up, z towards the viewer) and knows one focal
length and a centred principal point. Any pinhole camera fits it exactly once the points are
sheared: with x' = x fx/fy + z (cx - W/2)/fy and y' = y + z (cy - H/2)/fy, the centred camera of
focal length fy sees x', y', z where the real one sees x, y, z. Pixel (column, row) covers
[column, column + 1) x [row, row + 1), its centre lies at + 0.5.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy import sparse

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError

NEAR = 0.05
"""Metres. OpenCV's rasteriser paints garbage for triangles that cross the camera plane, so whoever
has a corner nearer than this is left out."""

_KEY_LIGHT = (-0.45, -0.70, -0.55)
_FILL_LIGHT = (0.80, 0.05, -0.45)
"""Directions towards the lights in the camera frame (x right, y down, z forward): from above left
behind the camera, and a weak one from the right so that no side is flat."""
_AMBIENT, _KEY, _FILL = 0.36, 0.68, 0.20
LIGHT_STEPS = 240
"""By how much a byte of light exceeds that of none at full light; slightly more comes from above
the key light's direction, never twice as much as a byte holds."""

_FAR = 1e5
"""Metres; what is beyond is not drawn with `draw_light`."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, `right` and `bottom` excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def with_margin(self, width: int, height: int) -> "Window":
        """With a pixel more on all sides, then out to even numbers, as far as the image goes."""
        return Window(
            max(self.left - 1, 0) // 2 * 2,
            max(self.top - 1, 0) // 2 * 2,
            min((self.right + 2) // 2 * 2, width),
            min((self.bottom + 2) // 2 * 2, height),
        )

    def halved(self) -> "Window":
        """The same part of an image of half the width and height."""
        return Window(self.left // 2, self.top // 2, self.right // 2, self.bottom // 2)

    def touches_border(self, camera: Camera) -> bool:
        """Whether there may be more beyond the camera's image."""
        whole = (0, 0, camera.width, camera.height)
        own = (self.left, self.top, self.right, self.bottom)
        return any(edge == limit for edge, limit in zip(own, whole, strict=True))


@dataclass(frozen=True, eq=False)
class Drawing:
    """What one mesh looks like, within the rectangle of the image that it covers."""

    window: Window
    color: Float[ndarray, "h w 3"]
    """0..1; black where nothing was drawn."""
    depth: Float[ndarray, "h w"]
    """Metres along the optical axis; infinite where nothing was drawn."""


@dataclass(frozen=True, eq=False)
class Lit:
    """How brightly one mesh is lit, within a rectangle that holds all that can be seen of it."""

    window: Window
    light: UInt8[ndarray, "h w"]
    """`LIGHT_STEPS` at full light; 0 where nothing was drawn, never where something was."""


class Surface:
    """The triangles of one mesh topology, made ready to be shaded and drawn many times."""

    def __init__(self, faces: Int[ndarray, "f 3"], num_vertices: int) -> None:
        """`faces` wind counter-clockwise seen from outside.

        Raises `InputError` if the installed OpenCV is too old to draw.
        """
        require_rasterizer()
        self.faces = np.ascontiguousarray(faces, np.int32)
        self._corners = np.ascontiguousarray(self.faces.T)
        corners = self.faces.reshape(-1)
        owners = np.repeat(np.arange(len(faces)), 3)
        self._faces_of_vertex = sparse.csr_matrix(
            (np.ones(len(corners), np.float32), (corners, owners)), (num_vertices, len(faces))
        )

    def normals(self, vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "v 3"]:
        """Unit normals at the vertices, each the mean of its triangles' weighted by their areas."""
        axes = np.ascontiguousarray(vertices.T)
        a, b, c = (axes.take(corner, axis=1) for corner in self._corners)
        u, v = b - a, c - a
        # Axis by axis: `np.cross` and numpy's sums of three take several times as long.
        crossed = np.empty((len(self.faces), 3), axes.dtype)
        for axis in range(3):
            second, third = (axis + 1) % 3, (axis + 2) % 3
            np.subtract(u[second] * v[third], u[third] * v[second], out=crossed[:, axis])
        summed = self._faces_of_vertex @ crossed
        length = np.sqrt(np.einsum("vc,vc->v", summed, summed))
        return summed / np.maximum(length, 1e-12)[:, None]

    def shade(
        self, vertices: Float[ndarray, "v 3"], color: Float[ndarray, "*v 3"]
    ) -> Float[ndarray, "v 3"]:
        """Matt surface of this colour (one for all vertices, or one each) under key and fill light.

        Vertices are in the camera frame, to which the lights are fixed.
        """
        light = self.light(vertices)
        return np.clip(light[:, None] * np.asarray(color, np.float32), 0, 1)

    def light(self, vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "v"]:
        """What a white matt surface sends back under key and fill light; 1 is white."""
        normals = self.normals(vertices)
        light = np.full(len(vertices), _AMBIENT, np.float32)
        for direction, strength in ((_KEY_LIGHT, _KEY), (_FILL_LIGHT, _FILL)):
            towards = np.asarray(direction, np.float32) / np.linalg.norm(direction)
            light += strength * np.maximum(normals @ towards, 0)
        return light

    def draw(
        self, vertices: Float[ndarray, "v 3"], colors: Float[ndarray, "v 3"], camera: Camera
    ) -> Drawing | None:
        """Draw with colours interpolated between vertices; None if nothing is within the image.

        Vertices are in the camera frame, metres. Triangles reaching nearer than `NEAR` are omitted.
        """
        visible = self._visible(vertices, camera)
        if visible is None:
            return None
        window, faces = visible
        return _rasterize(vertices, faces, colors, camera, window)

    def draw_light(
        self, vertices: Float[ndarray, "v 3"], camera: Camera, scene: "Scene"
    ) -> Lit | None:
        """Draw white under key and fill light where nothing nearer is in the scene, and put it in.

        None if nothing is within the image. Triangles reaching nearer than `NEAR` are omitted.
        """
        visible = self._visible(vertices, camera)
        if visible is None:
            return None
        window, faces = visible
        window = window.with_margin(camera.width, camera.height)
        drawn = scene.blank(window)
        light = np.zeros_like(vertices, np.float32)
        light[:, 0] = self.light(vertices)
        cv2.triangleRasterize(
            *(_seen_through(vertices, camera, window), faces, light),
            *(drawn, scene.depth[window.slices], np.eye(4, dtype=np.float32)),
            *(_opening(camera, window), NEAR / 2, _FAR, _inverse_depth()),
        )
        scene.touched.append(window)
        bright = cv2.extractChannel(drawn, 0)
        return Lit(window, cv2.convertScaleAbs(bright, alpha=LIGHT_STEPS))

    def _visible(
        self, vertices: Float[ndarray, "v 3"], camera: Camera
    ) -> tuple[Window, Int[ndarray, "f 3"]] | None:
        """Where the triangles in front of the camera are in its image, and which those are."""
        faces, visible = self.faces, vertices
        if float(vertices[:, 2].min()) <= NEAR:
            in_front = vertices[:, 2] > NEAR
            faces, visible = faces[_all_corners(in_front, faces)], vertices[in_front]
        if len(faces) == 0:
            return None
        window = _visible_window(visible, camera)
        if window is None:
            return None
        if window.touches_border(camera):
            faces = faces[_partly_inside(vertices, faces, camera)]
        return window, faces


class Scene:
    """What has been drawn with `Surface.draw_light` into an image, and room to do so.

    Kept from image to image: memory fresh from the system costs as much as drawing somebody small.
    """

    def __init__(self, height: int, width: int) -> None:
        self.depth = np.ones((height, width), np.float32)
        """As OpenCV compares it; 1 where nothing is."""
        self.touched: list[Window] = []
        """Where something was drawn."""
        self._room = np.empty(0, np.float32)

    def clear(self) -> None:
        """Nothing is anywhere."""
        for window in self.touched:
            self.depth[window.slices] = 1
        self.touched.clear()

    def blank(self, window: Window) -> Float[ndarray, "h w 3"]:
        """A black image of a window, in the place of the last one."""
        height, width = window.bottom - window.top, window.right - window.left
        if self._room.size < height * width * 3:
            self._room = np.empty(height * width * 3, np.float32)
        # OpenCV draws nothing but three channels.
        blank = self._room[: height * width * 3].reshape(height, width, 3)
        blank.fill(0)
        return blank


def require_rasterizer() -> None:
    """Raise `InputError` unless the installed OpenCV can draw triangles."""
    if not hasattr(cv2, "triangleRasterize"):
        raise InputError(
            f"drawing needs OpenCV 5, this is {cv2.__version__}; install "
            "opencv-contrib-python>=5 or pass --no-render"
        )


def _visible_window(points: Float[ndarray, "v 3"], camera: Camera) -> Window | None:
    edges = []
    # One axis at a time: numpy is slow to reduce rows of two.
    for axis, size in enumerate((camera.width, camera.height)):
        slopes = points[:, axis] / points[:, 2]
        focal, center = float(camera.focal[axis]), float(camera.center[axis])
        low, high = (float(slopes.min()) * focal + center, float(slopes.max()) * focal + center)
        edges.append((min(max(math.floor(low), 0), size), min(max(math.ceil(high), 0), size)))
    (left, right), (top, bottom) = edges
    return Window(left, top, right, bottom) if left < right and top < bottom else None


def _partly_inside(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], camera: Camera
) -> Bool[ndarray, "f"]:
    """Triangles in front of the camera that do not lie wholly beyond one edge of its image.

    OpenCV takes its time over those that do, the more the larger they are.
    """
    beyond = np.zeros(len(faces), bool)
    for axis, size in enumerate((camera.width, camera.height)):
        focal, center = float(camera.focal[axis]), float(camera.center[axis])
        low = focal * vertices[:, axis] + center * vertices[:, 2]
        for outside in (low < 0, low > size * vertices[:, 2]):
            beyond |= _all_corners(outside, faces)
    return ~beyond


def _all_corners(marked: Bool[ndarray, "v"], faces: Int[ndarray, "f 3"]) -> Bool[ndarray, "f"]:
    """Triangles all of whose vertices are marked."""
    first, second, third = faces.T
    return marked[first] & marked[second] & marked[third]


def _rasterize(
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"],
    colors: Float[ndarray, "v 3"],
    camera: Camera,
    window: Window,
) -> Drawing:
    points = _seen_through(vertices, camera, window)
    width, height = window.right - window.left, window.bottom - window.top
    far = float(vertices[:, 2].max()) * 1.1 + 1.0
    color = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), far, np.float32)
    cv2.triangleRasterize(
        points,
        faces,
        np.ascontiguousarray(colors, np.float32),
        color,
        depth,
        np.eye(4, dtype=np.float32),
        _opening(camera, window),
        NEAR / 2,
        far,
    )
    # OpenCV hands the untouched depths back rounded, so they compare as "well beyond the mesh".
    depth[depth > far - 0.5] = np.inf
    return Drawing(window, color, depth)


def _seen_through(
    vertices: Float[ndarray, "v 3"], camera: Camera, window: Window
) -> Float[ndarray, "v 3"]:
    """Along OpenGL's axes, sheared so that the window's middle is the principal point."""
    focal_x, focal_y = camera.focal.tolist()
    center_x, center_y = camera.center.tolist()
    column, row = (window.left + window.right) / 2, (window.top + window.bottom) / 2
    x, y, z = vertices.T
    points = np.empty((len(vertices), 3), np.float32)
    points[:, 0] = x * (focal_x / focal_y) + z * ((center_x - column) / focal_y)
    points[:, 1] = -y - z * ((center_y - row) / focal_y)
    points[:, 2] = -z
    return points


def _opening(camera: Camera, window: Window) -> float:
    """The angle that the window's height takes, as OpenCV wants it."""
    return 2 * math.atan((window.bottom - window.top) / 2 / float(camera.focal[1]))


def _inverse_depth() -> cv2.TriangleRasterizeSettings:
    """OpenCV's own settings, but for the depth, which is left as it is compared."""
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_CW)
    settings.setGlCompatibleMode(cv2.RASTERIZE_COMPAT_INVDEPTH)
    return settings
