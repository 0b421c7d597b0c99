"""Known changes of images: one catalogue for robustness and for concepts."""
