"""The model outside of PyTorch: the same answers, or no file."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import SMALL

from temporal_hmr import export_model as door
from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import file_hash, save_checkpoint
from temporal_hmr.crops import readable
from temporal_hmr.deployment import model_export, onnx_files
from temporal_hmr.deployment.model_export import ModelExport, checked, export_model
from temporal_hmr.deployment.parity import Answer, compare
from temporal_hmr.deployment.plain_model import INPUTS, OUTPUTS, PlainHmr, plain
from temporal_hmr.deployment.simulated import simulated_windows
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import TOKENHMR
from temporal_hmr.rotation import axis_angle_to_matrix

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None or find_spec("onnxruntime") is None,
    reason="onnx and onnxruntime are not installed (pip install '.[onnx]')",
)


@pytest.fixture(scope="module")
def body() -> PosedBody:
    return PosedBody(load_body())


@pytest.fixture(scope="module")
def model(body) -> PlainHmr:
    torch.manual_seed(0)
    return PlainHmr(Hmr(SMALL), body).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(model.model, SMALL, "hmr", path, half=False)
    return path


def test_plain_tensors_give_what_the_model_gives(model, body) -> None:
    window = simulated_windows(3, 8, body, seed=0)
    expected = model.model(window, body)
    outputs = dict(zip([port.name for port in OUTPUTS], model(*plain(window)), strict=True))
    assert torch.equal(outputs["rotations"], expected.smpl.rotations())
    assert torch.equal(outputs["betas"], expected.smpl.betas)
    assert torch.equal(outputs["transl"], expected.smpl.transl)
    assert torch.equal(outputs["joints"], expected.joints)


def test_ports_are_described_as_they_are(model, body) -> None:
    tensors = plain(simulated_windows(2, 8, body, seed=1))
    for port, tensor in [
        *zip(INPUTS, tensors, strict=True),
        *zip(OUTPUTS, model(*tensors), strict=True),
    ]:
        stated = [{"batch": 2, "frames": 8}.get(str(axis), axis) for axis in port.shape]
        assert list(tensor.shape) == stated, port.name
        assert str(tensor.dtype) == f"torch.{port.type}"


def test_simulated_windows_show_people(body) -> None:
    window = simulated_windows(16, 32, body, seed=0)
    assert readable(window.scores).float().mean() > 0.8
    assert (~window.valid).sum() == 8 and window.valid[1:].all()
    seen = window.keypoints[window.scores > 0.3]
    assert (seen.abs() < 1.3).float().mean() > 0.97
    again = simulated_windows(16, 32, body, seed=0)
    assert torch.equal(window.keypoints, again.keypoints)


def test_distances_are_those_of_a_known_change() -> None:
    rotations = np.tile(np.eye(3), (5, 24, 1, 1))
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, np.deg2rad(3.0)])).numpy()
    joints = np.random.default_rng(0).normal(size=(5, 24, 3))
    moved = joints + np.array([0.0, 0.004, 0.003])
    moved[0, 5] += [0.0, 0.002, 0.0]
    parity = compare([Answer(rotations, joints)], [Answer(rotations @ turn, moved)])
    assert parity.rotation_mean_deg == pytest.approx(3.0, abs=1e-4)
    assert parity.joint_max_mm == pytest.approx(np.hypot(6, 3))
    assert parity.from_pelvis_max_mm == pytest.approx(2.0)
    assert parity.from_pelvis_mean_mm == pytest.approx(2.0 / 120)
    assert parity.frames == 5 and "6.71 mm, the limit is 0.05" in str(parity.fault(int8=False))
    assert parity.fault(int8=True) is None


@pytest.mark.parametrize("change", [1e-3, np.nan])
def test_a_copy_that_says_something_else_is_refused(model, body, change) -> None:
    def copy(tensors):
        names = [port.name for port in OUTPUTS]
        outputs = dict(zip(names, (each.numpy().copy() for each in model(*tensors)), strict=True))
        outputs["joints"][1, 3, 7, 0] += change
        return outputs

    window = simulated_windows(2, 8, body, seed=0)
    with pytest.raises(InputError, match="the exported model was not kept: its largest distance"):
        checked(model, copy, [window], int8=False)


def test_padding_is_not_compared(model, body) -> None:
    def copy(tensors):
        names = [port.name for port in OUTPUTS]
        outputs = dict(zip(names, (each.numpy().copy() for each in model(*tensors)), strict=True))
        outputs["joints"][0, -1] = np.nan
        return outputs

    window = simulated_windows(2, 8, body, seed=0)
    assert checked(model, copy, [window], int8=False).joint_max_mm == 0


def test_models_that_look_at_images_are_refused(body) -> None:
    class Looking:
        config = TOKENHMR

    with pytest.raises(InputError, match="look at images: only models of keypoints"):
        PlainHmr(Looking(), body)  # type: ignore[arg-type]


def test_without_the_packages_one_line_says_so(weights, tmp_path, monkeypatch) -> None:
    def missing(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(onnx_files, "import_module", missing)
    with pytest.raises(InputError, match=r"needs onnx .*: run `pip install 'onnx<1\.18"):
        export_model(ModelExport(weights), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_words_at_the_door(tmp_path, capsys) -> None:
    for words in (["--window", "1"], ["--window", "x"]):
        with pytest.raises(SystemExit) as ended:
            door.main(["-o", str(tmp_path), *words])
        assert ended.value.code == 2 and "whole number from 2 on" in capsys.readouterr().err
    with pytest.raises(InputError, match="no weights at"):
        door.main(["-o", str(tmp_path / "out"), "--weights", str(tmp_path / "none")])


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    door.main(["-o", str(folder), "--weights", str(weights), "--int8"])
    return folder


@needs_onnx
class TestFiles:
    def test_all_is_there_and_told(self, exported, weights) -> None:
        assert sorted(path.name for path in exported.iterdir()) == [
            "model.json",
            "model.onnx",
            "model_int8.onnx",
        ]
        told = json.loads((exported / "model.json").read_text())
        assert told["weights"]["sha256"] == file_hash(weights)
        assert [each["name"] for each in told["inputs"]] == [port.name for port in INPUTS]
        for name, stated in told["files"].items():
            assert stated["sha256"] == file_hash(exported / name)
        assert told["files"]["model.onnx"]["parity"]["joint_max_mm"] < 0.05
        assert [len(names) for names in told["keypoint_skeletons"].values()] == [23, 23]

    @pytest.mark.parametrize(("clips", "frames"), [(1, 8), (3, 5), (1, 1), (2, 20)])
    def test_any_batch_and_any_number_of_frames(self, exported, model, body, clips, frames) -> None:
        tensors = plain(simulated_windows(clips, frames, body, seed=5))
        found = onnx_files.open_onnx(exported / "model.onnx")(tensors)
        for port, expected in zip(OUTPUTS, model(*tensors), strict=True):
            np.testing.assert_allclose(found[port.name], expected.numpy(), atol=5e-5)

    def test_of_a_bad_copy_nothing_stays(self, weights, tmp_path, monkeypatch) -> None:
        def wrong(_):
            return lambda tensors: {
                port.name: np.zeros([{"batch": 12, "frames": 8}.get(str(a), a) for a in port.shape])
                for port in OUTPUTS
            }

        monkeypatch.setattr(model_export, "write_onnx", lambda _m, _e, path, _a: path.touch())
        monkeypatch.setattr(model_export, "open_onnx", wrong)
        monkeypatch.setattr(
            model_export, "comparison_windows", lambda b, n, _: [simulated_windows(12, n, b, 0)]
        )
        with pytest.raises(InputError, match="was not kept"):
            export_model(ModelExport(weights), tmp_path)
        assert list(tmp_path.iterdir()) == []
