"""When the detector looks for others, without its networks."""

import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from temporal_hmr.eyes import choose_eyes
from temporal_hmr.people import boxed, looking, mediapipe, mirror, searching
from temporal_hmr.people.blazepose import Landmarks, Region
from temporal_hmr.skeleton import BLAZEPOSE23, BLAZEPOSE33
from temporal_hmr.video import Frame

SIZE = (64, 128)


class Packet:
    """In place of mediapipe's: the image itself."""

    def __init__(self, image: np.ndarray, mirrored: bool) -> None:
        self.shape, self.mirrored = image.shape[:2], mirrored

    @staticmethod
    def of(image: np.ndarray, mirrored: bool = False) -> "Packet":
        return Packet(image, mirrored)


class OneBody:
    """In place of the networks: somebody who stands still, seen in the whole frame only."""

    REGION = Region(60.0, 30.0, 40.0, 0.0)

    def __init__(self, detects: bool = True) -> None:
        self.looks: list[tuple[int, int]] = []
        self.broken = self.gone = self.unseen = False
        self.apart = 0.0
        self._busy = threading.Lock()

    def detect(self, packet: Packet) -> list[Region]:
        assert self._busy.acquire(blocking=False), "one look at a time"
        self.looks.append(packet.shape)
        self._busy.release()
        return [self.REGION] if packet.shape == SIZE and not self.gone else []

    def read(self, packet: Packet, region: Region) -> Landmarks | None:
        if self.broken:
            raise RuntimeError("the network is gone")
        if self.gone or (packet.mirrored and self.unseen):
            return None
        points = np.random.default_rng(0).uniform(20, 40, (33, 4))
        points[:, 2:] = 1
        if packet.mirrored:
            points[BLAZEPOSE33.index("left_wrist"), 0] += self.apart
        return Landmarks(points, 0.9, region)

    def close(self) -> None:
        pass


@pytest.fixture
def people(monkeypatch) -> Iterator[mediapipe.MediapipePeople]:
    monkeypatch.setattr(looking, "BlazePose", OneBody)
    monkeypatch.setattr(looking, "ImagePacket", Packet)
    monkeypatch.setattr(mirror, "ImagePacket", Packet)
    monkeypatch.setattr(searching, "_LEAST_TILE", 30)
    with mediapipe.MediapipePeople() as people:
        yield people


def shown(fps: float, first: int, stop: int) -> Iterator[Frame]:
    for index in range(first, stop):
        yield Frame(index, index / fps, np.zeros((*SIZE, 3), np.uint8))


def looks(people: mediapipe.MediapipePeople, frames: Iterator[Frame]) -> list[list]:
    """In each frame, the sizes of the images that the detector was shown."""
    network = people._networks.blazepose
    assert isinstance(network, OneBody)
    found = []
    for frame in frames:
        network.looks = []
        people.people(frame)
        found.append(network.looks)
    return found


def test_thirty_frames_a_second_have_two_tiles_and_one_whole_frame_in_four(people) -> None:
    found = looks(people, shown(30, 0, 33))
    assert SIZE in found[0] and len(found[0]) > 3, "at first everywhere"
    for index in range(1, 33, 4):
        whole = [each == [SIZE] for each in found[index : index + 4]]
        counts = [len(each) for each in found[index : index + 4]]
        assert counts == [1, 0, 1, 1] and whole == [False, False, False, True]


def test_after_two_seconds_there_are_half_as_many_looks(people) -> None:
    found = looks(people, shown(30, 0, 60 + 32))
    assert sum(map(len, found[28:60])) == 24 and sum(map(len, found[60:])) == 12
    assert {SIZE} < {each for seen in found[60:] for each in seen}, "at all of it and at parts"
    people.restore(None)
    assert sum(map(len, looks(people, shown(30, 0, 33))[1:])) == 24, "as at the beginning"


@pytest.mark.parametrize("fps", [60, 120, 240])
def test_more_frames_a_second_mean_no_more_looks(people, fps: int) -> None:
    few = sum(map(len, looks(people, shown(30, 0, 60))))
    people.restore(None)
    many = sum(map(len, looks(people, shown(fps, 0, 2 * fps))))
    assert 0.8 * few <= many <= 1.1 * few


def test_few_frames_a_second_have_a_look_each(people) -> None:
    found = looks(people, shown(5, 0, 20))
    assert all(len(each) == 1 for each in found[1:])


