"""Keypoint tokens from images: what PCT's second stage must and must not do."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from temporal_hmr.configuration import load_config
from temporal_hmr.errors import InputError
from temporal_hmr.models.swin import SwinConfig
from temporal_hmr.skeleton import COCO17
from temporal_hmr.tokenizers.keypoint_classifier import (
    ClassifiedKeypoints,
    GuidedKeypointTokenizer,
    GuidedTokenizerConfig,
    ImagePoseTokens,
    ImagePoseTokensConfig,
    KeypointClassifier,
    KeypointClassifierConfig,
    averaged_with_mirror,
)
from temporal_hmr.tokenizers.keypoint_losses import classification_losses
from temporal_hmr.tokenizers.keypoints import PUBLISHED, KeypointTokenizer

CONFIGS = Path(__file__).parents[1] / "configs"
TOKENIZER = PUBLISHED.model_copy(
    update={
        "width": 24,
        "tokens": 12,
        "codes": 40,
        "code_dim": 14,
        "token_hidden": 16,
        "channel_hidden": 24,
        "guide_channels": 128,
    }
)
SMALL = KeypointClassifierConfig(
    tokenizer=TOKENIZER,
    channels=128,
    cells=2,
    trunk_channels=16,
    width=16,
    layers=2,
    channel_hidden=32,
)
BACKBONE = SwinConfig(
    width=16,
    depths=(1, 2, 1, 1),
    heads=(1, 2, 4, 8),
    windows=(4, 4, 4, 2),
    trained_windows=(3, 3, 3, 2),
    position_hidden=12,
)
WHOLE = ImagePoseTokensConfig(backbone=BACKBONE, classifier=SMALL)


def classifier() -> KeypointClassifier:
    torch.manual_seed(0)
    return KeypointClassifier(SMALL)


def whole() -> ImagePoseTokens:
    torch.manual_seed(0)
    return ImagePoseTokens(WHOLE)


def maps(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 128, 2, 2, generator=torch.Generator().manual_seed(1))


def crops(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def annotated(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    places = 64 * torch.rand(count, 17, 2, generator=generator)
    return places, torch.rand(count, 17, generator=generator) > 0.3


@torch.no_grad()
def test_soft_is_hard_where_one_logit_towers() -> None:
    model = classifier().eval()
    last = model.to_classes[1]
    assert isinstance(last, nn.Linear)
    last.weight.zero_()
    last.bias.zero_()
    last.bias[7] = 1e4
    found = model(maps())
    hard = model.tokenizer.codebook.codes[7].expand(3, 12, -1)
    torch.testing.assert_close(found.codes, hard)
    torch.testing.assert_close(found.keypoints, model.tokenizer.decode(hard))


@torch.no_grad()
def test_codes_are_mixed_also_in_evaluation() -> None:
    """No choice of one code, at no time."""
    model = classifier().eval()
    found = model(maps())
    codes = model.tokenizer.codebook.codes
    expected = sum(
        chance[..., None] * code
        for chance, code in zip(found.logits.softmax(-1).unbind(-1), codes, strict=True)
    )
    torch.testing.assert_close(found.codes, expected)
    assert float(torch.cdist(found.codes.flatten(0, 1), codes).min()) > 0.1


def test_confidence_is_the_largest_logit_as_it_stands() -> None:
    logits = torch.randn(2, 12, 40)
    nothing = torch.zeros(2, 17, 2)
    found = ClassifiedKeypoints(nothing, logits, torch.zeros(2, 12, 14))
    assert torch.equal(found.confidence, logits.max(-1).values)
    torch.testing.assert_close(found.scores, logits.max(-1).values.mean(1))
    raised = ClassifiedKeypoints(nothing, logits + 3, found.codes)
    torch.testing.assert_close(raised.confidence, found.confidence + 3)


def test_frozen_parts_stay_frozen() -> None:
    """A plain `train()` and a step change neither backbone nor tokenizer, nor any of its norms."""
    model = whole().train()
    assert not model.backbone.training
    assert not model.classifier.tokenizer.training
    assert model.classifier.trunk.training
    frozen = {
        name: value.clone()
        for name, value in model.state_dict().items()
        if name.startswith(("backbone.", "classifier.tokenizer."))
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Of each parameter, whether an optimiser of all that is trained would move it.
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name not in frozen), name
    optimizer = torch.optim.AdamW(trained, 1e-2)
    places, visible = annotated()
    for _ in range(2):
        found = model(crops())
        labels = model.classifier.labels(places, visible, model.feature_map(crops()))
        optimizer.zero_grad()
        terms = classification_losses(found, labels, places, visible)
        (terms["tokens"] + terms["keypoints"]).backward()
        optimizer.step()
    for name, value in frozen.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_gradients_of_keypoints_pass_the_frozen_decoder() -> None:
    model = classifier().train()
    model(maps()).keypoints.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_labels_hide_no_joint() -> None:
    """Stage 1 hides joints at random; labels are of all that are visible, in training too."""
    model = classifier().train()
    places, visible = annotated()
    labels = model.labels(places, visible, maps())
    for _ in range(5):
        assert torch.equal(model.labels(places, visible, maps()), labels)
    elsewhere = torch.where(visible[..., None], places, -7.0)
    assert torch.equal(model.labels(elsewhere, visible, maps()), labels)


def test_labels_look_at_the_image_only_if_the_tokenizer_does() -> None:
    """Judged before quantisation: a code may stay the nearest."""
    places, visible = annotated()
    tokenizer = classifier().tokenizer
    with_image, with_other = (tokenizer.features(places, visible, m) for m in (maps(), -maps()))
    assert not torch.allclose(with_image, with_other)
    unguided = SMALL.model_copy(
        update={"tokenizer": TOKENIZER.model_copy(update={"guide_ratio": 0.0})}
    )
    model = KeypointClassifier(unguided)
    first, second = (model.labels(places, visible, m) for m in (maps(), -maps()))
    assert torch.equal(first, second)


@torch.no_grad()
def test_batch_size_does_not_matter_and_nothing_is_random() -> None:
    model = whole().eval()
    together = model(crops())
    torch.testing.assert_close(
        model(crops()[1:2]).keypoints, together.keypoints[1:2], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(model(crops()).keypoints, together.keypoints)


@torch.no_grad()
def test_the_mirrored_crop_gives_the_mirrored_person() -> None:
    model = whole().eval()
    keypoints, scores = averaged_with_mirror(model, crops(), COCO17)
    mirrored, same = averaged_with_mirror(model, crops().flip(-1), COCO17)
    torch.testing.assert_close(same, scores)
    torch.testing.assert_close(63 - mirrored[..., 0], keypoints[:, COCO17.flip_permutation(), 0])
    torch.testing.assert_close(mirrored[..., 1], keypoints[:, COCO17.flip_permutation(), 1])


def test_a_tokenizer_trained_before_is_taken_as_it_is() -> None:
    tokenizer = KeypointTokenizer(TOKENIZER)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    model = KeypointClassifier(SMALL, tokenizer)
    assert model.tokenizer is tokenizer
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name])


def test_published_size_takes_a_step() -> None:
    """38.6 million, most of them from all cells to all tokens."""
    model = KeypointClassifier(KeypointClassifierConfig()).train()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == pytest.approx(38.6e6, rel=0.01)
    feature_map = torch.randn(2, 1024, 8, 8)
    places, visible = annotated(2)
    found = model(feature_map)
    assert found.logits.shape == (2, 34, 2048)
    assert found.codes.shape == (2, 34, 512)
    labels = model.labels(places, visible, feature_map)
    terms = classification_losses(found, labels, places, visible)
    assert float(terms["tokens"].detach()) == pytest.approx(7.6, abs=0.5)  # log(2048)
    (terms["tokens"] + terms["keypoints"]).backward()


def test_losses_by_golden_values() -> None:
    """Cross-entropy is a mean over people and tokens, keypoints a mean over all entries."""
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 1] = 2.0
    labels = torch.tensor([[1, 0, 3], [2, 2, 0]])
    target = torch.zeros(2, 17, 2)
    predicted = target.clone()
    predicted[0, 0] = 1.0
    predicted[1, 5] = 3.0
    visible = torch.ones(2, 17, dtype=torch.bool)
    visible[1, 5] = False
    found = ClassifiedKeypoints(predicted, logits, torch.zeros(2, 3, 5))
    terms = classification_losses(found, labels, target, visible)
    sure = math.log(3 + math.exp(2)) - 2
    assert float(terms["tokens"]) == pytest.approx((sure + 5 * math.log(4)) / 6)
    assert float(terms["keypoints"]) == pytest.approx(2 * (1 - 0.025) / 68)


def test_overfits_four_samples() -> None:
    torch.manual_seed(0)
    model = classifier().train()
    places, visible = annotated(4)
    labels = model.labels(places, visible, maps(4))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-3)
    losses = []
    for _ in range(80):
        found = model(maps(4))
        loss = classification_losses(found, labels, places, visible)["tokens"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert torch.equal(model(maps(4)).logits.argmax(-1), labels)


def test_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="2 x 2 cells, not 4 x 2"):
        classifier()(torch.zeros(1, 128, 4, 2))


@pytest.mark.parametrize("part", ["channels", "tokenizer"])
def test_parts_of_other_widths_are_refused(part: str) -> None:
    other = {
        "channels": 64,
        "tokenizer": TOKENIZER.model_copy(update={"guide_channels": 64}),
    }[part]
    config = SMALL.model_copy(update={part: other})
    with pytest.raises(InputError, match="but the backbone has 128"):
        ImagePoseTokens(WHOLE.model_copy(update={"classifier": config}))


def test_a_guide_needs_a_guided_tokenizer() -> None:
    unguided = TOKENIZER.model_copy(update={"guide_ratio": 0.0})
    with pytest.raises(InputError, match="guide_ratio is 0"):
        GuidedKeypointTokenizer(GuidedTokenizerConfig(backbone=BACKBONE, tokenizer=unguided))


def test_the_guide_stays_frozen_while_the_tokenizer_learns() -> None:
    config = GuidedTokenizerConfig(backbone=BACKBONE, tokenizer=TOKENIZER)
    model = GuidedKeypointTokenizer(config).train()
    assert not model.backbone.training
    assert model.tokenizer.training
    places, visible = annotated()
    found = model(crops(), places, visible)
    (found.keypoints.square().mean() + found.commitment).backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    for name, parameter in model.tokenizer.named_parameters():
        assert parameter.grad is not None, name


def test_shipped_settings_are_the_published_ones() -> None:
    stage_1 = load_config(CONFIGS / "pct_tokenizer.yaml", GuidedTokenizerConfig)
    stage_2 = load_config(CONFIGS / "pct_classifier.yaml", ImagePoseTokensConfig)
    assert stage_1 == GuidedTokenizerConfig()
    assert stage_2 == ImagePoseTokensConfig()
    assert stage_2.classifier.tokenizer == stage_1.tokenizer
