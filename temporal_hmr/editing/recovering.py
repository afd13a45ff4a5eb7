"""Bodies anew for those whose sightings were corrected, as the result they stand in was made."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from temporal_hmr.body.load import OPEN_BODY, load_body
from temporal_hmr.body.model import BodyModel, body_digest
from temporal_hmr.checkpoint import digest, file_hash
from temporal_hmr.command_line import Stage
from temporal_hmr.device import choose_device
from temporal_hmr.editing.result import Result
from temporal_hmr.errors import InputError
from temporal_hmr.given.lens import straight_clip, told_lens
from temporal_hmr.journal import Journal
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.on_disk import scratch
from temporal_hmr.recover import default_weights, load_model, recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.video import Clip, Frame, open_clip

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecoverSettings:
    """What a result says only the names of."""

    weights: Path | None = None
    """Those that the result was made with; None is the model that comes with the package."""
    body: Path | None = None
    """The SMPL file that it was made with, if it was not the open body."""
    video: Path | None = None
    """The video, for models that look at pixels."""
    device: str = "auto"
    progress: bool = False
    """Whether to report on standard error."""


def recovered(
    result: Result, tracks: Sequence[Track], settings: RecoverSettings
) -> list[BodyMotion]:
    """The bodies of these people, who are of the clip of that result.

    Raises `InputError` if weights or body are not those of the result, or the model looks at
    images and there is no video.
    """
    first = result.people[0].motion
    model = _model(result, settings)
    body = result_body(result, settings.body)
    clip = _clip(model, result, settings.video)
    fit = Reprojection() if result.settings.get("refine", True) else None
    stage = Stage("recovering", settings.progress)
    with _journal() as journal:
        return [
            recover(
                model,
                body,
                track,
                first.camera,
                first.fps,
                images=None if clip is None else _up_to(clip, int(track.frames[-1])),
                fit=fit,
                journal=journal,
            )
            for track in stage.track(tracks, len(tracks), "person")
        ]


@contextmanager
def _journal() -> Iterator[Journal | None]:
    """One that nobody keeps, for the disk beside it; None where there is none."""
    if scratch() is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "bodies", "") as journal:
        yield journal


def result_body(result: Result, path: Path | None) -> BodyModel:
    """The body that a result stands on. Raises `InputError` if what is given is another."""
    made = result.provenance
    if made.body == OPEN_BODY and path is not None:
        raise InputError(f"{result.folder} was made with the open body: leave --body out")
    if made.body != OPEN_BODY and path is None:
        raise InputError(f"{result.folder} was made with the body {made.body}: give it as --body")
    body = load_body(path)
    if body.name != made.body or made.body_sha256 not in ("", body_digest(body)):
        given = f"the open body of temporal_hmr {made.package_version}" if path is None else path
        raise InputError(
            f"{result.folder} was made with another body {made.body} (SHA-256 "
            f"{made.body_sha256[:12]}) than {given}: "
            + ("give --body its file" if path else "track the video again")
        )
    return body


def clip_of(result: Result, video: Path) -> Clip:
    """The frames of the video that were tracked, without the distortion that was taken out.

    A copy of it will do for drawing, with a warning. Raises `InputError` if it has another size.
    """
    chosen = result.settings
    clip = open_clip(
        video, chosen.get("start"), chosen.get("end"), stride=chosen.get("stride") or 1
    )
    size = result.summary.get("image_size")
    if size is not None and [clip.width, clip.height] != size:
        raise InputError(
            f"{video} is {clip.width} x {clip.height}, but the video that was tracked is "
            f"{size[0]} x {size[1]}: give that one"
        )
    if digest(video) != result.provenance.source_sha256:
        _log.warning(
            "%s is not the very file that was tracked: frames are matched by their numbers", video
        )
    if not result.people:
        return clip
    lens = told_lens(asdict(result.provenance), result.people[0].motion.camera)
    return clip if lens is None else straight_clip(clip, lens)


def _model(result: Result, settings: RecoverSettings) -> Hmr:
    made = result.provenance
    path = settings.weights or default_weights()
    if not path.is_file():
        raise InputError(f"no weights at {path}: check the path")
    if file_hash(path) != made.weights_sha256:
        raise InputError(
            f"{path} are not the weights that {result.folder} was made with, {made.weights} "
            f"(SHA-256 {made.weights_sha256[:12]}): give those as --weights, or track the video "
            "again"
        )
    light = bool(result.settings.get("light", False))
    return load_model(path, choose_device(settings.device), light)


def _clip(model: Hmr, result: Result, video: Path | None) -> Clip | None:
    """The video, if the model looks at it."""
    if model.config.image_side() is None:
        return None
    if video is None:
        raise InputError(
            f"the weights {result.provenance.weights} look at images: give --video "
            f"{result.provenance.source}, of which the bodies can be made anew"
        )
    return clip_of(result, video)


def _up_to(clip: Clip, last: int) -> Iterator[Frame]:
    return takewhile(lambda frame: frame.index <= last, clip)
