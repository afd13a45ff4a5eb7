"""Body files told by their content, whatever their names say, and made plain."""

import json
import pickle
import shutil
import sys
import types
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import Arrays, Malice, made_up_body, node, write_python2
from scipy import sparse

from temporal_hmr.body.load import SMPL_LANDMARKS, load_body
from temporal_hmr.diagnosis import bodies, child
from temporal_hmr.diagnosis.bodies import body_findings
from temporal_hmr.diagnosis.body_conversion import convert
from temporal_hmr.diagnosis.body_files import PELVIS_AT_REST, identify
from temporal_hmr.diagnosis.file_kinds import file_kind
from temporal_hmr.diagnosis.findings import Finding
from temporal_hmr.diagnosis.probing import Answer
from temporal_hmr.errors import InputError

SMPL_KEYS = ("v_template", "f", "weights", "J_regressor", "kintree_table", "shapedirs", "posedirs")
PLACES = {
    "nose": (0, 0.5, 0.1),
    "left_eye": (0.03, 0.53, 0.08),
    "left_ear": (0.07, 0.5, 0.0),
    "left_heel": (0.1, -1.2, -0.05),
}
"""Metres, in the zero pose."""


def smpl_arrays(pelvis: tuple[float, float, float]) -> Arrays:
    """No body, but with landmarks, height and pelvis where SMPL's are."""
    arrays = made_up_body(6890)
    template = np.clip(arrays["v_template"] * 0.2, -0.5, 0.4)
    for name, place in PLACES.items():
        template[SMPL_LANDMARKS[name]] = place
        if name != "nose":
            mirrored = SMPL_LANDMARKS[name.replace("left", "right")]
            template[mirrored] = np.multiply(place, (-1, 1, 1))
    regressor = arrays["J_regressor"]
    regressor[0] = 0
    regressor[0, 1] = 1
    template[1] = pelvis
    shapedirs = arrays["shapedirs"][..., :10]
    return {
        **arrays,
        "v_template": template,
        "shapedirs": shapedirs,
        "posedirs": arrays["posedirs"].astype(np.float32),
    }


