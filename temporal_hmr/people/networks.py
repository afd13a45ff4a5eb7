"""RT-DETR and ViTPose: pictures in, boxes or heatmaps out, on the device that holds the networks.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024; Xu et al., "ViTPose",
NeurIPS 2022, and "ViTPose++", TPAMI 2023. Images are prepared here, as the image processors of
transformers do it, because some of these need torchvision.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from temporal_hmr.errors import InputError
from temporal_hmr.people.pretrained import Pretrained, load_module
from temporal_hmr.skeleton import COCO17, COCO23

_WHOLE_BODY = 133
"""Keypoints of COCO-WholeBody: those of `COCO23`, then face and hands."""
_EXPERTS = {len(COCO17): 0, _WHOLE_BODY: 5}
"""Which of ViTPose++'s experts, one for each dataset, knows that many keypoints."""
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Look:
    """What images a network was trained with."""

    size: tuple[int, int]
    """Height and width in px."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of the channels red, green, blue in 0..1."""

    def normalised(self, images: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 H W"]:
        """The images, of 0..1, as the network takes them."""
        mean, std = (images.new_tensor(each)[:, None, None] for each in (self.mean, self.std))
        return (images - mean) / std


class RtDetr:
    """Finds people in images."""

    def __init__(self, files: Pretrained, device: torch.device) -> None:
        """Raises `InputError` if the files do not make a network that knows people."""
        module = load_module(files)
        labels = {str(name).lower(): int(n) for n, name in module.config.id2label.items()}
        if "person" not in labels:
            raise InputError(f"{files.folder} finds no people: no label of its is 'person'")
        self._person = labels["person"]
        self._independent = bool(module.config.use_focal_loss)
        self.look = _look(files, (640, 640), normalised=False)
        self._module, self._device = module.to(device), device

    def find(self, image: UInt8[ndarray, "H W 3"]) -> tuple[ndarray, ndarray]:
        """How sure it is of each of its boxes (n, 0..1) that it holds a person; boxes (n 4).

        Boxes are xyxy in px and may reach beyond the image a little.
        """
        height, width = image.shape[:2]
        picture = _on(self._device, image[None])
        smaller = nn.functional.interpolate(
            picture, self.look.size, mode="bilinear", antialias=True, align_corners=False
        )
        with _running(self._device):
            told = self._module(pixel_values=self.look.normalised(smaller))
        logits, boxes = told.logits[0].float(), told.pred_boxes[0].float().cpu().numpy()
        shares = logits.sigmoid() if self._independent else logits.softmax(-1)
        middle, side = boxes[:, :2], boxes[:, 2:]
        corners = np.concatenate([middle - side / 2, middle + side / 2], -1)
        return shares[:, self._person].cpu().numpy(), corners * (width, height, width, height)


class VitPose:
    """Reads the pose of whoever is in the middle of a crop."""

    def __init__(self, files: Pretrained, device: torch.device) -> None:
        """Raises `InputError` if the files do not make a network of keypoints that we know."""
        module = load_module(files)
        config = module.config
        if config.num_labels not in _EXPERTS:
            raise InputError(
                f"{files.folder} reads {config.num_labels} keypoints; known are COCO's "
                f"{len(COCO17)} and COCO-WholeBody's {_WHOLE_BODY}"
            )
        self.joints = min(config.num_labels, len(COCO23))
        """The first so many of `COCO23` are known."""
        experts = getattr(config.backbone_config, "num_experts", 1)
        self._expert = _EXPERTS[config.num_labels] if experts > 1 else None
        if self._expert is not None and self._expert >= experts:
            raise InputError(f"{files.folder} has {experts} experts, none for its keypoints")
        self.look = _look(files, _pair(config.backbone_config.image_size), normalised=True)
        self._module, self._device = module.to(device), device

    def heatmaps(self, crops: UInt8[ndarray, "n h w 3"]) -> Float[ndarray, "n J rows columns"]:
        """One map for each of the `joints`; its outermost cells lie on the border of the crop."""
        pictures = self.look.normalised(_on(self._device, crops))
        expert = {}
        if self._expert is not None:
            numbers = torch.full((len(crops),), self._expert, device=self._device)
            expert = {"dataset_index": numbers}
        with _running(self._device):
            told = self._module(pixel_values=pictures, **expert)
        return told.heatmaps[:, : self.joints].float().cpu().numpy()


@contextmanager
def _running(device: torch.device) -> Iterator[None]:
    """Nothing is learned; on a GPU most is computed in half precision."""
    half = torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")
    with torch.inference_mode(), half:
        yield


def _on(device: torch.device, images: UInt8[ndarray, "n H W 3"]) -> Float[Tensor, "n 3 H W"]:
    """Images on the device, 0..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return rearrange(tensor, "n h w c -> n c h w").float() / 255


def _look(files: Pretrained, size: tuple[int, int], normalised: bool) -> Look:
    """As their preprocessing says; where it says nothing, with this size, normalised or not."""
    told = files.preprocessing()
    try:
        stated = told.get("size")
        size = size if stated is None else (int(stated["height"]), int(stated["width"]))
        mean, std = (_channels({**_IMAGENET, **told}, name) for name in _IMAGENET)
        wrong = min(*size, *std) <= 0
    except (KeyError, TypeError, ValueError):
        wrong = True
    if wrong:
        raise InputError(
            f"{files.folder}: preprocessor_config.json does not say size (height and width), "
            "image_mean and image_std as we know them; get it anew"
        )
    if not told.get("do_normalize", normalised):
        mean, std = (0.0,) * 3, (1.0,) * 3
    return Look(size, mean, std)


def _channels(told: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in told[name])
    return red, green, blue


def _pair(size: Any) -> tuple[int, int]:
    """Height and width; one number stands for both."""
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return int(height), int(width)
