"""Files with flipped bytes, cut, zeroed, doubled: read, or refused in one line that names them."""

import io
import json
import os
import pickle
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from body_files import small_body
from interchange_files import dump, read_or_refuse, vibe_contents, wham_contents, write_gvhmr
from result_motions import PROVENANCE, make_motion
from test_video import header_first, write
from toy_mocap import write_mocap
from tracked_clips import make_clip, write_weights

from temporal_hmr import train, view
from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import load_body
from temporal_hmr.checks.reading import result_files
from temporal_hmr.configuration import Config, load_config
from temporal_hmr.containers import breaks_off, lacks_index
from temporal_hmr.editing.result import open_result
from temporal_hmr.errors import InputError
from temporal_hmr.given.intrinsics import read_camera
from temporal_hmr.given.keypoints import read_keypoints
from temporal_hmr.interchange.files import read_predictions
from temporal_hmr.journal import Journal
from temporal_hmr.licensing.results import terms_of
from temporal_hmr.output.export import ExportSettings, export_result
from temporal_hmr.output.folder import check_folder, finished_results, write_results
from temporal_hmr.people.recalled import RecalledPeople
from temporal_hmr.recover import load_model
from temporal_hmr.refinement.amass_file import read_amass_motion
from temporal_hmr.training.checkpoints import LAST, State, resume
from temporal_hmr.training.claiming import claim
from temporal_hmr.video import Clip, Frame, open_clip

CALIBRATION = """%YAML:1.0
---
image_width: 64
image_height: 96
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 450., 0., 32., 0., 450., 48., 0., 0., 1. ]
"""


