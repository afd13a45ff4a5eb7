"""Where one shot ends and another begins."""

import cv2
import numpy as np
import pytest
from test_any_video import somebody

from temporal_hmr.following import follow
from temporal_hmr.motion import Person2D
from temporal_hmr.people.shots import CutDetector
from temporal_hmr.video import Frame

SCENES = 4


def scene(number: int, width: int = 480, height: int = 270) -> np.ndarray:
    """A picture of blots and edges, as unlike others as scenes are."""
    random = np.random.default_rng(number)
    image = np.full((height, width, 3), random.integers(40, 200, 3), np.uint8)
    for _ in range(40):
        center = tuple(int(each) for each in random.integers(0, (width, height)))
        axes = tuple(int(each) for each in random.integers(8, 70, 2))
        color = tuple(int(each) for each in random.integers(0, 255, 3))
        cv2.ellipse(image, center, axes, float(random.uniform(0, 180)), 0, 360, color, -1)
    return image


def cuts(images: list[np.ndarray]) -> list[int]:
    shots = CutDetector()
    return [index for index, image in enumerate(images) if shots.begins(image)]


class TestCuts:
    def test_are_found_where_they_are(self) -> None:
        shots = [[np.roll(scene(number), 2 * step, 1) for step in range(6)] for number in range(8)]
        assert cuts([image for shot in shots for image in shot]) == list(range(6, 48, 6))

    def test_a_closer_view_of_the_same_scene_is_one(self) -> None:
        image = scene(0)
        closer = cv2.resize(image[:135, :240], (480, 270))
        assert cuts([image] * 3 + [closer] * 3) == [3]

    @pytest.mark.parametrize("speed", [0.05, 0.15, 0.28])
    def test_fast_pans_are_none(self, speed) -> None:
        wide = np.concatenate([scene(number) for number in range(SCENES)], 1)
        step = int(speed * 480)
        smeared = cv2.blur(wide, (step, 1))
        count = (wide.shape[1] - 480) // step
        views = [smeared[:, step * at : step * at + 480] for at in range(count)]
        assert cuts(views) == []

    def test_flashes_and_fades_are_none(self) -> None:
        image = scene(1).astype(float)
        gains = [1, 1, 3, 1, 1, 0.5, 0.2, 0.05, 0, 0, 0.2, 1]
        flash = np.full_like(image, 255)
        lit = [np.clip(image * gain + 60 * (gain > 1), 0, 255) for gain in gains]
        assert cuts([each.astype(np.uint8) for each in (*lit, flash, flash, image)]) == []

    def test_after_black_another_scene_is_one(self) -> None:
        black = np.zeros_like(scene(0))
        assert cuts([scene(0)] * 3 + [black] * 4 + [scene(1)] * 3) == [7]

    def test_somebody_who_passes_close_by_is_none(self) -> None:
        views = []
        for at in range(-200, 500, 40):
            view = scene(2).copy()
            cv2.rectangle(view, (at, 20), (at + 180, 270), (30, 20, 160), -1)
            views.append(view)
        assert cuts(views) == []

    def test_large_pictures_are_judged_as_small_ones(self) -> None:
        """Of which not every point is looked at."""
        noise = np.random.default_rng(1).integers(-35, 36, (720, 1280, 3), np.int16)
        shots = [[np.roll(scene(number), 4 * step, 1) for step in range(3)] for number in range(3)]
        large = [cv2.resize(image, (1280, 720)) for shot in shots for image in shot]
        noisy = [
            (image + np.roll(noise, 97 * at, 1)).clip(0, 255).astype(np.uint8)
            for at, image in enumerate(large)
        ]
        assert cuts(large) == cuts(noisy) == [3, 6]

    def test_snow_is_none(self) -> None:
        random = np.random.default_rng(0)
        assert cuts(list(random.integers(0, 255, (9, 90, 160, 3), np.uint8))) == []

    def test_nobody_goes_on_over_one_and_the_detector_begins_anew(self) -> None:
        """Somebody stands at the same place in both shots."""

        class Still:
            restored = 0

            def people(self, frame: Frame) -> list[Person2D]:
                return [somebody(100)]

            def state(self) -> None:
                pass

            def restore(self, state: None) -> None:
                self.restored += 1

        images = [scene(0)] * 12 + [scene(1)] * 12
        detector = Still()
        found = follow([Frame(at, at / 25, each) for at, each in enumerate(images)], detector)
        assert found.cuts.tolist() == [12] and detector.restored == 1
        assert [track.frames.tolist() for track in found.tracks] == [
            list(range(12)),
            list(range(12, 24)),
        ]
