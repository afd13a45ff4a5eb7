"""OBJ: a mesh for every frame, in a folder for each person, named by the frame's number.

Metres, y up, in the world or as the camera saw it (`exported`): the same space as the GLB's.
"""

from pathlib import Path

from temporal_hmr.output.exported import Exported

_FRAMES_AT_ONCE = 32


def write_obj(person: Exported, folder: Path, every: int = 1) -> None:
    """Write every so many of the person's frames into a folder that is made.

    Raises `OSError` if the place cannot be written to.
    """
    folder.mkdir(parents=True)
    smpl, frames = person.filmed()[::every], person.frames[::every]
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in (person.body.faces + 1).tolist())
    line = "v %.6f %.6f %.6f\n" * len(person.body.v_template)
    for begin in range(0, len(frames), _FRAMES_AT_ONCE):
        chosen = slice(begin, begin + _FRAMES_AT_ONCE)
        vertices = person.body.vertices(smpl[chosen]).flatten(1).tolist()
        for frame, numbers in zip(frames[chosen].tolist(), vertices, strict=True):
            text = f"o {person.name}\n{line % tuple(numbers)}{faces}"
            (folder / f"{frame:06d}.obj").write_text(text, encoding="ascii")
