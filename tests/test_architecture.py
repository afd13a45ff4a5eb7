"""The shape of the house: floors, sizes, names, and nothing done at import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "temporal_hmr"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((PACKAGE.parent / "scripts").rglob("*.py"))
TESTS = sorted(Path(__file__).parent.glob("*.py"))

FLOORS: dict[str, int] = {
    "errors": 0,
    "archive": 0,
    "containers": 0,
    "dependencies": 0,
    "pickles": 0,
    "joblib_files": 0,
    "torch_files": 0,
    "whole_files": 0,
    "rotation": 0,
    "skeleton": 0,
    "device": 0,
    "camera": 0,
    "configuration": 0,
    "checkpoint": 0,
    "native_output": 0,
    "journal": 0,
    "ahead": 0,
    "on_disk": 0,
    "threads": 0,
    "body": 1,
    "animations": 1,
    "cameras": 1,
    "images": 1,
    "image_numbers": 1,
    "damage": 1,
    "video": 1,
    "display": 1,
    "fitting": 1,
    "numbering": 1,
    "decoding": 1,
    "decoding_av": 1,
    "streams": 1,
    "motion": 1,
    "batch": 1,
    "crops": 1,
    "rasterize": 1,
    "people": 2,
    "tokenizers": 3,
    "models": 3,
    "losses": 3,
    "losses_mesh": 3,
    "losses_int": 3,
    "losses_tals": 3,
    "metrics": 3,
    "filters": 3,
    "clip_windows": 4,
    "blending": 4,
    "bridging": 4,
    "recalled_windows": 4,
    "keypoint_fit": 4,
    "reprojection": 4,
    "confidence": 4,
    "refinement": 4,
    "world": 4,
    "recover": 4,
    "output": 4,
    "rendering": 4,
    "training": 4,
    "data": 4,
    "checks": 4,
    "conversion": 4,
    "interchange": 4,
    "evaluation": 4,
    "command_line": 4,
    "many": 4,
    "licensing": 4,
    "deployment": 4,
    "given": 4,
    "following": 5,
    "eyes": 5,
    "online": 5,
    "live": 5,
    "tracked": 5,
    "tracking": 5,
    "editing": 5,
    "diagnosis": 5,
    "track": 6,
    "track_options": 6,
    "train": 6,
    "evaluate": 6,
    "check": 6,
    "edit": 6,
    "export": 6,
    "export_model": 6,
    "refine": 6,
    "convert": 6,
    "view": 6,
    "doctor": 6,
    "licenses": 6,
    "__init__": 7,
    "__main__": 7,
}
"""A module imports from its own floor or below."""


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "temporal_hmr" and len(parts) > 1:
                rooms.add(parts[1])
    return rooms & FLOORS.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{here} stands on no floor"
    above = {name for name in imported_rooms(path) if FLOORS[name] > FLOORS[here]}
    assert not above, f"{here} imports upward: {above}"


def test_seeing_and_knowing_never_meet() -> None:
    knowing = {"tokenizers", "models", "losses", "metrics"}
    for path in SOURCES:
        if room(path) == "people":
            assert not imported_rooms(path) & knowing
        if room(path) in knowing:
            assert "people" not in imported_rooms(path)


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=lambda p: p.name)
def test_sizes_and_names(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "a file of at most 400 lines"
    assert path.stem not in {"utils", "util", "helpers", "misc", "common", "tools"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, f"{node.name} is too long"
            count = len(node.args.args) + len(node.args.kwonlyargs)
            assert count <= 9, f"{node.name} takes too many parameters"


def test_tests_are_no_longer_than_what_they_test() -> None:
    assert not [path.name for path in TESTS if path.read_text().count("\n") > 400]


def test_importing_is_light() -> None:
    """Importing the package opens no model, and leaves the heavy packages alone."""
    code = "import sys, temporal_hmr; print('torch' in sys.modules, 'mediapipe' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
