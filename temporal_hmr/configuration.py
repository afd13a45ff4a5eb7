"""Typed settings from YAML: frozen, strict, with an error that names the field and the remedy."""

import difflib
from pathlib import Path
from typing import TypeVar

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
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML: {problem}") from error
    return values if values is not None else {}


def parse_config(values: object, kind: type[AnyConfig], source: str) -> AnyConfig:
    """Check plain values (from YAML or JSON) as settings; `source` names them in errors."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "(top level)"
        hint = _nearest(first["loc"], kind) if first["type"] == "extra_forbidden" else ""
        problem = "is no setting" if hint or first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"{source}: {where}: {problem}{hint}") from error


def _nearest(location: tuple[int | str, ...], kind: type[BaseModel]) -> str:
    """' (did you mean ...?)' for a misspelt field, searched in the group it stands in."""
    group: type[BaseModel] = kind
    for part in location[:-1]:
        annotation = (
            group.model_fields[str(part)].annotation if part in group.model_fields else None
        )
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        group = annotation
    close = difflib.get_close_matches(str(location[-1]), list(group.model_fields), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
