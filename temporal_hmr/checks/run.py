"""All checks on all people of a result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from temporal_hmr.checks.findings import Finding, Verdict, worst_verdict
from temporal_hmr.checks.flips import flip_findings
from temporal_hmr.checks.ground import ground_findings
from temporal_hmr.checks.identity import identity_findings
from temporal_hmr.checks.presence import presence_findings
from temporal_hmr.checks.reading import Given, read_result
from temporal_hmr.checks.reprojection import reprojection_findings
from temporal_hmr.checks.shape import shape_findings
from temporal_hmr.checks.smoothness import smoothness_findings
from temporal_hmr.checks.subject import Subject, check_frames, prepare
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.checks.timing import frame_step

ASSUMED_FPS = 30.0


@dataclass(frozen=True)
class CheckSettings:
    """What can be chosen when a result is checked."""

    body: Path | str | None = None
    """The SMPL file that the result was made with."""
    fps: float | None = None
    """For files that do not state their frame rate; None assumes 30."""
    format: str | None = None
    """The system whose file it is (`interchange.files.FORMATS`); None tells by what it holds."""
    static_camera: bool = False
    """Whether the camera stood still, so that feet can be judged in the camera frame."""
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class PersonReport:
    """What was found in one person."""

    name: str
    source: str
    """The kind of file: `ours`, `wham`, `vibe`, `gvhmr`, `phalp`."""
    body: str
    first_frame: int
    last_frame: int
    first_time: float
    """Seconds."""
    last_time: float
    fps: float
    """Of the frames that were looked at."""
    notes: tuple[str, ...]
    """What had to be assumed."""
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The severest of the findings'."""
        return worst_verdict(finding.verdict for finding in self.findings)


@dataclass(frozen=True)
class Report:
    """What was found in a result."""

    source: str
    people: tuple[PersonReport, ...]
    thresholds: Thresholds

    @property
    def verdict(self) -> Verdict:
        """The severest of the people's."""
        return worst_verdict(person.verdict for person in self.people)


def check_result(path: Path | str, settings: CheckSettings = CheckSettings()) -> Report:
    """Read a result (a folder or npz of ours, or another system's file) and check it.

    Raises `InputError` if the result or the body cannot be used.
    """
    path = Path(path)
    given = read_result(path, settings.body, settings.format)
    return Report(str(path), check_people(given, settings), settings.thresholds)


def check_people(given: Sequence[Given], settings: CheckSettings) -> tuple[PersonReport, ...]:
    """A report for each of the people of one video.

    Raises `InputError` if a motion is empty or its frame numbers cannot be.
    """
    for each in given:
        check_frames(each.motion)
    step = frame_step([each.motion for each in given])
    subjects = [
        prepare(each.motion, each.body, each.own_body, settings.fps or ASSUMED_FPS, step)
        for each in given
    ]
    identities = identity_findings(subjects, settings.thresholds)
    return tuple(
        PersonReport(
            name=subject.name,
            source=each.motion.source,
            body=each.body.name,
            first_frame=int(subject.clock.numbers[0]),
            last_frame=int(subject.clock.numbers[-1]),
            first_time=float(subject.clock.times[0]),
            last_time=float(subject.clock.times[-1]),
            fps=subject.fps,
            notes=_notes(each, settings, step),
            findings=(*_findings(subject, settings), *identity),
        )
        for each, subject, identity in zip(given, subjects, identities, strict=True)
    )


def _findings(subject: Subject, settings: CheckSettings) -> list[Finding]:
    thresholds = settings.thresholds
    return [
        *presence_findings(subject, thresholds),
        *smoothness_findings(subject, thresholds),
        *ground_findings(subject, thresholds, settings.static_camera),
        *shape_findings(subject, thresholds),
        *reprojection_findings(subject, thresholds),
        *flip_findings(subject, thresholds),
    ]


def _notes(given: Given, settings: CheckSettings, step: int) -> tuple[str, ...]:
    notes = []
    if step > 1:
        notes.append(f"one frame of {step} was looked at: the others are not missing")
    if given.motion.fps is None and settings.fps is None:
        notes.append(f"the file states no frame rate: {ASSUMED_FPS:g} is assumed (--fps)")
    if given.motion.fps is not None and settings.fps not in (None, given.motion.fps):
        notes.append(f"the file states its frame rate: --fps {settings.fps:g} is not used")
    if not given.own_body:
        notes.append(
            f"the body {given.body.name} stands in with betas of zero: its shape is not the "
            "system's own (--body)"
        )
    return tuple(notes)
