"""`python -m clipsieve` is the command line."""

import sys

from clipsieve.cli import main

sys.exit(main())
