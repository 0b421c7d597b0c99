"""Versions of what is computed: raised by hand when results change, so that finished work is redone.

They are parameters of the expensive rules, whose code is not compared by content; golden tests guard them.
"""

EMBED = 1
SEARCH = 3
HEADS = 2
PROBE = 4
GENERATION = 1
