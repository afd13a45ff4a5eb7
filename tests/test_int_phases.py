"""INT's three phases of training, as their files set them."""

from pathlib import Path

import pytest

from temporal_hmr.configuration import load_config
from temporal_hmr.data.int_phases import IntPhase
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr_config import INT

CONFIGS = Path(__file__).parents[1] / "configs"


def phase(number: int) -> IntPhase:
    return load_config(CONFIGS / f"int_phase{number}.yaml", IntPhase)


def test_the_three_phases_as_published() -> None:
    first, second, third = phase(1), phase(2), phase(3)
    assert first.model == INT.model_copy(update={"motion": None, "window": 1})
    assert second.model == third.model == INT
    assert [p.optimiser.epochs for p in (first, second, third)] == [100, 100, 50]
    assert [p.optimiser.milestones for p in (first, second, third)] == [
        (60, 90),
        (60, 90),
        (30, 40),
    ]
    assert [p.losses.norm for p in (first, second, third)] == [1.0, 1.0, 0.01]
    assert [p.losses.velocity for p in (first, second, third)] == [0.0, 0.0, 600.0]
    assert (third.optimiser.kind, third.optimiser.momentum) == ("sgd", 0.9)
    assert third.optimiser.weight_decay == 0, "published SGD never saw one"
    assert first.images is not None
    assert first.images.batch == 120
    assert second.images is not None
    assert second.videos is not None
    assert second.videos_2d is not None
    assert (second.images.batch, second.videos.batch, second.videos_2d.batch) == (7, 4, 3)
    assert third.videos is not None
    strides = {s.dataset: s.clips.pool_stride for s in third.videos.sources}
    assert strides == {"3dpw": 8, "h36m": 64}
    assert third.validation.source.clips.frames == 64


def test_no_phase_is_chosen_by_a_test_set() -> None:
    """The published "best" epoch was the best on 3DPW's test part."""
    for number in (1, 2, 3):
        assert phase(number).validation.source.part == "validation"


def test_phases_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "phase.yaml"
    text = (CONFIGS / "int_phase3.yaml").read_text()
    path.write_text(text.replace("  motion: {", "  motion: null  # {"))
    with pytest.raises(InputError, match="temporal module"):
        load_config(path, IntPhase)
    path.write_text("start: phase 1\nvalidation: {source: {dataset: h36m}}\n")
    with pytest.raises(InputError, match="images or videos"):
        load_config(path, IntPhase)
