"""What happened to a guest, for people: what its hypervisor wrote and what the keeper did about it.

A plain file beside the journal, bounded in size, private (a guest's console may be in it). Writing never fails: a
full pool must not stop a guest.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

_LARGEST = 1 << 20  # bytes; then it becomes NAME.old, which is overwritten
_LONGEST_LINE = 2000  # characters


class Log:
    """The file at PATH, made with its folder where absent; raises OSError if it cannot be."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._attached: tuple[int, ...] = ()
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = self._open()

    def write(self, text: str) -> None:
        """Add one line of the keeper's own, with the time. Never raises."""
        self._add(f"{utc_now()} {_plain(text)}\n")

    def output(self, program: str, line: str) -> None:
        """Add one line that PROGRAM wrote. Never raises."""
        self._add(f"{utc_now()} [{program}] {_plain(line)}\n")

    def attach(self, descriptors: tuple[int, ...]) -> None:
        """Let DESCRIPTORS of this process lead to the file, now and when it is replaced."""
        with self._lock:
            self._attached = descriptors
            self._redirect()

    def _add(self, line: str) -> None:
        with self._lock, suppress(OSError):
            data = line.encode("utf-8", "replace")
            if os.fstat(self._file).st_size + len(data) > _LARGEST:
                self._replace()
            os.write(self._file, data)

    def _replace(self) -> None:
        self._path.replace(self._path.with_name(f"{self._path.name}.old"))
        fresh = self._open()
        os.close(self._file)
        self._file = fresh
        self._redirect()

    def _redirect(self) -> None:
        for descriptor in self._attached:
            os.dup2(self._file, descriptor, inheritable=True)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)


def utc_now() -> str:
    """The time as every file of ckptree has it: ISO 8601, UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _plain(text: str) -> str:
    """Make one line of TEXT that no terminal can take for a command."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text.strip())
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[:_LONGEST_LINE]}..."
