"""From a video to the bodies of the people in it: the straight line behind the `track` door."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel, body_digest
from temporal_hmr.camera import Camera
from temporal_hmr.checkpoint import digest, file_hash
from temporal_hmr.command_line import Stage, counted, nearest
from temporal_hmr.device import choose_device
from temporal_hmr.errors import InputError
from temporal_hmr.eyes import EYES, Eyes, choose_eyes
from temporal_hmr.following import Followed, follow
from temporal_hmr.given.intrinsics import GivenCamera, check_camera_words, read_camera
from temporal_hmr.given.keypoints import GivenKeypoints, read_keypoints
from temporal_hmr.given.lens import Lens, straight_clip
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.npz import Provenance, package_version
from temporal_hmr.output.work import Work
from temporal_hmr.people.tracker import TrackerSettings
from temporal_hmr.recover import body_of, default_weights, load_model, recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.threads import one_thread
from temporal_hmr.tracked import TrackResult
from temporal_hmr.video import Clip, Frame, open_clip
from temporal_hmr.world.camera_watch import CameraMotion, CameraWatch
from temporal_hmr.world.placing import find_world

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackSettings:
    """What can be chosen when a video is tracked."""

    body: Path | str | None = None
    """An SMPL file; None is the open body that comes with the package."""
    weights: Path | str | None = None
    """None is the model that comes with the package."""
    focal: float | None = None
    """Pixels; None assumes the image diagonal."""
    person: str = "all"
    """"all", "largest" (who fills most of the picture over the whole clip), "longest" (who is seen
    in most frames) or a person's number."""
    start: float | None = None
    end: float | None = None
    """Seconds."""
    stride: int = 1
    """Only every so manieth frame is looked at, and has results."""
    detector: str = EYES[0]
    """What looks for people, see `eyes`."""
    detector_weights: Path | str | Sequence[Path | str] | None = None
    """Folders or names on the hub; None are the usual ones."""
    keypoints: Path | str | None = None
    """A file or folder of them in place of a detector, see `given.keypoints`."""
    camera: Path | str | None = None
    """`fx,fy,cx,cy` in pixels, or a calibration of OpenCV or COLMAP, see `given.intrinsics`."""
    device: str = "auto"
    light: bool = False
    """Whether the model leaves it at its first guess, and BlazePose at one reading."""
    refine: bool = True
    """Whether bodies are moved onto the detected keypoints after the model has spoken."""
    static_camera: bool = False
    """Find a world with y up, which a camera that stands still makes possible."""
    foot_lock: bool = False
    """Hold feet in it where they stand."""
    progress: bool = False
    """Whether to report each stage on standard error."""


@dataclass(frozen=True, eq=False)
class TrackJob:
    """Everything opened, loaded and found to be in order; nothing computed yet."""

    clip: Clip
    model: Hmr
    body: BodyModel
    eyes: Eyes | GivenKeypoints
    camera: Camera
    lens: Lens | None
    """What is taken out of keypoints and pictures."""
    person: str
    fit: Reprojection | None
    static_camera: bool
    foot_lock: bool
    provenance: Provenance
    progress: bool

    def pictures(self) -> Clip:
        """The clip as the camera would have filmed it without its lens."""
        return self.clip if self.lens is None else straight_clip(self.clip, self.lens)


def track_video(source: Path | str, settings: TrackSettings | None = None) -> TrackResult:
    """Find the people in a video (or folder of images) and recover their bodies through time.

    Raises `InputError` if the source, the body or the weights cannot be used.
    """
    return run_job(prepare_job(source, settings or TrackSettings()))


def prepare_job(source: Path | str, settings: TrackSettings) -> TrackJob:
    """Open and check all that is asked for, before any heavy work.

    Raises `InputError` for whatever cannot be used.
    """
    _check_values(settings)
    device = choose_device(settings.device)
    clip = open_clip(source, settings.start, settings.end, stride=settings.stride)
    given = _camera(clip, settings)
    eyes = _eyes(clip, settings)
    model, body = _load(settings, device)
    return TrackJob(
        clip=clip,
        model=model,
        body=body,
        eyes=eyes,
        camera=given.camera,
        lens=given.lens,
        person=settings.person,
        fit=Reprojection() if settings.refine else None,
        static_camera=settings.static_camera,
        foot_lock=settings.foot_lock,
        provenance=_provenance(Path(source), settings, body, eyes, given),
        progress=settings.progress,
    )


