"""The rotation tokenizer: published sizes, laws of its codebook, known defects."""

import json
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.checkpoint import load_weights, read_config
from temporal_hmr.configuration import load_config
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.rotation_codebook import RotationCodebook
from temporal_hmr.tokenizers.rotations import (
    TOKENISED,
    RotationReconstruction,
    RotationTokenizer,
    RotationTokenizerConfig,
    rotations_of,
    sixd_of,
)
from temporal_hmr.training import loop, rotation_task
from temporal_hmr.training.loop import LoopSettings
from temporal_hmr.training.rotation_task import (
    BODY_PARTS,
    CHECKPOINT_KIND,
    PartNoise,
    Poses,
    RotationTask,
    RotationTrainingConfig,
    area_weights,
    at_rest_root,
    train_rotations,
    with_part_noise,
)

SMALL = RotationTokenizerConfig(tokens=12, width=24, codes=32, code_dim=8)


def some_rotations(*shape: int, seed: int = 0, spread: float = 0.5) -> Tensor:
    generator = Generator().manual_seed(seed)
    return axis_angle_to_matrix(spread * torch.randn(*shape, 3, generator=generator))


def takes(*subjects: str) -> list[MocapTake]:
    """A swinging motion for each subject."""
    made = []
    for seed, subject in enumerate(subjects):
        swing = torch.sin(torch.arange(50) / 8)[:, None, None]
        amplitude = 0.4 * torch.randn(24, 3, generator=Generator().manual_seed(seed))
        rotations = axis_angle_to_matrix(swing * amplitude)
        made.append(MocapTake("t", subject, rotations, torch.zeros(50, 3), 30.0, torch.zeros(10)))
    return made


def test_published_lengths() -> None:
    """21 -> 40 -> 80 -> 160 -> 320 -> 160 and 160 -> 125 -> 90 -> 55 -> 21."""
    tokenizer = RotationTokenizer(RotationTokenizerConfig(width=8, code_dim=4, codes=16)).eval()
    lengths = []
    for module in tokenizer.modules():
        if isinstance(module, torch.nn.Conv1d):
            module.register_forward_hook(lambda _, given, made: lengths.append(made.shape[-1]))
    tokenizer(some_rotations(1, 21))
    assert lengths[:6] == [21, 40, 80, 160, 320, 160]
    assert lengths[11:16] == [160, 125, 90, 55, 21]
    assert lengths[6:11] == [160] * 5 and set(lengths[16:]) == {21}


def test_published_size() -> None:
    tokenizer = RotationTokenizer(RotationTokenizerConfig())
    learned = sum(p.numel() for p in tokenizer.parameters())
    assert learned == 13_136_134
    assert learned + tokenizer.codebook.codes.numel() == 13_660_422


def test_residual_blocks_begin_with_the_widest() -> None:
    dilations = [m.dilation for m in RotationTokenizer(SMALL).modules() if hasattr(m, "dilation")]
    assert [d for d in dilations if d != (1,)] == [(3,), (3,)]
    tokenizer = RotationTokenizer(SMALL)
    for stack in (tokenizer.encoder[2], tokenizer.decoder[1]):
        assert [block.spread.dilation for block in stack] == [(3,), (1,)]


def test_tokenised_joints_are_smpls_1_to_21() -> None:
    assert SMPL24.indices(*TOKENISED) == list(range(1, 22))


def test_layouts() -> None:
    """Two rows as published: R00 R01 R02 R10 R11 R12; both layouts come back as the rotation."""
    rotation = some_rotations(5)
    rows = torch.stack([rotation[:, 0], rotation[:, 1]], 1).flatten(1)
    torch.testing.assert_close(sixd_of(rotation, "rows"), rows)
    for layout in ("rows", "columns"):
        back = rotations_of(sixd_of(rotation, layout), layout)
        torch.testing.assert_close(back, rotation)


def test_rows_are_orthonormalised_as_rows() -> None:
    sixd = torch.randn(4, 6, generator=Generator().manual_seed(1))
    first = sixd[:, :3] / sixd[:, :3].norm(dim=1, keepdim=True)
    made = rotations_of(sixd, "rows")
    torch.testing.assert_close(made[:, 0], first)
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(4))


def test_frames_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    tokenizer = RotationTokenizer(SMALL).eval()
    poses = some_rotations(3, 4, 21)
    together = tokenizer(poses)
    alone = tokenizer(poses[1, 2])
    torch.testing.assert_close(together.rotations[1, 2], alone.rotations)
    assert torch.equal(together.indices[1, 2], alone.indices)
    assert torch.equal(tokenizer.encode(poses), together.indices)


