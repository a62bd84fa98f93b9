"""Documents that lie in a folder of this host, or in one file: whatever is there is in force."""

from pathlib import Path

from reconciler.model.plan import Restraint
from reconciler.source.contract import Refreshed


class DirectorySource:
    """Implements ``contract.Source``: the documents at PATH."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        """The folder or file."""
        return str(self._path)

    @property
    def path(self) -> Path | None:
        """The folder or file; whether it is there is for who reads it."""
        return self._path

    @property
    def revision(self) -> str | None:
        """Files have none."""
        return None

    @property
    def problem(self) -> str:
        """Nothing keeps a folder from being what it is."""
        return ""

    def restraint_of(self, revision: str | None) -> Restraint:  # noqa: ARG002 - files have none
        """Who may write to the folder may have things removed."""
        return Restraint()

    def refresh(self) -> Refreshed:
        """Nothing is to be fetched."""
        return Refreshed(changed=False)
