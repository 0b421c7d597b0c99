"""Tables of the paper and ours, one module per subject."""
