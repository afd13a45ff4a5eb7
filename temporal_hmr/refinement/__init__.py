"""Motions of any origin made steady: noise measured, sudden frames mended, true motion kept."""