def test_mixture_of_one_code_is_that_code() -> None:
    torch.manual_seed(0)
    tokenizer = RotationTokenizer(SMALL).eval()
    indices = torch.randint(32, (2, 12))
    logits = 1e4 * torch.nn.functional.one_hot(indices, 32).float()
    soft = tokenizer.decode(logits.softmax(-1) @ tokenizer.codebook.codes)
    hard = tokenizer.decode(tokenizer.codebook.codes[indices])
    torch.testing.assert_close(soft, hard)


def test_codebook_begins_on_its_first_batch() -> None:
    torch.manual_seed(0)
    book = RotationCodebook(8, 3)
    x = torch.randn(50, 3) + 100
    before = book.codes.clone()
    book.eval()(x)
    assert torch.equal(book.codes, before)
    book.train()(x)
    # No code remains where it was, also not in a mean with where it was.
    assert float(torch.cdist(book.codes, x).amin(-1).max()) < 3
    assert float(book.codes.min()) > 95
    assert len(book.codes.unique(dim=0)) == 8


def test_fewer_inputs_than_codes_make_no_equal_codes() -> None:
    torch.manual_seed(0)
    book = RotationCodebook(40, 3)
    book(torch.randn(6, 3))
    assert len(book.codes.unique(dim=0)) == 40


def test_idle_codes_are_replaced_every_step_and_busy_ones_are_means() -> None:
    """One moving average by hand: counts 1, decay 0.99, a code is alive from a count of 1."""
    torch.manual_seed(0)
    book = RotationCodebook(3, 2, decay=0.99, restart_below=1.0)
    book.codes.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0], [500.0, 0.0]]))
    book.sums.copy_(book.codes)
    book.begun.fill_(True)
    x = torch.cat([torch.randn(200, 2), torch.randn(300, 2) + torch.tensor([10.0, 0.0])])
    index = book(x).indices
    counts = torch.tensor([0.99 + 0.01 * int((index == k).sum()) for k in range(3)])
    torch.testing.assert_close(book.counts, counts)
    for k in (0, 1):
        mean = (0.99 * torch.tensor([10.0 * k, 0.0]) + 0.01 * x[index == k].sum(0)) / counts[k]
        torch.testing.assert_close(book.codes[k], mean)
    assert float((x - book.codes[2]).norm(dim=-1).min()) == 0


def test_all_codes_come_into_use() -> None:
    torch.manual_seed(0)
    book = RotationCodebook(32, 4)
    x = torch.randn(4000, 4)
    for _ in range(30):
        book(x)
    assert len(book.eval()(x).indices.unique()) == 32


def test_codes_are_chosen_in_float32_under_mixed_precision() -> None:
    torch.manual_seed(0)
    book = RotationCodebook(500, 16).eval()
    x = torch.randn(300, 16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = book(x)
    assert torch.equal(mixed.indices, book(x).indices)
    assert mixed.codes.dtype == torch.float32


def test_noise_is_added_known_defect() -> None:
    """The published trainer adds its noise to a copy, so that nothing changes."""
    poses = some_rotations(400, 21)
    kept = poses.clone()
    noisy = with_part_noise(poses, PartNoise(share=0.5, spread=0.3), Generator().manual_seed(0))
    assert torch.equal(poses, kept)
    changed = (noisy != poses).flatten(2).any(-1)
    assert 150 < int(changed.any(1).sum()) < 250
    parts = [frozenset(TOKENISED.index(joint) for joint in part) for part in BODY_PARTS]
    found = {frozenset(row.nonzero().flatten().tolist()) for row in changed if row.any()}
    assert found == set(parts)
    torch.testing.assert_close(noisy @ noisy.mT, torch.eye(3).expand_as(noisy), atol=1e-5, rtol=0)


def test_noise_of_no_poses_changes_none() -> None:
    poses = some_rotations(20, 21)
    noisy = with_part_noise(poses, PartNoise(share=0.0), Generator().manual_seed(0))
    assert torch.equal(noisy, poses)


def test_area_weights_by_naive_sum(body: BodyModel) -> None:
    corners = body.v_template[body.faces].double()
    areas = []
    for a, b, c in corners[:400]:
        areas.append(0.5 * float(torch.linalg.cross(b - a, c - a).norm()))
    sides = corners[:, 1:] - corners[:, :1]
    every = 0.5 * torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=-1)
    low, high = float(every.min()), float(every.max())
    naive = torch.zeros(len(body.v_template), dtype=torch.float64)
    for face, area in zip(body.faces.tolist(), every.tolist(), strict=True):
        for vertex in face:
            naive[vertex] += (area - low) / (high - low)
    torch.testing.assert_close(every[:400], torch.tensor(areas, dtype=torch.float64))
    torch.testing.assert_close(area_weights(body).double(), naive, atol=1e-4, rtol=1e-4)


