"""The append-only journal of one home, as the executor needs it."""

from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.model.journal import JournalFacts, JournalRecord


class Journal(Protocol):
    """Records in the order in which they were written; each is on stable storage when ``append`` returns."""

    def facts(self) -> JournalFacts:
        """What every whole record comes to. Raises ObservationFailed."""

    def append(self, record: JournalRecord) -> None:
        """Write one record durably, making the journal if need be. Raises StepFailed."""

    def locked(self, purpose: str) -> AbstractContextManager[None]:
        """Hold the VM's one write lock; waits for another holder and says whose PURPOSE that is."""
