"""Everybody in every frame, with BlazePose: detected anew and followed from frame to frame."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.backwards import Body
from temporal_hmr.people.blazepose import ImagePacket, Region
from temporal_hmr.people.looking import Look, Memory, Networks
from temporal_hmr.people.reading import person_from, read_settled, sureness, weighed
from temporal_hmr.people.recalled import RecalledPeople
from temporal_hmr.people.settings import AHEAD, DetectionSettings
from temporal_hmr.video import Frame


class MediapipePeople:
    """Finds the people in the frames of one clip, given in their order.

    One by one (`people`), or some begun before the first of them is done with (`look`): that takes
    less time on two cores, and finds the same.

    Who was read in the last frame is looked for at the same place, as BlazePose itself does, and
    at the same time in the frame's mirror image. Where the detector looks for others is told in
    `people.searching`. Use as a context manager, or `close` it.
    """

    def __init__(self, settings: DetectionSettings = DetectionSettings()) -> None:
        """Raises `InputError` if mediapipe is missing."""
        self._settings = settings
        self._networks = Networks(settings)
        self._going: deque[Look] = deque()
        self.restore(None)

    def __enter__(self) -> "MediapipePeople":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._networks.close()

    def state(self) -> dict[str, Any]:
        """What is taken from frame to frame, in words and numbers that JSON knows."""
        self._settle(0)
        return self._memory.told()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state; from None as at the beginning of a clip.

        Who is in frames that were begun can no longer be asked.
        """
        self._going.clear()
        self._memory = Memory.of(self._settings, state or {})

    def people(self, frame: Frame) -> list[Person2D]:
        """The people in the next frame, skeleton BLAZEPOSE23, surest first.

        The frame is taken for the start of another clip if its time does not follow shortly upon
        the last one's.
        """
        look = self.look(frame)
        self._settle(0)
        return look.people()

    def look(self, frame: Frame) -> Look:
        """Begin with the next frame, as `people` does; who is in it can be asked for later.

        Best when the `AHEAD` frames after it have been begun: how far people are believed, and
        whether others are there as well, is found out beside those. Where others are, those are
        begun again. The frame's image must stay as it is until then.
        """
        last = self._going[-1].memory.time if self._going else self._memory.time
        if last is None or not 0 < frame.time - last <= self._settings.follow_for:
            self._settle(0)
            self.restore(None)
        look = Look(self._networks, frame, self._settle_look)
        look.begin(self._going[-1].memory if self._going else self._memory)
        self._going.append(look)
        self._settle(AHEAD)
        return look

    def _settle_look(self, look: Look) -> None:
        """Find out who is in a frame; those before it come first."""
        if look in self._going:
            self._settle(len(self._going) - 1 - self._going.index(look))

    def _settle(self, left: int) -> None:
        """Find out who is in the first of the frames that have been begun, all but so many."""
        while len(self._going) > left:
            others = self._going[0].settle()
            first = self._going.popleft()
            self._memory = first.memory
            if others:
                for later, before in zip(self._going, [first, *self._going], strict=False):
                    later.begin(before.memory)

    def read_body(self, image: UInt8[ndarray, "H W 3"], region: Region) -> Body | None:
        """The body at a region of any image, None if there is none; see `people.backwards`."""
        landmarks = read_settled(self._networks.blazepose, ImagePacket.of(image), region)
        if landmarks is None:
            return None
        person = person_from(landmarks, image.shape)
        mirror = self._networks.mirror
        if mirror is None:
            return Body(person, landmarks.region, sureness(person))
        other = mirror.show(image).read(landmarks.region).result()
        known = person if other is None else weighed(person, other)
        return Body(known, landmarks.region, sureness(person))


def find_people(
    frames: Iterable[Frame], settings: DetectionSettings = DetectionSettings()
) -> Iterator[tuple[Frame, list[Person2D]]]:
    """Every frame of a clip with the people in it, as `track` finds them; see `MediapipePeople`.

    A frame comes when the next `AHEAD` ones have been taken; their images must stay as they are.
    """
    with MediapipePeople(settings) as finder:
        for frame, _, people in RecalledPeople(finder).seen((frame, False) for frame in frames):
            yield frame, people
