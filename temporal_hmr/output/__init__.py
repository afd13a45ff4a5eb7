"""What leaves the house: result files and pictures."""