def test_with_nobody_left_the_whole_frame_is_looked_at_at_once(people) -> None:
    looks(people, shown(60, 0, 20))
    people._networks.blazepose.gone = True
    found = looks(people, shown(60, 20, 30))
    assert all(SIZE in each and len(each) >= 2 for each in found[1:])


@pytest.mark.parametrize("fps", [25, 60])
def test_who_goes_on_from_a_state_looks_where_and_when_the_other_would_have(people, fps) -> None:
    stop = 3 * fps
    looks(people, shown(fps, 0, 17))
    state = json.loads(json.dumps(people.state()))
    expected = looks(people, shown(fps, 17, stop))
    end = people.state()
    people.restore(state)
    assert looks(people, shown(fps, 17, stop)) == expected
    assert people.state() == end


def test_what_is_elsewhere_in_the_mirror_image_is_believed_less(people) -> None:
    network = people._networks.mirror._blazepose
    assert isinstance(network, OneBody)
    for index, (network.apart, network.unseen) in enumerate(
        ((5.0, False), (0.0, False), (5.0, False), (5.0, True))
    ):
        (frame,) = shown(30, index, index + 1)
        (person,) = people.people(frame)
        confidence = person.keypoints[:, 2]
        wrist = BLAZEPOSE23.index("left_wrist")
        doubted = index == 2  # whoever has just been detected is not yet looked at in the mirror
        assert (confidence[wrist] < 0.3) == doubted
        assert (np.delete(confidence, wrist) > 0.99).sum() == 20


def test_who_is_followed_in_a_box_is_read_both_ways_round_at_once(monkeypatch) -> None:
    """Each reading waits until the other has begun, too."""
    for module in (boxed, mirror):
        monkeypatch.setattr(module, "ImagePacket", Packet)
    both = threading.Barrier(2, timeout=5)

    class OneBodyAtOnce(OneBody):
        meets = False

        def read(self, packet: Packet, region: Region) -> Landmarks | None:
            if OneBodyAtOnce.meets:
                both.wait()
            return super().read(packet, region)

    monkeypatch.setattr(boxed, "BlazePose", OneBodyAtOnce)
    box = np.array([[18.0, 18.0, 42.0, 42.0]])
    wrist = BLAZEPOSE23.index("left_wrist")
    with boxed.BoxedPeople() as reader:
        assert reader._mirror is not None
        network = reader._mirror._blazepose
        assert isinstance(network, OneBody)
        network.apart = 5.0
        for frame in shown(30, 0, 3):
            (person,) = reader.read_boxes(frame, box)
            assert person is not None and person.keypoints[wrist, 2] < 0.3
            OneBodyAtOnce.meets = True
        OneBodyAtOnce.meets, network.broken = False, True
        with pytest.raises(RuntimeError, match="network is gone"):
            reader.read_boxes(next(shown(30, 3, 4)), box)


def test_light_eyes_do_not_look_into_the_mirror(monkeypatch) -> None:
    monkeypatch.setattr(looking, "BlazePose", OneBody)
    monkeypatch.setattr(looking, "ImagePacket", Packet)
    monkeypatch.setattr(mirror, "ImagePacket", Packet)
    plain, both = (choose_eyes(mirrored=mirrored) for mirrored in (False, True))
    assert str(plain) != str(both), "what is found is kept under that name"
    with plain.open(torch.device("cpu")) as finder:
        finder._networks.blazepose.apart = 5.0
        for frame in shown(30, 0, 3):
            (person,) = finder.people(frame)
        assert finder._networks.mirror is None
    assert (person.keypoints[:, 2] > 0.99).sum() == 21


def test_an_error_in_the_mirror_comes_through(people) -> None:
    looks(people, shown(30, 0, 2))
    people._networks.mirror._blazepose.broken = True
    with pytest.raises(RuntimeError, match="network is gone"):
        looks(people, shown(30, 2, 3))


def test_an_error_of_a_network_comes_through_and_no_look_is_left_running(people) -> None:
    looks(people, shown(30, 0, 4))
    people._networks.blazepose.broken = True
    with pytest.raises(RuntimeError, match="network is gone"):
        looks(people, shown(30, 4, 6))
    people._networks.blazepose.broken = False
    people.restore(None)
    assert looks(people, shown(30, 0, 4))[0]
