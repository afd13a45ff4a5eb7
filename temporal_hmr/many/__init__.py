"""Many videos in one command."""
