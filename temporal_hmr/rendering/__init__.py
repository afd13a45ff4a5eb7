"""Training pictures: clothed bodies in lit scenes, with things and people in front of them."""
