"""What made a run, and the hash of every file in it."""
