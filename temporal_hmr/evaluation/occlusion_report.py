"""What hiding parts of the crop costs, as files: arrays, a summary, and a picture of the maps."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter

from temporal_hmr.evaluation.occlusion import CELLS, OcclusionMaps, PatchGrid
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.skeleton import SMPL24

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_HURT = 5
"""Joints that the summary names."""
MEAN = "all joints"
PANELS = (
    (MEAN, "head", "neck", "spine3", "spine2", "spine1"),
    ("left_collar", "right_collar", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    ("left_wrist", "right_wrist", "left_hand", "right_hand", "left_hip", "right_hip"),
    ("left_knee", "right_knee", "left_ankle", "right_ankle", "left_foot", "right_foot"),
)
"""Of the picture, from head to toe; the pelvis is what all others are seen from."""
_KEY = (
    "Colour: how a joint's error changes while the patch (the square) is centred there; above each "
    "map the error\nwithout a patch, and by how much it grows at most. Black: what bodies cover in "
    "half of the frames. Dotted: where half of these joints lie."
)
_SHOWN = 99.7
"""Percentile of the changes at which the colours end; a few places would else pale all others."""


def write_maps(maps: OcclusionMaps, facts: Mapping[str, str], folder: Path) -> list[str]:
    """`occlusion.npz`, `occlusion.json` and `occlusion.png`; returns their names.

    Raises `InputError` if the folder does not take them.
    """
    arrays = {
        "positions": np.array(maps.grid.starts),
        "patch": np.array(maps.grid.patch),
        "side": np.array(maps.grid.side),
        "errors": maps.errors,
        "baseline": maps.baseline,
        "body_share": maps.body,
        "joint_share": maps.joints,
    }
    text = json.dumps({"facts": dict(facts), **summary(maps)}, indent=1) + "\n"
    names = [f"occlusion.{ending}" for ending in ("npz", "json", "png")]
    with atomic_path(folder / names[0]) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    with atomic_path(folder / names[1]) as path:
        path.write_text(text, encoding="utf-8")
    with atomic_path(folder / names[2]) as path:
        path.write_bytes(picture(maps, ", ".join([facts["data"], facts["weights"]])))
    return names


def summary(maps: OcclusionMaps) -> dict[str, object]:
    """Per joint and over all of them (`mean`): millimetres, and where it hurts most."""
    grid, increase = maps.grid, maps.increase()
    figures = {
        name: _figures(maps.baseline[joint], increase[..., joint], grid)
        for joint, name in enumerate(SMPL24.joints)
    }
    hurt = np.argsort(-increase.mean((0, 1)), kind="stable")[:MOST_HURT]
    return {
        "frames": maps.frames,
        "side": grid.side,
        "patch": grid.patch,
        "starts": list(grid.starts),
        "mean": _figures(maps.baseline.mean(), increase.mean(-1), grid),
        "most_hurt": [SMPL24.joints[joint] for joint in hurt],
        "joints": figures,
    }


def _figures(
    baseline: float, increase: Float[ndarray, "rows columns"], grid: PatchGrid
) -> dict[str, float | list[float]]:
    row, column = np.unravel_index(increase.argmax(), increase.shape)
    centre = [grid.starts[place] + grid.patch / 2 for place in (column, row)]
    return {
        "error": float(baseline),
        "error_averaged_over_area": float(baseline + increase.mean()),
        "mean_increase": float(increase.mean()),
        "largest_increase": float(increase.max()),
        "most_sensitive_to": centre,
    }


def picture(maps: OcclusionMaps, title: str) -> bytes:
    """All maps in one scale of colours, as a PNG file."""
    import matplotlib
    from matplotlib.figure import Figure

    limit = max(float(np.percentile(np.abs(maps.increase()), _SHOWN)), 1.0)
    with matplotlib.rc_context():
        # A style of the user's own would change the picture.
        matplotlib.rcdefaults()
        figure = Figure(figsize=(15, 10.9), dpi=100, layout="constrained")
        grid = figure.subplots(len(PANELS), len(PANELS[0]), squeeze=False)
        for row, names in zip(grid, PANELS, strict=True):
            for axes, name in zip(row, names, strict=True):
                _panel(axes, maps, name, limit)
        bar = figure.colorbar(grid[0, 0].images[0], ax=grid, shrink=0.6, aspect=40, extend="both")
        bar.set_label("change of the error [mm]")
        _mark_patch(grid[0, 0], maps.grid)
        figure.suptitle(f"{title}\n{_KEY}", fontsize=11)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panel(axes: "Axes", maps: OcclusionMaps, name: str, limit: float) -> None:
    side, increase = maps.grid.side, maps.increase()
    if name == MEAN:
        values, alone = increase.mean(-1), maps.baseline.mean()
    else:
        joint = SMPL24.index(name)
        values, alone = increase[..., joint], maps.baseline[joint]
        _outline(axes, maps.joints[joint], _half_of_all(maps.joints[joint]), side, "dotted")
    first = maps.grid.starts[0] + maps.grid.patch / 2
    step = (side - maps.grid.patch) / max(len(maps.grid.starts) - 1, 1) or side
    low, high = first - step / 2, side - first + step / 2
    axes.imshow(values, "RdBu_r", vmin=-limit, vmax=limit, extent=(low, high, high, low))
    _outline(axes, maps.body, 0.5, side, "solid")
    axes.set(xlim=(0, side), ylim=(side, 0), xticks=[], yticks=[])
    axes.set_title(f"{name.replace('_', ' ')}: {alone:.0f} mm, {values.max():+.0f}", fontsize=10)


def _mark_patch(axes: "Axes", grid: PatchGrid) -> None:
    """The patch in its true size, in a corner where there is no body."""
    from matplotlib.patches import Rectangle

    place = 0.03 * grid.side
    axes.add_patch(Rectangle((place, place), grid.patch, grid.patch, facecolor="0.5"))


def _outline(
    axes: "Axes", share: Float[ndarray, "cells cells"], level: float, side: int, style: str
) -> None:
    smooth = gaussian_filter(share, 1.0)
    if not smooth.min() < level < smooth.max():
        return
    centres = (np.arange(CELLS) + 0.5) * side / CELLS
    axes.contour(centres, centres, smooth, [level], colors="black", linestyles=style, linewidths=1)


def _half_of_all(share: Float[ndarray, "cells cells"]) -> float:
    """The height above which half of what the map holds lies."""
    falling = np.sort(gaussian_filter(share, 1.0), axis=None)[::-1]
    return float(falling[np.searchsorted(falling.cumsum(), share.sum() / 2)])
