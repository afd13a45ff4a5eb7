"""Typed settings from YAML: frozen, strict, with an error that names the field and the remedy."""

import difflib
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from temporal_hmr.errors import InputError


class Config(BaseModel):
    """Base of every group of settings: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyConfig = TypeVar("AnyConfig", bound=Config)


def load_config(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    """Read a YAML file as settings of the given kind; raises `InputError` naming file and field."""
    return parse_config(read_settings(path), kind, str(path))


def read_settings(path: Path) -> object:
    """The plain values of a YAML file, {} of an empty one; raises `InputError` naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file; a configuration is YAML in UTF-8") from error
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # `ValueError` of dates and numbers that cannot be.
        problem = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML: {problem}") from error
    return values if values is not None else {}


def parse_config(values: object, kind: type[AnyConfig], source: str) -> AnyConfig:
    """Check plain values (from YAML or JSON) as settings; `source` names them in errors."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # A misspelt name also leaves the right one missing: it is the one to tell.
        errors = error.errors()
        misspelt = [each for each in errors if each["type"] == "extra_forbidden"]
        first = (misspelt or errors)[0]
        path, fields = _place(first["loc"], kind)
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(path[-1], fields, n=1)
            problem = "is no setting" + (f" (did you mean {close[0]}?)" if close else "")
        elif "expected_tags" in (context := first.get("ctx", {})):
            problem = f"there is no {context['tag']!r}: choose among {context['expected_tags']}"
        place = [".".join(path)] if path else []
        raise InputError(": ".join([source, *place, problem])) from error


def _place(location: tuple[int | str, ...], kind: type[BaseModel]) -> tuple[list[str], list[str]]:
    """Where an error is, as the user wrote it, and the fields of the group that it stands in.

    Of several groups that could stand in a place pydantic says which one it took, by its `kind` or
    the like; nobody wrote that as part of the path.
    """
    path: list[str] = []
    fields: list[str] = []
    groups = [kind]
    for part in location:
        taken = [group for group in groups if part in _named(group)]
        if len(groups) > 1 and taken:
            groups = taken
            continue
        path.append(str(part))
        if isinstance(part, str):
            fields = [name for group in groups for name in group.model_fields]
            found = [group.model_fields.get(part) for group in groups]
            groups = [inner for field in found if field for inner in _groups(field.annotation)]
    return path, fields


def _named(group: type[BaseModel]) -> set[str]:
    """Names by which a group is chosen among others: values of fields that can have no other."""
    literals = (get_args(field.annotation) for field in group.model_fields.values())
    return {values[0] for values in literals if len(values) == 1 and isinstance(values[0], str)}


def _groups(annotation: object) -> list[type[BaseModel]]:
    """Groups of settings that may stand in a field, alone or as items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [group for part in get_args(annotation) for group in _groups(part)]
