"""Who is in a result, as a table."""

from collections.abc import Sequence

from temporal_hmr.motion import BodyMotion

_HEAD = ("person", "seconds", "frames", "observed", "height", "confidence")


def people_table(motions: Sequence[BodyMotion]) -> str:
    """One line each: number, seconds from first to last sight, frames, share of them in which the
    person was seen, mean height of the box in pixels where they were, mean confidence."""
    if not motions:
        return "nobody"
    rows = [_HEAD, *(_row(motion) for motion in motions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _row(motion: BodyMotion) -> tuple[str, ...]:
    boxes = motion.boxes[motion.observed]
    return (
        str(motion.person_id),
        f"{motion.times[0]:.2f}-{motion.times[-1]:.2f}",
        f"{motion.frames[0]}-{motion.frames[-1]}",
        f"{motion.observed.mean():.0%}",
        f"{(boxes[:, 3] - boxes[:, 1]).mean():.0f} px",
        f"{motion.confidence.mean():.2f}",
    )
