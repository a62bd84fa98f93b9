"""Look, compare, and hand out work: again whenever something may have changed, and now and then in any case.

A look reads the documents, observes what exists, plans every VM, offers what is to be done to the workers, and
publishes what was seen. It changes nothing itself. Neighbours: ``wakes`` says when, ``looking`` looks, ``offering``
hands out, ``assembly`` puts all of it together.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from reconciler.contracts.clock import Clock
from reconciler.daemon.backoff import delay
from reconciler.daemon.board import Board, Life
from reconciler.daemon.documents import InForce, Known, counts, known_at, read_again
from reconciler.daemon.looking import Looked, LookedAt, look_at
from reconciler.daemon.offering import Offering
from reconciler.daemon.steadiness import Steadiness
from reconciler.daemon.tasks import Orders
from reconciler.daemon.wakes import Cause, Wakes, Woken
from reconciler.daemon.workers import Workers
from reconciler.errors import CkptreeError
from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Restraint
from reconciler.names import VmName
from reconciler.render.host_view import HostReport, VmReport
from reconciler.source.contract import Source
from reconciler.spec.settings import HostSettings

_JITTER = (
    0.1  # of the interval, either way: hosts that start together must not look together for ever
)
_SOON = 4  # the first look at what could not be read comes after as long as the fourth failure's
_PAUSE = 5.0  # seconds until what could not be looked at is tried again

_log = logging.getLogger(__name__)


class Watch(Protocol):
    """What tells of edits; ``drivers.watch`` is one."""

    def refresh(self, path: Path, homes: Sequence[str]) -> None:
        """Watch what is to be watched now for documents at PATH, nothing of it in HOMES."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What may be another one after a reload: the host's settings, and where the documents are from."""

    settings: HostSettings
    source: Source


@dataclass(frozen=True, slots=True)
class _Again:
    """When, on the even clock, to look at a VM again of which something could not be read so many TIMES."""

    at: float
    times: int


