"""A clock that stands until a test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class HandClock:
    """Implements ``contracts.clock.Clock``; people may set its wall, nobody the other one."""

    def __init__(self) -> None:
        self.wall = START
        self.even = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.even

    def pass_by(self, seconds: float) -> None:
        """Let time pass, as it does."""
        self.even += seconds
        self.wall += timedelta(seconds=seconds)

    def set_wall(self, by: timedelta) -> None:
        """Have somebody set the clock on the wall."""
        self.wall += by
