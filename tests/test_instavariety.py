"""InstaVariety's TFRecords, read without TensorFlow, whole and broken."""

import logging
from pathlib import Path

import numpy as np
import pytest
from picture_trees import checksum, example, insta_clip, write_tfrecord

from temporal_hmr.data.instavariety import extract_frames, read_instavariety
from temporal_hmr.data.tfrecord import read_examples
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

NAME = "insta_variety_00_copy00_hmr_noS5.ckpt-642561.tfrecord"
ORDER = [
    *("R Heel", "R Knee", "R Hip", "L Hip", "L Knee", "L Heel", "R Wrist", "R Elbow"),
    *("R Shoulder", "L Shoulder", "L Elbow", "L Wrist", "Neck", "Head", "Nose", "L Eye", "R Eye"),
    *("L Ear", "R Ear", "L Big Toe", "R Big Toe", "L Small Toe", "R Small Toe", "L Ankle"),
    "R Ankle",
]


def joints(frames: int, seed: int = 0) -> np.ndarray:
    """Places from -1 to 1, all visible but the left elbow."""
    random = np.random.default_rng(seed)
    result = np.concatenate([random.uniform(-1, 1, (frames, 25, 2)), np.ones((frames, 25, 1))], 2)
    result[:, ORDER.index("L Elbow"), 2] = 0
    return result.astype(np.float32)


def write(folder: Path, *clips: dict) -> Path:
    path = folder / "train" / NAME
    write_tfrecord(path, [example(clip) for clip in clips])
    return path


