"""The option `--refine` of `track`, and what it changes."""

import pytest

from temporal_hmr.track import SAMPLE, _settings
from temporal_hmr.track_options import parse_track
from temporal_hmr.tracking import prepare_job


@pytest.mark.parametrize(("words", "refined"), [((), True), (("--no-refine",), False)])
def test_bodies_are_moved_onto_keypoints_unless_told_otherwise(
    words: tuple[str, ...], refined: bool
) -> None:
    job = prepare_job(SAMPLE, _settings(parse_track([str(SAMPLE), *words])))
    assert (job.fit is not None) == refined
    assert job.provenance.settings["refine"] is refined, "a result says how it was made"


@pytest.mark.parametrize(("words", "light"), [((), False), (("--light",), True)])
def test_a_light_model_is_asked_for(words: tuple[str, ...], light: bool) -> None:
    job = prepare_job(SAMPLE, _settings(parse_track([str(SAMPLE), *words])))
    assert job.model._light is light
    assert job.provenance.settings["light"] is light, "a result says how it was made"
