"""Everybody in every frame, with RT-DETR and ViTPose: each frame for itself."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.heatmaps import cut_out, read_heatmaps, windows_around
from temporal_hmr.people.networks import Look, RtDetr, VitPose
from temporal_hmr.people.pretrained import Pretrained
from temporal_hmr.people.reading import likeness, sureness
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame


@dataclass(frozen=True)
class VitPoseSettings:
    """What counts as a person."""

    least_score: float = 0.5
    """How sure the detector must be of a box."""
    least_confidence: float = 0.3
    """Mean confidence that the 17 joints of COCO must reach."""
    same_person: float = 0.9
    """Poses of one frame at least this alike (OKS) are one person; the surer box stays."""
    most_at_once: int = 32
    """People read in one go; a crowd must not fill the memory."""


class Finder(Protocol):
    """See `networks.RtDetr`."""

    def find(self, image: UInt8[ndarray, "H W 3"]) -> tuple[ndarray, ndarray]:
        """Scores and boxes."""
        ...


class Reader(Protocol):
    """See `networks.VitPose`."""

    look: Look

    def heatmaps(self, crops: UInt8[ndarray, "n h w 3"]) -> Float[ndarray, "n J rows columns"]:
        """One for each of the first joints of COCO23."""
        ...


class VitPosePeople:
    """Finds the people in the frames of a clip. What it sees depends on no other frame.

    Use as a context manager, as other detectors.
    """

    def __init__(
        self, finder: Finder, reader: Reader, settings: VitPoseSettings = VitPoseSettings()
    ) -> None:
        self._finder, self._reader = finder, reader
        self._settings = settings

    @staticmethod
    def load(finder: Pretrained, reader: Pretrained, device: torch.device) -> "VitPosePeople":
        """With networks from files; raises `InputError` if they cannot be used."""
        return VitPosePeople(RtDetr(finder, device), VitPose(reader, device))

    def __enter__(self) -> "VitPosePeople":
        return self

    def __exit__(self, *_) -> None:
        """Memory is given back with the detector itself."""

    def state(self) -> None:
        """Nothing is taken from frame to frame."""

    def restore(self, state: None) -> None:
        """There is nothing to go on from."""

    def people(self, frame: Frame) -> list[Person2D]:
        """The people in a frame, skeleton COCO23, surest box first.

        Joints that the network does not know, or puts outside the image, are unknown.
        """
        image = frame.image
        scores, boxes = self._finder.find(image)
        boxes = _within(boxes, image.shape)
        # NaN is never large enough.
        large = (boxes[:, 2:] - boxes[:, :2] >= 1).all(-1)
        there = (scores >= self._settings.least_score) & large
        scores, boxes = scores[there], boxes[there]
        order = np.argsort(-scores, kind="stable")
        keypoints = self._read(image, boxes[order])
        found = [
            Person2D(box, joints, COCO23, float(score))
            for box, joints, score in zip(boxes[order], keypoints, scores[order], strict=True)
        ]
        return self._distinct(found)

    def _read(
        self, image: UInt8[ndarray, "H W 3"], boxes: Float[ndarray, "n 4"]
    ) -> Float[ndarray, "n 23 3"]:
        height, width = self._reader.look.size
        windows = windows_around(boxes, width / height)
        keypoints = np.zeros((len(boxes), len(COCO23), 3))
        for begin in range(0, len(boxes), self._settings.most_at_once):
            some = slice(begin, begin + self._settings.most_at_once)
            crops = np.stack([cut_out(image, each, (height, width)) for each in windows[some]])
            read = read_heatmaps(self._reader.heatmaps(crops), windows[some])
            keypoints[some, : read.shape[1]] = read
        size = (image.shape[1], image.shape[0])
        inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < size)).all(-1)
        keypoints[~inside] = 0
        return keypoints

    def _distinct(self, found: list[Person2D]) -> list[Person2D]:
        """Without the unlikely ones, and without the less sure one of two that are one person."""
        kept: list[Person2D] = []
        for person in found:
            likenesses = [likeness(person, other) for other in kept]
            alike = max(likenesses, default=0.0) >= self._settings.same_person
            if not alike and sureness(person) >= self._settings.least_confidence:
                kept.append(person)
        return kept


def _within(boxes: Float[ndarray, "n 4"], image_shape: tuple[int, ...]) -> Float[ndarray, "n 4"]:
    """What of the boxes lies in the image."""
    height, width = image_shape[:2]
    return np.clip(boxes.astype(np.float64), 0, (width, height, width, height))
