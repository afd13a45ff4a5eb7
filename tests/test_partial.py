"""Folders in which files wait: whose they are, and who clears them away."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from temporal_hmr.output import partial
from temporal_hmr.output.partial import clear_abandoned, partial_folder

_AT_WORK = """
import sys
from pathlib import Path
from temporal_hmr.output.partial import partial_folder
with partial_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("half")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def at_work(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    words = [sys.executable, "-c", _AT_WORK, str(folder)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, folder / process.stdout.readline().strip()


def test_without_locks_only_old_ones_go(tmp_path, monkeypatch) -> None:
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    with partial_folder(tmp_path) as theirs:
        with partial_folder(tmp_path):
            assert theirs.is_dir()
        os.utime(theirs, (0, 0))
        clear_abandoned(tmp_path)
        assert not theirs.exists()


def test_who_is_taken_for_a_killed_run_begins_anew(tmp_path, monkeypatch) -> None:
    """Between making a folder and holding it there is a moment."""
    real, taken = partial.held, []

    @contextmanager
    def late(folder):
        if not taken:
            taken.append(folder)
            folder.rmdir()
        with real(folder) as surely:
            yield surely

    monkeypatch.setattr(partial, "held", late)
    with partial_folder(tmp_path) as folder:
        assert folder.is_dir() and folder != taken[0]
    assert not list(tmp_path.iterdir())


def test_it_goes_at_the_end(tmp_path) -> None:
    with partial_folder(tmp_path) as folder:
        assert folder.parent == tmp_path and folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_those_of_runs_at_work_stay_and_those_of_killed_runs_go(tmp_path) -> None:
    pytest.importorskip("fcntl")
    process, theirs = at_work(tmp_path)
    try:
        with partial_folder(tmp_path):
            assert (theirs / "file").is_file()
        clear_abandoned(tmp_path)
        assert (theirs / "file").is_file()
    finally:
        process.kill()
        process.communicate()
    assert theirs.is_dir(), "nobody could clear it away"
    clear_abandoned(tmp_path)
    assert not theirs.exists()
