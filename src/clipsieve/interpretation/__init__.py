"""What directions in the joint image-text space mean, and if a random one would mean as much."""
