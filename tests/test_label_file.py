"""Broken trees of 3DPW and EMDB: all that is wrong is named, file by file and key by key."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from body_files import write_python2
from dataset_trees import Bodies, write_emdb, write_threedpw

from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.label_file import written_frames
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.errors import InputError

FRAMES = 18
Labels = dict[str, Any]
Spoil = Callable[[Labels], None]


@pytest.fixture(scope="module")
def threedpw(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> dict[str, Labels]:
    root = tmp_path_factory.mktemp("3DPW")
    return write_threedpw(root, bodies, frames=FRAMES, images=False)


@pytest.fixture(scope="module")
def emdb(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> dict[str, Labels]:
    return write_emdb(tmp_path_factory.mktemp("EMDB"), bodies, frames=FRAMES, images=False)


@pytest.fixture
def pair(threedpw: dict[str, Labels]) -> Labels:
    """3DPW's labels of two people, to be spoilt."""
    return copy.deepcopy(threedpw["downtown_talk_00"])


@pytest.fixture
def single(threedpw: dict[str, Labels]) -> Labels:
    return copy.deepcopy(threedpw["courtyard_walk_01"])


@pytest.fixture
def labels(emdb: dict[str, Labels]) -> Labels:
    """EMDB's labels, to be spoilt."""
    return copy.deepcopy(emdb["P1_14_outdoor_climb"])


def put_threedpw(root: Path, labels: Labels) -> Path:
    path = root / "sequenceFiles" / "test" / f"{labels['sequence']}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_python2(labels, path)
    return path


def put_emdb(root: Path, labels: Labels, name: str = "P1_14_outdoor_climb") -> Path:
    folder = root / name[:2] / name[3:]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_data.pkl"
    path.write_bytes(pickle.dumps(labels, 4))
    return path


def changed(*place: str | int, value: Any) -> Spoil:
    def change(labels: Any) -> None:
        for key in place[:-1]:
            labels = labels[key]
        labels[place[-1]] = value

    return change


def without(*place: str) -> Spoil:
    def change(labels: Any) -> None:
        for key in place[:-1]:
            labels = labels[key]
        del labels[place[-1]]

    return change


def with_number(*place: str | int, entry: tuple, number: float) -> Spoil:
    def change(labels: Any) -> None:
        for key in place:
            labels = labels[key]
        labels[entry] = number

    return change


def shorter(key: str, actor: int) -> Spoil:
    return lambda labels: labels[key].__setitem__(actor, labels[key][actor][:-3])


def lines_of(caught: pytest.ExceptionInfo[InputError], headline: str) -> list[str]:
    first, *lines = str(caught.value).split("\n")
    assert first.startswith(headline)
    return lines


def assert_one_line(lines: list[str], path: Path, sentence: str) -> None:
    (line,) = lines
    assert line.startswith(f"{path}: ")
    with pytest.raises(InputError, match=sentence):
        raise InputError(line)


