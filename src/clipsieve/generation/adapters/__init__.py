"""One module for each way to make an image; `clipsieve.generation.records` names them."""
