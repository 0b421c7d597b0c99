"""Find which parts of a frozen CLIP image encoder tell generated images from real ones, and transfer."""

__version__ = "0.1.0"
