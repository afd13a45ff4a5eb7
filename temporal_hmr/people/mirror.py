"""Bodies read in frames' mirror images, by BlazePose in a thread of its own."""

from concurrent.futures import Future, ThreadPoolExecutor

from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Region
from temporal_hmr.people.reading import person_from


class MirrorReader:
    """Reads while others go on. `close` it."""

    def __init__(self, blazepose: BlazePose) -> None:
        """The networks are closed with the reader, and nobody else may use them meanwhile."""
        self._blazepose = blazepose
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mirroring")

    def close(self) -> None:
        """Let go of the networks once the body that they are at is read; twice does nothing."""
        self._thread.shutdown(cancel_futures=True)
        self._blazepose.close()

    def show(self, image: UInt8[ndarray, "H W 3"]) -> "InMirror":
        """The next frame."""
        return InMirror(self._thread, self._blazepose, image)


class InMirror:
    """One frame's mirror image, made when the first body in it is asked for."""

    def __init__(
        self, thread: ThreadPoolExecutor, blazepose: BlazePose, image: UInt8[ndarray, "H W 3"]
    ) -> None:
        self._thread, self._blazepose, self._image = thread, blazepose, image
        self._packet: ImagePacket | None = None

    def read(self, region: Region) -> Future[Person2D | None]:
        """The body at a region of the image itself, as it is seen the other way round."""
        return self._thread.submit(self._read, region)

    def _read(self, region: Region) -> Person2D | None:
        if self._packet is None:
            self._packet = ImagePacket.of(self._image, mirrored=True)
        landmarks = self._blazepose.read(self._packet, region)
        return None if landmarks is None else person_from(landmarks, self._image.shape)
