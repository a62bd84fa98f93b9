"""The checkpoint tree, derived from one reading of ZFS and the link, and from nothing else.

A node is a snapshot of a branch that carries our ``ckptree:node``; its parent is the nearest such snapshot below it
in ZFS lineage (earlier in the same dataset, else the dataset's origin, and on). Order is that of createtxg: clocks
are never asked. A promote changes names and not the tree.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from reconciler.errors import CkptreeError, NameInvalid
from reconciler.model import properties
from reconciler.model.observed import (
    DatasetFacts,
    DatasetKind,
    Link,
    LinkTo,
    Reading,
    SnapshotFacts,
)
from reconciler.model.steps import DatasetRef, SnapshotRef
from reconciler.names import Dataset, NodeName, Snapshot, VmName, branch_number

_LINKS_AT_MOST = 1 << 20  # bytes that links to volumes and what ZFS needs around them can take


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One checkpoint that exists.

    ``snapshot`` is the one of the branch itself, ``members`` are those of its volumes. ``parent`` is the nearest
    node of ours, whatever its state.
    """

    name: NodeName
    parent: NodeName | None
    branch: Dataset
    snapshot: SnapshotFacts
    members: tuple[SnapshotFacts, ...]
    grade: properties.Grade
    memory: str | None
    taken: datetime | None
    about: str
    labels: tuple[tuple[str, str], ...]
    protect: bool
    retired: datetime | None
    expires: datetime | None
    group: str | None = None

    @property
    def guid(self) -> int:
        """The identity of the node."""
        return self.snapshot.guid

    @property
    def all_snapshots(self) -> tuple[SnapshotFacts, ...]:
        """The branch's snapshot first, then those of the volumes."""
        return (self.snapshot, *self.members)

    @property
    def refs(self) -> tuple[SnapshotRef, ...]:
        """All its snapshots, guarded."""
        return tuple(SnapshotRef(facts.name, facts.guid) for facts in self.all_snapshots)

    @property
    def own_bytes(self) -> int:
        """What only this node holds, in bytes (at least this much is freed with it)."""
        return sum(facts.used for facts in self.all_snapshots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch with its volumes.

    ``nodes`` are oldest first; ``latest`` is the guid of the newest snapshot that was taken of the filesystem since
    it exists (not of one that a promote brought to it), 0 if there is none.
    """

    facts: DatasetFacts
    number: int
    volumes: tuple[DatasetFacts, ...]
    nodes: tuple[NodeName, ...]
    foreign_snapshots: tuple[SnapshotFacts, ...]
    foreign_datasets: tuple[DatasetFacts, ...]
    latest: int

    @property
    def ref(self) -> DatasetRef:
        """The branch, guarded."""
        return DatasetRef(self.facts.name, self.facts.guid)

    @property
    def datasets(self) -> tuple[DatasetFacts, ...]:
        """The filesystem first, then its volumes."""
        return (self.facts, *self.volumes)

    @property
    def volume_names(self) -> tuple[str, ...]:
        """The volumes' last components."""
        return tuple(volume.name.leaf for volume in self.volumes)

    @property
    def unsaved(self) -> int:
        """How many bytes were written that no snapshot has; 0 only if there are none.

        What ckptree itself and ZFS wrote into it does not count, as long as nothing was added to that.
        """
        baseline = self.facts.properties.get(properties.BASELINE)
        if baseline == properties.MAKING and not self.latest:
            # Interrupted before the guest could be put on it.
            volumes = sum(volume.written for volume in self.volumes)
            return volumes + (self.facts.written if self.facts.written > _LINKS_AT_MOST else 0)
        return 0 if baseline == self.baseline else self._written

    @property
    def baseline(self) -> str:
        """What ``ckptree:baseline`` says of a branch on which nothing was done since it was set."""
        return f"{self._written}@{self.latest}"

    @property
    def _written(self) -> int:
        return sum(facts.written for facts in self.datasets)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something about the tree that ckptree would never have made; it touches nothing of it."""

    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What exists. ``nodes`` are in lineage order, parents first; ``head`` is the branch that the link points at."""

    home: DatasetFacts | None
    branches: tuple[Branch, ...]
    nodes: Mapping[NodeName, Node]
    head: Branch | None
    position: NodeName | None
    foreign: tuple[str, ...]
    faults: tuple[Fault, ...]

    def branch(self, name: str) -> Branch | None:
        """The branch with the dataset NAME."""
        return next((branch for branch in self.branches if branch.facts.name == name), None)

    def branch_by_guid(self, guid: int | None) -> Branch | None:
        """The branch with GUID."""
        return next((branch for branch in self.branches if branch.facts.guid == guid), None)

    def ancestors(self, name: NodeName | None) -> Iterator[Node]:
        """NAME itself and every node below it in lineage, nearest first."""
        while name is not None:
            node = self.nodes[name]
            yield node
            name = node.parent

    def descendants(self, name: NodeName) -> tuple[Node, ...]:
        """NAME itself and every node that descends from it, parents first."""
        inside = {name}
        found = []
        for node in self.nodes.values():
            if node.name == name or node.parent in inside:
                inside.add(node.name)
                found.append(node)
        return tuple(found)

    def children(self, name: NodeName | None) -> tuple[Node, ...]:
        """The nodes directly above NAME (the roots for none), oldest first."""
        return tuple(node for node in self.nodes.values() if node.parent == name)


def derive_tree(vm: VmName, reading: Reading, link: Link) -> Tree:
    """Derive the tree of VM from READING of its home and from LINK."""
    home = reading.dataset(reading.root)
    faults: list[Fault] = []
    primary = _primaries(vm, reading, faults)
    members = _members(vm, reading, primary)
    line = Lineage(reading)
    order = {id(facts): name for name, facts in primary.items()}
    nodes = {}
    for name, facts in sorted(primary.items(), key=lambda item: (item[1].createtxg, item[0])):
        older = line.of(facts.name.dataset, facts)
        parent = next((order[id(other)] for other in older if id(other) in order), None)
        try:
            nodes[name] = _node(name, parent, facts, members.get(facts.name, ()))
        except CkptreeError as error:
            faults.append(Fault(facts.name, str(error)))
    by_snapshot = {node.snapshot.name: node.name for node in nodes.values()}
    ours = {facts.name for node in nodes.values() for facts in node.all_snapshots}
    branches = tuple(_branches(reading, by_snapshot, ours))
    head = _head(home, branches, link)
    position = None
    if head is not None:
        tip = line.of(head.facts.name)
        position = next(
            (by_snapshot[facts.name] for facts in tip if facts.name in by_snapshot), None
        )
    return Tree(
        home=home,
        branches=branches,
        nodes=nodes,
        head=head,
        position=position,
        foreign=_foreign(reading, branches),
        faults=tuple(faults),
    )


class Lineage:
    """Who descends from whom in one reading."""

    def __init__(self, reading: Reading) -> None:
        self._origins = {facts.name: facts.origin for facts in reading.datasets}
        self._snapshots = {facts.name: facts for facts in reading.snapshots}
        self._newest_first: dict[Dataset, list[SnapshotFacts]] = {}
        for facts in sorted(reading.snapshots, key=lambda facts: -facts.createtxg):
            self._newest_first.setdefault(facts.name.dataset, []).append(facts)

    def of(self, dataset: Dataset, before: SnapshotFacts | None = None) -> Iterator[SnapshotFacts]:
        """Every snapshot that DATASET descends from, nearest first; only those older than BEFORE if given."""
        limit = before.createtxg - 1 if before is not None else None
        seen: set[Dataset] = set()
        while dataset not in seen:
            seen.add(dataset)
            own = self._newest_first.get(dataset, ())
            yield from (facts for facts in own if limit is None or facts.createtxg <= limit)
            origin = self._origins.get(dataset)
            found = self._snapshots.get(origin) if origin is not None else None
            if found is None:
                return
            dataset, limit = found.name.dataset, found.createtxg


def _is_branch(home: str, facts: DatasetFacts) -> bool:
    return (
        facts.kind is DatasetKind.FILESYSTEM
        and facts.name.parent == home
        and branch_number(facts.name.leaf) is not None
        and properties.BRANCH in facts.properties
    )


def _is_volume(branch: str, facts: DatasetFacts) -> bool:
    return (
        facts.kind is DatasetKind.VOLUME
        and facts.name.parent == branch
        and properties.BRANCH in facts.properties
    )


def _primaries(vm: VmName, reading: Reading, faults: list[Fault]) -> dict[NodeName, SnapshotFacts]:
    branches = {facts.name for facts in reading.datasets if _is_branch(reading.root, facts)}
    found: dict[NodeName, SnapshotFacts] = {}
    for facts in reading.snapshots:
        if facts.name.dataset not in branches or not _is_ours(vm, facts):
            continue
        try:
            name = NodeName(facts.properties[properties.NODE])
        except NameInvalid as error:
            faults.append(Fault(facts.name, f"{properties.NODE}: {error}"))
            continue
        if name in found:
            both = f"{found[name].name} and {facts.name} both say that they are node {name}"
            faults.append(Fault(name, both))
            continue
        found[name] = facts
    return found


def _is_ours(vm: VmName, facts: SnapshotFacts) -> bool:
    return properties.NODE in facts.properties and facts.properties.get(properties.VM) == vm


def _members(
    vm: VmName, reading: Reading, primary: Mapping[NodeName, SnapshotFacts]
) -> dict[Snapshot, tuple[SnapshotFacts, ...]]:
    """The volumes' snapshots of ours, by the branch's snapshot that they were taken with.

    Looked for under every branch: between the promotes of a branch and of its volumes they lie apart. One set has one
    short name; where an adopted set has the same, the transaction group or the branch tells them apart. A snapshot
    that belongs to no node is foreign, whatever it says.
    """
    branches = {facts.name for facts in reading.datasets if _is_branch(reading.root, facts)}
    volumes = {
        f.name
        for f in reading.datasets
        if f.name.parent in branches and _is_volume(f.name.parent or "", f)
    }
    by_short: dict[str, list[SnapshotFacts]] = {}
    for facts in primary.values():
        by_short.setdefault(facts.name.short, []).append(facts)
    found: dict[Snapshot, tuple[SnapshotFacts, ...]] = {}
    for facts in reading.snapshots:
        if facts.name.dataset not in volumes or not _is_ours(vm, facts):
            continue
        sets = by_short.get(facts.name.short, [])
        if len(sets) > 1:
            beside = [other for other in sets if other.name.dataset == facts.name.dataset.parent]
            sets = [other for other in sets if other.createtxg == facts.createtxg] or beside
        if len(sets) == 1:
            name = sets[0].name
            found[name] = (*found.get(name, ()), facts)
    return found


def _node(
    name: NodeName,
    parent: NodeName | None,
    facts: SnapshotFacts,
    members: tuple[SnapshotFacts, ...],
) -> Node:
    own = facts.properties
    retired, expires, taken = (
        properties.decode_time(own[key]) if key in own else None
        for key in (properties.RETIRED, properties.EXPIRES, properties.TAKEN)
    )
    grades = {grade.value: grade for grade in properties.Grade}
    return Node(
        name=name,
        parent=parent,
        branch=facts.name.dataset,
        snapshot=facts,
        members=members,
        grade=grades.get(own.get(properties.GRADE, ""), properties.Grade.CRASH),
        memory=own.get(properties.MEMORY),
        taken=taken,
        about=own.get(properties.ABOUT, ""),
        labels=properties.decode_labels(own.get(properties.LABELS, "")),
        protect=own.get(properties.PROTECT) == "on",
        retired=retired,
        expires=expires,
        group=own.get(properties.GROUP),
    )


def _branches(
    reading: Reading,
    by_snapshot: Mapping[Snapshot, NodeName],
    ours: AbstractSet[Snapshot],
) -> Iterator[Branch]:
    below: dict[str, list[DatasetFacts]] = {}
    for facts in reading.datasets:
        parts = facts.name.removeprefix(f"{reading.root}/").split("/")
        if len(parts) > 1:
            below.setdefault(f"{reading.root}/{parts[0]}", []).append(facts)
    taken: dict[str, list[SnapshotFacts]] = {}
    for snapshot in reading.snapshots:
        taken.setdefault(snapshot.name.dataset, []).append(snapshot)
    for facts in reading.datasets:
        number = branch_number(facts.name.leaf)
        if number is None or not _is_branch(reading.root, facts):
            continue
        others = below.get(facts.name, [])
        volumes = tuple(other for other in others if _is_volume(facts.name, other))
        snapshots = [s for own in (facts, *volumes) for s in taken.get(own.name, ())]
        yield Branch(
            facts=facts,
            number=number,
            volumes=volumes,
            nodes=tuple(
                by_snapshot[other.name] for other in snapshots if other.name in by_snapshot
            ),
            foreign_snapshots=tuple(other for other in snapshots if other.name not in ours),
            foreign_datasets=tuple(other for other in others if other not in volumes),
            latest=max(
                (
                    (other.createtxg, other.guid)
                    for other in taken.get(facts.name, ())
                    if other.createtxg > facts.createtxg
                ),
                default=(0, 0),
            )[1],
        )


def _head(home: DatasetFacts | None, branches: tuple[Branch, ...], link: Link) -> Branch | None:
    if home is None or not isinstance(link, LinkTo):
        return None
    target = link.target.rstrip("/")
    prefix = f"{home.mountpoint}/" if home.mountpoint else ""
    leaf = target.removeprefix(prefix) if prefix else target
    return next((branch for branch in branches if branch.facts.name.leaf == leaf), None)


def _foreign(reading: Reading, branches: tuple[Branch, ...]) -> tuple[str, ...]:
    ours = {facts.name for branch in branches for facts in branch.datasets}
    datasets = [f.name for f in reading.datasets if f.name not in ours and f.name != reading.root]
    snapshots = [facts.name for branch in branches for facts in branch.foreign_snapshots]
    others = [f.name for f in reading.snapshots if f.name.dataset not in ours]
    return tuple(sorted(map(str, (*datasets, *snapshots, *others))))
