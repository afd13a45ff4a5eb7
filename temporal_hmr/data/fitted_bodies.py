"""SMPL bodies that were fitted to labelled pictures: EFT's, CLIFF's and SPIN's.

They are pseudo-labels, not measurements: sequences with them are not `trusted`.

- EFT (Joo, Neverova and Vedaldi, 3DV 2021), json: rotation matrices, and a weak-perspective camera
  s, tx, ty of the square box of side 200 `bbox_scale` pixels around `bbox_center`: x of the body
  lies at s x + tx, where the box goes from -1 to 1; y likewise, down. As a perspective camera this
  is one far away that looks at the middle of the box; we take the focal length of SPIN's training,
  5000 pixels when the box measures 224.
- CLIFF (Li et al., ECCV 2022), npz: axis-angle poses, `global_t` in the camera of the full image
  with the focal length `focal_l` and its principal point in the middle of the image.
- SPIN's layout (Kolotouros et al., ICCV 2019), npz, into which others put their fits: like CLIFF's
  without place and camera. There `focal` is None, and `transl` is 0 and says nothing.

In all of them the body is in OpenCV's axes as it stands: x right, y down, z away from the camera.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.annotations import Entry, Pictures, gather, read_json, without_body
from temporal_hmr.data.coco import DATASET as COCO
from temporal_hmr.data.mpii import FIRST_PIXEL
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints, square_boxes
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24, SPIN24

DATASET = "fitted bodies"
CROP_SIDE = 224
CROP_FOCAL = 5000.0
"""Pixels of a crop of `CROP_SIDE`; SPIN's."""
MATCH_TOLERANCE = 0.02
"""Median distance of the keypoints of one person in two files, over the larger side of their
extent; a pixel of Matlab's numbering and their rounding are allowed besides."""
ROTATION_TOLERANCE = 1e-2

_OPENPOSE = 25
"""Joints of OpenPose that EFT has before SPIN's."""
_MPII_IMAGE = re.compile(r"\d{9}\.jpg")
_COCO_IMAGE = re.compile(r"COCO_(train2014|val2014)_\d{12}\.jpg")
_ARRAYS = ("imgname", "center", "scale", "part", "pose", "shape")
_OPTIONAL = ("global_t", "focal_l", "annot_id", "has_smpl")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fit:
    """A body fitted to one person in one picture."""

    image: str
    """As the file names it."""
    annotation: int | None
    """COCO's number of the person, where the file has it."""
    keypoints: Float[ndarray, "1 23 3"]
    """Pixels counted from 0, and confidence."""
    box: Float[ndarray, "1 4"]
    smpl: SmplParams
    """Batch axis 1, camera frame, float64."""
    focal: float | None
    """Pixels; None where the file does not say where the body stands."""
    principal: Float[ndarray, "2"] | None
    """None for the middle of the image."""

    def on(self, sequence: Sequence) -> Sequence:
        """The same picture with this body."""
        center = None
        if self.focal is not None:
            middle = np.array(sequence.image_size, np.float64) / 2
            center = (middle if self.principal is None else self.principal)[None]
        return replace(
            sequence,
            trusted=False,
            focal=None if self.focal is None else np.full((1, 2), self.focal),
            center=center,
            smpl=self.smpl,
            has_smpl=np.ones(1, bool),
            smpl_gender="neutral",
        )


