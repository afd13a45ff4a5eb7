"""One reader for the result files of all systems; what a file holds tells whose it is."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from temporal_hmr.errors import InputError
from temporal_hmr.interchange.gvhmr import read_gvhmr
from temporal_hmr.interchange.ours import read_ours
from temporal_hmr.interchange.phalp import read_phalp
from temporal_hmr.interchange.plain import read_plain
from temporal_hmr.interchange.vibe import read_vibe
from temporal_hmr.interchange.wham import read_wham
from temporal_hmr.joblib_files import load_joblib
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.torch_files import load_tensors

_READERS = {"wham": read_wham, "vibe": read_vibe, "gvhmr": read_gvhmr, "phalp": read_phalp}
_ARCHIVES = {"ours": read_ours, "npz": read_plain}
FORMATS = (*_ARCHIVES, *_READERS)
"""By the system: ours, plain arrays, WHAM's, VIBE's and TCMR's, GVHMR's, PHALP's and 4D-Humans'."""

_MARKS = {
    "wham": {"pose", "trans"},
    "vibe": {"pose", "pred_cam"},
    "gvhmr": {"smpl_params_incam"},
    "phalp": {"tid", "smpl"},
}
"""Keys that no other format has together: of GVHMR's file, of a person in it, or of a frame."""


class UnknownFormat(InputError):
    """A file that can be read, but is the result of no system that we know."""


_ZIP = b"PK"
_KEYS_NAMED = 12


def read_predictions(path: Path | str, format: str | None = None) -> list[PredictedMotion]:
    """Everybody in a result file, in its order; nobody if it is an empty list of people.

    With `format`, one of `FORMATS`, the file is taken to be such a file whatever it looks like.
    Nothing in it is run. Raises `InputError` for a file that is missing, damaged, of no known
    format, or not as its format has it.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise InputError(f"there is no result format {format!r}; known are {', '.join(FORMATS)}")
    archive = _archive_format(path) if format is None else format
    if archive in _ARCHIVES:
        return _ARCHIVES[archive](path)
    contents = load_tensors(path) if _zip_names(path) else load_joblib(path)
    if not isinstance(contents, Mapping):
        raise UnknownFormat(
            f"{path} holds a {type(contents).__name__} and no named values: {_known()}"
        )
    if format is not None:
        return _READERS[format](path, contents)
    return _READERS[_told_by_keys(path, contents)](path, contents) if contents else []


def _archive_format(path: Path) -> str | None:
    """Which of the archives of arrays it is; None for one of another kind or no archive."""
    names = _zip_names(path)
    if not names or any(name.endswith("/data.pkl") for name in names):
        return None
    keys = {name.removesuffix(".npy") for name in names}
    if "poses" not in keys:
        raise UnknownFormat(f"{path} is of no known format: {_found(keys)}; {_known()}")
    return "ours" if "meta" in keys else "npz"


def _zip_names(path: Path) -> list[str]:
    """The members of an archive, none where the file is not one."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                return []
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); get the file anew") from error


def _told_by_keys(path: Path, contents: Mapping) -> str:
    inner = set().union(*(values for values in contents.values() if isinstance(values, Mapping)))
    for kind, marks in _MARKS.items():
        if marks <= (set(contents) if kind == "gvhmr" else inner):
            return kind
    keys = inner or set(contents)
    raise UnknownFormat(f"{path} is of no known format: {_found(keys)}; {_known()}")


def _found(keys: set) -> str:
    listed = sorted(map(str, keys))
    more = f" and {len(listed) - _KEYS_NAMED} more" if len(listed) > _KEYS_NAMED else ""
    return f"its keys are {', '.join(listed[:_KEYS_NAMED])}{more}" if listed else "it has no keys"


def _known() -> str:
    return f"known are the results of {', '.join(FORMATS)}; give one of them"
