"""Manners that all doors share: options, one-line errors and warnings, progress."""

import argparse
import difflib
import gc
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from temporal_hmr.errors import InputError
from temporal_hmr.native_output import HeardStandardError

Item = TypeVar("Item")

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Polite requests to end (a job scheduler's, a closed terminal's) beside Ctrl-C."""
_OBJECTS = 10_000
"""New ones until Python looks for garbage among them, 700 otherwise."""


class DoorParser(argparse.ArgumentParser):
    """An argument parser that takes dashes and underscores alike and errs in one line.

    An unknown option is answered with the nearest one that exists. Nothing is abbreviated, so that
    a new option never changes what an old command meant.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """Parse; exits with status 2 and one line on anything that does not fit."""
        words = sys.argv[1:] if args is None else list(args)
        end = words.index("--") if "--" in words else len(words)
        words = [with_dashes(word) for word in words[:end]] + words[end:]
        parsed, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown[0])
        return parsed

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line, without repeating the usage."""
        self.exit(EXIT_INPUT_ERROR, f"error: {message} (see {self.prog} --help)\n")

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"one argument too many: {word!r}")
        option = word.split("=", 1)[0]
        if option in self._option_string_actions:
            self.error(f"{option} stands behind --, where no option counts: put it before")
        if os.path.lexists(word):
            self.error(f"unknown option {option}; to name the file, write ./{word}")
        near = nearest(option, self._option_string_actions)
        self.error(f"unknown option {option}" + (f"; did you mean {near}?" if near else ""))


def with_dashes(word: str) -> str:
    """`--output_dir=a_b` as `--output-dir=a_b`; anything that is not a long option untouched."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, None if none resembles it."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def run_door(main: Callable[[], object]) -> NoReturn:
    """Run a door and leave the process with its status.

    0 when all went well; 2 and one line `error: ...` for an `InputError`; 130 for Ctrl-C and one
    line that tells what is kept, where the `KeyboardInterrupt` carries a message saying so; the
    same with 143 and 129 for SIGTERM and SIGHUP, so that nothing half-written stays behind. A
    reader that closed the pipe is not an error.
    """
    with plain_warnings(), _seldom_collected(), _endings_interrupt() as received:
        try:
            main()
            print(end="", flush=True)  # unlike `sys.stdout.flush`, well without a standard output
        except InputError as error:
            _say(f"error: {' '.join(str(error).split())}")
            sys.exit(EXIT_INPUT_ERROR)
        except KeyboardInterrupt as interrupt:
            _forget_interrupt()
            _say(f"interrupted: {str(interrupt) or 'nothing was written'}")
            sys.exit(received[0] + 128 if received else EXIT_INTERRUPTED)
        except BrokenPipeError:
            # Python would complain again when it flushes the closed pipe at exit.
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _forget_interrupt() -> None:
    """Keep Python from ending itself by SIGINT, in place of with the door's status.

    Run by `python -m` it does so at its very end if code made from text was interrupted last, such
    as that of a dataclass in a module which is just being imported. Any that runs well makes it
    forget.
    """
    exec("")


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Python looks for cycles of garbage less often meanwhile.

    Importing torch and mediapipe makes so many objects that stay that it takes a sixth of the time
    to look at them again and again.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _endings_interrupt() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP interrupt like Ctrl-C meanwhile; yields the list of those received."""
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    # A signal that is ignored already stays so: `nohup` counts on it.
    heeded = [ending for ending in _ENDINGS if signal.getsignal(ending) is signal.SIG_DFL]
    previous = {ending: signal.signal(ending, interrupt) for ending in heeded}
    try:
        yield received
    finally:
        for ending, handler in previous.items():
            signal.signal(ending, handler)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show what the package logs as one line `warning: ...` each.

    What libraries warn programmers of (deprecations and the like) is no use at a door.
    """
    handler = logging.StreamHandler(HeardStandardError())
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("temporal_hmr")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"


def counted(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`, `0 people`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {'people' if noun == 'person' else noun + 's'}"


class Stage:
    """One named piece of work that tells how far it is: a bar on a terminal, else one line."""

    def __init__(self, name: str, shown: bool = True) -> None:
        """A stage that is not `shown` stays silent, as befits a library."""
        self.name = name
        self._on_terminal = shown and sys.stderr is not None and sys.stderr.isatty()
        self._in_lines = shown and not self._on_terminal

    def track(
        self, items: Iterable[Item], total: int | None = None, unit: str = "frame"
    ) -> Iterator[Item]:
        """Pass the items through, reporting on standard error."""
        begun = time.monotonic()
        count = 0
        for item in self._with_bar(items, total, unit):
            yield item
            count += 1
        if self._in_lines:
            seconds = time.monotonic() - begun
            _say(f"{self.name}: {counted(count, unit)} in {seconds:.1f} s")

    def _with_bar(self, items: Iterable[Item], total: int | None, unit: str) -> Iterable[Item]:
        if not self._on_terminal:
            return items
        from tqdm import tqdm

        told = {"desc": self.name, "total": total, "unit": unit, "dynamic_ncols": True}
        return tqdm(items, file=HeardStandardError(), **told)


def _say(line: str) -> None:
    HeardStandardError().write(f"{line}\n")
