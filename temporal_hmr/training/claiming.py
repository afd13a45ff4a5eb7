"""What a run folder notes of its run (`config.json`), and which configuration may go on with it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from temporal_hmr.command_line import counted
from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.training.checkpoints import LAST, replace_text, steps_done
from temporal_hmr.training.distributed import is_first, wait_for_all
from temporal_hmr.training.loop import make_folder

FOLDERS = {
    "training": "",
    "tokenizer_training": "tokenizer",
    "reading_training": "readings",
    "context_training": "context",
    "frame_training": "frames",
    "motion_training": "motion",
}
"""Of lessons in their order, by their settings' names; below the run's folder."""
FREE_TO_CHANGE = (
    "steps",
    "accumulate",
    "compile",
    "save_every",
    "evaluate_every",
    "best_by",
    "best_is",
    "tensorboard",
    "looks",
)
"""Settings of a lesson that may differ when a run is continued."""
READ_BY = {"tals": "frame_training", "context_short_share": "context_training"}
"""Settings that only one lesson reads."""
NOTES = ("weights", "subjects")
"""What is noted beside the configuration."""
NOTHING: Mapping[str, Any] = MappingProxyType({})

_log = logging.getLogger(__name__)


def claim(
    folder: Path,
    config: Config,
    weights: Mapping[str, str] = NOTHING,
    subjects: Mapping[str, int] = NOTHING,
) -> None:
    """Refuse to continue a run with other settings; a lesson that kept nothing yet has none.

    `weights` names, by hash, what the run starts from, `subjects` how many takes of motion capture
    there are of whom: if that differs a warning says so. How long to train may change until another
    lesson has built on it. Raises `InputError` if the run cannot go on.
    """
    make_folder(folder)
    if is_first():
        _claim(folder, config, dict(weights), dict(subjects))
    wait_for_all()


def _claim(folder: Path, config: Config, weights: dict[str, str], subjects: dict[str, int]) -> None:
    path = folder / "config.json"
    begun = [name for name, lesson in FOLDERS.items() if (folder / lesson / LAST).exists()]
    if begun and path.exists():
        earlier = _earlier(path)
        # Earlier versions did not note them.
        then = {"weights": weights, "subjects": subjects} | {
            name: earlier.pop(name) for name in NOTES if name in earlier
        }
        _require_same(path, config, earlier, begun)
        _require_same_weights(folder, weights, then["weights"])
        _warn_of_other_data(folder, subjects, then["subjects"])
    _require_same_steps(folder, config, begun, weights)
    noted = _what_must_stay(config) | {"weights": weights, "subjects": subjects}
    replace_text(path, json.dumps(noted, indent=1))


def _require_same(path: Path, config: Config, earlier: dict[str, Any], begun: list[str]) -> None:
    for lesson in (name for name in earlier if name.endswith("training") and earlier[name]):
        earlier[lesson]["steps"] = 1  # any: it may change
    now = _what_must_stay(config)
    # Settings that are newer than the run had their default in it.
    then = _what_must_stay(parse_config(earlier, type(config), str(path)))
    waiting = [name for name in FOLDERS if name not in begun]
    for name in now:
        if now[name] != then[name] and READ_BY.get(name, name) not in waiting:
            raise _another(path.parent, name)


def _require_same_weights(folder: Path, now: dict[str, str], then: dict[str, str]) -> None:
    for name in sorted(set(now) | set(then)):
        if now.get(name) != then.get(name):
            raise _another(folder, f"weights of {name}")


def _another(folder: Path, what: str) -> InputError:
    return InputError(
        f"{folder} holds a run with another configuration ({what} differs); "
        "continue it with its own, or give this one another --output folder"
    )


def _warn_of_other_data(folder: Path, now: dict[str, int], then: dict[str, int]) -> None:
    changed = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
    if changed:
        _log.warning(
            "%s was begun with other motion capture (takes of %s: %d then, %d now%s): it goes on "
            "with what is there, not exactly as it would have",
            *(folder, changed[0], then.get(changed[0], 0), now.get(changed[0], 0)),
            f"; {counted(len(changed) - 1, 'other subject')} changed too" if changed[1:] else "",
        )


def _require_same_steps(
    folder: Path, config: Config, begun: list[str], weights: dict[str, str]
) -> None:
    """Raise `InputError` if a lesson that another has built on is to change."""
    for place, name in enumerate(FOLDERS):
        later = [
            str(folder / FOLDERS[each]) for each in list(FOLDERS)[place + 1 :] if each in begun
        ]
        settings = getattr(config, name, None)
        given = name == "tokenizer_training" and "keypoints" in weights
        if not later or settings is None or given:
            continue
        done = steps_done(folder / FOLDERS[name])
        if done != settings.steps:
            remedy = f"give it {done} steps again, or " if done else ""
            raise InputError(
                f"{name}.steps is {settings.steps}, but {later[0]} was built on {done} steps of "
                f"it: {remedy}delete {' and '.join(later)} for a new beginning there"
            )


def _earlier(path: Path) -> dict[str, Any]:
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(earlier, dict)
        whole &= all(isinstance(earlier.get(name, {}), dict) for name in NOTES)
        whole &= all(
            isinstance(earlier[name], dict | None) for name in earlier if name.endswith("training")
        )
    except (OSError, ValueError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise InputError(
            f"{path} is damaged, and nobody can tell whether the run is of this configuration: "
            "delete the file if it is, or give this one another --output folder"
        )
    return earlier


def _what_must_stay(config: Config) -> dict[str, Any]:
    left_aside = {"workers": True, "skip_broken": True, "mocap": {"skip_broken": True}}
    values = config.model_dump(mode="json", exclude=left_aside)
    lessons = [name for name in values if name.endswith("training") and values[name] is not None]
    for name in lessons:
        for free in FREE_TO_CHANGE:
            del values[name][free]
    return values
