"""When a long command reports its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("clipsieve")


class Pace:
    """Says when the next line is due: after so many seconds, and at the end."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def due(self, *, finished: bool = False) -> bool:
        """Return whether to log now; if so, the next line is due `seconds` later."""
        now = time.monotonic()
        if now - self.last < self.seconds and not finished:
            return False
        self.last = now
        return True


def counter(image_set: str, total: int) -> Callable[[int], None]:
    """Return a function that logs how many files are done, at most every ten seconds."""
    pace = Pace()

    def tell(done: int) -> None:
        if pace.due():
            log.info("%s: %d of %d files", image_set, done, total)

    return tell
