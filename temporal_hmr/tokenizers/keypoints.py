"""2D keypoints as compositional tokens (Geng et al., PCT, CVPR 2023, section 3.1).

`PUBLISHED` is the paper's tokenizer: COCO's 17 joints in pixels of a 256-pixel crop, with an image
guide. Ours differs in settings of the data and not of the method: the keypoints are in crop
coordinates (-1..1), the joint set includes the feet, there is no image, and training inputs carry
detector-like noise while the target is the true projection.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.layers import MixerLayer
from temporal_hmr.skeleton import COCO17, COCO23
from temporal_hmr.tokenizers.codebook import Codebook, Quantised


class KeypointTokenizerConfig(Config):
    """Sizes of the tokenizer; `PUBLISHED` has those of the paper."""

    joints: int = Field(default=len(COCO23), gt=0)
    tokens: int = Field(default=24, gt=0)
    width: int = Field(default=128, gt=0)
    layers: int = Field(default=4, ge=0)
    token_hidden: int = Field(default=64, gt=0)
    channel_hidden: int = Field(default=256, gt=0)
    codes: int = Field(default=512, gt=0)
    code_dim: int = Field(default=64, gt=0)
    decay: float = Field(default=0.9, ge=0, lt=1)
    restart_below: float = Field(default=0.1, ge=0)
    decoder_width: int = Field(default=32, gt=0)
    commitment: float = Field(default=0.05, ge=0)
    """Weight of the commitment term; the paper's 15 belongs to its loss in pixels."""
    hidden_joints: float = Field(default=0.0, ge=0, lt=1)
    """Chance that `forward` hides a visible joint from the encoder in training mode. The loss is to
    judge these as well: what was hidden must be painted in."""
    guide_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embedding that the image tells; 0 is a tokenizer that needs no image."""
    guide_channels: int = Field(default=1024, gt=0)
    guide_cell: float = Field(default=32.0, gt=0)
    """Side of a cell of the guide's feature map, in the unit of the keypoints."""

    @property
    def guide_width(self) -> int:
        """Channels of the embedding that the image tells."""
        return round(self.width * self.guide_ratio)


PUBLISHED = KeypointTokenizerConfig(
    joints=len(COCO17),
    tokens=34,
    width=512,
    channel_hidden=512,
    codes=2048,
    code_dim=512,
    restart_below=0.0,
    commitment=15.0,
    hidden_joints=0.2,
    guide_ratio=0.5,
)
"""PCT as published with a backbone of 1024 channels; `guide_ratio=0` is its variant without."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the tokenizer makes of a set of keypoints."""

    keypoints: Float[Tensor, "N joints 2"]
    indices: Int[Tensor, "N tokens"]
    commitment: Float[Tensor, ""]


class KeypointTokenizer(nn.Module):
    """VQ-VAE from joints to M tokens of one shared codebook and back.

    A guided tokenizer (`guide_ratio` > 0) is given the feature map of the image that the keypoints
    lie in; decoding needs no image.
    """

    def __init__(self, config: KeypointTokenizerConfig):
        super().__init__()
        self.config = config
        width, narrow = config.width, config.decoder_width
        self.embed = nn.Linear(2, width - config.guide_width)
        self.embed_guide = (
            nn.Linear(config.guide_channels, config.guide_width) if config.guide_width else None
        )
        self.invisible = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.invisible, std=0.02, a=-0.02, b=0.02)
        self.encoder = nn.Sequential(
            *(
                MixerLayer(config.joints, width, config.token_hidden, config.channel_hidden)
                for _ in range(config.layers)
            ),
            nn.LayerNorm(width),
        )
        self.joints_to_tokens = nn.Linear(config.joints, config.tokens)
        self.to_code = nn.Linear(width, config.code_dim)
        self.codebook = Codebook(config.codes, config.code_dim, config.decay, config.restart_below)
        self.tokens_to_joints = nn.Linear(config.tokens, config.joints)
        self.from_code = nn.Linear(config.code_dim, narrow)
        self.decoder = nn.Sequential(
            MixerLayer(config.joints, narrow, config.token_hidden, 2 * narrow),
            nn.LayerNorm(narrow),
            nn.Linear(narrow, 2),
        )

    def features(
        self,
        keypoints: Float[Tensor, "N joints 2"],
        visible: Bool[Tensor, "N joints"],
        guide: Float[Tensor, "N channels rows columns"] | None = None,
    ) -> Float[Tensor, "N tokens dim"]:
        """Token features before quantisation; coordinates of invisible joints are never read.

        Raises `InputError` if a guided tokenizer is given no guide, or another is given one.
        """
        if (guide is None) != (self.embed_guide is None):
            needs = "needs the image's feature map" if guide is None else "takes no feature map"
            raise InputError(f"this keypoint tokenizer {needs}: see guide_ratio in its settings")
        keypoints = torch.where(visible[..., None], keypoints, 0.0)
        embedded = self.embed(keypoints)
        if self.embed_guide is not None and guide is not None:
            seen = nearest_cells(guide, keypoints, self.config.guide_cell)
            embedded = torch.cat([embedded, self.embed_guide(seen)], -1)
        embedded = torch.where(visible[..., None], embedded, self.invisible)
        encoded = self.encoder(embedded)
        return self.to_code(self.joints_to_tokens(encoded.mT).mT)

    def encode(
        self,
        keypoints: Float[Tensor, "N joints 2"],
        visible: Bool[Tensor, "N joints"],
        guide: Float[Tensor, "N channels rows columns"] | None = None,
    ) -> Quantised:
        """Tokens of keypoints; hides none of the visible ones."""
        return self.codebook(self.features(keypoints, visible, guide))

    def decode(self, codes: Float[Tensor, "N tokens dim"]) -> Float[Tensor, "N joints 2"]:
        """Keypoints from hard or soft codes, in the unit of those that trained it."""
        narrow = self.from_code(self.tokens_to_joints(codes.mT).mT)
        return self.decoder(narrow)

    def forward(
        self,
        keypoints: Float[Tensor, "N joints 2"],
        visible: Bool[Tensor, "N joints"],
        guide: Float[Tensor, "N channels rows columns"] | None = None,
    ) -> Reconstruction:
        """Through the bottleneck and back, in training mode with some joints hidden."""
        if self.training and self.config.hidden_joints > 0:
            chance = torch.rand(visible.shape, device=visible.device)
            visible = visible & (chance >= self.config.hidden_joints)
        quantised = self.encode(keypoints, visible, guide)
        return Reconstruction(self.decode(quantised.codes), quantised.indices, quantised.commitment)


def nearest_cells(
    feature_map: Float[Tensor, "N channels rows columns"],
    keypoints: Float[Tensor, "N joints 2"],
    cell: float,
) -> Float[Tensor, "N joints channels"]:
    """What a feature map holds at each keypoint, which may lie outside; no interpolation.

    The cell of index i is the one whose corner i * `cell` is nearest, as published, not the one
    that the point lies in.
    """
    rows, columns = feature_map.shape[-2:]
    last = torch.tensor([columns - 1, rows - 1], device=keypoints.device, dtype=keypoints.dtype)
    places = (keypoints / cell + 0.5).floor().clamp(min=torch.zeros_like(last), max=last).long()
    flat = places[..., 1] * columns + places[..., 0]
    chosen = flat[:, None].expand(-1, feature_map.shape[1], -1)
    return feature_map.flatten(2).gather(2, chosen).mT