class Loop:
    """The loop over HOST. WATCH tells of edits, TELL gets each look's report, CHANCE gives a number from 0 to 1."""

    def __init__(
        self,
        host: LookedAt,
        setup: Setup,
        watch: Watch,
        clock: Clock,
        wakes: Wakes,
        chance: Callable[[], float],
        tell: Callable[[HostReport], None],
        pid: int,
    ) -> None:
        self.setup = setup
        self.workers = Workers(clock, chance, self._work_ended)
        self.board = Board(at=clock.now())
        self._offering = Offering(host, self.workers)
        self._host = host
        self._watch = watch
        self._clock = clock
        self._wakes = wakes
        self._chance = chance
        self._tell = tell
        self._life = Life(pid, clock.now())
        self._steadiness = Steadiness(clock)
        self._known: Known | None = None
        self._again: dict[VmName, _Again] = {}
        self._told_before: Mapping[VmName, VmReport] = {}
        self._next_pass = self._not_before = clock.monotonic()

    def run(self) -> None:
        """Look whenever there is a reason to, until the wakes are closed."""
        while (woken := self._wakes.wait(self._deadline())) is not None:
            try:
                self.look(woken)
            except Exception:  # noqa: BLE001 - nothing may end the loop
                _log.exception("internal error while looking; please report it")
                # What woke us is forgotten by now: everything is looked at again, soon.
                self._wait_a_little()
                self._next_pass = min(self._next_pass, self._not_before)

    def look(self, woken: Woken) -> None:
        """Look once because of WOKEN."""
        setup, board = self.setup, self.board
        names = self._names(woken)
        known = self._known
        if names is None or woken.causes & {Cause.FILES, Cause.REQUEST}:
            board, known = self._read_documents(setup, woken)
        if names is None:
            board = self._begin_pass(board, setup)
        else:
            names |= board.in_force.changed_since(self.board.in_force)
        chosen = [vm for vm in board.in_force.vms if names is None or vm.vm in names]
        board, looked = self._look_at(chosen, board, setup)
        self.board, self._known = board, known
        asked = looked if woken.vms is None else looked & woken.vms
        urgent = asked if woken.causes & {Cause.REQUEST, Cause.RELOAD} else set()
        self._offering.offer(board, looked, self._orders(setup), urgent)
        self._tell(self.report())

    def report(self) -> HostReport:
        """Tell all that is known now; may be asked from any thread."""
        source, doing = self.setup.source, self.workers.doing
        name, at = self._host.identity.name, self._clock.now()
        report = self.board.report(name, at, self._life, source, doing, self._told_before)
        self._told_before = {vm.status.vm: vm for vm in report.vms}
        return report

    def _names(self, woken: Woken) -> frozenset[VmName] | None:
        """The VMs to look at, those among them whose time has come; none are all, and the documents."""
        everything = woken.vms is None and woken.causes != {Cause.TIME}
        if everything or self._clock.monotonic() >= self._next_pass:
            return None
        now, even = self._clock.now(), self._clock.monotonic()
        due = {seen.desired.vm for seen in self.board.seen if seen.due and seen.due <= now}
        due |= {name for name, again in self._again.items() if again.at <= even}
        due |= self._offering.vms_of(self.workers.retries_due, self.board)
        return frozenset(due | (woken.vms or set()))

    def _deadline(self) -> float:
        times = [self._next_pass]
        if (retry := self.workers.next_retry) is not None:
            times.append(retry)
        now, even = self._clock.now(), self._clock.monotonic()
        dues = [seen.due for seen in self.board.seen if seen.due is not None]
        times += [even + (due - now).total_seconds() for due in dues]
        there = self.board.in_force.by_name
        times += [again.at for name, again in self._again.items() if name in there]
        return max(min(times), self._not_before)

    def _wait_a_little(self) -> None:
        """Have what could not be looked at wait, or it would be due again at once, and for ever."""
        self._not_before = self._clock.monotonic() + _PAUSE

    def _read_documents(self, setup: Setup, woken: Woken) -> tuple[Board, Known | None]:
        """Read the documents if they are others than those that are known."""
        board, source = self.board, setup.source
        path = source.path
        if path is None:
            fault = source.problem or "there are no documents yet"
            in_force = replace(board.in_force, faults=(fault,), stale=frozenset(board.in_force.by_name))  # fmt: skip
            return replace(board, in_force=in_force), None
        # First watched, then read: no edit falls in between.
        self._watch.refresh(path, board.homes)
        found = known_at(path, source.revision)
        if found is not None and found == self._known:
            return board, found
        in_force = read_again(board.in_force, path, source)
        for fault in in_force.faults:
            if fault not in board.in_force.faults:
                _log.warning("%s", fault)
        return replace(board, in_force=in_force, missed=self._missed(in_force, woken)), found

    def _missed(self, in_force: InForce, woken: Woken) -> int:
        """Count it if nothing but the time had this look find other documents."""
        changed = in_force.changed_since(self.board.in_force)
        if not changed or woken.causes != {Cause.TIME} or not self.board.passes:
            return self.board.missed
        names = ", ".join(sorted(changed))
        _log.info("the periodic look found what no event had told of: %s", names)
        return self.board.missed + 1

    def _begin_pass(self, board: Board, setup: Setup) -> Board:
        interval = setup.settings.interval.total_seconds()
        seconds = interval * (1 + _JITTER * (2 * self._chance() - 1))
        self._next_pass = self._clock.monotonic() + seconds
        now = self._clock.now()
        return replace(
            board,
            passes=board.passes + 1,
            last_pass=now,
            next_pass=now + timedelta(seconds=round(seconds)),
        )

    def _look_at(
        self, chosen: Sequence[DesiredVm], board: Board, setup: Setup
    ) -> tuple[Board, AbstractSet[VmName]]:
        """Look at CHOSEN, and tell which of them could be."""
        now, in_force = self._clock.now(), board.in_force

        def restraint(vm: DesiredVm) -> Restraint:
            return self._restraint(vm, setup)

        looked = look_at(chosen, self._host, now, restraint, setup.settings.windows)
        self._plan_again(looked)
        faults, released = looked.faults, board.released
        if len(chosen) == len(in_force.vms) or in_force is not self.board.in_force:
            try:
                released = self._host.released(in_force.vms)
            except CkptreeError as error:
                faults = (*faults, str(error))
        elif not faults:
            faults = board.faults  # of what was not looked at now
        for fault in faults:
            if fault not in board.faults:
                _log.warning("%s", fault)
        if looked.faults:
            self._wait_a_little()
        known = {one.desired.vm: one for one in board.seen} | looked.seen
        seen = tuple(known[vm.vm] for vm in in_force.vms if vm.vm in known)
        board = replace(board, at=now, seen=seen, released=released, faults=faults)
        return board, looked.seen.keys()

    def _plan_again(self, looked: Looked) -> None:
        """Have those be looked at again soon of which something could not be read, later and later."""
        for name, seen in looked.seen.items():
            if not seen.unreadable:
                self._again.pop(name, None)
                continue
            times = self._again[name].times + 1 if name in self._again else _SOON
            self._again[name] = _Again(
                self._clock.monotonic() + delay(times, self._chance()), times
            )

    def _restraint(self, vm: DesiredVm, setup: Setup) -> Restraint:
        """What must not be done now for a document: its own revision may be an older one than that in force."""
        restraint = setup.source.restraint_of(vm.revision)
        return replace(restraint, ageing=self._steadiness.doubt())

    def _newest(self, name: VmName) -> DesiredVm | None:
        return self.board.in_force.by_name.get(name)

    def _orders(self, setup: Setup) -> Orders:
        return Orders(
            clock=self._clock.now,
            restraint=lambda vm: self._restraint(vm, setup),
            newest=self._newest,
            counts=lambda vm: counts(self.board.in_force, vm),
            windows=setup.settings.windows,
            group_wait=setup.settings.group_wait.total_seconds(),
            revision=self.board.in_force.revision,
        )

    def _work_ended(self, key: str) -> None:
        self._wakes.wake(Cause.WORK, self._offering.vms_of([key], self.board))
