"""EMDB: one person per video, tracked with electromagnetic sensors, from a hand-held camera.

Kaufmann et al., "EMDB: the electromagnetic database of global 3D human pose and shape in the wild"
(ICCV 2023). EMDB 1 is the benchmark of poses in the camera frame, EMDB 2 that of trajectories.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.label_file import LabelFile, read_label_files
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

FPS = 30.0


def read_emdb(
    root: str | Path,
    subset: Literal[1, 2] | None = None,
    on_broken: Callable[[str], object] | None = None,
) -> list[LabelledSequence]:
    """All people of EMDB 1, of EMDB 2, or of the whole, by participant and video.

    `root` is the folder with `P0` to `P9`; the images may be absent. The flags in the files say
    what belongs to which subset. Keypoints are the dataset's projections of SMPL's joints, with
    confidence 1. Boxes are the dataset's, NaN where it calls them invalid. Frame rules: `good`
    (the dataset's mask: the person is in view) and `all`.

    Raises one `InputError` listing everything that is wrong with any file; with `on_broken`
    it is given each line instead, and broken files are left out. Raises it too if there is nothing
    of the subset.
    """
    root = Path(root)
    if subset not in (None, 1, 2):
        raise InputError(f"EMDB has no subset {subset!r}: give 1, 2, or none for all of it")
    paths = _label_paths(root)
    sequences = read_label_files(paths, lambda file: _person(file, subset), on_broken)
    if not sequences:
        raise InputError(f"none of the {len(paths)} videos below {root} belongs to EMDB {subset}")
    return sequences


def _label_paths(root: Path) -> list[Path]:
    """Where the labels of each video should be, whether or not they are.

    Folders that neither hold images or labels nor are called as videos are, are no videos.
    """
    participants = sorted(root.glob("P[0-9]")) if root.is_dir() else []
    if not participants:
        raise InputError(f"{root} has no folders P0 to P9: give the folder of EMDB that holds them")
    videos = [
        video
        for participant in participants
        for video in sorted(participant.glob("[!.]*"))
        if video.is_dir() and _is_video(video)
    ]
    if not videos:
        raise InputError(f"the folders P0 to P9 of {root} hold no videos: get EMDB anew")
    return [video / f"{_video_name(video)}_data.pkl" for video in videos]


def _is_video(folder: Path) -> bool:
    named = re.match(r"[0-9]{2}_", folder.name) is not None
    return named or (folder / "images").is_dir() or any(folder.glob("*_data.pkl"))


def _video_name(folder: Path) -> str:
    return f"{folder.parent.name}_{folder.name}"


def _person(file: LabelFile, subset: Literal[1, 2] | None) -> list[LabelledSequence]:
    if subset is not None and not file.flag(f"emdb{subset}") and not file.problems:
        return []
    name = file.text("name")
    if name != _video_name(file.path.parent):
        file.note(f"is {name!r}, unlike the folder it lies in", "name")
    file.expect_frames(file.count("n_frames"), "n_frames")
    good = file.per_frame(("good_frames_mask",)) != 0
    matrices = file.world_to_camera("camera", "extrinsics")
    return [
        LabelledSequence(
            name=name,
            video=name,
            fps=FPS,
            gender=file.gender("gender"),
            smpl=_smpl(file),
            rotation=torch.from_numpy(matrices[:, :3, :3].copy()),
            translation=torch.from_numpy(matrices[:, :3, 3].copy()),
            camera=_camera(file),
            boxes=_boxes(file),
            keypoints=_keypoints(file, good),
            skeleton=SMPL24,
            frame_rules={"good": good, "all": np.ones(len(good), bool)},
            images=tuple(
                file.path.parent / "images" / f"{frame:05d}.jpg" for frame in range(len(good))
            ),
        )
    ]


def _smpl(file: LabelFile) -> SmplParams:
    root = file.per_frame(("smpl", "poses_root"), 3)
    body = file.per_frame(("smpl", "poses_body"), 3 * (len(SMPL24) - 1))
    poses = torch.from_numpy(np.concatenate([root, body], 1))
    transl = torch.from_numpy(file.per_frame(("smpl", "trans"), 3))
    betas = torch.from_numpy(file.betas("smpl", "betas"))
    return SmplParams.from_poses(poses, betas.expand(len(poses), -1), transl)


def _camera(file: LabelFile) -> Camera:
    matrix = file.camera_matrix("camera", "intrinsics")
    width, height = file.count("camera", "width"), file.count("camera", "height")
    focal = torch.from_numpy(matrix.diagonal()[:2].copy())
    return Camera(focal, torch.from_numpy(matrix[:2, 2].copy()), width, height)


def _boxes(file: LabelFile) -> Float[ndarray, "T 4"]:
    """NaN where the file says so or the box has no area; what it holds there may be anything."""
    place = ("bboxes", "invalid_idxs")
    listed = file.numbers(place, None)
    frames = file.frames or 0
    beyond = listed[(listed < 0) | (listed >= frames) | (listed != listed.round())]
    if beyond.size and file.frames:
        file.note(f"names a frame {beyond[0]:g}, but there are {frames}", *place)
    valid = ~np.isin(np.arange(frames), listed)
    boxes = file.per_frame(("bboxes", "bboxes"), 4, within=valid)
    valid &= (boxes[:, 2:] > boxes[:, :2]).all(1)
    return np.where(valid[:, None], boxes, np.nan)


def _keypoints(file: LabelFile, good: Bool[ndarray, "T"]) -> Float[ndarray, "T 24 3"]:
    """Every joint is known, but that a person out of view may be nowhere in the image."""
    pixels = file.per_frame(("kp2d",), len(SMPL24), 2, within=good)
    known = np.isfinite(pixels).all(-1, keepdims=True)
    return np.concatenate([np.where(known, pixels, 0.0), known], -1)
