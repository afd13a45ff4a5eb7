"""A model so small that all its lessons take seconds, on the motion of `toy_mocap`."""

from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig

SMALL = HmrConfig(
    tokenizer=KeypointTokenizerConfig(width=16, layers=1, codes=32, code_dim=8, tokens=6),
    encoder=FrameEncoderConfig(width=32, heads=2),
    decoder=BodyDecoderConfig(heads=2, layers=1),
    motion=JointMotionConfig(heads=2, layers=1),
    window=8,
)
TINY_MODEL = """
mocap: {held_out: [b]}
model:
  tokenizer: {width: 16, layers: 1, codes: 32, code_dim: 8, tokens: 6}
  encoder: {width: 32, heads: 2}
  decoder: {heads: 2, layers: 1}
  motion: {heads: 2, layers: 1}
  window: 8
"""
"""The same in settings of `train`, in YAML; the lessons are to be added."""
