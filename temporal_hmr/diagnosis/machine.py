"""Python, memory, disk and the folder for results: looked at with the standard library alone."""

import hashlib
import os
import platform
import shutil
import struct
import sys
import tempfile
from base64 import urlsafe_b64encode
from importlib import metadata
from pathlib import Path

from temporal_hmr.dependencies import DISTRIBUTION, PACKAGE
from temporal_hmr.diagnosis.findings import Finding, error, ok, warning

OLDEST_PYTHON, FIRST_TOO_NEW = (3, 10), (3, 13)
FIRST_WITHOUT_DETECTOR = (3, 12)
"""mediapipe 0.10.9, the last with BlazePose's networks in its wheel, ends with Python 3.11."""
GIB = 2**30
_ENOUGH_MEMORY, _LEAST_MEMORY = 2 * GIB, 1 * GIB
_ENOUGH_DISK, _LEAST_DISK = 1 * GIB, GIB // 20


def python_finding() -> Finding:
    """Whether this Python will do."""
    version = platform.python_version()
    where = f"{version} on {platform.system()} {platform.machine()}"
    details = {"version": version, "executable": sys.executable, "platform": platform.platform()}
    use = "make an environment with Python 3.10 or 3.11"
    if struct.calcsize("P") != 8:
        return error("python", f"{where} is a 32-bit build, for which torch does not exist: {use}")
    if sys.version_info[:2] < OLDEST_PYTHON or sys.version_info[:2] >= FIRST_TOO_NEW:
        return error("python", f"{where} is not supported: {use}", **details)
    if sys.version_info[:2] >= FIRST_WITHOUT_DETECTOR:
        return warning(
            "python",
            f"{where}: the detector has no wheel for it; to track videos, {use}",
            **details,
        )
    return ok("python", where, **details)


def memory_finding() -> Finding:
    """Memory that programs may still take."""
    free = available_memory()
    if free is None:
        return ok("memory", "this system does not tell how much is free; 2 GB are enough")
    said, details = f"{free / GIB:.1f} GB free", {"available_bytes": free}
    if free < _LEAST_MEMORY:
        return error("memory", f"only {said}: close other programs, 2 GB are enough", **details)
    if free < _ENOUGH_MEMORY:
        return warning("memory", f"only {said}: close other programs if one is killed", **details)
    return ok("memory", said, **details)


def available_memory() -> int | None:
    """Bytes, within what a container may take; None where it cannot be told."""
    limits = []
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if _read(limit).isdecimal() and _read(usage).isdecimal():
            limits.append(max(int(_read(limit)) - int(_read(usage)), 0))
    if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits) if limits else None


def output_finding(folder: Path) -> Finding:
    """Whether results can be written to `folder`, which need not exist, and how much of them."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"0" * 4096)
        free = shutil.disk_usage(existing).free
    except OSError as failure:
        return error(
            "output",
            f"cannot write to {folder} ({existing}: {failure.strerror}): allow it, or choose "
            "another place with --output-dir",
        )
    said, details = f"{free / GIB:.1f} GB free", {"folder": str(folder), "free_bytes": free}
    if free < _LEAST_DISK:
        return error("output", f"{folder}: only {said}: make room, or choose another", **details)
    if free < _ENOUGH_DISK:
        return warning("output", f"{folder}: only {said}: make room for overlays", **details)
    return ok("output", f"{folder} can be written to, {said}", **details)


def assets_finding() -> Finding | None:
    """Whether what came with the package is what was packed; None where no record tells."""
    recorded = _recorded_assets()
    if not recorded:
        return None
    for path, expected in recorded.items():
        if not path.is_file() or _record_hash(path) != expected:
            what = "differs from what was packed" if path.is_file() else "is missing"
            return error(
                "assets",
                f"{path.name} of the package {what}: run `pip install --force-reinstall "
                f"--no-deps {DISTRIBUTION}`, or the same of the clone",
                file=str(path),
            )
    return ok("assets", f"the {len(recorded)} files of the package are as they were packed")


def _recorded_assets() -> dict[Path, str]:
    """Hashes by file, as the record of an installed wheel states them."""
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        return {}
    assets = (PACKAGE / "assets").resolve()
    return {
        path: file.hash.value
        for file in files
        if file.hash is not None and file.hash.mode == "sha256"
        if (path := Path(str(file.locate())).resolve()).parent == assets
    }


def _record_hash(path: Path) -> str:
    """As wheels write it: base64 without padding."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