@pytest.fixture(scope="module")
def male() -> Arrays:
    return smpl_arrays(PELVIS_AT_REST["male"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, male: Arrays) -> Path:
    """Male SMPL in Python 2's pickle with chumpy's types, and in an npz of the newer release."""
    place = tmp_path_factory.mktemp("body_models")
    with chumpy_classes() as chumpy:
        contents = male | {
            "v_template": node(chumpy.Ch, x=male["v_template"]),
            "shapedirs": node(chumpy.Ch, x=male["shapedirs"]),
            "J_regressor": sparse.csc_matrix(male["J_regressor"]),
            "bs_type": "lrotmin",
        }
        write_python2(contents, place / "basicmodel_m_lbs_10_207_0_v1.0.0.pkl")
    return place


class chumpy_classes:
    """Classes that pickle as chumpy's do, while the context lasts."""

    def __enter__(self) -> types.SimpleNamespace:
        self._names = ("chumpy", "chumpy.ch")
        for name in self._names:
            sys.modules[name] = types.ModuleType(name)
        kind = type("Ch", (), {"__module__": "chumpy.ch"})
        sys.modules["chumpy.ch"].Ch = kind  # type: ignore[attr-defined]
        return types.SimpleNamespace(Ch=kind)

    def __exit__(self, *_) -> None:
        for name in self._names:
            del sys.modules[name]


@pytest.fixture(scope="module")
def old(folder: Path) -> Path:
    return folder / "basicmodel_m_lbs_10_207_0_v1.0.0.pkl"


def here(probe: str, items: list[str], patience: float = 0) -> Iterator[Answer]:
    """As `ask`, in this process: quick, for files that do not crash it."""
    for item in items:
        try:
            yield Answer(item, {"identify": identify, "convert": convert}[probe](item))
        except InputError as failure:
            yield Answer(item, failure=f"InputError: {failure}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ask", here)


def told(place: Path, asked_for: bool = True, out: Path | None = None) -> list[Finding]:
    return list(body_findings([place], asked_for, out))


class TestSmpl:
    def test_an_old_pickle_of_chumpy(self, old: Path) -> None:
        found = identify(str(old))
        assert (found["family"], found["version"], found["shapes"]) == ("SMPL", "1.0.0", 10)
        assert (found["gender"], found["gender_sure"]) == ("male", True)
        assert found["chumpy"] and not found["fault"] and not found["hostile"]

    def test_the_newer_release_has_more_shapes(self, tmp_path: Path, male: Arrays) -> None:
        path = tmp_path / "SMPL_MALE.npz"
        arrays = male | {"shapedirs": np.zeros((6890, 3, 300), np.float32)}
        np.savez(path, allow_pickle=False, **arrays)
        found = identify(str(path))
        assert (found["family"], found["version"], found["shapes"]) == ("SMPL", "1.1.0", 300)
        assert (found["kind"], found["chumpy"], found["fault"]) == ("npz", False, "")

    @pytest.mark.parametrize(
        ("offset", "stated", "gender", "sure"),
        [
            (0.0005, None, "male", True),
            (0.003, None, "male", False),
            (0.02, None, "", False),
            (0.02, "female", "female", True),
        ],
    )
    def test_how_sure_the_gender_is(
        self, offset: float, stated: str | None, gender: str, sure: bool, male: Arrays
    ) -> None:
        from temporal_hmr.diagnosis.body_files import _gender

        contents = {key: male[key] for key in ("v_template", "J_regressor")}
        contents["v_template"] = contents["v_template"] + (offset, 0, 0)
        if stated:
            contents["gender"] = np.array(stated)
        assert (_gender(contents)[0], _gender(contents)[2]) == (gender, sure)

    def test_every_gender_is_nearest_to_itself_by_far(self) -> None:
        places = np.array(list(PELVIS_AT_REST.values()))
        apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(3)
        assert apart.min() > 2 * 0.004

    def test_a_female_file_that_is_male(self, tmp_path: Path, old: Path, quick: None) -> None:
        shutil.copy(old, tmp_path / "SMPL_FEMALE.pkl")
        found, summary = told(tmp_path)
        assert found.level == "warning"
        assert "though its name says female: rename it SMPL_MALE.pkl" in found.message
        assert "1 SMPL file" in summary.message

    def test_a_pickle_named_npz_and_the_reverse(
        self, tmp_path: Path, old: Path, male: Arrays, quick: None
    ) -> None:
        shutil.copy(old, tmp_path / "SMPL_MALE.npz")
        np.savez(tmp_path / "other.npz", **male)
        (tmp_path / "other.npz").rename(tmp_path / "SMPL_OTHER.pkl")
        first, second, _ = told(tmp_path)
        assert "written as .pkl but named SMPL_MALE.npz: rename it SMPL_MALE.pkl" in first.message
        assert "written as .npz but named SMPL_OTHER.pkl" in second.message
        assert (first.level, second.level) == ("warning", "warning")

    def test_vertices_in_another_order(self, tmp_path: Path, male: Arrays) -> None:
        path = tmp_path / "SMPL_NEUTRAL.npz"
        np.savez(path, **(male | {"v_template": male["v_template"][::-1]}))
        found = identify(str(path))
        assert (found["family"], found["gender"]) == ("SMPL format", "")
        assert "not numbered as SMPL's" in found["fault"]

    def test_the_open_body_is_of_the_format(self) -> None:
        asset = Path(bodies.__file__).parents[1] / "assets" / "open_body.npz"
        found = identify(str(asset))
        assert (found["family"], found["shapes"], found["fault"]) == ("SMPL format", 10, "")


def headers(vertices: int, joints: int, pose_features: int, shapes: int) -> Arrays:
    return {
        "v_template": np.zeros((vertices, 3), np.float32),
        "weights": np.zeros((vertices, joints), np.float32),
        "posedirs": np.zeros((vertices, 3, pose_features), np.float16),
        "shapedirs": np.zeros((vertices, 3, shapes), np.float16),
        "f": np.zeros((4, 3), np.int64),
    }


class TestOthers:
    @pytest.mark.parametrize(
        ("family", "vertices", "joints", "pose_features"),
        [
            ("MANO", 778, 16, 135),
            ("FLAME", 5023, 5, 36),
            ("SMPL-H", 6890, 52, 459),
            ("SMPL-X", 10475, 55, 486),
            ("STAR", 6890, 24, 93),
        ],
    )
    def test_other_models_are_named(
        self, family: str, vertices: int, joints: int, pose_features: int, tmp_path: Path
    ) -> None:
        """In files that are named as if they were SMPL."""
        path = tmp_path / "SMPL_NEUTRAL.npz"
        np.savez_compressed(path, **headers(vertices, joints, pose_features, 10))
        found = identify(str(path))
        assert found["family"] == family
        assert found["fault"] == f"it is {family}, not SMPL, and cannot be used here"

    def test_motions_and_labels_are_no_bodies(self, tmp_path: Path, quick: None) -> None:
        np.savez(tmp_path / "walk_smpl.npz", poses=np.zeros((2, 72)), trans=np.zeros((2, 3)))
        np.savez(tmp_path / "run.npz", poses=np.zeros((2, 72)))
        (tmp_path / "labels.pkl").write_bytes(pickle.dumps({"bbox": [1, 2]}))
        (found,) = told(tmp_path)
        assert found.level == "warning"
        assert found.message.startswith(f"no SMPL file in {tmp_path}, 3 other files: none")


class TestBadFiles:
    @pytest.mark.parametrize("part", [0.2, 0.7, 0.999])
    @pytest.mark.parametrize("kind", ["pkl", "npz"])
    def test_cut_short(self, kind: str, part: float, tmp_path: Path) -> None:
        whole = tmp_path / f"SMPL_MALE.{kind}"
        arrays = headers(6890, 24, 207, 10)
        if kind == "pkl":
            whole.write_bytes(pickle.dumps(arrays))
        else:
            np.savez(whole, **arrays)
        raw = whole.read_bytes()
        whole.write_bytes(raw[: int(len(raw) * part)])
        found = identify(str(whole))
        assert "damaged" in found["fault"] and not found["hostile"] and not found["family"]

    def test_hostile_ones_are_told_apart_and_not_run(self, tmp_path: Path, quick: None) -> None:
        import os

        trap = tmp_path / "ran"
        file = tmp_path / "SMPL_NEUTRAL.pkl"
        file.write_bytes(pickle.dumps({"v_template": Malice(os.system, f"touch {trap}")}))
        found, _ = told(tmp_path)
        assert found.level == "error" and found.details["hostile"]
        assert "do not use it anywhere" in found.message and "refusing to run it" in found.message
        assert not trap.exists()

    def test_an_npz_of_pickled_objects_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "SMPL_MALE.npz"
        np.savez(path, v_template=np.array([None], object))
        assert "holds more than plain arrays" in identify(str(path))["fault"]

    @pytest.mark.parametrize(
        ("raw", "kind", "remedy"),
        [
            (b"", "empty", "download it again"),
            (b"\n <!DOCTYPE html><html>Sign in", "web page", "log in where SMPL is published"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer", "git lfs pull"),
            (b"\x1f\x8b\x08" + bytes(20), "gzip", "unpack it"),
            (b"\x00\x01\x02", "other", "no npz and no pickle"),
        ],
    )
    def test_what_is_downloaded_in_place_of_a_body(
        self, raw: bytes, kind: str, remedy: str, tmp_path: Path, quick: None
    ) -> None:
        path = tmp_path / "SMPL_NEUTRAL.pkl"
        path.write_bytes(raw)
        assert file_kind(path) == kind
        found, _ = told(tmp_path)
        assert found.level == "error" and remedy in found.message
        found, _ = told(tmp_path, asked_for=False)
        assert found.level == "warning"

    def test_an_archive_that_is_not_unpacked(self, tmp_path: Path) -> None:
        path = tmp_path / "SMPL_python_v.1.1.0.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl", b"")
        assert "unpack it" in identify(str(path))["fault"]

    def test_a_file_that_crashes_its_reader(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "SMPL_MALE.pkl").write_bytes(b"\x80")
        crashed = "crashed the process (SIGSEGV)"
        monkeypatch.setattr(
            bodies, "ask", lambda probe, items, _: (Answer(i, failure=crashed) for i in items)
        )
        found, _ = told(tmp_path)
        assert found.level == "error" and crashed in found.message


class TestConversion:
    def test_same_vertices_here_and_in_smplx(
        self, old: Path, male: Arrays, tmp_path: Path, quick: None
    ) -> None:
        out = tmp_path / "plain"
        findings = told(old, out=out)
        assert [finding.level for finding in findings] == ["ok", "ok", "ok"]
        done = findings[-1].details
        assert done["npz"] == str(out / "SMPL_MALE.npz")
        assert done["difference"] == 0
        assert isinstance(done["smplx_difference"], float) and done["smplx_difference"] < 1e-6
        with np.load(out / "SMPL_MALE.npz", allow_pickle=False) as arrays:
            assert set(arrays) == {*SMPL_KEYS, "meta", "gender"}
            assert str(arrays["gender"]) == "male"
            meta = json.loads(str(arrays["meta"]))
            for key in SMPL_KEYS:
                assert np.array_equal(arrays[key], male[key]), key
        body = load_body(out / "SMPL_MALE.npz", torch.float64)
        assert "belongs to its licensor" in body.licence and old.name in body.licence
        assert meta["converted_from"] == old.name
        plain = out / "for_smplx" / "smpl" / "SMPL_MALE.pkl"
        assert b"chumpy" not in plain.read_bytes() and b"scipy" not in plain.read_bytes()
        assert load_body(out.rename(tmp_path / "moved") / "SMPL_MALE.npz").name == "SMPL_MALE"

    def test_nothing_is_overwritten(self, old: Path, tmp_path: Path, quick: None) -> None:
        (tmp_path / "SMPL_MALE.npz").write_text("mine")
        done = told(old, out=tmp_path)[-1]
        assert done.level == "error" and "is there already: move it away" in done.message
        assert (tmp_path / "SMPL_MALE.npz").read_text() == "mine"
        assert [file.name for file in tmp_path.iterdir()] == ["SMPL_MALE.npz"]

    def test_two_of_a_gender_keep_their_own_names(self) -> None:
        taken: list[str] = []
        for name in ("a/basicmodel_m_v1.0.0.pkl", "a/basicmodel_m_v1.1.0.pkl"):
            taken.append(bodies._name(Answer(name, {"gender": "male"}), taken))
        assert taken == ["SMPL_MALE", "basicmodel_m_v1.1.0"]

    def test_copies_are_converted_once_in_whatever_format(
        self, old: Path, male: Arrays, tmp_path: Path, quick: None
    ) -> None:
        (tmp_path / "in" / "smpl").mkdir(parents=True)
        for name in ("SMPL_MALE.pkl", "copy.pkl"):
            shutil.copyfile(old, tmp_path / "in" / "smpl" / name)
        np.savez(tmp_path / "in" / "SMPL_MALE.npz", allow_pickle=False, **male)
        findings = told(tmp_path / "in", out=tmp_path / "out")
        assert [finding.level for finding in findings] == ["ok"] * 5

    def test_two_bodies_of_one_name_are_told_of(
        self, male: Arrays, tmp_path: Path, quick: None
    ) -> None:
        for place, size in (("a", 1.0), ("b", 1.01)):
            (tmp_path / place).mkdir()
            arrays = male | {"shapedirs": size * male["shapedirs"]}
            np.savez(tmp_path / place / "SMPL_MALE.npz", allow_pickle=False, **arrays)
        first, second = (str(tmp_path / place / "SMPL_MALE.npz") for place in "ab")
        *_, refused, done = told(tmp_path, out=tmp_path / "out")
        assert done.level == "ok" and done.details["source"] == first
        assert refused.level == "error" and refused.details["source"] == second
        assert f"{first} is another body, which becomes SMPL_MALE too" in refused.message

    def test_what_is_no_smpl_is_not_converted(self, tmp_path: Path, quick: None) -> None:
        np.savez_compressed(tmp_path / "MANO.npz", **headers(778, 16, 135, 10))
        *_, done = told(tmp_path, out=tmp_path / "out")
        assert done.level == "error" and "no SMPL file to convert" in done.message
        assert not (tmp_path / "out").exists()

    def test_a_change_on_the_way_is_noticed(
        self, old: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from temporal_hmr.diagnosis import body_conversion

        far = {"difference": 0.0, "smplx_difference": 2 * body_conversion.TOLERANCE}
        monkeypatch.setattr(body_conversion, "_differences", lambda *_: far)
        done = told(old, out=tmp_path)[-1]
        assert done.level == "error" and "comes out changed" in done.message
        assert not list(tmp_path.rglob("*.npz")) and not list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("probe", child.PROBES)
def test_the_other_process_finds_its_probes(probe: str) -> None:
    module, name = child.PROBES[probe].split(":")
    assert callable(getattr(import_module(f"temporal_hmr.diagnosis.{module}"), name))


@pytest.mark.slow
def test_in_a_process_of_its_own(old: Path) -> None:
    found, summary = told(old)
    assert found.level == "ok"
    assert found.message == f"{old}: SMPL 1.0.0, 10 shape coefficients, male"
    assert summary.message.startswith(f"1 SMPL file in {old}: track takes them with --body; 1 of")
