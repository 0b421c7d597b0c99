"""From scores to numbers with intervals, tests, ranks and comparisons."""
