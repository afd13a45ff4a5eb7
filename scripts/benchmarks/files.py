"""Formats of other tools, and the metrics."""

from benchmark_metrics import JOINT_CASES, random_bodies

from benchmarks.sample import TRUTH
from benchmarks.timing import Row, Settings, in_turn
from temporal_hmr.output.export import ExportSettings, export_result
from temporal_hmr.output.npz import load_motion

_SCORED_FRAMES = 300


def export(settings: Settings) -> list[Row]:
    """The sample's person as GLB and BVH."""

    def write(name: str) -> None:
        export_result(TRUTH, settings.folder / name, ExportSettings(formats=(name,)))

    ways = {"glb": lambda: write("glb"), "bvh": lambda: write("bvh")}
    taken = in_turn(ways, settings)
    count = len(load_motion(TRUTH))
    return [Row("export", f"{count} frames as {name}", 1, "file", taken[name]) for name in ways]


def metrics(settings: Settings) -> list[Row]:
    """All metrics of joints together, against a plain loop over the frames."""
    bodies = next(random_bodies(_SCORED_FRAMES, 0))
    doubles, valid = bodies.doubles(), [True] * _SCORED_FRAMES
    ways = {
        "ours": lambda: [case.ours(bodies) for case in JOINT_CASES],
        "loop": lambda: [case.loop(doubles, valid) for case in JOINT_CASES],
    }
    taken = in_turn(ways, settings)
    work = f"{len(JOINT_CASES)} metrics of 24 joints"
    return [
        Row("metrics", work, _SCORED_FRAMES, "frame", taken["ours"], "plain loop", taken["loop"])
    ]
