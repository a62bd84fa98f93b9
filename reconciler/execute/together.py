"""Take the checkpoints of a group: all guests frozen, one atomic snapshot over all of their disks, all released.

The first guest that is frozen waits for the last one, but never longer than the bound: then all go on and nothing
is taken. ``plan.group`` decides; what follows the instant (holds, files of RAM) is done VM by VM.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Thread
from time import monotonic

from reconciler.contracts.perform import undo_snapshots
from reconciler.errors import CkptreeError, HoldLost, PlanStale, StepFailed
from reconciler.execute.apply import OUTDATED
from reconciler.execute.executor import Hands, Progress, carry_out_steps, note_running
from reconciler.execute.hooks import end_interrupted, hooked
from reconciler.execute.rehearsal import rehearse
from reconciler.model import properties
from reconciler.model.actions import Capture, nodes_of
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import TAKE_FROZEN, Begun, Done, Failed, Intended
from reconciler.model.observed import HostIdentity
from reconciler.model.plan import Plan
from reconciler.model.windows import ALWAYS, Windows
from reconciler.observe.observer import observe
from reconciler.plan.group import GroupPlan, plan_group


@dataclass(frozen=True, slots=True)
class Member:
    """One VM of a group, and the hands for it."""

    desired: DesiredVm
    hands: Hands


def capture_together(
    group: str,
    members: Sequence[Member],
    identity: HostIdentity,
    clock: Callable[[], datetime],
    by: str,
    bound: float,
    progress: Callable[[Member], Progress],
    *,
    windows: Windows = ALWAYS,
    still: Callable[[DesiredVm], bool] = lambda _: True,
) -> GroupPlan:
    """Take GROUP of MEMBERS, its VMs in order, if all are ready; gives what was planned.

    BOUND is how many seconds a frozen guest waits for the others; WINDOWS are the host's. STILL
    tells, once the locks are held, whether a document is the one that counts. Raises CkptreeError if it could not be
    taken: then it is of none, and every guest goes on.
    """

    def now() -> str:
        return properties.encode_time(clock())

    with ExitStack() as locks:
        for member in members:
            locks.enter_context(member.hands.journal.locked(f"group {group} by {by}"))
        if not all(still(member.desired) for member in members):
            raise PlanStale(OUTDATED)
        for member in members:
            end_interrupted(member.desired, member.hands, identity, now)
        members[0].hands.zfs.sync(members[0].desired.dataset)
        seen = []
        for one in members:
            hands = one.hands
            observation = observe(
                one.desired, hands.zfs, hands.files, hands.guest, hands.journal, identity
            )
            seen.append((one.desired, observation))
        planned = plan_group(group, seen, clock(), windows)
        if not planned.ready:
            return planned
        for plan, (desired, observation) in zip(planned.plans, seen, strict=True):
            rehearse(plan, desired, observation, partly=True)
        parts = [
            _Part(member, plan, _capture_of(plan))
            for member, plan in zip(members, planned.plans, strict=True)
        ]
        with ExitStack() as hooks:
            for part in parts:
                hooks.enter_context(hooked(part.capture, part.member.hands, now))
            _take(parts, bound, by, now, progress)
            for part in parts:
                member = part.member
                carry_out_steps(part.capture, member.desired, member.hands, now, done=1)
    return planned


@dataclass(frozen=True, slots=True)
class _Part:
    member: Member
    plan: Plan
    capture: Capture


def _capture_of(plan: Plan) -> Capture:
    return next(action for action in plan.actions if isinstance(action, Capture))


def _take(
    parts: Sequence[_Part],
    bound: float,
    by: str,
    now: Callable[[], str],
    progress: Callable[[Member], Progress],
) -> None:
    for part in parts:
        progress(part.member)(part.capture)
        plan, capture, journal = part.plan, part.capture, part.member.hands.journal
        begun = Begun(
            at=now(),
            by=by,
            plan=plan.digest,
            file=plan.file,
            file_digest=plan.file_digest,
            revision=part.member.desired.revision,
        )
        journal.append(begun)
        step = TAKE_FROZEN if capture.memory is not None else "TakeSnapshots"
        target = " ".join(name for node in capture.nodes for name in node.snapshots)
        journal.append(
            Intended(
                at=now(),
                step=step,
                target=target,
                action=Capture.__name__,
                nodes=list(nodes_of(capture)),
                steps=1,
            )
        )
    stands = monotonic()
    try:
        _take_at_one_instant(parts, bound)
    except CkptreeError as error:
        for part in parts:
            part.member.hands.journal.append(Failed(at=now(), error=str(error)))
            if part.capture.memory is not None:
                _went_on(part, now)
        raise
    pause = round(monotonic() - stands, 3)
    for part in parts:
        stood = part.capture.memory is not None
        part.member.hands.journal.append(Done(at=now(), pause=pause if stood else None))


def _went_on(part: _Part, now: Callable[[], str]) -> None:
    """Write down that the guest runs, and remove its RAM, from which it went on; where it is off it needs that."""
    hands, branch, memory = part.member.hands, part.capture.branch.name, part.capture.memory
    if note_running(hands, now) and memory is not None:
        with suppress(CkptreeError):
            hands.files.drop_memory(hands.place.path_of(branch), branch, memory)


def _take_at_one_instant(parts: Sequence[_Part], bound: float) -> None:
    frozen = [part for part in parts if part.capture.memory is not None]
    meeting = _Meeting(len(frozen), bound)
    threads = [Thread(target=_freeze, args=(part, meeting), daemon=True) for part in frozen]
    try:
        for thread in threads:
            thread.start()
        meeting.wait_for_all()
        nodes = [node for part in parts for node in part.capture.nodes]
        sets = [(node.snapshots, dict(node.properties)) for node in nodes]
        parts[0].member.hands.zfs.snapshot_sets(sets)
    except RuntimeError as error:  # no thread is to be had
        raise StepFailed(f"not all guests can be frozen at once: {error}") from error
    finally:
        meeting.release()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    try:
        meeting.complain()
    except HoldLost:
        undo_snapshots(parts[0].member.hands.zfs, [name for names, _ in sets for name in names])
        raise


def _freeze(part: _Part, meeting: "_Meeting") -> None:
    hands, vm, memory = part.member.hands, part.member.desired.vm, part.capture.memory
    assert memory is not None  # noqa: S101 - only those are frozen
    branch = part.capture.branch.name
    path = hands.place.path_of(branch)
    try:
        hands.files.prepare_memory(path, branch, memory)
        with hands.guest.frozen(hands.files.memory_path(path, branch, memory)):
            meeting.arrive(vm)
    except Exception as error:  # noqa: BLE001 - the others must hear of it, whatever it is
        meeting.fail(f"{vm}: {error}", lost=isinstance(error, HoldLost))


class _Meeting:
    """Where the frozen guests wait for each other, BOUND seconds at most from the first on."""

    def __init__(self, expected: int, bound: float) -> None:
        self._expected = expected
        self._bound = bound
        self._changed = Condition()
        self._here: list[str] = []
        self._first = 0.0
        self._failed: list[str] = []
        self._lost = False
        self._over = False

    def arrive(self, vm: str) -> None:
        """Tell that the guest of VM is frozen, and wait until all may go on."""
        with self._changed:
            self._first = self._first or monotonic()
            self._here.append(vm)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over)

    def fail(self, why: str, *, lost: bool) -> None:
        """Tell that one cannot be frozen, could not go on, or went on before it was to (LOST)."""
        with self._changed:
            self._failed.append(why)
            self._lost = self._lost or lost
            self._changed.notify_all()

    def wait_for_all(self) -> None:
        """Wait until all are frozen; raises StepFailed if that cannot be, or takes too long."""
        with self._changed:
            while len(self._here) < self._expected and not self._failed:
                left = None
                if self._first:
                    left = self._first + self._bound - monotonic()
                    if left <= 0:
                        raise StepFailed(
                            f"not taken: {', '.join(self._here)} waited {self._bound:.0f} s for the other guests"
                            " of the group to be frozen; all go on (raise 'group-wait' in ckptree.yaml)"
                        )
                self._changed.wait(left)
        self.complain()

    def release(self) -> None:
        """Let all go on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def complain(self) -> None:
        """Raise StepFailed if any could not be frozen, or could not go on; HoldLost if one went on too soon."""
        if self._failed:
            raise (HoldLost if self._lost else StepFailed)("; ".join(self._failed))
