"""The bodies and joint regressors that benchmarks are scored with; users bring the files."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel, PointRegressor
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import load_pickle

_PLACES = ("body_models", "data/body_models", "dataset/body_models", "inputs/checkpoints", "models")
"""Where the field keeps its body models, relative to the working directory."""
_REGRESSORS = {
    "h36m": ("J_regressor_h36m.npy", 17),
    "hmr2": ("SMPL_to_J19.pkl", 19),
}
_NAMES = ("smpl", "basicmodel")
"""How the names of SMPL's files begin."""
_DEPTH = 3
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Bodies:
    """Bodies by gender and regressors by name, each loaded once, when first asked for.

    With `folder` None the usual places are searched: `$SMPL_DIR`, then the folders that other
    projects use. `only_open` scores everything on the open body, whatever the gender.
    """

    folder: Path | None = None
    only_open: bool = False
    _loaded: dict[str, BodyModel] = field(default_factory=dict)
    _regressors: dict[tuple[str, str], PointRegressor] = field(default_factory=dict)

    def of(self, gender: str) -> BodyModel:
        """The body of a gender, in float64; raises `InputError` naming what is to be got where."""
        name = "open" if self.only_open else gender
        if name not in self._loaded:
            opened = self.only_open
            self._loaded[name] = load_body(None, torch.float64) if opened else self._found(gender)
        return self._loaded[name]

    def regressor(self, name: str, gender: str) -> PointRegressor:
        """`h36m` (17 joints), `hmr2` (19) or `smpl24` (the neutral body's own) on one body.

        Raises `InputError` if its file is not there or does not fit the body.
        """
        if (name, gender) not in self._regressors:
            body = self.of(gender)
            matrix = self._matrix(name)
            if matrix.shape[1] != len(body.v_template):
                raise InputError(
                    f"the regressor {name} is for {matrix.shape[1]} vertices, the {gender} body "
                    f"has {len(body.v_template)}"
                )
            self._regressors[name, gender] = body.point_regressor(matrix)
        return self._regressors[name, gender]

    def landmarks(self, names: Sequence[str], gender: str) -> list[int]:
        """Vertices of named points of the surface; raises `InputError` for one that is unknown."""
        body = self.of(gender)
        for name in names:
            if name not in body.landmarks:
                raise InputError(
                    f"the body {body.name} does not know where its {name} is (SMPL's 6890 vertices "
                    "do): leave foot_sliding out with --set metrics="
                )
        return [body.landmarks[name] for name in names]

    def _matrix(self, name: str) -> Float[ndarray, "K V"]:
        if name == "smpl24":
            return self._joint_regressor()
        file_name, rows = _REGRESSORS[name]
        file = next((file for file in self._files() if file.name == file_name), None)
        if file is None:
            raise InputError(
                f"this protocol needs {file_name} ({rows} joints from SMPL's vertices); put it "
                f"beside the body models ({self._searched()}) or choose joints with --set joints="
            )
        contents = load_pickle(file) if file.suffix == ".pkl" else _plain_array(file)
        if not isinstance(contents, ndarray) or contents.ndim != 2 or len(contents) != rows:
            raise InputError(f"{file} is no regressor of {rows} joints: get the file anew")
        return contents.astype(np.float64)

    def _joint_regressor(self) -> Float[ndarray, "24 V"]:
        """Of the neutral body, which some score both sides with."""
        return self.of("neutral").joint_regressor.numpy()

    def _found(self, gender: str) -> BodyModel:
        """Of the files that are named so, the first that is an SMPL body; raises `InputError`."""
        refusals: list[InputError] = []
        for file in self._body_files(gender):
            try:
                body = load_body(file, torch.float64)
            except InputError as error:
                refusals.append(error)
                continue
            for refusal in refusals:
                _log.warning("%s is taken instead of another file: %s", file, refusal)
            return body
        raise refusals[0]

    def _body_files(self, gender: str) -> list[Path]:
        """By place, those with SMPL's own names first: FLAME's and others' lie beside them."""
        candidates = [
            file
            for file in self._files()
            if file.suffix.lower() in {".pkl", ".npz"} and _gender_of(file.stem) == gender
        ]
        if not candidates:
            raise InputError(
                f"no {gender} SMPL body in {self._searched()}: scoring needs the licensed SMPL "
                "files, SMPL_NEUTRAL, SMPL_MALE and SMPL_FEMALE (.pkl or .npz; "
                "https://smpl.is.tue.mpg.de, https://smplify.is.tue.mpg.de); give their folder "
                "with --smpl"
            )
        return sorted(candidates, key=lambda file: not file.stem.lower().startswith(_NAMES))

    def _files(self) -> Iterator[Path]:
        for place in self._places():
            yield from _files_below(place, _DEPTH)

    def _places(self) -> list[Path]:
        if self.folder is not None:
            return [self.folder]
        chosen = [Path(os.environ["SMPL_DIR"])] if os.environ.get("SMPL_DIR") else []
        return [*chosen, *(Path(place) for place in _PLACES)]

    def _searched(self) -> str:
        return ", ".join(str(place) for place in self._places())


def _gender_of(stem: str) -> str | None:
    """What an SMPL file's name says; SMPL-H and SMPL-X are other bodies."""
    lower = stem.lower()
    if lower.startswith(("smplx", "smplh", "smpl_x", "smpl_h")):
        return None
    if "neutral" in lower:
        return "neutral"
    if "female" in lower or "basicmodel_f" in lower:
        return "female"
    if "male" in lower or "basicmodel_m" in lower:
        return "male"
    return None


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Without hidden ones, such as macOS lays beside every file of an archive."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return
    yield from (entry for entry in entries if entry.is_file())
    for entry in entries:
        if entry.is_dir() and depth:
            yield from _files_below(entry, depth - 1)


def _plain_array(file: Path) -> object:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} cannot be read as a plain array: {error}") from error
