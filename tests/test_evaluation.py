"""Every protocol against the same written out plainly, on trees in the datasets' own formats."""

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import naive_evaluation as plain
import numpy as np
import pytest
import torch
from dataset_trees import h36m_regressor, write_bodies, write_emdb, write_threedpw

from temporal_hmr.body.load import SMPL_LANDMARKS
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation import score
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.protocol import PRESETS, described, preset, with_switches
from temporal_hmr.evaluation.score import coverage, score_sequence
from temporal_hmr.evaluation.summary import Run, dataset_figures
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.rotation import axis_angle_to_matrix

MISSING = [12, 20]
"""Frames that the predictions lack."""
VERTICES = 400
"""Of SMPL's 6890 these bodies have so many."""
FEET = [40, 140, 240, 340]
"""Where they have their toes and heels."""


@dataclass
class Tree:
    """A dataset on disk, what was written to it, and how it reads."""

    root: Path
    labels: dict[str, dict[str, Any]]
    sequences: list[LabelledSequence]
    bodies: Bodies


@pytest.fixture(scope="module")
def smpl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smpl")
    write_bodies(folder, VERTICES)
    regressor = np.zeros((19, VERTICES))
    random = np.random.default_rng(4)
    regressor[:14] = h36m_regressor(VERTICES)[plain.LSP_IN_H36M]
    regressor[14:] = h36m_regressor(VERTICES)[random.integers(0, 17, 5)]
    (folder / "SMPL_to_J19.pkl").write_bytes(pickle.dumps(regressor, 2))
    return folder


@pytest.fixture(scope="module")
def threedpw(smpl, tmp_path_factory) -> Tree:
    root, bodies = tmp_path_factory.mktemp("3dpw"), Bodies(smpl)
    by_gender = {gender: bodies.of(gender) for gender in ("male", "female", "neutral")}
    labels = write_threedpw(root, by_gender, images=False)
    return Tree(root, labels, read_threedpw(root, "test"), bodies)


@pytest.fixture(scope="module")
def emdb(smpl, tmp_path_factory) -> Tree:
    root, bodies = tmp_path_factory.mktemp("emdb"), Bodies(smpl)
    by_gender = {gender: bodies.of(gender) for gender in ("male", "female", "neutral")}
    for body in by_gender.values():
        body.landmarks = dict(zip(score.FEET, FEET, strict=True))
    labels = write_emdb(root, by_gender, images=False)
    for name, contents in labels.items():
        # Somebody who never stands still has no standing feet to slide.
        for key in ("poses_root", "poses_body", "trans"):
            contents["smpl"][key][14:25] = contents["smpl"][key][14]
        participant, video = name.split("_", 1)
        file = root / participant / video / f"{name}_data.pkl"
        file.write_bytes(pickle.dumps(contents, 4))
    return Tree(root, labels, read_emdb(root, None), bodies)


def somebody(sequence: LabelledSequence, bodies: Bodies, world: bool = False) -> PredictedMotion:
    """The truth, wrong by some degrees and centimetres, on the neutral body."""
    random = np.random.default_rng(len(sequence.name))
    true = sequence.in_camera(bodies.of(sequence.gender))
    frames = np.setdiff1d(np.arange(len(sequence)), MISSING)

    def off(smpl):
        poses = smpl.poses() + torch.from_numpy(random.normal(size=(len(sequence), 72)) / 15)
        shift = torch.from_numpy(random.normal(size=(len(sequence), 3)) / 30)
        return type(smpl).from_poses(poses, 0.7 * smpl.betas + 0.2, smpl.transl + shift)[frames]

    turn = axis_angle_to_matrix(torch.tensor([0.2, 1.4, -0.1], dtype=torch.float64))
    own_world = None
    if world:
        body = bodies.of("neutral")
        moved = body.transform(sequence.smpl, turn, torch.tensor([3.0, 1, 2]).double())
        own_world = off(moved)
    return PredictedMotion(sequence.name, "ours", frames, off(true), world=own_world)


