"""Maintenance windows: the hours in which guests may be paused, and those in which anything may be destroyed.

Data only; ``plan.windows`` tells whether one is open.
"""

from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """On DAYS (0 is Monday) from START until END, which is on the next day where it is not after START."""

    days: frozenset[int]
    start: time
    end: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """When a guest may be PAUSED and when anything may be DESTROYED; none says always. ZONE is one of the IANA's."""

    paused: tuple[Window, ...] | None = None
    destroyed: tuple[Window, ...] | None = None
    zone: str = "UTC"