def test_the_checksum_is_the_published_one() -> None:
    """CRC-32C of "123456789" is 0xE3069283, masked as TensorFlow's documentation says."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert checksum(b"123456789") == masked


@pytest.mark.parametrize("packed", [True, False])
def test_examples_come_back(tmp_path: Path, packed: bool) -> None:
    features = {
        "one": np.array([0, 1, 127, 128, 300, -1, 2**62]),
        "two": np.array([0.5, -1e20, 3], np.float32),
        "three": [b"", b"\x00\xff" * 200],
        "none": np.zeros(0, np.float32),
    }
    write_tfrecord(tmp_path / "a", [example(features, packed), example({}), example(features)])
    first, empty, last = read_examples(tmp_path / "a")
    assert empty == {}
    for found in (first, last):
        assert list(found) == list(features)
        np.testing.assert_array_equal(found["one"], features["one"])
        np.testing.assert_array_equal(found["two"], features["two"])
        assert [bytes(piece) for piece in found["three"]] == features["three"]
        assert len(found["none"]) == 0


def test_everything_comes_back(tmp_path: Path) -> None:
    truth = joints(3)
    write(tmp_path, insta_clip(2, joints(2, 1)), insta_clip(3, truth))
    assert extract_frames(tmp_path, "train") == 5
    short, sequence = read_instavariety(tmp_path, "train")
    assert short.name == "insta_variety_00_copy00_hmr_noS5_0" and len(short) == 2
    assert sequence.name.endswith("_1") and sequence.dataset == "InstaVariety"
    assert not sequence.trusted and sequence.image_size == (8, 8)
    assert sequence.images[2] == tmp_path / "frames" / "train" / NAME / "1" / "2.jpg"
    assert [path.read_bytes()[-1] for path in sequence.images] == [0, 1, 2]
    for frame in range(3):
        for number, joint in enumerate(ORDER):
            side, _, part = joint.partition(" ")
            word = {"L": "left_", "R": "right_"}.get(side, side.lower()) + part.lower()
            name = word.replace(" ", "_")
            if name not in COCO23.joints:
                assert joint in ("Neck", "Head")
                continue
            x, y, visible = truth[frame, number]
            expected = [4 * (x + 1), 4 * (y + 1), 1] if visible else [0, 0, 0]
            found = sequence.keypoints[frame, COCO23.index(name)]
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=joint)
    known = sequence.keypoints[..., 2] > 0
    assert (known.sum(1) == 22).all(), "all 23 but the elbow"
    inside = np.where(known[..., None], sequence.keypoints[..., :2], sequence.boxes[:, None, :2])
    assert (inside >= sequence.boxes[:, None, :2]).all()


def test_without_features_places_are_pixels(tmp_path: Path) -> None:
    clip = insta_clip(1, joints(1))
    del clip["image/phis"]
    write(tmp_path, clip)
    extract_frames(tmp_path, "train")
    (sequence,) = read_instavariety(tmp_path, "train")
    x, y, _ = joints(1)[0, ORDER.index("Nose")]
    np.testing.assert_allclose(sequence.keypoints[0, 0], [x, y, 1])


def test_clips_without_toes(tmp_path: Path) -> None:
    clip = insta_clip(2, joints(2))
    clip["image/toe_pts"] = np.zeros(0, np.float32)
    write(tmp_path, clip)
    extract_frames(tmp_path, "train")
    (sequence,) = read_instavariety(tmp_path, "train")
    assert not sequence.keypoints[:, COCO23.indices("left_ankle", "left_big_toe")].any()
    assert sequence.keypoints[:, COCO23.index("left_heel"), 2].all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image/xys", np.zeros(55, np.float32), r"'image/xys' has the shape \(55,\)"),
        ("image/encoded", [b"x"], "'image/encoded' has not the 2 pictures"),
        ("meta/N", np.array([0]), "'image/encoded' has not the 0 pictures"),
        ("image/heightwidths", np.array([8, 8, 8, 9]), "'image/heightwidths' are of different"),
        ("image/visibilities", np.zeros(0, np.int64), "'image/visibilities' has the shape"),
    ],
)
def test_broken_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: object, message: str
) -> None:
    write(tmp_path, insta_clip(2, joints(2)), insta_clip(2, joints(2), **{key: value}))
    extract_frames(tmp_path, "train")
    with pytest.raises(InputError, match=f"tfrecord: record 1 {message}"):
        read_instavariety(tmp_path, "train")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_instavariety(tmp_path, "train", skip_broken=True)
    assert sequence.name.endswith("_0") and "skipped" in caplog.text


def test_damaged_files(tmp_path: Path) -> None:
    path = write(tmp_path, insta_clip(2, joints(2)), insta_clip(2, joints(2)))
    extract_frames(tmp_path, "train")
    whole = path.read_bytes()
    damaged = {
        "cut": (whole[:-9], "damaged in record 1 .it is cut off"),
        "cut head": (whole + b"abc", "damaged in record 2 .no whole record begins there"),
        "wrong length": (bytes([whole[0] ^ 1]) + whole[1:], "damaged in record 0 .no whole"),
        "no protobuf": (whole[:12] + b"\x0b" + whole[13:], "damaged in record 0 .wire type 3"),
    }
    for content, message in damaged.values():
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_instavariety(tmp_path, "train")
        with pytest.raises(InputError, match=message):
            extract_frames(tmp_path, "train")
    path.write_bytes(damaged["cut"][0])
    assert len(read_instavariety(tmp_path, "train", skip_broken=True)) == 1


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """Whatever is in a file, it is read or refused, and nothing else is raised."""
    refused = 0
    random = np.random.default_rng(0)
    path = write(tmp_path, insta_clip(1, joints(1)))
    whole = path.read_bytes()
    for place in random.integers(12, len(whole), 150):
        content = bytearray(whole)
        content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            list(read_examples(path))
        except InputError:
            refused += 1
    assert 0 < refused < 150


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train holds no .tfrecord file"):
        read_instavariety(tmp_path, "train")
    write(tmp_path, insta_clip(2, joints(2)))
    with pytest.raises(InputError, match=r"2 images are missing, first .*/0/0.jpg"):
        read_instavariety(tmp_path, "train")
