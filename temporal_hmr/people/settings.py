"""What counts as a person to BlazePose, and how often others are looked for."""

from dataclasses import dataclass

AHEAD = 2
"""How many frames are begun before whom to follow into the first of them is known for sure."""


@dataclass(frozen=True)
class DetectionSettings:
    """What counts as a person."""

    least_confidence: float = 0.3
    """Mean confidence that the 17 joints of COCO must reach."""
    same_person: float = 0.4
    """Poses of one frame at least this alike (OKS) are one person; the surer one stays."""
    part_of_person: float = 0.6
    """Share of a body's box within a larger one from which it is taken for a part of that one.

    Only where the body was seen in a tile and never in the whole frame."""
    tile_shares: tuple[float, ...] = (1.0, 0.6)
    """Sides of the square tiles searched besides the whole frame, over its short side."""
    beside: float = 1.6
    """Side of the square searched for company around somebody, over their own extent."""
    follow_for: float = 0.5
    """Seconds between two frames beyond which nobody is followed from one to the other."""
    looks_apart: float = 0.03
    """Seconds at least from one look for others to the next while there is somebody: 30 a second
    are enough of any video."""
    whole_looks_apart: float = 0.1
    """The same of looks at the whole frame, which seldom shows anybody whom it did not show before.
    """
    calm_after: float = 2.0
    """Seconds of a shot after which looks are twice as far apart: who comes later is found a little
    later, and followed back (`people.backwards`)."""
    mirrored: bool = True
    """Whether those who are followed are read in the frame's mirror image, too, and keypoints that
    are elsewhere there are believed less: twice the work, for two cores at a time."""