def read_fitted_bodies(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All people of one file of fits, one sequence of one frame each.

    `part` is the file's name in `folder`, e.g. `COCO2014-All-ver01.json` or
    `coco2014part_cliffGT.npz`; the images are looked for where the file says, in `train2014` and
    `val2014` for COCO's, and in `images`. MPII's pixels are counted from 1 in such files; we count
    from 0. Raises `InputError` for what is broken or missing; with `skip_broken` it is logged and
    left out.
    """
    pictures = Pictures()

    def read(numbered: tuple[int, Fit | InputError]) -> list[Sequence]:
        number, fit = numbered
        if isinstance(fit, InputError):
            raise fit
        image = _image(folder, fit.image, pictures)
        sequence = without_body(
            name=f"{image.stem}_{number}",
            dataset=DATASET,
            images=(image,),
            image_size=pictures.size(image),
            times=np.zeros(1),
            boxes=fit.box,
            keypoints=fit.keypoints,
        )
        return [fit.on(sequence)]

    return gather(enumerate(_fits(folder / part)), read, pictures, skip_broken)


def attach_fits(sequences: list[Sequence], path: Path, skip_broken: bool = False) -> list[Sequence]:
    """People of COCO or MPII with the bodies that a file has for them; the others as they were.

    A fit belongs to the person of its annotation's number, else to the one in the image of its
    number whose keypoints lie where its own lie. How many find nobody is logged. Raises
    `InputError` for a broken file, or if no fit finds anybody; with `skip_broken` broken fits are
    logged and left out.
    """
    by_image: dict[int, list[int]] = defaultdict(list)
    for position, sequence in enumerate(sequences):
        by_image[_number(sequence.name.partition("_")[0])].append(position)
    result = list(sequences)
    found, total = 0, 0
    for fit in _fits(path):
        total += 1
        if isinstance(fit, InputError):
            if not skip_broken:
                raise fit
            _log.warning("skipped: %s", fit)
            continue
        candidates = by_image.get(_number(Path(fit.image).stem), [])
        if (position := _match(fit, candidates, sequences)) is not None:
            result[position] = fit.on(sequences[position])
            found += 1
    if not found:
        raise InputError(f"{path} has {total} bodies, none of a given person: read their dataset")
    _log.info("%s: %d of %d bodies are of given people", path.name, found, total)
    return result


def _number(stem: str) -> int:
    """Which both years of COCO, and MPII, end an image's name with."""
    digits = re.search(r"\d+$", stem)
    return int(digits[0]) if digits else -1


def _match(fit: Fit, candidates: list[int], sequences: list[Sequence]) -> int | None:
    if fit.annotation is not None:
        for position in candidates:
            person = sequences[position]
            if person.dataset == COCO and person.name.endswith(f"_{fit.annotation}"):
                return position
    distances = [_distance(fit.keypoints[0], sequences[each].keypoints[0]) for each in candidates]
    if not distances or min(distances) > 1:
        return None
    return candidates[int(np.argmin(distances))]


def _distance(first: Float[ndarray, "23 3"], second: Float[ndarray, "23 3"]) -> float:
    """Of two people's keypoints, over what is allowed; infinite where they share none."""
    both = (first[:, 2] > 0) & (second[:, 2] > 0)
    if not both.any():
        return np.inf
    extent = np.ptp(first[both, :2], axis=0).max()
    error = np.linalg.norm(first[both, :2] - second[both, :2], axis=1)
    return float(np.median(error)) / (2 + MATCH_TOLERANCE * extent)


def _image(folder: Path, name: str, pictures: Pictures) -> Path:
    """The first place that has it, else where the file says."""
    base = Path(name).name
    coco = _COCO_IMAGE.fullmatch(base)
    places = [folder / name, *([folder / coco[1] / base] if coco else []), folder / "images" / base]
    return next((place for place in places if place in pictures), places[0])


def _fits(path: Path) -> Iterator[Fit | InputError]:
    """Each body of a file, or what is wrong with it."""
    if path.suffix == ".json":
        for entry in Entry.of(path, "", read_json(path)).entries("data", "data"):
            try:
                yield _eft(entry)
            except InputError as error:
                yield error
    elif path.suffix == ".npz":
        yield from _rows(path)
    else:
        raise InputError(f"{path} is neither .json (EFT) nor .npz (CLIFF, SPIN): give such a file")


def _eft(entry: Entry) -> Fit:
    if entry.values.get("smpltype", "smpl") != "smpl":
        raise entry.fault("smpltype", f"is {entry.text('smpltype')!r}, not 'smpl'")
    rotations = entry.numbers("parm_pose", len(SMPL24), 3, 3)
    error = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or (np.linalg.det(rotations) < 0).any():
        raise entry.fault("parm_pose", "holds matrices that are no rotations")
    scale, x, y = entry.row("parm_cam", 3)
    box_scale = entry.number("bbox_scale")
    if min(scale, box_scale) <= 0:
        raise entry.fault("parm_cam", "or 'bbox_scale' has a scale that is not positive")
    center = entry.numbers("bbox_center", 2)
    image = entry.text("imageName")
    points = entry.numbers("gt_keypoint_2d", _OPENPOSE + len(SPIN24), 3)[_OPENPOSE:]
    shift = [x / scale, y / scale, 2 * CROP_FOCAL / (CROP_SIDE * scale)]
    base = _first_pixel(image)
    return Fit(
        image=image,
        annotation=entry.count("annotId") if _COCO_IMAGE.fullmatch(Path(image).name) else None,
        keypoints=coco_keypoints((points - [base, base, 0])[None], SPIN24),
        box=square_boxes(center[None] - base, np.array([box_scale])),
        smpl=_smpl(torch.from_numpy(rotations), entry.row("parm_shape", 10), np.array(shift)),
        focal=CROP_FOCAL * 200 * box_scale / CROP_SIDE,
        principal=center - base,
    )


def _rows(path: Path) -> Iterator[Fit | InputError]:
    arrays = read_arrays(path, lambda names: [n for n in names if n in (*_ARRAYS, *_OPTIONAL)])
    missing = [key for key in _ARRAYS if key not in arrays]
    if missing or ("global_t" in arrays) != ("focal_l" in arrays):
        named = ", ".join(missing) or "one of global_t and focal_l"
        raise InputError(f"{path} lacks {named}: give CLIFF's file, or one of SPIN's with bodies")
    count = len(arrays["imgname"])
    for key, array in arrays.items():
        if array.ndim == 0 or len(array) != count:
            raise InputError(f"{path}: {key!r} has not the {count} rows of 'imgname'")
    for row in range(count):
        entry = Entry(path, f"row {row}", {key: array[row] for key, array in arrays.items()})
        try:
            if entry.values.get("has_smpl", True):
                yield _row(entry)
        except InputError as error:
            yield error


def _row(entry: Entry) -> Fit:
    image = str(entry.value("imgname"))
    base = _first_pixel(image)
    poses = torch.from_numpy(entry.row("pose", 3 * len(SMPL24))).reshape(-1, 3)
    points = entry.numbers("part", len(SPIN24), 3)
    transl, focal = np.zeros(3), None
    if "global_t" in entry:
        transl, focal = entry.row("global_t", 3), float(entry.row("focal_l", 1)[0])
        if min(transl[2], focal) <= 0:
            raise entry.fault("global_t", "or 'focal_l' puts the body behind the camera")
    return Fit(
        image=image,
        annotation=int(entry.row("annot_id", 1)[0]) if "annot_id" in entry else None,
        keypoints=coco_keypoints((points - [base, base, 0])[None], SPIN24),
        box=square_boxes(entry.row("center", 2)[None] - base, entry.row("scale", 1)),
        smpl=_smpl(axis_angle_to_matrix(poses), entry.row("shape", 10), transl),
        focal=focal,
        principal=None,
    )


def _first_pixel(image: str) -> int:
    """Files made of MPII keep Matlab's numbers."""
    return FIRST_PIXEL if _MPII_IMAGE.fullmatch(Path(image).name) else 0


def _smpl(
    rotations: Float[Tensor, "24 3 3"], betas: Float[ndarray, "10"], transl: Float[ndarray, "3"]
) -> SmplParams:
    return SmplParams.from_rotations(
        rotations[None], torch.from_numpy(betas)[None], torch.from_numpy(transl)[None]
    )
