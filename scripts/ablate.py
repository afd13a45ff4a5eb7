"""Train the rows of an ablation, each on the same data and budget, and lay them out as a table.

    python scripts/ablate.py configs/ablations/evidence.yaml --data CLIPS --held-out CLEAR OCCLUDED

A table is a YAML file: `base` is a configuration of the `train` door, `rows` names each row's
changes to it. What else is given is passed on to that door, `--rotations` to rows whose head asks
for it. A row that was finished is not trained again; one that was interrupted continues. Rows are
shown once they are finished.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.configuration import Config, load_config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.training.run import TrainingConfig

Settings = dict[str, Any]


class Table(Config):
    """What is compared."""

    about: str
    """What the table shows, for its heading."""
    base: Settings
    rows: dict[str, Settings] = Field(min_length=1)
    figures: tuple[str, ...] = ("mpjpe", "pa_mpjpe")
    """Shown of each held-out set, as the door's last evaluation names them."""


@dataclass(frozen=True)
class Run:
    """One row's training."""

    name: str
    folder: Path
    settings: Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, then write `table.md` and `table.json`; raises `InputError` for what cannot be."""
    parser = DoorParser("ablate.py", "Train the rows of an ablation and compare them.")
    parser.add_argument("table", type=Path, metavar="TABLE", help="YAML, see configs/ablations/")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="(runs/ablations/NAME)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="rows at once (1)")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows (all)")
    parser.add_argument("--rotations", metavar="FILE", help="a trained rotation tokenizer")
    options, passed_on = parser.parse_known_args(arguments)
    table = load_config(options.table, Table)
    folder = options.output or Path("runs/ablations") / options.table.stem
    runs = [
        Run(name, folder / name.replace(" ", "_"), merged(table.base, changes))
        for name, changes in table.rows.items()
    ]
    for run in runs:
        parse_config(run.settings, TrainingConfig, f"{options.table}: row {run.name}")
    if unknown := set(options.rows or ()) - set(table.rows):
        raise InputError(f"{options.table} has no row {min(unknown)}")
    wanted = [run for run in runs if options.rows is None or run.name in options.rows]
    with ThreadPoolExecutor(options.jobs) as pool:
        told = [words_for(run, passed_on, options.rotations) for run in wanted]
        for run, problem in zip(wanted, pool.map(train, wanted, told), strict=True):
            if problem:
                raise InputError(f"row {run.name}: {problem}")
    figures = {run.name: found for run in runs if (found := evaluation(run)) is not None}
    text = laid_out(table, figures)
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(text)


def merged(base: Settings, changes: Settings) -> Settings:
    """The base with a row's changes; a group that names another `kind` replaces the whole group."""
    result = dict(base)
    for name, value in changes.items():
        old = base.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            result[name] = merged(old, value) if same else value
        else:
            result[name] = value
    return result


def words_for(run: Run, passed_on: Sequence[str], rotations: str | None) -> list[str]:
    """Arguments of the door for one row."""
    kind = run.settings.get("model", {}).get("head", {}).get("kind")
    asks = rotations is not None and kind in ("tokens", "tokenhmr")
    return [*passed_on, *(["--rotations", str(rotations)] if asks else [])]


def train(run: Run, passed_on: Sequence[str]) -> str:
    """Run the door in a process of its own, one thread each; the error's last line, or ''."""
    config, words = run.folder / "settings.yaml", run.folder / "arguments.json"
    told = {config: yaml.safe_dump(run.settings, sort_keys=False), words: json.dumps(passed_on)}
    for path, text in told.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            return f"{run.folder} was trained with another {path.name}: remove it first"
    if finished(run):
        return ""
    run.folder.mkdir(parents=True, exist_ok=True)
    for path, text in told.items():
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "temporal_hmr.train", str(config), "-o", str(run.folder)]
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    done = subprocess.run(
        [*command, *passed_on],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["failed"])[-1].removeprefix("error: ")


def finished(run: Run) -> bool:
    """Whether the row has been trained to its end."""
    return (run.folder / "model.safetensors").exists()


def evaluation(run: Run) -> dict[str, float] | None:
    """What the last lesson's last evaluation said; None of a row that is not finished."""
    if not finished(run):
        return None
    for lesson in ("motion", "frames"):
        log = run.folder / lesson / "log.jsonl"
        if not log.exists():
            continue
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found = [row["evaluation"] for row in rows if "evaluation" in row]
        if found:
            return found[-1]
    return None


def laid_out(table: Table, rows: Mapping[str, Mapping[str, float]]) -> str:
    """The table in Markdown; figures are the door's."""
    ends = re.compile(rf"(?<!_pa)_({'|'.join(table.figures)})$")
    names = [name for name in next(iter(rows.values()), {}) if ends.search(name)]
    lines = [f"{table.about}\n", "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, figures in rows.items():
        cells = " | ".join(f"{figures.get(name, float('nan')):.1f}" for name in names)
        lines.append(f"| {row} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_door(main)
