"""Who is who, corrected afterwards: `tracks` in and out; of whole folders, `run`.

What was seen in each frame stays as it is, and only whom it belongs to changes.
"""

from temporal_hmr.editing.frame_times import FrameTimes
from temporal_hmr.editing.tracks import PREFERENCES, drop, merge, rename, split, swap

__all__ = ["PREFERENCES", "FrameTimes", "drop", "merge", "rename", "split", "swap"]
