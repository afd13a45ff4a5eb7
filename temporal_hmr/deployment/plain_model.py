"""The model as a function of plain tensors, and what each of them means."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.crops import BOX_MARGIN, CONFIDENT, SMOOTHING_SECONDS
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody


@dataclass(frozen=True)
class Port:
    """One input or output."""

    name: str
    shape: tuple[str | int, ...]
    """A word is an axis of any length."""
    type: str
    unit: str
    meaning: str


_FRAMES = ("batch", "frames")
INPUTS = (
    Port(
        "keypoints",
        (*_FRAMES, 23, 2),
        "float32",
        "half the side of the box",
        "x right, y down in the square box that follows the person, -1 and 1 are its edges: "
        "(pixel - box_center) / (box_size / 2); 0, 0 where the score is 0",
    ),
    Port("scores", (*_FRAMES, 23), "float32", "0..1", "confidence; 0 marks an unknown keypoint"),
    Port(
        "box_center",
        (*_FRAMES, 2),
        "float32",
        "pixels of the full image",
        f"middle of the smallest rectangle around the keypoints of at least {CONFIDENT} confidence "
        "(all known ones where fewer than 4 are), averaged over the frames of the window with "
        "weights exp(-dt^2 / (2 s^2)) times the number of those keypoints, s = "
        f"{SMOOTHING_SECONDS} seconds",
    ),
    Port(
        "box_size",
        _FRAMES,
        "float32",
        "pixels of the full image",
        f"{BOX_MARGIN} times the longer side of that rectangle, averaged in the same way",
    ),
    Port("focal", ("batch", 2), "float32", "pixels of the full image", "focal length along x, y"),
    Port("center", ("batch", 2), "float32", "pixels of the full image", "principal point"),
    Port(
        "times",
        _FRAMES,
        "float32",
        "seconds",
        "counted from the first frame of the window; about 30 frames a second in training",
    ),
    Port("valid", _FRAMES, "bool", "", "false for padding at the end of a short window"),
)
OUTPUTS = (
    Port(
        "rotations",
        (*_FRAMES, 24, 3, 3),
        "float32",
        "rotation matrices",
        "SMPL's 24 joints; the first is the global orientation in the camera frame, the others "
        "are relative to their parents",
    ),
    Port("betas", (*_FRAMES, 10), "float32", "standard deviations", "shape of the open body"),
    Port(
        "transl",
        (*_FRAMES, 3),
        "float32",
        "metres",
        "SMPL's translation in the camera frame of the full image",
    ),
    Port("joints", (*_FRAMES, 24, 3), "float32", "metres", "kinematic joints, camera frame"),
)

Outputs = tuple[
    Float[Tensor, "B T 24 3 3"],
    Float[Tensor, "B T 10"],
    Float[Tensor, "B T 3"],
    Float[Tensor, "B T 24 3"],
]


class PlainHmr(nn.Module):
    """`Hmr.forward` from the tensors of `INPUTS` to those of `OUTPUTS`."""

    def __init__(self, model: Hmr, body: PosedBody) -> None:
        """Raises `InputError` for a model that looks at images, or speaks of SMPL's shapes."""
        super().__init__()
        if model.config.image_side() is not None:
            raise InputError("these weights look at images: only models of keypoints are exported")
        if model.config.body != body.body.name:
            raise InputError(
                f"these weights speak of the shapes of the body {model.config.body}, which may not "
                "be passed on in a model file"
            )
        self.model = model
        self.body = body

    def forward(
        self,
        keypoints: Float[Tensor, "B T 23 2"],
        scores: Float[Tensor, "B T 23"],
        box_center: Float[Tensor, "B T 2"],
        box_size: Float[Tensor, "B T"],
        focal: Float[Tensor, "B 2"],
        center: Float[Tensor, "B 2"],
        times: Float[Tensor, "B T"],
        valid: Bool[Tensor, "B T"],
    ) -> Outputs:
        window = CropWindow(keypoints, scores, box_center, box_size, focal, center, times, valid)
        found = self.model(window, self.body)
        return found.smpl.rotations(), found.smpl.betas, found.smpl.transl, found.joints


def plain(window: CropWindow) -> tuple[Tensor, ...]:
    """The tensors of a window in the order of `INPUTS`."""
    return tuple(getattr(window, port.name) for port in INPUTS)
