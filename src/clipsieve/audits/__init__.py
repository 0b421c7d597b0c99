"""What could be wrong with the data of a run: leaks between splits, shortcuts, a config that cannot work."""
