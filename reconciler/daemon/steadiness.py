"""Whether the wall clock can be trusted: what is destroyed for its age is gone, whatever the clock says later.

A clock that jumps is noticed by the one that only goes forward. After a jump ahead nothing is destroyed for its age
until the wall clock has been steady for an hour: by then a time server has put it right, or it is right.
"""

from datetime import timedelta
from threading import Lock

from reconciler.contracts.clock import Clock

_JUMP = 60.0  # seconds that the two clocks may drift apart between two looks
_STEADY = 3600.0  # seconds


class Steadiness:
    """Watches CLOCK from now on; ask it at every look, from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._even = clock.monotonic()
        self._doubted_until: float | None = None
        self._ahead = 0.0
        self._lock = Lock()

    def doubt(self) -> str:
        """Say why the wall clock is not to be trusted now; an empty text says that it is."""
        with self._lock:
            wall, even = self._clock.now(), self._clock.monotonic()
            jump = (wall - self._wall).total_seconds() - (even - self._even)
            self._wall, self._even = wall, even
            if abs(jump) > _JUMP:
                self._ahead += jump  # of what the clock was when it was last trusted
            if jump > _JUMP:
                self._doubted_until = even + _STEADY
            over = self._doubted_until is None or even >= self._doubted_until
            if over or self._ahead <= _JUMP:  # it has been steady, or was put right
                self._doubted_until, self._ahead = None, 0.0
                return ""
            by = timedelta(seconds=round(self._ahead))
            return f"the clock was set ahead by {by}; it is trusted again after an hour"
