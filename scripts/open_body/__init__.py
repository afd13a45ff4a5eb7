"""Parts of the build of the open SMPL-format body; `scripts/build_open_body.py` runs them."""
