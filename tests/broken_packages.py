"""Packages that fail in each of the ways that packages do, in the way of the real ones."""

import os
from collections.abc import Mapping
from pathlib import Path

FAILURES: Mapping[str, str] = {
    "raises": "raise ImportError('libGL.so.1: cannot open shared object file')",
    "aborts": "import os; os.abort()",
    "exits": "import sys; sys.exit(3)",
    "leaves": "import os; os._exit(7)",
    "hangs": "import time; time.sleep(60)",
    "prints": "import os; os.write(1, b'hello\\n'); print('{\"value\": 1}')",
    "numpy_1": (
        "import sys; sys.stderr.write('A module that was compiled using NumPy 1.x cannot be run "
        "in NumPy 2.4.6')"
    ),
    "forks": "import subprocess; subprocess.run(['echo', 'in the channel'])",
}


def write_packages(folder: Path, contents: Mapping[str, str]) -> Path:
    """Modules of these names with these programs."""
    folder.mkdir(exist_ok=True)
    for name, program in contents.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "__init__.py").write_text(program + "\n")
    return folder


def write_records(folder: Path, versions: Mapping[str, str], requires: str = "") -> Path:
    """What pip leaves of packages of these names and versions."""
    for name, version in versions.items():
        record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        record.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requires}"] if requires else []
        (record / "METADATA").write_text("\n".join(lines) + "\n")
    return folder


def environment_with(folder: Path) -> dict[str, str]:
    """In which the folder's packages come before the installed ones."""
    known = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *known.split(os.pathsep)])}
