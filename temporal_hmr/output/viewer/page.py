"""The page: everything that is shown in one file of HTML that loads nothing and opens offline.

Markup, style and scripts lie in `assets/viewer`. What is of this result goes in as data only: JSON
in which no character can end the script it stands in, and base64. All text reaches the page's
elements as text, so that names of files cannot become markup.
"""

import base64
import hashlib
import html
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from temporal_hmr.camera import Camera
from temporal_hmr.command_line import counted
from temporal_hmr.errors import InputError
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.viewer.arrays import Pack
from temporal_hmr.output.viewer.curves import UNITS
from temporal_hmr.output.viewer.frames import Frames, frames_of, step_within
from temporal_hmr.output.viewer.people import add_body, add_person, corrective_error
from temporal_hmr.output.viewer.pictures import LEAST_BYTES, LONGEST_SIDE, Pictures, take_pictures
from temporal_hmr.output.viewer.result import Person, Result
from temporal_hmr.output.viewer.stage import Stage, set_stage
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.video import Clip

PAGE = "view.html"
"""The page in a folder of results."""
SCRIPTS = ("data", "geometry", "camera", "shaders", "renderer", "pictures", "video", "scene",
           "timeline", "plots", "people", "main")  # fmt: skip
"""In the order in which they stand in the page, a name being known to those after it."""
_BYTES_PER_POSE = 720
"""Of one person in one frame: rotations, curves, keypoints."""
_BYTES_PER_VERTEX = 6
_BYTES_OF_ENTRY = 20_000
"""Of one person's findings and names."""
_BYTES_PER_FRAME = 30
"""Time and number of a frame, and the size of its picture."""
_ROOM_FOR_NOTES = 3000
_BASE64 = 3 / 4
_MEGABYTE = 1e6
_PICTURES = "picture-bytes"
"""Name of the element that holds them; no other page has one of that name."""


@dataclass(frozen=True)
class PageSettings:
    """What can be chosen of a page."""

    start: float | None = None
    end: float | None = None
    """Seconds of the video; all that was tracked where None."""
    megabytes: float = 15.0
    """The page is no larger."""


@dataclass(frozen=True, eq=False)
class Page:
    """A page and what there is to say of it."""

    text: str
    frames: Frames
    people: int
    notes: tuple[str, ...]
    """What a reader must know of the page; they stand on it too."""


def write_page(page: Page, path: Path) -> None:
    """Write it; all of the file appears, or nothing.

    Raises `InputError` if the place cannot be written to.
    """
    with atomic_path(path) as temporary:
        # Names of files may hold bytes that are no text.
        temporary.write_bytes(page.text.encode("utf-8", "xmlcharrefreplace"))


def is_page(path: Path) -> bool:
    """Whether the file is there, and one that `write_page` wrote."""
    try:
        return f'id="{_PICTURES}"'.encode() in path.read_bytes()
    except OSError:
        return False


def build_page(
    result: Result, clip: Clip | None, video_note: str, settings: PageSettings = PageSettings()
) -> Page:
    """The page of a result; `video_note` says why there is no clip, or what else it is.

    Raises `InputError` if the range has no frame or nobody in it, or is too large for the page.
    """
    frames = frames_of(result, clip, settings.start, settings.end)
    pack = Pack()
    body = add_body(pack, result.people[0].body)
    title = result.source or result.path.name
    room = settings.megabytes * _MEGABYTE * _BASE64 - len(_shell(title, "", "", "")) - len(pack)
    room -= sum(_bytes_of_person(person) for person in result.people)
    frames = _thinned(result, frames, clip is not None, room, settings.megabytes)
    people = [entry for person in result.people if (entry := add_person(pack, person, frames))]
    if not people:
        raise InputError(f"{result.path} has nobody in it from --start to --end")
    stage = set_stage(result)
    head = {
        "title": title,
        "facts": _facts(result, frames),
        **_timing(pack, frames),
        "body": body,
        "joints": list(SMPL24.joints),
        "people": people,
        "units": UNITS,
        "camera": _camera(result.camera, stage),
        "arrays": pack.table,
    }
    free = settings.megabytes * _MEGABYTE - len(_shell(title, _json(head), "", ""))
    free -= _ROOM_FOR_NOTES
    room = free * _BASE64 - len(pack) - _BYTES_PER_FRAME * len(frames)
    pictures = _pictures(clip, frames, room)
    notes = (*_notes(result, frames, pictures, video_note), stage.note)
    head |= {"notes": notes, "pictures": None if pictures is None else _sizes(pictures)}
    content = b"" if pictures is None else b"".join(pictures.content)
    text = _shell(title, _json(head), pack.text(), base64.b64encode(content).decode())
    return Page(text, frames, len(people), notes)


def _bytes_of_person(person: Person) -> int:
    return _BYTES_PER_VERTEX * len(person.body.v_template) + _BYTES_OF_ENTRY


