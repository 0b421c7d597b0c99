"""From scores to numbers with intervals; what may be read by whom; what leaks; what is too easy."""
