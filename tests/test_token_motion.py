"""Learned positions in time: what the published module does, without what it did wrong."""

import pytest
import torch
from torch import Tensor, nn

from temporal_hmr.configuration import parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.models.token_motion import TokenMotion, TokenMotionConfig, draw_hidden

WIDTH = 32
SMALL = TokenMotionConfig(layers=2, heads=2, expansion=2, length=8)
HIDING = SMALL.model_copy(update={"mask_ratio": 0.25})


def stirred(config: TokenMotionConfig = SMALL) -> TokenMotion:
    """As if trained for a while: nothing is zero any more."""
    torch.manual_seed(0)
    motion = TokenMotion(WIDTH, config)
    with torch.no_grad():
        for parameter in motion.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return motion.eval()


def some_tokens(batch: int = 2, frames: int = 8) -> Tensor:
    return torch.randn(batch * frames, 26, WIDTH, generator=torch.Generator().manual_seed(1))


def all_valid(batch: int = 2, frames: int = 8) -> Tensor:
    return torch.ones(batch, frames, dtype=torch.bool)


def mixed(
    motion: TokenMotion, tokens: Tensor, valid: Tensor, hidden: Tensor | None = None
) -> Tensor:
    return motion(BodyTokens.apart(tokens), None, valid, hidden).together()


def test_each_joint_attends_to_itself_alone() -> None:
    motion, tokens = stirred(), some_tokens()
    before = mixed(motion, tokens, all_valid())
    changed = tokens.clone()
    changed[3, 5] = torch.randn(WIDTH)
    moved = (mixed(motion, changed, all_valid()) - before).abs().amax(-1) > 1e-6
    assert moved[:8, 5].all(), "its clip, at all times"
    moved[:8, 5] = False
    assert not moved.any(), "no other joint, and not the other clip"


def test_shape_and_camera_bypass_time() -> None:
    tokens = BodyTokens.apart(some_tokens())
    after = stirred()(tokens, None, all_valid())
    assert after.shape is tokens.shape
    assert after.camera is tokens.camera


@pytest.mark.parametrize("frames", [1, 3, 8, 16, 64])
def test_forward_leaves_the_positions_alone(frames: int) -> None:
    """INT replaced the parameter at another length: out of the optimiser, and squeezed for good."""
    motion = stirred().train()
    parameter, before = motion.positions, motion.positions.detach().clone()
    mixed(motion, some_tokens(frames=frames), all_valid(frames=frames))
    assert motion.positions is parameter
    assert torch.equal(motion.positions, before)


def test_other_lengths_lose_nothing() -> None:
    """16 -> 4 -> 16 was lossy: each time from the last instead of from the table."""
    motion = stirred()
    before = motion.positions_for(8)
    for frames in (4, 1, 64):
        motion.positions_for(frames)
    assert torch.equal(motion.positions_for(8), before)
    assert motion.positions_for(8) is motion.positions


@pytest.mark.parametrize("frames", [2, 3, 8, 16])
def test_the_optimiser_owns_the_positions_after_any_length(frames: int) -> None:
    motion = stirred().train()
    optimiser = torch.optim.Adam(motion.parameters(), 1e-2)
    for length in (1, frames):
        before = motion.positions.detach().clone()
        optimiser.zero_grad()
        mixed(
            motion, some_tokens(frames=length), all_valid(frames=length)
        ).square().sum().backward()
        optimiser.step()
    owned = [p for group in optimiser.param_groups for p in group["params"]]
    assert any(p is motion.positions for p in owned)
    assert not torch.equal(motion.positions, before)
    assert motion.positions.shape == (8, WIDTH)


def test_single_frames_leave_the_positions_untouched() -> None:
    """Batches of images are clips of one frame: in INT they wiped out the order of frames."""
    motion = stirred().train()
    optimiser = torch.optim.Adam(motion.parameters(), 1e-2, weight_decay=0.1)
    before = motion.positions.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        mixed(motion, some_tokens(frames=1), all_valid(frames=1)).square().sum().backward()
        optimiser.step()
    assert torch.equal(motion.positions, before)
    assert all(p.grad is not None for p in motion.blocks.parameters())


def test_positions_are_interpolated_between_the_middles_of_frames() -> None:
    """4 frames from 8: the mean of each pair. 16 from 8: quarter steps, ends held."""
    motion = stirred()
    table = motion.positions.detach()
    torch.testing.assert_close(motion.positions_for(4).detach(), (table[::2] + table[1::2]) / 2)
    finer = motion.positions_for(16).detach()
    torch.testing.assert_close(finer[0], table[0])
    torch.testing.assert_close(finer[1], 0.75 * table[0] + 0.25 * table[1])
    torch.testing.assert_close(finer[2], 0.25 * table[0] + 0.75 * table[1])
    torch.testing.assert_close(motion.positions_for(1)[0], (table[3] + table[4]) / 2)


def test_the_order_of_frames_matters() -> None:
    """INT ends its training with positions constant in time: shuffled clips gave one answer."""
    motion, tokens = stirred(), some_tokens(batch=1)
    shuffle = torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])
    straight = mixed(motion, tokens, all_valid(1))[:, :24]
    shuffled = mixed(motion, tokens[shuffle], all_valid(1))[:, :24]
    assert float((shuffled - straight[shuffle]).detach().abs().max()) > 1e-2
    with torch.no_grad():
        motion.positions.copy_(motion.positions.mean(0, keepdim=True))
    straight = mixed(motion, tokens, all_valid(1))
    shuffled = mixed(motion, tokens[shuffle], all_valid(1))
    torch.testing.assert_close(shuffled, straight[shuffle])


