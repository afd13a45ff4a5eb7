"""The published keypoint tokenizer (PCT, stage 1): equations, losses, and what must not happen."""

import pytest
import torch
from torch import Tensor

from temporal_hmr.errors import InputError
from temporal_hmr.tokenizers import codebook as codebook_module
from temporal_hmr.tokenizers.codebook import Codebook
from temporal_hmr.tokenizers.keypoint_losses import reconstruction_losses, visible_error
from temporal_hmr.tokenizers.keypoints import (
    PUBLISHED,
    KeypointTokenizer,
    KeypointTokenizerConfig,
    Reconstruction,
    nearest_cells,
)

GUIDED = PUBLISHED.model_copy(
    update={
        "width": 24,
        "codes": 64,
        "code_dim": 14,
        "token_hidden": 16,
        "channel_hidden": 24,
        "guide_channels": 10,
    }
)
SMALL = GUIDED.model_copy(update={"guide_ratio": 0.0})


def tokenizer(config: KeypointTokenizerConfig = SMALL) -> KeypointTokenizer:
    torch.manual_seed(0)
    return KeypointTokenizer(config)


def annotated(count: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    places = 256 * torch.rand(count, 17, 2, generator=generator)
    return places, torch.rand(count, 17, generator=generator) > 0.3


def a_map(count: int = 3) -> Tensor:
    return torch.randn(count, 10, 8, 8, generator=torch.Generator().manual_seed(4))


def test_seventeen_joints_become_thirty_four_tokens() -> None:
    found = tokenizer(GUIDED)(*annotated(), a_map())
    assert found.keypoints.shape == (3, 17, 2)
    assert found.indices.shape == (3, 34)


def test_published_sizes() -> None:
    with torch.device("meta"):
        whole = KeypointTokenizer(PUBLISHED)

    def count(*names: str) -> int:
        return sum(p.numel() for name, p in whole.named_parameters() if name.startswith(names))

    encoder = ("embed", "invisible", "encoder", "joints_to_tokens", "to_code")
    assert count(*encoder) == pytest.approx(2.65e6, rel=0.01)
    assert count("tokens_to_joints", "from_code", "decoder") == pytest.approx(24e3, rel=0.02)
    assert whole.codebook.codes.numel() == pytest.approx(1.05e6, rel=0.01)
    assert whole.embed.out_features == 256


def test_published_size_takes_a_step() -> None:
    model = KeypointTokenizer(PUBLISHED).train()
    places, visible = annotated()
    found = model(places, visible, torch.randn(3, 1024, 8, 8))
    terms = reconstruction_losses(found, places, visible, PUBLISHED.commitment)
    (terms["reconstruction"] + terms["commitment"]).backward()
    assert found.indices.shape == (3, 34)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_distances_keep_their_digits_in_mixed_precision() -> None:
    book = Codebook(64, 32)
    x = 100 + torch.randn(20, 32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = book.distances(x)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, book.distances(x))


@pytest.mark.parametrize("decay", [0.9, 0.5])
def test_codes_follow_by_the_published_equations(decay: float) -> None:
    torch.manual_seed(0)
    size, dim = 12, 5
    book = Codebook(size, dim, decay)
    codes, counts, sums = book.codes.clone(), book.counts.clone(), book.sums.clone()
    assert not counts.any()
    for _ in range(6):
        x = torch.randn(40, dim)
        chosen = torch.cdist(x, codes).argmin(1)
        onehot = torch.eye(size)[chosen]
        counts = decay * counts + (1 - decay) * onehot.sum(0)
        total = counts.sum()
        counts = (counts + 1e-5) / (total + size * 1e-5) * total
        sums = decay * sums + (1 - decay) * onehot.T @ x
        book(x)
        torch.testing.assert_close(book.counts, counts)
        torch.testing.assert_close(book.sums, sums)
        torch.testing.assert_close(book.codes, sums / counts[:, None])
        codes = sums / counts[:, None]


def test_published_codebook_restarts_nothing() -> None:
    """As published dead codes stay dead; a restart is a setting that PCT leaves out."""
    assert PUBLISHED.restart_below == 0
    torch.manual_seed(0)
    x = torch.randn(200, 14) + 30
    published = tokenizer().codebook.train()
    restarted = tokenizer(SMALL.model_copy(update={"restart_below": 0.5})).codebook.train()
    for _ in range(10):
        published(x)
        restarted(x)
    assert len(published(x).indices.unique()) < 4
    assert len(restarted(x).indices.unique()) > 8


def test_codes_follow_the_inputs_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their batches differ in size, which summing one-hot rows does not allow."""
    torch.manual_seed(0)
    mine, theirs = torch.randn(30, 4), torch.randn(17, 4)
    alone, together = Codebook(8, 4), Codebook(8, 4)
    alone.load_state_dict(together.state_dict())
    other = Codebook(8, 4)
    other.load_state_dict(together.state_dict())
    indices = other.eval()(theirs).indices
    parts = [
        torch.bincount(indices, minlength=8).float(),
        torch.zeros(8, 4).index_add_(0, indices, theirs),
    ]

    def all_reduce(tensor: Tensor) -> None:
        tensor += parts.pop(0)

    alone(torch.cat([mine, theirs]))
    monkeypatch.setattr(codebook_module.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(codebook_module.distributed, "all_reduce", all_reduce)
    together(mine)
    torch.testing.assert_close(together.codes, alone.codes)
    torch.testing.assert_close(together.counts, alone.counts)


def hidden(model: KeypointTokenizer, visible: Tensor) -> Tensor:
    """[N joints] which joints the encoder was told to be invisible in one forward pass."""
    seen: list[Tensor] = []
    handle = model.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    places = 256 * torch.rand(len(visible), 17, 2)
    model(places, visible)
    handle.remove()
    return (seen[0] == model.invisible).all(-1)


def test_a_fifth_of_the_visible_joints_is_hidden_each_by_itself() -> None:
    """Counted by sample: a wrong index would hide all of some and none of others."""
    visible = torch.rand(400, 17, generator=torch.Generator().manual_seed(0)) > 0.3
    told = hidden(tokenizer().train(), visible)
    assert told[~visible].all()
    assert float(told[visible].float().mean()) == pytest.approx(0.2, abs=0.02)
    by_sample = (told & visible).sum(1).float()
    assert 1.2 < float(by_sample.var()) < 3.0  # binomial: about 12 x 0.2 x 0.8, and a little
    assert int(by_sample.max()) < 10
    by_joint = (told & visible).sum(0) / visible.sum(0)
    assert float(by_joint.min()) > 0.1 and float(by_joint.max()) < 0.3


def test_nothing_is_hidden_in_evaluation_nor_by_encode() -> None:
    places, visible = annotated(50)
    model = tokenizer()
    assert torch.equal(hidden(model.eval(), visible), ~visible)
    indices = model(places, visible).indices
    assert torch.equal(model.encode(places, visible).indices, indices)
    model.train()
    model.codebook.eval()
    assert torch.equal(model.encode(places, visible).indices, indices)


def test_what_was_hidden_must_be_painted_in() -> None:
    """The loss judges by the annotation: joints that training hid count as the others do."""
    model = tokenizer(SMALL.model_copy(update={"hidden_joints": 0.9})).train()
    places, visible = annotated()
    before = visible.clone()
    found = model(places, visible)
    assert torch.equal(visible, before)
    found.keypoints.retain_grad()
    reconstruction_losses(found, places, visible, 15.0)["reconstruction"].backward()
    assert found.keypoints.grad is not None
    assert torch.equal(found.keypoints.grad.abs().sum(-1) > 0, visible)


def test_losses_by_golden_values() -> None:
    """Smooth L1 of 0.05 px, times visibility, over all entries: also those of invisible joints."""
    target = torch.zeros(1, 4, 2)
    predicted = torch.tensor([[[1.0, -2.0], [0.02, 0.0], [50.0, 50.0], [0.0, 0.0]]])
    visible = torch.tensor([[True, True, False, True]])
    expected = ((1 - 0.025) + (2 - 0.025) + 0.5 * 0.02**2 / 0.05) / 8
    assert float(visible_error(predicted, target, visible)) == pytest.approx(expected)
    found = Reconstruction(predicted, torch.zeros(1, 34), torch.tensor(0.5))
    terms = reconstruction_losses(found, target, visible, PUBLISHED.commitment)
    assert float(terms["commitment"]) == pytest.approx(15 * 0.5)
    assert float(terms["reconstruction"]) == pytest.approx(expected)
    assert float(visible_error(predicted, target, ~visible & visible)) == 0


def test_commitment_moves_the_features_and_not_the_codes() -> None:
    book = Codebook(6, 3).eval()
    x = torch.randn(5, 3, requires_grad=True)
    found = book(x)
    found.commitment.backward()
    assert x.grad is not None
    codes = book.codes[found.indices]
    torch.testing.assert_close(x.grad, 2 * (x.detach() - codes) / x.numel())
    assert not book.codes.requires_grad


@pytest.mark.parametrize("elsewhere", [-300.0, 1e9, float("nan"), float("inf")])
def test_coordinates_of_invisible_joints_are_never_read(elsewhere: float) -> None:
    """Neither by the embedding, nor by the look at the image, nor in the gradient."""
    model = tokenizer(GUIDED).eval()
    places, visible = annotated()
    moved = torch.where(visible[..., None], places, elsewhere)
    first, second = (model(p, visible, a_map()) for p in (places, moved))
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.keypoints, second.keypoints)
    model.features(moved, visible, a_map()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_invisible_joints_have_no_image_either() -> None:
    """The learned token replaces coordinates and image together."""
    model = tokenizer(GUIDED).eval()
    places, _ = annotated()
    nothing = torch.zeros(3, 17, dtype=torch.bool)
    first, second = (model.features(places, nothing, m) for m in (a_map(), -a_map()))
    assert torch.equal(first, second)


def test_the_decoder_knows_nothing_of_visibility() -> None:
    model = tokenizer().eval()
    codes = torch.randn(2, 34, 14)
    expected = model.decode(codes)
    places, visible = annotated(2)
    for seen in (visible, ~visible):
        model(places, seen)
        assert torch.equal(model.decode(codes), expected)


def test_the_image_is_looked_up_at_the_nearest_cell() -> None:
    """The published index: int(x / 32 + 0.5), held inside the map; row by y, column by x."""
    feature_map = torch.randn(2, 3, 8, 8)
    places = 400 * torch.rand(2, 17, 2) - 70
    places[0, :4] = torch.tensor([[0.0, 0.0], [15.9, 16.0], [255.0, 240.0], [31.0, 255.9]])
    found = nearest_cells(feature_map, places, 32.0)
    for n in range(2):
        for joint, (x, y) in enumerate(places[n].tolist()):
            column, row = (min(max(int(v / 32 + 0.5), 0), 7) for v in (x, y))
            assert torch.equal(found[n, joint], feature_map[n, :, row, column])
    wide = nearest_cells(feature_map[..., :3], places, 32.0)
    assert torch.equal(wide[0, 2], feature_map[0, :, 7, 2])


def test_coordinates_come_first_in_a_guided_embedding() -> None:
    model = tokenizer(GUIDED).eval()
    seen: list[Tensor] = []
    model.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    places, visible = annotated()
    everything = torch.ones_like(visible)
    for feature_map in (a_map(), -a_map()):
        model.features(places, everything, feature_map)
    assert torch.equal(seen[0][..., :12], seen[1][..., :12])
    assert not torch.isclose(seen[0][..., 12:], seen[1][..., 12:]).all(-1).any()


def test_a_guide_is_given_exactly_to_those_who_look_at_it() -> None:
    places, visible = annotated()
    with pytest.raises(InputError, match="needs the image's feature map"):
        tokenizer(GUIDED)(places, visible)
    with pytest.raises(InputError, match="takes no feature map"):
        tokenizer()(places, visible, a_map())


def test_unguided_tokenizers_keep_the_names_of_their_tensors() -> None:
    """Weights saved before there were guides load as they are."""
    names = set(KeypointTokenizer(KeypointTokenizerConfig()).state_dict())
    assert not any("guide" in name for name in names)
    own = {name.split(".")[0] for name in names}
    assert own == {
        "embed", "invisible", "encoder", "joints_to_tokens", "to_code", "codebook",
        "tokens_to_joints", "from_code", "decoder",
    }  # fmt: skip
    assert {name for name in names if name.startswith("codebook")} == {
        "codebook.codes",
        "codebook.counts",
        "codebook.sums",
    }


@torch.no_grad()
def test_batch_size_does_not_matter_and_nothing_is_random() -> None:
    model = tokenizer(GUIDED).eval()
    (places, visible), feature_map = annotated(), a_map()
    together = model(places, visible, feature_map)
    alone = model(places[1:2], visible[1:2], feature_map[1:2])
    torch.testing.assert_close(alone.keypoints, together.keypoints[1:2])
    assert torch.equal(alone.indices, together.indices[1:2])
    assert torch.equal(model(places, visible, feature_map).keypoints, together.keypoints)


def test_overfits_four_samples_in_pixels() -> None:
    torch.manual_seed(0)
    config = SMALL.model_copy(update={"width": 64, "hidden_joints": 0.0, "restart_below": 0.1})
    model = KeypointTokenizer(config).train()
    places, _ = annotated(4)
    visible = torch.ones(4, 17, dtype=torch.bool)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    errors = []
    for _ in range(300):
        found = model(places, visible)
        terms = reconstruction_losses(found, places, visible, config.commitment)
        optimizer.zero_grad()
        (terms["reconstruction"] + terms["commitment"]).backward()
        optimizer.step()
        errors.append(float(terms["reconstruction"].detach()))
    assert errors[0] > 50
    assert min(errors[-20:]) < 10
