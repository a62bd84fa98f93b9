"""Ask the source for newer documents, now and then and when told to, on a thread of its own.

A repository may take a minute to answer, or not answer at all; the loop does not wait for it. Neighbours:
``source`` fetches and verifies, ``wakes`` is told when anything is another one.
"""

import logging
from threading import Condition, Thread

from reconciler.contracts.clock import Clock
from reconciler.daemon.wakes import Cause, Wakes
from reconciler.source.contract import Source

_PATIENCE = 5.0  # seconds for a fetch that is under way when the daemon ends
_log = logging.getLogger(__name__)


class Fetching:
    """Refreshes SOURCE once when it is started, then EVERY so many seconds, and at each ``now``."""

    def __init__(self, source: Source, every: float, clock: Clock, wakes: Wakes) -> None:
        self._source = source
        self._every = every
        self._clock = clock
        self._wakes = wakes
        self._changed = Condition()
        self._asked = True
        self._ends = False
        self._thread = Thread(target=self._run, name="fetch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def now(self) -> None:
        """Refresh at once, for example because the repository told of a push."""
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End; what is being fetched is not waited for long."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        due = self._clock.monotonic()
        while self._wait(due):
            try:
                self._fetch()
            except Exception:  # noqa: BLE001 - nothing may end the fetching; it is tried again in time
                _log.exception("internal error while fetching; please report it")
            due = self._clock.monotonic() + self._every

    def _fetch(self) -> None:
        before = self._source.problem
        refreshed = self._source.refresh()
        problem = self._source.problem
        if problem and problem != before:
            _log.warning("%s: %s", self._source.place, problem)
        elif refreshed.changed and refreshed.message:
            _log.info("%s: %s", self._source.place, refreshed.message)
        if refreshed.changed or problem != before:
            self._wakes.wake(Cause.SOURCE)

    def _wait(self, due: float) -> bool:
        """Wait until DUE or until asked; tells whether to go on."""
        with self._changed:
            while not (self._ends or self._asked):
                left = due - self._clock.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._asked = False
            return not self._ends
