"""Made-up trees of datasets of labelled pictures, as their owners lay them out."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.io import savemat

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.skeleton import COCO17

COCO_NAMES = list(COCO17.joints)
POSETRACK_NAMES = ["nose", "head_bottom", "head_top", *COCO_NAMES[3:]]


def write_picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes())


def write_json(path: Path, contents: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents))


def points(count: int, seed: int = 0) -> np.ndarray:
    """So many pixels of a picture of 60 x 40, with two decimals."""
    random = np.random.default_rng(seed)
    return (random.uniform(1, 1 + np.array([58, 38]), (count, 2))).round(2)


def coco_person(number: int, image: int, **changed: Any) -> dict[str, Any]:
    """All visible, but a hidden left wrist and an unlabelled right ankle."""
    keypoints = np.c_[points(17, number), np.full(17, 2)]
    keypoints[COCO_NAMES.index("left_wrist"), 2] = 1
    keypoints[COCO_NAMES.index("right_ankle")] = 0
    person = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 16,
        "keypoints": keypoints.reshape(-1).tolist(),
        "bbox": [5.5, 6.0, 20.25, 30.0],
    }
    return person | changed


def coco_labels(people: Sequence[Mapping[str, Any]], part: str = "train2017") -> dict[str, Any]:
    year = part[-4:]
    prefix = f"COCO_{part}_" if year == "2014" else ""
    numbers = sorted({person["image_id"] for person in people})
    images = [
        {"id": n, "file_name": f"{prefix}{n:012d}.jpg", "width": 60, "height": 40} for n in numbers
    ]
    category = {"id": 1, "name": "person", "keypoints": COCO_NAMES}
    return {"images": images, "annotations": list(people), "categories": [category]}


def write_coco(folder: Path, labels: Mapping[str, Any], part: str = "train2017") -> None:
    write_json(folder / "annotations" / f"person_keypoints_{part}.json", labels)
    for image in labels["images"]:
        write_picture(folder / part / image["file_name"], image["width"], image["height"])


def mpii_person(image: str, seed: int, **changed: Any) -> dict[str, Any]:
    """As HRNet's json has them; the right ankle is not labelled."""
    person = {
        "image": image,
        "joints": points(16, seed).tolist(),
        "joints_vis": [0] + [1] * 15,
        "center": [30.0, 21.0],
        "scale": 0.15,
    }
    person["joints"][0] = [-1.0, -1.0]
    return person | changed


