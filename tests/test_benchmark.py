"""The benchmark of everything: its table, and how it takes turns."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import benchmark
from benchmarks.bodies import BATCH, made_up_smpl
from benchmarks.pictures import bars
from benchmarks.sample import HEIGHT, WIDTH, forth_and_back, sample_720p
from benchmarks.scaling import Point, plot, told
from benchmarks.timing import Row, Settings, Timing, heading, in_turn, line


def test_the_command_prints_one_table_and_writes_its_figures(tmp_path: Path, capsys) -> None:
    file = tmp_path / "figures.json"
    benchmark.main(["--only", "body", "--repeat", "1", "--json", str(file)])
    machine, head, *lines = capsys.readouterr().out.splitlines()
    assert "torch" in machine and head == heading()
    works = ["24 joints", "23 keypoints by their regressor", "11 vertices", "all 6890 vertices"]
    for work, printed in zip(works, lines, strict=True):
        assert printed.startswith("body") and work in printed and "smplx" in printed
    rows = json.loads(file.read_text())["rows"]
    assert [row["work"] for row in rows] == works
    for row in rows:
        assert row["unit"] == f"{BATCH} bodies"
        expected = row["theirs_ms"]["median"] / row["ours_ms"]["median"]
        assert row["ratio"]["median"] == pytest.approx(expected)


def test_rounds_go_forth_and_back_and_the_first_is_not_counted(tmp_path: Path) -> None:
    done = []
    ways = {name: (lambda name=name: done.append(name)) for name in "ABC"}
    taken = in_turn(ways, Settings(2, torch.device("cpu"), tmp_path))
    assert "".join(done) == "CBA" + "ABC" + "CBA"
    assert all(len(timing.wall) == len(timing.cpu) == 2 for timing in taken.values())


def test_ratios_are_of_the_same_round() -> None:
    """A machine that slows down by ten between rounds changes none of them."""
    ours, theirs = Timing((1.0, 10.0, 2.0), (1.0,) * 3), Timing((3.0, 30.0, 8.0), (1.0,) * 3)
    row = Row("part", "work", 100, "frame", ours, "another", theirs)
    assert row.ratios() == [3, 3, 4]
    assert row.milliseconds(ours) == (10, 20, 100)
    assert "10/20/100" in line(row) and "30/80/300" in line(row) and "3/3/4" in line(row)
    alone = Row("part", "work", 1, "file", ours, note="said")
    assert line(alone).endswith("said") and "ratio" not in alone.as_json()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "bodies"], "there is no part bodies; there are decode"),
        (["--only", "body", "--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["--plot", "/nowhere/at/all.png"], "there is no folder /nowhere/at"),
        (["--plot", "scaling.mp4"], "takes a .png, .pdf or .svg"),
    ],
)
def test_what_cannot_be_done_is_told_first(options: list[str], words: str, capsys) -> None:
    with pytest.raises(InputError, match=words):
        benchmark.main(options)
    assert capsys.readouterr().out == ""


def test_the_bars_are_told_round_by_round() -> None:
    """Frame rate over that of looking alone, and the share of CPU that looking is not."""
    whole, alone = Timing((10.0, 40.0), (8.0, 16.0)), Timing((9.0, 36.0), (6.0, 12.0))
    assert bars(100, whole, alone) == (
        "4.0 frames/s, 0.90 of its rate; 120.0 ms of CPU, 25% of it beyond that"
    )


def test_growth_is_plotted_against_frames_and_against_people(tmp_path: Path) -> None:
    points = [Point(150, 1, 2.0, 600), Point(300, 1, 4.0, 610), Point(300, 4, 10.0, 650)]
    _, *measured, longer, longer_memory, more, more_memory = told(points).splitlines()
    assert measured[-1].split() == ["300", "4", "10.0", "650"]
    assert (
        longer == "13.3 s for 1000 frames (1 person)" and more == "2.0 s for a person (300 frames)"
    )
    assert longer_memory == "67 MiB for 1000 frames beside 590"
    assert more_memory == "13 MiB for a person beside 597"
    assert len(told(points[:1]).splitlines()) == 2, "one point grows nowhere"
    plot(points, tmp_path / "scaling.png")
    image = cv2.imread(str(tmp_path / "scaling.png"))
    assert image is not None and image.std() > 1


def test_the_body_of_smpls_size_is_one(tmp_path: Path) -> None:
    body = made_up_smpl()
    assert body.v_template.shape == (6890, 3) and body.directions.shape == (3, 6890, 217)
    assert (body.weights > 0).sum(1).eq(4).all()
    assert torch.allclose(body.weights.sum(1), torch.ones(6890))
    rest = SmplParams.from_poses(*(torch.zeros(size) for size in (72, 10, 3)))
    assert torch.allclose(body.vertices(rest), body.v_template, atol=1e-6)


def test_the_sample_has_margins_and_its_person_stays_where_they_are(tmp_path: Path) -> None:
    sample = sample_720p(tmp_path, frames=2)
    assert (sample.clip.width, sample.clip.height) == (WIDTH, HEIGHT) == (1280, 720)
    assert len(sample.motion) == len(list(sample.frames())) == 2
    track = sample.track()
    pixels = sample.motion.camera.project(torch.from_numpy(sample.motion.joints[0])).numpy()
    box = track.boxes[0]
    assert np.all((pixels > box[:2] - 40) & (pixels < box[2:] + 40))


def test_a_longer_clip_goes_forth_and_back() -> None:
    assert forth_and_back(4, 11).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]
    assert forth_and_back(4, 2).tolist() == [0, 1] and forth_and_back(3, None).tolist() == [0, 1, 2]
