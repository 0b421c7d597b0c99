"""What directions in the joint image-text space mean, and whether random ones would mean as much."""
