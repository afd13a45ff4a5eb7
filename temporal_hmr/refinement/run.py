"""Results of a file or a folder refined into another folder, in the layout they came in."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.reading import OURS, Given, read_result
from temporal_hmr.errors import InputError
from temporal_hmr.filters import one_euro_smpl, savitzky_golay_smpl
from temporal_hmr.interchange.files import UnknownFormat
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.amass import Z_UP
from temporal_hmr.output.exported import TURN
from temporal_hmr.output.folder import made_folder
from temporal_hmr.output.partial import partial_folder
from temporal_hmr.refinement.amass_file import SOURCE as AMASS
from temporal_hmr.refinement.amass_file import is_amass, read_amass_motion
from temporal_hmr.refinement.comparison import Comparison, change, smoothness
from temporal_hmr.refinement.folder import (
    REPORT,
    check_folder,
    copy_summaries,
    files_to_refine,
    publish,
    written_files,
)
from temporal_hmr.refinement.model_motion import model_rotations
from temporal_hmr.refinement.our_files import rewrite_ours
from temporal_hmr.refinement.rewriting import (
    NewMotion,
    rewrite_arrays,
    rewrite_gvhmr,
    rewrite_people,
    rewrite_phalp,
    write_json,
    write_plain,
)
from temporal_hmr.refinement.steady import Evidence, Steady, steady, weigh
from temporal_hmr.skeleton import SMPL24

METHODS = ("steady", "model", "one-euro", "savgol")
PLAIN = "npz"
"""The folder of plain arrays, for results of others."""
_ARRAYS = (OURS, "npz", AMASS)
"""Kinds of files that are plain arrays already."""
_UNFILLED = (OURS, "phalp")
"""Those to which no frames are added: ours have all that were looked at, PHALP's list people."""
ASSUMED_FPS = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefineSettings:
    """What can be chosen when results are refined."""

    method: str = "steady"
    body: Path | None = None
    """The SMPL file that the results were made with."""
    fps: float | None = None
    """For files that do not state their frame rate; None assumes 30."""
    read_as: str | None = None
    """The system whose files they are; None tells by what they hold."""
    fill: float = 0.5
    """Seconds: longer holes stay."""
    one_shape: bool = True
    """Whether each person gets one shape for all frames."""


def refine_results(
    result: Path, folder: Path, settings: RefineSettings, model: Hmr | None = None
) -> list[Comparison]:
    """Write refined results, plain arrays of others' results, and the report to a new folder.

    `model` is needed for the method of that name. Raises `InputError` if nothing can be used, or
    the folder holds anything that is no earlier refinement.
    """
    files = files_to_refine(result)
    check_folder(folder, result)
    comparisons: list[Comparison] = []
    report: list[dict[str, object]] = []
    base = result if result.is_dir() else result.parent
    with made_folder(folder), partial_folder(folder) as partial:
        for file in files:
            to = partial / file.relative_to(base)
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                found = _refine_file(file, to, settings, model)
            except UnknownFormat as error:
                if len(files) == 1:
                    raise
                _log.warning("left out: %s", error)
                continue
            comparisons += found
            where = file.relative_to(base).as_posix()
            report += [{"file": where, **each.as_json()} for each in found]
        if not comparisons:
            raise InputError(f"{result} has no result that could be refined")
        copy_summaries(result, files, partial, folder)
        summary = {"source": result.resolve().name, "method": settings.method, "people": report}
        write_json({**summary, "files": written_files(partial)}, partial / REPORT)
        publish(partial, folder)
    return comparisons


def _refine_file(
    file: Path, to: Path, settings: RefineSettings, model: Hmr | None
) -> list[Comparison]:
    people = list(_people(file, settings))
    new, comparisons = [], []
    for given in people:
        fps = given.motion.fps or settings.fps or ASSUMED_FPS
        if given.motion.fps is None and settings.fps is None:
            _log.warning("%s states no frame rate: %g is assumed (--fps)", given.motion.name, fps)
        evidence, found = refine_motion(given, fps, settings, model)
        nearest = np.searchsorted(given.motion.frames, found.motion.frames)
        new.append(NewMotion(found.motion, nearest, given.body))
        comparisons.append(_compared(given, evidence, found, fps))
    source = people[0].motion.source
    _WRITERS[source](file, new, to)
    if source not in _ARRAYS:
        folder = to.parent / PLAIN
        folder.mkdir(exist_ok=True)
        for number, each in enumerate(new):
            write_plain(each.motion, folder / f"{file.stem}_{number:03d}.npz")
    return comparisons


