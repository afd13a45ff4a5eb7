"""Everything that the doctor looks at, in order; what stands on something broken is not tried."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporal_hmr.dependencies import requirements
from temporal_hmr.diagnosis.bodies import body_findings
from temporal_hmr.diagnosis.file_kinds import usual_places
from temporal_hmr.diagnosis.findings import Finding, error, warning
from temporal_hmr.diagnosis.machine import (
    assets_finding,
    memory_finding,
    output_finding,
    python_finding,
)
from temporal_hmr.diagnosis.packages import import_findings
from temporal_hmr.diagnosis.probing import PATIENCE, Answer, ask
from temporal_hmr.diagnosis.remedies import remedy, short
from temporal_hmr.diagnosis.versions import version_findings

_SEEING = ("numpy", "jaxtyping", "opencv-contrib-python")
_KNOWING = ("numpy", "scipy", "torch", "jaxtyping", "einops", "safetensors", "pydantic", "pyyaml")
STANDS_ON: Mapping[str, Sequence[str]] = {
    "decord": (*_SEEING, "decord"),
    "opencv": _SEEING,
    "encoder": (*_SEEING, "scipy", "torch"),
    "detector": (*_SEEING, "decord", "mediapipe", "torch"),
    "weights": (*_KNOWING, "opencv-contrib-python"),
    "body": ("numpy", "scipy", "torch", "jaxtyping"),
    "gpu": ("torch",),
    "bodies": ("numpy", "scipy", "torch", "jaxtyping"),
    "chain": (*_KNOWING, *_SEEING, "decord", "mediapipe", "filterpy", "tqdm"),
}
"""The packages without which a part cannot be tried."""
_CHAIN_PATIENCE = 4
"""Times as much as for one part of it."""
_OF_THE_CHAIN = ("decord", "opencv", "encoder", "detector", "weights", "body")


@dataclass(frozen=True)
class Examination:
    """What is to be looked at."""

    folders: tuple[Path, ...] = ()
    """Where body files are; the usual places if none is named."""
    convert_to: Path | None = None
    run: bool = False
    device: str = "auto"
    output_dir: Path = Path("outputs")
    patience: float = PATIENCE
    """Seconds for one answer."""


def examine(what: Examination) -> Iterator[Finding]:
    """Findings as they are made."""
    wanted = requirements()
    yield python_finding()
    broken: set[str] = set()
    for finding in version_findings(wanted):
        yield finding
        broken |= _broken(finding)
    for finding in import_findings(wanted, what.patience):
        yield finding
        broken |= _broken(finding)
    yield from _parts(what, broken)
    assets = assets_finding()
    if assets is not None:
        yield assets
    yield memory_finding()
    yield output_finding(what.output_dir)
    yield from _bodies(what, broken)
    if what.run:
        yield from _chain(what, broken)


def _broken(finding: Finding) -> set[str]:
    """The package that a finding says cannot be used."""
    package = finding.details.get("package")
    return {str(package)} if package is not None and finding.level == "error" else set()


def _parts(what: Examination, broken: set[str]) -> Iterator[Finding]:
    """Those parts of the chain, and the GPU, whose packages import."""
    possible = [part for part in _OF_THE_CHAIN if not broken & set(STANDS_ON[part])]
    left = [part for part in (*_OF_THE_CHAIN, "gpu") if broken & set(STANDS_ON[part])]
    for answer in ask("try", possible, what.patience):
        yield from _told(answer.item, [answer])
    if not broken & set(STANDS_ON["gpu"]):
        yield from _told("gpu", ask("gpu", [what.device], what.patience))
    if left:
        missing = sorted(broken & {name for part in left for name in STANDS_ON[part]})
        yield warning(
            "parts", f"not tried, for want of {', '.join(missing)}: {', '.join(left)}", parts=left
        )


def _chain(what: Examination, broken: set[str]) -> Iterator[Finding]:
    missing = sorted(broken & set(STANDS_ON["chain"]))
    if missing:
        yield error("chain", f"not tried, for want of {', '.join(missing)}: mend that first")
        return
    yield from _told("chain", ask("try", ["chain"], _CHAIN_PATIENCE * what.patience))


def _told(part: str, answers: "Iterator[Answer] | Sequence[Answer]") -> Iterator[Finding]:
    """The findings in the answers; a failure is one too."""
    for answer in answers:
        if answer.went_well:
            yield from (Finding(**finding) for finding in answer.value)
        elif answer.failure.startswith("InputError: "):
            yield error(part, answer.failure.removeprefix("InputError: "))
        else:
            help_ = remedy(STANDS_ON[part][-1], answer.failure, answer.said)
            yield error(
                part,
                f"it fails ({short(answer.failure)}): {help_}",
                failure=answer.failure,
                said=answer.said[-2000:],
            )


def _bodies(what: Examination, broken: set[str]) -> Iterator[Finding]:
    if broken & set(STANDS_ON["bodies"]):
        if what.folders:
            missing = ", ".join(sorted(broken & set(STANDS_ON["bodies"])))
            yield warning("bodies", f"not looked at, for want of {missing}")
        return
    places = list(what.folders) or usual_places()
    yield from body_findings(places, bool(what.folders), what.convert_to, what.patience)