def test_no_norm_and_no_shortcut_around_the_stack() -> None:
    """Blocks that add nothing leave tokens plus positions, as published."""
    motion, tokens = stirred(), some_tokens(batch=1)
    for block in motion.modules():
        if isinstance(block, nn.Linear):
            nn.init.zeros_(block.weight)
            nn.init.zeros_(block.bias)
    expected = tokens[:, :24] + motion.positions[:, None]
    torch.testing.assert_close(mixed(motion, tokens, all_valid(1))[:, :24], expected)


def test_padding_does_not_reach_valid_frames() -> None:
    motion, tokens, valid = stirred(), some_tokens(), all_valid()
    valid[0, 6:] = False
    noise = tokens.clone()
    noise[6:8] = 99.0
    first, second = mixed(motion, tokens, valid), mixed(motion, noise, valid)
    torch.testing.assert_close(first[:6], second[:6])
    torch.testing.assert_close(first[8:], second[8:])


def test_a_clip_of_padding_is_finite() -> None:
    valid = all_valid()
    valid[1] = False
    assert torch.isfinite(mixed(stirred(), some_tokens(), valid)).all()


def test_batch_size_does_not_matter() -> None:
    motion, tokens = stirred(), some_tokens(batch=3)
    together = mixed(motion, tokens, all_valid(3))[8:16]
    torch.testing.assert_close(together, mixed(motion, tokens[8:16], all_valid(1)))


def test_hiding_counts_tokens_of_every_sample_alike() -> None:
    """INT's mask, taken for a list of rows, hid samples 0 and 1 entirely and no other."""
    hidden = draw_hidden(all_valid(5, 16), 0.25, torch.Generator().manual_seed(0))
    assert hidden.shape == (5, 16, 24)
    assert (hidden.sum(1) == 4).all(), "4 of 16 frames of every joint of every clip"
    assert (hidden != hidden[..., :1]).any(), "each joint has its own frames"
    assert (hidden != hidden[:1]).any(), "each clip too"


def test_only_valid_frames_are_hidden() -> None:
    valid = all_valid(2, 16)
    valid[1, 9:] = False
    hidden = draw_hidden(valid, 0.5, torch.Generator().manual_seed(0))
    assert not hidden[1, 9:].any()
    assert (hidden[1].sum(0) == 4).all()
    assert not draw_hidden(valid, 0.0).any()


def test_hidden_tokens_are_not_looked_at_and_others_are() -> None:
    motion, tokens, valid = stirred(HIDING), some_tokens(), all_valid()
    hidden = draw_hidden(valid, 0.25, torch.Generator().manual_seed(0))
    rows = hidden.flatten(0, 1)
    changed = tokens.clone()
    changed[:, :24][rows] = 99.0
    torch.testing.assert_close(
        mixed(motion, tokens, valid, hidden)[:, :24], mixed(motion, changed, valid, hidden)[:, :24]
    )
    clear = mixed(motion, tokens, valid)[:, :24]
    moved = (mixed(motion, tokens, valid, hidden)[:, :24] - clear).abs().amax(-1) > 1e-6
    assert moved.all(), "every joint of every clip had something hidden"


def test_a_hidden_token_keeps_its_place_in_time() -> None:
    motion, valid = stirred(HIDING), all_valid(1)
    hidden = torch.zeros(1, 8, 24, dtype=torch.bool)
    hidden[:, 2:4] = True
    joints = mixed(motion, some_tokens(batch=1), valid, hidden)
    assert float((joints[2, :24] - joints[3, :24]).detach().abs().max()) > 1e-3


def test_the_mask_token_is_learned() -> None:
    motion, valid = stirred(HIDING).train(), all_valid()
    hidden = draw_hidden(valid, 0.25)
    mixed(motion, some_tokens(), valid, hidden)[:, :24].square().sum().backward()
    assert motion.mask_token is not None
    assert motion.mask_token.grad is not None
    assert motion.mask_token.grad.abs().sum() > 0


def test_nothing_is_hidden_from_a_module_without_a_token_for_it() -> None:
    assert stirred().mask_token is None
    with pytest.raises(InputError, match="mask_ratio"):
        mixed(stirred(), some_tokens(), all_valid(), draw_hidden(all_valid(), 0.25))
    settings = {"motion": {"positions": "rotary", "mask_ratio": 0.25}}
    with pytest.raises(InputError, match=r"motion\.mask_ratio: is no setting"):
        parse_config(settings, HmrConfig, "a run")


def test_rotary_time_has_no_table_and_speaks_of_joints_only() -> None:
    motion = JointMotion(WIDTH, JointMotionConfig(heads=2, joints_only=True))
    assert {name.split(".")[0] for name, _ in motion.named_parameters()} == {"blocks"}
    tokens = BodyTokens.apart(some_tokens())
    after = motion(tokens, torch.arange(8).expand(2, 8) / 30, all_valid())
    assert after.shape is tokens.shape
    assert after.camera is tokens.camera


def test_size_of_the_published_module() -> None:
    with torch.device("meta"):
        motion = TokenMotion(768, TokenMotionConfig())
    blocks = sum(p.numel() for p in motion.blocks.parameters())
    assert blocks == pytest.approx(21.3e6, rel=0.01)
    assert motion.positions.shape == (16, 768)
