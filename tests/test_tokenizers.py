"""Codebook and keypoint tokenizer: laws, and known defects of the published versions."""

import torch

from temporal_hmr.tokenizers.codebook import Codebook
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig

SMALL = KeypointTokenizerConfig(width=32, codes=64, code_dim=16, tokens=12, channel_hidden=64)


def test_nearest_code_by_naive_search() -> None:
    torch.manual_seed(0)
    book = Codebook(50, 8).eval()
    x = torch.randn(4, 7, 8)
    found = book(x)
    for vector, index in zip(x.reshape(-1, 8), found.indices.flatten(), strict=True):
        naive = min(range(50), key=lambda i: float(((vector - book.codes[i]) ** 2).sum()))
        assert naive == int(index)
    torch.testing.assert_close(found.codes, book.codes[found.indices])


def test_gradient_passes_straight_through() -> None:
    book = Codebook(10, 4).eval()
    x = torch.randn(3, 4, requires_grad=True)
    book(x).codes.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_codes_follow_cluster_means() -> None:
    """With a decay of zero one step puts a code on the mean of what chose it."""
    torch.manual_seed(0)
    book = Codebook(2, 3, decay=0.0)
    book.codes.copy_(torch.tensor([[5.0, 0, 0], [-5.0, 0, 0]]))
    left, right = torch.randn(20, 3) - 5, torch.randn(30, 3) + 5
    book(torch.cat([left, right]))
    torch.testing.assert_close(
        book.codes, torch.stack([right.mean(0), left.mean(0)]), atol=1e-4, rtol=0
    )


def test_evaluation_leaves_the_codebook_alone() -> None:
    book = Codebook(10, 4).eval()
    before = book.codes.clone()
    book(torch.randn(100, 4))
    assert torch.equal(book.codes, before)


def test_dead_codes_restart_only_when_asked() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 4) + 30  # far from every initial code
    asked, not_asked = Codebook(16, 4, restart_below=0.5), Codebook(16, 4)
    for _ in range(20):
        asked(x)
        not_asked(x)
    assert len(asked.eval()(x).indices.unique()) > 8
    assert len(not_asked.eval()(x).indices.unique()) < 4


def test_soft_tends_to_hard() -> None:
    torch.manual_seed(0)
    book = Codebook(32, 6).eval()
    x = torch.randn(9, 6)
    soft, confidence = book.soft(x, temperature=1e-4)
    torch.testing.assert_close(soft, book(x).codes, atol=1e-3, rtol=0)
    assert float(confidence.min()) > 0.99


def test_coordinates_of_invisible_joints_are_never_read() -> None:
    torch.manual_seed(0)
    tokenizer = KeypointTokenizer(SMALL).eval()
    keypoints = torch.randn(2, 23, 2)
    visible = torch.rand(2, 23) > 0.4
    elsewhere = torch.where(visible[..., None], keypoints, 100.0)
    torch.testing.assert_close(
        tokenizer(keypoints, visible).keypoints, tokenizer(elsewhere, visible).keypoints
    )
    assert torch.equal(tokenizer(keypoints, visible).indices, tokenizer(elsewhere, visible).indices)


def test_published_encoder_size() -> None:
    """PCT's encoder has 2.65 M parameters, of which 0.26 M embed the image guide we do without."""
    published = KeypointTokenizerConfig(
        joints=17, width=512, channel_hidden=512, codes=2048, code_dim=512
    )
    tokenizer = KeypointTokenizer(published)
    parts = (tokenizer.embed, tokenizer.encoder, tokenizer.joints_to_tokens, tokenizer.to_code)
    count = sum(p.numel() for part in parts for p in part.parameters()) + 512
    assert abs(count + 256 * 1025 - 2.65e6) < 0.01 * 2.65e6
    assert tokenizer.codebook.codes.numel() == 2048 * 512
