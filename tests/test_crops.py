"""The box that follows a person."""

import numpy as np
import pytest
import torch

from temporal_hmr.crops import BOX_MARGIN, crop_image, cut_window, follow, to_box


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


def ramps(width: int = 200, height: int = 120) -> np.ndarray:
    """Red is the column, green the row, blue nothing."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, 0 * rows], -1).astype(np.uint8)


def test_a_box_of_whole_pixels_is_cut_exactly() -> None:
    image = ramps()
    crop = crop_image(image, np.array([60.0, 50.0]), 32.0, 32)
    assert np.array_equal(crop, image[34:66, 44:76])


@pytest.mark.parametrize("size", [20.0, 50.0, 110.0])
def test_what_lies_in_a_crop_lies_where_keypoints_say(size: float) -> None:
    """A crop's pixel centre in -1..1, put back into the image, has the image's colour there."""
    center, side = np.array([81.3, 57.6]), 24
    crop = crop_image(ramps(), center, size, side).astype(float)
    place = (np.arange(side) + 0.5) / side * 2 - 1
    columns = center[0] + place * size / 2 - 0.5
    rows = center[1] + place * size / 2 - 0.5
    np.testing.assert_allclose(crop[..., 0], np.tile(columns, (side, 1)), atol=1.0)
    np.testing.assert_allclose(crop[..., 1], np.tile(rows[:, None], (1, side)), atol=1.0)


def test_shrinking_averages() -> None:
    """Stripes finer than the crop's pixels become grey rather than new stripes."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = crop_image(stripes, np.array([128.0, 128.0]), 256.0, 32)
    np.testing.assert_allclose(crop[2:-2, 2:-2], 100, atol=2)


def test_beyond_the_image_it_is_black() -> None:
    crop = crop_image(np.full((50, 50, 3), 255, np.uint8), np.array([0.0, 0.0]), 40.0, 40)
    assert not crop[:20].any() and not crop[:, :20].any()
    assert (crop[21:, 21:] == 255).all()


def test_a_box_far_larger_than_any_image_does_not_fill_the_memory() -> None:
    crop = crop_image(ramps(), np.array([100.0, 60.0]), 1e6, 32)
    assert crop.shape == (32, 32, 3)
