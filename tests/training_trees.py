"""Made-up training datasets, as their owners lay them out, and where everybody really is.

Joints are put at the numbers that the datasets document, written out here once more.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.skeleton import COCO23, SMPL24

SPIN_PLACES = {
    0: "right_ankle", 1: "right_knee", 2: "right_hip", 3: "left_hip", 4: "left_knee",
    5: "left_ankle", 6: "right_wrist", 7: "right_elbow", 8: "right_shoulder", 9: "left_shoulder",
    10: "left_elbow", 11: "left_wrist", 12: "neck", 14: "pelvis",
}  # fmt: skip
SPIN_OTHERS = {16: "spine1", 17: "head", 18: "head"}
"""Points that Human3.6M has and SMPL has not; these are somewhere near."""
H36M_PLACES = {
    0: "pelvis", 1: "left_hip", 2: "left_knee", 3: "left_ankle", 4: "right_hip", 5: "right_knee",
    6: "right_ankle", 8: "neck", 11: "left_shoulder", 12: "left_elbow", 13: "left_wrist",
    14: "right_shoulder", 15: "right_elbow", 16: "right_wrist",
}  # fmt: skip
MPI_PLACES = {
    4: "pelvis", 5: "neck", 9: "left_shoulder", 10: "left_elbow", 11: "left_wrist",
    14: "right_shoulder", 15: "right_elbow", 16: "right_wrist", 18: "left_hip", 19: "left_knee",
    20: "left_ankle", 23: "right_hip", 24: "right_knee", 25: "right_ankle",
}  # fmt: skip
H36M_CAMERAS = {
    "54138969": (1145.05, 1143.78, 512.54, 515.45),
    "60457274": (1145.51, 1144.77, 514.97, 501.88),
}
BEDLAM_VERTICES = (
    *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *("left_big_toe", "left_small_toe", "left_heel"),
    *("right_big_toe", "right_small_toe", "right_heel"),
)


@dataclass(frozen=True, eq=False)
class Written:
    """One person before one camera; metres and pixels."""

    smpl: SmplParams
    joints: np.ndarray
    """T 24 3, camera axes."""
    camera: tuple[float, float, float, float]
    """fx, fy, cx, cy."""

    def pixels(self, points: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy = self.camera
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([fx * x / z + cx, fy * y / z + cy], -1)

    def pixel_of(self, joint: str, frame: int) -> np.ndarray:
        return self.pixels(self.joints[frame, SMPL24.index(joint)])


@lru_cache(maxsize=1)
def open_body() -> BodyModel:
    return load_body(dtype=torch.float64)


def person(frames: int, seed: int, camera: tuple[float, float, float, float]) -> Written:
    """Upright in the picture some four metres away, turned a little, moving."""
    random = np.random.default_rng(seed)
    poses = 0.2 * random.normal(size=(1, 24, 3)) + 0.02 * random.normal(size=(frames, 24, 3))
    upright = Rotation.from_euler("x", np.pi) * Rotation.from_euler("y", random.uniform(-1, 1))
    poses[:, 0] = upright.as_rotvec()
    place = np.array([0.2, 0.2, 4.0]) + 0.05 * np.arange(frames)[:, None] * [1, 0.1, 0.5]
    betas = random.normal(size=10) / 2
    smpl = SmplParams.from_poses(
        torch.from_numpy(poses.reshape(frames, 72)),
        torch.from_numpy(np.tile(betas, (frames, 1))),
        torch.from_numpy(place),
    )
    return Written(smpl, open_body().joints(smpl).numpy(), camera)


def named(joints: np.ndarray, places: dict[int, str], count: int) -> np.ndarray:
    """T count 4: SMPL's joints at the places of another order, and whether one is there."""
    points = np.zeros((len(joints), count, 4))
    for place, name in places.items():
        points[:, place, :3] = joints[:, SMPL24.index(name)]
        points[:, place, 3] = 1
    return points


