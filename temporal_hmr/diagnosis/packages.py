"""Whether the packages that are needed really import."""

from collections.abc import Iterator, Sequence

from temporal_hmr.dependencies import Requirement, installed
from temporal_hmr.diagnosis.findings import Finding, error, ok, warning
from temporal_hmr.diagnosis.probing import PATIENCE, Answer, ask
from temporal_hmr.diagnosis.remedies import remedy, short

MODULES = {
    "opencv-contrib-python": "cv2",
    "pyyaml": "yaml",
    "pillow": "PIL.Image",
    "scipy": "scipy.sparse",
    "safetensors": "safetensors.torch",
    "filterpy": "filterpy.kalman",
}
"""What to import of those packages whose modules are not named after them."""
LOST_WITHOUT = {
    "matplotlib": "timelines and occlusion maps cannot be drawn",
    "smplx": "bodies cannot be handed to the smplx package",
    "transformers": "models with its image backbones and track --detector vitpose do not run",
    "tensorboard": "training leaves no TensorBoard log",
    "ray": "track --ray does not run",
}
"""Packages that `track` does without."""
_NUMPY_1_WARNING = "compiled using NumPy 1"


def import_findings(wanted: Sequence[Requirement], patience: float = PATIENCE) -> Iterator[Finding]:
    """Those that fail or are missing, one by one, then a line on the others."""
    by_module = {
        module_of(each): each
        for each in sorted(wanted, key=lambda each: each.extra)
        if _to_be_tried(each)
    }
    well = []
    for answer in ask("import", list(by_module), patience):
        wanted_here = by_module[answer.item]
        finding = _judge(wanted_here, answer)
        if finding is None:
            well.append(wanted_here.name)
        else:
            yield finding
    if well:
        yield ok("imports", f"{len(well)} packages import", packages=well)


def module_of(wanted: Requirement) -> str:
    """What to import of a package."""
    return MODULES.get(wanted.name, wanted.name.replace("-", "_"))


def _to_be_tried(wanted: Requirement) -> bool:
    """Tools of developers are no matter of the user's."""
    if not wanted.extra:
        return True
    return wanted.name in LOST_WITHOUT and installed(wanted.name) is not None


def _judge(wanted: Requirement, answer: Answer) -> Finding | None:
    """None if it is well."""
    details = {"package": wanted.name, "failure": answer.failure, "said": answer.said[-2000:]}
    lost = LOST_WITHOUT.get(wanted.name)
    if not answer.went_well:
        judge = error if lost is None else warning
        without = f", without which {lost}" if lost else ""
        help_ = remedy(str(wanted), answer.failure, answer.said)
        missing = f"No module named '{answer.item.split('.')[0]}'" in answer.failure
        what = "is not installed" if missing else "does not import"
        why = "" if missing else f" ({short(answer.failure)})"
        return judge(
            "imports",
            f"{wanted.name} {what}{without}{why}: {help_}",
            **details,
        )
    if _NUMPY_1_WARNING in answer.said:
        help_ = remedy(str(wanted), answer.said)
        return warning("imports", f"{wanted.name} cannot use the numpy there: {help_}", **details)
    shadow = answer.value.get("shadow") if isinstance(answer.value, dict) else None
    if shadow:
        return warning(
            "imports",
            f"{shadow} stands in the way of the package {wanted.name}: rename it",
            **details,
        )
    return None
