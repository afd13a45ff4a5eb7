"""The training door, end to end and small: it learns, resumes exactly, and errs in one line."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import TINY_MODEL
from torch import Generator
from toy_mocap import write_mocap

from temporal_hmr.checkpoint import load_weights, read_config, save_checkpoint
from temporal_hmr.data.detector_noise import CLEAN
from temporal_hmr.data.synthetic import Augmentation, MotionBank
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.recover import load_model
from temporal_hmr.train import main
from temporal_hmr.training import sources
from temporal_hmr.training.sources import MixedLengths, MocapWindows
from temporal_hmr.training.step import Step

CONFIG = (
    TINY_MODEL
    + """
tokenizer_training: {steps: 6, clips: 4, save_every: 3, warmup: 2}
frame_training: {steps: 4, clips: 4, save_every: 4, warmup: 2, learning_rate: 0.003}
motion_training: {steps: 8, clips: 4, save_every: 4, warmup: 2, learning_rate: 0.003}
"""
)


@pytest.fixture(scope="module", autouse=True)
def few_judges() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "EVALUATION_CLIPS", 4)
        yield


@pytest.fixture(scope="module")
def mocap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mocap(tmp_path_factory.mktemp("mocap"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, mocap: Path) -> Path:
    """The folder of a run; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder, mocap)
    return folder