def write_images(paths: list[Path], width: int, height: int) -> None:
    """Grey ones; PNG or JPEG as their names say."""
    image = np.full((height, width, 3), 90, np.uint8)
    encoded: dict[str, bytes] = {}
    for path in paths:
        if path.suffix not in encoded:
            encoded[path.suffix] = cv2.imencode(path.suffix, image)[1].tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded[path.suffix])


def human36m_columns(frames: int = 4, mosh: bool = False) -> tuple[dict, dict[str, Written]]:
    """Columns in SPIN's manner, every fifth frame, and who is in which video."""
    people: dict[str, Written] = {}
    rows: dict[str, list] = {}
    for number, subject in enumerate(("S1", "S5", "S9")):
        for serial, camera in H36M_CAMERAS.items():
            video = f"images/{subject}_Walking_1.{serial}"
            who = people[video] = person(frames, number, camera)
            points = named(who.joints, SPIN_PLACES | SPIN_OTHERS, 24)
            known = points[..., 3] > 0
            pixels = np.where(
                known[..., None], who.pixels(points[..., :3] + (~known[..., None])), 0
            )
            root = points[:, 14:15, :3].copy()
            points[..., :3] = np.where(known[..., None], points[..., :3] - root, 0)
            box = pixels[:, 14]
            new = {
                "imgname": [f"{video}_{5 * frame + 1:06d}.jpg" for frame in range(frames)],
                "S": list(points),
                "part": list(np.concatenate([pixels, points[..., 3:]], -1)),
                "center": list(box),
                "scale": [2.5] * frames,
            }
            if mosh:
                new |= {
                    "pose": list(who.smpl.poses().numpy()),
                    "shape": list(who.smpl.betas.numpy()),
                }
            for key, values in new.items():
                rows.setdefault(key, []).extend(values)
    return {key: np.array(values) for key, values in rows.items()}, people


def write_human36m(root: Path, columns: dict, name: str = "h36m_train.npz") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / name, **{key: value for key, value in columns.items() if value is not None})
    write_images([root / image for image in columns["imgname"]], 1000, 1002)
    return root


def mpi_camera(number: int) -> tuple[float, float, float, float]:
    return 70.0 + number, 72.0 + number, 48.0 + number, 40.0 - number


def mpi_person(recording: str, number: int, frames: int) -> Written:
    return person(frames, 100 * int(recording[1]) + number, mpi_camera(number))


def mpi_annotations(recording: str, frames: int) -> dict[str, np.ndarray]:
    """The contents of annot.mat, 14 cameras."""
    cells = {key: np.empty((14, 1), object) for key in ("annot2", "annot3", "univ_annot3")}
    for number in range(14):
        who = mpi_person(recording, number, frames)
        points = named(who.joints, MPI_PLACES, 28)
        unnamed = points[:, :, 3] == 0
        points[unnamed, :3] = np.repeat(who.joints[:, None, 3], 28, 1)[unnamed]
        cells["annot3"][number, 0] = (1000 * points[..., :3]).reshape(frames, 84)
        cells["annot2"][number, 0] = who.pixels(points[..., :3]).reshape(frames, 56)
        cells["univ_annot3"][number, 0] = 1.1 * cells["annot3"][number, 0]
    numbers = {"cameras": np.arange(14)[None], "frames": np.arange(frames)[:, None]}
    return cells | numbers


def mpi_calibration() -> str:
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number in range(14):
        fx, fy, cx, cy = mpi_camera(number)
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            "  size        96 80",
            "  animated    0",
            f"  intrinsic   {fx} 0 {cx} 0 0 {fy} {cy} 0 0 0 1 0 0 0 0 1 ",
            "  extrinsic   1 0 0 10 0 1 0 20 0 0 1 30 0 0 0 1 ",
            "  radial      0",
        ]
    return "\n".join(lines) + "\n"


