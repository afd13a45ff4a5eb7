"""Modules imported once they are used."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from temporal_hmr.people.deferred import deferred, deferred_functions


@pytest.fixture(autouse=True)
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, and somebody who imports it and draws with it now and then."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("size = 3")
    (tmp_path / "heavy" / "drawing.py").write_text("def draw(): return 'drawn'")
    (tmp_path / "user.py").write_text(
        "import heavy.drawing as d\nimport heavy\ndef use(): return d.draw(), heavy.size"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("heavy", "heavy.drawing", "user"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_it_is_imported_when_it_is_used() -> None:
    with deferred("heavy", "drawing"):
        user = import_module("user")
    assert "heavy" not in sys.modules and "heavy.drawing" not in sys.modules
    assert user.use() == ("drawn", 3) == user.use()
    assert sys.modules["heavy.drawing"].__file__ and import_module("heavy").size == 3


def test_it_may_be_used_meanwhile() -> None:
    with deferred("heavy", "drawing"):
        user = import_module("user")
        assert user.use() == ("drawn", 3)
    assert import_module("heavy.drawing").draw() == "drawn"


def test_what_is_imported_already_stays() -> None:
    heavy = import_module("heavy")
    with deferred("heavy", "drawing"):
        assert import_module("heavy") is heavy
        assert import_module("heavy.drawing").__file__
    assert sys.modules["heavy"] is heavy


def test_what_is_not_there_is_still_missed() -> None:
    with deferred("heavy", "drawing"):
        drawing = import_module("heavy.drawing")
    with pytest.raises(AttributeError, match="paint"):
        drawing.paint()
    with pytest.raises(AttributeError, match="__file__"):
        assert drawing.__file__


def test_functions_are_there_when_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text("from heavy.drawing import draw")
    with deferred_functions("heavy.drawing"):
        user = import_module("user")
    assert "heavy.drawing" not in sys.modules
    assert user.draw() == "drawn" and "heavy.drawing" in sys.modules
    drawing = import_module("heavy.drawing")
    with deferred_functions("heavy.drawing"):
        assert import_module("heavy.drawing") is drawing


def test_filterpy_tells_likelihoods_all_the_same() -> None:
    code = (
        "import sys; from temporal_hmr.people.motion_filter import KalmanFilter;"
        "print('scipy.stats' in sys.modules); f = KalmanFilter(2, 1); f.predict(); f.update(0.0);"
        "print(f.log_likelihood < 0)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]


def test_mediapipe_draws_all_the_same() -> None:
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    code = (
        "import sys; from temporal_hmr.people.blazepose import BlazePose; BlazePose(False).close();"
        "print('matplotlib' in sys.modules); import mediapipe, matplotlib.pyplot;"
        "draws = mediapipe.solutions.drawing_utils.plt.figure;"
        "print(draws is matplotlib.pyplot.figure)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]
