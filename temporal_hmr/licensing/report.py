"""Terms as people and programs read them."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from temporal_hmr.licensing.results import ResultTerms
from temporal_hmr.licensing.terms import Commercial, Terms, overall

_WIDTH = 80
_SHOWN: dict[Commercial, str] = {
    "allowed": "allowed",
    "not allowed": "NOT ALLOWED",
    "unknown": "ask the owner",
}
_CAVEAT = "This tells what files and packages state of themselves; it is no legal advice."


def result_text(found: ResultTerms) -> str:
    """A warning if the body is licensed, a table, credits, and the sum of it."""
    parts = [f"{found.result}: made by {found.made_by}"]
    if found.licensed_body:
        body = next(each for each in found.terms if each.kind == "body")
        parts.append(
            _filled(
                f"THIS RESULT IS ON A LICENSED BODY, {body.name}: poses, shapes, meshes and "
                f"pictures of it are subject to that licence. {body.statement}",
                "!! ",
            )
        )
    parts += [_table(found.terms), *_credits(found.terms)]
    use = overall(found.terms)
    open_ = [each.name for each in found.terms if each.commercial == "unknown"]
    doubt = f" (of {', '.join(open_)})" if use == "unknown" else ""
    parts.append(_filled(f"commercial use of this result: {_SHOWN[use]}{doubt}", ""))
    return "\n\n".join([*parts, _CAVEAT]) + "\n"


def installed_text(terms: Sequence[Terms]) -> str:
    """What comes with the package and what it stands on."""
    head = "temporal_hmr and what it stands on, as installed here"
    return "\n\n".join([head, _table(terms), *_credits(terms), _CAVEAT]) + "\n"


def as_json(terms: Sequence[Terms], **facts: object) -> str:
    """Everything, for programs."""
    content = {
        **facts,
        "commercial": overall(list(terms)),
        "assets": [asdict(each) for each in terms],
    }
    return json.dumps(content, indent=2) + "\n"


def _table(terms: Sequence[Terms]) -> str:
    lines = [f"{'commercial use':14} {'what':8} {'which':30} licence"]
    for each in terms:
        use = _SHOWN[each.commercial]
        row = f"{use:14} {each.kind:8} {each.name:30} {each.licence}"
        lines.append(row if len(row) <= _WIDTH else _broken_row(each, use))
        if each.advice:
            lines.append(_filled(each.advice, " " * 24))
    return "\n".join(lines)


def _broken_row(each: Terms, use: str) -> str:
    """A long name keeps its line for itself, a long licence goes on in the next."""
    first = f"{use:14} {each.kind:8} {each.name:30}"
    if len(first) < 56:
        return textwrap.fill(
            each.licence,
            _WIDTH,
            initial_indent=f"{first} ",
            subsequent_indent=" " * 55,
            break_on_hyphens=False,
        )
    return f"{first}\n{_filled(each.licence, ' ' * 55)}"


def _credits(terms: Sequence[Terms]) -> list[str]:
    """One part, or none."""
    said = list(dict.fromkeys(each.credit for each in terms if each.credit))
    if not said:
        return []
    return ["\n".join(["credit to give:", *(_filled(each, "  ") for each in said)])]


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