def write_mpi_recording(root: Path, recording: str, frames: int = 6) -> Path:
    """Images of camera 0 and a video of camera 2."""
    folder = root / recording
    folder.mkdir(parents=True)
    savemat(folder / "annot.mat", mpi_annotations(recording, frames))
    (folder / "camera.calibration").write_text(mpi_calibration())
    images = folder / "imageFrames" / "video_0"
    write_images([images / f"frame_{frame + 1:06d}.jpg" for frame in range(frames)], 96, 80)
    (folder / "imageSequence").mkdir()
    write_video(folder / "imageSequence" / "video_2.avi", frames)
    return folder


def write_video(path: Path, frames: int) -> None:
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, 25, (96, 80))
    for frame in range(frames):
        writer.write(np.full((80, 96, 3), 10 * frame, np.uint8))
    writer.release()


def bedlam_columns(closeup: bool = False, frames: int = 4) -> tuple[dict, dict[str, Written]]:
    """Two people of one video, one after the other, every fifth frame; by name."""
    width, height = (72, 128) if closeup else (128, 72)
    people: dict[str, Written] = {}
    rows: dict[str, list] = {}
    for number, name in enumerate(("rp_anna_posed_001", "rp_boris_posed_002")):
        who = people[name] = person(frames, 10 + number, (90.0, 90.0, width / 2, height / 2))
        pixels = who.pixels(bedlam_points(who.smpl))
        total = who.smpl.transl.numpy()
        camera = np.array([0.5, -0.25, 3.0])
        extrinsics = np.tile(np.eye(4), (frames, 1, 1))
        extrinsics[:, :3, 3] = camera
        matrix = [[90.0, 0, width / 2], [0, 90.0, height / 2], [0, 0, 1]]
        new = {
            "imgname": [f"seq_000003/seq_000003_{5 * t:04d}.png" for t in range(frames)],
            "center": list(pixels[:, 0]),
            "scale": [0.3] * frames,
            "pose_cam": list(who.smpl.poses().numpy()),
            "shape": list(who.smpl.betas.numpy()),
            "trans_cam": list(total - camera),
            "cam_ext": list(extrinsics),
            "cam_int": [matrix] * frames,
            "gtkps": list(np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], -1)),
            "gender": ["neutral"] * frames,
            "sub": [name] * frames,
        }
        for key, values in new.items():
            rows.setdefault(key, []).extend(values)
    return {key: np.array(values) for key, values in rows.items()}, people


def bedlam_points(smpl: SmplParams) -> np.ndarray:
    """T 45 3 as smplx gives them; the finger tips are somewhere near."""
    body = open_body()
    joints = body.joints(smpl).numpy()
    regressor = body.point_regressor(body.regressors["coco_feet"])
    vertices = body.regress(smpl, regressor).numpy()[:, COCO23.indices(*BEDLAM_VERTICES)]
    return np.concatenate([joints, vertices, np.repeat(joints[:, 22:24], 5, 1)], 1)


def write_bedlam_scene(root: Path, scene: str, columns: dict) -> Path:
    """Labels, and images of 128 x 72 pixels."""
    labels = root / "training_labels" / "all_npz_12_smpl_training" / f"{scene}.npz"
    labels.parent.mkdir(parents=True, exist_ok=True)
    np.savez(labels, **{key: value for key, value in columns.items() if value is not None})
    folder = root / "training_images" / scene / "png"
    write_images([folder / name for name in sorted(set(columns["imgname"]))], 128, 72)
    return labels


def write_amass(root: Path, place: str, width: int = 156, **changes: Any) -> Path:
    """One motion of somebody who stands, in a world with z up."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(place))
    poses = 0.1 * random.normal(size=(8, width))
    poses[:, :3] = [np.pi / 2, 0, 0]
    rate = "mocap_frame_rate" if width == 165 else "mocap_framerate"
    arrays: dict[str, Any] = {
        "trans": np.array([0.1, 0.2, 0.9]) + np.zeros((8, 3)),
        "gender": np.array("female"),
        rate: np.array(120.0),
        "betas": random.normal(size=16),
        "dmpls": np.zeros((8, 8)),
        "poses": poses,
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path
