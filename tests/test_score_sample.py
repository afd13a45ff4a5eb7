"""The bundled clip against its truth."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from temporal_hmr.output.npz import load_motion
from temporal_hmr.track import SAMPLE

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from score_sample import errors


def test_a_body_in_the_wrong_place_is_right_from_its_pelvis() -> None:
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    late = replace(
        truth, frames=truth.frames[5:], joints=truth.joints[5:] + np.array([0.0, 0.0, 0.25])
    )
    assert errors(late, truth) == pytest.approx((0, 250), abs=1e-3)
