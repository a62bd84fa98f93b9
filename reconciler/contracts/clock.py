"""The one clock that everything asks which waits or dates: real in ``drivers.clock``, set by hand in tests."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks in one: that of the wall, which people and time servers set, and one that only goes forward."""

    def now(self) -> datetime:
        """Tell the moment in UTC, to the second."""

    def monotonic(self) -> float:
        """Tell the seconds since some moment; only differences mean anything."""
