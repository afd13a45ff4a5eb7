"""BVH files onto the SMPL skeleton."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from temporal_hmr.data.bvh import read_bvh
from temporal_hmr.data.bvh_file import parse_bvh
from temporal_hmr.data.mocap import read_take, read_takes, resample
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

SHARED = Path(__file__).parents[2] / "shared" / "data"
ICLONE = SHARED / "raw_mocap" / "cmu_07_01_iclone.bvh"
SAME_TAKE = SHARED / "mocap" / "val" / "CMU" / "07" / "07_01_poses.npz"

# Parent and offset in centimetres, T-pose, of the left side and the middle.
BONES = {
    "pelvis": (None, (0, 0, 0)),
    "spine1": ("pelvis", (0, 12, 0)),
    "spine2": ("spine1", (0, 13, 0)),
    "spine3": ("spine2", (0, 6, 0)),
    "neck": ("spine3", (0, 20, 0)),
    "head": ("neck", (0, 9, 0)),
    "left_hip": ("pelvis", (8, -6, 0)),
    "left_knee": ("left_hip", (0, -40, 0)),
    "left_ankle": ("left_knee", (0, -42, 0)),
    "left_foot": ("left_ankle", (0, -6, 13)),
    "left_collar": ("spine3", (6, 12, 0)),
    "left_shoulder": ("left_collar", (11, 0, 0)),
    "left_elbow": ("left_shoulder", (26, 0, 0)),
    "left_wrist": ("left_elbow", (25, 0, 0)),
}
PARTS = ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "hip", "knee", "ankle", "foot")
PARTS += ("collar", "shoulder", "elbow", "wrist")


def naming(names):
    return dict(zip(PARTS, names.split(","), strict=True))


CMU = naming(
    "Hips,LowerBack,Spine,Spine1,Neck,Head,LeftUpLeg,LeftLeg,LeftFoot,LeftToeBase,LeftShoulder,"
    "LeftArm,LeftForeArm,LeftHand"
)
MIXAMO = {joint: f"mixamorig:{name}" for joint, name in CMU.items()}
BIPED = naming(
    "Bip01 Pelvis,Bip01 Spine,Bip01 Spine1,Bip01 Spine2,Bip01 Neck,Bip01 Head,Bip01 L Thigh,"
    "Bip01 L Calf,Bip01 L Foot,Bip01 L Toe0,Bip01 L Clavicle,Bip01 L UpperArm,Bip01 L Forearm,"
    "Bip01 L Hand"
)
BLENDER = naming(
    "hips,spine,spine.001,chest,neck,head,thigh.L,shin.L,foot.L,toe.L,shoulder.L,upper_arm.L,"
    "forearm.L,hand.L"
)
POSER = naming(
    "Hips,Abdomen,Waist,Chest,Neck,Head,LeftHip,LeftKnee,LeftAnkle,LeftToe,LeftCollar,"
    "LeftShoulder,LeftElbow,LeftWrist"
)


def whole_skeleton():
    bones = {}
    for joint, (parent, offset) in BONES.items():
        bones[joint] = (parent, np.array(offset, float))
    for joint, (parent, offset) in BONES.items():
        if joint.startswith("left"):
            mirrored = parent.replace("left", "right")
            bones[joint.replace("left", "right")] = (mirrored, np.array(offset) * (-1.0, 1, 1))
    return bones


SKELETON = whole_skeleton()


def name_of(joint, names):
    if "_" not in joint:
        return names[joint]
    side, part = joint.split("_")
    name = names[part]
    if side == "right":
        name = name.replace("Left", "Right").replace("Bip01 L ", "Bip01 R ").replace(".L", ".R")
    return name


def write_bvh(path, rotations, frames=None, root=None, *, names=CMU, order="ZXY", scale=1.0):
    """A file of SMPL rotations (T, 24, 3, 3) on `SKELETON`.

    `frames` gives joints axes of their own: their rotation in the world is the SMPL joint's times
    this constant matrix, and zero rotations are then another pose.
    """
    frames = frames or {}
    root = np.zeros((len(rotations), 3)) if root is None else root
    lines, values = ["HIERARCHY"], [root * scale]

    def write(joint, depth):
        parent, offset = SKELETON[joint]
        pad, above = "  " * depth, frames.get(parent, np.eye(3))
        offset = " ".join(f"{value:.9f}" for value in above.T @ offset * scale)
        turns = " ".join(f"{axis}rotation" for axis in order)
        places = "" if parent else "Xposition Yposition Zposition "
        lines.append(f"{pad}{'JOINT' if parent else 'ROOT'} {name_of(joint, names)}")
        lines.extend([pad + "{", f"{pad}  OFFSET {offset}"])
        lines.append(f"{pad}  CHANNELS {3 if parent else 6} {places}{turns}")
        local = above.T @ rotations[:, SMPL24.index(joint)] @ frames.get(joint, np.eye(3))
        values.append(Rotation.from_matrix(local).as_euler(order, degrees=True))
        children = [child for child, (above, _) in SKELETON.items() if above == joint]
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.extend([pad + "  End Site", pad + "  {", pad + "    OFFSET 0 1 0", pad + "  }"])
        lines.append(pad + "}")

    write("pelvis", 0)
    lines.extend(["MOTION", f"Frames: {len(rotations)}", "Frame Time: 0.008333"])
    for row in np.concatenate(values, 1):
        lines.append(" ".join(f"{value:.9f}" for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path


def motion(frames=30, seed=0):
    """Everything turns; elbows and knees are hinges, and the feet are level when they stand."""
    random = np.random.default_rng(seed)
    vectors = random.normal(0, 0.2, (frames, 24, 3))
    for joint in ("left_foot", "right_foot", "left_hand", "right_hand"):
        vectors[:, SMPL24.index(joint)] = 0
    for side, sign in (("left", -1), ("right", 1)):
        bend = random.uniform(0.1, 1.2, (2, frames))
        vectors[:, SMPL24.index(f"{side}_knee")] = bend[0, :, None] * [1, 0, 0]
        vectors[:, SMPL24.index(f"{side}_elbow")] = bend[1, :, None] * [0, sign, 0]
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return rotations.reshape(frames, 24, 3, 3)


def world(rotations):
    chain = []
    for joint, parent in enumerate(SMPL24.parents):
        local = np.asarray(rotations[:, joint], float)
        chain.append(local if parent < 0 else chain[parent] @ local)
    return np.stack(chain, 1)


def random_frames(seed=3):
    quaternions = np.random.default_rng(seed).normal(size=(len(SKELETON), 4))
    turns = Rotation.from_quat(quaternions).as_matrix()
    return dict(zip(SKELETON, turns, strict=True))


def same(take, rotations, atol=1e-5):
    np.testing.assert_allclose(take.rotations, rotations, atol=atol)


def angle(first, second):
    cosine = (first * second).sum(-1)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1), cosine))


TINY = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 0.2 0
    CHANNELS 3 Yrotation Zrotation Xrotation
    End Site
    {
      OFFSET 0 0.5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
1 2 3 0 0 90 0 0 0
1 2 3 0 0 0 90 90 0
"""


