"""Which packages this one asks for, here, on this system and Python.

Read from the checkout's pyproject.toml where there is one, else from the installed record: that of
an editable installation is as old as the installation.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

DISTRIBUTION = "temporal-hmr"
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Requirement:
    """One package that is asked for."""

    name: str
    specifier: str
    """Such as ">=2.9"; empty if any version will do."""
    extra: str
    """The option of the installation that asks for it; empty for what everybody needs."""

    def __str__(self) -> str:
        return self.name + self.specifier


def requirements() -> list[Requirement]:
    """What this version of temporal_hmr asks for; empty if nothing tells."""
    lines = _checkout_lines()
    return applicable(lines) if lines is not None else recorded_requirements()


def installation(extra: str) -> str:
    """What to do where a package of an extra is missing, for clones and installed packages alike.

    Such as "run `pip install 'ray>=2.9'` (the extra [ray] of temporal-hmr)".
    """
    packages = [f"'{each}'" for each in requirements() if each.extra == extra]
    named = " ".join(packages) or f"'{DISTRIBUTION}[{extra}]'"
    return f"run `pip install {named}` (the extra [{extra}] of {DISTRIBUTION})"


def recorded_requirements() -> list[Requirement]:
    """What the installed record asks for; empty without one."""
    try:
        return applicable(metadata.requires(DISTRIBUTION) or [])
    except metadata.PackageNotFoundError:
        return []


def tested_versions() -> dict[str, str]:
    """The versions that the tests pass with, by name, from the checkout's constraints.txt."""
    try:
        lines = (PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    stated = [line for line in lines if line.strip() and not line.startswith("#")]
    return {each.name: each.specifier.removeprefix("==") for each in applicable(stated)}


def installed(name: str) -> str | None:
    """The version of a package; None if it is not there, or its record is damaged."""
    try:
        return metadata.version(name) or None
    except (metadata.PackageNotFoundError, KeyError, TypeError, ValueError):
        return None


def applicable(lines: Iterable[str]) -> list[Requirement]:
    """Those whose conditions hold here; an extra counts as asked for. Empty without packaging."""
    reading = packaging_requirements()
    if reading is None:
        return []
    found = []
    for line in lines:
        try:
            stated = reading.Requirement(line)
        except ValueError:
            continue
        named = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        extra = named[1] if named else ""
        if stated.marker is None or stated.marker.evaluate({"extra": extra}):
            name = re.sub(r"[-_.]+", "-", stated.name).lower()
            if name != DISTRIBUTION:
                found.append(Requirement(name, str(stated.specifier), extra))
    return found


def satisfies(version: str, wanted: Requirement) -> bool:
    """Whether a version is one of those asked for; True where nothing can tell."""
    reading = packaging_requirements()
    if reading is None:
        return True
    try:
        return reading.SpecifierSet(wanted.specifier).contains(version, prereleases=True)
    except ValueError:
        return False


def packaging_requirements() -> ModuleType | None:
    """What reads version numbers: the package `packaging`, or pip's copy of it."""
    try:
        from packaging import requirements
    except ImportError:
        try:
            from pip._vendor.packaging import requirements
        except ImportError:
            return None
    return requirements


def _checkout_lines() -> list[str] | None:
    """The requirements in the pyproject.toml beside the package; None without one."""
    file = PACKAGE.parent / "pyproject.toml"
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            from pip._vendor import tomli as tomllib
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except (OSError, ImportError, ValueError, LookupError):
        return None
    if project.get("name") != DISTRIBUTION:
        return None
    extras = project.get("optional-dependencies", {})
    optional = [
        f"{line}{' and' if ';' in line else ' ;'} extra == '{extra}'"
        for extra, lines in extras.items()
        for line in lines
    ]
    return [*project.get("dependencies", []), *optional]
