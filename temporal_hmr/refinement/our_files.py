"""Result files of ours with other motions in them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.ours import stated_provenance
from temporal_hmr.output.npz import load_motion, save_motion
from temporal_hmr.refinement.rewriting import NewMotion


def rewrite_ours(path: Path, new: list[NewMotion], to: Path) -> None:
    """One person; detections, boxes and camera stay. Raises `InputError` for another body."""
    (each,) = new
    meta = read_arrays(path, lambda names: [name for name in names if name == "meta"])["meta"]
    told = json.loads(str(meta))
    if told["body"] != each.body.name:
        raise InputError(f"{path} was made with the body {told['body']}: give it with --body")
    provenance = stated_provenance(path, told)
    settings = {**provenance.settings, "refined": True}
    smpl = each.motion.smpl.map(lambda tensor: tensor.float())
    joints = each.body.joints(each.motion.smpl).numpy().astype(np.float32)
    former = load_motion(path)
    assert len(former) == len(each.motion), "frames are not added to files of ours"
    world = former.world
    if world is not None and each.motion.world is not None:
        world = replace(world, smpl=each.motion.world.map(lambda tensor: tensor.float()))
    motion = replace(former, smpl=smpl, joints=joints, world=world)
    save_motion(motion, to, replace(provenance, settings=settings))