BROKEN_3DPW: dict[str, tuple[Spoil, str]] = {
    **{
        f"no {key}": (without(key), f"'{key}' is missing")
        for key in ("betas", "poses", "trans", "poses2d", "jointPositions", "campose_valid",
                    "cam_poses", "cam_intrinsics", "genders")
    },
    **{
        f"short {key}": (
            shorter(key, 1),
            rf"'{key}\[1\]' has 15 frames, not 18 as 'img_frame_ids' says",
        )
        for key in ("poses", "trans", "poses2d", "jointPositions", "campose_valid")
    },
    "short cameras": (
        lambda labels: labels.update(cam_poses=labels["cam_poses"][:4]),
        r"'cam_poses' has 4 frames, not 18",
    ),
    "poses of SMPL-H": (
        changed("poses", 0, value=np.zeros((FRAMES, 156))),
        r"'poses\[0\]' has the shape \(18, 156\), not \(18, 72\)",
    ),
    "poses2d the other way": (
        changed("poses2d", 0, value=np.zeros((FRAMES, 18, 3))),
        r"'poses2d\[0\]' has the shape \(18, 18, 3\), not \(18, 3, 18\)",
    ),
    "few betas": (changed("betas", 1, value=np.zeros(8)), r"'betas\[1\]' has the shape \(8,\)"),
    "text": (changed("trans", 0, value="abc"), r"'trans\[0\]' is of type str and holds no numbers"),
    "ragged": (
        changed("trans", 0, value=[[1.0, 2.0], [3.0]]),
        r"'trans\[0\]' is a list of things of different sizes",
    ),
    "no list": (changed("poses2d", value=7), "'poses2d' is of type int, not a list"),
    "one person too few": (
        changed("betas", value=[np.zeros(10)]),
        "'betas' has 1 entries for 2 people in 'poses'",
    ),
    "one person too many": (
        changed("genders", value=["m", "f", "m"]),
        "'genders' has 3 entries for 2 people",
    ),
    "nobody": (changed("poses", value=[]), "'poses' is empty"),
    "no frames": (
        changed("img_frame_ids", value=np.zeros(0)),
        "'img_frame_ids' says that there are no frames",
    ),
    "gender": (changed("genders", 1, value="x"), r"'genders\[1\]' is 'x', not one of m, f, male"),
    "gender number": (changed("genders", 1, value=1), r"'genders\[1\]' is of type int, not a text"),
    "nan": (
        with_number("poses", 1, entry=(slice(3, 6), 7), number=np.nan),
        r"'poses\[1\]' is not finite in frames 3-5$",
    ),
    "infinite": (
        with_number("cam_poses", entry=([2, 9], 0, 3), number=np.inf),
        "'cam_poses' is not finite in frames 2, 9$",
    ),
    "nan in betas": (
        with_number("betas", 0, entry=(4,), number=np.nan),
        r"'betas\[0\]' has entries that are not finite",
    ),
    "camera transposed": (
        lambda labels: labels.update(cam_poses=labels["cam_poses"].swapaxes(1, 2)),
        "'cam_poses' has a last row other than 0 0 0 1 in frames 0-17",
    ),
    "intrinsics transposed": (
        lambda labels: labels.update(cam_intrinsics=labels["cam_intrinsics"].T),
        r"'cam_intrinsics' is not \[fx 0 cx; 0 fy cy; 0 0 1\] with all four positive",
    ),
    "no focal length": (
        with_number("cam_intrinsics", entry=(1, 1), number=0),
        r"'cam_intrinsics' is not \[fx 0 cx; 0 fy cy; 0 0 1\] with all four positive",
    ),
    "another file's labels": (
        changed("sequence", value="downtown_bar_00"),
        "'sequence' is 'downtown_bar_00', unlike the name of the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_3DPW)
def test_broken_files_of_3dpw(case: str, tmp_path: Path, pair: Labels) -> None:
    spoil, sentence = BROKEN_3DPW[case]
    spoil(pair)
    path = tmp_path / "sequenceFiles" / "test" / "downtown_talk_00.pkl"
    path.parent.mkdir(parents=True)
    write_python2(pair, path)
    with pytest.raises(InputError) as caught:
        read_threedpw(tmp_path, "test")
    assert_one_line(lines_of(caught, "1 of 1 files of labels cannot be used"), path, sentence)


BROKEN_EMDB: dict[str, tuple[Spoil, str]] = {
    **{
        f"no {'.'.join(keys)}": (without(*keys), rf"'{'.'.join(keys)}' is missing$")
        for keys in (
            *(("name",), ("gender",), ("n_frames",), ("good_frames_mask",), ("kp2d",)),
            *(("smpl",), ("camera",), ("bboxes",)),
            *(("smpl", part) for part in ("poses_root", "poses_body", "trans", "betas")),
            *(("camera", part) for part in ("intrinsics", "extrinsics", "width", "height")),
            *(("bboxes", part) for part in ("bboxes", "invalid_idxs")),
        )
    },
    "short mask": (
        changed("good_frames_mask", value=np.ones(9, bool)),
        "'good_frames_mask' has 9 frames, not 18 as 'n_frames' says$",
    ),
    "short trans": (
        changed("smpl", "trans", value=np.zeros((3, 3))),
        r"'smpl\.trans' has 3 frames, not 18",
    ),
    "flat poses": (
        changed("smpl", "poses_body", value=np.zeros((FRAMES, 72))),
        r"'smpl\.poses_body' has the shape \(18, 72\), not \(18, 69\)",
    ),
    "few betas": (
        changed("smpl", "betas", value=np.zeros(9)),
        r"'smpl\.betas' has the shape \(9,\), not \(10,\) or longer",
    ),
    "folder": (
        changed("name", value="P1_15_outdoor_climb"),
        "'name' is 'P1_15_outdoor_climb', unlike the folder it lies in",
    ),
    "gender": (changed("gender", value="robot"), "'gender' is 'robot', not one of"),
    "smpl of another type": (changed("smpl", value=3), r"'smpl' is of type int, not a dict"),
    "mask of text": (changed("good_frames_mask", value="yes"), "'good_frames_mask' is of type str"),
    "frame beyond": (
        changed("bboxes", "invalid_idxs", value=np.array([3, 18])),
        r"'bboxes\.invalid_idxs' names a frame 18, but there are 18",
    ),
    "half a frame": (
        changed("bboxes", "invalid_idxs", value=np.array([0.5])),
        r"'bboxes\.invalid_idxs' names a frame 0\.5",
    ),
    "width": (
        changed("camera", "width", value=0),
        r"'camera\.width' is 0, not a whole number from 1 to 1000000",
    ),
    "half a pixel": (changed("camera", "height", value=9.5), r"'camera\.height' is 9\.5, not"),
    "millions of frames": (changed("n_frames", value=10**12), r"'n_frames' is 1e\+12, not a whole"),
    "nan pose": (
        changed("smpl", "poses_root", value=np.full((FRAMES, 3), np.nan)),
        r"'smpl\.poses_root' is not finite in frames 0-17",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_EMDB)
def test_broken_files_of_emdb(case: str, tmp_path: Path, labels: Labels) -> None:
    spoil, sentence = BROKEN_EMDB[case]
    spoil(labels)
    path = put_emdb(tmp_path, labels)
    with pytest.raises(InputError) as caught:
        read_emdb(tmp_path)
    assert_one_line(lines_of(caught, "1 of 1 files of labels cannot be used"), path, sentence)


JUNK = (
    *(None, 0, -1, 1.5, 1e300, float("nan"), "x", b"", [], {}, [None, None], [[]]),
    *(np.array(-3.0), np.zeros((2, 3, 4)), np.array(["a"]), np.array([None, {}], object)),
)


def test_junk_in_3dpw_is_a_problem_and_never_a_crash(tmp_path: Path, pair: Labels) -> None:
    unread = {"sequence", "betas_clothed", "v_template_clothed", "texture_maps"}
    lists = ("poses", "trans", "betas", "poses2d", "jointPositions", "campose_valid", "genders")
    places = [(key,) for key in pair if key not in unread and not key.endswith("60Hz")]
    for place in [*places, *((key, 1) for key in lists)]:
        for junk in JUNK:
            if place == ("img_frame_ids",) and junk is None:
                continue  # as good as absent, which it may be
            spoilt = copy.deepcopy(pair)
            changed(*place, value=junk)(spoilt)
            put_threedpw(tmp_path, spoilt)
            with pytest.raises(InputError) as caught:
                read_threedpw(tmp_path, "test")
            assert str(place[0]) in str(caught.value)


def test_junk_in_emdb_is_a_problem_and_never_a_crash(tmp_path: Path, labels: Labels) -> None:
    places = [(key,) for key in labels if not key.startswith("emdb")]
    places += [(key, part) for key in ("smpl", "camera", "bboxes") for part in labels[key]]
    for place in places:
        for junk in JUNK:
            if place[-1] == "invalid_idxs" and isinstance(junk, list) and not junk:
                continue  # which is what an empty list should be
            spoilt = copy.deepcopy(labels)
            changed(*place, value=junk)(spoilt)
            put_emdb(tmp_path, spoilt)
            with pytest.raises(InputError) as caught:
                read_emdb(tmp_path)
            assert f"'{'.'.join(place)}" in str(caught.value)


def test_all_that_is_wrong_in_3dpw_is_told_at_once(
    tmp_path: Path, pair: Labels, single: Labels
) -> None:
    put_threedpw(tmp_path, pair)
    del single["betas"]
    single["genders"] = ["q"]
    single["trans"][0][4, 1] = np.nan
    bad = put_threedpw(tmp_path, single)
    garbled = bad.with_name("outdoors_golf_00.pkl")
    garbled.write_bytes(b"no pickle")
    listed = bad.with_name("outdoors_golf_01.pkl")
    write_python2([1, 2], listed)
    bad.with_name("._outdoors_golf_00.pkl").write_bytes(b"left by a file manager")
    with pytest.raises(InputError) as caught:
        read_threedpw(tmp_path, "test")
    lines = lines_of(caught, "3 of 4 files of labels")
    assert len(lines) == 5
    assert sum(line.startswith(f"{bad}: ") for line in lines) == 3
    assert lines[3].startswith(f"{garbled} is damaged or not a pickle")
    assert lines[4] == f"{listed} holds no named labels: its type is list"


def test_broken_files_of_3dpw_are_skipped_on_request(
    tmp_path: Path, pair: Labels, single: Labels
) -> None:
    put_threedpw(tmp_path, pair)
    del single["betas"], single["trans"]
    bad = put_threedpw(tmp_path, single)
    told: list[str] = []
    sequences = read_threedpw(tmp_path, "test", told.append)
    assert [sequence.name for sequence in sequences] == ["downtown_talk_00_0", "downtown_talk_00_1"]
    assert len(told) == 2
    assert all(text.startswith(f"skipped: {bad}: ") for text in told)
    (tmp_path / "sequenceFiles" / "test" / "downtown_talk_00.pkl").unlink()
    with pytest.raises(InputError, match="1 of 1 files of labels cannot be used"):
        read_threedpw(tmp_path, "test", told.append)


def test_all_that_is_wrong_in_emdb_is_told_at_once_or_skipped(
    tmp_path: Path, emdb: dict[str, Labels], labels: Labels
) -> None:
    put_emdb(tmp_path, labels)
    broken = copy.deepcopy(emdb["P5_42_indoor_dancing"])
    del broken["smpl"]["trans"], broken["kp2d"]
    bad = put_emdb(tmp_path, broken, "P5_42_indoor_dancing")
    (tmp_path / "P5" / "44_indoor_rom" / "images").mkdir(parents=True)
    (tmp_path / "P5" / ".trash").mkdir()
    (tmp_path / "P5" / "notes.txt").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_emdb(tmp_path)
    lines = lines_of(caught, "2 of 3 files of labels")
    assert lines[0] == f"{bad}: 'smpl.trans' is missing"
    assert lines[1] == f"{bad}: 'kp2d' is missing"
    assert lines[2].endswith("P5_44_indoor_rom_data.pkl is not a file; check the path")
    assert len(lines) == 3
    told: list[str] = []
    sequences = read_emdb(tmp_path, on_broken=told.append)
    assert [sequence.name for sequence in sequences] == ["P1_14_outdoor_climb"]
    assert told == [f"skipped: {x}" for x in lines]


def test_frames_are_written_as_runs() -> None:
    frames = np.zeros(40, bool)
    frames[7] = True
    assert written_frames(frames) == "frame 7"
    frames[[8, 12]] = True
    assert written_frames(frames) == "frames 7-8, 12"
    frames[20:40:2] = True
    assert written_frames(frames) == "frames 7-8, 12, 20, 22, 24, 26 and 6 more runs"
