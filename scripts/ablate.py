"""Train the rows of an ablation, each on the same data and budget, and lay them out as a table.

    python scripts/ablate.py configs/ablations/evidence.yaml --data CLIPS --held-out CLEAR OCCLUDED

A table is a YAML file: `base` is a configuration of the `train` door, `rows` names each row's
changes to it. What is not a file of the table is passed on to that door. A row that was finished
is not trained again; one that was interrupted continues.
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
        for run, problem in pool.map(lambda run: (run, train(run, passed_on)), wanted):
            if problem:
                raise InputError(f"row {run.name}: {problem}")
    finished = {run.name: found for run in runs if (found := evaluation(run)) is not None}
    text = laid_out(table, finished)
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.json").write_text(json.dumps(finished, indent=1), encoding="utf-8")
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


def train(run: Run, passed_on: Sequence[str]) -> str:
    """Run the door in a process of its own, one thread each; the error's last line, or ''."""
    if (run.folder / "model.safetensors").exists():
        return ""
    run.folder.mkdir(parents=True, exist_ok=True)
    config = run.folder / "settings.yaml"
    config.write_text(yaml.safe_dump(run.settings, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "temporal_hmr.train", str(config), "-o", str(run.folder)]
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    done = subprocess.run(
        [*command, *passed_on],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
    )
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def evaluation(run: Run) -> dict[str, float] | None:
    """What the last lesson's last evaluation said; None before there was one."""
    for lesson in ("motion", "frames"):
        log = run.folder / lesson / "log.jsonl"
        if not log.exists():
            continue
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found = [row["evaluation"] for row in rows if "evaluation" in row]
        if found:
            return found[-1]
    return None


def laid_out(table: Table, finished: Mapping[str, Mapping[str, float]]) -> str:
    """The table in Markdown; figures are the door's."""
    ends = re.compile(rf"(?<!_pa)_({'|'.join(table.figures)})$")
    names = [name for name in next(iter(finished.values()), {}) if ends.search(name)]
    lines = [f"{table.about}\n", "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, figures in finished.items():
        cells = " | ".join(f"{figures.get(name, float('nan')):.1f}" for name in names)
        lines.append(f"| {row} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_door(main)