def write_mpii_matlab(folder: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Of each image: name, train, people; of people joints [N 4] (id, x, y, visible), or None."""
    annotations = np.empty(len(images), object)
    for number, image in enumerate(images):
        rectangles = np.empty(len(image["people"]), object)
        for place, joints in enumerate(image["people"]):
            rectangles[place] = {"x1": 1, "scale": 0.15, "objpos": {"x": 30.0, "y": 21.0}}
            if joints is not None:
                labelled = np.empty(len(joints), object)
                for row, (joint, x, y, visible) in enumerate(joints):
                    labelled[row] = {"x": x, "y": y, "id": joint, "is_visible": visible}
                rectangles[place]["annopoints"] = {"point": labelled}
        annotations[number] = {"image": {"name": image["name"]}, "annorect": rectangles}
        write_picture(folder / "images" / image["name"], 60, 40)
    training = np.array([image["train"] for image in images], np.uint8)
    (folder / "annotations").mkdir(exist_ok=True)
    release = {"annolist": annotations, "img_train": training}
    savemat(folder / "annotations" / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})


def penn_labels(frames: int, seed: int = 0, **changed: Any) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    labels = {
        "action": "jump_rope",
        "x": random.uniform(1, 60, (frames, 13)).round(2),
        "y": random.uniform(1, 40, (frames, 13)).round(2),
        "visibility": np.ones((frames, 13)),
        "train": 1,
        "bbox": np.tile([3.0, 4.0, 50.0, 38.0], (frames, 1)),
        "dimensions": np.array([[40, 60, frames]], np.uint16),
        "nframes": frames,
    }
    return labels | changed


def write_penn(folder: Path, number: str, labels: Mapping[str, Any]) -> None:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    savemat(folder / "labels" / f"{number}.mat", dict(labels))
    for frame in range(1, len(labels["x"]) + 1):
        write_picture(folder / "frames" / number / f"{frame:06d}.jpg", 60, 40)


def posetrack_labels(
    tracks: Mapping[int, Sequence[int]], video: str = "000001_x"
) -> dict[str, Any]:
    """Labels of tracks that are seen in the given frames."""
    frames = sorted({frame for seen in tracks.values() for frame in seen})
    images = [
        {"id": 10**10 + n, "frame_id": 10**10 + n, "file_name": f"images/train/{video}/{n:06d}.jpg",
         "is_labeled": True, "nframes": 90, "vid_id": video[:6]}
        for n in frames
    ]  # fmt: skip
    people = []
    for track, seen in tracks.items():
        for frame in seen:
            keypoints = np.c_[points(17, 100 * track + frame), np.ones(17)]
            keypoints[3:5] = 0
            people.append(
                {"id": len(people), "image_id": 10**10 + frame, "track_id": track,
                 "category_id": 1, "keypoints": keypoints.reshape(-1).tolist(), "scores": [],
                 "bbox": [2.0, 3.0, 40.0, 30.0], "bbox_head": [2, 3, 4, 5]}
            )  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": POSETRACK_NAMES}]
    return {"images": images, "annotations": people, "categories": categories}


def write_posetrack(folder: Path, labels: Mapping[str, Any], video: str = "000001_x") -> None:
    write_json(folder / "annotations" / "train" / f"{video}.json", labels)
    for image in labels["images"]:
        write_picture(folder / image["file_name"], 60, 40)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def example(features: Mapping[str, Sequence[bytes] | np.ndarray], packed: bool = True) -> bytes:
    """A `tf.train.Example`, by the description of protobuf's wire format."""
    entries = b""
    for name, value in features.items():
        if not isinstance(value, np.ndarray):
            feature = _message(1, b"".join(_message(1, piece) for piece in value))
        elif value.dtype.kind == "f":
            numbers = [struct.pack("<f", number) for number in value]
            alone = b"".join(_varint(1 << 3 | 5) + number for number in numbers)
            feature = _message(2, _message(1, b"".join(numbers)) if packed else alone)
        else:
            numbers = [_varint(int(number)) for number in value]
            alone = b"".join(_varint(1 << 3) + number for number in numbers)
            feature = _message(3, _message(1, b"".join(numbers)) if packed else alone)
        entries += _message(1, _message(1, name.encode()) + _message(2, feature))
    return _message(1, entries)


def checksum(content: bytes) -> int:
    """TFRecord's, by long division of polynomials over GF(2) with bits reversed."""
    bits = [byte >> n & 1 for byte in content for n in range(8)] + [0] * 32
    for n in range(32):
        bits[n] ^= 1
    divisor = [int(bit) for bit in f"{0x11EDC6F41:033b}"]
    for n in range(len(bits) - 32):
        if bits[n]:
            for m, bit in enumerate(divisor):
                bits[n + m] ^= bit
    remainder = sum((bit ^ 1) << n for n, bit in enumerate(bits[-32:]))
    return ((remainder >> 15 | remainder << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_tfrecord(path: Path, records: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        content += length + struct.pack("<I", checksum(length)) + record + b"\0" * 4
    path.write_bytes(content)


def insta_clip(frames: int, joints: np.ndarray, **changed: Any) -> dict[str, Any]:
    """Features of one clip with joints [T 25 3], places from -1 to 1 of a crop of 8 pixels."""
    rows = joints.swapaxes(1, 2).astype(np.float32)
    picture = cv2.imencode(".jpg", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()
    features = {
        "meta/N": np.array([frames]),
        "image/encoded": [picture + bytes([n]) for n in range(frames)],
        "image/heightwidths": np.tile([8, 8], frames),
        "image/xys": rows[:, :2, :14].reshape(-1),
        "image/visibilities": rows[:, 2, :14].reshape(-1).astype(np.int64),
        "image/face_pts": rows[:, :, 14:19].reshape(-1),
        "image/toe_pts": rows[:, :, 19:].reshape(-1),
        "image/phis": np.zeros(4, np.float32),
        "mosh/poses": -np.ones(3, np.float32),
        "meta/has_3d": np.array([-1]),
    }
    return features | changed


def smpl_of(seed: int = 0) -> SmplParams:
    """One body at the origin, float64."""
    random = np.random.default_rng(seed)
    poses = torch.from_numpy(random.normal(0, 0.3, (1, 72)))
    betas = torch.from_numpy(random.normal(0, 1, (1, 10)))
    return SmplParams.from_poses(poses, betas, torch.from_numpy(random.normal(0, 0.4, (1, 3))))


def object_occluded(body: BodyModel, seed: int, scale: float = 1.0, world: bool = True) -> dict:
    """3DOH50K's labels of one picture: a scaled world that the camera sees; and the truth."""
    smpl = smpl_of(seed)
    joints = scale * body.joints(replace_transl(smpl))[0].numpy()
    joints = joints + (trans := scale * smpl.transl[0].numpy())
    turn = cv2.Rodrigues(np.array([2.9, 0.2, -0.1]))[0]
    shift = scale * np.array([0.1, 0.2, 4.0])
    seen = joints @ turn.T + shift
    intrinsics = np.array([[500.0, 0, 250], [0, 510, 240], [0, 0, 1]])
    pixels = seen @ intrinsics.T
    extrinsics = np.eye(4)
    extrinsics[:3, :3], extrinsics[:3, 3] = turn, shift
    return {
        "img_path": f"images\\{seed:05d}.jpg",
        "mask_path": f"masks/{seed:05d}.png",
        "bbox": [[10.0, 20.0], [400.0, 450.0]],
        "pose": smpl.poses().tolist(),
        "betas": smpl.betas.tolist(),
        "trans": [trans.tolist()],
        "scale": [scale],
        "extri": extrinsics.tolist(),
        "intri": intrinsics.tolist(),
        "smpl_joints_2d": (pixels[:, :2] / pixels[:, 2:]).tolist(),
        "smpl_joints_3d": (joints if world else seen).tolist(),
        "lsp_joints_2d": np.zeros((14, 2)).tolist(),
        "lsp_joints_3d": np.zeros((14, 3)).tolist(),
    }


def replace_transl(smpl: SmplParams) -> SmplParams:
    """The same body without a place."""
    return SmplParams(smpl.global_orient, smpl.body_pose, smpl.betas, torch.zeros_like(smpl.transl))
