"""What a temporal model has to beat: filters of single frames, and knowing nothing of a pose."""

from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.filters import one_euro_smpl, savitzky_golay_smpl
from temporal_hmr.rotation import nearest_rotation


def baselines(
    truth: SmplParams, per_frame: SmplParams, times: Float[ndarray, "T"]
) -> dict[str, SmplParams]:
    """By name: the frames' own answers filtered, and the mean pose.

    The mean pose is told more than it could know: orientation, shape and place of every frame, and
    the mean of this very sequence.
    """
    mean = nearest_rotation(truth.body_pose.mean(0)).expand_as(truth.body_pose)
    return {
        "per frame, one-euro": one_euro_smpl(per_frame, times),
        "per frame, Savitzky-Golay": savitzky_golay_smpl(per_frame),
        "mean pose of the sequence": SmplParams(
            truth.global_orient, mean, truth.betas, truth.transl
        ),
    }
