"""Whose work went into a result or comes with the package, and on what terms."""
