"""The doctor: what it says of broken packages and machines, and that it outlives them."""

import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from broken_packages import FAILURES, environment_with, write_packages, write_records

from temporal_hmr import dependencies, doctor
from temporal_hmr.command_line import run_door
from temporal_hmr.dependencies import Requirement, requirements
from temporal_hmr.diagnosis import examination, probes
from temporal_hmr.diagnosis.findings import Finding, as_line, error, ok, verdict, warning
from temporal_hmr.diagnosis.packages import import_findings, module_of
from temporal_hmr.diagnosis.probing import ask
from temporal_hmr.diagnosis.remedies import remedy
from temporal_hmr.diagnosis.versions import version_findings

ROOT = Path(__file__).parents[1]


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


class TestAskingAnotherProcess:
    @pytest.fixture
    def broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fakes = write_packages(tmp_path / "fakes", FAILURES)
        monkeypatch.setenv("PYTHONPATH", environment_with(fakes)["PYTHONPATH"])

    def test_whatever_happens_to_one_the_others_are_answered(self, broken: None) -> None:
        names = ["raises", "aborts", "json", "exits", "leaves", "prints", "forks", "numpy_1"]
        answers = {answer.item: answer for answer in ask("import", names)}
        assert list(answers) == names
        assert answers["raises"].failure.startswith("ImportError: libGL.so.1")
        assert answers["aborts"].failure == "crashed the process (SIGABRT)"
        assert answers["exits"].failure == "SystemExit: 3"
        assert answers["leaves"].failure == "ended the process with status 7"
        for name in ("json", "prints", "forks", "numpy_1"):
            assert answers[name].went_well, name
        assert "json" in answers["json"].value["file"]

    def test_what_is_printed_meanwhile_belongs_to_its_package(self, broken: None) -> None:
        answers = list(ask("import", ["numpy_1", "json", "prints"]))
        assert "compiled using NumPy 1.x" in answers[0].said
        assert answers[1].said == ""
        assert "hello" in answers[2].said

    def test_one_that_hangs_is_given_up(self, broken: None) -> None:
        begun = time.monotonic()
        hanging, json_ = ask("import", ["hangs", "json"], patience=2.0)
        assert hanging.failure == "no answer in 2 s"
        assert json_.went_well
        assert time.monotonic() - begun < 20

    def test_an_answer_may_be_long(self, broken: None, tmp_path: Path) -> None:
        long = "x" * 300_000
        (answer,) = ask("import", [long])
        assert answer.failure.startswith("ModuleNotFoundError")

    def test_nothing_is_asked_of_nobody(self) -> None:
        assert list(ask("import", [])) == []


