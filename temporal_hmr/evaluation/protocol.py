"""How a benchmark is scored: every choice that moves a number without changing the method.

A preset names a published practice. Papers that report "MPJPE on 3DPW" differ in joint set, root,
ground-truth body, frames, units and averaging; here each of these is a switch, printed with every
result, and any can be changed by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import yaml
from pydantic import Field

from temporal_hmr.command_line import nearest
from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError

Metric = Literal[
    "mpjpe",
    "pa_mpjpe",
    "pve",
    "pa_pve",
    "mpjae",
    "pa_mpjae",
    "pck",
    "auc",
    "acceleration_error",
    "acceleration",
    "jitter",
    "jitter_all_joints",
    "jitter_world",
    "w_mpjpe",
    "wa_mpjpe",
    "rte",
    "erve",
    "foot_sliding",
]


class Protocol(Config):
    """The switches of one protocol."""

    metrics: tuple[Metric, ...] = Field(min_length=1)
    """What is reported, in this order."""
    joints: Literal["smpl24", "smpl24_regressed", "lsp14", "hmr2_14"]
    """The joints that are compared: the 24 kinematic joints of SMPL (smpl24); the same regressed
    from the posed surface of the neutral body (smpl24_regressed); 14 joints by the Human3.6M
    regressor, in LSP order (lsp14); 14 joints by the regressor of 4D-Humans (hmr2_14)."""
    root: Literal["pelvis", "hips"]
    """What joints are relative to: the pelvis joint of the set's own kind, or the midpoint of both
    hips. hmr2_14 has its own pelvis."""
    truth_body: Literal["gendered", "neutral"] = "gendered"
    """Which body the true parameters pose; predictions always pose the neutral one unless their
    file names another."""
    regress_at: Literal["origin", "place"] = "origin"
    """Where the body stands when joints are regressed from its surface. Rows of the public
    regressor do not sum to one, so joints drift by millimetres with distance from the origin."""
    frames: Literal["all", "visible", "visible_and_camera", "challenge", "good"] = "all"
    """Which frames are scored; see `LabelledSequence.frame_rules`."""
    window: int = Field(default=0, ge=0)
    """Whole windows of so many scored frames count, the rest of a sequence is dropped (0: none)."""
    gaps: Literal["crossing", "safe"] = "crossing"
    """Whether differences in time are taken across frames that are not scored, as published, or
    between neighbours only. The other kind is reported beside it."""
    stitched: bool = False
    """Whether all sequences are laid end to end before the acceleration error is taken."""
    acceleration_unit: Literal["mm/frame^2", "m/s^2"] = "m/s^2"
    acceleration_trim: int = Field(default=0, ge=0)
    """Values dropped at both ends of every sequence."""
    vertices: Literal["root", "unaligned"] = "root"
    """PVE with both bodies relative to the root of the joints, or with zero translation as they
    stand."""
    guesses: Literal["score", "skip"] = "score"
    """Whether frames count that the predicting system itself calls filled in."""
    averaging: Literal["frames", "clips"] = "frames"
    """Mean over all frames of all sequences, or over the means of the sequences. EMDB's jitter
    (jitter, jitter_all_joints) is always the latter, as published."""
    rte_root: Literal["pelvis", "translation"] = "pelvis"
    """Whose path the root trajectory error follows: the pelvis joint's or SMPL's translation."""


_FRAME = ("mpjpe", "pa_mpjpe", "pve")
_EMDB_WORLD = ("wa_mpjpe", "w_mpjpe", "rte", "jitter_world", "foot_sliding")
_LSP = {"joints": "lsp14", "root": "hips", "frames": "visible"}
_EMDB = {"joints": "smpl24", "root": "hips", "frames": "good"}
_VIBE = {
    **_LSP,
    "metrics": (*_FRAME, "acceleration_error"),
    "truth_body": "neutral",
    "stitched": True,
    "acceleration_unit": "mm/frame^2",
    "vertices": "unaligned",
}

PRESETS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "3dpw": {"3dpw": {**_LSP, "metrics": (*_FRAME, "acceleration_error", "jitter_all_joints")}},
    "3dpw-challenge": {
        "3dpw": {
            "metrics": ("mpjpe", "pa_mpjpe", "pck", "auc", "mpjae", "pa_mpjae"),
            "joints": "smpl24",
            "root": "pelvis",
            "frames": "challenge",
        }
    },
    "vibe": {"3dpw": {**_VIBE, "window": 16}},
    "tcmr": {"3dpw": {**_VIBE, "frames": "visible_and_camera", "stitched": False}},
    "int": {"3dpw": _VIBE},
    "wham": {
        "3dpw": {**_LSP, "metrics": (*_FRAME, "acceleration_error"), "acceleration_trim": 1},
        "emdb1": {**_EMDB, "metrics": (*_FRAME, "acceleration_error"), "acceleration_trim": 1},
        "emdb2": {**_EMDB, "metrics": _EMDB_WORLD, "rte_root": "translation"},
    },
    "gvhmr": {
        "3dpw": {**_LSP, "metrics": (*_FRAME, "acceleration_error"), "regress_at": "place"},
        "emdb1": {
            **_EMDB,
            "metrics": (*_FRAME, "acceleration_error"),
            "joints": "smpl24_regressed",
            "regress_at": "place",
        },
        "emdb2": {**_EMDB, "metrics": _EMDB_WORLD, "joints": "smpl24_regressed"},
    },
    "hmr2": {
        "3dpw": {
            "metrics": ("mpjpe", "pa_mpjpe"),
            "joints": "hmr2_14",
            "root": "pelvis",
            "frames": "challenge",
        },
        "emdb1": {**_EMDB, "metrics": _FRAME, "joints": "smpl24_regressed"},
    },
    "emdb1": {
        "emdb1": {
            **_EMDB,
            "metrics": (
                *_FRAME,
                "pa_pve",
                "mpjae",
                "pa_mpjae",
                "acceleration_error",
                "jitter",
                "jitter_all_joints",
            ),
        }
    },
    "emdb1-official": {
        "emdb1": {
            **_EMDB,
            "metrics": (*_FRAME, "pa_pve", "mpjae", "pa_mpjae", "jitter"),
        }
    },
    "emdb2": {"emdb2": {**_EMDB, "metrics": (*_EMDB_WORLD, "erve")}},
    "mocap": {
        "mocap": {
            "metrics": ("mpjpe", "pa_mpjpe", "acceleration_error", "acceleration", "jitter_world"),
            "joints": "smpl24",
            "root": "pelvis",
            "truth_body": "neutral",
            "acceleration_unit": "mm/frame^2",
            "gaps": "safe",
        }
    },
    "videos": {
        "videos": {
            "metrics": (*_FRAME, "acceleration_error", "jitter_all_joints", "rte"),
            "joints": "smpl24",
            "root": "pelvis",
            "truth_body": "neutral",
            "acceleration_unit": "mm/frame^2",
            "gaps": "safe",
        }
    },
    "clips": {
        "clips": {
            "metrics": (*_FRAME, "acceleration_error"),
            "joints": "smpl24",
            "root": "pelvis",
            "truth_body": "neutral",
            "acceleration_unit": "mm/frame^2",
            "gaps": "safe",
        }
    },
}
"""Published practices by name, and for each dataset that they score what they do there."""


def preset(name: str, dataset: str) -> Protocol:
    """The protocol of that name for one kind of dataset; raises `InputError` if there is none."""
    if name not in PRESETS:
        near = nearest(name, PRESETS)
        raise InputError(
            f"there is no protocol {name!r}"
            + (f"; did you mean {near}?" if near else f"; there are {', '.join(PRESETS)}")
        )
    kinds = PRESETS[name]
    if dataset not in kinds:
        fitting = [other for other, kinds in PRESETS.items() if dataset in kinds]
        raise InputError(
            f"protocol {name} scores {' and '.join(kinds)}, not {dataset}; "
            f"for {dataset} there are {', '.join(fitting)}"
        )
    return parse_config(dict(kinds[dataset]), Protocol, f"protocol {name}")


def with_switches(protocol: Protocol, switches: Sequence[str]) -> Protocol:
    """The protocol with some switches set otherwise, each given as `name=value`.

    Raises `InputError` for an unknown switch or a value that it does not take.
    """
    values: dict[str, object] = protocol.model_dump()
    named = []
    for switch in switches:
        name, equals, value = switch.partition("=")
        if not equals:
            raise InputError(f"--set takes SWITCH=VALUE, not {switch!r}")
        named.append(name)
        if name == "metrics":
            values[name] = list(dict.fromkeys(part.strip() for part in value.split(",")))
            continue
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {name}: {value!r} is no value") from None
    changed = parse_config(values, Protocol, "--set")
    for name in named:
        if not _matters(name, changed):
            raise InputError(
                f"--set {name} would change nothing: no metric of this protocol depends on it "
                f"(they are {', '.join(changed.metrics)})"
            )
    return changed


_FRAME_METRICS = {"mpjpe", "pa_mpjpe", "pve", "pa_pve", "pa_mpjae", "acceleration_error",
                  "acceleration"}  # fmt: skip
_ACCELERATIONS = {"acceleration_error", "acceleration"}
_BY_JOINTS = _FRAME_METRICS | {"w_mpjpe", "wa_mpjpe", "rte", "jitter_world"}
_THROUGH_TIME = _ACCELERATIONS | {
    "jitter", "jitter_all_joints", "jitter_world", "w_mpjpe", "wa_mpjpe", "rte", "erve",
    "foot_sliding",
}  # fmt: skip
_DEPENDENTS: Mapping[str, set[str]] = {
    "joints": _BY_JOINTS,
    "root": _FRAME_METRICS - {"pa_mpjpe", "pa_pve", "pa_mpjae"},
    "regress_at": _FRAME_METRICS,
    "gaps": _THROUGH_TIME,
    "stitched": {"acceleration_error"},
    "acceleration_unit": _ACCELERATIONS,
    "acceleration_trim": {"acceleration_error"},
    "vertices": {"pve"},
    "rte_root": {"rte"},
}
"""Metrics that a switch can move; switches that are not here move all."""


def _matters(switch: str, protocol: Protocol) -> bool:
    by_kinematics = protocol.joints == "smpl24" and protocol.vertices == "root"
    if switch == "regress_at" and by_kinematics:
        return False
    dependents = _DEPENDENTS.get(switch)
    return dependents is None or bool(dependents & set(protocol.metrics))


def described(protocol: Protocol) -> list[tuple[str, str]]:
    """Every switch and its value, as printed with each result."""
    pairs = protocol.model_dump().items()
    return [(name, ", ".join(v) if isinstance(v, tuple) else str(v)) for name, v in pairs]
