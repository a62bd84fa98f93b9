"""What is remembered of a repository between two looks: small files in the state folder, which may be deleted.

Without them the next tip is trusted as the first one was. Written by whoever fetches, read by everybody.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from reconciler.errors import CkptreeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """ACCEPTED is the commit whose documents are in force, CLEARED the last one whose removals were allowed.

    WHY says why those of ACCEPTED are not, in words that end a sentence. REFUSED is a commit that is not accepted,
    found so for REFUSAL under the circumstances of BECAUSE. PROBLEM keeps us from newer documents.
    """

    accepted: str | None = None
    cleared: str | None = None
    why: str = ""
    refused: str | None = None
    refusal: str = ""
    because: str = ""
    problem: str = ""


class StandingFile:
    """The standing in folder STATE."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file = state / "standing.json"
        self._approved = state / "approved"

    def read(self) -> Standing:
        """Read it; one that is not there is as at the beginning. Raises CkptreeError for one that cannot be read."""
        try:
            found = json.loads(self._file.read_bytes())
            known = {key: found[key] for key in asdict(Standing()) if key in found}
            if known and all(value is None or isinstance(value, str) for value in known.values()):
                return Standing(**known)
        except FileNotFoundError:
            return Standing()
        except OSError as error:
            raise CkptreeError(f"{self._file} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError):
            pass
        raise CkptreeError(f"{self._file} is damaged (move it away to begin anew)")

    def write(self, standing: Standing) -> None:
        """Write STANDING, whole or not at all."""
        write_whole(self._file, json.dumps(asdict(standing), indent=2) + "\n")

    @property
    def approved(self) -> str | None:
        """The commit whose removals a person has allowed last."""
        try:
            return self._approved.read_text().strip() or None
        except (OSError, ValueError):
            return None

    def approve(self, commit: str) -> None:
        """Allow the removals of COMMIT; raises CkptreeError if that cannot be written."""
        try:
            write_whole(self._approved, f"{commit}\n")
        except OSError as error:
            raise CkptreeError(f"{self._approved} cannot be written: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who fetches; waits for another one, whose every step has a time limit."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self._state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def write_whole(file: Path, text: str) -> None:
    """Put TEXT in the place of FILE by one rename; raises OSError."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
