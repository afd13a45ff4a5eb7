"""Image files of several pictures: which of them are clips."""

import logging
from pathlib import Path

import cv2

from temporal_hmr.decoding import opencv_facts
from temporal_hmr.decoding_av import av_facts
from temporal_hmr.native_output import silenced

_log = logging.getLogger(__name__)


def is_animation(path: Path) -> bool:
    """Whether an image file has several pictures, and times that they are shown at."""
    pictures = _num_pictures(path)
    if pictures < 2:
        return False
    times, _ = opencv_facts(path) or av_facts(path) or ((), 1.0)
    if len(times) < 2:
        _log.warning(
            "%s has %d pictures, and the first is all that is used: convert it to a video",
            *(path.name, pictures),
        )
    return len(times) > 1


def _num_pictures(file: Path) -> int:
    """How many pictures an image file holds, as animations and scans do; 0 for no image.

    It is not found out for names that are not UTF-8, and 1.
    """
    name = str(file.absolute())
    try:
        name.encode()
    except UnicodeEncodeError:  # which would end the process
        return 1
    with silenced():
        return cv2.imcount(name)
