"""The append-only journal of one home, as the executor needs it."""

from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.model.journal import JournalRecord


class Journal(Protocol):
    """Records in the order in which they were written; each is on stable storage when ``append`` returns."""

    def read(self) -> tuple[JournalRecord, ...] | None:
        """Every whole record; none where there is no journal. Raises ObservationFailed."""

    def append(self, record: JournalRecord) -> None:
        """Write one record durably, making the journal if need be. Raises StepFailed."""

    def locked(self, purpose: str) -> AbstractContextManager[None]:
        """Hold the VM's one write lock; waits for another holder and says whose PURPOSE that is."""
