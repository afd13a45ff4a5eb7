"""Folders that are filled piece by piece, and say in `description.json` what they are filled with.

Whoever goes on with a folder must mean the same: the description is compared before anything is
written.
"""

import json
from pathlib import Path
from typing import TypeVar

from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError

DESCRIPTION = "description.json"
AnyDescription = TypeVar("AnyDescription", bound=Config)


def claim(folder: Path, description: Config, holds: str) -> None:
    """Make a folder or take up one begun with the same description.

    `holds` says what is in such a folder, for errors. Raises `InputError` if the folder holds
    something else, or cannot be written to.
    """
    path = folder / DESCRIPTION
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if any(folder.iterdir()):
                raise InputError(f"{folder} is not empty: give another folder")
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(description.model_dump_json(indent=1).encode())
            partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    found = read_description(folder, type(description), holds)
    if found != description:
        changed = [
            name
            for name in type(description).model_fields
            if getattr(found, name) != getattr(description, name)
        ]
        raise InputError(
            f"{folder} holds {holds} made otherwise ({', '.join(changed)} differ): give another "
            "folder, or the arguments that it was begun with"
        )


def read_description(folder: Path, kind: type[AnyDescription], holds: str) -> AnyDescription:
    """Raises `InputError` naming file and field if there is none or it is damaged."""
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder} holds no {holds}: cannot read {DESCRIPTION} ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): make the {holds} anew") from error
    return parse_config(values, kind, str(path))
