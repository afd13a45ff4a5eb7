"""What users have already: keypoints of other detectors, and cameras."""
