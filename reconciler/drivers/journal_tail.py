"""The end of a journal, for whoever wants to know what happened lately: bounded, and never in a writer's way.

A journal only grows, so what is read is read from its end. Neighbours: ``journal`` writes it and reads it whole; a line
that cannot be read is passed over here, as nothing is decided by it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from reconciler.drivers.journal import journal_path, record_of
from reconciler.errors import ObservationFailed
from reconciler.model.journal import JournalRecord

LONGEST = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """RECORDS up to byte END of a journal; CUT tells that there are older ones, UNREADABLE counts lines passed over."""

    records: tuple[JournalRecord, ...] = ()
    end: int = 0
    cut: bool = False
    unreadable: int = 0


class JournalTail:
    """The journal below HOME, the mountpoint of a home. One that does not exist is an empty one."""

    def __init__(self, home: str) -> None:
        self.path: Path = journal_path(home)

    def last(self, most: int) -> Stretch:
        """Read the whole records within the last MOST bytes. Raises ObservationFailed."""
        return self._read(None, most)

    def after(self, position: int) -> Stretch:
        """Read the whole records after byte POSITION, or all of a shorter journal. Raises ObservationFailed."""
        return self._read(position, LONGEST)

    def _read(self, position: int | None, most: int) -> Stretch:
        try:
            size = self.path.stat().st_size
            if position is not None and position == size:
                return Stretch(end=position)
            begin = max(0, size - most)
            if position is not None and begin <= position < size:
                begin = position
            with self.path.open("rb") as stream:
                stream.seek(max(0, begin - 1))
                data = stream.read(size - max(0, begin - 1))
        except (FileNotFoundError, NotADirectoryError):
            return Stretch()
        except OSError as error:
            raise ObservationFailed(f"{self.path}: {error.strerror}") from error
        start = 0
        if begin:  # the byte before BEGIN tells whether a line begins there
            found = data.find(b"\n")
            start = len(data) if found < 0 else found + 1
        whole = data.rfind(b"\n") + 1
        lines = data[start:whole].splitlines() if whole > start else []
        records, unreadable = [], 0
        for line in lines:
            try:
                records.append(record_of(json.loads(line)))
            except ValueError:
                unreadable += 1
        end = max(0, begin - 1) + max(whole, 0) if whole else begin
        return Stretch(tuple(records), end, cut=begin > 0, unreadable=unreadable)
