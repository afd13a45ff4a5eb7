"""`temporal-hmr DOOR ...`: opens the door named by the first word."""

import sys
from importlib import import_module

from temporal_hmr.command_line import nearest, run_door
from temporal_hmr.errors import InputError

DOORS = {
    "track": "recover the bodies of the people in a video",
    "train": "train a tokenizer or a model",
    "evaluate": "measure a model on a labelled data set",
    "convert": "make weights of ours of a checkpoint that others publish",
    "edit": "correct who is who in a result",
    "check": "judge a result without ground truth",
    "view": "show a result on one page that opens offline",
    "doctor": "tell what is wrong with an installation, and what SMPL files are",
    "licenses": "tell on what terms a result, or this package, may be used",
    "refine": "take the trembling out of anybody's results",
    "export": "write a result in the formats of other tools",
    "export-model": "write the model as ONNX, for other runtimes",
}


def main() -> None:
    """Hand the words after the first to the door that the first one names."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return
    name, *arguments = words
    if name not in DOORS:
        near = nearest(name, DOORS)
        remedy = f"did you mean {near}?" if near else f"there are {', '.join(DOORS)}"
        raise InputError(f"there is no door {name!r}; {remedy}")
    import_module(f"temporal_hmr.{name.replace('-', '_')}").main(arguments)


def run() -> None:
    """The console script: `main` with one-line errors and exit codes."""
    run_door(main)


def _usage() -> str:
    lines = [f"  {name:13}{meaning}" for name, meaning in DOORS.items()]
    return "\n".join(["usage: temporal-hmr DOOR ... (--help after it tells more)", "", *lines])


if __name__ == "__main__":
    run()
