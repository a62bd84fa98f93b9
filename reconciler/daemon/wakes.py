"""What wakes the loop, collected until it looks: many events mean one look.

Every wake says only "look again" (design section 7). Files are given time to be written whole: a quiet moment after
the last event, but not for ever. Neighbours: whatever has news calls ``wake``; ``loop`` waits here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from threading import Condition

from reconciler.contracts.clock import Clock
from reconciler.names import VmName

_QUIET = 0.5  # seconds without an event
_LONGEST = 5.0  # seconds from the first event of a burst


class Cause(Enum):
    """Why the loop looks."""

    FILES = "files"
    """Something was written where the documents are."""
    SOURCE = "source"
    """The repository has another revision, or another answer."""
    REQUEST = "request"
    """A person asks, over the socket."""
    RELOAD = "reload"
    """A person asks that the settings be read again, too (SIGHUP)."""
    WORK = "work"
    """Work on a VM has ended."""
    TIME = "time"
    """It was time to."""


@dataclass(frozen=True, slots=True)
class Woken:
    """What woke the loop, and the VMS that are to be looked at; none are all."""

    causes: frozenset[Cause]
    vms: frozenset[VmName] | None


class Wakes:
    """Where those who have news and the loop meet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = Condition()
        self._causes: set[Cause] = set()
        self._vms: set[VmName] = set()
        self._everything = False
        self._first = self._last = 0.0
        self._closed = False

    def wake(self, cause: Cause, vms: Iterable[VmName] | None = None) -> None:
        """Have the loop look at VMS because of CAUSE; none are all, but for files: whose they are the documents say."""
        with self._changed:
            self._last = self._clock.monotonic()
            if not self._causes:
                self._first = self._last
            self._causes.add(cause)
            if vms is not None:
                self._vms.update(vms)
            elif cause is not Cause.FILES:
                self._everything = True
            self._changed.notify_all()

    def close(self) -> None:
        """Wake the loop for the last time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, until: float) -> Woken | None:
        """Wait for news, but not longer than UNTIL (of the even clock); none once it was closed."""
        with self._changed:
            while not self._closed:
                now = self._clock.monotonic()
                due = self._due() if self._causes else until
                if now >= due:
                    return self._take()
                self._changed.wait(due - now)
            return None

    def _due(self) -> float:
        if Cause.FILES not in self._causes:
            return self._first
        return min(self._last + _QUIET, self._first + _LONGEST)

    def _take(self) -> Woken:
        causes = frozenset(self._causes or {Cause.TIME})
        everything = self._everything or causes == {Cause.TIME}
        woken = Woken(causes, None if everything else frozenset(self._vms))
        self._causes.clear()
        self._vms.clear()
        self._everything = False
        return woken