def variants(whole: bytes) -> Iterator[bytes]:
    """Nine ways in which a file goes bad."""
    random = np.random.default_rng(zlib.crc32(whole[:64]))
    for flips, span in ((1, len(whole)), (4, 200), (max(len(whole) // 200, 2), len(whole))):
        garbled = bytearray(whole)
        for place in random.integers(0, min(span, len(whole)), flips):
            garbled[place] ^= int(random.integers(1, 256))
        yield bytes(garbled)
    middle = len(whole) // 2
    yield from (whole[:middle], whole[:-1], whole + whole, whole[middle:] + whole[:middle])
    yield whole[:middle] + bytes(len(whole) - middle)
    yield b""


class Small(Config):
    steps: int = 3
    names: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return open_clip(make_clip(tmp_path_factory.mktemp("clip") / "walk.mp4"))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    write_results(tmp_path / "walk", [make_motion(), make_motion(person_id=1)], {}, PROVENANCE)
    return tmp_path / "walk"


def changed(path: Path, **arrays: Any) -> Path:
    """An npz with other arrays in it."""
    with np.load(path) as archive:
        held = dict(archive)
    np.savez(path, **held | arrays)
    return path


def told(folder: Path, **values: Any) -> None:
    """A summary with other values in it."""
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_amass(path: Path) -> None:
    zeros = np.zeros((4, 156))
    np.savez(path, poses=zeros, trans=zeros[:, :3], betas=np.zeros(16), mocap_framerate=30.0)


def write_coco(path: Path) -> None:
    person = {"image_id": 2, "keypoints": [20.0, 30.0, 0.9] * 17, "score": 0.9, "track_id": 1}
    path.write_text(json.dumps([person]))


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "plain.npz": (lambda path: np.savez(path, poses=np.zeros((4, 72)), betas=np.zeros(10)),
                  read_predictions),
    "amass.npz": (write_amass, read_amass_motion),
    "wham.pkl": (lambda path: dump(wham_contents({0: np.arange(4)}), path), read_predictions),
    "vibe.pkl": (lambda path: dump(vibe_contents({0: np.arange(4)}), path, compress=3),
                 read_predictions),
    "gvhmr.pt": (lambda path: write_gvhmr(path, 4), read_predictions),
    "body.npz": (lambda path: np.savez(path, **small_body()), load_body),
    "body.pkl": (lambda path: path.write_bytes(pickle.dumps(small_body())), load_body),
    "weights.safetensors": (write_weights, partial(load_model, device=torch.device("cpu"))),
    "config.yaml": (lambda path: path.write_text("steps: 4\nnames: [walk, run]\n"),
                    partial(load_config, kind=Small)),
}  # fmt: skip
OF_A_CLIP: dict[str, tuple[Callable[[Path], object], Callable[[Path, Clip], object]]] = {
    "coco.json": (write_coco, read_keypoints),
    "boxes.txt": (lambda path: path.write_text("1,1,10,10,30,60,0.9\n" * 9), read_keypoints),
    "camera.yaml": (lambda path: path.write_text(CALIBRATION), read_camera),
}


@pytest.mark.parametrize("name", [*KINDS, *OF_A_CLIP, "person_000.npz"])
def test_is_read_or_refused(name: str, tmp_path: Path, clip: Clip, result: Path) -> None:
    path = tmp_path / name
    if name in OF_A_CLIP:
        make, reader = OF_A_CLIP[name]
        read: Callable[[Path], object] = lambda path: reader(path, clip)  # noqa: E731
        make(path)
    elif name in KINDS:
        make, read = KINDS[name]
        make(path)
    else:
        path, read = result / name, read_predictions
    for content in [*variants(path.read_bytes()), b"<html>not found</html>\n"]:
        path.write_bytes(content)
        outcome = read_or_refuse(read, path)
        if isinstance(outcome, InputError):
            assert str(path) in str(outcome) or name in str(outcome)
            assert "\n" not in str(outcome)


class TestResults:
    def test_a_header_that_does_not_end(self, tmp_path: Path) -> None:
        """numpy lets Python's tokeniser complain of it."""
        np.savez(tmp_path / "a.npz", poses=np.zeros(3))
        content = (tmp_path / "a.npz").read_bytes()
        (tmp_path / "a.npz").write_bytes(content.replace(b"(3,), }", b"(3,  ( "))
        with pytest.raises(InputError, match=r"a\.npz is damaged"):
            read_arrays(tmp_path / "a.npz", list)

    def test_an_array_that_is_not_there(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", poses=np.zeros(3))
        with pytest.raises(InputError, match=r"a\.npz is damaged"):
            read_arrays(tmp_path / "a.npz", lambda _: ["trans"])

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("timestamps", np.arange(4.0)),
            ("timestamps", np.float64(3)),
            ("timestamps", np.array([0, 1, np.nan, 3, 4])),
            ("timestamps", np.zeros(5)),
            ("fps", np.float32(0)),
            ("fps", np.float32("inf")),
            ("fps", np.float32(1e30)),
            ("confidence", np.array("high")),
            ("confidence", np.full(5, np.inf)),
            ("betas", np.full(10, np.inf)),
            ("K", np.full((3, 3), np.nan)),
            ("K", np.eye(3) * -1),
            ("joints3d", np.zeros((5, 23, 3))),
        ],
    )
    def test_numbers_that_cannot_be(self, key: str, value: Any, result: Path) -> None:
        path = changed(result / "person_000.npz", **{key: value})
        with pytest.raises(InputError, match=rf"person_000\.npz has .*'?{key}'?"):
            read_predictions(path)

    @pytest.mark.parametrize("value", [{"focal_assumed": np.inf}, {"image_size": [0, 480]}])
    def test_a_description_that_cannot_be(self, value: dict[str, Any], result: Path) -> None:
        with np.load(result / "person_000.npz") as archive:
            meta = json.loads(str(archive["meta"]))
        path = changed(result / "person_000.npz", meta=np.array(json.dumps(meta | value)))
        with pytest.raises(InputError, match=r"person_000\.npz has .*'meta'"):
            read_predictions(path)

    def test_frames_faster_than_any_camera(self, result: Path) -> None:
        """Holes of so many frames in no time would all be filled."""
        path = changed(result / "person_000.npz", frame_ids=np.arange(5) * 50_000)
        with pytest.raises(InputError, match="frames in a second"):
            read_predictions(path)

    def test_times_that_leap_are_not_exported(self, result: Path) -> None:
        times = np.append(np.arange(4) / 30, 1e12)
        changed(result / "person_000.npz", timestamps=times)
        with pytest.raises(InputError, match="person_000: its 5 frames would become"):
            export_result(result, result / "out", ExportSettings(("bvh",)))

    def test_rates_of_other_files(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", poses=np.zeros((4, 72)), betas=np.zeros(10), fps=1e30)
        with pytest.raises(InputError, match="no frame rate"):
            read_predictions(tmp_path / "a.npz")

    def test_a_summary_nested_without_end(self, result: Path) -> None:
        (result / "result.json").write_text('{"people": ' + "[" * 100_000)
        readers: tuple[Callable[[Path], object], ...] = (result_files, open_result, terms_of)
        for read in readers:
            with pytest.raises(InputError, match=r"result\.json is damaged"):
                read(result)

    def test_a_summary_with_other_things_in_it(self, result: Path) -> None:
        told(result, detector=[1])
        with pytest.raises(InputError, match="does not state detector"):
            terms_of(result)
        told(result, detector="", image_size=[[], 2])
        with pytest.raises(InputError, match=r"result\.json"):
            open_result(result)

    def test_are_not_taken_for_finished(self, result: Path) -> None:
        assert finished_results(result, PROVENANCE) is not None
        told(result, people=[{}])
        assert finished_results(result, PROVENANCE) is None

    @pytest.mark.parametrize("content", ["", "[" * 100_000, '{"people": 3}'])
    def test_of_another_video_stay_even_if_their_summary_is_gone(
        self, content: str, result: Path
    ) -> None:
        (result / "result.json").write_text(content)
        check_folder(result, PROVENANCE.source_sha256)
        with pytest.raises(InputError, match=r"results of another video \(walk.mp4\)"):
            check_folder(result, "ff" * 32)

    def test_a_damaged_overlay_is_no_loss_to_the_page(self, result: Path, caplog) -> None:
        told(result, settings={"start": None})
        (result / "overlay.mp4").write_bytes(b"rubbish")
        meta = asdict(PROVENANCE) | {"settings": {"start": None}}
        (shown,) = [
            view._stand_in(result, _Told(meta)),  # type: ignore[arg-type]
        ]
        assert shown[0] is None and "the page has no video" in caplog.text


class _Told:
    """What the search for a video looks at of a result."""

    step, source = 1, "walk.mp4"

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta


class TestGiven:
    @pytest.mark.parametrize("who", [np.nan, np.inf])
    def test_a_person_without_a_number(self, who: float, tmp_path: Path, clip: Clip) -> None:
        write_coco(tmp_path / "a.json")
        text = (tmp_path / "a.json").read_text().replace('"track_id": 1', f'"track_id": {who}')
        (tmp_path / "a.json").write_text(text.replace("inf", "Infinity").replace("nan", "NaN"))
        with pytest.raises(InputError, match="not the number of a person"):
            read_keypoints(tmp_path / "a.json", clip)

    def test_a_frame_with_too_long_a_number(self, tmp_path: Path, clip: Clip) -> None:
        write_coco(tmp_path / "a.json")
        text = (tmp_path / "a.json").read_text().replace("2,", f'"{"9" * 5000}.jpg",', 1)
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=r"a\.json tells of a frame"):
            read_keypoints(tmp_path / "a.json", clip)

    @pytest.mark.parametrize("content", [b"%YAML:1.0\n---\nk\xf8y: 1\n", b"%YAML:1.0\n---\na: "])
    def test_a_calibration_that_opencv_chokes_on(self, content, tmp_path, clip) -> None:
        """Of deep nesting the process would die, so another one tries."""
        path = tmp_path / "camera.yaml"
        path.write_bytes(content if content.endswith(b"\n") else content + b"[" * 100_000)
        child = os.fork()
        if not child:
            os._exit(
                3
                if isinstance(read_or_refuse(lambda p: read_camera(p, clip), path), InputError)
                else 4
            )
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3

    @pytest.mark.parametrize("text", ["steps: 2001-99-99", "[" * 400, "steps: " + "9" * 5000])
    def test_settings_that_yaml_chokes_on(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(InputError, match=r"a\.yaml"):
            load_config(tmp_path / "a.yaml", Small)


class TestWork:
    def test_a_journal_twice_in_one_file(self, tmp_path: Path) -> None:
        """The second key stands where a record should."""

        class Nobody:
            def people(self, frame: Frame) -> list:
                return []

            def state(self) -> None: ...

            def restore(self, state: object) -> None: ...

        frames = [Frame(n, n / 25, np.zeros((4, 4, 3), np.uint8)) for n in range(3)]
        for doubled in (False, True):
            with Journal(tmp_path / "j", "{}") as journal:
                seeing = RecalledPeople(Nobody(), journal)  # type: ignore[arg-type]
                shown = seeing.seen((frame, False) for frame in frames)
                assert [people for _, _, people in shown] == [[], [], []]
            if not doubled:
                content = (tmp_path / "j").read_bytes()
                end = content.index(b"\n", content.index(b"\n") + 1) + 1
                (tmp_path / "j").write_bytes(content[:end] + content)
        assert (tmp_path / "j").read_bytes() == content

    @pytest.mark.parametrize("content", ["", "[]", '{"a_training": 3}', "[" * 100_000])
    def test_a_run_whose_settings_are_damaged(self, content: str, tmp_path: Path) -> None:
        claim(tmp_path / "run", Small())
        (tmp_path / "run" / LAST).touch()
        (tmp_path / "run" / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"config\.json is damaged"):
            claim(tmp_path / "run", Small())

    def test_a_state_that_is_damaged(self, tmp_path: Path) -> None:
        whole = io.BytesIO()
        torch.save({"module": {"a": torch.zeros(40)}, "step": 3}, whole)
        for content in [*variants(whole.getvalue()), pickle.dumps([1], 2), b"<html>"]:
            (tmp_path / LAST).write_bytes(content)
            with pytest.raises(InputError, match=r"last\.pt is"):
                resume(State(torch.nn.Linear(1, 1), None, [], None), tmp_path)  # type: ignore

    def test_data_that_cannot_be_read_begins_no_run(self, tmp_path: Path) -> None:
        take = write_mocap(tmp_path / "mocap") / "a" / "a_01_poses.npz"
        take.write_bytes(take.read_bytes()[:-40])
        (tmp_path / "a.yaml").write_text("held_out: [b]\ntraining: {steps: 1, clips: 1}\n")
        words = [tmp_path / "a.yaml", "--data", tmp_path / "mocap", "--output", tmp_path / "run"]
        with pytest.raises(InputError, match=r"a_01_poses\.npz is damaged"):
            train.main([str(word) for word in words])
        assert not (tmp_path / "run").exists()


class TestVideos:
    @pytest.mark.parametrize(("name", "codec"), [("a.mkv", "mp4v"), ("a.avi", "MJPG")])
    def test_that_break_off_say_so(self, name: str, codec: str, tmp_path, caplog) -> None:
        """A few frames, fewer than a difference of duration could tell."""
        path = write(tmp_path / name, frames=20, codec=codec)
        whole = path.read_bytes()
        assert not breaks_off(path)
        for content in (
            whole[: len(whole) * 4 // 5],
            whole[: -len(whole) // 5] + bytes(len(whole) // 5),
        ):
            path.write_bytes(content)
            assert breaks_off(path)
            caplog.clear()
            count = len(list(open_clip(path)))
            assert 10 <= count < 20
            assert f"{name} breaks off after {count} of 20 frames" in caplog.text

    def test_without_an_index_are_told_as_such(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", frames=12)
        whole = path.read_bytes()
        assert not lacks_index(path)
        path.write_bytes(header_first(whole)[:-50])
        assert not lacks_index(path) and breaks_off(path)
        path.write_bytes(whole[: len(whole) // 2])
        assert lacks_index(path)
        with pytest.raises(InputError, match="breaks off before its index"):
            open_clip(path)

    def test_are_read_up_to_the_damage_or_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", frames=12)
        for content in variants(header_first(path.read_bytes())):
            path.write_bytes(content)
            outcome = read_or_refuse(lambda path: list(open_clip(path)), path)
            if isinstance(outcome, InputError):
                assert str(path) in str(outcome) and "\n" not in str(outcome)
            else:
                assert all(frame.image.shape == (64, 96, 3) for frame in outcome)  # type: ignore
