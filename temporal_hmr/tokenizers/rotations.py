"""Body pose as tokens of learned rotations (Dwivedi et al., TokenHMR, CVPR 2024, section 3.2).

The rotations of SMPL's body joints, without root and hands, are a signal of six channels along the
joint axis; convolutions stretch it to the tokens and shrink it back.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.rotation import matrix_to_sixd, sixd_to_matrix
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.rotation_codebook import RotationCodebook

UNTOKENISED = ("pelvis", "left_hand", "right_hand")
TOKENISED = tuple(joint for joint in SMPL24.joints if joint not in UNTOKENISED)
"""The 21 joints whose rotations the tokens speak of, SMPL's 1 to 21."""

SixdLayout = Literal["columns", "rows"]


class RotationTokenizerConfig(Config):
    """Sizes of the tokenizer; defaults as published (13.66 M with the codebook)."""

    tokens: int = Field(default=160, ge=4, multiple_of=4)
    width: int = Field(default=512, gt=0)
    residual_blocks: int = Field(default=2, ge=0)
    dilation_rate: int = Field(default=3, gt=0)
    codes: int = Field(default=2048, gt=0)
    code_dim: int = Field(default=256, gt=0)
    decay: float = Field(default=0.99, ge=0, lt=1)
    restart_below: float = Field(default=1.0, ge=0)
    sixd: SixdLayout = "columns"
    """`rows` for published weights. Two rows hold other numbers than two columns, so that no
    change of weights turns one into the other: the network has to know."""

    def encoder_lengths(self) -> list[int]:
        """Lengths to which the encoder stretches the joints, before the halving to `tokens`."""
        return [self.tokens // 4 * 2**stage for stage in range(4)]

    def decoder_lengths(self) -> list[int]:
        """Lengths to which the decoder shrinks the tokens; equal steps down to the joints."""
        joints = len(TOKENISED)
        return [int(joints + (self.tokens - joints) * stage / 4) for stage in (3, 2, 1, 0)]


@dataclass(frozen=True, eq=False)
class RotationReconstruction:
    """What the tokenizer makes of a pose."""

    rotations: Float[Tensor, "*b 21 3 3"]
    indices: Int[Tensor, "*b tokens"]
    commitment: Float[Tensor, ""]


class ResidualBlock(nn.Module):
    """ReLU, dilated convolution, ReLU, pointwise convolution, added to the input."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.spread = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Float[Tensor, "N width L"]) -> Float[Tensor, "N width L"]:
        return x + self.point(functional.relu(self.spread(functional.relu(x))))


def residual_stack(config: RotationTokenizerConfig) -> nn.Sequential:
    """Residual blocks, the most dilated first."""
    dilations = [config.dilation_rate**depth for depth in range(config.residual_blocks)]
    return nn.Sequential(*(ResidualBlock(config.width, d) for d in reversed(dilations)))


class ResizingConvolutions(nn.Module):
    """A convolution, then one after each nearest-neighbour change of length; ReLU after all."""

    def __init__(self, channels: int, width: int, lengths: list[int]):
        super().__init__()
        self.lengths = lengths
        self.first = nn.Conv1d(channels, width, 3, padding=1)
        self.stages = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in lengths)

    def forward(self, x: Float[Tensor, "N channels L"]) -> Float[Tensor, "N width last"]:
        x = functional.relu(self.first(x))
        for length, stage in zip(self.lengths, self.stages, strict=True):
            x = functional.relu(stage(functional.interpolate(x, length)))
        return x


class RotationTokenizer(nn.Module):
    """VQ-VAE from the rotations of 21 joints to tokens and back, each frame by itself."""

    def __init__(self, config: RotationTokenizerConfig):
        super().__init__()
        self.config = config
        width = config.width
        self.encoder = nn.Sequential(
            ResizingConvolutions(6, width, config.encoder_lengths()),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            residual_stack(config),
            nn.Conv1d(width, config.code_dim, 3, padding=1),
        )
        self.codebook = RotationCodebook(
            config.codes, config.code_dim, config.decay, config.restart_below
        )
        self.decoder = nn.Sequential(
            ResizingConvolutions(config.code_dim, width, config.decoder_lengths()),
            residual_stack(config),
            nn.Conv1d(width, width, 3, padding=1),
            nn.Conv1d(width, 6, 3, padding=1),
        )

    def features(self, rotations: Float[Tensor, "*b 21 3 3"]) -> Float[Tensor, "*b tokens dim"]:
        """Token features before quantisation."""
        batch = rotations.shape[:-3]
        signal = sixd_of(rotations, self.config.sixd).reshape(-1, len(TOKENISED), 6).mT
        encoded = self.encoder(signal).mT
        return encoded.reshape(*batch, *encoded.shape[1:])

    def encode(self, rotations: Float[Tensor, "*b 21 3 3"]) -> Int[Tensor, "*b tokens"]:
        """Indices of the codes; the codebook does not learn from it."""
        with torch.autocast(rotations.device.type, enabled=False):
            return self.codebook.distances(self.features(rotations)).argmin(-1)

    def decode_sixd(self, codes: Float[Tensor, "*b tokens dim"]) -> Float[Tensor, "*b 21 6"]:
        """What the decoder says before it is made a rotation, in the configured layout."""
        batch = codes.shape[:-2]
        decoded = self.decoder(codes.reshape(-1, *codes.shape[-2:]).mT).mT
        return decoded.reshape(*batch, *decoded.shape[1:])

    def decode(self, codes: Float[Tensor, "*b tokens dim"]) -> Float[Tensor, "*b 21 3 3"]:
        """Rotations from codes or mixtures of codes."""
        return rotations_of(self.decode_sixd(codes), self.config.sixd)

    def forward(self, rotations: Float[Tensor, "*b 21 3 3"]) -> RotationReconstruction:
        """Through the bottleneck and back."""
        quantised = self.codebook(self.features(rotations))
        return RotationReconstruction(
            self.decode(quantised.codes), quantised.indices, quantised.commitment
        )


def sixd_of(rotations: Float[Tensor, "*b 3 3"], layout: SixdLayout) -> Float[Tensor, "*b 6"]:
    """First two columns, or first two rows (the columns of the inverse)."""
    return matrix_to_sixd(rotations.mT if layout == "rows" else rotations)


def rotations_of(sixd: Float[Tensor, "*b 6"], layout: SixdLayout) -> Float[Tensor, "*b 3 3"]:
    """Gram-Schmidt on the two columns, or on the two rows."""
    matrix = sixd_to_matrix(sixd.float())
    return matrix.mT if layout == "rows" else matrix
