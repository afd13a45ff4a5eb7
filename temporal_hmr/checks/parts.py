"""Long clips judged some frames at a time, as if it were all at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from temporal_hmr.on_disk import chunks


def in_parts(function: Callable[..., Any], *arrays: ndarray, reach: int = 0) -> ndarray:
    """What a function says of arrays that have a row for each frame, a row for each frame.

    What it says of one may depend on so many frames before it and after it as it reaches.
    """
    answers = []
    for part in chunks(len(arrays[0]), *arrays):
        begin = max(part.start - reach, 0)
        answer = function(*(array[begin : part.stop + reach] for array in arrays))
        answers.append(answer[part.start - begin : part.stop - begin])
    return np.concatenate(answers) if answers else function(*arrays)
