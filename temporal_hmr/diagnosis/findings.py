"""What the doctor finds, and how it is told to people and to programs."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """One word: python, packages, detector and so on."""
    level: Level
    """An error: something that is needed does not work."""
    message: str
    """One line: what is so and, unless all is well, what to do."""
    details: Mapping[str, object] = field(default_factory=dict)
    """For programs: names, versions, figures."""


def ok(area: str, message: str, **details: object) -> Finding:
    """All is well."""
    return Finding(area, "ok", message, details)


def warning(area: str, message: str, **details: object) -> Finding:
    """Worth a look; the package can be used."""
    return Finding(area, "warning", message, details)


def error(area: str, message: str, **details: object) -> Finding:
    """Something that is needed does not work."""
    return Finding(area, "error", message, details)


def as_line(finding: Finding, width: int | None) -> str:
    """One line of the report; broken into lines of `width` columns if that is given."""
    head = f"{finding.level:8} {finding.area:10} "
    message = " ".join(finding.message.split())
    if width is None:
        return head + message
    hanging = " " * len(head)
    return textwrap.fill(
        message,
        max(width, 60),
        initial_indent=head,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst of all."""
    levels = {finding.level for finding in findings}
    return "error" if "error" in levels else "warning" if "warning" in levels else "ok"


def as_json(findings: Sequence[Finding]) -> str:
    """Everything, for programs."""
    content = {"verdict": verdict(findings), "findings": [asdict(each) for each in findings]}
    return json.dumps(content, indent=2, default=str) + "\n"