class TestImports:
    def findings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **fakes: str) -> list:
        folder = write_packages(tmp_path / "fakes", fakes)
        monkeypatch.setenv("PYTHONPATH", environment_with(folder)["PYTHONPATH"])
        wanted = [Requirement(name, ">=1", "") for name in fakes]
        return list(import_findings(wanted))

    def test_a_crash_and_a_missing_library(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self.findings(
            tmp_path, monkeypatch, decord="import os; os.abort()", cv2=FAILURES["raises"], einops=""
        )
        assert levels(found) == ["error", "error", "ok"]
        assert found[0].details["package"] == "decord"
        assert "decord does not import (crashed the process (SIGABRT))" in found[0].message
        assert "pip install --force-reinstall --no-cache-dir 'decord>=1'" in found[0].message
        assert "apt-get install libgl1" in found[1].message
        assert found[2].details["packages"] == ["einops"]

    def test_what_track_does_without_is_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (found,) = self.findings(tmp_path, monkeypatch, smplx="import nowhere_to_be_found")
        assert found.level == "warning"
        assert "without which bodies cannot be handed to the smplx package" in found.message

    def test_a_package_that_is_not_there(self) -> None:
        (found,) = import_findings([Requirement("nowhere-to-be-found", ">=3", "")])
        assert found.message == (
            "nowhere-to-be-found is not installed: run `pip install 'nowhere-to-be-found>=3'`"
        )

    def test_numpy_1_packages_beside_numpy_2(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (found,) = self.findings(tmp_path, monkeypatch, scipy_like=FAILURES["numpy_1"])
        assert found.level == "warning"
        assert "built for another major version of numpy" in found.message

    def test_a_torch_of_numpy_1_imports_and_still_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch = (
            "class _T:\n    def numpy(self): raise RuntimeError('Numpy is not available')\n"
            "def zeros(n): return _T()"
        )
        (found,) = self.findings(tmp_path, monkeypatch, torch=torch)
        assert found.level == "error"
        assert "built for another major version of numpy" in found.message

    def test_a_file_of_the_users_in_the_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "einops.py").write_text("")
        monkeypatch.chdir(tmp_path)
        (found,) = import_findings([Requirement("einops", ">=1", "")])
        assert found.level == "warning"
        assert f"{tmp_path}/einops.py stands in the way of the package einops" in found.message

    @pytest.mark.parametrize(
        ("failure", "said", "help_"),
        [
            ("ImportError: numpy.core.multiarray failed to import", "", "another major version"),
            ("TypeError: Descriptors cannot be created directly.", "", "protobuf==3.20.3"),
            ("ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found", "", "older than"),
            ("OSError: libcudart.so.12: cannot open", "", "--force-reinstall torch"),
            ("ImportError: DLL load failed while importing cv2", "", "Visual C++"),
            ("crashed the process (SIGILL)", "", "processor lacks"),
            ("crashed the process (SIGKILL)", "", "want of memory"),
            ("crashed the process (SIGABRT)", "_ARRAY_API not found", "another major version"),
            ("ValueError: something new", "", "pip install --force-reinstall --no-cache-dir 'x>1'"),
        ],
    )
    def test_remedies(self, failure: str, said: str, help_: str) -> None:
        assert help_ in remedy("x>1", failure, said)


class TestVersions:
    @pytest.fixture
    def records(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder for records that come before the real ones."""
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    def test_the_packages_asked_for_are_those_of_pyproject(self) -> None:
        names = {each.name for each in requirements() if not each.extra}
        assert {"torch", "numpy", "opencv-contrib-python", "pillow"} <= names
        extras = {each.name: each.extra for each in requirements() if each.extra}
        assert extras["ray"] == "ray" and "temporal-hmr" not in extras

    def test_every_package_that_is_asked_for_can_be_imported_by_name(self) -> None:
        """A new dependency whose module is named otherwise must be told of."""
        for each in requirements():
            if not each.extra and dependencies.installed(each.name):
                top = module_of(each).split(".")[0]
                files = metadata.files(each.name) or []
                assert any(file.parts[0] in (top, f"{top}.py") for file in files), each.name

    def test_constraints_are_versions_that_will_do(self) -> None:
        tested = dependencies.tested_versions()
        for each in requirements():
            if each.name in tested:
                assert dependencies.satisfies(tested[each.name], each), each.name

    def test_too_old_is_an_error_of_an_extra_a_warning(self, records: Path) -> None:
        write_records(records, {"einops": "0.3", "ray": "1.0"})
        found = version_findings(
            [Requirement("einops", ">=0.7", ""), Requirement("ray", ">=2.9", "ray")]
        )
        assert levels(found)[:2] == ["error", "warning"]
        assert found[0].message == (
            "einops 0.3 is installed, >=0.7 is needed: run `pip install 'einops>=0.7'`"
        )
        assert found[0].details["package"] == "einops"

    def test_several_opencvs(self, records: Path) -> None:
        write_records(records, {"opencv-python": "4.11.0.86", "opencv-contrib-python": "5.0.0.93"})
        found = version_findings([Requirement("numpy", "", "")])
        (clash,) = [each for each in found if "several OpenCVs" in each.message]
        assert clash.level == "warning"
        assert "pip uninstall -y opencv-contrib-python opencv-python`" in clash.message

    def test_torchvision_of_another_torch(self, records: Path) -> None:
        write_records(records, {"torchvision": "0.15.0"}, "torch==2.0.0")
        found = version_findings([Requirement("numpy", "", "")])
        (clash,) = [each for each in found if "torchvision" in each.message]
        assert clash.level == "warning"
        assert "torchvision 0.15.0 is for torch==2.0.0, not 2." in clash.message

    def test_torchvision_of_this_torch_is_well(self, records: Path) -> None:
        torch = metadata.version("torch").split("+")[0]
        write_records(records, {"torchvision": "9.9"}, f"torch=={torch}")
        found = version_findings([Requirement("numpy", "", "")])
        assert not any("torchvision" in each.message for each in found)

    def test_other_versions_than_tested_are_told(
        self, records: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_records(records, {"einops": "9.9"})
        found = version_findings([Requirement("einops", ">=0.7", "")])
        assert found[0].level == "ok"
        assert "otherwise than tested: einops 9.9 (0.8." in found[0].message

    def test_an_extra_is_named_with_its_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = dependencies.installation("train")
        assert told == "run `pip install 'tensorboard>=2.14'` (the extra [train] of temporal-hmr)"
        assert all(name in dependencies.installation("onnx") for name in ("onnxruntime", "dtypes"))
        monkeypatch.setattr(dependencies, "packaging_requirements", lambda: None)
        assert "`pip install 'temporal-hmr[train]'`" in dependencies.installation("train")

    def test_without_packaging_versions_are_left_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dependencies, "packaging_requirements", lambda: None)
        (found,) = version_findings(requirements())
        assert found.level == "warning" and "pip install packaging" in found.message


class TestDoor:
    def leave(self, *words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            run_door(lambda: doctor.main(list(words)))
        assert isinstance(ended.value.code, int)
        return ended.value.code

    @pytest.fixture
    def found(self, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
        findings = [ok("python", "3.11"), ok("memory", "9 GB free")]
        monkeypatch.setattr(doctor, "examine", lambda what: iter(findings))
        return findings

    def test_all_well(self, found: list[Finding], capsys: pytest.CaptureFixture) -> None:
        assert self.leave() == 0
        shown = capsys.readouterr()
        assert shown.out.splitlines() == [
            "ok       python     3.11",
            "ok       memory     9 GB free",
            "",
            "all is well",
        ]

    def test_a_warning_does_not_stop_anybody(
        self, found: list[Finding], capsys: pytest.CaptureFixture
    ) -> None:
        found.append(warning("gpu", "close what else uses it"))
        assert self.leave() == 0
        assert capsys.readouterr().out.endswith("\nusable: 1 warning\n")

    def test_an_error_is_status_2_and_one_line(
        self, found: list[Finding], capsys: pytest.CaptureFixture
    ) -> None:
        found.append(error("imports", "torch does not import: do this", package="torch"))
        assert self.leave() == 2
        shown = capsys.readouterr()
        assert "error    imports    torch does not import: do this" in shown.out
        assert shown.err.startswith("error: 1 error above, the first of imports")
        assert shown.err.count("\n") == 1

    def test_json_is_all_that_is_printed(
        self, found: list[Finding], capsys: pytest.CaptureFixture
    ) -> None:
        found.append(error("imports", "torch", package="torch"))
        assert self.leave("--json") == 2
        told = json.loads(capsys.readouterr().out)
        assert told["verdict"] == "error"
        assert told["findings"][2]["details"] == {"package": "torch"}

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["nowhere"], "there is nothing at nowhere"),
            (["--device", "tpu"], "--device takes auto, cpu or cuda, not 'tpu'"),
            (["--rnu"], "unknown option --rnu; did you mean --run?"),
        ],
    )
    def test_mistakes(self, words: list[str], line: str, capsys: pytest.CaptureFixture) -> None:
        assert self.leave(*words) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1 and line in shown.err

    def test_lines_fit_the_terminal(self) -> None:
        line = as_line(warning("gpu", "word " * 60), 80)
        assert max(map(len, line.splitlines())) <= 80
        assert as_line(warning("gpu", "two\nlines"), None) == "warning  gpu        two lines"

    def test_with_everything_broken_it_still_tells_what_to_do(self, tmp_path: Path) -> None:
        """Each in another way; nothing that stands on them is tried."""
        modules = {module_of(each).split(".")[0] for each in requirements()}
        fakes = dict.fromkeys(modules - {"pytest"}, FAILURES["raises"])
        fakes |= {
            "torch": FAILURES["aborts"],
            "cv2": FAILURES["exits"],
            "numpy": FAILURES["leaves"],
        }
        folder = write_packages(tmp_path / "fakes", fakes | {"packaging": "raise ImportError"})
        ended = subprocess.run(
            [sys.executable, "-m", "temporal_hmr.doctor", "--json"],
            env=environment_with(folder),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
        findings = [Finding(**finding) for finding in json.loads(ended.stdout)["findings"]]
        assert verdict(findings) == "error"
        broken = {finding.details["package"] for finding in findings if finding.area == "imports"}
        assert {"torch", "numpy", "decord", "mediapipe", "opencv-contrib-python"} <= broken
        (left,) = [finding for finding in findings if finding.area == "parts"]
        assert left.details["parts"] == [*probes.PARTS, "gpu"]

    def test_parts_are_tried_only_on_what_imports(self) -> None:
        what = examination.Examination()
        broken = {"torch", "opencv-contrib-python", "decord"}
        (left,) = examination._parts(what, broken)
        assert "for want of decord, opencv-contrib-python, torch" in left.message


@pytest.mark.slow
def test_the_whole_examination_here() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "temporal_hmr.doctor", "--run"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "ok       chain      two seconds of video tracked" in ended.stdout
