"""The terms of the installed packages, as their own records state them."""

import re
from importlib import metadata

from temporal_hmr.dependencies import requirements
from temporal_hmr.licensing.terms import Terms, commercial_use

_SHORT = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Python Software Foundation License": "PSF",
    "APACHE": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
}
_LONGEST = 60
_AND_NOTHING_ELSE = {"matplotlib", "pillow", "smplx"}
"""Packages that are asked for and that `track` does not touch."""


def required() -> list[str]:
    """The packages that everybody needs; sorted."""
    return sorted({each.name for each in requirements() if not each.extra})


def used_by_track() -> list[str]:
    """Those that leave their mark on a result."""
    return [name for name in required() if name not in _AND_NOTHING_ELSE]


def package_terms(name: str) -> Terms | None:
    """None if the package is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    titled = f"{name} {found.version}"
    if name == "smplx":
        return _SMPLX(titled)
    licence = stated_licence(found)
    use = commercial_use(licence)
    advice = "" if use == "allowed" else f"its record says {licence!r}: read its licence"
    ffmpeg = bundled_ffmpeg(found)
    if "unredistributable" in ffmpeg:
        advice = f"to use; not to pass on: the FFmpeg in its wheel calls itself {ffmpeg!r}"
    elif name == "av" and ffmpeg:
        advice = (
            f"its wheel brings FFmpeg ({ffmpeg}) and x264 (GPL), which count if you pass it on, "
            "and not for the videos that it writes"
        )
    elif ffmpeg:
        advice = f"its wheel brings FFmpeg ({ffmpeg}), which counts if you pass it on"
    return Terms("package", titled, licence, use, advice)


def _SMPLX(titled: str) -> Terms:
    """Its record names no licence, its description does."""
    return Terms(
        "package",
        titled,
        "non-commercial research",
        "not allowed",
        "only temporal_hmr.as_smplx uses it; all else works without it",
    )


def stated_licence(found: metadata.Distribution) -> str:
    """Its SPDX expression, else its classifiers, else the first line of its licence field."""

    def of(field: str) -> list[str]:
        return [str(value) for value in found.metadata.get_all(field) or []]

    if expression := "".join(of("License-Expression")[:1]):
        return expression
    classified = [
        line.rsplit(" :: ", 1)[-1]
        for line in of("Classifier")
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    lines = "".join(of("License")[:1]).strip().splitlines()
    stated = " AND ".join(_SHORT.get(name, name) for name in classified) or "".join(lines[:1])
    return _SHORT.get(stated, stated)[:_LONGEST]


def bundled_ffmpeg(found: metadata.Distribution) -> str:
    """The licence that a wheel's own FFmpeg was built under; empty if it brings none."""
    # Making paths of the thousands of files of a package takes longer than reading their list.
    if "avcodec" not in (found.read_text("RECORD") or ""):
        return ""
    for file in found.files or []:
        if "avcodec" not in file.name:
            continue
        try:
            content = file.locate().read_bytes()  # type: ignore[union-attr]
        except OSError:
            continue
        told = re.search(rb"libavcodec license: ([ -~]+)", content)
        if told:
            return told[1].decode()
    return ""
