"""2D keypoints as compositional tokens (Geng et al., PCT, CVPR 2023, section 3.1).

Differences from the published tokenizer, each a setting of the data and not of the method: the
keypoints are in crop coordinates (-1..1) rather than pixels, the joint set includes the feet, and
training inputs carry detector-like noise while the target is the true projection.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.layers import MixerLayer
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tokenizers.codebook import Codebook, Quantised


class KeypointTokenizerConfig(Config):
    """Sizes of the tokenizer; the published ones are 34 tokens, 512 wide, 2048 codes of 512."""

    joints: int = len(COCO23)
    tokens: int = 24
    width: int = 128
    layers: int = 4
    token_hidden: int = 64
    channel_hidden: int = 256
    codes: int = 512
    code_dim: int = 64
    decay: float = 0.9
    restart_below: float = 0.1
    decoder_width: int = 32
    commitment: float = 0.05
    """Weight of the commitment term; the paper's 15 belongs to its loss in pixels."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the tokenizer makes of a set of keypoints."""

    keypoints: Float[Tensor, "N joints 2"]
    indices: Int[Tensor, "N tokens"]
    commitment: Float[Tensor, ""]


class KeypointTokenizer(nn.Module):
    """VQ-VAE from joints to M tokens of one shared codebook and back."""

    def __init__(self, config: KeypointTokenizerConfig):
        super().__init__()
        self.config = config
        width, narrow = config.width, config.decoder_width
        self.embed = nn.Linear(2, width)
        self.invisible = nn.Parameter(0.02 * torch.randn(width).clamp(-1, 1))
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
        self, keypoints: Float[Tensor, "N joints 2"], visible: Bool[Tensor, "N joints"]
    ) -> Float[Tensor, "N tokens dim"]:
        """Token features before quantisation; coordinates of invisible joints are never read."""
        embedded = torch.where(visible[..., None], self.embed(keypoints), self.invisible)
        encoded = self.encoder(embedded)
        return self.to_code(self.joints_to_tokens(encoded.mT).mT)

    def encode(
        self, keypoints: Float[Tensor, "N joints 2"], visible: Bool[Tensor, "N joints"]
    ) -> Quantised:
        """Tokens of keypoints in crop coordinates."""
        return self.codebook(self.features(keypoints, visible))

    def decode(self, codes: Float[Tensor, "N tokens dim"]) -> Float[Tensor, "N joints 2"]:
        """Keypoints in crop coordinates from hard or soft codes."""
        narrow = self.from_code(self.tokens_to_joints(codes.mT).mT)
        return self.decoder(narrow)

    def forward(
        self, keypoints: Float[Tensor, "N joints 2"], visible: Bool[Tensor, "N joints"]
    ) -> Reconstruction:
        """Through the bottleneck and back."""
        quantised = self.encode(keypoints, visible)
        return Reconstruction(self.decode(quantised.codes), quantised.indices, quantised.commitment)
