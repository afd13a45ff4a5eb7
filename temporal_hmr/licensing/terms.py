"""The terms of one asset, and what can be told from a licence's name."""

import re
from dataclasses import dataclass
from typing import Literal

Commercial = Literal["allowed", "not allowed", "unknown"]

_PERMISSIVE = re.compile(
    r"\b(MIT|MIT-CMU|BSD|0BSD|BSL-1\.0|Apache|ISC|Zlib|PSF|Python Software Foundation|HPND|CC0|"
    r"MPL|LGPL|Unlicense)",
    re.IGNORECASE,
)
_RESTRICTED = re.compile(
    r"non-?\s?commercial|\bA?GPL|\bNC\b|proprietary|research|unredistributable", re.IGNORECASE
)


@dataclass(frozen=True)
class Terms:
    """One asset that touched a result, or comes with the package."""

    kind: str
    """source, body, weights, detector, code, sample or package."""
    name: str
    licence: str
    """Its short name, as far as there is one."""
    commercial: Commercial
    advice: str
    """One line on commercial use."""
    credit: str = ""
    """What is to be said wherever it is used or passed on."""
    statement: str = ""
    """What the asset says of its terms, in full."""


def commercial_use(licence: str) -> Commercial:
    """What a licence's name or SPDX expression says; unknown rather than wrong."""
    if not licence or _RESTRICTED.search(licence):
        return "unknown"
    return "allowed" if _PERMISSIVE.search(licence) else "unknown"


def overall(terms: list[Terms]) -> Commercial:
    """Of everything together: one that forbids it is enough, and so is one that is not known."""
    found = {each.commercial for each in terms}
    return (
        "not allowed" if "not allowed" in found else "unknown" if "unknown" in found else "allowed"
    )
