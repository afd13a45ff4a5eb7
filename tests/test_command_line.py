"""What every door promises: one line for a mistake, the right status, help at once."""

import gc
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_hmr.command_line import DoorParser, Stage, counted, nearest, run_door, with_dashes
from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced

ROOT = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess:
    """`python -m temporal_hmr...` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )


def make_parser() -> DoorParser:
    parser = DoorParser("door", "A door.")
    parser.add_argument("source", nargs="?")
    parser.add_argument("-o", "--output-dir", default="outputs")
    parser.add_argument("--no-render", action="store_true")
    return parser


class TestParser:
    @pytest.mark.parametrize("option", ["--output-dir", "--output_dir"])
    @pytest.mark.parametrize("joined", [True, False])
    def test_dashes_and_underscores_are_alike(self, option: str, joined: bool) -> None:
        words = [f"{option}=a_b"] if joined else [option, "a_b"]
        assert make_parser().parse_args(words).output_dir == "a_b"

    def test_only_option_names_are_touched(self) -> None:
        assert [with_dashes(word) for word in ("my_clip.mp4", "-a_b", "--a_b=c_d")] == [
            "my_clip.mp4",
            "-a_b",
            "--a-b=c_d",
        ]

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--outptu-dir", "x"], "unknown option --outptu-dir; did you mean --output-dir?"),
            (["clip.mp4", "--no-rendr"], "unknown option --no-rendr; did you mean --no-render?"),
            (["--zzz=3"], "unknown option --zzz (see"),
            (["a.mp4", "b.mp4"], "one argument too many: 'b.mp4'"),
            (["--output-dir"], "expected one argument"),
            # Abbreviations would change their meaning with the next option that is added.
            (["--no-r"], "unknown option --no-r; did you mean --no-render?"),
        ],
    )
    def test_a_mistake_is_one_line_and_status_2(self, words, line, capsys) -> None:
        with pytest.raises(SystemExit) as exit_:
            make_parser().parse_args(words)
        shown = capsys.readouterr().err
        assert exit_.value.code == 2
        assert shown.startswith("error: ") and shown.count("\n") == 1
        assert line in shown

    def test_behind_two_dashes_nothing_is_an_option(self, capsys) -> None:
        assert make_parser().parse_args(["--no-render", "--", "--a_b.mp4"]).source == "--a_b.mp4"
        with pytest.raises(SystemExit):
            make_parser().parse_args(["--", "a.mp4", "--no-render"])
        assert "--no-render stands behind --" in capsys.readouterr().err

    def test_a_file_that_looks_like_an_option_gets_the_remedy(
        self, tmp_path, monkeypatch, capsys
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "-a.mp4").touch()
        with pytest.raises(SystemExit):
            make_parser().parse_args(["-a.mp4"])
        assert "to name the file, write ./-a.mp4" in capsys.readouterr().err

    def test_nearest_is_none_for_nothing_alike(self) -> None:
        assert nearest("trakc", ["track", "train"]) == "track"
        assert nearest("xyz", ["track", "train"]) is None


class TestRunDoor:
    def leave(self, main) -> int | str | None:
        with pytest.raises(SystemExit) as exit_:
            run_door(main)
        return exit_.value.code

    def test_success_is_0_and_silent(self, capsys) -> None:
        assert self.leave(lambda: None) == 0
        assert capsys.readouterr() == ("", "")

    def test_garbage_is_looked_for_as_before_when_it_ends(self) -> None:
        seen, before = [], gc.get_threshold()
        self.leave(lambda: seen.append(gc.get_threshold()))
        assert seen[0][0] > before[0] and seen[0][1:] == before[1:]
        assert gc.get_threshold() == before

    def test_input_error_is_one_line_without_traceback(self, capsys) -> None:
        def main() -> None:
            raise InputError("no video at\n  walk.mp4")

        assert self.leave(main) == 2
        assert capsys.readouterr().err == "error: no video at walk.mp4\n"

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            ((), "interrupted: nothing was written\n"),
            (("out is there",), "interrupted: out is there\n"),
        ],
    )
    def test_interrupt_tells_what_is_kept(self, said, shown, capsys) -> None:
        def main() -> None:
            raise KeyboardInterrupt(*said)

        assert self.leave(main) == 130
        assert capsys.readouterr().err == shown

    def test_our_own_mistakes_keep_their_traceback(self) -> None:
        with pytest.raises(ZeroDivisionError):
            run_door(lambda: 1 / 0)

    def test_warnings_of_ours_are_one_line_and_those_of_others_are_not_shown(self, capsys) -> None:
        import warnings

        def main() -> None:
            logging.getLogger("temporal_hmr.video").warning("%s breaks\noff", "walk.mp4")
            warnings.warn("deprecated", UserWarning, stacklevel=1)

        assert self.leave(main) == 0
        assert capsys.readouterr().err == "warning: walk.mp4 breaks off\n"
        assert not logging.getLogger("temporal_hmr").handlers

    @pytest.mark.parametrize(("ending", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
    def test_a_request_to_end_cleans_up_like_ctrl_c(self, ending, status) -> None:
        program = (
            "import time\n"
            "from temporal_hmr.command_line import run_door\n"
            "def main():\n"
            "    try:\n"
            "        print('ready', flush=True)\n"
            "        time.sleep(60)\n"
            "    finally:\n"
            "        print('cleaned')\n"
            "run_door(main)"
        )
        # Whoever runs the tests under nohup has them ignore SIGHUP, and their children too.
        program = f"import signal\nsignal.signal(signal.{ending}, signal.SIG_DFL)\n" + program
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(getattr(signal, ending))
            out, err = process.communicate(timeout=30)
        assert (out, err) == ("cleaned\n", "interrupted: nothing was written\n")
        assert process.returncode == status

    def test_an_interrupt_while_a_dataclass_is_made_has_the_same_status(self, tmp_path) -> None:
        (tmp_path / "door.py").write_text(
            "from temporal_hmr.command_line import run_door\n"
            "run_door(lambda: exec('raise KeyboardInterrupt'))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
        done = subprocess.run(
            [sys.executable, "-m", "door"], capture_output=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (130, b"interrupted: nothing was written\n")

    def test_signals_are_as_before_afterwards(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        self.leave(lambda: None)
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_process_without_standard_streams_is_well(self, monkeypatch) -> None:
        def main() -> None:
            assert list(Stage("drawing").track("ab")) == ["a", "b"]
            with silenced():
                print("done")

        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", None)
        assert self.leave(main) == 0

    def test_a_closed_pipe_is_no_error(self) -> None:
        program = (
            "from temporal_hmr.command_line import run_door\n"
            "run_door(lambda: [print('line') for _ in range(100000)])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


class TestStage:
    def test_items_pass_and_one_line_tells_how_many(self, capsys) -> None:
        assert list(Stage("drawing").track(range(3))) == [0, 1, 2]
        shown = capsys.readouterr().err
        assert shown.startswith("drawing: 3 frames in ") and shown.count("\n") == 1

    def test_a_stage_not_shown_is_silent(self, capsys) -> None:
        assert list(Stage("drawing", shown=False).track("ab")) == ["a", "b"]
        assert capsys.readouterr().err == ""

    def test_counted(self) -> None:
        assert [counted(n, "person") for n in (0, 1, 2)] == ["0 people", "1 person", "2 people"]


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class TestDoors:
    def test_help_is_quick_and_names_the_options(self) -> None:
        begun = _seconds_of_children()
        helped = run("temporal_hmr.track", "--help")
        # A tenth of a second of CPU, however busy the machine; torch alone takes longer.
        assert _seconds_of_children() - begun < 1
        assert helped.returncode == 0
        for option in ("SOURCE", "--output-dir", "--body", "--person", "--no-render", "--sample"):
            assert option in helped.stdout

    def test_doors_by_name(self) -> None:
        listed = run("temporal_hmr", "--help")
        assert listed.returncode == 0 and "track" in listed.stdout
        through = run("temporal_hmr", "track", "--help")
        assert through.returncode == 0 and "--sample" in through.stdout
        wrong = run("temporal_hmr", "trakc")
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert wrong.stderr == "error: there is no door 'trakc'; did you mean track?\n"