def check_settings(settings: TrackSettings) -> tuple[Hmr, BodyModel]:
    """What any source is tracked with; raises `InputError` for settings that none could be."""
    _check_values(settings)
    choose_eyes(settings.detector, settings.detector_weights)
    return _load(settings, choose_device(settings.device))


def _check_values(settings: TrackSettings) -> None:
    _check_person(settings.person)
    if settings.focal is not None and not 0 < settings.focal < math.inf:
        raise InputError(f"--focal takes a positive number of pixels, not {settings.focal:g}")
    if settings.focal is not None and settings.camera is not None:
        raise InputError("--focal and --camera both say what the camera is: give one of them")
    if settings.camera is not None:
        check_camera_words(settings.camera)
    if settings.keypoints is not None and (settings.detector, settings.detector_weights) != (
        EYES[0],
        None,
    ):
        raise InputError("--keypoints takes the place of a detector: leave out --detector")
    if settings.foot_lock and not settings.static_camera:
        raise InputError("--foot-lock holds feet in a world: say --static-camera too")


def _load(settings: TrackSettings, device: torch.device) -> tuple[Hmr, BodyModel]:
    """The model, and a body that it can be used with."""
    # Threads would wait for each other longer than they work.
    with one_thread():
        body = load_body(settings.body)
        model = load_model(_weights(settings), device, settings.light)
    body_of(model, body)
    return model, body


def _weights(settings: TrackSettings) -> Path:
    return default_weights() if settings.weights is None else Path(settings.weights)


def run_job(job: TrackJob, work: Work | None = None) -> TrackResult:
    """See, follow and recover. Memory holds a few images at a time, however long the clip.

    What is found is kept in `work` as it comes, and what is there already is not done again. Where
    a world was asked for and there is none, the result says why, and is whole without it.
    """
    watch = CameraWatch() if job.static_camera else None
    followed = _follow(job, watch, work)
    chosen = choose_people(followed.tracks, job.person)
    motions = _recover(job, chosen, work)
    if not motions:
        _log.warning("%s", _why_nobody(followed, job.provenance.source))
    result = TrackResult(
        motions,
        job.pictures(),
        job.camera,
        job.body,
        followed.frames,
        followed.times,
        job.provenance,
        job.progress,
        cuts=followed.cuts.tolist(),
        breaks_off_after=job.clip.breaks_off_after,
        damaged=job.clip.damaged,
    )
    return result if watch is None else _in_world(result, watch.told(), job.foot_lock)


def _why_nobody(followed: Followed, source: str) -> str:
    """Whether nobody was seen, or nobody for long enough."""
    counts = followed.people_in_frames
    if not counts.any():
        return f"nobody was found in {source}"
    return (
        f"nobody was found in {source} for long enough to be followed: "
        f"{counted(int(counts.sum()), 'person')} in {(counts > 0).sum()} of "
        f"{counted(len(counts), 'frame')}, and {TrackerSettings().least_seen:g} s or half of all "
        "frames are needed"
    )


def _recover(job: TrackJob, tracks: list[Track], work: Work | None) -> list[BodyMotion]:
    device = str(next(job.model.parameters()).device)
    made_of = {**asdict(job.provenance), "torch": package_version("torch"), "device": device}
    journal = None if work is None else work.journal("bodies", made_of)
    with journal or nullcontext():
        return [
            recover(
                job.model,
                job.body,
                track,
                job.camera,
                job.clip.fps,
                images=_frames_of(job, track),
                fit=job.fit,
                journal=journal,
            )
            for track in Stage("recovering", job.progress).track(tracks, len(tracks), "person")
        ]


def _in_world(result: TrackResult, camera: CameraMotion, foot_lock: bool) -> TrackResult:
    """The result with its world, or with the reason why it has none."""
    if camera.verdict == "moving":
        return replace(result, camera_motion=camera, no_world=str(camera))
    if camera.verdict == "unknown" and result.motions:
        _log.warning("%s: it is taken to stand still", camera)
    found = find_world(result.motions, result.body, foot_lock)
    if isinstance(found, str):
        return replace(result, camera_motion=camera, no_world=found)
    return replace(result, motions=found, camera_motion=camera)


def _frames_of(job: TrackJob, track: Track) -> Iterator[Frame]:
    """The clip anew, up to the last frame of the track; nothing is read of it unless asked for."""
    return takewhile(lambda frame: frame.index <= track.frames[-1], job.pictures())


