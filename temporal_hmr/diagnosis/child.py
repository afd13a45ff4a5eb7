"""The other end of `probing.ask`: `python -m temporal_hmr.diagnosis.child PROBE ITEMS.json`.

Writes one line of JSON to standard output for each item; what libraries print goes elsewhere.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

PROBES = {
    "import": "probes:import_module_named",
    "try": "probes:try_part",
    "gpu": "probes:try_gpu",
    "identify": "body_files:identify",
    "convert": "body_conversion:convert",
}
"""Where the functions are that answer for one item each."""


def main() -> None:
    """Answer the questions in the arguments."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, name = PROBES[sys.argv[1]].split(":")
    for item in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")):
        reply = _answer(module, name, item)
        sys.stderr.flush()
        reply["said_until"] = os.lseek(2, 0, os.SEEK_CUR)
        print(json.dumps(reply), file=channel, flush=True)
    channel.flush()
    # Libraries that crash when the interpreter ends have given their answers by now.
    os._exit(0)


def _answer(module: str, name: str, item: str) -> dict[str, Any]:
    """Whatever is raised is an answer, a wish to end the process too."""
    try:
        probe: Callable[[str], object] = getattr(
            import_module(f"temporal_hmr.diagnosis.{module}"), name
        )
        return {"value": probe(item)}
    except BaseException as failure:
        message = " ".join(str(failure).split())
        return {"failure": f"{type(failure).__name__}: {message}".rstrip(": ")}


if __name__ == "__main__":
    main()
