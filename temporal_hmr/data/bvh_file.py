"""The BVH file format (Biovision hierarchy): parser and forward kinematics.

What BVH leaves open (axis that points up, unit of length, the pose that zero rotations mean, the
names of joints) is settled in `bvh`, which turns a file into SMPL's skeleton.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from temporal_hmr.errors import InputError

_POSITION_CHANNELS = ("Xposition", "Yposition", "Zposition")
_ROTATION_CHANNELS = ("Xrotation", "Yrotation", "Zrotation")


@dataclass(frozen=True, eq=False)
class BvhMotion:
    """A BVH file as it stands: its own joints, unit of length and axes."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """-1 for a root; parents come before their children."""
    offsets: Float[ndarray, "J 3"]
    rotations: Float[ndarray, "T J 3 3"]
    """Relative to the parent."""
    translations: Float[ndarray, "T J 3"]
    """From the parent, in its frame."""
    frame_rate: float

    @cached_property
    def world_rotations(self) -> Float[ndarray, "T J 3 3"]:
        world = self.rotations.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                world[:, joint] = world[:, parent] @ self.rotations[:, joint]
        return world

    @cached_property
    def positions(self) -> Float[ndarray, "T J 3"]:
        """Places of the joints in the file's world and unit."""
        places = self.translations.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                step = self.world_rotations[:, parent] @ self.translations[:, joint, :, None]
                places[:, joint] = places[:, parent] + step[..., 0]
        return places

    @cached_property
    def zero_pose(self) -> Float[ndarray, "J 3"]:
        """Places of the joints when all rotations are zero, the root at the origin."""
        places = self.offsets.copy()
        for joint, parent in enumerate(self.parents):
            places[joint] = places[parent] + self.offsets[joint] if parent >= 0 else 0.0
        return places


