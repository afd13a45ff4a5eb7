"""From a video to temporally smooth SMPL bodies.

from temporal_hmr import track_video

for frame in track_video("video.mp4"):
    for person in frame.people:
        print(frame.time, person.person_id, person.smpl.transl)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporal_hmr.body.interop import as_smplx
    from temporal_hmr.body.load import load_body
    from temporal_hmr.errors import InputError
    from temporal_hmr.output.npz import load_motion
    from temporal_hmr.tracked import TrackResult
    from temporal_hmr.tracking import TrackSettings, track_video

__all__ = [
    "InputError",
    "TrackResult",
    "TrackSettings",
    "as_smplx",
    "load_body",
    "load_motion",
    "track_video",
]

_HOMES = {
    "InputError": "errors",
    "TrackResult": "tracked",
    "TrackSettings": "tracking",
    "as_smplx": "body.interop",
    "load_body": "body.load",
    "load_motion": "output.npz",
    "track_video": "tracking",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: importing the package stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'temporal_hmr' has no attribute {name!r}")
    return getattr(import_module(f"temporal_hmr.{_HOMES[name]}"), name)