def choose_people(tracks: list[Track], person: str) -> list[Track]:
    """Those asked for: "all", "largest", "longest", or the one with that number.

    Raises `InputError` if nobody has the number.
    """
    if person == "all" or not tracks:
        return tracks
    if person == "largest":
        return [max(tracks, key=_filled_area)]
    if person == "longest":
        return [max(tracks, key=len)]
    chosen = [track for track in tracks if track.person_id == int(person)]
    if not chosen:
        seen = ", ".join(str(track.person_id) for track in tracks)
        raise InputError(f"there is no person {person}; the people in this video are {seen}")
    return chosen


def _filled_area(track: Track) -> float:
    return float(np.prod(track.boxes[:, 2:] - track.boxes[:, :2], axis=-1).sum())


def _follow(job: TrackJob, watch: CameraWatch | None, work: Work | None) -> Followed:
    device = next(job.model.parameters()).device
    frames = Stage("finding people", job.progress).track(job.clip, total=len(job.clip))
    with job.eyes.open(device) as detector:
        made_of = _seen_by(job.provenance, device)
        journal = None if work is None else work.journal("detections", made_of)
        # BlazePose's networks share the cores; those of others have threads of their own.
        with journal or nullcontext(), one_thread(not job.eyes.weights()):
            followed = follow(frames, detector, journal, watch, job.clip)
    if not len(followed.frames):
        ranged = (job.clip.start, job.clip.end) != (None, None)
        what = "check --start and --end" if ranged else "it was taken away or changed meanwhile"
        raise InputError(f"{job.clip.path} gave not a single frame: {what}")
    if job.lens is None:
        return followed
    return replace(followed, tracks=[job.lens.straight_track(each) for each in followed.tracks])


def _seen_by(provenance: Provenance, device: torch.device) -> Mapping[str, object]:
    """All that detections depend on."""
    shown = {name: provenance.settings[name] for name in ("start", "end", "stride", "keypoints")}
    readers = {name: package_version(name) for name in ("decord", "opencv-contrib-python", "av")}
    computed = {"torch": package_version("torch"), "device": str(device)}
    return {
        "source": provenance.source_sha256,
        "detector": provenance.detector,
        "networks": provenance.detector_weights,
        **(computed if provenance.detector_weights else {}),
        **shown,
        **readers,
    }


def _check_person(person: str) -> None:
    if person in ("all", "largest", "longest") or person.isdecimal():
        return
    near = nearest(person, ("all", "largest", "longest"))
    raise InputError(
        f"--person takes all, largest, longest or a person's number, not {person!r}"
        + (f"; did you mean {near}?" if near else "")
    )


def _camera(clip: Clip, settings: TrackSettings) -> GivenCamera:
    if settings.camera is not None:
        return read_camera(settings.camera, clip)
    if settings.focal is None:
        return GivenCamera(Camera.with_assumed_focal(clip.width, clip.height))
    return GivenCamera(Camera.with_focal(settings.focal, clip.width, clip.height))


def _eyes(clip: Clip, settings: TrackSettings) -> Eyes | GivenKeypoints:
    if settings.keypoints is not None:
        given = read_keypoints(Path(settings.keypoints), clip)
        return replace(given, mirrored=not settings.light)
    return choose_eyes(settings.detector, settings.detector_weights, not settings.light)


def _provenance(
    source: Path,
    settings: TrackSettings,
    body: BodyModel,
    eyes: Eyes | GivenKeypoints,
    given: GivenCamera,
) -> Provenance:
    weights = _weights(settings)
    chosen = ("focal", "person", "start", "end", "stride", "light", "refine")
    chosen = (*chosen, "static_camera", "foot_lock")
    return Provenance(
        source=source.name,
        source_sha256=digest(source),
        body=body.name,
        body_licence=body.licence,
        weights=weights.name,
        weights_sha256=file_hash(weights),
        package_version=package_version(),
        body_sha256=body_digest(body),
        settings={
            **{name: getattr(settings, name) for name in chosen},
            "keypoints": _named_file(settings.keypoints),
            "camera": given.told,
        },
        detector=str(eyes),
        detector_weights=dict(eyes.weights()),
    )


def _named_file(path: Path | str | None) -> dict[str, str] | None:
    """A file or folder by name and content."""
    return None if path is None else {"file": Path(path).name, "sha256": digest(Path(path))}
