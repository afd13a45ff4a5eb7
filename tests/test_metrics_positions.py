"""Errors of places and orientations: definitions, invariances and known answers."""

import numpy as np
import pytest
import torch
from metric_cases import FRAME_CASES, HIPS, LIMBS, assert_counted, clip, mask, orientations, scene
from scipy.spatial.transform import Rotation

from temporal_hmr import metrics
from temporal_hmr.errors import InputError
from temporal_hmr.metrics.blocks import per_frame
from temporal_hmr.skeleton import SMPL24


@pytest.mark.parametrize("gaps", [[], [0, 5, 6, 11]])
@pytest.mark.parametrize("name", FRAME_CASES)
def test_each_frame_equals_the_naive_version(name, gaps):
    case, clips, valid = FRAME_CASES[name], scene(), mask(12, gaps)
    result = case.ours(clips, valid=valid)
    assert_counted(result, case.naive(clips.map(torch.Tensor.numpy), valid.tolist()))
    assert result.counted.equal(valid) and result.frames.tolist() == list(range(12))


def test_more_frames_than_a_block_holds_are_computed_all_the_same():
    frames = 130
    predicted, true = clip(frames, 1500, 1), clip(frames, 1500, 2)
    valid = [True] * frames
    fit = metrics.procrustes(predicted[:, :24], true[:, :24])
    expected = 1000 * (fit(predicted) - true).norm(dim=-1).mean(-1)
    assert_counted(metrics.pa_pve(predicted, true, fit), expected)
    assert_counted(metrics.pve(predicted, true), 1000 * (predicted - true).norm(dim=-1).mean(-1))
    assert metrics.pve(predicted, true, valid=np.array(valid)).count() == frames


def test_vertices_are_never_all_held_in_double_precision():
    """Blocks bound the memory, whatever the length of the video and the number of clips."""
    seen = []

    def measure(block):
        seen.append(block)
        return block.double().mean((-1, -2))

    video = torch.zeros(2, 50, 6890, 3)
    result = per_frame(measure, [video], (2, 50), None)
    assert result.values.shape == (2, 50)
    assert all(block.dtype == torch.float32 and len(block) <= 32 for block in seen)
    assert sum(len(block) for block in seen) == 100


def test_mpjpe_ignores_where_the_body_stands_unless_told():
    true = clip()
    moved = true + torch.tensor([0.3, 0.0, 0.4])
    assert metrics.mpjpe(moved, true).values.max() < 1e-9
    np.testing.assert_allclose(metrics.mpjpe(moved, true, root=None).values, 500.0)


def test_default_root_is_the_pelvis():
    clips = scene()
    by_name = metrics.mpjpe(clips.predicted, clips.true, [SMPL24.index("pelvis")])
    assert torch.equal(metrics.mpjpe(clips.predicted, clips.true).values, by_name.values)
    assert not torch.equal(metrics.mpjpe(clips.predicted, clips.true, HIPS).values, by_name.values)


def test_unaligned_vertices_differ_from_those_at_their_roots():
    true = clip(points=50)
    moved, roots = true + 0.1, true[:, 0]
    assert metrics.pve(moved, true, roots + 0.1, roots).values.max() < 1e-9
    np.testing.assert_allclose(metrics.pve(moved, true).values, 1000 * 0.1 * 3**0.5)


def test_one_root_alone_is_refused():
    true = clip()
    with pytest.raises(InputError, match="give both or neither"):
        metrics.pve(true, true, true[:, 0])


def test_vertices_are_moved_by_the_similarity_of_the_joints_not_by_their_own():
    """EMDB fits on joints; a fit on the vertices is another number."""
    clips = scene()
    of_joints = metrics.procrustes(clips.predicted, clips.true)
    of_skin = metrics.procrustes(clips.predicted_skin, clips.true_skin)
    skin = clips.predicted_skin, clips.true_skin
    own = metrics.pa_pve(*skin, of_skin).mean()
    assert own < 0.99 * metrics.pa_pve(*skin, of_joints).mean()
    torch.testing.assert_close(own, metrics.pa_mpjpe(*skin).mean())


def apart(*millimetres):
    """A truth and a prediction whose limbs are so far apart, in turn; all else in place."""
    true = torch.zeros(1, 24, 3, dtype=torch.float64)
    predicted = true.clone()
    predicted[0, list(LIMBS), 2] = (
        torch.tensor(millimetres).double().repeat(12 // len(millimetres)) / 1000
    )
    return predicted, true


def test_pck_counts_an_error_of_exactly_the_threshold():
    assert float(metrics.pck(*apart(50.0)).mean()) == 100
    assert float(metrics.pck(*apart(50.001)).mean()) == 0
    assert float(metrics.pck(*apart(10.0, 60.0, 80.0)).mean()) == pytest.approx(100 / 3)
    assert float(metrics.pck(*apart(10.0, 60.0, 80.0), threshold=0.07).mean()) == pytest.approx(
        200 / 3
    )


def test_pck_and_auc_look_at_the_limbs_alone():
    predicted, true = apart(10.0)
    predicted[0, SMPL24.index("head")] += 1.0
    assert float(metrics.pck(predicted, true).mean()) == 100
    head = [SMPL24.index("head")]
    assert float(metrics.pck(predicted, true, joints=head).mean()) == 0
    assert float(metrics.auc(predicted, true, joints=head).mean()) == 0


@pytest.mark.parametrize(
    ("error", "area"),
    [(0.0, 1.0), (0.5, 198.5 / 199), (50.0, 149.5 / 199), (199.0, 0.5 / 199), (199.5, 0.0)],
)
def test_auc_of_one_error_is_the_area_to_the_right_of_its_step(error, area):
    assert float(metrics.auc(*apart(error)).mean()) == pytest.approx(area)


def test_the_challenge_looks_at_twelve_joints_and_nine_parts():
    assert metrics.CHALLENGE_LIMBS == (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21)
    assert metrics.MPJAE_PARTS == (0, 1, 2, 4, 5, 16, 17, 18, 19)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 30.0, 179.999, 180.0])
def test_mpjae_of_a_known_turn_is_its_angle(degrees):
    """By atan2: arccos would lose half its digits near 0 and 180 degrees."""
    true = orientations()
    axis = np.array([2.0, -1.0, 2.0]) / 3
    turn = torch.from_numpy(Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix())
    np.testing.assert_allclose(metrics.mpjae(turn @ true, true).values, degrees, atol=1e-10)


def test_a_turn_of_the_whole_body_is_no_error_after_procrustes():
    joints, parts = clip(), orientations()
    turn = orientations(12, 1, seed=5)[:, 0]
    turned_joints, turned_parts = joints @ turn.mT, turn[:, None] @ parts
    rotation = metrics.procrustes(turned_joints, joints).rotation
    assert metrics.mpjae(turned_parts, parts).values.min() > 1
    assert metrics.pa_mpjae(turned_parts, parts, rotation).values.max() < 1e-6


def test_single_precision_input_is_compared_in_double():
    true = clip(dtype=torch.float32) * 0.3
    value = metrics.pa_mpjpe((2 * true.double() + 5).float(), true).values
    assert value.dtype == torch.float64
    assert value.max() < 1e-2
    far = true + 4096.0
    exact = 1000 * (far.double() - true.double()).norm(dim=-1).mean(-1)
    torch.testing.assert_close(metrics.pve(far, true).values, exact, rtol=1e-13, atol=0)
    torch.testing.assert_close(metrics.mpjpe(far, true, None).values, exact, rtol=1e-13, atol=0)
