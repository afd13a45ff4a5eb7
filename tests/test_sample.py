"""The sample that comes with the package, and its truth."""

import numpy as np
import pytest
from tracked_clips import leave

from temporal_hmr.body.load import load_body
from temporal_hmr.output.npz import load_motion
from temporal_hmr.skeleton import COCO23, SMPL24
from temporal_hmr.track import SAMPLE
from temporal_hmr.video import open_clip


def test_the_sample_is_seen_by_the_real_detector(weights, tmp_path) -> None:
    pytest.importorskip("mediapipe")
    words = ("--sample", "--start", "2", "--end", "2.15", "-o", tmp_path, "--weights", weights)
    assert leave(*words, "--no-render") == 0
    motion = load_motion(tmp_path / "sample" / "person_000.npz")
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    assert motion.frames.tolist() == [60, 61, 62, 63, 64]
    for joint in ("left_wrist", "right_wrist", "left_knee", "right_ankle"):
        seen = motion.keypoints[:, COCO23.index(joint), :2]
        true = truth.keypoints[60:65, COCO23.index(joint), :2]
        # A person 500 px tall; their left and right stand 60 px and more apart.
        assert np.abs(seen - true).max() < 20, joint


def test_the_samples_truth_belongs_to_the_body_and_the_clip() -> None:
    """Fails when the open body changes and scripts/render_sample.py was not run again."""
    body = load_body()
    truth = load_motion(SAMPLE.with_name("sample_truth.npz"))
    np.testing.assert_allclose(body.joints(truth.smpl).numpy(), truth.joints, atol=1e-4)
    clip = open_clip(SAMPLE)
    assert (clip.width, clip.height, len(clip)) == (540, 720, len(truth))
    # Facing the camera, the left hand is right in the image; the right one waves above the head.
    hands = truth.keypoints[66, COCO23.indices("left_wrist", "right_wrist"), :2]
    assert hands[0, 0] > hands[1, 0] + 100
    assert hands[1, 1] < truth.keypoints[66, COCO23.index("nose"), 1]
    # One foot bears: in no frame do both go faster than 15 cm/s.
    feet = truth.joints[:, SMPL24.indices("left_foot", "right_foot")]
    speed = np.linalg.norm(np.diff(feet, axis=0), axis=-1).min(-1) * truth.fps
    assert speed.max() < 0.15
