"""The explorer: one page per run, in which a reader chooses what to see, from disk and without a server."""
