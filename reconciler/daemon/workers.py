"""One worker a VM: it works for as long as there is something to do, alone, and never in another one's way.

A worker that fails is left alone for a while, the longer the more often it failed; another document or a person cuts
that short. Nothing is queued: what came meanwhile is seen by the next look. ``loop`` decides what is offered.
"""

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Condition, Semaphore, Thread

from reconciler.contracts.clock import Clock
from reconciler.daemon.backoff import delay
from reconciler.errors import CkptreeError
from reconciler.render.host_view import Doing, Work

_AT_ONCE = 16  # works that change something of a pool at the same moment; the others wait
_log = logging.getLogger(__name__)


class Stopped(CkptreeError):
    """Raised within work that is to end before its next action, because the daemon ends."""

    def __init__(self) -> None:
        super().__init__("stopped before the next action; the next run goes on from here")


Task = Callable[[Callable[[str], None]], str]
"""Works, telling each action before it is begun, and gives what is left to do, or nothing. Raises CkptreeError."""


@dataclass(slots=True)
class _Worker:
    doing: Doing
    reason: str = ""
    retry: float = 0.0


class Workers:
    """The workers of a host, by key: a VM's name, or a group's.

    ENDED is called, on the worker's thread, when one has ended. CHANCE gives a number from 0 to 1.
    """

    def __init__(
        self, clock: Clock, chance: Callable[[], float], ended: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._ended = ended
        self._changed = Condition()
        # Work on a pool that is suspended may never end: it holds the turns of that pool, and of no other.
        self._turns: dict[str, Semaphore] = {}
        self._workers: dict[str, _Worker] = {}
        self._stopping = False

    def offer(self, key: str, reason: str, task: Task, *, pool: str, urgent: bool = False) -> bool:
        """Have TASK done for KEY unless it is at work, or is left alone after a failure; tells whether it was begun.

        REASON stands for what asks for it, such as the document's digest: another one is tried at once, and so is what
        is URGENT. It waits for its turn among those of the same POOL.
        """
        with self._changed:
            if self._stopping:
                return False
            worker = self._workers.setdefault(key, _Worker(Doing(work=Work.IDLE, since=self._now)))
            left_alone = worker.doing.work is Work.BACKING_OFF and not (
                urgent or worker.reason != reason or self._clock.monotonic() >= worker.retry
            )
            if left_alone or worker.doing.work in {Work.QUEUED, Work.WORKING}:
                return False
            if worker.reason != reason:  # what failed was another task
                worker.doing = Doing(work=Work.IDLE, since=self._now)
            worker.reason = reason
            worker.doing = replace(worker.doing, work=Work.QUEUED, since=self._now, retry=None)
            turns = self._turns.setdefault(pool, Semaphore(_AT_ONCE))
        thread = Thread(target=self._work, args=(key, worker, task, turns), name=key, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread is to be had
            with self._changed:
                self._settle(key, worker, str(error))
            return False
        return True

    def rest(self, keys: AbstractSet[str]) -> None:
        """Forget the failures of KEYS: there is nothing left to do for them."""
        with self._changed:
            for key in keys & self._workers.keys():
                worker = self._workers[key]
                if worker.doing.work is Work.BACKING_OFF:
                    worker.doing = Doing(work=Work.IDLE, since=self._now)

    def put_off(self, keys: AbstractSet[str]) -> None:
        """Leave those of KEYS whose time has come, but that could not be tried, alone for as long as before."""
        with self._changed:
            for key in keys & self._due():
                worker = self._workers[key]
                self._leave_alone(worker, delay(worker.doing.failures, self._chance()))

    @property
    def keys(self) -> frozenset[str]:
        """Those for which anything was ever offered."""
        with self._changed:
            return frozenset(self._workers)

    @property
    def retries_due(self) -> frozenset[str]:
        """Those that failed and were left alone long enough."""
        with self._changed:
            return self._due()

    def doing(self, key: str) -> Doing | None:
        """Tell what the worker of KEY does; none has never done anything."""
        with self._changed:
            worker = self._workers.get(key)
            return None if worker is None else worker.doing

    def busy(self, key: str) -> bool:
        """Tell whether KEY is at work, or waits for its turn."""
        doing = self.doing(key)
        return doing is not None and doing.work in {Work.QUEUED, Work.WORKING}

    @property
    def next_retry(self) -> float | None:
        """When, on the even clock, the first of those that failed is to be tried again."""
        with self._changed:
            times = [
                worker.retry
                for worker in self._workers.values()
                if worker.doing.work is Work.BACKING_OFF
            ]
        return min(times, default=None)

    def stop(self, seconds: float) -> tuple[str, ...]:
        """Begin nothing more, and wait SECONDS for all at work to reach their next action; gives who is still at it."""
        with self._changed:
            self._stopping = True
            self._changed.wait_for(lambda: not self._at_work(), seconds)
            return self._at_work()

    def _due(self) -> frozenset[str]:
        now = self._clock.monotonic()
        return frozenset(
            key
            for key, worker in self._workers.items()
            if worker.doing.work is Work.BACKING_OFF and worker.retry <= now
        )

    def _at_work(self) -> tuple[str, ...]:
        busy = {Work.QUEUED, Work.WORKING}
        return tuple(key for key, worker in self._workers.items() if worker.doing.work in busy)

    @property
    def _now(self) -> datetime:
        return self._clock.now()

    def _work(self, key: str, worker: _Worker, task: Task, turns: Semaphore) -> None:
        try:
            with turns:
                error = self._try(key, worker, task)
            with self._changed:
                self._settle(key, worker, error)
        finally:
            with self._changed:
                self._changed.notify_all()
            self._ended(key)

    def _try(self, key: str, worker: _Worker, task: Task) -> str:
        told = False

        def begin(action: str) -> None:
            nonlocal told
            if self._stopping and not told:
                told = True  # what has to be put right after it is let through
                raise Stopped
            with self._changed:
                worker.doing = replace(worker.doing, action=action)
            _log.info("%s: %s", key, action)

        with self._changed:
            worker.doing = replace(worker.doing, work=Work.WORKING, since=self._now, action="")
        if self._stopping:
            return ""
        try:
            return task(begin)
        except Stopped as stopped:
            _log.info("%s: %s", key, stopped)
            return ""
        except CkptreeError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - one VM's bug must not end the others' work
            _log.exception("%s: internal error", key)
            return f"internal error ({type(error).__name__}: {error}); please report it"

    def _settle(self, key: str, worker: _Worker, error: str) -> None:
        if not error:
            worker.doing = Doing(work=Work.IDLE, since=self._now)
            return
        failures = worker.doing.failures + 1
        seconds = delay(failures, self._chance())
        _log.warning("%s: %s (tried again in %.0f s at the latest)", key, error, max(seconds, 1.0))
        worker.doing = Doing(
            work=Work.BACKING_OFF,
            since=self._now,
            failures=failures,
            error=error,
        )
        self._leave_alone(worker, seconds)

    def _leave_alone(self, worker: _Worker, seconds: float) -> None:
        worker.retry = self._clock.monotonic() + seconds
        retry = self._now + timedelta(seconds=round(seconds))
        worker.doing = replace(worker.doing, retry=retry)
