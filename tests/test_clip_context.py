"""Frame tokens in the context of their clip: laws of time, and of beginning from a first guess."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from windows import a_window, one_clip

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.errors import InputError
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.clip_context import ClipContextConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig
from temporal_hmr.training.run import TrainingConfig

SMALL = HmrConfig(
    tokenizer=KeypointTokenizerConfig(width=16, layers=1, codes=32, code_dim=8, tokens=6),
    encoder=FrameEncoderConfig(width=16, heads=2),
    context=ClipContextConfig(width=32, heads=2, layers=2, expansion=2),
    decoder=BodyDecoderConfig(heads=2, layers=1),
    motion=JointMotionConfig(heads=2, layers=1),
    window=8,
)


def new_model(config: HmrConfig = SMALL) -> Hmr:
    torch.manual_seed(0)
    return Hmr(config).eval()


def model_in_use(config: HmrConfig = SMALL) -> Hmr:
    """As if trained for a while: nothing is zero any more."""
    model = new_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def distance(first: BodyPrediction, second: BodyPrediction) -> float:
    return float((first.joints - second.joints).detach().abs().max())


def without_motion() -> HmrConfig:
    return SMALL.model_copy(update={"motion": None})


def test_the_whole_model_begins_as_its_first_guess(posed: PosedBody) -> None:
    """What asks, compares and moves adds nothing yet: readings learned before still hold."""
    model, window = new_model(), a_window()
    assert distance(model(window, posed), model.first_guess(window, posed)) < 1e-5
    model = model_in_use()
    assert distance(model(window, posed), model.first_guess(window, posed)) > 1e-2


def test_frames_see_each_other_through_the_context_alone(posed: PosedBody) -> None:
    model, window = model_in_use(without_motion()), a_window()
    changed = replace(window, keypoints=window.keypoints.clone())
    changed.keypoints[:, 5] += 0.3

    def moved(temporal: bool) -> torch.Tensor:
        before, after = (model(w, posed, temporal).smpl.body_pose for w in (window, changed))
        return (before - after).abs().amax((0, 2, 3, 4)) > 1e-5

    assert moved(temporal=True).all()
    assert moved(temporal=False).tolist() == [frame == 5 for frame in range(8)]


def test_without_time_each_frame_is_a_clip_of_its_own(posed: PosedBody) -> None:
    """Betas aside, which are the mean over the clip."""
    config = without_motion().model_copy(update={"one_shape": False})
    model, window = model_in_use(config), a_window(1, 4)
    together = model(window, posed, temporal=False)
    for frame in range(4):
        single = single_frame(window, frame)
        apart = model(single, posed).joints - together.joints[:, frame : frame + 1]
        assert float(apart.detach().abs().max()) < 1e-4


def single_frame(window: CropWindow, frame: int) -> CropWindow:
    some = slice(frame, frame + 1)
    names = ("keypoints", "scores", "box_center", "box_size", "times", "valid")
    return replace(window, **{name: getattr(window, name)[:, some] for name in names})


def test_padding_is_not_looked_at(posed: PosedBody) -> None:
    model, window = model_in_use(), a_window()
    valid = window.valid.clone()
    valid[:, 6:] = False
    padded = replace(window, valid=valid)
    other = replace(padded, keypoints=window.keypoints.clone(), times=window.times.clone())
    other.keypoints[:, 6:] = 7.0
    other.times[:, 6:] += 3.0
    ours, theirs = model(padded, posed).joints, model(other, posed).joints
    assert float((ours[:, :6] - theirs[:, :6]).detach().abs().max()) < 1e-5
    nothing = replace(window, valid=torch.zeros_like(valid))
    assert torch.isfinite(model(nothing, posed).joints).all()


def test_only_differences_of_time_count(posed: PosedBody) -> None:
    model, window = model_in_use(), a_window()
    before = model(window, posed)
    assert distance(before, model(replace(window, times=window.times + 40), posed)) < 1e-3
    assert distance(before, model(replace(window, times=window.times * 3), posed)) > 1e-3
    assert distance(before, model(replace(window, times=window.times.flip(1)), posed)) > 1e-3


def test_clips_of_a_batch_do_not_see_each_other(posed: PosedBody) -> None:
    model, window = model_in_use(), a_window()
    alone = model(one_clip(window, 1), posed).joints[0]
    assert float((alone - model(window, posed).joints[1]).detach().abs().max()) < 1e-5


def test_models_without_context_make_no_first_guess(posed: PosedBody) -> None:
    model = new_model(SMALL.model_copy(update={"context": None}))
    with pytest.raises(InputError, match="needs an encoder of keypoints and a context"):
        model.first_guess(a_window(), posed)
    with pytest.raises(InputError, match="needs an encoder of keypoints and a context"):
        model.read_first()


def test_what_reads_first_is_what_a_first_guess_depends_on(posed: PosedBody) -> None:
    """No parameter of it is left out, and none is named in vain."""
    model = model_in_use().requires_grad_(True)
    model.first_guess(a_window(), posed).joints.square().sum().backward()
    named = {
        id(parameter)
        for part in model.read_first()
        for parameter in ([part] if isinstance(part, nn.Parameter) else part.parameters())
    }
    used = {name for name, p in model.named_parameters() if p.grad is not None}
    assert used == {name for name, p in model.named_parameters() if id(p) in named}
    assert any(name.startswith("context.blocks.1") for name in used)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reading_training": {"steps": 1, "clips": 1}}, "are for a model.context"),
        ({"context_training": {"steps": 1, "clips": 1}}, "are for a model.context"),
        ({"motion_training": {"steps": 1, "clips": 1}}, "frames come first"),
    ],
)
def test_lessons_that_cannot_be_held_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainingConfig.model_validate(settings)


def test_lessons_come_in_order() -> None:
    lesson = {"steps": 1, "clips": 1}
    kinds = ("reading", "context", "frame", "motion")
    settings = {"model": {"context": {}}} | {f"{kind}_training": lesson for kind in kinds}
    planned = TrainingConfig.model_validate(settings).lessons()
    assert [each.folder for each in planned] == ["readings", "context", "frames", "motion"]
    assert [each.long for each in planned] == [False, True, False, True]


def test_a_light_model_leaves_it_at_the_first_guess(posed: PosedBody) -> None:
    window, model = a_window(), model_in_use()
    whole, guess = model(window, posed), model.first_guess(window, posed)
    assert distance(whole, guess) > 1e-2
    model.make_light()
    assert torch.equal(model(window, posed).joints, guess.joints)
    with pytest.raises(InputError, match="first guess"):
        new_model(SMALL.model_copy(update={"context": None})).make_light()
