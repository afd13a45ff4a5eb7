"""Bodies and regressors that users bring are found, and missed by name."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from body_files import made_up_body

from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies


def write(folder: Path, *names: str, vertices: int = 60, joints: int = 24) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        arrays = made_up_body(vertices, joints) | {"regressor_coco_feet": np.eye(23, vertices)}
        if name.endswith(".npz"):
            np.savez(folder / name, **arrays)
        else:
            (folder / name).write_bytes(pickle.dumps(arrays, 2))


@pytest.mark.parametrize(
    ("file", "gender"),
    [
        ("SMPL_NEUTRAL.npz", "neutral"),
        ("SMPL_MALE.npz", "male"),
        ("SMPL_FEMALE.npz", "female"),
        ("basicModel_f_lbs_10_207_0_v1.0.0.npz", "female"),
        ("basicmodel_m_lbs_10_207_0_v1.1.0.npz", "male"),
        ("basicModel_neutral_lbs_10_207_0_v1.0.0.npz", "neutral"),
    ],
)
def test_names_in_use(file: str, gender: str, tmp_path: Path) -> None:
    write(tmp_path / "smpl", file)
    assert Bodies(tmp_path).of(gender).name == Path(file).stem
    others = {"neutral", "male", "female"} - {gender}
    for other in others:
        with pytest.raises(InputError, match=f"no {other} SMPL body in .*--smpl"):
            Bodies(tmp_path).of(other)


def test_other_bodies_of_the_family_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "SMPLX_MALE.npz", "SMPLH_male.npz")
    with pytest.raises(InputError, match="no male SMPL body"):
        Bodies(tmp_path).of("male")


def test_bodies_of_other_joints_are_passed_over(tmp_path: Path) -> None:
    """As in smplx's folder of models, where FLAME's come first."""
    write(tmp_path / "flame", "FLAME_MALE.npz", joints=5)
    with pytest.raises(InputError, match="5 joints, as FLAME has"):
        Bodies(tmp_path).of("male")
    write(tmp_path / "smpl", "SMPL_MALE.npz")
    assert Bodies(tmp_path).of("male").name == "SMPL_MALE"


def test_a_broken_body_yields_to_a_whole_one_and_is_told(tmp_path: Path, caplog) -> None:
    write(tmp_path, "SMPL_MALE.npz", "basicmodel_m_lbs.npz")
    (tmp_path / "SMPL_MALE.npz").write_bytes(b"cut off")
    with caplog.at_level(logging.WARNING):
        assert Bodies(tmp_path).of("male").name == "basicmodel_m_lbs"
    assert "SMPL_MALE.npz is damaged" in caplog.text


def test_hidden_companions_are_no_bodies(tmp_path: Path) -> None:
    write(tmp_path, "SMPL_MALE.npz")
    (tmp_path / "._SMPL_MALE.npz").write_bytes(b"Mac OS X")
    (tmp_path / "._SMPL_FEMALE.npz").write_bytes(b"Mac OS X")
    assert Bodies(tmp_path).of("male").name == "SMPL_MALE"
    with pytest.raises(InputError, match="no female SMPL body"):
        Bodies(tmp_path).of("female")


def test_the_environment_and_usual_folders(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMPL_DIR", raising=False)
    with pytest.raises(InputError, match="body_models"):
        Bodies().of("male")
    write(tmp_path / "body_models" / "smpl", "SMPL_MALE.npz")
    assert Bodies().of("male").name == "SMPL_MALE"
    write(tmp_path / "elsewhere", "basicmodel_m_lbs_10_207_0_v1.1.0.npz")
    monkeypatch.setenv("SMPL_DIR", str(tmp_path / "elsewhere"))
    assert Bodies().of("male").name.startswith("basicmodel_m")


def test_regressors(tmp_path: Path) -> None:
    write(tmp_path, "SMPL_NEUTRAL.npz")
    bodies = Bodies(tmp_path)
    with pytest.raises(InputError, match=r"needs J_regressor_h36m\.npy"):
        bodies.regressor("h36m", "neutral")
    np.save(tmp_path / "J_regressor_h36m.npy", np.ones((17, 50)))
    with pytest.raises(InputError, match="50 vertices, the neutral body has 60"):
        bodies.regressor("h36m", "neutral")
    np.save(tmp_path / "J_regressor_h36m.npy", np.ones((16, 60)))
    with pytest.raises(InputError, match="no regressor of 17 joints"):
        bodies.regressor("h36m", "neutral")
    np.save(tmp_path / "J_regressor_h36m.npy", np.full((17, 60), 1 / 60))
    assert bodies.regressor("h36m", "neutral") is bodies.regressor("h36m", "neutral")
    (tmp_path / "SMPL_to_J19.pkl").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="SMPL_to_J19"):
        bodies.regressor("hmr2", "neutral")


def test_the_open_body_stands_for_all() -> None:
    bodies = Bodies(only_open=True)
    assert bodies.of("male") is bodies.of("neutral") and bodies.of("male").name == "open"
