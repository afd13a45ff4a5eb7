"""The bodies that were found in a clip: frame by frame, person by person, and in files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import Stage
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.folder import OVERLAY, require_replaceable, seen_from, write_results
from temporal_hmr.output.footage import footage, footage_times
from temporal_hmr.output.npz import Provenance
from temporal_hmr.output.overlay import OverlayStyle, write_overlay
from temporal_hmr.video import Clip
from temporal_hmr.world.camera_watch import CameraMotion


@dataclass(frozen=True, eq=False)
class TrackedPerson:
    """One person in one frame."""

    person_id: int
    smpl: SmplParams
    """No batch axis; camera frame."""
    joints: Float[ndarray, "24 3"]
    """SMPL's kinematic joints in the camera frame, metres."""
    box: Float[ndarray, "4"]
    """x_min, y_min, x_max, y_max in pixels."""
    observed: bool
    confidence: float


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """Everybody in one frame."""

    index: int
    time: float
    """Seconds."""
    people: list[TrackedPerson]


@dataclass(frozen=True, eq=False)
class TrackResult:
    """The bodies found in one clip; iterating goes through its frames."""

    motions: list[BodyMotion]
    """One for each person, in the order of their numbers."""
    clip: Clip
    camera: Camera
    body: BodyModel
    frames: Int[ndarray, "N"]
    """Numbers of all frames that were looked at, whether anybody was in them or not."""
    times: Float[ndarray, "N"]
    """Their presentation times in seconds."""
    provenance: Provenance
    progress: bool = False
    camera_motion: CameraMotion | None = None
    """Whether the camera moves; None where nobody asked."""
    no_world: str | None = None
    """Why there is no world although one was asked for."""
    cuts: Sequence[int] = ()
    """Numbers of the frames that begin another shot; nobody is followed into it."""
    breaks_off_after: int | None = None
    """How many frames a broken video has before its break; None of a whole one."""
    damaged: Sequence[int] = ()
    """Numbers of the frames before that which could not be read."""

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[TrackedFrame]:
        for index, time in zip(self.frames.tolist(), self.times.tolist(), strict=True):
            people = [
                _person_at(motion, position)
                for motion in self.motions
                if (position := motion.at(index)) is not None
            ]
            yield TrackedFrame(index, time, people)

    def save(self, folder: Path | str, overwrite: bool = False) -> list[Path]:
        """Write `person_000.npz` and so on and `result.json`; returns the paths of the npz files.

        An earlier run's results are replaced, but only if `overwrite` those that were corrected
        with `edit` since, or are of another video. Raises `InputError` for those otherwise, and if
        the folder cannot be written to.
        """
        if not overwrite:
            require_replaceable(Path(folder), self.provenance.source_sha256)
        clip = {
            "source_path": seen_from(Path(folder), self.clip.path),
            "fps": self.clip.fps,
            "image_size": [self.camera.width, self.camera.height],
            "num_frames": len(self),
            "cuts": list(self.cuts),
        }
        if self.breaks_off_after is not None:
            clip["breaks_off_after"] = self.breaks_off_after
        if self.damaged:
            clip["damaged_frames"] = list(self.damaged)
        if self.camera_motion is not None:
            clip["camera_motion"] = str(self.camera_motion)
            placed = next((m.world for m in self.motions if m.world is not None), None)
            clip["world"] = {"missing": self.no_world} if placed is None else placed.told
        return write_results(Path(folder), self.motions, clip, self.provenance)

    def render(self, folder: Path | str, style: OverlayStyle | None = None) -> Path:
        """Write `overlay.mp4`: the clip, read again, with the bodies drawn in; returns its path.

        Raises `InputError` if the folder cannot be written to or there is no encoder.
        """
        path = Path(folder) / OVERLAY
        frames = Stage("drawing", self.progress).track(footage(self.clip), total=len(self))
        times = footage_times(self.clip)
        write_overlay(frames, self.clip.fps, self.motions, self.body, path, style, times)
        return path


def _person_at(motion: BodyMotion, position: int) -> TrackedPerson:
    return TrackedPerson(
        person_id=motion.person_id,
        smpl=motion.smpl[position],
        joints=motion.joints[position],
        box=motion.boxes[position],
        observed=bool(motion.observed[position]),
        confidence=float(motion.confidence[position]),
    )
