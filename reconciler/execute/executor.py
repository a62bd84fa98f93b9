"""Carry out one plan: every step with its intent written down before and its outcome after.

A step that fails ends the plan: what was done stands, and the next plan goes on from what exists. Nothing is
decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.contracts.files import Files
from reconciler.contracts.journal import Journal
from reconciler.contracts.perform import Place, perform
from reconciler.contracts.zfs import Zfs
from reconciler.errors import CkptreeError, StepFailed, ZfsErrorKind, ZfsRefused
from reconciler.model.actions import Action, Restore
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import Begun, Done, Failed, Intended, Switched, Switching
from reconciler.model.plan import Plan
from reconciler.model.steps import (
    CloneDataset,
    DatasetRef,
    Destroy,
    Hold,
    Promote,
    Rollback,
    SetProperties,
    Step,
    SwitchLink,
    TakeSnapshots,
)
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
    journal: Journal
    place: Place


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
        )
    )
    for action in plan.actions:
        progress(action)
        for step in steps_of(plan.vm, plan.home, action):
            _carry_out_step(step, action, hands, now)


def _carry_out_step(step: Step, action: Action, hands: Hands, now: Now) -> None:
    hands.journal.append(Intended(at=now(), step=type(step).__name__, target=_target(step)))
    if isinstance(step, SwitchLink):
        hands.journal.append(_switching(step, action, hands, now))
    try:
        perform(step, hands.zfs, hands.files, hands.place)
    except CkptreeError as error:
        hands.journal.append(Failed(at=now(), error=str(error)))
        raise
    hands.journal.append(Switched(at=now()) if isinstance(step, SwitchLink) else Done(at=now()))


def _switching(step: SwitchLink, action: Action, hands: Hands, now: Now) -> Switching:
    guid = hands.zfs.guids([step.branch.name]).get(step.branch.name)
    if guid is None:
        raise ZfsRefused(ZfsErrorKind.NOT_FOUND, step.branch.name)
    restored = action if isinstance(action, Restore) else None
    return Switching(
        at=now(),
        guid=guid,
        node=None if restored is None else restored.node,
        again=None if restored is None else restored.again,
        before=None if step.before is None else _guid(step.before),
        left=step.left,
    )


def _guid(ref: DatasetRef) -> int:
    if ref.guid is None:
        raise StepFailed(f"the plan does not say which {ref.name} the guest leaves")
    return ref.guid


def _target(step: Step) -> str:
    match step:
        case TakeSnapshots(snapshots=snapshots):
            return " ".join(snapshots)
        case Hold(snapshots=refs) | Promote(clones=refs) | Destroy(targets=refs):
            return " ".join(ref.name for ref in refs)
        case CloneDataset(target=target):
            return target
        case SetProperties(target=ref) | Rollback(snapshot=ref):
            return ref.name
        case _:
            return step.branch.name
