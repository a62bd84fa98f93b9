"""The journal of one home as a file: append-only, one JSON record a line, fsynced, with flock(2) as the VM's lock.

A line that a crash cut short was never acknowledged: readers pass over it and the next writer takes it away. The
meaning of the records is in ``model.journal``. A journal only grows: a process that reads it again reads what is new.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reconciler.drivers.storage import sync_directory
from reconciler.errors import CkptreeError, ObservationFailed, StepFailed
from reconciler.model.journal import JournalFacts, JournalRecord, facts_of
from reconciler.names import NodeName

if TYPE_CHECKING:
    from cattrs import Converter

_FOLDER = ".ckptree"
_FILE = "journal.jsonl"
_HOLDER = "holder"


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a journal: its file, LINES up to byte END, of which LAST is the last one, and their FACTS."""

    device: int
    inode: int
    end: int
    lines: int
    last: bytes
    facts: JournalFacts


_known: dict[Path, _Read] = {}
"""What this process has read of every journal, so that a daemon need not read years again at each look."""


def journal_path(home: str) -> Path:
    """Name the journal of the home that is mounted at HOME."""
    return Path(home, _FOLDER, _FILE)


def record_of(body: object) -> JournalRecord:
    """Make a record of BODY, the JSON of one line; raises ValueError if it is none that this version knows."""
    try:
        record: JournalRecord = _converter().structure(body, JournalRecord)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, CkptreeError, ExceptionGroup) as error:
        raise ValueError("no record") from error
    return record


class NoJournal:
    """The journal of a home that is not there or not mounted: nothing can be read or written, and WHY."""

    def __init__(self, why: str) -> None:
        self._why = why

    def facts(self) -> JournalFacts:
        """Tell that there is none."""
        return JournalFacts()

    def append(self, record: JournalRecord) -> None:
        """Refuse to write RECORD."""
        raise StepFailed(f"{type(record).__name__} cannot be written down: {self._why}")

    def locked(self, purpose: str) -> AbstractContextManager[None]:  # noqa: ARG002 - nothing to lock
        """Lock nothing: without a journal nothing is changed."""
        return nullcontext()


class FileJournal:
    """Implements ``contracts.journal.Journal`` below HOME, the mountpoint of a home.

    ON_WAIT is called with one sentence when another holder of the lock has to be waited for.
    """

    def __init__(self, home: str, on_wait: Callable[[str], None]) -> None:
        self._path = journal_path(home)
        self._folder = self._path.parent
        self._on_wait = on_wait

    def facts(self) -> JournalFacts:
        """Tell as the contract says."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                before = _known.get(self._path)
                if before is not None and not _continues(before, file, found):
                    before = None
                file.seek(before.end if before else 0)
                data = file.read()
        except FileNotFoundError:
            return JournalFacts()
        except OSError as error:
            raise ObservationFailed(f"{self._path}: {error.strerror}") from error
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if not lines:
            return before.facts if before else JournalFacts()
        first = before.lines + 1 if before else 1
        now = _Read(
            device=found.st_dev,
            inode=found.st_ino,
            end=(before.end if before else 0) + sum(map(len, lines)),
            lines=first + len(lines) - 1,
            last=lines[-1],
            facts=facts_of(
                (self._parse(number, line) for number, line in enumerate(lines, first)),
                before.facts if before else None,
            ),
        )
        _known[self._path] = now
        return now.facts

    def append(self, record: JournalRecord) -> None:
        """Append as the contract says."""
        line = json.dumps(_converter().unstructure(record, JournalRecord)).encode() + b"\n"
        try:
            descriptor = self._open()
            try:
                _drop_torn_line(descriptor)
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StepFailed(f"{self._path} cannot be written: {error.strerror}") from error

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        """Lock as the contract says."""
        try:
            descriptor = self._open()
        except OSError as error:
            raise StepFailed(f"{self._path} cannot be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._on_wait(f"waiting for {self._holder()}")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(OSError):  # a full pool: only who waits for us will not know whom for
                (self._folder / _HOLDER).write_text(f"{purpose} (pid {os.getpid()})\n")
            yield
        finally:
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            return (self._folder / _HOLDER).read_text().strip()
        except OSError:
            return "another ckptree"

    def _open(self) -> int:
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if fresh:
            for folder in (self._folder, self._folder.parent):
                sync_directory(folder)
        return descriptor

    def _parse(self, number: int, line: bytes) -> JournalRecord:
        try:
            return record_of(json.loads(line))
        except ValueError as error:
            raise ObservationFailed(
                f"{self._path}:{number}: this record cannot be read (move the journal away; then nothing is"
                " restored or retired until 'ckptree apply --confirm')"
            ) from error


def _continues(before: _Read, file: BinaryIO, found: os.stat_result) -> bool:
    """Whether FILE still is what was read BEFORE, perhaps with more after it; one put in its place is read anew."""
    if (found.st_dev, found.st_ino) != (before.device, before.inode):
        return False
    last = len(before.last)
    return os.pread(file.fileno(), last, before.end - last) == before.last


def _drop_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    keep = size
    while keep and os.pread(descriptor, 1, keep - 1) != b"\n":
        keep -= 1
    if keep != size:
        os.ftruncate(descriptor, keep)


@cache
def _converter() -> "Converter":
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    converter = Converter()
    converter.register_structure_hook(NodeName, lambda text, _: NodeName(text))
    converter.register_unstructure_hook(NodeName, str)
    configure_tagged_union(JournalRecord, converter, tag_name="event")
    return converter
