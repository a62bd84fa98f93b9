"""The steps of a restore, and its way back: the one action in which the guest may be stopped.

All that can be done before the guest stops is done before, all that can wait waits; nothing of the old branch goes
before the guest has been seen running on the new one.
"""

from reconciler.model import properties
from reconciler.model.actions import Action, Restore, Return, Start, WayBack
from reconciler.model.journal import Left
from reconciler.model.steps import (
    DatasetRef,
    EnsureSaved,
    EnsureUnused,
    EnsureUsed,
    Mount,
    PrepareBranch,
    SetCanmount,
    StartGuest,
    Step,
    StopGuest,
    SwitchLink,
    TakeFrozen,
    Unmount,
)
from reconciler.names import Dataset, VmName
from reconciler.plan.parts import clone_set, clone_target, hold_of, snapshots_of, take


def restore_steps(vm: VmName, home: Dataset, action: Restore) -> tuple[Step, ...]:
    """Write the steps of the restore ACTION for VM, whose home is HOME."""
    if action.runs:
        return _running_restore(vm, home, action)
    return _restore(vm, home, action)


def way_back(
    home: Dataset, action: Action, failed: int, steps: tuple[Step, ...]
) -> tuple[Step, ...]:
    """Write the steps that bring the guest back to where ACTION took it from, when step FAILED of its STEPS failed.

    None where nothing was taken from it yet, or where it has been seen running in its new place.
    """
    back = back_of(action)
    if back is None:
        return ()
    done = steps[:failed]
    if isinstance(action, Restore):
        branch, runs = DatasetRef(action.target), action.runs
        switched = any(isinstance(step, SwitchLink) for step in done)
    elif isinstance(action, Start | Return):
        branch, runs, switched = action.branch, False, True
    else:
        return ()
    taken = any(isinstance(step, StopGuest | TakeFrozen) for step in done) or not runs
    seen = any(isinstance(step, EnsureUsed) for step in done)
    if not taken or seen:
        return ()
    started = any(isinstance(step, StartGuest) for step in steps[: failed + 1])
    if not switched:
        return (start_back(back),)
    return return_steps(home, branch, back) if started else return_steps(home, branch, back)[1:]


def back_of(action: Action) -> WayBack | None:
    """Where ACTION takes the guest back to if it cannot start it; none if it does not start it anywhere new."""
    match action:
        case Restore(before=before, starts=True) if before is not None:
            return WayBack(
                node=action.node,
                again=action.again,
                branch=before,
                memory=action.back_memory,
                volumes=action.before_volumes,
                files=action.files,
            )
        case Start(back=back) | Return(back=back):
            return back
        case _:
            return None


def return_steps(home: Dataset, branch: DatasetRef, back: WayBack) -> tuple[Step, ...]:
    """Take the guest from BRANCH, whether it was started there or not, and start it where it was."""
    return (
        StopGuest(branch, now=True),
        Mount(back.branch),
        SwitchLink(home, back.branch, branch, back.left),
        start_back(back),
    )


def start_back(back: WayBack) -> StartGuest:
    """Start the guest where it was."""
    return StartGuest(back.branch, back.memory, back.volumes, back.files)


def _branch_steps(vm: VmName, action: Restore) -> tuple[Step, ...]:
    """Make the new branch whole, without touching the guest."""
    target = DatasetRef(action.target)
    making = ((properties.BASELINE, properties.MAKING),)
    return (
        *clone_set(vm, action.origins, action.target, action.number, making),
        Mount(target),
        PrepareBranch(target, _target_volumes(action), action.files),
    )


def _target_volumes(action: Restore) -> tuple[str, ...]:
    return tuple(
        clone_target(action.origins, origin, action.target).leaf for origin in action.origins[1:]
    )


def _restore(vm: VmName, home: Dataset, action: Restore) -> tuple[Step, ...]:
    """The guest is off."""
    target = DatasetRef(action.target)
    unused: tuple[Step, ...] = ()
    if action.before is not None and not action.starts:
        unused = (EnsureUnused(action.before, action.before_volumes),)
        if action.left is Left.CLEAN:
            unused = (*unused, EnsureSaved(action.before))
    return (
        *unused,
        *(take(action.save) if action.save is not None else ()),
        *_branch_steps(vm, action),
        *unused,
        SwitchLink(home, target, action.before, action.left if action.before else Left.CLEAN),
        *_arrive(action),
    )


def _running_restore(vm: VmName, home: Dataset, action: Restore) -> tuple[Step, ...]:
    """The guest runs: all that can be done before it stops is done before, all that can wait waits."""
    assert action.before is not None  # noqa: S101 - it runs on something
    save = action.save
    stop: tuple[Step, ...]
    if save is not None and action.save_memory is not None:
        stop = (TakeFrozen(action.before, action.save_memory, (snapshots_of(save),), ends=True),)
    else:
        stop = (StopGuest(action.before, now=action.left is Left.DISCARDED),)
    return (
        *_branch_steps(vm, action),
        *stop,
        *((snapshots_of(save),) if save is not None and action.save_memory is None else ()),
        SwitchLink(home, DatasetRef(action.target), action.before, action.left),
        *_arrive(action),
    )


def _arrive(action: Restore) -> tuple[Step, ...]:
    """What follows the switch: the guest is seen on the new branch before anything of the old one goes."""
    target, before = DatasetRef(action.target), action.before
    steps: tuple[Step, ...] = ()
    if action.starts:
        volumes = _target_volumes(action)
        # A definition that names its disks past the link would run the guest on the old ones.
        start = StartGuest(target, action.memory, volumes, action.files)
        steps = (start, EnsureUsed(target, volumes))
    if action.runs and action.save is not None:
        steps = (*steps, hold_of(action.save))
    steps = (*steps, SetCanmount(target, "on"))
    if before is None:
        return steps
    return (*steps, SetCanmount(before, "noauto"), Unmount(before, patient=True))
