"""Whether the packages that are there are of versions that will do, and do not clash."""

from collections.abc import Sequence
from importlib import metadata

from temporal_hmr.dependencies import (
    Requirement,
    applicable,
    installed,
    recorded_requirements,
    requirements,
    satisfies,
    tested_versions,
)
from temporal_hmr.diagnosis.findings import Finding, error, ok, warning

OPENCV_WHEELS = (
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-python-headless",
)
"""All four fill the same folder cv2."""


def version_findings(wanted: Sequence[Requirement]) -> list[Finding]:
    """Packages of a version that is not asked for, and clashes; else one line for all."""
    if not wanted:
        return [
            warning("packages", "what is asked for cannot be told: run `pip install packaging`")
        ]
    found = [finding for each in wanted if (finding := _judge(each)) is not None]
    found += [*_several_opencvs(), *_torchvision(), *_stale_record()]
    needed = [each for each in wanted if not each.extra and installed(each.name) is not None]
    bad = sum(finding.level != "ok" for finding in found)
    return [_summary(needed), *found] if not bad else found


def _judge(wanted: Requirement) -> Finding | None:
    """None if it will do, or is not there: whether it imports all the same is looked at later."""
    version = installed(wanted.name)
    if version is None or satisfies(version, wanted):
        return None
    judge = warning if wanted.extra else error
    return judge(
        "packages",
        f"{wanted.name} {version} is installed, {wanted.specifier} is needed: run "
        f"`pip install '{wanted}'`",
        package=wanted.name,
        installed=version,
        wanted=wanted.specifier,
    )


def _several_opencvs() -> list[Finding]:
    """The wheels overwrite each other's files: what is imported is whichever came last."""
    there = [f"{name} {version}" for name in OPENCV_WHEELS if (version := installed(name))]
    if len(there) < 2:
        return []
    names = " ".join(entry.split()[0] for entry in there)
    return [
        warning(
            "packages",
            f"several OpenCVs fill the same folder ({', '.join(there)}): run `pip uninstall -y "
            f"{names}`, then `pip install 'opencv-contrib-python>=5'`",
            wheels=there,
        )
    ]


def _torchvision() -> list[Finding]:
    """torchvision is not needed, but one built for another torch breaks what imports it."""
    torch, vision = installed("torch"), installed("torchvision")
    if torch is None or vision is None:
        return []
    for wanted in applicable(metadata.requires("torchvision") or []):
        if wanted.name == "torch" and not satisfies(torch.split("+")[0], wanted):
            return [
                warning(
                    "packages",
                    f"torchvision {vision} is for torch{wanted.specifier}, not {torch}: run "
                    "`pip install --upgrade torchvision`, or `pip uninstall torchvision`, which "
                    "is not needed here",
                )
            ]
    return []


def _stale_record() -> list[Finding]:
    """An editable installation keeps the record of the day it was made."""
    recorded = {str(each) for each in recorded_requirements()}
    if not recorded or recorded == {str(each) for each in requirements()}:
        return []
    return [
        ok(
            "packages",
            "the installed record of temporal_hmr is older than this checkout, which asks for "
            "other versions: `pip install -e .` renews it",
        )
    ]


def _summary(needed: Sequence[Requirement]) -> Finding:
    tested = tested_versions()
    others = [
        f"{each.name} {version} ({tested[each.name]})"
        for each in needed
        if (version := installed(each.name)) and each.name in tested
        if version.split("+")[0] != tested[each.name]
    ]
    message = f"{len(needed)} are of versions that are asked for"
    if others:
        message += f"; otherwise than tested: {', '.join(others)}"
    versions = {each.name: installed(each.name) for each in needed}
    return ok("packages", message, versions=versions)
