"""Take an action apart into the primitive steps that it comes down to, in order.

The order within an action is what makes a crash between any two steps harmless: new things are complete before
anything points at them, and nothing old goes before the new is in use.
"""

from typing import assert_never

from reconciler.model import properties
from reconciler.model.actions import (
    Action,
    Adopt,
    Annotate,
    Capture,
    Collect,
    DestroyNodes,
    Fork,
    Relink,
    Restore,
    Retire,
    Return,
    Revive,
    Start,
    Sweep,
    Tidy,
)
from reconciler.model.steps import (
    DatasetRef,
    Destroy,
    DropMemory,
    EnsureSaved,
    EnsureUnused,
    EnsureUsed,
    Hold,
    Mount,
    Promote,
    Ref,
    Rollback,
    SetCanmount,
    SetProperties,
    SettleBranch,
    StartGuest,
    Step,
    SwitchLink,
    TakeFrozen,
    Unmount,
)
from reconciler.names import Dataset, VmName
from reconciler.plan.parts import clone_set, hold_of, snapshots_of, take
from reconciler.plan.restore_steps import restore_steps, return_steps


def steps_of(vm: VmName, home: Dataset, action: Action) -> tuple[Step, ...]:  # noqa: C901 - one case an action
    """Write the steps of ACTION for VM, whose home is HOME."""
    match action:
        case Relink(home=at, branch=branch):
            return (EnsureUnused(branch), Mount(branch), SwitchLink(at, branch, None, None))
        case Tidy():
            return _tidy(action)
        case Annotate():
            return _annotate(action)
        case Adopt(snapshots=snapshots, properties=values):
            # The branch's own snapshot comes last: before it is marked, there is no node yet.
            marked = [SetProperties(ref, values) for ref in reversed(snapshots)]
            return (*marked, Hold(snapshots))
        case Revive(guard=guard):
            return (SetProperties(guard, ((properties.RETIRED, None),)),)
        case Capture():
            return _capture(action)
        case Fork(node=node, origins=origins, target=target, number=number):
            return (*clone_set(vm, origins, target, number), *take(node))
        case Restore():
            return restore_steps(vm, home, action)
        case Start(branch=branch, memory=memory, volumes=volumes, files=files):
            start = StartGuest(branch, memory, volumes, files)
            return (start, EnsureUsed(branch, volumes)) if action.back is not None else (start,)
        case Return(branch=branch, back=back):
            return return_steps(home, branch, back)
        case Sweep(branch=branch, memory=names):
            return tuple(DropMemory(branch, name) for name in names)
        case Retire(nodes=nodes, since=since):
            mark = ((properties.RETIRED, properties.encode_time(since)),)
            return tuple(SetProperties(node.guard, mark) for node in nodes)
        case DestroyNodes(promote=promote, targets=targets):
            return (*_promotes(home, promote), Destroy(targets))
        case Collect():
            return _collect(action)
        case _:
            assert_never(action)


def _promotes(home: Dataset, clones: tuple[DatasetRef, ...]) -> tuple[Step, ...]:
    """Promote one branch with its volumes at a time: a later one may come from an earlier one."""
    groups: list[list[DatasetRef]] = []
    branch = ""
    for clone in clones:
        before, branch = branch, clone.name.removeprefix(f"{home}/").partition("/")[0]
        if branch != before or clone in groups[-1]:
            groups.append([])
        groups[-1].append(clone)
    return tuple(Promote(tuple(group)) for group in groups)


def _capture(action: Capture) -> tuple[Step, ...]:
    if action.memory is None:
        return tuple(step for node in action.nodes for step in take(node))
    return (
        TakeFrozen(action.branch, action.memory, tuple(map(snapshots_of, action.nodes))),
        *(hold_of(node) for node in action.nodes),
        DropMemory(action.branch, action.memory),
    )


def _collect(action: Collect) -> tuple[Step, ...]:
    steps: list[Step] = []
    if action.saved:
        steps.append(EnsureSaved(action.branch))
    if action.rollbacks:
        names = (dataset.name for dataset, _ in action.rollbacks)
        volumes = tuple(name.leaf for name in names if name != action.branch.name)
        steps.append(EnsureUnused(action.branch, volumes))
        steps += (Rollback(dataset, snapshot) for dataset, snapshot in action.rollbacks)
        # A rollback leaves a little that counts as written (seen: 1 KiB, OpenZFS 2.3).
        steps.append(SettleBranch(action.branch))
    if action.targets:
        steps.append(Destroy(action.targets))
    return tuple(steps)


def _annotate(action: Annotate) -> tuple[Step, ...]:
    by_target: dict[Ref, list[tuple[str, str | None]]] = {}
    for change in action.changes:
        by_target.setdefault(change.target, []).append((change.key, change.new))
    changes = tuple(SetProperties(target, tuple(items)) for target, items in by_target.items())
    return (*changes, *((Hold(action.holds),) if action.holds else ()))


def _tidy(action: Tidy) -> tuple[Step, ...]:
    value = "on" if action.head else "noauto"
    mount: Step = Mount(action.branch) if action.head else Unmount(action.branch)
    return (
        *((SetCanmount(action.branch, value),) if action.canmount else ()),
        *((mount,) if action.mount else ()),
    )
