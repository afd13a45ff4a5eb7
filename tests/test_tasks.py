"""What a training step changes, and what it must leave alone."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Generator
from typing_extensions import Self
from windows import a_window

from temporal_hmr.body.load import load_body
from temporal_hmr.data.synthetic import exact_target
from temporal_hmr.losses import LossWeights
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig
from temporal_hmr.training.sources import Labelled
from temporal_hmr.training.tasks import HmrTask, TokenizerTask

POSED = PosedBody(load_body()).requires_grad_(False)
CPU = torch.device("cpu")


class Fixed:
    """A source of one batch."""

    body = POSED

    def of_length(self, frames: int) -> Self:
        return self

    def draw(self, clips: int, generator: Generator) -> Labelled:
        window = a_window(2, 4, 32)
        torch.manual_seed(5)
        found = Hmr(image_model()).eval()(window, POSED)
        return window, exact_target(found.smpl, found.joints, found.keypoints)

    def held_out(self) -> Mapping[str, Labelled]:
        return {"some": self.draw(2, Generator())}


def image_model(motion: dict[str, object] | None = None) -> HmrConfig:
    encoder = {
        "kind": "postometro",
        "side": 32,
        "backbone": {"kind": "resnet", "width": 4, "layers": [1, 1, 1, 1]},
        "pose": {"reads": "coordinates", "joints": 23, "mixer_layers": 1, "token_hidden": 8},
        "decoder": {"size": "S", "width": 16, "hidden": 16, "heads": 2, "dropout": 0.2},
    }
    return HmrConfig.model_validate(
        {
            "encoder": encoder,
            "decoder": {"heads": 2, "layers": 1},
            "motion": motion or {"heads": 2, "layers": 1},
            "window": 4,
        }
    )


def steps(task: HmrTask, count: int = 3) -> None:
    """As the loop takes them."""
    trained = [p for p in task.module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1)
    for number in range(count):
        task.module.train()
        optimizer.zero_grad()
        generator = Generator().manual_seed(number)
        terms = task.losses(task.windows.draw(2, generator), generator)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


def test_the_motion_lesson_leaves_what_frames_say_as_it_was() -> None:
    """Neither weights nor batch statistics move, and no dropout blurs what motion learns from."""
    torch.manual_seed(0)
    model = Hmr(image_model())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps(HmrTask(model, Fixed(), LossWeights(), CPU, "motion"))
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert moved and all(name.startswith("motion.") for name in moved)


def test_the_lesson_of_frames_does_move_them() -> None:
    torch.manual_seed(0)
    model = Hmr(image_model())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps(HmrTask(model, Fixed(), LossWeights(), CPU, "frames"))
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert any("running_mean" in name for name in moved)
    assert not any(name.startswith("motion.") for name in moved)


def test_joints_are_hidden_where_the_settings_ask_for_it() -> None:
    learned = {"positions": "learned", "heads": 2, "layers": 1, "length": 4, "mask_ratio": 0.5}
    torch.manual_seed(0)
    model = Hmr(image_model(learned))
    steps(HmrTask(model, Fixed(), LossWeights(), CPU, "motion"), 1)
    assert model.motion is not None
    grads = {name: p.grad for name, p in model.motion.named_parameters()}
    assert grads["mask_token"] is not None and grads["mask_token"].abs().sum() > 0


def test_truth_under_tals_is_exact_whatever_the_loop_trains_in() -> None:
    """Regressed in bfloat16, true points were millimetres off."""
    torch.manual_seed(0)
    model = Hmr(image_model().model_copy(update={"motion": None})).eval()
    task = HmrTask(model, Fixed(), LossWeights(), CPU, "frames", TalsConfig(adaptive=False))

    window, target = task.windows.draw(2, Generator())
    prediction = POSED(target.smpl, window)
    task.module.forward = lambda *_: prediction  # type: ignore[method-assign]

    def terms(mixed: bool) -> dict[str, float]:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found = task.losses((window, target), Generator())
        return {name: float(value.detach()) for name, value in found.items()}

    exact, rough = terms(False), terms(True)
    for name, value in exact.items():
        assert rough[name] == pytest.approx(value, abs=1e-6), name


def in_context() -> Hmr:
    torch.manual_seed(0)
    small = {
        "tokenizer": {"width": 16, "layers": 1, "codes": 32, "code_dim": 8, "tokens": 6},
        "encoder": {"width": 16, "heads": 2},
        "context": {"width": 32, "heads": 2, "layers": 1},
        "decoder": {"heads": 2, "layers": 1},
        "motion": {"heads": 2, "layers": 1},
        "window": 4,
    }
    return Hmr(HmrConfig.model_validate(small))


def moved_by(model: Hmr, task: HmrTask) -> set[str]:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps(task)
    return {name for name, value in model.state_dict().items() if not value.equal(before[name])}


def test_readings_leave_alone_what_they_do_not_use() -> None:
    model = in_context()
    task = HmrTask(model, Fixed(), LossWeights(), CPU, "readings")
    moved = moved_by(model, task)
    parts = {name.split(".")[0] for name in moved}
    assert parts == {"encoder", "context", "decoder", "head"}
    assert not any("blocks" in name for name in moved if not name.startswith("context."))
    assert not any(name.startswith("encoder.modulator") for name in moved)


def test_readings_are_compiled_if_asked() -> None:
    """With a compiler that only traces: the real one takes minutes."""
    graphs = []

    def compiler(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    model = in_context()
    task = HmrTask(model, Fixed(), LossWeights(), CPU, "readings")
    batch = task.windows.draw(2, Generator())
    plain = task.losses(batch, Generator())
    model.compile(backend=compiler)
    for name, term in task.losses(batch, Generator()).items():
        torch.testing.assert_close(term, plain[name])
    assert graphs


def test_after_readings_everything_learns_but_what_is_frozen_for_good() -> None:
    """The tokenizer was frozen before the first lesson, and stays so after the last."""
    model = in_context()
    first = HmrTask(model, Fixed(), LossWeights(), CPU, "readings")
    first.release(model)
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen and all(name.startswith("encoder.tokenizer.") for name in frozen)
    moved = moved_by(model, HmrTask(model, Fixed(), LossWeights(), CPU, "motion"))
    assert {"context", "motion", "decoder"} <= {name.split(".")[0] for name in moved}
    assert not any(name.startswith("encoder.tokenizer.") for name in moved)


def test_clips_in_context_are_judged_frame_by_frame_as_well() -> None:
    model = in_context()
    task = HmrTask(model, Fixed(), LossWeights(), CPU, "readings")
    terms = task.losses(task.windows.draw(2, Generator()), Generator())
    ours = {name for name in terms if not name.startswith("by_itself_")}
    judged = {f"by_itself_{name}" for name in ours - {"velocity", "acceleration"}}
    assert judged == set(terms) - ours
    figures = task.evaluate(model)
    assert {"some_pa_mpjpe", "some_per_frame_pa_mpjpe"} <= set(figures)


class Unannotated(Fixed):
    """Nobody knows the feet, and the last frame is padding; what stands in their place is given."""

    def __init__(self, unknown: float):
        self.unknown = unknown

    def draw(self, clips: int, generator: Generator) -> Labelled:
        window, target = super().draw(clips, generator)
        valid, known = window.valid.clone(), target.has_keypoints.clone()
        valid[:, -1] = False
        known[..., 17:] = False
        counts = valid[..., None] & known
        keypoints = torch.where(counts[..., None], target.keypoints, self.unknown)
        window = replace(window, valid=valid, scores=window.scores * counts)
        return window, replace(target, keypoints=keypoints, has_keypoints=known)


def small_tokenizer() -> KeypointTokenizer:
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 1, "codes": 32, "code_dim": 8, "tokens": 6}
    return KeypointTokenizer(KeypointTokenizerConfig.model_validate(sizes)).eval()


def test_the_tokenizer_learns_and_is_judged_by_known_keypoints_alone() -> None:
    tokenizer, found = small_tokenizer(), []
    for unknown in (0.0, 1.0):
        task = TokenizerTask(tokenizer, Unannotated(unknown), CPU)
        torch.manual_seed(1)
        terms = task.losses(task.windows.draw(2, Generator()), Generator())
        found.append((float(terms["reconstruction"].detach()), task.evaluate(tokenizer)))
    assert found[0] == found[1] and found[0][0] > 0


def test_the_codes_of_padding_count_for_nothing() -> None:
    tokenizer = small_tokenizer()
    task = TokenizerTask(tokenizer, Unannotated(0.0), CPU)
    window, _ = task.windows.draw(2, Generator())
    with torch.no_grad():
        found = tokenizer(window.keypoints[window.valid], window.scores[window.valid] > 0)
    share = found.indices.flatten().bincount() / found.indices.numel()
    perplexity = float(torch.exp(-torch.xlogy(share, share).sum()))
    assert task.evaluate(tokenizer)["some_perplexity"] == pytest.approx(perplexity)
