"""A world with y up for clips whose camera stands still."""
