"""The terms of everything that touched one result, from what the result says of its making."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError
from temporal_hmr.licensing.assets import (
    CODE,
    DETECTOR,
    OWN_BODY,
    OWN_WEIGHTS,
    SAMPLE,
    network_terms,
    own_body_licence,
    own_weights_hash,
    sample_hash,
)
from temporal_hmr.licensing.packages import package_terms, used_by_track
from temporal_hmr.licensing.terms import Terms

SUMMARY = "result.json"
_SMPL_SITE = "smpl.is.tue.mpg.de"
_STATED = ("detector", "package_version", "source_sha256")
"""What files of earlier versions may not state."""
_NO_WEIGHTS = "none:"
"""How files of truth begin what they say of weights."""


@dataclass(frozen=True)
class ResultTerms:
    """Everything that touched one result."""

    result: str
    made_by: str
    """Package and version."""
    terms: list[Terms]
    licensed_body: bool
    """Whether the body belongs to a licensor whose terms the result carries on."""


def terms_of(path: Path) -> ResultTerms:
    """Of a result folder, its result.json, or one person's npz.

    Raises `InputError` if it is none of these, or does not say how it was made.
    """
    made = _provenance(path)
    body = _body(made)
    terms = [_source(made), body, *_knowing(made), _code(made)]
    packages = [*used_by_track(), *(["transformers"] if made.get("detector_weights") else [])]
    terms += [found for name in packages if (found := package_terms(name)) is not None]
    version = made.get("package_version") or "of unknown version"
    return ResultTerms(
        result=str(path),
        made_by=f"temporal_hmr {version}",
        terms=terms,
        licensed_body=body.commercial == "not allowed",
    )


def _provenance(path: Path) -> Mapping[str, Any]:
    if path.is_dir():
        summary = path / SUMMARY
        if not summary.is_file():
            raise InputError(f"{path} is no result folder: it has no {SUMMARY}{_below(path)}")
        return _checked(summary, _json(summary))
    if path.suffix.lower() == ".json":
        return _checked(path, _json(path))
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"{path} is no result of temporal_hmr (a folder, its {SUMMARY}, or an npz of it); for "
            "what others made, ask them"
        )
    arrays = read_arrays(path, lambda names: [name for name in names if name == "meta"])
    if "meta" not in arrays:
        raise InputError(f"{path} does not say how it was made: it has no 'meta'; ask its maker")
    try:
        return _checked(path, json.loads(str(arrays["meta"])))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the 'meta' of {path} is damaged; track the video again") from error


def _below(folder: Path) -> str:
    """Results in the folders of this one, as a remedy."""
    names = sorted(summary.parent.name for summary in folder.glob(f"*/{SUMMARY}"))
    return (
        f"; name one of those in it: {', '.join(names[:5])}" if names else "; give one of track's"
    )


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged; track the video again") from error


def _checked(path: Path, made: object) -> Mapping[str, Any]:
    needed = ("source", "body", "body_licence", "weights", "weights_sha256")
    if not isinstance(made, dict):
        raise InputError(f"{path} is not what track writes; give a result folder")
    missing = [key for key in needed if not isinstance(made.get(key), str)]
    missing += [key for key in _STATED if not isinstance(made.get(key) or "", str)]
    if missing:
        raise InputError(f"{path} does not state {', '.join(missing)}; track the video again")
    return made


def _source(made: Mapping[str, Any]) -> Terms:
    if made.get("source_sha256") and made["source_sha256"] == sample_hash():
        return replace(SAMPLE, kind="source")
    return Terms(
        "source",
        made["source"] or "unnamed",
        "its owner's",
        "unknown",
        "yours, if you filmed it and whoever is in it agrees; else ask its owner",
    )


def _body(made: Mapping[str, Any]) -> Terms:
    name, statement = made["body"], made["body_licence"]
    if statement and statement == own_body_licence():
        return replace(OWN_BODY, name=name, statement=statement)
    if _SMPL_SITE in statement:
        return Terms(
            "body",
            name,
            "SMPL model licence",
            "not allowed",
            "for non-commercial research, unless the file was obtained with a commercial licence "
            "(https://meshcapade.com): ask whoever obtained it",
            statement=statement,
        )
    said = f"it says: {statement}" if statement else "it states no terms"
    return Terms(
        "body", name, "its owner's", "unknown", f"{said}: ask its owner", statement=statement
    )


def _knowing(made: Mapping[str, Any]) -> list[Terms]:
    """Weights and detector; parameters that a clip was rendered from had neither."""
    weights, digest = made["weights"], made["weights_sha256"]
    if weights.startswith(_NO_WEIGHTS):
        return []
    detector = made.get("detector")
    networks = made.get("detector_weights")
    if isinstance(networks, dict) and networks:
        return [_weights(weights, digest), *(network_terms(name) for name in networks)]
    if detector and "BlazePose" not in detector:
        advice = "keypoints of a file: ask whoever made them with what"
        keypoints = Terms("detector", detector, "unknown", "unknown", advice)
        return [_weights(weights, digest), keypoints]
    told = {"name": detector} if detector else {"advice": "not recorded; track knows no other"}
    return [_weights(weights, digest), replace(DETECTOR, **told)]


def _weights(name: str, digest: str) -> Terms:
    if digest and digest == own_weights_hash():
        return replace(OWN_WEIGHTS, name=name)
    return Terms(
        "weights",
        name,
        "unknown",
        "unknown",
        "yours, if you trained them on data whose terms allow it; else ask whoever did. Weights "
        "converted from others keep those others' terms",
    )


def _code(made: Mapping[str, Any]) -> Terms:
    version = made.get("package_version") or ""
    return replace(CODE, name=f"temporal_hmr {version}".rstrip())