def test_a_file_worked_out_by_hand(tmp_path):
    path = tmp_path / "tiny.bvh"
    path.write_text(TINY)
    parsed = parse_bvh(path)
    assert parsed.names == ("Hips", "Spine", "Spine_end")
    assert parsed.parents == (-1, 0, 1)
    assert parsed.frame_rate == 25.0
    # Hips turn +Z to +X; then the spine: first about Z, +Y to -X, then about Y, -X to +Z.
    np.testing.assert_allclose(parsed.positions[0], [[1, 2, 3], [1, 2.2, 3], [1, 2.7, 3]])
    np.testing.assert_allclose(parsed.positions[1], [[1, 2, 3], [1, 2.2, 3], [1, 2.2, 3.5]])
    np.testing.assert_allclose(parsed.world_rotations[0, 1] @ [0, 0, 1], [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (1, "HIERACHY", "line 1: expected HIERARCHY"),
        (2, "JOINT Hips", "line 2: expected ROOT"),
        (3, "OFFSET 0 0 0", "line 3: expected {"),
        (4, "OFFSET 0 0", "line 4: expected OFFSET"),
        (4, "OFFSET 0 zero 0", "line 4: expected numbers"),
        (5, "CHANNELS 5 Xposition Yposition Zposition Zrotation Xrotation Yrotation", "line 5"),
        (5, "CHANNELS 3 Xrotation Yrotation Wrotation", "line 5: unknown channel 'Wrotation'"),
        (5, "CHANNELS 2 Xrotation Xrotation", "line 5: a channel is listed twice"),
        (15, "", "line 16: expected JOINT or End"),
        (17, "Frames: none", "line 17: expected 'Frames:'"),
        (17, "Frames: 0", "line 17: expected 'Frames:'"),
        (17, "Frames: 3", "ends too early"),
        (17, "Frames: 1", "line 20: there is more"),
        (18, "Frame Time: 0", "line 18: the frame time must be positive"),
        (18, "Frame Time:", "line 18: expected 'Frame Time:'"),
        (19, "1 2 3 0 0 90 0 0", "line 19: frame 0 has 8 values"),
        (20, "1 2 3 0 0 nan 90 90 0", "line 20: a number is not finite"),
        (20, "1 2 3 0 0 x 90 90 0", "line 20: expected numbers"),
    ],
)
def test_a_broken_file_is_refused_by_line(tmp_path, line, text, said):
    lines = TINY.splitlines()
    lines[line - 1] = text
    path = tmp_path / "broken.bvh"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"broken\.bvh") as error:
        parse_bvh(path)
    assert said in str(error.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "cut.bvh"
    lines = TINY.splitlines()
    for length in range(len(lines)):
        path.write_text("\n".join(lines[:length]))
        with pytest.raises(InputError, match="line"):
            parse_bvh(path)


@pytest.mark.parametrize(
    ("printed", "fps"),
    [("0.016667", 60.0), ("0.0083333", 120.0), ("0.0333667", 1 / 0.0333667), ("0.04", 25.0)],
)
def test_a_rounded_frame_time_means_the_whole_rate(tmp_path, printed, fps):
    path = tmp_path / "rate.bvh"
    path.write_text(TINY.replace("0.04", printed))
    assert parse_bvh(path).frame_rate == fps


@pytest.mark.parametrize("names", [CMU, MIXAMO, BIPED, BLENDER, POSER])
@pytest.mark.parametrize("order", ["ZXY", "XYZ", "YXZ"])
def test_a_t_pose_skeleton_gives_back_the_rotations(tmp_path, names, order):
    rotations = motion()
    path = write_bvh(tmp_path / "a.bvh", rotations, names=names, order=order)
    take = read_bvh(path)
    same(take, rotations)
    assert (take.name, take.subject, take.fps) == ("a", tmp_path.name, 120.0)


@pytest.mark.parametrize("scale", [1.0, 0.01, 10.0, 1 / 2.54, 0.45 / 2.54])
def test_the_unit_is_seen_in_the_legs(tmp_path, scale):
    root = np.tile([30.0, 95.0, -20.0], (30, 1))
    take = read_bvh(write_bvh(tmp_path / "a.bvh", motion(), root=root, scale=scale))
    expected = torch.tensor([0.3, 0.95, -0.2]).expand(30, 3)
    torch.testing.assert_close(take.translation, expected, atol=1e-5, rtol=0)


def test_the_unit_can_be_told_and_nonsense_is_refused(tmp_path):
    root = np.tile([30.0, 95.0, -20.0], (30, 1))
    path = write_bvh(tmp_path / "a.bvh", motion(), root=root, scale=0.1)
    with pytest.raises(InputError, match="metres_per_unit"):
        read_bvh(path)
    take = read_bvh(path, metres_per_unit=0.1, rest_pelvis=torch.tensor([0.0, -0.25, 0.0]))
    torch.testing.assert_close(take.translation[0], torch.tensor([0.3, 1.2, -0.2]))


def test_an_a_pose_is_swung_to_the_t_pose(tmp_path):
    """Zero rotations are arms 50 degrees down; the file's frames are those of that pose."""
    frames = {}
    for side, sign in (("left", -1), ("right", 1)):
        down = Rotation.from_euler("z", sign * 50, degrees=True).as_matrix()
        for joint in ("shoulder", "elbow", "wrist"):
            frames[f"{side}_{joint}"] = down.T
    rotations = motion()
    same(read_bvh(write_bvh(tmp_path / "a.bvh", rotations, frames)), rotations)


def test_a_z_up_file_is_turned_up(tmp_path):
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    rotations = motion()
    in_z_up = rotations.copy()
    in_z_up[:, 0] = turn @ rotations[:, 0]
    root = np.tile([30.0, 20.0, 95.0], (30, 1))
    lying_rest = dict.fromkeys(SKELETON, turn.T)
    for frames in ({}, lying_rest):
        take = read_bvh(write_bvh(tmp_path / "a.bvh", in_z_up, frames, root))
        same(take, rotations)
        torch.testing.assert_close(take.translation[0], torch.tensor([0.3, 0.95, -0.2]))


def test_bones_with_axes_of_their_own_are_read_from_a_t_pose_in_the_first_frame(tmp_path):
    rotations = motion()
    rotations[0] = np.eye(3)
    path = write_bvh(tmp_path / "a.bvh", rotations, random_frames())
    same(read_bvh(path), rotations)
    same(read_bvh(path, rest_pose="first_frame"), rotations)


def test_bones_with_axes_of_their_own_and_no_rest_pose_keep_the_limbs(tmp_path):
    rotations = motion(200)
    take = read_bvh(write_bvh(tmp_path / "a.bvh", rotations, random_frames()))
    assert_limbs_agree(world(take.rotations), world(rotations), mean=0.1, worst=0.1)
    for joint in ("left_knee", "right_knee", "left_elbow", "right_elbow"):
        same_joint = SMPL24.index(joint)
        np.testing.assert_allclose(
            take.rotations[:, same_joint], rotations[:, same_joint], atol=0.02
        )
    arms = SMPL24.indices("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    np.testing.assert_allclose(world(take.rotations)[:, arms], world(rotations)[:, arms], atol=0.02)


def test_bones_all_along_their_own_y_axis_keep_the_limbs(tmp_path):
    """As rigs have it whose bones point along y: the legs exactly against the T-pose."""
    frames = dict.fromkeys(SKELETON, Rotation.from_euler("x", 180, degrees=True).as_matrix())
    for side, sign in (("left", -1), ("right", 1)):
        along_y = Rotation.from_euler("z", sign * 90, degrees=True).as_matrix()
        frames |= {f"{side}_{joint}": along_y for joint in ("shoulder", "elbow", "wrist")}
    frames["pelvis"] = np.eye(3)
    rotations = motion(200)
    take = read_bvh(write_bvh(tmp_path / "a.bvh", rotations, frames), rest_pose="bones")
    assert_limbs_agree(world(take.rotations), world(rotations), mean=0.1, worst=0.1)


def assert_limbs_agree(found, true, mean, worst):
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for joint, rest in (
            ("hip", (0, -1, 0)),
            ("knee", (0, -1, 0)),
            ("shoulder", (sign, 0, 0)),
            ("elbow", (sign, 0, 0)),
        ):
            index = SMPL24.index(f"{side}_{joint}")
            error = angle(found[:, index] @ rest, true[:, index] @ rest)
            assert error.mean() < mean, (side, joint)
            assert error.max() < worst, (side, joint)


def test_joints_that_the_file_lacks_do_not_turn(tmp_path, monkeypatch):
    lacking = ("left_foot", "right_foot", "left_collar", "right_collar", "spine2", "head")
    kept = {}
    for joint, (parent, offset) in SKELETON.items():
        above, sum_ = parent, offset
        while above in lacking:
            above, sum_ = SKELETON[above][0], sum_ + SKELETON[above][1]
        if joint not in lacking:
            kept[joint] = (above, sum_)
    monkeypatch.setitem(globals(), "SKELETON", kept)
    rotations = motion()
    rotations[:, SMPL24.indices(*lacking)] = np.eye(3)
    same(read_bvh(write_bvh(tmp_path / "a.bvh", rotations)), rotations)


def test_a_skeleton_without_knees_is_refused_by_name(tmp_path):
    path = write_bvh(tmp_path / "a.bvh", motion())
    path.write_text(path.read_text().replace("LeftLeg", "LeftThing"))
    with pytest.raises(InputError, match="left knee"):
        read_bvh(path)
    with pytest.raises(InputError, match="rest pose 'T' is unknown"):
        read_bvh(write_bvh(path, motion()), rest_pose="T")  # type: ignore[arg-type]


def test_folders_of_bvh_are_read_as_takes(tmp_path):
    (tmp_path / "07").mkdir()
    write_bvh(tmp_path / "07" / "b.BVH", motion())
    (take,) = read_takes(tmp_path)
    assert (take.subject, take.name) == ("07", "b")


@pytest.mark.skipif(
    not (ICLONE.is_file() and SAME_TAKE.is_file()), reason="needs ../shared/data mocap files"
)
def test_the_same_take_from_two_sources_agrees():
    """One capture retargeted by two tools."""
    found, true = resample(read_bvh(ICLONE), 30.0), read_take(SAME_TAKE)
    assert len(found) == len(true)
    first, second = world(found.rotations), world(true.rotations)
    assert_limbs_agree(first, second, mean=3.0, worst=8.0)
    down = np.array([0.0, -1.0, 0.0])
    for side in ("left", "right"):
        hip, knee = SMPL24.indices(f"{side}_hip", f"{side}_knee")
        bends = [angle(turns[:, hip] @ down, turns[:, knee] @ down) for turns in (first, second)]
        assert np.corrcoef(bends)[0, 1] > 0.99
        assert np.abs(bends[0] - bends[1]).mean() < 4
