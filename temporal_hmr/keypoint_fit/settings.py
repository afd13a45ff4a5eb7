"""How bodies are moved onto keypoints."""

from dataclasses import dataclass, field, replace

from temporal_hmr.keypoint_fit.jumps import Jumps

ROUGH_STEPS = 2


@dataclass(frozen=True)
class Reprojection:
    """How far to believe network and detector. Lengths are metres where the person stands."""

    steps: int = 3
    """Of Gauss and Newton."""
    shaped: bool = True
    """Whether the shape is moved too, and not the motion alone."""
    sigma: float = 0.015
    """Error of a detector at its best; beyond it, errors count in proportion, not squared. Exact
    keypoints could be believed more, but no detector means just what the body has."""
    lingering: float = 6.0
    """Lasting error of a keypoint for each metre that trembles about it from frame to frame."""
    most_lingering: float = 0.04
    """Metres, above which it does not grow: what trembles wildly is no further off on the whole."""
    prior: float = 1.0
    """Weight of a change of one standard deviation."""
    smooth: float = 6.0
    """Weight of a change's acceleration, standard deviations per (1/30 s)^2."""
    smooth_trembling: float = 2000.0
    """The same for each metre that keypoints tremble by."""
    calm_trembling: float = 3000.0
    """Weight of the acceleration of joints themselves, in units of 0.15 rad per (1/30 s)^2, for
    each metre that keypoints tremble and jump by, root mean square: what trembles in the picture
    makes the network tremble."""
    visible_above: float = 0.05
    """Keypoints of lower confidence count as unseen."""
    jumps: Jumps | None = field(default_factory=Jumps)
    """Keypoints that the network is not shown when it looks again; None if it looks once."""

    def roughly(self) -> "Reprojection":
        """What is enough to see which keypoints jump."""
        return replace(self, steps=min(self.steps, ROUGH_STEPS), shaped=False)

    def by_frame(self) -> "Reprojection":
        """The same for frames that do not pull at each other.

        Their shape is still one, and how much their keypoints tremble is told from their clip.
        """
        alone = replace(self, lingering=0.0, smooth=0.0, smooth_trembling=0.0, calm_trembling=0.0)
        return replace(alone, jumps=None)
