"""Reports as people and programs read them: a text table and JSON."""

import json
import math
from dataclasses import asdict

from temporal_hmr.checks.findings import SEVERITY, Finding, Moment
from temporal_hmr.checks.run import PersonReport, Report
from temporal_hmr.command_line import counted

_MOST_MOMENTS = 3
"""Of a finding that are listed in the table; the JSON has all."""


def text_report(report: Report) -> str:
    """A table for every person, with the worst moments, and a summary."""
    parts = [_person_text(person) for person in report.people]
    return "\n\n".join([*parts, _summary(report)]) + "\n"


def json_report(report: Report) -> str:
    """Everything, as strict JSON: what is not a finite number is null."""
    people = [{"verdict": person.verdict, **asdict(person)} for person in report.people]
    content = {
        "source": report.source,
        "verdict": report.verdict,
        "thresholds": report.thresholds.model_dump(),
        "people": people,
    }
    return json.dumps(_finite(content), indent=2) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _person_text(person: PersonReport) -> str:
    times = f"{person.first_time:.2f} to {person.last_time:.2f} s"
    lines = [
        f"{person.name} ({person.source}, body {person.body}): frames {person.first_frame} to "
        f"{person.last_frame}, {times} at {person.fps:g} fps",
        *(f"  note: {note}" for note in person.notes),
        f"  {'verdict':10}  {'check':28}{'value':>9}{'warn':>8}{'fail':>8}  {'unit':9} worst at",
    ]
    for finding in person.findings:
        lines += _finding_lines(finding)
    return "\n".join(lines)


def _finding_lines(finding: Finding) -> list[str]:
    verdict = finding.verdict.upper() if finding.verdict in ("warn", "fail") else finding.verdict
    name = finding.name + (f" ({finding.space})" if finding.space else "")
    head = f"  {verdict:10}  {name:28}"
    if finding.value is None or finding.limits is None:
        return [f"{head}{'':27}{finding.unit:9} {finding.note}"]
    figures = "".join(
        f"{_number(number):>{width}}"
        for number, width in (
            (finding.value, 9),
            (finding.limits.warn, 8),
            (finding.limits.fail, 8),
        )
    )
    worst = _when(finding.worst) if finding.worst and _number(finding.value) != "0" else ""
    note = f"  [{finding.note}]" if finding.note else ""
    lines = [f"{head}{figures}  {finding.unit:9} {worst}{note}"]
    if finding.verdict == "ok":
        return lines
    shown = sorted(finding.moments, key=lambda moment: -moment.value)[:_MOST_MOMENTS]
    lines += [f"{'':14}{_moment_text(moment)}" for moment in shown]
    if len(finding.moments) > len(shown):
        lines.append(f"{'':14}and {len(finding.moments) - len(shown)} more")
    return lines


def _moment_text(moment: Moment) -> str:
    return f"{_when(moment)}: {_number(moment.value)}" + (f" {moment.what}" if moment.what else "")


def _when(moment: Moment) -> str:
    if moment.first_frame == moment.last_frame:
        return f"{moment.first_time:.2f} s (frame {moment.first_frame})"
    return (
        f"{moment.first_time:.2f}-{moment.last_time:.2f} s "
        f"(frames {moment.first_frame}-{moment.last_frame})"
    )


def _number(value: float) -> str:
    """Three digits that matter; what is next to nothing is nothing."""
    if abs(value) < 0.0005:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _summary(report: Report) -> str:
    verdicts = [finding.verdict for person in report.people for finding in person.findings]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in reversed(SEVERITY))
    people = counted(len(report.people), "person")
    return f"{report.source}: {report.verdict} ({people}; {counts})"
