"""What became of each revision of the repository on this host: a short file, and a program of the operator's.

Who carries revisions out notes it here (``daemon``, ``cli``), and so does ``repository`` of what it refuses. Losing
the file loses the past only.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from reconciler.errors import CkptreeError
from reconciler.model.properties import decode_time, encode_time
from reconciler.source.standing import write_whole

_KEPT = 500  # entries
_MOST = 2 * _KEPT
_LONGEST_MESSAGE = 2000  # characters


class State(Enum):
    """What can become of a revision."""

    APPLIED = "applied"
    """All of it is so on this host, but for what its documents themselves let wait."""
    WAITING = "waiting"
    """It is in force, and something of it is still to be done or waits for a person."""
    FAILED = "failed"
    """It is in force, and something of it failed; it is tried again."""
    SUPERSEDED = "superseded"
    """A newer one came before it was applied whole."""
    REFUSED = "refused"
    """It was never in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """REVISION came into STATE at AT; MESSAGE says it in a sentence."""

    revision: str
    state: State
    message: str
    at: datetime

    def to_json(self) -> dict[str, str]:
        """Write it as JSON values."""
        return {
            "revision": self.revision,
            "state": self.state.value,
            "message": self.message,
            "at": encode_time(self.at),
        }


class Teller(Protocol):
    """Who is told of every new entry; ``teller`` has one."""

    def __call__(self, entry: Entry) -> None:
        """Have ENTRY told; returns at once."""

    def close(self, seconds: float) -> None:
        """Wait at most SECONDS for what is still to be told."""


class Ledger:
    """The ledger in folder STATE. CLOCK gives the present moment, TELLER is told of every new entry."""

    def __init__(
        self,
        state: Path,
        clock: Callable[[], datetime],
        teller: Teller | None = None,
    ) -> None:
        self._file = state / "revisions.jsonl"
        self._lock = state / "revisions.lock"
        self._clock = clock
        self._teller = teller

    def note(self, revision: str, state: State, message: str) -> bool:
        """Write down that REVISION is in STATE, unless that was the last to be said of it; tells whether it is new.

        Raises CkptreeError if it cannot be written.
        """
        entry = Entry(
            revision=revision,
            state=state,
            message=" ".join(message.split())[:_LONGEST_MESSAGE],
            at=self._clock().replace(microsecond=0),
        )
        try:
            with self._locked():
                known = self.entries()
                last = next((one for one in reversed(known) if one.revision == revision), None)
                if last is not None and (last.state, last.message) == (entry.state, entry.message):
                    return False
                self._write(known, entry)
        except OSError as error:
            raise CkptreeError(f"{self._file} cannot be written: {error.strerror}") from error
        if self._teller is not None:
            self._teller(entry)
        return True

    def close(self, seconds: float) -> None:
        """Wait at most SECONDS for what is still to be told of."""
        if self._teller is not None:
            self._teller.close(seconds)

    def entries(self) -> tuple[Entry, ...]:
        """Give all that is remembered, the oldest first; what cannot be read is left out."""
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ()
        found = (_entry(line) for line in lines)
        return tuple(entry for entry in found if entry is not None)

    def last(self, revision: str) -> Entry | None:
        """Give the last that was said of REVISION."""
        return next((one for one in reversed(self.entries()) if one.revision == revision), None)

    def latest(self, prefix: str = "") -> tuple[Entry, ...]:
        """Give the last that was said of each revision that begins with PREFIX, the newest first."""
        found: dict[str, Entry] = {}
        for entry in reversed(self.entries()):
            if entry.revision.startswith(prefix):
                found.setdefault(entry.revision, entry)
        return tuple(found.values())

    def _write(self, known: tuple[Entry, ...], entry: Entry) -> None:
        if len(known) < _MOST:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(entry.to_json())}\n")
            return
        kept = (*known[-_KEPT:], entry)
        write_whole(self._file, "".join(f"{json.dumps(one.to_json())}\n" for one in kept))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _entry(line: str) -> Entry | None:
    try:
        found = json.loads(line)
        return Entry(
            revision=str(found["revision"]),
            state=State(found["state"]),
            message=str(found["message"]),
            at=decode_time(found["at"]),
        )
    except (ValueError, KeyError, TypeError, CkptreeError):
        return None
