"""BlazePose's two networks, as mediapipe ships them: find bodies, and read the landmarks of one.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. mediapipe's own pose
solution follows one person; here its graphs are run apart, so that everybody can be read.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced
from temporal_hmr.people.deferred import deferred
from temporal_hmr.people.trimmed import trimmed_networks
from temporal_hmr.skeleton import BLAZEPOSE33

_DETECTION_GRAPH = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}
"""

_LANDMARK_GRAPH = """
input_stream: "image"
input_stream: "region"
output_stream: "landmarks"
output_stream: "alignment"
node {
  calculator: "PoseLandmarkByRoiCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:region"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:alignment"
}
"""

_PRESENCE = "poselandmarkbyroicpu__tensorstoposelandmarksandsegmentation__pose_presence_score"
"""The stream of the body's presence score, which lies inside PoseLandmarkByRoiCpu."""


_MARK = np.dtype(
    [
        ("is_mark", "u1"),
        ("length", "u1"),
        ("is_x", "u1"),
        ("x", "<f4"),
        ("is_y", "u1"),
        ("y", "<f4"),
        ("is_z", "u1"),
        ("z", "<f4"),
        ("is_visibility", "u1"),
        ("visibility", "<f4"),
        ("is_presence", "u1"),
        ("presence", "<f4"),
    ]
)
"""One of a NormalizedLandmarkList as protobuf writes it down, its five numbers all stated."""
_TAGS = {
    "is_mark": 0x0A,
    "length": 25,
    "is_x": 0x0D,
    "is_y": 0x15,
    "is_z": 0x1D,
    "is_visibility": 0x25,
    "is_presence": 0x2D,
}
"""What stands before a landmark, how many bytes it takes, and what stands before each number."""


@dataclass(frozen=True)
class Region:
    """The turned square of the image in which a body lies."""

    x: float
    """Centre, px."""
    y: float
    size: float
    """Side, px."""
    rotation: float
    """Radians, clockwise in the image; 0 for an upright body."""

    @staticmethod
    def around(hips: Float[ndarray, "2"], rim: Float[ndarray, "2"]) -> "Region":
        """The square about the middle of the hips whose circle (`rim` on it) holds the body.

        `rim` lies above the head, along the body. Both in px. 1.25 is BlazePose's margin.
        """
        x, y = (float(value) for value in hips)
        along = rim - hips
        radius = float(np.hypot(*along))
        upright = math.atan2(along[0], -along[1])
        return Region(x, y, 2 * 1.25 * radius, upright)

    def mirrored(self, width: int) -> "Region":
        """Where it lies in the mirror image of an image of that width, in px."""
        return Region(width - self.x, self.y, self.size, -self.rotation)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """BlazePose's reading of one body."""

    points: Float[ndarray, "33 4"]
    """x, y in px, visibility, presence (both 0..1), in the order of `BLAZEPOSE33`."""
    score: float
    """How sure the network is that there is a body in the region, 0..1."""
    region: Region
    """Where to look for the same body in the next frame."""

    def mirrored(self, width: int) -> "Landmarks":
        """Of the same body in the mirror image, where its left side is a right one."""
        points = self.points[BLAZEPOSE33.flip_permutation()]
        points[:, 0] = width - points[:, 0]
        return Landmarks(points, self.score, self.region.mirrored(width))


class BlazePose:
    """The two networks, ready to run. Use as a context manager, or `close` it.

    Raises `InputError` if mediapipe is missing or of a version that lacks its graphs, and if the
    folder for temporary files cannot be written to.
    """

    def __init__(self, detects: bool = True) -> None:
        """Without `detects` it only reads, and opens in a third of the time."""
        version, networks = _load_mediapipe()
        try:
            with silenced(), _taken_from_trimmed(networks):
                self._detection = _Graph(_DETECTION_GRAPH, "detections") if detects else None
                self._landmark = _Graph(_LANDMARK_GRAPH, "landmarks", "alignment", _PRESENCE)
                for graph in (self._detection, self._landmark):
                    if graph is not None:
                        graph.wait()
        except (ValueError, RuntimeError, ImportError):
            raise InputError(
                f"mediapipe {version} lacks the pose graphs of 0.10.9; "
                "run `pip install mediapipe==0.10.9`"
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot make mediapipe {version}'s networks ready: {error}; make room in the "
                "folder for temporary files, or run `pip install mediapipe==0.10.9`"
            ) from None

    def __enter__(self) -> "BlazePose":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._landmark.close()
        if self._detection is not None:
            self._detection.close()

    def detect(self, image: "ImagePacket") -> list[Region]:
        """The regions in which bodies lie, surest first.

        The network sees the image at 224 x 224: bodies much smaller than it are missed.
        """
        from mediapipe.python import packet_getter

        assert self._detection is not None, "it was not opened only to read"
        found = self._detection.run(image=image.packet).get("detections")
        if found is None:
            return []
        regions = []
        detections: Any = packet_getter.get_proto_list(found)
        for detection in detections:
            points = detection.location_data.relative_keypoints
            hips, rim = (
                np.array([point.x * image.width, point.y * image.height]) for point in points[:2]
            )
            region = Region.around(hips, rim)
            regions.append(region.mirrored(image.width) if image.mirrored else region)
        return regions

    def read(self, image: "ImagePacket", region: Region) -> Landmarks | None:
        """The landmarks of the body in a region; None if the network sees no body there.

        Regions and landmarks are those of the image itself, be it shown mirrored or not.
        """
        if not image.mirrored:
            return self._read(image, region)
        found = self._read(image, region.mirrored(image.width))
        return None if found is None else found.mirrored(image.width)

    def _read(self, image: "ImagePacket", region: Region) -> Landmarks | None:
        from mediapipe.framework.formats.rect_pb2 import NormalizedRect
        from mediapipe.python import packet_creator, packet_getter

        rectangle: Any = NormalizedRect()
        rectangle.x_center, rectangle.width = region.x / image.width, region.size / image.width
        rectangle.y_center, rectangle.height = region.y / image.height, region.size / image.height
        rectangle.rotation = region.rotation
        streams = self._landmark.run(
            image=image.packet, region=packet_creator.create_proto(rectangle)
        )
        if "landmarks" not in streams:
            return None
        points, alignment = (
            _pixels(streams[stream], image) for stream in ("landmarks", "alignment")
        )
        return Landmarks(
            points,
            score=float(packet_getter.get_float(streams[_PRESENCE])),
            region=Region.around(alignment[0, :2], alignment[1, :2]),
        )


