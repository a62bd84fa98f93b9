"""Guests under ``hypervisor: none``: disks only, somebody else starts and stops them.

Whether one runs is not asked here: who has its disks open is (``drivers.users``).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.contracts.guest import Hold
from reconciler.errors import StepFailed
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Ability, GuestState, Running


class UnmanagedGuest:
    """A guest of which nothing is known but its disks."""

    def __init__(self, desired: DesiredVm) -> None:
        self._vm = str(desired.vm)

    @property
    def name(self) -> str:
        """The hypervisor's name as the contract says."""
        return "none"

    def probe(self) -> Ability:
        """Tell that nothing can be done."""
        return Ability()

    def state(self) -> GuestState:
        """Tell that nothing of ckptree's runs; who uses the disks counts as the guest (``observe.observer``)."""
        return GuestState(Running.OFF)

    @contextmanager
    def frozen(self, memory: str) -> Iterator[Hold]:
        """Refuse to freeze."""
        raise StepFailed(f"memory cannot be saved to {memory}: {self._not_ours()}")
        yield  # what makes this a context

    def stop(self, *, now: bool) -> None:  # noqa: ARG002 - neither is possible
        """Refuse to stop."""
        raise StepFailed(self._not_ours())

    def start(self, memory: str | None = None) -> None:  # noqa: ARG002 - neither is possible
        """Refuse to start."""
        raise StepFailed(self._not_ours())

    def tidy(self) -> None:
        """Do nothing: nothing was ever run here."""

    def _not_ours(self) -> str:
        return f"{self._vm} is not ckptree's to stop and start (its file says 'hypervisor: none')"
