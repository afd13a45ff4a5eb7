"""Files of a folder replaced by others such that always either those or these are whole.

The former ones are not deleted but put aside, in a folder of their own, until the last of the new
ones is in its place: whatever breaks off the exchange, a killed process too, they can come back.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FORMER = ".former"


@contextmanager
def former_aside(
    folder: Path, former: Sequence[str], coming: Sequence[str], key: str
) -> Iterator[None]:
    """Put the `former` files aside, for the block to move those that are `coming` into the folder.

    `key` is the name of the file without which others count for nothing: it goes first and must
    come last. If the block fails the former files come back, and those that came go.
    """
    aside = folder / FORMER
    aside.mkdir()
    try:
        for name in (key, *(each for each in former if each != key)):
            if (folder / name).is_file():
                os.replace(folder / name, aside / name)
        try:
            yield
        except BaseException:
            for name in coming:
                (folder / name).unlink(missing_ok=True)
            raise
    except BaseException:
        bring_back(folder, key)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def bring_back(folder: Path, key: str) -> bool:
    """Undo an exchange that was broken off; returns whether there was one to be undone.

    Where `key` is in the folder, the exchange was over, and what is aside goes.
    """
    aside = folder / FORMER
    if not aside.is_dir():
        return False
    broken_off = not (folder / key).exists() and (aside / key).exists()
    if broken_off:
        names = [path.name for path in aside.iterdir() if path.name != key]
        for name in (*names, key):
            os.replace(aside / name, folder / name)
    shutil.rmtree(aside, ignore_errors=True)
    return broken_off
