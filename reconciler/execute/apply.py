"""Apply a VM's file: lock, observe, plan, rehearse, carry out, and look at what is left to do.

The one way in which anything of a VM is changed, for people and for the daemon alike.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.errors import CkptreeError, PlanStale
from reconciler.execute import notes
from reconciler.execute.executor import Hands, Progress, carry_out, carry_out_action, note_running
from reconciler.execute.hooks import end_interrupted
from reconciler.execute.rehearsal import rehearse
from reconciler.model import properties
from reconciler.model.actions import Action, DestroyNodes, Retire, nodes_of
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import (
    Applied,
    Confirmed,
    Failed,
    Realised,
    Switched,
    Unwished,
    Wished,
)
from reconciler.model.observed import HostIdentity, Observation, Running
from reconciler.model.plan import NO_RESTRAINT, Plan, Restraint
from reconciler.model.tree import derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import NodeName
from reconciler.observe.observer import observe
from reconciler.plan.document import SavedPlan
from reconciler.plan.planner import make_plan

Clock = Callable[[], datetime]
OUTDATED = "the document was changed meanwhile; the next look goes by the new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a person wants a plan to be applied.

    CONFIRM, PURGE, AUTOMATIC, TAKE, RESTRAINT and WINDOWS are those of ``make_plan``; SAVED is a plan made earlier,
    which must still be true. STILL tells, once the lock is held, whether the document is the one that counts.
    """

    by: str
    confirm: bool = False
    purge: bool = False
    saved: SavedPlan | None = None
    automatic: timedelta | None = None
    take: NodeName | None = None
    restraint: Restraint = NO_RESTRAINT
    windows: Windows = ALWAYS
    still: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class Result:
    """The plan that was carried out, and the one that is left to do now."""

    done: Plan
    left: Plan


def apply(
    desired: DesiredVm,
    hands: Hands,
    identity: HostIdentity,
    clock: Clock,
    wish: Wish,
    progress: Progress,
) -> Result:
    """Make VM equal to DESIRED as far as can be; raises CkptreeError at the first step that fails."""

    def look() -> Observation:
        return observe(desired, hands.zfs, hands.files, hands.guest, hands.journal, identity)

    def written_now() -> str:
        return properties.encode_time(clock())

    with hands.journal.locked(f"apply by {wish.by}"):
        if not wish.still():
            raise PlanStale(OUTDATED)
        end_interrupted(desired, hands, identity, written_now)
        hands.guest.tidy()
        # What was just written counts only once a transaction group has taken it in.
        hands.zfs.sync(desired.dataset)
        observation = look()
        plan = make_plan(
            desired,
            observation,
            clock(),
            confirm=wish.confirm,
            purge=wish.purge,
            automatic=wish.automatic,
            take=wish.take,
            restraint=wish.restraint,
            windows=wish.windows,
        )
        if wish.saved is not None:
            then = make_plan(
                desired,
                observation,
                wish.saved.now,
                restraint=wish.restraint,
                windows=wish.windows,
            )
            _refuse_stale(plan, then, wish.saved)
        partly = not (wish.automatic is None and wish.take is None)
        rehearse(plan, desired, observation, purge=wish.purge, partly=partly)
        if plan.hands_off:
            return Result(plan, plan)
        _finish_switch(observation, hands, written_now)
        if observation.journal.stopped:
            note_running(hands, written_now)
        said = None
        if wish.confirm and not observation.journal.confirmed:
            said = Confirmed(at="", by=wish.by)
        said = said or notes.confirmation(desired, observation, wish.by)
        _note(hands, written_now, said, notes.realised(desired, observation))
        if wish.take is not None and plan.actions:
            hands.journal.append(Wished(at=written_now(), by=wish.by, node=wish.take))
        try:
            carry_out(plan, desired, hands, by=wish.by, now=written_now, progress=progress)
        except CkptreeError:
            if wish.take is not None:
                _withdraw(wish.take, desired, hands, look, written_now)
            _start_owed(desired, hands, look, clock, written_now, progress)
            raise
        after = look()
        found = notes.realised(desired, after), notes.applied(desired, plan, after)
        _note(hands, written_now, *found)
        left = make_plan(
            desired,
            replace(after, journal=hands.journal.facts()),
            clock(),
            restraint=wish.restraint,
            windows=wish.windows,
        )
    return Result(plan, left)


def _withdraw(
    node: NodeName,
    desired: DesiredVm,
    hands: Hands,
    look: Callable[[], Observation],
    now: Callable[[], str],
) -> None:
    """Give up the wish for NODE, unless it was taken before the plan failed."""
    seen = look()
    if node not in derive_tree(desired.vm, seen.reading, seen.link).nodes:
        hands.journal.append(Unwished(at=now(), node=node))


def _start_owed(
    desired: DesiredVm,
    hands: Hands,
    look: Callable[[], Observation],
    clock: Clock,
    now: Callable[[], str],
    progress: Progress,
) -> None:
    """Start the guest that the plan which has just failed left off, without waiting for the next one (invariant 5)."""
    observation = look()
    if not observation.journal.stopped or observation.guest.running is Running.RUNNING:
        return
    plan = make_plan(desired, observation, clock(), recover=True)
    for action in plan.actions:
        with suppress(CkptreeError):  # to be stopped must not keep the guest off
            progress(action)
        carry_out_action(action, plan, hands, now)


def _refuse_stale(plan: Plan, then: Plan, saved: SavedPlan) -> None:
    """Refuse unless THEN, made for the moment of SAVED, is that plan, and time has not made PLAN another one.

    PLAN is what is carried out: what falls due by time counts from now, not from when the plan was saved.
    """
    if then.file_digest != saved.file_digest:
        what = "the file has changed"
    elif then.digest != saved.digest:
        what = "what exists has changed"
    elif [_gist(action) for action in plan.actions] != [_gist(action) for action in then.actions]:
        what = "something fell due by time"
    else:
        return
    raise PlanStale(
        f"the saved plan for {plan.vm} is stale: {what} since {saved.now:%Y-%m-%d %H:%M:%S} UTC"
        f" (make it anew with 'ckptree plan -o FILE {plan.vm}')"
    )


def _gist(action: Action) -> tuple[str, tuple[NodeName, ...]]:
    named = nodes_of(action) if isinstance(action, DestroyNodes | Retire) else ()
    return type(action).__name__, named


def _finish_switch(observation: Observation, hands: Hands, now: Callable[[], str]) -> None:
    """Write down what became of a switch of the link that was begun and has no outcome."""
    if hands.journal.facts().switching is None:
        return
    if observation.journal.switching is None:
        hands.journal.append(Switched(at=now()))
    else:
        hands.journal.append(Failed(at=now(), error="interrupted before the link was switched"))


def _note(
    hands: Hands, now: Callable[[], str], *records: Confirmed | Realised | Applied | None
) -> None:
    for record in records:
        if record is not None:
            hands.journal.append(replace(record, at=now()))
