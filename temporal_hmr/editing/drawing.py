"""The overlay of a result that is there: drawn anew, without looking for anybody."""

from pathlib import Path
from typing import Any

from temporal_hmr.body.model import BodyModel
from temporal_hmr.command_line import Stage
from temporal_hmr.editing.result import open_result
from temporal_hmr.errors import InputError
from temporal_hmr.output.encoding import require_encodable
from temporal_hmr.output.folder import OVERLAY
from temporal_hmr.output.footage import footage, footage_times
from temporal_hmr.output.overlay import OverlayStyle, write_overlay
from temporal_hmr.output.side_view import panel_width
from temporal_hmr.rasterize import require_rasterizer
from temporal_hmr.video import Clip, open_clip


def has_overlay(folder: Path, summary: dict[str, Any], side_view: bool) -> bool:
    """Whether an overlay is there, with the bodies from the side in it if those are asked for.

    `summary` is what `result.json` in the folder says.
    """
    if not side_view:
        return (folder / OVERLAY).is_file()
    width, _ = summary.get("image_size") or (0, 0)
    try:
        # Sides are rounded up to even numbers; a panel is far wider.
        return width > 0 and open_clip(folder / OVERLAY).width > width + 1
    except InputError:
        return False


def require_drawable(clip: Clip, side_view: bool) -> None:
    """Raise `InputError` if no overlay of the clip could be drawn here."""
    require_rasterizer()
    beside = panel_width(clip.height) if side_view else 0
    require_encodable(clip.width + beside, clip.height)


def draw_overlay(
    folder: Path, clip: Clip, body: BodyModel, side_view: bool, progress: bool = True
) -> Path:
    """Draw the people of a result over the frames that were tracked; returns the video's path.

    `body` is the one that the result was made with. Raises `InputError` for a folder that is no
    result, or that cannot be written to.
    """
    path = folder / OVERLAY
    motions = [person.motion for person in open_result(folder).people]
    style = OverlayStyle(side_view=side_view and bool(motions))
    frames = Stage("drawing", progress).track(footage(clip), len(clip))
    try:
        write_overlay(frames, clip.fps, motions, body, path, style, footage_times(clip))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder} has everything but the overlay") from None
    return path
