"""Windows drawn from several datasets."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import Arrays, small_body
from labelled_clips import posed, write_sequence
from torch import Generator

from temporal_hmr.body.model import BodyArrays, BodyModel
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.clip_images import Unreadable
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.restated_shapes import restated
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.errors import InputError
from temporal_hmr.training.dataset_source import DatasetWindows
from temporal_hmr.training.sources import Labelled, Source
from temporal_hmr.training.tasks import mapped

FRAMES, SIDE = 4, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def sequences(folder: Path) -> dict[str, Sequence]:
    """One trusted, one not (to tell their clips apart), and one that judges."""
    return {
        "long": write_sequence(folder, 10, name="long", subject="a"),
        "short": replace(write_sequence(folder, 3, name="short", subject="b"), trusted=False),
        "judge": write_sequence(folder, 9, name="judge", subject="c"),
    }


def source(sequences: dict[str, Sequence], **changes: object) -> DatasetWindows:
    cutter = WindowCutter(
        WindowSettings(frames=FRAMES, side=SIDE), posed(), CropAugmentation(), DetectorNoise()
    )
    parts = {
        "train": {"first": [sequences["long"]], "second": [sequences["short"]]},
        "weights": {"first": 3.0, "second": 1.0},
        "judges": {"unseen": [sequences["judge"]]},
        "cutter": cutter,
    }
    return DatasetWindows(**(parts | changes))  # type: ignore[arg-type]


def equal(first: Labelled, second: Labelled) -> bool:
    found: list[torch.Tensor] = []
    other: list[torch.Tensor] = []
    mapped(first, lambda tensor: found.append(tensor) or tensor)
    mapped(second, lambda tensor: other.append(tensor) or tensor)
    return len(found) == len(other) and all(map(torch.equal, found, other))


def test_it_is_a_source(sequences: dict[str, Sequence]) -> None:
    windows: Source = source(sequences)
    window, target = windows.draw(5, Generator().manual_seed(0))
    assert window.images is not None
    assert window.images.shape == (5, FRAMES, 3, SIDE, SIDE)
    assert target.joints.shape == (5, FRAMES, 24, 3)
    assert window.keypoints.dtype == target.smpl.betas.dtype == torch.float32
    longer, _ = windows.of_length(6).draw(2, Generator().manual_seed(0))
    assert longer.times.shape == (2, 6)
    assert windows.body is posed()


def test_the_generator_alone_decides(sequences: dict[str, Sequence]) -> None:
    batches = [source(sequences).draw(4, Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert equal(batches[0], batches[1]) and not equal(batches[0], batches[2])


def test_datasets_are_mixed_by_weight(sequences: dict[str, Sequence]) -> None:
    cutter = WindowCutter(WindowSettings(frames=FRAMES), posed())
    windows = source(sequences, cutter=cutter)
    _, target = windows.draw(150, Generator().manual_seed(0))
    assert float(target.trusted.float().mean()) == pytest.approx(0.75, abs=0.1)
    alone = source(sequences, cutter=cutter, weights={"first": 0.0, "second": 2.0})
    assert not alone.draw(20, Generator().manual_seed(0))[1].trusted.any()


def test_long_sequences_are_drawn_more_often(sequences: dict[str, Sequence]) -> None:
    cutter = WindowCutter(WindowSettings(frames=2, overlap=0.0), posed())
    both = {"all": [sequences["long"], sequences["short"]]}
    windows = source(sequences, cutter=cutter, train=both, weights={"all": 1.0})
    _, target = windows.draw(120, Generator().manual_seed(0))
    assert float(target.trusted.float().mean()) == pytest.approx(5 / 7, abs=0.12)


def test_held_out_windows_are_as_in_use_and_always_the_same(
    sequences: dict[str, Sequence],
) -> None:
    windows = source(sequences)
    first, second = windows.held_out(), windows.held_out()
    assert list(first) == ["unseen"]
    assert equal(first["unseen"], second["unseen"])
    window, _ = first["unseen"]
    assert window.images is not None and len(window.times) == 4
    known = sequences["judge"].focal
    assert known is not None and (window.focal == float(known[0, 0])).all()


def test_an_unreadable_image_is_reported_and_never_fatal(
    sequences: dict[str, Sequence], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = list(sequences["long"].images)  # type: ignore[arg-type]
    paths[4] = tmp_path / "gone.png"
    broken = replace(sequences["long"], images=tuple(paths))
    windows = source(sequences, train={"first": [broken]}, weights={"first": 1.0})
    with caplog.at_level(logging.WARNING):
        window, _ = windows.draw(12, Generator().manual_seed(0))
    assert len(window.times) == 12
    assert 0 < (~window.valid).sum() < 12
    assert [str(tmp_path / "gone.png") in line for line in caplog.messages] == [True]
    assert windows.cutter.unreadable.summary().startswith("1 images of 1 files")


def test_a_clip_without_any_image_is_drawn_anew(
    sequences: dict[str, Sequence], tmp_path: Path
) -> None:
    nothing = replace(
        sequences["long"], images=tuple(tmp_path / f"{number}.png" for number in range(10))
    )
    both = {"all": [nothing, sequences["short"]]}
    windows = source(sequences, train=both, weights={"all": 1.0})
    window, target = windows.draw(8, Generator().manual_seed(0))
    assert window.valid.any(1).all() and not target.trusted.any()
    only = source(sequences, train={"all": [nothing]}, weights={"all": 1.0})
    with pytest.raises(InputError, match=r"of all in a row.*10 images of 10 files"):
        only.draw(1, Generator().manual_seed(0))
    judged = source(sequences, judges={"gone": [replace(nothing, subject="z")]})
    with pytest.raises(InputError, match="no window of gone"):
        judged.held_out()


def test_what_was_found_unreadable_before_changes_no_batch(
    sequences: dict[str, Sequence], tmp_path: Path
) -> None:
    """Workers may meet a broken image in any order."""
    paths = list(sequences["long"].images)  # type: ignore[arg-type]
    paths[4] = tmp_path / "gone.png"
    broken = replace(sequences["long"], images=tuple(paths))
    windows = source(sequences, train={"first": [broken]}, weights={"first": 1.0})
    first = windows.draw(6, Generator().manual_seed(0))
    assert len(windows.cutter.unreadable) == 1
    assert equal(first, windows.draw(6, Generator().manual_seed(0)))
    fresh = replace(windows, cutter=replace(windows.cutter, unreadable=Unreadable()))
    assert equal(first, fresh.draw(6, Generator().manual_seed(0)))


def test_a_shape_restated_is_the_same_person(sequences: dict[str, Sequence]) -> None:
    """Of another template and other axes of shape: same surface, same place."""
    arrays = small_body()
    other = _same_bodies(arrays)
    own_body, other_body = (BodyModel(_arrays(each)) for each in (arrays, other))
    male = replace(sequences["long"], smpl_gender="male")
    found = restated(male, own_body, other_body)
    assert male.smpl is not None and found.smpl is not None
    assert found.smpl_gender == "neutral"
    assert not torch.allclose(found.smpl.betas, male.smpl.betas, atol=0.1)
    expected = own_body.vertices(male.smpl.map(lambda t: t.float()))
    vertices = other_body.vertices(found.smpl.map(lambda t: t.float()))
    torch.testing.assert_close(vertices, expected, atol=1e-3, rtol=0)


def test_restating_for_another_mesh_keeps_the_pelvis(sequences: dict[str, Sequence]) -> None:
    own = BodyModel(_arrays(small_body()))
    found = restated(sequences["long"], own, posed().body)
    before, after = sequences["long"].smpl, found.smpl
    assert before is not None and after is not None
    first = own.joints(before.map(lambda t: t.float()))[:, 0]
    second = posed().body.joints(after.map(lambda t: t.float()))[:, 0]
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    itself = restated(sequences["long"], posed().body, posed().body).smpl
    assert itself is not None
    torch.testing.assert_close(itself.betas, before.betas, atol=1e-4, rtol=0)


def _same_bodies(arrays: Arrays) -> Arrays:
    """The same bodies under other betas: turned axes, another mean, moved as a whole."""
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    axes = arrays["shapedirs"][..., :10]
    mean = arrays["v_template"] + axes @ np.linspace(-1, 1, 10) + [0.1, -0.2, 0.3]
    return arrays | {"v_template": mean, "shapedirs": axes @ turned}


def _arrays(arrays: Arrays) -> BodyArrays:
    return BodyArrays(
        name="made up",
        licence="",
        v_template=arrays["v_template"],
        faces=arrays["f"],
        shapedirs=arrays["shapedirs"][..., :10],
        posedirs=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        weights=arrays["weights"],
    )


def test_parts_that_do_not_go_together_are_refused(sequences: dict[str, Sequence]) -> None:
    with pytest.raises(InputError, match="weights are of first, the data of first, second"):
        source(sequences, weights={"first": 1.0})
    with pytest.raises(InputError, match="at least one above 0"):
        source(sequences, weights={"first": 0.0, "second": 0.0})
    with pytest.raises(InputError, match="nobody has no sequence"):
        source(sequences, judges={"nobody": []})
    with pytest.raises(InputError, match="made a is among those who train"):
        source(sequences, judges={"seen": [replace(sequences["judge"], subject="a")]})
    male = replace(sequences["long"], smpl_gender="male")
    with pytest.raises(InputError, match="shape of a male body"):
        source(sequences, train={"all": [male]}, weights={"all": 1.0})