def run(folder: Path, mocap: Path, config: str = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(config)
    main([str(path), "--data", str(mocap), "--output", str(folder / "run")])
    return folder / "run"


def losses(path: Path) -> list[float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row["total"] for row in rows if "total" in row]


def test_trains_evaluates_and_loads(finished: Path) -> None:
    folder = finished / "run"
    rows = [json.loads(line) for line in (folder / "motion/log.jsonl").read_text().splitlines()]
    evaluation = [row["evaluation"] for row in rows if "evaluation" in row]
    assert evaluation[-1]["clean_pa_mpjpe"] > 0
    model = load_model(folder / "model.safetensors", torch.device("cpu"))
    assert model.config.window == 8
    assert not model.training


def test_resumes_where_it_stopped(
    tmp_path: Path, mocap: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run cut after its checkpoint continues to the very weights of an uncut one."""
    whole, cut = finished / "run", tmp_path / "cut"
    # The schedule knows the number of steps, so the first part is stopped from outside.
    original = Step.take
    calls = []

    def step_until_killed(step: Step, number: int) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 6 + 4 + 6:  # the earlier lessons, and the last past its checkpoint
            raise KeyboardInterrupt
        return original(step, number)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "take", step_until_killed)
        with pytest.raises(KeyboardInterrupt):
            run(cut, mocap)
    resumed = run(cut, mocap)
    config = read_config(whole / "model.safetensors", "hmr", HmrConfig)
    models = [Hmr(config), Hmr(config)]
    for model, folder in zip(models, (whole, resumed), strict=True):
        load_weights(model, folder / "model.safetensors")
    for (name, first), second in zip(
        models[0].state_dict().items(), models[1].state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name


def test_misspelt_setting_is_named(tmp_path: Path, mocap: Path) -> None:
    config = CONFIG.replace("frame_training: {steps", "frame_training: {stepps: 3, steps")
    with pytest.raises(InputError, match=r"frame_training.stepps.*did you mean steps"):
        run(tmp_path / "one", mocap, config)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clips: 4", "clips: 0", "clips"),
        ("save_every: 3", "save_every: 0", "save_every"),
        ("window: 8", "window: 1", "window"),
        ("heads: 2", "heads: 3", "heads"),
        ("window: 8", "body: banana", "model.body"),
        ("clips: 4", "clips: 4, seed: 1000000000000000", "seed"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, mocap: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "one", mocap, CONFIG.replace(old, new))


def test_unknown_subject_is_named_with_the_settings_to_change(tmp_path: Path, mocap: Path) -> None:
    said = r"no subject zz to judge by; it has a, b: .* as mocap\.held_out .* as mocap\.ignored"
    with pytest.raises(InputError, match=said):
        run(tmp_path / "one", mocap, CONFIG.replace("[b]", "[zz]"))


def test_another_runs_folder_is_refused(tmp_path: Path, mocap: Path, finished: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "one")
    with pytest.raises(InputError, match=r"another configuration \(model differs\)"):
        run(folder, mocap, CONFIG.replace("width: 16", "width: 24"))
    # Even one that would fit: a subject moved into training would be a leak.
    with pytest.raises(InputError, match=r"another configuration \(mocap differs\)"):
        run(folder, mocap, CONFIG.replace("held_out: [b]", "held_out: [a]"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "motion_training: {",
            "motion_training: {rates: {motoin: 0.1}, ",
            "motion_training: rates",
        ),
        ("motion_training: {", "motion_training: {precision: float16, ", "motion_training: prec"),
        ("motion_training: {", "motion_training: {best_by: clean, ", "motion has no figure clean"),
        (
            "motion_training: {",
            "tals: {angle_thresholds: {neck: 1}}\nmotion_training: {",
            "angle_t",
        ),
    ],
)
def test_mistakes_of_late_lessons_are_told_before_the_first(
    tmp_path: Path, mocap: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(tmp_path / "one", mocap, CONFIG.replace(old, new))
    assert not (tmp_path / "one/run").exists()


def test_a_lesson_that_diverged_begins_again_as_its_error_says(tmp_path: Path, mocap: Path) -> None:
    """Slower, and on what the lessons before it taught."""
    motion = "{steps: 8, clips: 4, save_every: 4, warmup: 2, learning_rate: 0.003}"
    fast = CONFIG.replace(motion, "{steps: 8, clips: 4, save_every: 1, learning_rate: 1.0e+30}")
    with pytest.raises(InputError, match=r"delete (\S+) for this lesson to begin again") as told:
        run(tmp_path, mocap, fast)
    kept = (tmp_path / "run/frames/last.pt").stat().st_mtime_ns
    with pytest.raises(InputError, match="motion_training differs"):
        run(tmp_path, mocap)
    shutil.rmtree(str(told.value).split("delete ")[1].split(" for")[0])
    assert (run(tmp_path, mocap) / "model.safetensors").exists()
    assert (tmp_path / "run/frames/last.pt").stat().st_mtime_ns == kept


@pytest.mark.parametrize("damage", [b"", b"garbage", "half"])
def test_damaged_state_is_named(
    tmp_path: Path, mocap: Path, finished: Path, damage: bytes | str
) -> None:
    folder = shutil.copytree(finished, tmp_path / "one")
    state = folder / "run/frames/last.pt"
    whole = state.read_bytes()
    state.write_bytes(damage if isinstance(damage, bytes) else whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"last\.pt is damaged"):
        run(folder, mocap)


def test_truth_is_float32_whatever_the_loop_trains_in(posed: PosedBody) -> None:
    """Geometry in bfloat16 shakes the true joints by millimetres, which teaches jitter."""
    still = torch.eye(3).expand(40, 24, 3, 3), torch.zeros(40, 3)
    bank = MotionBank.of([MocapTake("a", "b", *still, 30.0, torch.zeros(10))])
    windows = MocapWindows(bank, bank, posed, Augmentation(), CLEAN, 4)
    plain, _ = windows.draw(3, Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = windows.draw(3, Generator().manual_seed(0))
    assert torch.equal(plain.keypoints, mixed.keypoints)


def test_windows_and_short_clips_take_turns(posed: PosedBody) -> None:
    """As many frames either way, the same draw for the same seed, and windows judge."""
    still = torch.eye(3).expand(40, 24, 3, 3), torch.zeros(40, 3)
    bank = MotionBank.of([MocapTake("a", "b", *still, 30.0, torch.zeros(10))])
    windows = MocapWindows(bank, bank, posed, Augmentation(), CLEAN, 8)
    mixed = MixedLengths(windows, windows.of_length(2), short_share=0.7, short_per_window=4)

    def shape(seed: int) -> tuple[int, ...]:
        return tuple(mixed.draw(3, Generator().manual_seed(seed))[0].times.shape)

    shapes = [shape(seed) for seed in range(30)]
    assert set(shapes) == {(3, 8), (12, 2)}
    assert 12 <= shapes.count((12, 2)) <= 28
    assert shapes == [shape(seed) for seed in range(30)]
    assert {len(window.times[0]) for window, _ in mixed.held_out().values()} == {8}


def test_weights_that_do_not_match_their_settings(tmp_path: Path) -> None:
    small = HmrConfig.model_validate({"encoder": {"width": 32, "heads": 2}})
    path = tmp_path / "w.safetensors"
    save_checkpoint(Hmr(small), HmrConfig(), "hmr", path, half=True)
    with pytest.raises(InputError, match="do not match their settings"):
        load_model(path, torch.device("cpu"))


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    model = Hmr(HmrConfig.model_validate({"encoder": {"width": 32, "heads": 2}}))
    paths = [tmp_path / f"{number}.safetensors" for number in range(6)]
    for path in paths:
        save_checkpoint(model, model.config, "hmr", path, half=True)
    assert len({path.read_bytes() for path in paths}) == 1
    load_model(paths[0], torch.device("cpu"))


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no weights at"):
        load_model(path, torch.device("cpu"))
    path.write_bytes(b"not a tensor in sight")
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_model(path, torch.device("cpu"))
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no description of ours"):
        load_model(path, torch.device("cpu"))