def parse_bvh(path: str | Path) -> BvhMotion:
    """Parse a BVH file as it stands: its own skeleton, units and axes.

    Any order and number of channels; rotations are applied in the order that the channels are
    listed. Position channels stand in for the joint's OFFSET. An End Site becomes a joint named
    after its parent with `_end` behind. Raises `InputError` naming file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    lines = _Lines(str(path), text.splitlines())
    if lines.next() != ["HIERARCHY"]:
        raise lines.wrong("expected HIERARCHY: this is no BVH file")
    tree = _Tree()
    while (words := lines.next()) != ["MOTION"]:
        _read_tree(lines, words, tree)
    if not tree.names:
        raise lines.wrong("MOTION comes before any ROOT joint")
    count, frame_rate = _read_motion_head(lines)
    values = _read_frames(lines, count, sum(len(channels) for channels in tree.channels))
    rotations, translations = _local_transforms(tree, values)
    return BvhMotion(
        tuple(tree.names),
        tuple(tree.parents),
        np.array(tree.offsets),
        rotations,
        translations,
        frame_rate,
    )


@dataclass
class _Lines:
    """The lines of a file with words on them, one after another, and where we are."""

    path: str
    lines: list[str]
    number: int = 0

    def next(self) -> list[str]:
        while self.number < len(self.lines):
            self.number += 1
            words = self.lines[self.number - 1].replace("\ufeff", "").split()
            if words:
                return words
        raise InputError(f"{self.path}, line {self.number}: the file ends too early.")

    def peek(self) -> str:
        """The first word of the next line, empty if that line is."""
        words = self.lines[self.number].split() if self.number < len(self.lines) else []
        return words[0] if words else ""

    def wrong(self, what: str) -> InputError:
        return InputError(f"{self.path}, line {self.number}: {what}.")

    def numbers(self, words: list[str]) -> list[float]:
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise self.wrong(f"expected numbers, {error}") from None
        if not all(map(math.isfinite, values)):
            raise self.wrong("a number is not finite")
        return values


@dataclass
class _Tree:
    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


def _read_tree(lines: _Lines, words: list[str], tree: _Tree) -> None:
    """A root and all below it."""
    open_joints = [_open_joint(lines, words, tree, parent=-1)]
    while open_joints:
        words = lines.next()
        if words == ["}"]:
            open_joints.pop()
        else:
            open_joints.append(_open_joint(lines, words, tree, parent=open_joints[-1]))


def _open_joint(lines: _Lines, words: list[str], tree: _Tree, parent: int) -> int:
    """The name, brace, OFFSET and CHANNELS that a joint begins with."""
    keyword, name = words[0], " ".join(words[1:])
    expected = ("ROOT",) if parent < 0 else ("JOINT", "End")
    if keyword not in expected or not name:
        raise lines.wrong(f"expected {' or '.join(expected)} with a name, got {' '.join(words)!r}")
    if keyword == "End":
        name = tree.names[parent] + "_end"
    if lines.next() != ["{"]:
        raise lines.wrong(f"expected {{ after the name of {name}")
    words = lines.next()
    if words[0] != "OFFSET" or len(words) != 4:
        raise lines.wrong(f"expected OFFSET and three numbers for {name}")
    tree.names.append(name)
    tree.parents.append(parent)
    tree.offsets.append(lines.numbers(words[1:]))
    tree.channels.append(_channels(lines, lines.next()) if lines.peek() == "CHANNELS" else [])
    return len(tree.names) - 1


def _channels(lines: _Lines, words: list[str]) -> list[str]:
    names = words[2:]
    if len(words) < 2 or not words[1].isdigit() or int(words[1]) != len(names):
        raise lines.wrong("CHANNELS must be followed by their number and as many names")
    for name in names:
        if name not in _POSITION_CHANNELS + _ROTATION_CHANNELS:
            raise lines.wrong(f"unknown channel {name!r}")
    if len(set(names)) != len(names):
        raise lines.wrong("a channel is listed twice")
    return names


def _read_motion_head(lines: _Lines) -> tuple[int, float]:
    words = lines.next()
    if words[0] != "Frames:" or len(words) != 2 or not words[1].isdigit() or int(words[1]) < 1:
        raise lines.wrong("expected 'Frames:' and their number, at least one")
    count = int(words[1])
    words = lines.next()
    if words[:2] != ["Frame", "Time:"] or len(words) != 3:
        raise lines.wrong("expected 'Frame Time:' and seconds")
    (seconds,) = lines.numbers(words[2:])
    if seconds <= 0:
        raise lines.wrong("the frame time must be positive")
    # The time is printed rounded: 0.016667 means 60 frames per second, not 59.9988.
    rounding = 0.505 * 10.0 ** -len(words[2].partition(".")[2])
    rate = 1 / seconds
    whole = max(round(rate), 1)
    return count, float(whole) if abs(1 / whole - seconds) <= rounding else rate


def _read_frames(lines: _Lines, count: int, width: int) -> Float[ndarray, "T channels"]:
    frames = []
    for frame in range(count):
        words = lines.next()
        if len(words) != width:
            raise lines.wrong(f"frame {frame} has {len(words)} values, the skeleton has {width}")
        frames.append(lines.numbers(words))
    if any(line.strip() for line in lines.lines[lines.number :]):
        lines.number += 1
        raise lines.wrong(f"there is more after the {count} frames that 'Frames:' promised")
    return np.array(frames).reshape(count, width)


def _local_transforms(
    tree: _Tree, values: Float[ndarray, "T channels"]
) -> tuple[Float[ndarray, "T J 3 3"], Float[ndarray, "T J 3"]]:
    count = len(values)
    rotations = np.tile(np.eye(3), (count, len(tree.names), 1, 1))
    translations = np.tile(np.array(tree.offsets), (count, 1, 1))
    column = 0
    for joint, channels in enumerate(tree.channels):
        order, columns = "", []
        for name in channels:
            if name in _POSITION_CHANNELS:
                translations[:, joint, _POSITION_CHANNELS.index(name)] = values[:, column]
            else:
                order += name[0]
                columns.append(column)
            column += 1
        if order:
            # Upper case: intrinsic rotations, that is R = R_first R_second R_third.
            turns = Rotation.from_euler(order, values[:, columns], degrees=True)
            rotations[:, joint] = turns.as_matrix()
    return rotations, translations
