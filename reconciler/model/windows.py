"""Maintenance windows: the hours in which guests may be paused, and those in which anything may be destroyed.

Data only; ``plan.windows`` tells whether one is open.
"""

from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """On DAYS (0 is Monday) from START until END, which is on the next day where it is not after START.

    Both are what a clock on the wall shows in ZONE, one of the IANA's.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """When a guest may be PAUSED and when anything may be DESTROYED; none says always."""

    paused: tuple[Window, ...] | None = None
    destroyed: tuple[Window, ...] | None = None

    def with_own(self, own: "Windows") -> "Windows":
        """Lay a VM's OWN windows over these of its host, each kind for itself."""
        return Windows(
            paused=self.paused if own.paused is None else own.paused,
            destroyed=self.destroyed if own.destroyed is None else own.destroyed,
        )


ALWAYS = Windows()
