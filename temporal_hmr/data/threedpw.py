"""3DPW: people outdoors, from a moving camera, tracked with sensors on their bodies.

von Marcard et al., "Recovering accurate 3D human pose in the wild using IMUs and a moving camera"
(ECCV 2018). One file of labels per video, with one or two people; everything that we read is
sampled at the images' 30 Hz.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.crops import BOX_MARGIN, extents
from temporal_hmr.data.label_file import LabelFile, read_label_files
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import OPENPOSE18, SMPL24
from temporal_hmr.video import open_clip

FPS = 30.0

CONFIDENT = 0.3
"""The field's threshold: a 2D joint above it counts as seen."""
BODY_JOINTS = tuple(
    f"{side}_{part}"
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The twelve by which the field judges whether a person is seen."""
SEEN_BODY_JOINTS = 6
"""More of them than these make a person seen."""
SMALLEST_DIAGONAL = 0.5
"""Of a usable box around the confident joints, pixels."""
BOX_JOINTS = 6
"""We give a box to frames with at least so many confident joints."""

_PER_ACTOR = ("poses", "trans", "betas", "poses2d", "campose_valid", "jointPositions")


def read_threedpw(
    root: str | Path, split: str, on_broken: Callable[[str], object] | None = None
) -> list[LabelledSequence]:
    """All people of one split (`train`, `validation`, `test`), by video and actor.

    `root` is the folder with `sequenceFiles` and `imageFiles`; the images may be absent. A person
    is named after video and actor, `downtown_arguing_00_0`. The size of the images is that of the
    first one that is there, else twice the principal point, rounded. Boxes are ours: around the
    confident 2D joints, with `crops.BOX_MARGIN`. Frame rules:

    - `challenge`: 2D joints were detected and the camera pose is valid (the dataset's own
      evaluation);
    - `visible`: between the first and the last usable 2D box, more than 6 of the 12 body joints
      are confident (VIBE, WHAM, GVHMR);
    - `visible_and_camera`: that, and the camera pose is valid (TCMR);
    - `all`.

    Raises one `InputError` listing everything that is wrong with any file; with `on_broken`
    it is given each line instead, and broken files are left out. Raises it too for a split that is
    not there.
    """
    root = Path(root)
    paths = _label_paths(root, split)
    return read_label_files(paths, lambda file: _people(root, file), on_broken)


def _label_paths(root: Path, split: str) -> list[Path]:
    labels = root / "sequenceFiles"
    if not labels.is_dir():
        raise InputError(f"{labels} is not a folder: give the folder of 3DPW that holds it")
    splits = sorted(folder.name for folder in labels.iterdir() if folder.is_dir())
    if split not in splits:
        there = f"did you mean {' or '.join(splits)}?" if splits else "it has none at all"
        raise InputError(f"{labels} has no split {split!r}: {there}")
    paths = sorted(path for path in (labels / split).glob("*.pkl") if path.name[0] != ".")
    if not paths:
        raise InputError(f"{labels / split} holds no .pkl file: get the labels of 3DPW anew")
    return paths


def _people(root: Path, file: LabelFile) -> list[LabelledSequence]:
    video = file.path.stem
    if "sequence" in file and file.text("sequence") != video:
        file.note(f"is {file.text('sequence')!r}, unlike the name of the file", "sequence")
    if "img_frame_ids" in file:
        rows = file.numbers(("img_frame_ids",), None)
        file.expect_frames(len(rows), "img_frame_ids")
    else:
        file.expect_frames(file.length("poses", 0), "poses", 0)
    count = file.length("poses")
    if count == 0:
        file.note("is empty", "poses")
    for key in (*_PER_ACTOR, _gender_key(file)):
        if count and file.length(key) not in (count, None):
            file.note(f"has {file.length(key)} entries for {count} people in 'poses'", key)
    matrices = file.world_to_camera("cam_poses")
    images = _image_paths(root, video, len(matrices))
    camera = _camera(file, images)
    return [_person(file, actor, matrices, camera, images) for actor in range(count or 1)]


def _person(
    file: LabelFile,
    actor: int,
    matrices: Float[ndarray, "T 4 4"],
    camera: Camera,
    images: tuple[Path, ...],
) -> LabelledSequence:
    video = file.path.stem
    keypoints = file.per_frame(("poses2d", actor), 3, len(OPENPOSE18)).swapaxes(1, 2)
    joints = file.per_frame(("jointPositions", actor), 3 * len(SMPL24))
    camera_valid = file.per_frame(("campose_valid", actor)) != 0
    return LabelledSequence(
        name=f"{video}_{actor}",
        video=video,
        fps=FPS,
        gender=file.gender(_gender_key(file), actor),
        smpl=_smpl(file, actor),
        rotation=torch.from_numpy(matrices[:, :3, :3].copy()),
        translation=torch.from_numpy(matrices[:, :3, 3].copy()),
        camera=camera,
        boxes=_boxes(keypoints),
        keypoints=np.where(keypoints[..., 2:] > 0, keypoints, 0.0),
        skeleton=OPENPOSE18,
        frame_rules=_frame_rules(keypoints, camera_valid),
        images=images,
        joints=joints.reshape(-1, len(SMPL24), 3),
    )


def _gender_key(file: LabelFile) -> str:
    """The files say `genders`; the dataset's description says `gender`."""
    return "gender" if "gender" in file and "genders" not in file else "genders"


def _smpl(file: LabelFile, actor: int) -> SmplParams:
    poses = torch.from_numpy(file.per_frame(("poses", actor), 72))
    transl = torch.from_numpy(file.per_frame(("trans", actor), 3))
    betas = torch.from_numpy(file.betas("betas", actor))
    return SmplParams.from_poses(poses, betas.expand(len(poses), -1), transl)


def _image_paths(root: Path, video: str, frames: int) -> tuple[Path, ...]:
    folder = root / "imageFiles" / video
    return tuple(folder / f"image_{frame:05d}.jpg" for frame in range(frames))


def _camera(file: LabelFile, images: tuple[Path, ...]) -> Camera:
    matrix = file.camera_matrix("cam_intrinsics")
    width, height = (round(2 * center) for center in matrix[:2, 2])
    first = next((image for image in images if image.is_file()), None)
    if first is not None:
        try:
            clip = open_clip(first)
            width, height = clip.width, clip.height
        except InputError as error:
            file.note(f"tell no size: {error}", "images")
    focal = torch.from_numpy(matrix.diagonal()[:2].copy())
    return Camera(focal, torch.from_numpy(matrix[:2, 2].copy()), width, height)


def _boxes(keypoints: Float[ndarray, "T J 3"]) -> Float[ndarray, "T 4"]:
    """The confident joints' rectangle with room for what lies around joints.

    Its larger side becomes `BOX_MARGIN` times as long, as that of the crops, and the smaller one
    longer by as much. NaN for fewer than `BOX_JOINTS` confident joints.
    """
    corners = extents(keypoints, CONFIDENT)
    low, high = corners[:, :2], corners[:, 2:]
    enough = (keypoints[..., 2:] > CONFIDENT).sum(1) >= BOX_JOINTS
    room = (BOX_MARGIN - 1) / 2 * (high - low).max(1, keepdims=True)
    return np.where(enough, np.concatenate([low - room, high + room], 1), np.nan)


def _frame_rules(
    keypoints: Float[ndarray, "T J 3"], camera_valid: Bool[ndarray, "T"]
) -> dict[str, Bool[ndarray, "T"]]:
    """Takes the 2D joints exactly as the file states them."""
    corners = extents(keypoints, CONFIDENT)
    low, high = corners[:, :2], corners[:, 2:]
    usable = np.flatnonzero(np.linalg.norm(high - low, axis=1) >= SMALLEST_DIAGONAL)
    visible = np.zeros(len(keypoints), bool)
    if len(usable):
        visible[usable[0] : usable[-1] + 1] = True
    body = keypoints[:, OPENPOSE18.indices(*BODY_JOINTS), 2]
    visible &= (body > CONFIDENT).sum(1) > SEEN_BODY_JOINTS
    return {
        "challenge": keypoints.any((1, 2)) & camera_valid,
        "visible": visible,
        "visible_and_camera": visible & camera_valid,
        "all": np.ones(len(keypoints), bool),
    }
