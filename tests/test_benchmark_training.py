"""The benchmark of training runs, on models as small as can be."""

import runpy
from pathlib import Path

import pytest
import torch
from test_tasks import image_model

from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.training.settings import LoopSettings

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_training.py"
SMALL = HmrConfig.model_validate(
    {
        "tokenizer": {"width": 16, "layers": 1, "codes": 32, "code_dim": 8, "tokens": 4},
        "encoder": {"width": 16, "heads": 2},
        "context": {"width": 32, "heads": 2, "layers": 1},
        "decoder": {"heads": 2, "layers": 1},
        "motion": {"heads": 2, "layers": 1},
        "window": 3,
    }
)


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(SCRIPT))


def test_measures_our_steps_and_plain_ones(script: dict) -> None:
    subject = script["Subject"]("small", SMALL, "readings", LoopSettings(steps=9, clips=2), 2)
    budget, cpu = script["Budget"](1, 2), torch.device("cpu")
    ours, plain = script["Way"](1, "bfloat16"), script["PLAIN"]
    timings = {way: script["measure"](subject, way, budget, cpu) for way in (ours, plain)}
    for way, timing in timings.items():
        assert len(timing.seconds) == 2 and timing.megabytes > 10
        waits = zip(timing.waiting, timing.seconds, strict=True)
        assert all(0 < waited < seconds for waited, seconds in waits)
        line = script["row"](subject, way, timing, timings[plain])
        assert len(line) == len(script["heading"]())
    assert " 1.00 " in script["row"](subject, plain, timings[plain], timings[plain])


def test_models_of_images_get_rendered_ones(script: dict) -> None:
    subject = script["Subject"]("small", image_model(), "frames", LoopSettings(steps=9, clips=1), 2)
    way, cpu = script["Way"](0, "float32"), torch.device("cpu")
    timing = script["measure"](subject, way, script["Budget"](0, 1), cpu)
    assert len(timing.seconds) == 1


def test_a_way_that_fails_says_why_and_the_others_count(script: dict) -> None:
    """Without context there is no first guess."""
    model, settings = SMALL.model_copy(update={"context": None}), LoopSettings(steps=1, clips=1)
    subject = script["Subject"]("bad", model, "readings", settings, 3)
    why = script["_attempt"](subject, script["PLAIN"], script["Budget"](0, 1), torch.device("cpu"))
    assert "a first guess needs an encoder of keypoints" in why
    timing = script["Timing"]((0.5, 1.5), (0.1, 0.3), 100.0)
    assert script["row"](subject, script["PLAIN"], why, timing).endswith(why)
    line = script["row"](subject, script["PLAIN"], timing, timing)
    assert "0.500/1.000/1.500" in line and " 20% " in line and " 1.00 " in line


def test_subjects_are_the_lessons_of_the_shipped_configurations(script: dict) -> None:
    cpu = torch.device("cpu")
    for quick, frames in ((True, 4), (False, 16)):
        subjects = {each.name: each for each in script["all_subjects"](cpu, quick)}
        assert list(subjects)[-2:] == ["motion", "images"]
        images = subjects["images"]
        assert images.model.image_side() == 256 and images.frames == frames
        assert len(script["ways"](images, quick)) == (4 if quick else 8)
        assert [way.workers for way in script["ways"](subjects["motion"], quick)] == [0, 2]