def _people(file: Path, settings: RefineSettings) -> Iterator[Given]:
    if file.suffix == ".npz" and settings.read_as is None and file.is_file():
        arrays = read_arrays(file, lambda names: [name for name in names if name == "poses"])
        if is_amass(arrays):
            stand_in = Given(read_amass_motion(file), *_body(settings))
            yield stand_in
            return
    yield from read_result(file, settings.body, settings.read_as)


def _body(settings: RefineSettings) -> tuple[BodyModel, bool]:
    return load_body(settings.body, torch.float64), settings.body is not None


def refine_motion(
    given: Given, fps: float, settings: RefineSettings, model: Hmr | None = None
) -> tuple[Evidence, Steady]:
    """One person's motion, and what was believed of it."""
    motion = given.motion
    fill = 0.0 if motion.source in _UNFILLED else settings.fill
    evidence = weigh(motion, fps, fill)
    betas = evidence.motion.smpl.betas if given.own_body else evidence.motion.smpl.betas * 0
    rest = given.body.rest_joints(betas.median(0).values)[0].double()
    if settings.method in _FILTERS:
        return evidence, _filtered(evidence, _FILTERS[settings.method])
    found = steady(evidence, rest, one_shape=settings.one_shape)
    if settings.method == "steady":
        return evidence, found
    assert model is not None, "the door loads one"
    smpl = replace(found.motion.smpl, betas=betas)
    said = model_rotations(
        model, smpl, evidence.times, ~evidence.guessed, _upright(motion), motion.has_depth
    )
    return evidence, steady(evidence, rest, said, settings.one_shape)


def _filtered(evidence: Evidence, by: Callable[[SmplParams, ndarray], SmplParams]) -> Steady:
    motion, nothing = evidence.motion, np.zeros(len(SMPL24))
    world = None if motion.world is None else by(motion.world, evidence.times)
    filtered = replace(motion, smpl=by(motion.smpl, evidence.times), world=world)
    return Steady(filtered, nothing, nothing)


def _upright(motion: PredictedMotion) -> Float[Tensor, "3 3"]:
    """From the axes of the motion to OpenCV's, of a camera that is held level."""
    if motion.source != AMASS:
        return torch.eye(3, dtype=torch.float64)
    return torch.diag(torch.tensor(TURN)).double() @ torch.tensor(Z_UP).double().mT


def _compared(given: Given, evidence: Evidence, found: Steady, fps: float) -> Comparison:
    def named(values: ndarray) -> dict[str, float]:
        if not values.any():
            return {}
        return dict(zip(SMPL24.joints, np.round(values, 3).tolist(), strict=True))

    return Comparison(
        name=given.motion.name,
        frames=len(found.motion),
        added=int(evidence.added.sum()),
        mended_frames=tuple(found.motion.frames[evidence.mended()].tolist()),
        before=smoothness(given.motion, given.body, fps),
        after=smoothness(found.motion, given.body, fps),
        change=change(given.motion, found.motion, given.body, fps),
        noise_degrees=named(found.noise),
        model_shares=named(found.shares),
    )


_FILTERS: dict[str, Callable[[SmplParams, ndarray], SmplParams]] = {
    "one-euro": one_euro_smpl,
    "savgol": lambda smpl, times: savitzky_golay_smpl(smpl),
}
_WRITERS: dict[str, Callable[[Path, list[NewMotion], Path], None]] = {
    OURS: rewrite_ours,
    "npz": rewrite_arrays,
    AMASS: rewrite_arrays,
    "wham": rewrite_people,
    "vibe": rewrite_people,
    "gvhmr": rewrite_gvhmr,
    "phalp": rewrite_phalp,
}
