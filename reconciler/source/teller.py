"""Tells a program of the operator's what became of a revision, for a commit status; on a thread of its own.

A program that hangs delays nobody: it is given half a minute, and the newest word on each revision is what counts.
"""

import logging
from threading import Condition, Thread

from reconciler.drivers.command import run
from reconciler.drivers.trust import why_not_trusted
from reconciler.errors import CkptreeError
from reconciler.source.ledger import Entry

_SECONDS = 30.0
_log = logging.getLogger(__name__)


class CommandTeller:
    """Implements ``ledger.Teller``: runs COMMAND with three more arguments, the revision, its state, and a sentence."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._changed = Condition()
        self._waiting: dict[str, Entry] = {}
        self._thread: Thread | None = None
        self._closed = False

    def __call__(self, entry: Entry) -> None:
        """Have ENTRY told; returns at once. After ``close`` nothing more is told."""
        with self._changed:
            if self._closed or not self._command:
                return
            self._waiting.pop(entry.revision, None)
            self._waiting[entry.revision] = entry
            if self._thread is None:
                self._thread = Thread(target=self._work, name="revision", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Take nothing more, and wait at most SECONDS for what is to be told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            try:
                self._tell(entry)
            except CkptreeError as error:
                program, revision = self._command[0], entry.revision[:12]
                _log.warning("%s was not told of revision %s: %s", program, revision, error)

    def _next(self) -> Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            first = next(iter(self._waiting), None)
            return None if first is None else self._waiting.pop(first)

    def _tell(self, entry: Entry) -> None:
        doubt = why_not_trusted(self._command[0])
        if doubt:
            raise CkptreeError(f"it is not run: {doubt}")
        words = (entry.revision, entry.state.value, entry.message)
        run((*self._command, *words), timeout=_SECONDS, shares=False)
