"""Many videos tracked in one run: each told of as it ends, all of them written down at the end."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from temporal_hmr.command_line import counted
from temporal_hmr.errors import InputError
from temporal_hmr.many.attempts import Attempt, Cluster, attempts

SUMMARY = "summary.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracked:
    """What the folder of one video's results holds."""

    folder: Path
    people: int
    frames: int
    skipped: bool = False
    """Whether it was all there before."""

    def __str__(self) -> str:
        return f"{self.folder}: {counted(self.people, 'person')} in {counted(self.frames, 'frame')}"


@dataclass(frozen=True)
class Outcome:
    """What became of one of the sources, as `summary.json` tells it."""

    path: str
    status: str
    """done, skipped (finished before) or failed."""
    error: str | None
    people: int | None
    frames: int | None
    seconds: float | None
    """None if the process that worked on it died."""


def run_many(
    job: Callable[[Path], Tracked],
    sources: Sequence[Path],
    output_dir: Path,
    cluster: Cluster | None = None,
) -> None:
    """Try the job on every source, tell how each ends, and write `summary.json` to `output_dir`.

    Raises `InputError` if any failed, when all have ended; `KeyboardInterrupt` says how many are
    finished, and the summary is of those that were reached.
    """
    outcomes: dict[int, Outcome] = {}
    # A worker stands elsewhere.
    given = sources if cluster is None else [source.absolute() for source in sources]
    try:
        with closing(attempts(job, given, cluster)) as ended:
            for place, attempt in ended:
                outcomes[place] = _outcome(sources[place], attempt)
                _tell(f"{len(outcomes)} of {len(sources)}", outcomes[place], attempt.result)
    except KeyboardInterrupt:
        finished = sum(outcome.error is None for outcome in outcomes.values())
        raise KeyboardInterrupt(
            f"{finished} of {counted(len(sources), 'video')} finished in {output_dir}; the same "
            "command does the others"
        ) from None
    finally:
        if outcomes:
            in_order = [outcomes[place] for place in sorted(outcomes)]
            _summarize(in_order, len(sources), output_dir / SUMMARY)
    failed = sum(outcome.error is not None for outcome in outcomes.values())
    if failed:
        raise InputError(
            f"{failed} of {counted(len(sources), 'video')} failed; {output_dir / SUMMARY} says why"
        )


def _outcome(source: Path, attempt: Attempt[Tracked]) -> Outcome:
    seconds = None if attempt.seconds is None else round(attempt.seconds, 3)
    found = attempt.result
    if found is None:
        return Outcome(str(source), "failed", attempt.error, None, None, seconds)
    status = "skipped" if found.skipped else "done"
    return Outcome(str(source), status, None, found.people, found.frames, seconds)


def _tell(count: str, outcome: Outcome, found: Tracked | None) -> None:
    if outcome.error is None:
        before = ", finished before" if outcome.status == "skipped" else ""
        print(f"{count}: {found}{before}", flush=True)
    elif outcome.path in outcome.error:
        _log.error("%s: %s", count, outcome.error)
    else:
        _log.error("%s: %s: %s", count, outcome.path, outcome.error)


def _summarize(outcomes: Sequence[Outcome], total: int, path: Path) -> None:
    """Count what became of the sources, and write it down for each."""
    from temporal_hmr.output.npz import atomic_path

    count = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("done", "skipped", "failed")
    }
    count["not_reached"] = total - len(outcomes)
    contents = {**count, "sources": [asdict(outcome) for outcome in outcomes]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; choose another place with --output-dir"
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    print(
        f"{counted(total, 'video')}: {count['done']} done, {count['skipped']} skipped because "
        f"finished before, {count['failed']} failed; {path}"
    )
