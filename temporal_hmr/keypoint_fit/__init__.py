"""Least squares that move bodies onto detected keypoints: evidence, derivatives, solver."""
