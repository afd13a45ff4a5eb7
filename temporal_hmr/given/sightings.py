"""What a file of keypoints says, before it is fitted to a video."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import Entry
from temporal_hmr.skeleton import COCO17, COCO23, HALPE26, OPENPOSE18, OPENPOSE25, Skeleton

LISTED = {17: COCO17, 23: COCO23, 26: HALPE26, 68: HALPE26, 133: COCO23, 136: HALPE26}
"""By the number of keypoints, what those of COCO's and AlphaPose's lists begin with: face and
hands come last."""
OPENPOSE = {18: OPENPOSE18, 25: OPENPOSE25}


@dataclass(frozen=True, eq=False)
class Sighting:
    """One person in one frame."""

    frame: int | str
    """Number of the frame, or a name that ends in it."""
    place: str
    """Where in the file, for messages."""
    keypoints: Float[ndarray, "J 3"] | None = None
    """x, y in pixels of the video and a confidence, as the file has them."""
    box: Float[ndarray, "4"] | None = None
    """x_min, y_min, x_max, y_max in pixels, where there are no keypoints."""
    person_id: int | None = None
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class GivenFile:
    """A file of one kind; its sightings have keypoints of one skeleton, or boxes."""

    path: Path
    kind: str
    skeleton: Skeleton
    sightings: list[Sighting]
    counts_from: int = 0
    """Number of the first frame, where the numbers themselves do not tell."""
    image_size: tuple[int, int] | None = None
    """Width and height of the pictures (px), where the file says."""


def keypoints_of(
    entry: Entry, key: str, sets: dict[int, Skeleton]
) -> tuple[Skeleton, Float[ndarray, "J 3"]]:
    """The triples of a flat list as those of the set that has as many; without face and hands.

    Raises `InputError` if they are not numbers, or no set has as many.
    """
    flat = entry.numbers(key, None)
    count, rest = divmod(len(flat), 3)
    if rest or count not in sets:
        known = ", ".join(map(str, sets))
        raise entry.fault(
            key, f"has {len(flat)} numbers; triples of {known} keypoints are what we know"
        )
    skeleton = sets[count]
    return skeleton, flat.reshape(-1, 3)[: len(skeleton)]
