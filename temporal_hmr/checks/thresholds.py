"""Where quality ends: what people do, as measured, and what they cannot do.

Where a figure below is said to be of the mocap, the same code was run on 441 takes of the CMU
motion capture database (75 minutes at 30 frames per second, 23 known people who walk, run, jump,
dance, play), on the open body, at 30 and, resampled, at 15, 12, 10 and 5 frames per second. That
data has glitches of its own (a cut, frozen and displaced frames), which is why its worst take is
often beyond a threshold. Nothing but the jitter needed a correction for the frame rate.
"""

from pydantic import Field, model_validator

from temporal_hmr.checks.findings import Limits
from temporal_hmr.configuration import Config


class Thresholds(Config):
    """A figure above `..._warn` is worth a look, one above `..._fail` is wrong."""

    nan_frames_warn: float = 0.0
    nan_frames_fail: float = 0.0
    """Frames; a number that is none is an error wherever it stands."""
    gap_warn: float = 0.0
    gap_fail: float = 1.0
    """Seconds without a frame between the first and the last; after a second a track is two."""
    filled_warn: float = 20.0
    filled_fail: float = 50.0
    """Per cent of frames; what is mostly guessed was not measured."""

    jitter_warn: float = 40.0
    jitter_fail: float = 90.0
    """10 m/s^3, mean over the clip, at 30 frames per second. Mocap takes: median 19, 90th
    percentile 37, 99th 54, worst 83 (running jumps). White noise of 1 mm in each coordinate
    makes 19. Published world jitter of video methods on EMDB-2 goes from 7 to 46."""
    jitter_burst_warn: float = 90.0
    jitter_burst_fail: float = 160.0
    """10 m/s^3, mean over the worst second, at 30 frames per second. Worst seconds of the mocap's
    takes: median 32, 90th percentile 53, 99th 90, worst 147 (a glitch)."""
    jitter_rate_exponent: float = Field(default=1.2, ge=0.0, le=3.0)
    """Jitter limits are multiplied by (frames per second / 30) to this power. Jitter of the mocap's
    takes falls so as it is resampled: its 90th percentile is 37, 20, 17, 15, 5.5 at 30, 15, 12, 10,
    5 frames per second, the rule says 37, 16, 12, 10, 4.3. White noise alone would fall with the
    third power."""

    pelvis_speed_warn: float = 8.0
    pelvis_speed_fail: float = 12.5
    """m/s. The fastest sprinter on record reached 12.3 m/s (100 m final, Berlin 2009, laser
    measurement); fast amateurs run at 8. Mocap: 5.2 at most, but for a cut. A camera that turns
    quickly makes such speeds too, in the camera frame."""
    pelvis_jump_warn: float = 2.5
    pelvis_jump_fail: float = 4.0
    """m/s by which a step differs from the median of its four neighbours: at 30 frames per second
    4 m/s is a jump of 13 cm. Worst of each mocap take: median 0.4 to 0.6 whatever the frame rate,
    99th percentile 1.6 to 2.6, then cuts and glitches of up to 5.4."""
    joint_speed_warn: float = 15.0
    joint_speed_fail: float = 25.0
    """m/s relative to the pelvis. Hands of elite pitchers and feet of elite footballers reach 20 to
    25 m/s; worst of each mocap take: median 4.3, 99th percentile 14, all above 11 glitches."""
    joint_jump_warn: float = 9.0
    joint_jump_fail: float = 14.0
    """m/s as for the pelvis: at 30 frames per second 14 m/s is a jump of 47 cm. Worst of each mocap
    take: median 2 to 3.5, 90th percentile 6 to 7, worst without glitches 11.6."""

    frozen_motion: float = Field(default=1e-5, ge=0.0)
    """Metres; a frame in which no joint moves further relative to the pelvis repeats the one before
    it. Nobody in the mocap is stiller than 2e-4 m in a thirtieth of a second."""
    frozen_warn: float = 0.1
    frozen_fail: float = 0.5
    """Seconds for which one pose is repeated. Mocap: none in 438 takes; in two 0.03 and 0.13 s, in
    one 0.67 s, where the capture itself hangs."""
    repeated_warn: float = 2.0
    repeated_fail: float = 20.0
    """Per cent of frames that repeat the one before: a video brought from 25 to 30 frames per
    second by doubling has 17."""

    slide_speed: float = Field(default=0.3, gt=0.0)
    """m/s; a supporting foot that is faster slides (see `foot_slide`)."""
    contact_height: float = Field(default=0.05, gt=0.0)
    """Metres above the ground below which a point of the sole may be standing on it."""
    contact_speed: float = Field(default=1.0, gt=0.0)
    """m/s above which a low foot is taken to be swinging, and left out of the mean speed."""
    ground_share: float = Field(default=0.6, ge=0.0, le=1.0)
    """Of the places where the feet rest, how many must lie within 8 cm of one plane."""
    foot_skate_warn: float = 0.3
    foot_skate_fail: float = 0.5
    """m/s, mean speed of the supporting foot while it stands. Mocap takes: median 0.11, 90th
    percentile 0.29, worst 0.49 (running). Published foot sliding on EMDB-2 (another definition)
    goes from 0.1 to 0.6 m/s."""
    foot_slide_warn: float = 0.7
    foot_slide_fail: float = 1.0
    """Seconds for which the supporting foot never comes below `slide_speed`. Longest of each mocap
    take: median 0.1, 90th percentile 0.3 to 0.4, 99th 0.5 to 0.7 at any frame rate, then one of
    acrobatics with 3.7 s."""
    penetration_warn: float = 20.0
    penetration_fail: float = 40.0
    """Millimetres, mean over frames of the depth of the lowest joint or point of a sole. Mocap
    takes: median 5, 90th percentile 11, 99th 29, worst 75 (uneven terrain)."""
    foot_sunk_warn: float = 30.0
    foot_sunk_fail: float = 50.0
    """Millimetres below the ground of the highest point of a sole, at worst. Mocap takes: median 2,
    90th percentile 24, 95th 32, 97th 40; above 60 uneven terrain, climbing, kneeling."""

    bone_drift_warn: float = 1.0
    bone_drift_fail: float = 5.0
    """Per cent of a bone's median length; bones do not grow. 5 % of a thigh are 2 cm."""
    shape_drift_warn: float = 0.25
    shape_drift_fail: float = 1.0
    """Standard deviations by which a shape coefficient leaves its median; one of the first
    coefficient is some 5 cm of stature."""

    reprojection_confidence: float = Field(default=0.5, ge=0.0, le=1.0)
    """Detected keypoints of more than this confidence are compared."""
    reprojection_warn: float = 5.0
    reprojection_fail: float = 10.0
    """Per cent of the longer side of the box, mean over keypoints and frames. Detectors and bodies
    disagree by 2 % about where a joint is; 10 % is a forearm's length at the wrong place."""

    flip_angle: float = Field(default=120.0, gt=0.0, lt=180.0)
    """Degrees of turning within a tenth of a second, or from one frame to the next where frames are
    further apart. Mocap: 87 at most (870 degrees per second, in dance, whatever the frame rate)."""
    flip_distance: float = Field(default=0.1, gt=0.0)
    """Metres that a pair of limbs moves in a step, mean over its joints, to have changed sides."""
    flip_speed: float = Field(default=4.5, gt=0.0)
    """m/s, likewise; the mocap's limbs swing through each other's mirrored place at up to 4.4."""
    flip_ratio: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Limbs end up nearer to where the other side's were, by this share of their way."""
    flips_warn: float = 0.0
    flips_fail: float = 0.0
    """Of both kinds together."""

    swap_distance: float = Field(default=0.2, gt=0.0)
    """Metres, mean over the joints of both people, that an exchange must explain away."""
    swap_box_distance: float = Field(default=0.15, gt=0.0)
    """The same for the centres of their boxes, in heights of a person."""
    swap_ratio: float = Field(default=0.5, gt=0.0, lt=1.0)
    """What the exchange leaves unexplained, over what going on as oneself does. 600 pairs of mocap
    takes that pass each other at 0.3 to 1 m: no false alarm at 5 to 30 frames per second, and of
    exchanges made in them none missed at 12 and more, 0.3 % at 10, 0.8 % at 5."""
    swaps_warn: float = 0.0
    swaps_fail: float = 0.0
    """Exchanges with another person."""
    break_pose: float = Field(default=0.3, gt=0.0)
    """Metres, mean over joints relative to the pelvis, from one frame to the next."""
    break_shape: float = Field(default=0.5, gt=0.0)
    """Standard deviations of a shape coefficient, from one frame to the next."""
    break_size: float = Field(default=1.3, gt=1.0)
    """Ratio of the heights of the boxes of neighbouring frames."""
    breaks_warn: float = 0.0
    breaks_fail: float = 2.0
    """Frames in which two or more of pelvis (a jump beyond `pelvis_jump_fail`), pose, shape and
    size change suddenly: probably somebody else from there on."""

    def limits(self, name: str) -> Limits:
        """The pair of thresholds of a figure."""
        return Limits(getattr(self, f"{name}_warn"), getattr(self, f"{name}_fail"))

    @model_validator(mode="after")
    def _ordered(self) -> "Thresholds":
        names = [name.removesuffix("_warn") for name, _ in self if name.endswith("_warn")]
        for name in names:
            limits = self.limits(name)
            # Written so that NaN is refused as well.
            if not limits.warn <= limits.fail:
                raise ValueError(
                    f"{name}_warn ({limits.warn:g}) must not be above {name}_fail "
                    f"({limits.fail:g}): set both"
                )
        return self
