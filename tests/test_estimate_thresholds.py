"""`scripts/estimate_thresholds.py`: measured thresholds are what training takes."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from rendered_clips import a_batch, write_clips
from toy_mocap import write_mocap

from temporal_hmr.batch import BodyPrediction
from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import run_door
from temporal_hmr.configuration import parse_config
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.recover import load_model
from temporal_hmr.training import sources
from temporal_hmr.training.run import TrainingConfig
from temporal_hmr.training.tals_terms import (
    JUDGED,
    measured_thresholds,
    tals_prediction,
    tals_target,
    tals_terms,
)

SCRIPT = Path(__file__).parents[1] / "scripts" / "estimate_thresholds.py"
CONFIG = """
mocap: {held_out: [b]}
short_clip: 2
tals: {metric: distance, weak: 0.1}
frame_training: {steps: 1, clips: 1}
"""


@pytest.fixture(autouse=True)
def few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 4)


@pytest.fixture
def leave(capsys) -> Callable[..., tuple[int, str, str]]:
    def door(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        main = runpy.run_path(str(SCRIPT))["main"]
        with pytest.raises(SystemExit) as ending:
            run_door(lambda: main([str(word) for word in words]))
        assert isinstance(ending.value.code, int)
        return ending.value.code, *capsys.readouterr()

    return door


def settings(text: str) -> TalsConfig:
    """The text put into a training configuration."""
    values = yaml.safe_load(text + "frame_training: {steps: 1, clips: 1}\n")
    tals = parse_config(values, TrainingConfig, "test").tals
    assert tals is not None
    return tals


def losses(tals: TalsConfig) -> dict[str, float]:
    window, target = a_batch(2, 2, 8)
    body = PosedBody(load_body())
    model = load_model(None, torch.device("cpu"))
    with torch.inference_mode():
        terms = tals_terms(model(window, body, False), target, window, body, tals)
    return {name: float(term) for name, term in terms.items()}


def test_from_motion_capture_to_losses(tmp_path: Path, leave) -> None:
    mocap, config = write_mocap(tmp_path / "mocap"), tmp_path / "train.yaml"
    config.write_text(CONFIG)
    code, text, _ = leave(config, "--data", mocap)
    assert code == 0 and text.startswith("# Thresholds: mean errors of default.safetensors")
    tals = settings(text)
    assert tals.metric == "distance" and tals.weak == 0.1, "the rest is the configuration's"
    assert tuple(tals.keypoint_thresholds) == JUDGED
    published = TalsConfig()
    assert tals.keypoint_limits(["left_knee"]) != published.keypoint_limits(["left_knee"])
    assert tals.keypoint_limits(["pelvis"]) == published.keypoint_limits(["pelvis"])
    assert tals.root_threshold != published.root_threshold
    assert all(value > 0 for value in losses(tals).values())


def test_from_clips_into_a_file(tmp_path: Path, leave) -> None:
    clips, path = write_clips(tmp_path / "clips"), tmp_path / "tals.yaml"
    code, said, _ = leave("--data", clips, "--percentile", "80", "-o", path)
    assert code == 0 and "tals.yaml" in said
    high = settings(path.read_text())
    low = settings(leave("--data", clips, "--percentile", "20")[1])
    for name in set(JUDGED) - {"pelvis"}:
        assert high.keypoint_thresholds[name] > low.keypoint_thresholds[name] > 0, name
    assert high.root_threshold > low.root_threshold
    assert losses(high)["keypoints"] < losses(low)["keypoints"], "more errors are within them"


def test_thresholds_are_those_of_all_parts_together() -> None:
    """A known offset of one keypoint and a shape of batches that do not weigh the same."""
    window, target = a_batch(3, 2, 8)
    body = PosedBody(load_body())
    points = body.body.regress(target.smpl, body.detector_points)
    nose = JUDGED.index("nose")
    keypoints = target.keypoints.clone()
    keypoints[:, :, nose, 0] += torch.tensor([0.2, 0.4, 0.6])[:, None]
    truth = BodyPrediction(target.smpl, target.joints, points, keypoints)
    whole = tals_prediction(truth), tals_target(target, window, body)
    config = TalsConfig(metric="distance")
    found = measured_thresholds([whole], config)
    # The box is 2 wide in our units, 1 in theirs.
    assert found.keypoint_thresholds["nose"] == pytest.approx(0.2, abs=1e-5)
    assert found.keypoint_thresholds["left_knee"] == pytest.approx(0, abs=1e-5)
    assert found.root_threshold < 1e-2
    twice = measured_thresholds([whole, whole], config)
    assert twice.keypoint_thresholds == pytest.approx(found.keypoint_thresholds, abs=1e-6)


def test_errors_in_one_line(tmp_path: Path, leave) -> None:
    mocap, config = write_mocap(tmp_path / "mocap"), tmp_path / "train.yaml"
    config.write_text("tals: {metrik: squared}\nframe_training: {steps: 1, clips: 1}")
    for words, message in (
        (("--data", mocap, "--percentile", "101"), "from 0 to 100, not 101"),
        (("--data", tmp_path / "nowhere"), "nowhere"),
        ((config, "--data", mocap), "tals.metrik: is no setting (did you mean metric?)"),
        (("--data", mocap, "--weights", config), "is not a safetensors file"),
        (("--data", mocap, "-o", tmp_path / "no" / "t.yaml"), "cannot write"),
    ):
        code, _, told = leave(*words)
        lines = [line for line in told.splitlines() if line.startswith("error")]
        assert code == 2 and len(lines) == 1 and message in lines[0], told
