"""What to do about the usual ways in which packages fail to import."""

import re

_REMEDIES = (
    (
        r"libGL\.so|libgthread|libglib|libSM\.so|libXext|libXrender|libxcb",
        "this machine lacks a system library that OpenCV links to, as machines without a display "
        "do: run `apt-get install libgl1 libglib2.0-0` (or your system's packages of that name)",
    ),
    (
        r"compiled using NumPy 1|numpy\.core\.multiarray failed|_ARRAY_API|"
        r"numpy\.(dtype|ufunc) size changed|Numpy is not available|numpy\._core",
        "it was built for another major version of numpy than the one installed: run "
        "`pip install --force-reinstall --no-cache-dir {requirement}`",
    ),
    (
        r"Descriptors cannot|protobuf",
        "protobuf is too new or too old for it: run `pip install protobuf==3.20.3`",
    ),
    (
        r"GLIBC(XX)?_",
        "this system is older than the package was built for: use a newer one, or an older "
        "version of the package",
    ),
    (
        r"lib(cudart|cublas|cudnn|cufft|nvrtc|nccl|cusparse|nvJitLink|cupti)",
        "the CUDA libraries that come with torch are missing or mixed up: run "
        "`pip install --force-reinstall torch`",
    ),
    (
        r"DLL load failed",
        "a Windows library is missing: install Microsoft's Visual C++ Redistributable (x64) and "
        "restart",
    ),
    (
        r"SIGILL",
        "this processor lacks instructions that the package was built with: use another machine, "
        "or build the package here",
    ),
    (
        r"SIGKILL",
        "the system ended it, most likely for want of memory: close other programs",
    ),
    (
        r"^ModuleNotFoundError|^PackageNotFoundError",
        "run `pip install '{requirement}'`",
    ),
)
"""Pattern of the failure, and what helps; the first that fits counts."""
_OTHERWISE = "run `pip install --force-reinstall --no-cache-dir '{requirement}'`"


def remedy(requirement: str, failure: str, said: str = "") -> str:
    """What to do about a package that failed with these words, `said` being its last ones."""
    for words in (failure, said):
        for pattern, help_ in _REMEDIES:
            if re.search(pattern, words):
                return help_.format(requirement=requirement)
    return _OTHERWISE.format(requirement=requirement)


def short(failure: str, length: int = 160) -> str:
    """A failure in few words."""
    return failure if len(failure) <= length else failure[: length - 3] + "..."
