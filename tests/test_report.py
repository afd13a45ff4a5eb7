"""The report says all that was put in, harmlessly and offline."""

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from report_contents import NAN, make_sequence

from temporal_hmr.errors import InputError
from temporal_hmr.output.moments import LONGEST_SIDE
from temporal_hmr.output.report import (
    Column,
    Moment,
    Report,
    Row,
    write_report,
)

VOID = {"meta", "link", "img", "br", "hr", "input", "base", "embed", "source"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


@dataclass
class Page(HTMLParser):
    """What a browser would find in a page; complains of tags that do not pair."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"<{tag}> repeats an attribute"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def make_report(**changes) -> Report:
    report = Report(
        title="EMDB 1",
        facts=(("protocol", "24 joints"), ("weights", "ab" * 32)),
        warnings=("Coverage is not complete.",),
        columns=(Column("MPJPE", "mm"), Column("PCK", "%", lower_is_better=False)),
        rows=(
            Row("walk_0", 1234, 0.975, (71.26, 81.0)),
            Row("run_0", 55, 1.0, (NAN, 92.5), "two vertices are lost"),
        ),
        overall=Row("All of it", 1289, 0.9999, (72.04, 85.31), "over frames"),
        sequences=(make_sequence(),),
        picture_key="blue is what we say",
    )
    return replace(report, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


class TestPage:
    def test_says_all_that_was_put_in(self, path: Path) -> None:
        write_report(make_report(), path)
        text = parsed(path).text
        for part in (
            *("EMDB 1", "protocol", "24 joints", "ab" * 32, "Coverage is not complete."),
            *("MPJPE", "mm", "PCK", "higher is better", "All of it", "1289", "72.0", "85.3"),
            *("walk_0", "1234", "71.3", "81.0", "97.5\xa0%", "run_0", "two vertices are lost"),
            *("over frames", "60 frames at 30 per second", "5 not scored", "5 without prediction"),
            *("frame 40, 1.33 s: MPJPE 312 mm", "frame 8, 0.27 s: jitter 99", "a note"),
            *("blue is what we say", "acceleration error, m/s²", "jitter, 10 m/s³"),
        ):
            assert part in text, part
        assert text.count("over frames") == 1, "the note is not repeated below the table"
        assert "truth" not in text, "the key names a line that is nowhere"

    def test_what_is_not_a_number_and_what_is_not_covered_stand_out(self, path: Path) -> None:
        report = make_report(overall=Row("All", 9, 1.0, (float("inf"), NAN)))
        write_report(report, path)
        cells = re.findall(r'class="(\w+)"[^>]*>([^<]*)</(?:td|dd)>', path.read_text())
        assert [text for kind, text in cells if kind == "partial"] == ["97.5\xa0%"]
        wrong = [text for kind, text in cells if kind == "nan"]
        large, row, last = (
            ("infinite", "not a number"),
            "not a number",
            ("infinite", "not a number"),
        )
        assert wrong == [*large, row, *last]

    def test_what_is_not_there_is_no_broken_number(self, path: Path) -> None:
        """Nobody predicted, nothing to score, too short a sequence: each says which it is."""
        rows = (
            Row("nobody", 0, 0.0, (None, None)),
            Row("unwanted", 0, NAN, (None, None)),
            Row("short", 2, 1.0, (50.0, None)),
        )
        write_report(make_report(rows=rows), path)
        cells = re.findall(r'class="(\w+)" data-sort="([^"]*)">([^<]*)</td>', path.read_text())
        assert [text for kind, _, text in cells if kind == "absent"] == [
            *("no prediction", "no prediction"),
            *("no frame counts", "no value", "no value"),
            "no value",
        ]
        assert all(sort == "nan" for kind, sort, _ in cells if kind == "absent")
        assert "not a number" not in parsed(path).text

    def test_one_frame_of_many_missing_does_not_look_like_none(self, path: Path) -> None:
        write_report(make_report(overall=Row("All", 9, 0.99999, (1.0, 1.0))), path)
        page = parsed(path)
        assert "> 99.9\xa0%" in page.text
        assert "100.0" not in page.text

    def test_the_worst_of_a_column_is_marked_by_its_own_direction(self, path: Path) -> None:
        rows = tuple(Row(name, 1, 1.0, (v, v)) for name, v in (("a", 10.0), ("b", 30.0)))
        write_report(make_report(rows=rows), path)
        marked = re.findall(r'<td class="worst" data-sort="([^"]*)"', path.read_text())
        assert marked == ["10.0", "30.0"]

    def test_rows_lead_to_their_plots(self, path: Path) -> None:
        write_report(make_report(), path)
        page = parsed(path)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        links = [attributes["href"] for attributes in page.named("a")]
        assert links[0] == "#sequence-1"
        assert {str(link)[1:] for link in links} <= set(ids)

    def test_parts_of_drawings_are_found_and_not_confused(self, path: Path) -> None:
        """Two drawings in one page must not share ids, or one would use the other's parts."""
        sequences = (make_sequence(60, "a"), make_sequence(61, "a"), make_sequence(60, "a"))
        write_report(make_report(sequences=sequences), path)
        page = parsed(path)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', path.read_text()))
        assert used and used <= set(ids)

    def test_nothing_comes_from_elsewhere(self, path: Path) -> None:
        write_report(make_report(), path)
        page = parsed(path)
        for tag, attributes in page.tags:
            assert tag not in {"link", "iframe", "object", "embed", "base"}
            for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                target = attributes.get(name) or "#"
                assert target.startswith(("#", "data:image/jpeg;base64,")), target
        text = path.read_text()
        assert "@import" not in text and "http:" not in text and "https:" not in text
        assert set(re.findall(r"url\((.)", text)) == {"#"}

    def test_the_policy_forbids_all_but_our_script(self, path: Path) -> None:
        write_report(make_report(), path)
        page = parsed(path)
        policies = [meta["content"] for meta in page.named("meta") if "http-equiv" in meta]
        digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
        assert len(page.scripts) == 1
        assert f"script-src 'sha256-{digest}'" in str(policies[0])
        assert "default-src 'none'" in str(policies[0])

    def test_hostile_text_is_text(self, path: Path) -> None:
        curve = replace(make_sequence().curves[0], name=HOSTILE, unit=HOSTILE)
        moment = Moment(3, 0.1, HOSTILE, np.zeros((9, 9, 3), np.uint8))
        curve = replace(curve, reference=curve.values, reference_name=HOSTILE)
        sequence = make_sequence(name=HOSTILE, curves=(curve,), moments=(moment,), note=HOSTILE)
        report = Report(
            HOSTILE,
            ((HOSTILE, HOSTILE),),
            (HOSTILE,),
            (Column(HOSTILE, HOSTILE),),
            (Row(HOSTILE, 1, 1.0, (1.0,), HOSTILE),),
            Row(HOSTILE, 1, 1.0, (1.0,), HOSTILE),
            (sequence,),
            HOSTILE,
        )
        write_report(report, path)
        page = parsed(path)
        assert len(page.named("script")) == 1
        assert len(page.named("img")) == 1
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert page.text.count(HOSTILE) >= 17
        assert page.named("img")[0]["alt"] == f"frame 3, 0.10 s: {HOSTILE}"

    def test_names_that_are_no_text_are_written(self, path: Path) -> None:
        write_report(make_report(title="a\udcffb é"), path)
        assert "é" in parsed(path).text

    def test_equal_reports_make_equal_files(self, path: Path, tmp_path: Path) -> None:
        write_report(make_report(), path)
        with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.grid": True}):
            write_report(make_report(), tmp_path / "again.html")
            assert matplotlib.rcParams["font.size"] == 30, "the user's own settings stay"
        assert path.read_bytes() == (tmp_path / "again.html").read_bytes()

    def test_long_sequences_stay_light(self, path: Path) -> None:
        write_report(make_report(sequences=()), path)
        empty = path.stat().st_size
        write_report(make_report(sequences=(make_sequence(2000),)), path)
        assert empty < 20_000
        assert path.stat().st_size - empty < 150_000

    def test_pictures_are_small_and_true(self, path: Path) -> None:
        picture = np.zeros((1000, 500, 3), np.uint8) + np.array([200, 30, 30], np.uint8)
        sequence = make_sequence(moments=(Moment(1, 0.0, "x", picture),))
        write_report(make_report(sequences=(sequence,)), path)
        source = str(parsed(path).named("img")[0]["src"]).split(",")[1]
        code = np.frombuffer(base64.b64decode(source), np.uint8)
        image = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert image.shape == (LONGEST_SIDE, LONGEST_SIDE // 2, 3)
        assert np.abs(image.astype(int) - [200, 30, 30]).max() < 6

    def test_without_plots_or_rows_there_is_still_a_page(self, path: Path) -> None:
        sequence = make_sequence(0, curves=(), moments=(), note="No pictures: no images.")
        write_report(make_report(rows=(), warnings=(), sequences=(sequence,)), path)
        page = parsed(path)
        assert "No pictures: no images." in page.text
        assert "Warnings" not in page.text
        assert not page.named("svg")

    def test_all_of_it_is_written_or_nothing(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot write"):
            write_report(make_report(), tmp_path / "absent" / "report.html")
        path.mkdir()
        with pytest.raises(InputError, match="cannot write"):
            write_report(make_report(), path)
        path.rmdir()
        path.write_text("an earlier one")
        for values in ((1.0,), (1.0, 2.0, 3.0)):
            row = Row("odd", 1, 1.0, values)
            for report in (make_report(overall=row), make_report(rows=(row,))):
                with pytest.raises(ValueError, match=r"odd has . values for 2 columns"):
                    write_report(report, path)
        assert path.read_text() == "an earlier one"
        assert list(tmp_path.iterdir()) == [path]