def points_of(motion: PredictedMotion, frames: int, bodies: Bodies) -> plain.Person:
    """The prediction's points at all frames, NaN where it has none."""
    body = bodies.of("neutral")
    eye, zero = np.eye(3)[None], np.zeros((1, 3))

    def person(smpl):
        count = len(smpl.transl)
        poses, betas = smpl.poses().numpy(), smpl.betas.numpy()[0]
        cameras = eye.repeat(count, 0), zero.repeat(count, 0)
        return plain.in_world(poses, betas, smpl.transl.numpy(), *cameras, body)

    seen = person(motion.smpl)
    if motion.world is not None:
        there = person(motion.world)
        seen = replace(
            seen, world_vertices=there.vertices, world_joints=there.joints,
            world_root=there.turned[:, 0], trans=there.trans,
        )  # fmt: skip

    def spread(points):
        result = np.full((frames, *points.shape[1:]), np.nan)
        result[motion.frames] = points
        return result

    return plain.Person(**{name: spread(points) for name, points in vars(seen).items()})


def check(scores: dict[str, Any], expected: dict[str, Any], names: set[str]) -> None:
    for name in sorted(names):
        values = scores[name]
        found = values.values[values.counted].numpy()
        assert len(found) == len(expected[name]) > 0, name
        np.testing.assert_allclose(found, expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def threedpw_truth(tree: Tree, sequence: LabelledSequence, gender: str):
    labels, actor = tree.labels[sequence.video], int(sequence.name[-1])
    cameras = labels["cam_poses"]
    true = plain.in_world(
        labels["poses"][actor], labels["betas"][actor], labels["trans"][actor],
        cameras[:, :3, :3], cameras[:, :3, 3], tree.bodies.of(gender),
    )  # fmt: skip
    return true, labels["poses2d"][actor], labels["campose_valid"][actor]


THREEDPW_PRESETS = sorted(name for name, kinds in PRESETS.items() if "3dpw" in kinds)


@pytest.mark.parametrize("name", THREEDPW_PRESETS)
def test_presets_on_3dpw(name: str, threedpw: Tree) -> None:
    protocol = preset(name, "3dpw")
    rows, rooted = [], []
    for sequence in threedpw.sequences:
        motion = somebody(sequence, threedpw.bodies)
        scores = score_sequence(sequence, motion, protocol, threedpw.bodies)
        gender = "neutral" if name in ("vibe", "int", "tcmr") else sequence.gender
        true, poses2d, camera_valid = threedpw_truth(threedpw, sequence, gender)
        by_challenge = name in ("3dpw-challenge", "hmr2")
        wanted = plain.challenge(poses2d, camera_valid) if by_challenge else plain.visible(poses2d)
        if name == "tcmr":
            wanted &= camera_valid > 0
        assert np.array_equal(scores.wanted, wanted) and 0 < wanted.sum() < len(wanted)
        valid = wanted & ~np.isin(np.arange(len(wanted)), MISSING)
        if name == "vibe":
            valid[np.flatnonzero(valid)[valid.sum() // 16 * 16 :]] = False
        predicted = points_of(motion, len(sequence), threedpw.bodies)
        matrix = h36m_regressor(VERTICES)
        if name == "hmr2":
            matrix = threedpw.bodies._matrix("hmr2")
        expected = plain.threedpw_scores(name, true, predicted, matrix, valid)
        check(scores.values, expected, set(expected) - {"rooted"})
        assert coverage([scores]) == pytest.approx(
            (wanted.sum() - wanted[MISSING].sum()) / wanted.sum()
        )
        rows.append(scores)
        rooted.append(expected.get("rooted"))
    figures = dataset_figures(Run(name, protocol, rows))
    every = [value for row in rows for value in row.values["mpjpe"].values.tolist()]
    assert figures["mpjpe"].value == pytest.approx(np.mean(every))
    assert figures["mpjpe"].count == len(every)
    if name in ("vibe", "int"):
        predicted, true = (np.concatenate([side[i] for side in rooted]) for i in (0, 1))
        stitched = plain.naive.acceleration_error(predicted, true, None, np.ones(len(true), bool))
        assert figures["acceleration_error"].value == pytest.approx(1000 * np.mean(stitched))
        assert figures["acceleration_error"].count == len(every) - 2


@pytest.mark.parametrize("name", ["emdb1", "emdb1-official", "wham", "gvhmr", "hmr2"])
def test_presets_on_emdb1(name: str, emdb: Tree) -> None:
    protocol = preset(name, "emdb1")
    rows = []
    for sequence in emdb.sequences:
        motion = somebody(sequence, emdb.bodies)
        scores = score_sequence(sequence, motion, protocol, emdb.bodies)
        true, good = emdb_truth(emdb, sequence)
        valid = good & ~np.isin(np.arange(len(good)), MISSING)
        predicted = points_of(motion, len(sequence), emdb.bodies)
        neutral = emdb.bodies.of("neutral").joint_regressor.numpy()
        expected = plain.emdb_scores(name, true, predicted, neutral, valid)
        check(scores.values, expected, set(expected) & set(scores.values))
        assert set(protocol.metrics) <= set(scores.values)
        rows.append(scores)
    figures = dataset_figures(Run(name, protocol, rows))
    if "jitter" in figures:
        clips = [float(row.values["jitter"].mean()) for row in rows]
        assert figures["jitter"].value == pytest.approx(np.mean(clips))
        assert figures["jitter"].count == len(rows), "EMDB averages its jitter over clips"


def emdb_truth(tree: Tree, sequence: LabelledSequence):
    labels = tree.labels[sequence.video]
    smpl, cameras = labels["smpl"], labels["camera"]["extrinsics"]
    poses = np.concatenate([smpl["poses_root"], smpl["poses_body"]], 1)
    body = tree.bodies.of(sequence.gender)
    rotation, translation = cameras[:, :3, :3], cameras[:, :3, 3]
    true = plain.in_world(poses, smpl["betas"], smpl["trans"], rotation, translation, body)
    return true, labels["good_frames_mask"]


@pytest.mark.parametrize("own_world", [True, False])
@pytest.mark.parametrize("name", ["emdb2", "wham", "gvhmr"])
def test_presets_on_emdb2(name: str, own_world: bool, emdb: Tree) -> None:
    protocol = preset(name, "emdb2")
    for sequence in emdb.sequences[:2]:
        motion = somebody(sequence, emdb.bodies, own_world)
        scores = score_sequence(sequence, motion, protocol, emdb.bodies)
        true, good = emdb_truth(emdb, sequence)
        valid = good & ~np.isin(np.arange(len(good)), MISSING)
        predicted = points_of(motion, len(sequence), emdb.bodies)
        if not own_world:
            predicted = through_true_cameras(predicted, sequence, emdb.bodies)
        neutral = emdb.bodies.of("neutral").joint_regressor.numpy()
        expected = plain.emdb_world_scores(name, true, predicted, neutral, valid, FEET)
        check(scores.values, expected, set(protocol.metrics))


def test_feet_are_those_of_smpl() -> None:
    assert [SMPL_LANDMARKS[name] for name in score.FEET] == plain.FEET


def through_true_cameras(person: plain.Person, sequence, bodies) -> plain.Person:
    rotation, translation = sequence.rotation.numpy(), sequence.translation.numpy()

    def back(points):
        return np.einsum("tji,tnj->tni", rotation, points - translation[:, None])

    rest = person.joints[:, 0] - person.trans
    joints = back(person.joints)
    return replace(
        person,
        world_vertices=back(person.vertices),
        world_joints=joints,
        world_root=rotation.swapaxes(1, 2) @ person.turned[:, 0],
        trans=joints[:, 0] - rest,
    )


def test_the_truth_itself_scores_zero_and_jitters_as_the_truth(emdb: Tree) -> None:
    sequence = emdb.sequences[0]
    true = sequence.in_camera(emdb.bodies.of(sequence.gender))
    frames = np.arange(len(sequence))
    motion = PredictedMotion("truth", "ours", frames, true, gender=sequence.gender)
    for dataset in ("emdb1", "emdb2"):
        scores = score_sequence(sequence, motion, preset(dataset, dataset), emdb.bodies)
        for name, values in scores.values.items():
            if "jitter" in name or name == "acceleration":
                continue
            if name.startswith("foot_sliding"):
                assert float(values.mean()) < 10, "of the truth, steps below the threshold"
                continue
            assert float(values.mean()) < 1e-4, name
        for name in ("jitter_all_joints", "jitter_world"):
            if name in scores.values:
                own, truth = scores.values[name], scores.values[name + "_truth"]
                assert float(own.mean()) == pytest.approx(float(truth.mean()))


def test_one_switch_moves_one_thing(threedpw: Tree) -> None:
    sequence = threedpw.sequences[0]
    motion = somebody(sequence, threedpw.bodies)
    usual = preset("3dpw", "3dpw")
    means = {}
    for switches in ([], ["root=pelvis"], ["truth_body=neutral"], ["vertices=unaligned"]):
        protocol = with_switches(usual, switches)
        scores = score_sequence(sequence, motion, protocol, threedpw.bodies)
        means[tuple(switches)] = {name: float(v.mean()) for name, v in scores.values.items()}
    base, pelvis, neutral, unaligned = means.values()
    assert pelvis["mpjpe"] != base["mpjpe"] and pelvis["pa_mpjpe"] == pytest.approx(
        base["pa_mpjpe"]
    )
    assert neutral["pa_mpjpe"] != base["pa_mpjpe"]
    assert unaligned["pve"] != base["pve"] and unaligned["mpjpe"] == base["mpjpe"]


def test_gender_matters(threedpw: Tree) -> None:
    """VIBE, TCMR and INT pose the neutral body with gendered betas, and call that the truth."""
    sequence = threedpw.sequences[0]
    true = sequence.in_camera(threedpw.bodies.of(sequence.gender))
    frames = np.arange(len(sequence))
    motion = PredictedMotion("truth", "ours", frames, true, gender=sequence.gender)
    gendered = score_sequence(sequence, motion, preset("wham", "3dpw"), threedpw.bodies)
    neutral = score_sequence(sequence, motion, preset("int", "3dpw"), threedpw.bodies)
    assert float(gendered.values["mpjpe"].mean()) < 1e-6
    assert float(neutral.values["mpjpe"].mean()) > 1


def test_weak_perspective_scores_in_the_camera_frame_only(emdb: Tree) -> None:
    sequence = emdb.sequences[0]
    motion = somebody(sequence, emdb.bodies)
    flat = replace(
        motion,
        has_depth=False,
        smpl=replace(motion.smpl, transl=torch.zeros_like(motion.smpl.transl)),
    )
    protocol = preset("emdb1", "emdb1")
    with_place = score_sequence(sequence, motion, protocol, emdb.bodies)
    without = score_sequence(sequence, flat, protocol, emdb.bodies)
    for name, values in with_place.values.items():
        torch.testing.assert_close(values.values, without.values[name].values, equal_nan=True)
    assert without.predicted_joints is not None and without.true_joints is not None
    torch.testing.assert_close(without.predicted_joints[:, 0], without.true_joints[:, 0])
    in_world = score_sequence(sequence, flat, preset("emdb2", "emdb2"), emdb.bodies)
    assert in_world.scored.any() and not in_world.values
    assert [f"{flat.name} has no translation" in note for note in in_world.notes] == [True]


def test_predictions_of_another_video_are_refused(threedpw: Tree) -> None:
    sequence = threedpw.sequences[0]
    motion = somebody(sequence, threedpw.bodies)
    later = replace(motion, frames=motion.frames + 5)
    with pytest.raises(InputError, match="numbered otherwise"):
        score_sequence(sequence, later, preset("3dpw", "3dpw"), threedpw.bodies)
    one_more = score_sequence(
        sequence, replace(motion, frames=motion.frames + 1), preset("3dpw", "3dpw"), threedpw.bodies
    )
    assert "1 frame beyond the video left out" in one_more.notes[0]
    assert one_more.predicted.sum() == len(motion) - 1


def test_guesses_can_be_left_out(threedpw: Tree) -> None:
    sequence = threedpw.sequences[0]
    motion = somebody(sequence, threedpw.bodies)
    guessed = replace(motion, filled=np.arange(len(motion)) > 20)
    usual = preset("3dpw", "3dpw")
    with_guesses = score_sequence(sequence, guessed, usual, threedpw.bodies)
    skip = with_switches(usual, ["guesses=skip"])
    without = score_sequence(sequence, guessed, skip, threedpw.bodies)
    assert without.scored.sum() == (with_guesses.scored & ~with_guesses.filled).sum()
    assert coverage([without]) < coverage([with_guesses])


def test_a_rule_that_the_dataset_lacks_is_named(emdb: Tree) -> None:
    protocol = with_switches(preset("emdb1", "emdb1"), ["frames=visible"])
    sequence = emdb.sequences[0]
    with pytest.raises(InputError, match="frame rule visible means nothing"):
        score_sequence(sequence, somebody(sequence, emdb.bodies), protocol, emdb.bodies)


def test_nan_in_a_prediction_is_seen_and_skipped_only_on_request(threedpw: Tree) -> None:
    sequence, protocol = threedpw.sequences[0], preset("3dpw", "3dpw")
    motion = somebody(sequence, threedpw.bodies)
    pose = motion.smpl.body_pose.clone()
    pose[9] = torch.nan
    broken = replace(motion, smpl=replace(motion.smpl, body_pose=pose))
    run = Run("3dpw", protocol, [score_sequence(sequence, broken, protocol, threedpw.bodies)])
    whole = Run("3dpw", protocol, [score_sequence(sequence, motion, protocol, threedpw.bodies)])
    figures, skipped = dataset_figures(run), dataset_figures(run, skip_nan=True)
    assert all(np.isnan(figures[name].value) for name in protocol.metrics)
    assert figures["mpjpe"].num_nan == 1 and figures["acceleration_error"].num_nan == 3
    assert skipped["mpjpe"].count == dataset_figures(whole)["mpjpe"].count - 1
    assert np.isfinite(skipped["mpjpe"].value)


def test_protocols_are_named_and_printed() -> None:
    with pytest.raises(InputError, match="did you mean gvhmr"):
        preset("gvhrm", "3dpw")
    with pytest.raises(InputError, match="vibe scores 3dpw, not emdb1; for emdb1 there are"):
        preset("vibe", "emdb1")
    protocol = preset("vibe", "3dpw")
    with pytest.raises(InputError, match="did you mean root"):
        with_switches(protocol, ["roott=hips"])
    with pytest.raises(InputError, match="SWITCH=VALUE"):
        with_switches(protocol, ["root"])
    with pytest.raises(InputError, match="root"):
        with_switches(protocol, ["root=nose"])
    for broken in ("root=[", "root=*x", "root=: :"):
        with pytest.raises(InputError, match="is no value"):
            with_switches(protocol, [broken])
    with pytest.raises(InputError, match="would change nothing"):
        with_switches(protocol, ["rte_root=translation"])
    for name, idle in (("emdb2", "root=pelvis"), ("emdb1", "regress_at=place")):
        with pytest.raises(InputError, match="would change nothing"):
            with_switches(preset(name, name), [idle])
    spaced = with_switches(protocol, ["metrics=mpjpe, pve,mpjpe"])
    assert spaced.metrics == ("mpjpe", "pve")
    told = dict(described(protocol))
    assert told["truth_body"] == "neutral" and told["stitched"] == "True"
    assert set(told) == set(type(protocol).model_fields)
