"""Kill ckptree with SIGKILL, as the kernel or a person would, at one exact place or after a while.

The command runs in a child made by fork(2), which is much quicker here than a new interpreter. Places are counted at
the journal, two for every step of a plan: it is intended and nothing of it has happened; it has happened and that is
not written down. (The same plans in memory, tests/property/test_plan_crashes.py, are cut at every record.)
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from reconciler.cli.main import run
from reconciler.drivers.journal import FileJournal
from reconciler.model.journal import Done, Failed, Intended, JournalRecord, Switched, Switching

MOST_PLACES = 200
"""More than any plan of these tests has."""


def killed_at(place: int, arguments: Sequence[str]) -> bool:
    """Run the command ARGUMENTS and kill it at the PLACE-th place; tells whether it came so far."""
    return _in_child(lambda: _count_down(place), arguments) == -signal.SIGKILL


def killed_after(seconds: float, arguments: Sequence[str]) -> bool:
    """Run the command ARGUMENTS and kill it after SECONDS; tells whether it was still at work."""

    def later() -> None:
        def kill() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()

    return _in_child(later, arguments) == -signal.SIGKILL


def _in_child(prepare: Callable[[], None], arguments: Sequence[str]) -> int:
    child = os.fork()
    if child == 0:
        try:
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silence, descriptor)
            sys.stdout = sys.__stdout__
            prepare()
            os._exit(run(arguments))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _count_down(place: int) -> None:
    """Kill this process at the PLACE-th place."""
    left = [place]
    append = FileJournal.append

    def tick() -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    def counting(self: FileJournal, record: JournalRecord) -> None:
        if isinstance(record, Done | Switched | Failed):
            tick()
        append(self, record)
        if isinstance(record, Intended | Switching):
            tick()

    FileJournal.append = counting  # type: ignore[method-assign]
