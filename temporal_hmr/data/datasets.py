"""Datasets by name."""

import logging
from pathlib import Path

from temporal_hmr.command_line import nearest
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.errors import InputError

DATASETS = (
    *("human3.6m", "mpi-inf-3dhp", "3dpw", "bedlam", "amass", "3doh", "3dpw-occ", "3dpw-pc"),
    *("coco", "mpii", "instavariety", "penn-action", "posetrack", "fitted-bodies"),
    "shards",
)

_log = logging.getLogger(__name__)


def read_sequences(dataset: str, folder: Path, part: str, skip_broken: bool) -> list[Sequence]:
    """Raises `InputError` for a dataset that there is not, and what its reader raises."""
    match dataset:
        case "human3.6m":
            from temporal_hmr.data.human36m import read_human36m as read
        case "mpi-inf-3dhp":
            from temporal_hmr.data.mpi_inf_3dhp import read_mpi_inf_3dhp as read
        case "3dpw":
            from temporal_hmr.data.threedpw_training import read_threedpw_training as read
        case "bedlam":
            from temporal_hmr.data.bedlam import read_bedlam as read
        case "3doh":
            from temporal_hmr.data.occlusion_sets import read_3doh50k as read
        case "shards":
            from temporal_hmr.data.shards import read_shards as read
        case "3dpw-occ" | "3dpw-pc":
            return _read_occluded(dataset, folder, skip_broken)
        case _:
            return _read_pictures(dataset, folder, part, skip_broken)
    return read(folder, part, skip_broken)


def _read_pictures(dataset: str, folder: Path, part: str, skip_broken: bool) -> list[Sequence]:
    """Datasets that were labelled in pictures."""
    match dataset:
        case "coco":
            from temporal_hmr.data.coco import read_coco as read
        case "mpii":
            from temporal_hmr.data.mpii import read_mpii as read
        case "instavariety":
            from temporal_hmr.data.instavariety import read_instavariety as read
        case "penn-action":
            from temporal_hmr.data.penn_action import read_penn_action as read
        case "posetrack":
            from temporal_hmr.data.posetrack import read_posetrack as read
        case "fitted-bodies":
            from temporal_hmr.data.fitted_bodies import read_fitted_bodies as read
        case _:
            near = nearest(dataset, DATASETS)
            hint = f"did you mean {near}?" if near else f"give one of {', '.join(DATASETS)}"
            raise InputError(f"there is no dataset {dataset!r}: {hint}")
    return read(folder, part, skip_broken)


def _read_occluded(dataset: str, folder: Path, skip_broken: bool) -> list[Sequence]:
    from temporal_hmr.data.annotations import Pictures, gather
    from temporal_hmr.data.occlusion_sets import select_crowded, select_occluded
    from temporal_hmr.data.threedpw import read_threedpw
    from temporal_hmr.data.threedpw_training import USABLE, in_camera_axes

    splits = sorted(path.name for path in (folder / "sequenceFiles").glob("[!.]*"))
    skip = _log.warning if skip_broken else None
    people = [person for split in splits for person in read_threedpw(folder, split, skip)]
    select = select_occluded if dataset == "3dpw-occ" else select_crowded
    return gather(
        select(people),
        lambda person: [in_camera_axes(person, dataset, USABLE)],
        Pictures(),
        skip_broken,
    )
