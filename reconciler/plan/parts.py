"""Small sequences of steps that several actions have in common; ``steps`` and ``restore_steps`` put them together."""

from reconciler.model import properties
from reconciler.model.actions import NewNode
from reconciler.model.steps import CloneDataset, Hold, SnapshotRef, Step, TakeSnapshots
from reconciler.names import Dataset, VmName


def branch_properties(vm: VmName, number: int) -> tuple[tuple[str, str], ...]:
    """Write the own properties of branch NUMBER and of its volumes."""
    return ((properties.VM, vm), (properties.BRANCH, str(number)))


def clone_target(origins: tuple[SnapshotRef, ...], origin: SnapshotRef, target: Dataset) -> Dataset:
    """Name the clone of ORIGIN where the set ORIGINS is cloned as the branch TARGET."""
    branch = origins[0].name.dataset
    if origin.name.dataset == branch:
        return target
    return target.child(origin.name.dataset.leaf)


def clone_set(
    vm: VmName,
    origins: tuple[SnapshotRef, ...],
    target: Dataset,
    number: int,
    more: tuple[tuple[str, str], ...] = (),
) -> tuple[Step, ...]:
    """Clone the set ORIGINS as the branch TARGET, with MORE properties besides those of every branch."""
    return tuple(
        CloneDataset(
            origin,
            clone_target(origins, origin, target),
            origin is not origins[0],
            (*branch_properties(vm, number), *more),
        )
        for origin in origins
    )


def take(node: NewNode) -> tuple[Step, ...]:
    """Take NODE and hold it."""
    return (snapshots_of(node), hold_of(node))


def snapshots_of(node: NewNode) -> TakeSnapshots:
    """Take the snapshots of NODE at one instant."""
    return TakeSnapshots(node.name, node.snapshots, node.properties)


def hold_of(node: NewNode) -> Hold:
    """Hold the snapshots of NODE, which were just taken."""
    return Hold(tuple(SnapshotRef(name) for name in node.snapshots))
