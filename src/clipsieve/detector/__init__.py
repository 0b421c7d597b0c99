"""A finished probe as a detector of single images: its threshold, calibration and evidence."""
