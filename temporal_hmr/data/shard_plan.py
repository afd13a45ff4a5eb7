"""Which sequences make which shards, and the making of those that are missing.

Which sequence is in which shard follows from their lengths alone. So several processes can make
shards, and what is missing can be made later, without knowing the others.
"""

import hashlib
import multiprocessing
import signal
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import torch

from temporal_hmr.body.load import load_body
from temporal_hmr.data.described_folder import claim
from temporal_hmr.data.sequence import Sequence, ShardFrames, VideoFrames
from temporal_hmr.data.shard_writing import Job, labels_of, stored_sequence, write_shard
from temporal_hmr.data.shards import (
    HOLDS,
    ShardIndex,
    ShardsDescription,
    ShardSettings,
    index_path,
    tar_path,
)
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody


def plan(sequences: Many[Sequence], frames: int) -> list[list[Sequence]]:
    """Shards of at most so many frames, in the order given.

    A longer sequence is cut in parts of equal length, which are sequences of their own. Raises
    `InputError` for those that are in shards already.
    """
    shards: list[list[Sequence]] = []
    room = 0
    for sequence in sequences:
        for part in _parts(sequence, frames):
            if len(part) > room:
                shards.append([])
                room = frames
            shards[-1].append(part)
            room -= len(part)
    return shards


def describe(
    dataset: str, part: str, sequences: Many[Sequence], settings: ShardSettings, body: str
) -> ShardsDescription:
    """What a folder of these will hold; `body` is the name of the one that shows where they are."""
    digest = hashlib.sha256()
    for sequence in sequences:
        digest.update(stored_sequence(sequence, True).model_dump_json().encode())
        for array in labels_of(sequence).values():
            digest.update(array.numpy().tobytes())
    return ShardsDescription(
        dataset=dataset,
        part=part,
        settings=settings,
        body=body,
        sequences=len(sequences),
        frames=sum(map(len, sequences)),
        shards=len(plan(sequences, settings.frames)),
        labels=digest.hexdigest(),
    )


def missing_shards(
    folder: Path, description: ShardsDescription, sequences: Many[Sequence]
) -> list[Job]:
    """Make a folder or take up one begun with the same description; what is left to make.

    Raises `InputError` if the folder holds something else, or cannot be written to.
    """
    claim(folder, description, HOLDS)
    settings = description.settings
    return [
        Job(folder, number, settings, shard)
        for number, shard in enumerate(plan(sequences, settings.frames))
        if not index_path(tar_path(folder, number)).exists()
    ]


def make_shards(jobs: Many[Job], body: Path | None, workers: int) -> Iterator[int]:
    """Make shards in so many processes, yielding their numbers as they are done.

    `body` is the file of the body that shows where people are; None for the open one. What is not
    whole when this is ended is not there. Raises `InputError` where a shard cannot be written, or a
    process dies.
    """
    workers = min(workers, len(jobs))
    if workers > 1:
        yield from _in_processes([jobs[first::workers] for first in range(workers)], body)
        return
    posed = _posed(body)
    for job in jobs:
        yield write_shard(job, posed)


def _in_processes(shares: list[Many[Job]], body: Path | None) -> Iterator[int]:
    """A process for each share."""
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    left: dict[Connection, int] = {}
    try:
        for share in shares:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(share, body, sender), daemon=True)
            process.start()
            processes.append(process)
            # The process alone holds the other end: when it is gone, this one knows.
            sender.close()
            left[receiver] = len(share)
        while left:
            for receiver in wait(list(left)):
                assert isinstance(receiver, Connection)
                yield _finished(receiver)
                left[receiver] -= 1
                if not left[receiver]:
                    del left[receiver]
    finally:
        # A shard being written is not there until it is whole.
        for process in processes:
            process.terminate()
            process.join()


def _finished(receiver: Connection) -> int:
    """The number of a shard that is done."""
    try:
        finished = receiver.recv()
    except EOFError:
        raise InputError(
            "a process that makes shards has died, perhaps for want of memory: the same command "
            "goes on; give it fewer --workers"
        ) from None
    if isinstance(finished, BaseException):
        raise finished
    return finished


def _work(jobs: Many[Job], body: Path | None, done: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        posed = _posed(body)
        for job in jobs:
            done.send(write_shard(job, posed))
    except Exception as error:
        done.send(error)


def _posed(body: Path | None) -> PosedBody:
    return PosedBody(load_body(body)).requires_grad_(False)


def report(folder: Path, description: ShardsDescription) -> dict[str, object]:
    """What is in the shards of a finished folder, by their indexes.

    Raises `InputError` where one is missing or damaged.
    """
    tars = [tar_path(folder, number) for number in range(description.shards)]
    contents = [ShardIndex.open(index_path(tar)).contents for tar in tars]
    unreadable = [reason for each in contents for reason in each.unreadable]
    return {
        "shards": len(contents),
        "images in shards": sum(each.images for each in contents),
        "bytes of shards": sum(each.size for each in contents),
        "images made smaller": sum(each.reduced for each in contents),
        "unreadable images": len(unreadable),
        "unreadable": unreadable,
    }


def _parts(sequence: Sequence, frames: int) -> list[Sequence]:
    images = _loose(sequence)
    count = -(-len(sequence) // frames)
    if count <= 1:
        return [sequence] * count
    edges = [len(sequence) * number // count for number in range(count + 1)]
    return [
        _part(sequence, images, number, first, stop)
        for number, (first, stop) in enumerate(pairwise(edges))
    ]


def _loose(sequence: Sequence) -> tuple[Path, ...] | VideoFrames:
    if isinstance(sequence.images, ShardFrames):
        raise InputError(f"{sequence.images.path} is a shard already: give the dataset itself")
    return sequence.images


def _part(
    sequence: Sequence, images: tuple[Path, ...] | VideoFrames, number: int, first: int, stop: int
) -> Sequence:
    """Some of the frames; somebody without a name stays one person in all parts."""
    part = slice(first, stop)
    return replace(
        sequence,
        name=f"{sequence.name} part {number}",
        subject=sequence.subject or sequence.name,
        images=images[part] if isinstance(images, tuple) else images.of(first, stop),
        times=sequence.times[part],
        focal=None if sequence.focal is None else sequence.focal[part],
        center=None if sequence.center is None else sequence.center[part],
        boxes=sequence.boxes[part],
        keypoints=sequence.keypoints[part],
        joints=sequence.joints[part],
        has_joints=sequence.has_joints[part],
        smpl=None if sequence.smpl is None else sequence.smpl[part],
        has_smpl=None if sequence.has_smpl is None else sequence.has_smpl[part],
    )