@dataclass(frozen=True, eq=False)
class ImagePacket:
    """An RGB image handed to mediapipe once, for all the bodies in it."""

    packet: Any
    width: int
    height: int
    mirrored: bool = False
    """Whether the networks are shown its mirror image."""

    @staticmethod
    def of(image: UInt8[ndarray, "H W 3"], mirrored: bool = False) -> "ImagePacket":
        from mediapipe.python import packet_creator
        from mediapipe.python._framework_bindings import image_frame

        packet = packet_creator.create_image_frame(
            data=cv2.flip(image, 1) if mirrored else np.ascontiguousarray(image),
            image_format=image_frame.ImageFormat.SRGB,
        )
        return ImagePacket(packet, image.shape[1], image.shape[0], mirrored)


def _pixels(landmarks: Any, image: ImagePacket) -> Float[ndarray, "n 4"]:
    """x, y in px, visibility, presence of a packet of mediapipe's landmarks."""
    from mediapipe.python._framework_bindings import _packet_getter

    written = _packet_getter._get_serialized_proto(landmarks)
    return _marks(written) * (image.width, image.height, 1, 1)


def _marks(written: bytes) -> Float[ndarray, "n 4"]:
    """x, y in shares of the image, visibility, presence of a NormalizedLandmarkList.

    Without protobuf's objects, as long as it can be done: where protobuf itself is Python, they
    take a thirtieth of all the time that is spent on a frame.
    """
    if len(written) % _MARK.itemsize == 0:
        marks = np.frombuffer(written, _MARK)
        if all((marks[name] == tag).all() for name, tag in _TAGS.items()):
            wanted = [marks[name] for name in ("x", "y", "visibility", "presence")]
            return np.stack(wanted, -1).astype(float)
    from mediapipe.framework.formats import landmark_pb2

    messages: Any = landmark_pb2
    listed = messages.NormalizedLandmarkList.FromString(written).landmark
    wanted = [(mark.x, mark.y, mark.visibility, mark.presence) for mark in listed]
    return np.array(wanted, float).reshape(-1, 4)


def _load_mediapipe() -> tuple[str, Path]:
    """Import mediapipe, and tell its version and the folder that its networks are in."""
    try:
        # mediapipe draws with it, which nobody here asks for; importing it takes half a second.
        with silenced(), deferred("matplotlib", "pyplot"):
            import mediapipe
    except ImportError:
        raise InputError(
            "finding people needs mediapipe, and mediapipe 0.10.9 has wheels for Python 3.8-3.11 "
            "only; use Python 3.10 or 3.11 and run `pip install mediapipe==0.10.9`"
        ) from None
    return mediapipe.__version__, Path(mediapipe.__file__).parent.parent


@contextmanager
def _taken_from_trimmed(networks: Path) -> Iterator[None]:
    """Graphs that are opened meanwhile take the trimmed networks.

    They read them in threads of their own: wait for all of them before the end.
    """
    from mediapipe.python._framework_bindings import resource_util

    with trimmed_networks(networks) as trimmed:
        resource_util.set_resource_dir(str(trimmed))
        try:
            yield
        finally:
            resource_util.set_resource_dir(str(networks))


class _Graph:
    """A running mediapipe graph, fed one set of packets at a time."""

    def __init__(self, text: str, *outputs: str) -> None:
        from mediapipe.python._framework_bindings import calculator_graph

        self._received: dict[str, object] = {}
        self._step = 0
        self._graph = calculator_graph.CalculatorGraph(graph_config=text)
        for output in outputs:
            self._graph.observe_output_stream(output, self._received.__setitem__)
        self._graph.start_run()
        # mediapipe aborts the process at its end if a graph is still running then.
        self.close = weakref.finalize(self, _finish, self._graph)

    def wait(self) -> None:
        """Until its networks are read."""
        self._graph.wait_until_idle()

    def run(self, **packets) -> dict:
        """The packets that come out when these go in; streams that stay silent are absent."""
        self._step += 1
        self._received.clear()
        for stream, packet in packets.items():
            self._graph.add_packet_to_input_stream(stream, packet.at(self._step))
        self._graph.wait_until_idle()
        return dict(self._received)


def _finish(graph) -> None:
    graph.close()