def _timing(pack: Pack, frames: Frames) -> dict[str, object]:
    return {
        "frames": pack.add(frames.numbers, "uint32"),
        # In single precision an hour is coarser than a tenth of a millisecond.
        "times": [round(float(time), 6) for time in frames.times],
        "step": frames.step,
        "fps": frames.fps,
    }


def _camera(camera: Camera, stage: Stage) -> dict[str, object]:
    return {
        "matrix": camera.matrix().tolist(),
        "width": camera.width,
        "height": camera.height,
        # Column by column, as WebGL has it.
        "worldFromCamera": stage.world_from_camera.T.ravel().tolist(),
    }


def _sizes(pictures: Pictures) -> dict[str, object]:
    return {
        "width": pictures.width,
        "height": pictures.height,
        "sizes": [len(each) for each in pictures.content],
    }


def _thinned(
    result: Result, frames: Frames, with_pictures: bool, room: float, megabytes: float
) -> Frames:
    """So few frames that poses and least pictures fit."""
    first, last = frames.numbers[[0, -1]]
    inside = [(p.motion.frames >= first) & (p.motion.frames <= last) for p in result.people]
    poses = sum(int(each.sum()) for each in inside) / len(frames)
    per_frame = poses * _BYTES_PER_POSE + _BYTES_PER_FRAME + with_pictures * LEAST_BYTES
    if room < per_frame:
        needed = megabytes + (per_frame - room) / _MEGABYTE / _BASE64
        raise InputError(
            f"--megabytes {megabytes:g} is too little for a page of "
            f"{counted(len(result.people), 'person')}: give at least {needed:.1f}"
        )
    return frames.every(step_within(len(frames), per_frame, room))


def _pictures(clip: Clip | None, frames: Frames, room: float) -> Pictures | None:
    if clip is None:
        return None
    from_there = clip.with_range(start=float(frames.times[0]))
    return take_pictures(from_there, frames.numbers, (clip.width, clip.height), room)


def _notes(
    result: Result, frames: Frames, pictures: Pictures | None, video_note: str
) -> tuple[str, ...]:
    notes = [video_note] if video_note else []
    if result.step > 1:
        notes.append(f"One frame of {result.step} was tracked, and the others are left out.")
    if frames.step > 1:
        notes.append(
            f"One frame of {frames.step} is shown, to keep the page small; curves show the "
            "highest value in between. For all of them give --start and --end, or more --megabytes."
        )
    if pictures is not None and max(pictures.width, pictures.height) < LONGEST_SIDE:
        size = f"{pictures.width} x {pictures.height}"
        if max(result.camera.width, result.camera.height) > max(pictures.width, pictures.height):
            notes.append(f"The video is shown at {size} pixels, to keep the page small.")
    if pictures is not None and (missing := pictures.content.count(b"")):
        notes.append(f"The video breaks off: {counted(missing, 'frame')} cannot be read.")
    stand_ins = [person for person in result.people if not person.own_body]
    if stand_ins:
        named = result.meta.get("body")
        notes.append(
            f"The result was made with the body {named}, which was not given (--body): the mean "
            "open body stands in, so that the surface does not fit the person exactly."
        )
    error = corrective_error(result.people)
    if error > 0.0005:
        notes.append(
            "Pose-dependent corrections of the surface (bulges at bent joints) are left out: up "
            f"to {1000 * error:.0f} mm at single points; joints are exact."
        )
    return tuple(notes)


def _facts(result: Result, frames: Frames) -> list[tuple[str, str]]:
    meta, camera = result.meta, result.camera
    focal = f"{float(camera.focal.reshape(-1)[0]):.0f} px"
    return [
        ("video", f"{result.source}, {camera.width} x {camera.height}, {result.fps:g} fps tracked"),
        ("frames shown", f"{frames.numbers[0]} to {frames.numbers[-1]}"),
        ("focal length", f"{focal} ({'assumed' if camera.assumed else 'given'})"),
        ("body", f"{meta.get('body', '')}: {meta.get('body_licence', '')}"),
        ("weights", f"{meta.get('weights', '')} ({str(meta.get('weights_sha256', ''))[:12]})"),
        ("temporal_hmr", str(meta.get("package_version", ""))),
    ]


def _shell(title: str, head: str, arrays: str, pictures: str) -> str:
    style, markup = _asset("viewer.css"), _asset("viewer.html")
    script = "".join(_asset(f"{name}.js") for name in SCRIPTS)
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The browser itself makes sure that the page loads nothing and runs only our script.
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{fingerprint}'"
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        f"<style>\n{style}</style>\n</head>\n<body>",
        markup,
        f'<script type="application/json" id="head">{head}</script>',
        f'<script type="text/plain" id="arrays">{arrays}</script>',
        f'<script type="text/plain" id="{_PICTURES}">{pictures}</script>',
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _asset(name: str) -> str:
    folder = resources.files("temporal_hmr") / "assets" / "viewer"
    return (folder / name).read_text(encoding="utf-8")


def _json(head: dict[str, object]) -> str:
    """Strict JSON in ASCII, in which no tag can begin or end."""
    text = json.dumps(head, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
