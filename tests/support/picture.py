"""What of a world a test compares: everything, what is foreign, what must come out the same."""

from dataclasses import replace
from typing import Any

from reconciler.model import properties
from reconciler.model.journal import facts_of
from reconciler.model.tree import Branch, Node
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.guest import disk_of, memory_of
from tests.support.world import HOME, World

POOL = Dataset("tank")


def everything(world: World) -> object:
    """Every object of the pool with its content, the link, and how long the journal is."""
    reading = world.zfs.read([POOL])[POOL]
    records = world.journal.records
    return (
        reading,
        [world.zfs.content(name) for name in _names(world, POOL)],
        world.files.link,
        None if records is None else len(records),
    )


def foreign(world: World) -> dict[str, object]:
    """Everything that is not ckptree's, by name: identity, properties, holds and content; and every foreign hold."""
    reading = world.zfs.read([POOL])[POOL]
    found: dict[str, object] = {}
    for facts in reading.datasets:
        own = facts.properties
        ours = facts.name == HOME or (facts.name.below(HOME) and properties.BRANCH in own)
        if not ours and HOME.below(facts.name) is False:
            same = replace(facts, origin=None, used=0)
            found[facts.name] = (same, world.zfs.content(facts.name))
    for snapshot in reading.snapshots:
        if properties.NODE not in snapshot.properties:
            found[snapshot.name] = (
                snapshot.guid, sorted(snapshot.properties.items()), sorted(snapshot.holds),
                world.zfs.content(snapshot.name),
            )  # fmt: skip
        for tag in snapshot.holds - {properties.HOLD}:
            found[f"hold {tag} on {snapshot.guid}"] = True
    return found


def node_content(world: World, node: Node) -> tuple[str, ...]:
    """The content of each of the node's disks."""
    return tuple(disk_of(world.zfs.content(facts.name)) for facts in node.all_snapshots)


def node_memory(world: World, node: Node) -> str | None:
    """What the guest had in RAM when the node was taken, if that was kept."""
    kept = memory_of(world.zfs.content(node.snapshot.name))
    return None if node.memory is None else kept[node.memory]


def branch_content(world: World, branch: Branch) -> tuple[str, ...]:
    """The live content of each of the branch's disks."""
    return tuple(disk_of(world.zfs.content(facts.name)) for facts in branch.datasets)


def all_contents(world: World) -> set[str]:
    """Every content that exists anywhere at or below the home."""
    return {disk_of(world.zfs.content(name)) for name in _names(world, HOME)}


def _names(world: World, root: Dataset) -> list[Dataset | Snapshot]:
    reading = world.zfs.read([root])[root]
    datasets: list[Dataset | Snapshot] = [facts.name for facts in reading.datasets]
    return datasets + [facts.name for facts in reading.snapshots]


def dirty_tips(world: World) -> dict[int, str]:
    """By its branch's guid, each live content that its own latest snapshot (or its origin) does not have."""
    reading = world.zfs.read([HOME])[HOME]
    tips = {}
    for branch in world.tree.branches:
        for facts in branch.datasets:
            own = [s for s in reading.snapshots if s.name.dataset == facts.name]
            base = max(own, key=lambda s: s.createtxg).name if own else facts.origin
            live = disk_of(world.zfs.content(facts.name))
            if live != (disk_of(world.zfs.content(base)) if base else ""):
                tips[branch.facts.guid] = live
    return tips


def outcome(world: World) -> dict[str, Any]:
    """What must be the same after a crash and a new run as after a run without one."""
    tree, records = world.tree, world.journal.records
    head = tree.head
    facts = facts_of(records)
    return {
        "nodes": {
            str(node.name): (
                node.parent, node.retired, node.protect, node.about, node.expires, node.grade, node.taken,
                node_content(world, node), node_memory(world, node),
                all(properties.HOLD in s.holds for s in node.all_snapshots),
            )
            for node in tree.nodes.values()
            # A guest that was frozen, and went on when ckptree died, has a state to be saved once more.
            if not (world.guest.ability.managed and node.name.automatic)
        },
        "head": None if head is None else branch_content(world, head),
        "guest": (world.files.guest.running, world.guest.ram),
        "live memory": [] if head is None else sorted(memory_of(world.zfs.content(head.facts.name))),
        "position": tree.position,
        "branches": sorted(
            (branch.facts.mounted, branch.facts.canmount, len(branch.datasets)) for branch in tree.branches
        ),
        "journal": (facts.current, facts.again, sorted(facts.realised), facts.confirmed, facts.approved),
        "foreign": foreign(world),
    }  # fmt: skip
