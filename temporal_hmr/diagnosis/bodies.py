"""What is told of the body files of a user, and their conversion."""

import json
import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from temporal_hmr.command_line import counted
from temporal_hmr.diagnosis.file_kinds import Search, search
from temporal_hmr.diagnosis.findings import Finding, error, ok, warning
from temporal_hmr.diagnosis.probing import PATIENCE, Answer, ask

AREA = "bodies"
_USABLE = ("SMPL", "SMPL format")


def body_findings(
    places: Sequence[Path], asked_for: bool, convert_to: Path | None, patience: float = PATIENCE
) -> Iterator[Finding]:
    """Every body file in these places, told by its content; then what could not be told.

    `asked_for`: whether the user named the places, so that a file that is damaged is an error.
    """
    found = search(places)
    usable, without = [], 0
    for answer in ask("identify", [str(file) for file in found.files], patience):
        finding = _judge(answer, asked_for)
        if finding is not None:
            yield finding
        without += finding is None
        usable += [answer] if _is_usable(answer) else []
    yield from _summary(found, without, usable, asked_for)
    if convert_to is not None:
        yield from _convert(usable, convert_to, patience)


def _judge(answer: Answer, asked_for: bool) -> Finding | None:
    """None for a file that holds no body and does not claim to."""
    path, severe = answer.item, error if asked_for else warning
    if not answer.went_well:
        message = f"{path}: reading it fails ({answer.failure}): leave it alone, get it anew"
        return severe(AREA, message, path=path)
    body: dict[str, Any] = answer.value
    if body["hostile"]:
        return severe(AREA, f"{path}: do not use it anywhere: {body['fault']}", **body)
    if body["family"] in _USABLE and body["kind"] in ("npz", "pickle"):
        return _judge_smpl(Path(path), body)
    if body["family"]:
        return ok(AREA, f"{path}: {body['fault']}", **body)
    return severe(AREA, f"{path}: {body['fault']}", **body) if body["fault"] else None


def _judge_smpl(path: Path, body: dict[str, Any]) -> Finding:
    said = f"{path}: {_described(body)}"
    if body["fault"]:
        return warning(AREA, f"{said}; {body['fault']}", **body)
    named = _named_gender(path)
    if body["gender"] and named and named != body["gender"]:
        return warning(
            AREA,
            f"{said} ({body['gender_by']}), though its name says {named}: rename it "
            f"SMPL_{body['gender'].upper()}{path.suffix}",
            **body,
        )
    return ok(AREA, said, **body)


def _described(body: dict[str, Any]) -> str:
    """Such as "SMPL 1.1.0, female, 300 shape coefficients"."""
    version = f" {body['version']}" if body["version"] else ""
    shapes = counted(body["shapes"], "shape coefficient")
    gender = body["gender"]
    if not gender:
        gender = f"gender untold: {body['gender_by']}" if body["gender_by"] else ""
    elif not body["gender_sure"]:
        gender = f"probably {gender}: {body['gender_by']}, nearly"
    return ", ".join(part for part in (f"{body['family']}{version}", shapes, gender) if part)


def _named_gender(path: Path) -> str:
    """What the file's name says of its gender; empty if it says nothing."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    for gender in ("female", "male", "neutral"):
        if gender in words or gender[0] in words:
            return gender
    return ""


def _is_usable(answer: Answer) -> bool:
    """Whether there is a body to convert; a file of the wrong name has one too."""
    if not answer.went_well:
        return False
    misnamed = "rename it" in answer.value["fault"]
    return answer.value["family"] == "SMPL" and (misnamed or not answer.value["fault"])


def _summary(
    found: Search, without: int, usable: Sequence[Answer], asked_for: bool
) -> Iterator[Finding]:
    looked = ", ".join(str(place) for place in found.places) or "the usual places"
    if found.cut_off:
        yield warning(AREA, f"there are too many files in {looked}: name the bodies' own folder")
    others = found.others + without
    beside = f", {counted(others, 'other file')}" if others else ""
    details = {"usable": [answer.item for answer in usable], "others": others}
    if usable:
        old = sum(answer.value["chumpy"] for answer in usable)
        plain = f"; {old} of chumpy's kind, which --convert FOLDER makes plain" if old else ""
        yield ok(
            AREA,
            f"{counted(len(usable), 'SMPL file')} in {looked}{beside}: track takes them with "
            f"--body{plain}",
            **details,
        )
        return
    judge = warning if asked_for else ok
    yield judge(
        AREA,
        f"no SMPL file in {looked}{beside}: none is needed, the open body comes with the package; "
        "SMPL is at https://smpl.is.tue.mpg.de",
        **details,
    )


def _convert(usable: Sequence[Answer], folder: Path, patience: float) -> Iterator[Finding]:
    if not usable:
        yield error("convert", "there is no SMPL file to convert: name one, or its folder")
        return
    distinct: dict[str, Answer] = {}
    for answer in usable:
        distinct.setdefault(answer.value["sha256"], answer)
    named: dict[str, Answer] = {}
    for answer in distinct.values():
        name = _name(answer, named)
        other = named.setdefault(name, answer)
        if other is not answer:
            yield error(
                "convert",
                f"{answer.item} was not converted: {other.item} is another body, which becomes "
                f"{name} too: rename one of the files",
                source=answer.item,
            )
    orders = [_order(answer, folder, name) for name, answer in named.items()]
    for answer in ask("convert", orders, patience):
        source = json.loads(answer.item)["source"]
        if not answer.went_well:
            words = answer.failure.removeprefix("InputError: ")
            yield error("convert", f"{source} was not converted: {words}", source=source)
            continue
        written = answer.value
        smplx = written["smplx_difference"]
        same = f"within {written['difference']:.0e} m"
        beside = "" if smplx is None else f", in smplx {smplx:.0e} m"
        yield ok(
            "convert",
            f"{source}: {written['npz']} for --body, {written['pkl']} for smplx; same vertices "
            f"{same}{beside}",
            source=source,
            **written,
        )


def _name(answer: Answer, taken: Container[str]) -> str:
    """Of the converted body; a second one of a gender keeps its own name."""
    gender, own = answer.value["gender"], Path(answer.item).stem
    usual = f"SMPL_{gender.upper()}" if gender else own
    return own if usual in taken else usual


def _order(answer: Answer, folder: Path, name: str) -> str:
    """One conversion."""
    gender = answer.value["gender"]
    told = {"source": answer.item, "folder": str(folder), "name": name, "gender": gender}
    return json.dumps(told)
