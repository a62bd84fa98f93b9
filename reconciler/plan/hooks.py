"""Put the operator's hooks into the actions that they are run around, and say of one that an interrupted run owes.

In one place, so that no part of the planner can make a checkpoint without them. Nothing is decided by a hook here:
the host in memory has none, and neither has a rehearsal.
"""

from collections.abc import Iterable
from dataclasses import replace

from reconciler.model.actions import Action, Capture, Restore, Return, Start
from reconciler.model.desired import HookPair, Hooks
from reconciler.model.journal import JournalFacts
from reconciler.model.plan import Condition, Reason, Severity
from reconciler.names import VmName


def with_hooks(actions: Iterable[Action], hooks: Hooks) -> tuple[Action, ...]:
    """Give each of ACTIONS the HOOKS that are run around it."""
    return tuple(_with(action, hooks) for action in actions)


def owed_hook(vm: VmName, journal: JournalFacts) -> tuple[Condition, ...]:
    """Say that a run was interrupted between two hooks: the guest may still be at rest."""
    begun = journal.hooks
    if begun is None:
        return ()
    return (
        Condition(
            severity=Severity.WAIT,
            reason=Reason.HOOK_OWED,
            message=f"a run was interrupted after the hook before a {begun.occasion.value} was begun;"
            f" {begun.after[0]} has not been run since, so the guest may still be at rest",
            resolve=f"run 'ckptree apply {vm}', which runs it first",
        ),
    )


def _with(action: Action, hooks: Hooks) -> Action:
    match action:
        case Capture():
            return replace(action, hooks=hooks.checkpoint)
        case Restore():
            return replace(action, hooks=hooks.restore)
        case Return() | Start(back=_) if action.back is not None:
            # The restore was begun, with the hook before it, by a run that was interrupted.
            return replace(action, hooks=HookPair(after=hooks.after_restore))
        case _:
            return action
