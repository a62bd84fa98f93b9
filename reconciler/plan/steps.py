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
    NewNode,
    Relink,
    Restore,
    Retire,
    Revive,
    Tidy,
)
from reconciler.model.journal import Left
from reconciler.model.steps import (
    CloneDataset,
    DatasetRef,
    Destroy,
    EnsureSaved,
    EnsureUnused,
    Hold,
    Mount,
    PrepareBranch,
    Promote,
    Ref,
    Rollback,
    SetCanmount,
    SetProperties,
    SettleBranch,
    SnapshotRef,
    Step,
    SwitchLink,
    TakeSnapshots,
    Unmount,
)
from reconciler.names import Dataset, VmName


def steps_of(vm: VmName, home: Dataset, action: Action) -> tuple[Step, ...]:
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
        case Capture(nodes=nodes):
            return tuple(step for node in nodes for step in _take(node))
        case Fork(node=node, origins=origins, target=target, number=number):
            return (*_clone_set(vm, origins, target, number), *_take(node))
        case Restore():
            return _restore(vm, home, action)
        case Retire(nodes=nodes, since=since):
            mark = ((properties.RETIRED, properties.encode_time(since)),)
            return tuple(SetProperties(node.guard, mark) for node in nodes)
        case DestroyNodes(promote=promote, targets=targets):
            return (*_promotes(home, promote), Destroy(targets))
        case Collect():
            return _collect(action)
        case _:
            assert_never(action)


def branch_properties(vm: VmName, number: int) -> tuple[tuple[str, str], ...]:
    """Write the own properties of branch NUMBER and of its volumes."""
    return ((properties.VM, vm), (properties.BRANCH, str(number)))


def clone_target(origins: tuple[SnapshotRef, ...], origin: SnapshotRef, target: Dataset) -> Dataset:
    """Name the clone of ORIGIN where the set ORIGINS is cloned as the branch TARGET."""
    branch = origins[0].name.dataset
    if origin.name.dataset == branch:
        return target
    return target.child(origin.name.dataset.leaf)


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


def _take(node: NewNode) -> tuple[Step, ...]:
    held = tuple(SnapshotRef(name) for name in node.snapshots)
    return (TakeSnapshots(node.name, node.snapshots, node.properties), Hold(held))


def _clone_set(
    vm: VmName,
    origins: tuple[SnapshotRef, ...],
    target: Dataset,
    number: int,
    more: tuple[tuple[str, str], ...] = (),
) -> tuple[Step, ...]:
    return tuple(
        CloneDataset(
            origin,
            clone_target(origins, origin, target),
            origin is not origins[0],
            (*branch_properties(vm, number), *more),
        )
        for origin in origins
    )


def _restore(vm: VmName, home: Dataset, action: Restore) -> tuple[Step, ...]:
    target = DatasetRef(action.target)
    making = ((properties.BASELINE, properties.MAKING),)
    volumes = tuple(
        clone_target(action.origins, origin, action.target).leaf for origin in action.origins[1:]
    )
    unused: tuple[Step, ...] = ()
    leave: tuple[Step, ...] = ()
    if action.before is not None:
        unused = (EnsureUnused(action.before, action.before_volumes),)
        leave = (SetCanmount(action.before, "noauto"), Unmount(action.before))
        if action.left is Left.CLEAN:
            unused = (*unused, EnsureSaved(action.before))
    return (
        *unused,
        *(_take(action.save) if action.save is not None else ()),
        *_clone_set(vm, action.origins, action.target, action.number, making),
        Mount(target),
        PrepareBranch(target, volumes, action.files),
        *unused,
        SwitchLink(home, target, action.before, action.left if action.before else Left.CLEAN),
        SetCanmount(target, "on"),
        *leave,
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
