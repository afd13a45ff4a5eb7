"""BlazePose's landmark network without what nobody asks for."""

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import temporal_hmr
from temporal_hmr.errors import InputError
from temporal_hmr.people import blazepose
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Region
from temporal_hmr.people.trimmed import trimmed_networks, without_silhouette
from temporal_hmr.video import open_clip

SAMPLE = Path(temporal_hmr.__path__[0]) / "assets" / "sample.mp4"
FULL = Path("mediapipe/modules/pose_landmark/pose_landmark_full.tflite")
DETECTOR = Path("mediapipe/modules/pose_detection/pose_detection.tflite")


@pytest.fixture(scope="module")
def networks() -> Path:
    """Where mediapipe has its networks."""
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    return Path(mediapipe.__file__).parent.parent


@pytest.fixture
def trimmed(networks) -> Iterator[BlazePose]:
    with BlazePose(detects=False) as reader:
        yield reader


@pytest.fixture
def whole(networks, monkeypatch) -> Iterator[BlazePose]:
    """The same with the network as mediapipe ships it."""
    monkeypatch.setattr(blazepose, "trimmed_networks", nullcontext)
    with BlazePose(detects=False) as reader:
        yield reader


def graph_of(network: bytes) -> Any:
    from mediapipe.tasks.metadata.schema_py_generated import Model

    return Model.GetRootAs(network, 0).Subgraphs(0)


def test_landmarks_are_the_same_to_the_bit(trimmed, whole):
    images = [frame.image for frame in open_clip(SAMPLE) if frame.index % 30 == 0]
    height, width = images[0].shape[:2]
    for turn, image in enumerate(images):
        region = Region(width / 2, height / 2, (0.9 + 0.05 * turn) * height, 0.1 * turn)
        ours, theirs = (each.read(ImagePacket.of(image), region) for each in (trimmed, whole))
        assert ours is not None and theirs is not None
        np.testing.assert_array_equal(ours.points, theirs.points)
        assert (ours.score, ours.region) == (theirs.score, theirs.region)


def test_only_what_the_silhouette_needed_is_left_out(networks):
    network = (networks / FULL).read_bytes()
    before, after = graph_of(network), graph_of(without_silhouette(network))
    assert 20 < before.OperatorsLength() - after.OperatorsLength() < 100
    known = {before.Inputs(0)}
    for place in range(after.OperatorsLength()):
        operator = after.Operators(place)
        made = [operator.Outputs(at) for at in range(operator.OutputsLength())]
        for at in range(operator.InputsLength()):
            tensor = before.Tensors(operator.Inputs(at))
            assert operator.Inputs(at) in known or tensor.Buffer() > 0, "made before it is used"
        known.update(made)
    asked = [before.Outputs(place) for place in range(5)]
    assert [after.Outputs(place) for place in range(5)] == [*asked[:2], asked[1], *asked[3:]]
    assert known.issuperset(asked[:2] + asked[3:]) and asked[2] not in known


def test_nothing_is_left_in_the_folder_for_temporary_files(networks, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with trimmed_networks(networks) as folder:
        assert folder.parent == tmp_path and (folder / FULL).stat().st_size > 6e6
        # The detector's graph reads its own in a thread, sooner or later.
        assert (folder / DETECTOR).read_bytes() == (networks / DETECTOR).read_bytes()
    assert not list(tmp_path.iterdir())


def test_another_network_is_refused(networks):
    with pytest.raises(ValueError, match="not BlazePose's landmark network"):
        without_silhouette((networks / DETECTOR).read_bytes())


def test_without_room_for_it_one_line_tells(networks, tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    with pytest.raises(InputError, match="folder for temporary files"):
        BlazePose(detects=False)
