"""Between readings and the state in memory: loads one from the other, and gives it back the same.

What a reading only names (a clone outside the root, an origin elsewhere, the parents of the root)
becomes a placeholder: it takes part in every rule and is never shown.
"""

from collections.abc import Iterable

from reconciler.model.observed import DatasetFacts, DatasetKind, Reading, SnapshotFacts
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.zfs_state import DatasetRecord, SnapshotRecord, State


def load(readings: Iterable[Reading], first_guid: int) -> State:
    """Make a state that reads back as READINGS; new guids are above FIRST_GUID and all known."""
    taken = tuple(readings)
    datasets = {facts.name: facts for reading in taken for facts in reading.datasets}
    snapshots = {facts.name: facts for reading in taken for facts in reading.snapshots}
    known: list[DatasetFacts | SnapshotFacts] = [*datasets.values(), *snapshots.values()]
    state = State(max([first_guid, *(facts.guid + 1 for facts in known)]))
    state.transaction = max([1, *(facts.createtxg for facts in known)])
    for facts in sorted(datasets.values(), key=lambda facts: facts.name):
        _load_dataset(state, facts)
    for snapshot in sorted(snapshots.values(), key=lambda facts: (facts.createtxg, facts.name)):
        _load_snapshot(state, snapshot)
    for facts in datasets.values():
        if facts.origin is not None:
            _load_origin(state, facts.name, facts.origin)
    for snapshot in snapshots.values():
        for clone in snapshot.clones:
            if clone not in datasets:  # a placeholder, perhaps one that is an origin as well
                if clone not in state.datasets:
                    state.add_placeholder(clone)
                state.change_dataset(clone, origin=state.snapshots[snapshot.name].key)
    for facts in datasets.values():
        _load_content(state, facts)
    absent = {reading.root for reading in taken if not (reading.datasets or reading.gaps)}
    for reading in taken:
        state.gaps[reading.root] = reading.gaps
        parent = reading.root.parent
        if parent is not None and parent not in state.datasets and parent not in absent:
            state.add_placeholder(parent)
    return state


def unload(state: State, root: Dataset) -> Reading:
    """Read everything at and below ROOT."""
    inside = list(state.tree(root))
    names = {record.key: name for name, record in state.snapshots.items()}
    clones: dict[int, list[Dataset]] = {}
    for name in sorted(state.datasets):
        origin = state.datasets[name].origin
        if origin is not None:
            clones.setdefault(origin, []).append(name)
    return Reading(
        root=root,
        datasets=tuple(
            _dataset_facts(state, name, names)
            for name in inside
            if not state.datasets[name].placeholder
        ),
        snapshots=tuple(
            _snapshot_facts(snapshot, record, tuple(clones.get(record.key, ())))
            for name in inside
            for snapshot, record in state.snapshots_of(name)
            if not record.placeholder
        ),
        gaps=state.gaps.get(root, ()),
    )


def _load_dataset(state: State, facts: DatasetFacts) -> None:
    parent = facts.name.parent
    inherited = None
    if parent is not None and parent in state.datasets:
        above = state.mountpoint(parent)
        inherited = None if above is None else f"{above.rstrip('/')}/{facts.name.leaf}"
    record = DatasetRecord(
        key=state.key(),
        guid=facts.guid,
        kind=facts.kind,
        createtxg=facts.createtxg,
        mounted=facts.mounted,
        inherits=facts.mountpoint == inherited,
        mountpoint=facts.mountpoint,
        canmount=facts.canmount,
        properties=dict(facts.properties),
        used=facts.used,
        referenced=facts.referenced,
        written=facts.written,
    )
    state.add_dataset(facts.name, record)


def _load_snapshot(state: State, facts: SnapshotFacts) -> None:
    if facts.name.dataset not in state.datasets:
        state.add_placeholder(facts.name.dataset)
    older = state.snapshots_of(facts.name.dataset)
    state.snapshots[facts.name] = SnapshotRecord(
        key=state.key(),
        guid=facts.guid,
        createtxg=facts.createtxg,
        properties=dict(facts.properties),
        holds=facts.holds,
        deferred=facts.deferred,
        used=facts.used,
        referenced=facts.referenced,
        written=abs(facts.referenced - (older[-1][1].referenced if older else 0)),
        content=str(facts.guid),
    )


def _load_origin(state: State, clone: Dataset, origin: Snapshot) -> None:
    if origin not in state.snapshots:
        if origin.dataset not in state.datasets:
            state.add_placeholder(origin.dataset)
        state.snapshots[origin] = SnapshotRecord(
            key=state.key(), guid=state.guid(), placeholder=True
        )
    state.change_dataset(clone, origin=state.snapshots[origin].key)


def _load_content(state: State, facts: DatasetFacts) -> None:
    """Nothing written since the latest snapshot means that it still has that snapshot's bytes."""
    content = str(facts.guid)
    if facts.written == 0:
        lineage = state.snapshots_of(facts.name)
        origin = state.snapshot_of_key(state.datasets[facts.name].origin)
        if lineage:
            content = lineage[-1][1].content
        elif origin is not None:
            content = state.snapshots[origin].content
    state.change_dataset(facts.name, content=content)


def _dataset_facts(state: State, name: Dataset, names: dict[int, Snapshot]) -> DatasetFacts:
    record = state.datasets[name]
    return DatasetFacts(
        name=name,
        guid=record.guid,
        kind=record.kind,
        createtxg=record.createtxg,
        origin=None if record.origin is None else names[record.origin],
        mounted=record.mounted,
        mountpoint=None if record.kind is DatasetKind.VOLUME else state.mountpoint(name),
        canmount=record.canmount,
        properties=dict(record.properties),
        used=record.used,
        referenced=record.referenced,
        written=record.written,
    )


def _snapshot_facts(
    name: Snapshot, record: SnapshotRecord, clones: tuple[Dataset, ...]
) -> SnapshotFacts:
    return SnapshotFacts(
        name=name,
        guid=record.guid,
        createtxg=record.createtxg,
        properties=dict(record.properties),
        holds=record.holds,
        clones=clones,
        deferred=record.deferred,
        used=record.used,
        referenced=record.referenced,
    )
