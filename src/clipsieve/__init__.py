"""Which parts of a frozen CLIP image encoder tell generated images from real ones, and do they transfer?"""

__version__ = "0.1.0"
