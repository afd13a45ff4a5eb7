"""Curves over time as drawings: breaks, extremes and bands are where they should be."""

import re
from dataclasses import replace

import numpy as np
import pytest
from report_contents import NAN, make_sequence

from temporal_hmr.output.report import (
    Curve,
    Moment,
    SequencePlots,
)
from temporal_hmr.output.timeline import MOST_POINTS, decimated, draw_timeline, number_text


def paths(svg: str, role: str, kind: str) -> list[np.ndarray]:
    """Points of the runs of all paths drawn in a colour: stroked (lines) or filled."""
    found = re.findall(rf' d="([^"]*)"[^>]*{kind}: var\(--{role}\)', svg)
    runs = [run for path in found for run in path.split("M")[1:]]
    return [np.array(re.findall(r"-?\d+\.?\d*", run), float).reshape(-1, 2) for run in runs]


class TestTimeline:
    LEFT, RIGHT = 0.55 * 72, (9.6 - 0.08) * 72
    """Points: the time axis, from half a frame before the first to half a frame after the last."""

    def across(self, frame: float, num_frames: int) -> float:
        return self.LEFT + (frame + 0.5) / num_frames * (self.RIGHT - self.LEFT)

    def curve(self, values: np.ndarray, **changes) -> SequencePlots:
        none = np.zeros(len(values), bool)
        curve = Curve("e", "mm", np.arange(len(values)), values)
        return SequencePlots("s", 30.0, (replace(curve, **changes),), none, none)

    @pytest.mark.parametrize("length", [1500, 1501, 2000, 7919, 100_000])
    def test_decimation_keeps_extremes_and_breaks(self, length: int) -> None:
        random = np.random.default_rng(length)
        values = random.normal(size=length) ** 3
        values[length // 3 : length // 3 + 1] = NAN
        values[length // 2 : length // 2 + length // 50] = NAN
        kept = decimated(values)
        assert len(kept) <= MOST_POINTS
        assert (np.diff(kept) > 0).all()
        assert np.nanmax(values[kept]) == np.nanmax(values)
        assert np.nanmin(values[kept]) == np.nanmin(values)
        breaks = np.flatnonzero(np.diff(np.isnan(values[kept]).astype(int)) == 1)
        assert len(breaks) == 2
        # Every stretch of the curve keeps its own highest value.
        for stretch in np.array_split(np.arange(length), 50):
            inside = kept[(kept >= stretch[0] - 200) & (kept <= stretch[-1] + 200)]
            if np.isfinite(values[stretch]).any():
                assert np.nanmax(values[inside]) >= np.nanmax(values[stretch])

    def test_short_curves_are_drawn_whole(self) -> None:
        assert decimated(np.zeros(MOST_POINTS)).tolist() == list(range(MOST_POINTS))

    def test_the_line_breaks_where_there_is_no_value(self) -> None:
        values = np.random.default_rng(0).uniform(1, 9, 100)
        values[[30, 31, 60]] = NAN
        runs = paths(draw_timeline(self.curve(values), "x"), "line", "stroke")
        ends = [(run[0, 0], run[-1, 0]) for run in runs]
        frames = [(0, 29), (32, 59), (61, 99)]
        expected = [[self.across(frame, 100) for frame in run] for run in frames]
        np.testing.assert_allclose(ends, expected, atol=0.02)

    def test_the_worst_frame_is_the_highest_point_of_the_line(self) -> None:
        values = np.random.default_rng(0).uniform(10, 20, 5000)
        values[1234] = 400
        points = np.concatenate(paths(draw_timeline(self.curve(values), "x"), "line", "stroke"))
        assert len(points) <= MOST_POINTS
        assert points[points[:, 1].argmin(), 0] == pytest.approx(self.across(1234, 5000), abs=0.02)

    def test_a_single_value_between_breaks_is_a_dot(self) -> None:
        values = np.full(50, NAN)
        values[17] = 3.0
        svg = draw_timeline(self.curve(values), "x")
        places = re.findall(r'<use [^>]*x="([\d.]+)"[^>]*fill: var\(--line\)', svg)
        assert [float(x) for x in places] == [pytest.approx(self.across(17, 50), abs=0.02)]

    def test_curves_without_values_say_so(self) -> None:
        assert "no value" in draw_timeline(self.curve(np.full(50, NAN)), "x")
        assert "no value" in draw_timeline(self.curve(np.zeros(0)), "x")
        infinite = np.r_[np.ones(9), np.inf]
        assert "mean 1.00   highest 1.00   1 infinite, not drawn" in draw_timeline(
            self.curve(infinite), "x"
        )

    def test_bands_cover_their_frames(self) -> None:
        plots = make_sequence(60)
        svg = draw_timeline(plots, "x")
        for role, first, last in (("unscored", 0, 4), ("missing", 20, 24)):
            (band,) = paths(svg, role, "fill")
            edges = [band[:, 0].min(), band[:, 0].max()]
            expected = [self.across(first - 0.5, 60), self.across(last + 0.5, 60)]
            np.testing.assert_allclose(edges, expected, atol=0.02)

    def test_one_missing_frame_among_many_is_seen(self) -> None:
        plots = self.curve(np.ones(20_000))
        missing = np.arange(20_000) == 19_999
        svg = draw_timeline(replace(plots, missing=missing), "x")
        (band,) = paths(svg, "missing", "fill")
        assert band[:, 0].max() == pytest.approx(self.RIGHT, abs=0.02)
        assert "stroke: var(--missing-edge)" in svg

    def test_moments_are_numbered_above_their_frames(self) -> None:
        moments = tuple(Moment(frame, frame / 30, "") for frame in (40, 41, 8))
        svg = draw_timeline(make_sequence(60, moments=moments), "x")
        badges = re.findall(
            r'fill: var\(--page\)"? ?[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>(\d)<', svg
        )
        assert [number for *_, number in badges] == ["1", "2", "3"]
        expected = [self.across(moment.frame, 60) for moment in moments]
        np.testing.assert_allclose([float(x) for x, *_ in badges], expected, atol=0.02)
        heights = [float(y) for _, y, _ in badges]
        assert heights[0] == heights[2] > heights[1], "neighbours evade upwards"

    def test_dollars_are_no_mathematics(self) -> None:
        svg = draw_timeline(self.curve(np.ones(9), name="a $\\frac{ b$"), "x")
        assert "a $\\frac{ b$, mm" in svg

    @pytest.mark.parametrize(
        ("value", "largest", "text"),
        [
            *((48.234, 120.0, "48.2"), (1234.5, 1234.5, "1234"), (5.006, 5.006, "5.01")),
            *((0.6134, 0.9, "0.613"), (3e-7, 3e-7, "3e-07"), (0.0, 0.0, "0.000")),
            *((NAN, 1.0, "not a number"), (float("-inf"), 1.0, "infinite")),
        ],
    )
    def test_numbers(self, value: float, largest: float, text: str) -> None:
        assert number_text(value, largest) == text
