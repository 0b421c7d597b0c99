"""A run's probes as a detector of images: its threshold, calibration, evidence and explanations."""

from clipsieve.detector.api import Detector

__all__ = ["Detector"]
