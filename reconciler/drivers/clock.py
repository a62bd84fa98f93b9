"""The clock of this host. Neighbours: ``contracts.clock`` says what it must do."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements ``contracts.clock.Clock``."""

    def now(self) -> datetime:
        """Tell the moment in UTC, to the second."""
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        """Tell the seconds of a clock that nobody sets."""
        return time.monotonic()
