"""The box that follows a person."""

import torch

from temporal_hmr.crops import BOX_MARGIN, cut_window, follow, to_box


def walking(frames: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = torch.rand(1, 1, 23, 2, generator=generator) * torch.tensor([100.0, 300.0])
    path = torch.arange(frames)[None, :, None, None] * torch.tensor([4.0, 1.0])
    pixels = shape + path + 200
    return pixels, torch.ones(1, frames, 23), torch.arange(frames)[None] / 30


def cut(pixels: torch.Tensor, scores: torch.Tensor, times: torch.Tensor):
    valid = torch.ones_like(times, dtype=torch.bool)
    return cut_window(
        pixels, scores, times, valid, torch.full((1, 2), 1000.0), torch.full((1, 2), 500.0)
    )


def test_round_trip_to_pixels() -> None:
    pixels, scores, times = walking()
    window = cut(pixels, scores, times)
    half = window.box_size[..., None, None] / 2
    back = window.keypoints * half + window.box_center[:, :, None]
    torch.testing.assert_close(back, pixels, atol=1e-3, rtol=0)


def test_still_person_gets_the_exact_box() -> None:
    pixels, scores, times = walking()
    pixels = pixels[:, :1].expand_as(pixels)
    center, size = follow(pixels, scores, times)
    extent = (pixels.amax(2) - pixels.amin(2)).amax(-1)
    torch.testing.assert_close(size, BOX_MARGIN * extent)
    torch.testing.assert_close(center, (pixels.amax(2) + pixels.amin(2)) / 2)


def test_translation_and_scale_of_the_image_change_nothing_inside() -> None:
    pixels, scores, times = walking()
    window = cut(pixels, scores, times)
    moved = cut(3 * pixels + torch.tensor([70.0, -20.0]), scores, times)
    torch.testing.assert_close(window.keypoints, moved.keypoints, atol=1e-4, rtol=0)


def test_unseen_frames_borrow_their_neighbours_box() -> None:
    pixels, scores, times = walking()
    scores[:, 8:12] = 0
    pixels[:, 8:12] = 0
    center, size = follow(pixels, scores, times)
    reference, _ = follow(*walking())
    assert torch.isfinite(center).all()
    assert float((center - reference).abs().max()) < 15
    assert float(size.min()) > 200


def test_wild_unknown_keypoints_do_not_move_the_box() -> None:
    pixels, scores, times = walking()
    scores[:, :, 3] = 0.0
    wild = pixels.clone()
    wild[:, :, 3] = 1e5
    reference = follow(pixels, scores, times)
    for found, expected in zip(follow(wild, scores, times), reference, strict=True):
        torch.testing.assert_close(found, expected)


def test_nothing_seen_is_finite() -> None:
    pixels, scores, times = walking()
    window = cut(pixels, 0 * scores, times)
    assert torch.isfinite(window.keypoints).all()
    assert torch.isfinite(to_box(pixels, window.box_center, window.box_size)).all()
