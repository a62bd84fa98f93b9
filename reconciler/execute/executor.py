"""Carry out one plan: every step with its intent written down before and its outcome after.

A step that fails ends the plan: what was done stands, and the next plan goes on from what exists. Nothing is
decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from reconciler.contracts.files import Files
from reconciler.contracts.guest import Guest
from reconciler.contracts.hooks import HookRunner
from reconciler.contracts.journal import Journal
from reconciler.contracts.perform import Place, perform
from reconciler.contracts.zfs import Zfs
from reconciler.errors import CkptreeError, StepFailed, ZfsErrorKind, ZfsRefused
from reconciler.execute.hooks import hooked
from reconciler.model.actions import Action, Restore, Return, nodes_of
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import (
    TAKE_AND_END,
    Begun,
    Done,
    Failed,
    GaveUp,
    GuestSeen,
    Intended,
    Switched,
    Switching,
)
from reconciler.model.observed import Running
from reconciler.model.plan import Plan
from reconciler.model.steps import (
    CloneDataset,
    DatasetRef,
    Destroy,
    EnsureSaved,
    Hold,
    Promote,
    Rollback,
    SetProperties,
    StartGuest,
    Step,
    StopGuest,
    SwitchLink,
    TakeFrozen,
    TakeSnapshots,
)
from reconciler.plan.restore_steps import back_of, way_back
from reconciler.plan.steps import steps_of

Now = Callable[[], str]
"""Tells the time for the journal, as ``properties.encode_time`` writes it."""
Progress = Callable[[Action], None]
"""Is called before each action."""


@dataclass(frozen=True, slots=True)
class Hands:
    """All that carrying out needs of a host, for one VM."""

    zfs: Zfs
    files: Files
    guest: Guest
    journal: Journal
    place: Place
    hooks: HookRunner


def carry_out(
    plan: Plan,
    desired: DesiredVm,
    hands: Hands,
    *,
    by: str,
    now: Now,
    progress: Progress,
) -> None:
    """Carry out PLAN, made for DESIRED, for the person or program BY; raises CkptreeError at the first failed step."""
    if not plan.actions:
        return
    hands.journal.append(
        Begun(
            at=now(),
            by=by,
            plan=plan.digest,
            file=plan.file,
            file_digest=plan.file_digest,
            capturing=plan.capturing,
            again=desired.restore.again,
            revision=desired.revision,
        )
    )
    for action in plan.actions:
        progress(action)
        carry_out_action(action, plan, hands, now)


def carry_out_action(action: Action, plan: Plan, hands: Hands, now: Now) -> None:
    """Carry out one ACTION of PLAN, with its hooks; a guest that it cannot start where it is to go is brought back."""
    with hooked(action, hands, now):
        _carry_out_whole(action, plan, hands, now)


def _carry_out_whole(action: Action, plan: Plan, hands: Hands, now: Now) -> None:
    steps = steps_of(plan.vm, plan.home, action)
    stands: float | None = None
    for number, step in enumerate(steps):
        if stands is None and isinstance(step, TakeFrozen | StopGuest):
            stands = monotonic()
        goes_on = isinstance(step, StartGuest) or (isinstance(step, TakeFrozen) and not step.ends)
        try:
            _carry_out_step(
                step,
                action,
                hands,
                now,
                begins=0 if number else len(steps),
                stands=stands if goes_on else None,
            )
        except CkptreeError as error:
            back = way_back(plan.home, action, number, steps)
            if back:
                _go_back(back, action, error, hands, now)
            raise
        if goes_on:
            stands = None
    if isinstance(action, Return):
        why = "interrupted while the guest was being started"
        gave_up = GaveUp(at=now(), node=action.back.node, again=action.back.again, error=why)
        hands.journal.append(gave_up)


def carry_out_steps(
    action: Action, desired: DesiredVm, hands: Hands, now: Now, *, done: int = 0
) -> None:
    """Carry out the steps of one ACTION for the VM DESIRED, but the first DONE of them, which have happened."""
    steps = steps_of(desired.vm, desired.dataset, action)
    for number, step in enumerate(steps[done:], done):
        _carry_out_step(step, action, hands, now, begins=0 if number else len(steps))


def _go_back(
    steps: tuple[Step, ...], action: Action, error: CkptreeError, hands: Hands, now: Now
) -> None:
    """Bring the guest back to where a restore took it from; raises StepFailed, which says what became of it."""
    back = back_of(action)
    assert back is not None  # noqa: S101 - it has a way back
    before = back.branch.name
    resumed = False
    try:
        for step in steps:
            if isinstance(step, StartGuest) and step.memory is not None:
                resumed = _is_as_saved(step.branch, hands)
                start = step if resumed else replace(step, memory=None)
                _carry_out_step(start, None, hands, now)
            else:
                _carry_out_step(step, None, hands, now)
    except CkptreeError as second:
        raise StepFailed(
            f"{error}; and the guest could not be brought back to {before}: {second}"
        ) from error
    hands.journal.append(GaveUp(at=now(), node=back.node, again=back.again, error=str(error)))
    how = "from its memory" if resumed else "from its disks"
    raise StepFailed(f"{error}; the guest is back on {before} and was started {how}") from error


def _is_as_saved(branch: DatasetRef, hands: Hands) -> bool:
    """Whether BRANCH is as it was left: a guest that was started elsewhere may have run on its disks all the same."""
    try:
        perform(EnsureSaved(branch), hands.zfs, hands.files, hands.guest, hands.place)
    except CkptreeError:
        return False
    return True


def _carry_out_step(
    step: Step,
    action: Action | None,
    hands: Hands,
    now: Now,
    *,
    begins: int = 0,
    stands: float | None = None,
) -> None:
    """Carry out STEP, which BEGINS an ACTION of so many steps; with it a guest goes on that STANDS since then."""
    intended = Intended(at=now(), step=_name(step), target=_target(step))
    if begins and action is not None:
        kind, nodes = type(action).__name__, list(nodes_of(action))
        intended = replace(intended, action=kind, nodes=nodes, steps=begins)
    hands.journal.append(intended)
    if isinstance(step, SwitchLink):
        hands.journal.append(_switching(step, action, hands, now))
    try:
        perform(step, hands.zfs, hands.files, hands.guest, hands.place)
    except CkptreeError as error:
        hands.journal.append(Failed(at=now(), error=str(error)))
        if isinstance(step, TakeFrozen):
            note_running(hands, now)
        raise
    if isinstance(step, SwitchLink):
        hands.journal.append(Switched(at=now()))
    else:
        pause = None if stands is None else round(monotonic() - stands, 3)
        hands.journal.append(Done(at=now(), pause=pause))


def note_running(hands: Hands, now: Now) -> bool:
    """Write down that the guest runs, if it does: ckptree owes it no start. Tells whether it does."""
    running = hands.guest.state().running is Running.RUNNING
    if running:
        hands.journal.append(GuestSeen(at=now(), running=True, by="ckptree"))
    return running


def _name(step: Step) -> str:
    if isinstance(step, TakeFrozen) and step.ends:
        return TAKE_AND_END
    return type(step).__name__


def _switching(step: SwitchLink, action: Action | None, hands: Hands, now: Now) -> Switching:
    guid = _guid(step.branch, hands)
    restored = action if isinstance(action, Restore) else None
    return Switching(
        at=now(),
        guid=guid,
        node=None if restored is None else restored.node,
        again=None if restored is None else restored.again,
        before=None if step.before is None else _guid(step.before, hands),
        left=step.left,
    )


def _guid(ref: DatasetRef, hands: Hands) -> int:
    guid = ref.guid or hands.zfs.guids([ref.name]).get(ref.name)
    if guid is None:
        raise ZfsRefused(ZfsErrorKind.NOT_FOUND, ref.name)
    return guid


def _target(step: Step) -> str:
    match step:
        case TakeSnapshots(snapshots=snapshots):
            return " ".join(snapshots)
        case TakeFrozen(takes=takes):
            return " ".join(name for take in takes for name in take.snapshots)
        case Hold(snapshots=refs) | Promote(clones=refs) | Destroy(targets=refs):
            return " ".join(ref.name for ref in refs)
        case CloneDataset(target=target):
            return target
        case SetProperties(target=ref) | Rollback(snapshot=ref):
            return ref.name
        case _:
            return step.branch.name