def small_run(**changes: object) -> RotationTrainingConfig:
    loop = LoopSettings(steps=6, clips=4, warmup=2, save_every=3, evaluate_every=6)
    settings = {"held_out": ("b",), "tokenizer": SMALL, "vertices": 50, "training": loop}
    return RotationTrainingConfig.model_validate(settings | changes)


def test_losses_by_hand(body: BodyModel) -> None:
    """20 MSE of rotations + 100 weighted MSE of vertices + 100 MSE of joints + commitment."""
    config = small_run(vertices=0)
    poses = Poses.of(takes("a", "b"), {"b"}, set())
    torch.manual_seed(0)
    tokenizer = RotationTokenizer(SMALL).eval()
    task = RotationTask(tokenizer, poses, body, config, torch.device("cpu"))
    given, answer = [], []

    def keep(_: object, x: tuple[Tensor, ...], y: RotationReconstruction) -> None:
        given.append(x[0])
        answer.append(y)

    tokenizer.register_forward_hook(keep)
    generator = Generator().manual_seed(4)
    terms = task.losses(task.draw(3, generator), generator)
    true, found = given[0], answer[0]
    first, second = at_rest_root(true), at_rest_root(found.rotations)
    vertices = (body.vertices(first) - body.vertices(second)) ** 2
    joints = (body.joints(first) - body.joints(second))[:, 1:22] ** 2
    expected = {
        "rotations": 20 * ((true - found.rotations) ** 2).mean(),
        "vertices": 100 * (vertices * area_weights(body)[:, None]).mean(),
        "joints": 100 * joints.mean(),
        "commitment": found.commitment,
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_trains_evaluates_and_loads(
    tmp_path: Path, body: BodyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its learning rate decays: the published milestones never match (a known defect)."""
    monkeypatch.setattr(rotation_task, "EVALUATION_POSES", 32)
    monkeypatch.setattr(loop, "STEPS_PER_LINE", 10)
    settings = LoopSettings(steps=30, clips=2, warmup=3, save_every=30, evaluate_every=30)
    tiny = RotationTokenizerConfig(tokens=4, width=4, codes=4, code_dim=2)
    config = small_run(
        training=settings, tokenizer=tiny, vertices=5, noise=PartNoise(), mirrored_share=0.5
    )
    path = train_rotations(config, takes("a", "b"), body, tmp_path, torch.device("cpu"))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = [row["rate"] for row in rows if "rate" in row]
    assert rates[-1] < 0.4 * rates[0]
    figures = next(row["evaluation"] for row in rows if "evaluation" in row)
    assert figures["joints_mm"] > 0 and figures["vertices_mm"] > 0 and figures["degrees"] > 0
    assert 1 <= figures["perplexity"] <= figures["codes_used"] + 1e-3
    assert read_config(path, CHECKPOINT_KIND, RotationTokenizerConfig) == tiny
    load_weights(RotationTokenizer(tiny), path)


def test_overfits_four_poses() -> None:
    torch.manual_seed(0)
    # Four poses choose each code less than once a step: by the published limit none would stay.
    config = RotationTokenizerConfig(
        tokens=12, width=48, codes=64, code_dim=16, decay=0.95, restart_below=0.2
    )
    tokenizer = RotationTokenizer(config)
    poses = some_rotations(4, 21, seed=3)
    optimizer = torch.optim.Adam(tokenizer.parameters(), 3e-3)
    for _ in range(250):
        found = tokenizer(poses)
        loss = 20 * ((found.rotations - poses) ** 2).mean() + found.commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = geodesic_angle(tokenizer.eval()(poses).rotations, poses).rad2deg().mean()
    assert float(error.detach()) < 8


def test_subjects_are_held_out_whole() -> None:
    poses = Poses.of(takes("a", "b", "c"), {"b"}, {"c"})
    assert len(poses.train.lengths) == len(poses.held_out.lengths) == 1
    with pytest.raises(InputError, match="no subject zz"):
        Poses.of(takes("a", "b"), {"zz"}, set())
    with pytest.raises(InputError, match="nothing to evaluate on"):
        Poses.of(takes("a", "b"), set(), set())


def test_shipped_configuration() -> None:
    path = Path(__file__).parents[1] / "configs" / "rotation_tokenizer.yaml"
    config = load_config(path, RotationTrainingConfig)
    assert config.tokenizer == RotationTokenizerConfig()
    with pytest.raises(ValueError, match="multiple of 4"):
        RotationTokenizerConfig(tokens=21)
