"""What ckptree asks of a hypervisor, for one guest: design section 6.

Implemented by ``drivers.guests`` for real and by ``simulate.guest`` in memory. Everything about ZFS happens inside
``frozen``, and nothing else does: that time is the guest's downtime. A guest that was frozen goes on whatever
happens to the program that froze it, because another process (``keeper``) holds it.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.model.observed import Ability, GuestState


class Hold(Protocol):
    """A guest that is frozen: what was saved is its state, as long as this lasts."""

    def end(self) -> None:
        """Let the guest never go on: it is off when this returns, in the state that was saved. Raises StepFailed."""


class Guest(Protocol):
    """One guest under one hypervisor."""

    @property
    def name(self) -> str:
        """The hypervisor as `ckptree doctor` shows it, for example ``bhyve``."""

    def probe(self) -> Ability:
        """Find out what can be done with the guest here, and why not. Never raises; changes nothing."""

    def state(self) -> GuestState:
        """Tell whether the guest runs, with proof of identity; what cannot be told is UNKNOWN. Never raises."""

    def frozen(self, memory: str) -> AbstractContextManager[Hold]:
        """Freeze the running guest with its disks flushed and its RAM complete and on stable storage at MEMORY.

        MEMORY is an absolute path that does not exist yet, in a directory that does; the hypervisor may put further
        files beside it (``properties.MEMORY_BESIDE``). Leaving the context lets the guest go on, also on an error,
        unless its ``end`` was called. Files at MEMORY are the caller's to remove, but may be gone already. Raises
        StepFailed: at entry, and then the guest goes on as if nothing had happened; at exit, if it could not go on; at
        exit or from ``end`` HoldLost, if it went on before it was to.
        """

    def stop(self, *, now: bool) -> None:
        """Shut the guest down and return when it is off; off already is fine. NOW: without asking it.

        Raises StepFailed: it did not do so in time (then it goes on), or it is not ckptree's to stop.
        """

    def tidy(self) -> None:
        """Let what an interrupted run has begun come to its end, and remove what it left beside the guest.

        That is RAM that something could resume, or what bars a restart; nothing while a keeper holds the guest. Never
        raises.
        """

    def start(self, memory: str | None = None) -> None:
        """Start the guest, from the RAM in MEMORY if given, and return when it has been seen running.

        Files at MEMORY are used up by the first call, whatever comes of it: they get another name before anything
        reads them, so that none is ever resumed twice, and are removed when the guest runs. Raises StepFailed with
        the hypervisor's own words.
        """
