"""Folders in which files wait: whose they are, and who clears them away."""

import subprocess
import sys
from pathlib import Path

import pytest

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
