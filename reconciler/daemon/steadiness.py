"""Whether the wall clock can be trusted: what is destroyed for its age is gone, whatever the clock says later.

A clock that jumps is noticed by the one that only goes forward. After a jump ahead nothing is destroyed for its age
until the wall clock has been steady for an hour: by then a time server has put it right, or it is right.
"""

from datetime import timedelta

from reconciler.contracts.clock import Clock

_JUMP = 60.0  # seconds that the two clocks may drift apart between two looks
_STEADY = 3600.0  # seconds


class Steadiness:
    """Watches CLOCK; ask it at every look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._even = clock.monotonic()
        self._doubted_until: float | None = None
        self._jump = timedelta()

    def doubt(self) -> str:
        """Say why the wall clock is not to be trusted now; an empty text says that it is."""
        wall, even = self._clock.now(), self._clock.monotonic()
        ahead = (wall - self._wall).total_seconds() - (even - self._even)
        self._wall, self._even = wall, even
        if ahead > _JUMP:
            self._jump = timedelta(seconds=round(ahead))
            self._doubted_until = even + _STEADY
        elif ahead < -_JUMP and self._doubted_until is not None:
            self._doubted_until = None  # it was put right
        if self._doubted_until is None or even >= self._doubted_until:
            self._doubted_until = None
            return ""
        return f"the clock was set ahead by {self._jump}; it is trusted again after an hour"
