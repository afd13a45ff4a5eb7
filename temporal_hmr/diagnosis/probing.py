"""Asking a process of its own, whose end by crash or sleep is an answer too."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

PATIENCE = 180.0
"""Seconds for one answer: the first import of a heavy package from a slow disk takes one minute."""
_SAID = "said.txt"


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one question."""

    item: str
    value: Any = None
    """What the probe returned, plain data; None if it failed."""
    failure: str = ""
    """The exception's type and message, or how the process ended; empty if all went well."""
    said: str = ""
    """What was written to standard error meanwhile."""

    @property
    def went_well(self) -> bool:
        return not self.failure


def ask(probe: str, items: Sequence[str], patience: float = PATIENCE) -> Iterator[Answer]:
    """One answer for each item, in order, from `child.PROBES[probe]` in a process of its own.

    The items share one process; if one of them ends it, the others get another.
    """
    left = list(items)
    while left:
        for answer in _conversation(probe, left, patience):
            yield answer
            left = left[1:]


def _conversation(probe: str, items: Sequence[str], patience: float) -> Iterator[Answer]:
    """Answers up to the first item that ends the process; that one's answer says so."""
    with tempfile.TemporaryDirectory() as place, _process(probe, items, Path(place)) as process:
        assert process.stdout is not None
        with (Path(place) / _SAID).open("rb") as said:
            for item in items:
                overdue = Timer(patience, process.kill)
                overdue.start()
                line = process.stdout.readline()
                was_overdue = overdue.finished.is_set()
                overdue.cancel()
                reply = _reply(line)
                if reply is None:
                    status = process.wait()
                    ending = f"no answer in {patience:g} s" if was_overdue else _ending(status)
                    yield Answer(item, failure=ending, said=_text(said.read()))
                    return
                value, failure = reply.get("value"), reply.get("failure", "")
                # By now it may be at the next item, and what it says there is of that one.
                heard = said.read(reply["said_until"] - said.tell())
                yield Answer(item, value, failure, _text(heard))


@contextmanager
def _process(probe: str, items: Sequence[str], place: Path) -> Iterator[subprocess.Popen[str]]:
    """It is gone when the context is left, whichever way."""
    questions = place / "items.json"
    questions.write_text(json.dumps(list(items)), encoding="utf-8")
    with (place / _SAID).open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "temporal_hmr.diagnosis.child", probe, str(questions)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _reply(line: str) -> dict[str, Any] | None:
    """None if the process ended in place of a reply, or in the middle of it."""
    try:
        reply = json.loads(line)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) else None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended the process with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"crashed the process ({name})"
