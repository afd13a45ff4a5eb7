"""A model so small that all its lessons take seconds, on the motion of `toy_mocap`."""

TINY_MODEL = """
mocap: {held_out: [b]}
model:
  tokenizer: {width: 16, layers: 1, codes: 32, code_dim: 8, tokens: 6}
  encoder: {width: 32, heads: 2}
  decoder: {heads: 2, layers: 1}
  motion: {heads: 2, layers: 1}
  window: 8
"""
"""Settings of `train` in YAML; the lessons are to be added."""
