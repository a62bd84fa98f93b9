"""What a source of documents is to the loop and to the commands; ``directory`` and ``repository`` are such."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.model.plan import Restraint


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of a look at the source: whether anything is another one now, and a sentence about it."""

    changed: bool
    message: str = ""


class Source(Protocol):
    """Where documents come from. All but ``refresh`` may be asked from any thread at any time, and are quick."""

    @property
    def place(self) -> str:
        """The folder, or the repository and its branch, in words."""

    @property
    def path(self) -> Path | None:
        """The documents in force: a folder or a file; none if there never were any."""

    @property
    def revision(self) -> str | None:
        """The revision in force, the whole hash; none where the documents are not from a repository."""

    @property
    def problem(self) -> str:
        """What keeps the source from newer documents, in a sentence; empty if nothing does."""

    def restraint_of(self, revision: str | None) -> Restraint:
        """What must not be done with documents that were read when REVISION was in force."""

    def refresh(self) -> Refreshed:
        """Look for newer documents and put them in force; may take a minute. Never raises."""
