"""ZFS in memory: the rules of the real one, without a disk, a clock or chance.

Plans are rehearsed on it before they run and the property tests live in it, so it must refuse
exactly what ZFS refuses; `tests/lab` compares the two on random operations. It knows nothing of
checkpoints or branches beyond what the contract itself says: our hold's tag, ``canmount=noauto`` on
clones, and what marks a home.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.contracts.zfs import (
    check_independent,
    check_own,
    check_properties,
    check_together,
    is_home,
)
from reconciler.errors import ZfsErrorKind, ZfsRefused
from reconciler.model.observed import DatasetKind, PoolFacts, Reading
from reconciler.model.properties import HOLD, VM
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.zfs_readings import load, unload
from reconciler.simulate.zfs_state import DatasetRecord, SnapshotRecord, State

_OVERHEAD = 1024  # bytes that count as written after a rollback and a first mount, OpenZFS 2.3
_ROOM = 1 << 40  # bytes available in a pool of which nothing else is known


class MemoryZfs:
    """A whole host's ZFS in memory; implements ``contracts.zfs.Zfs``."""

    name = "memory"

    def __init__(self, state: State | None = None, *, first_guid: int = 1) -> None:
        self._state = State(first_guid) if state is None else state

    @classmethod
    def from_readings(cls, readings: Iterable[Reading], *, first_guid: int = 1) -> "MemoryZfs":
        """Make one that reads back as READINGS.

        The parents of each root are taken to exist, unless read as absent. New objects get guids
        from FIRST_GUID or above all known ones.
        """
        return cls(load(readings, first_guid))

    def copy(self) -> "MemoryZfs":
        """Copy it: what is done to the copy is not done to this one."""
        return MemoryZfs(self._state.copy())

    # Reading

    def read(self, roots: Sequence[Dataset]) -> Mapping[Dataset, Reading]:
        """Read as the contract says."""
        return {root: unload(self._state, root) for root in roots}

    def guids(self, names: Sequence[Dataset | Snapshot]) -> Mapping[Dataset | Snapshot, int]:
        """Read as the contract says."""
        found: dict[Dataset | Snapshot, int] = {}
        for name in names:
            if name in self._state.datasets:
                found[name] = self._state.datasets[Dataset(name)].guid
            elif name in self._state.snapshots:
                found[name] = self._state.snapshots[Snapshot(name)].guid
        return found

    def mounted_at(self, dataset: Dataset) -> str | None:
        """Read as the contract says."""
        record = self._state.datasets.get(dataset)
        return self._state.mountpoint(dataset) if record is not None and record.mounted else None

    def pool(self, dataset: Dataset) -> PoolFacts:
        """Read as the contract says: ONLINE, with ample room but for set_pool and set_full."""
        facts = self._state.pools.get(dataset.pool, PoolFacts(name=dataset.pool, available=_ROOM))
        return replace(facts, available=0) if self._state.full else facts

    def pools(self, datasets: Sequence[Dataset]) -> Mapping[Dataset, PoolFacts]:
        """Read as the contract says."""
        return {dataset: self.pool(dataset) for dataset in datasets}

    def homes(self) -> Mapping[Dataset, str]:
        """Read as the contract says."""
        return {
            name: record.properties[VM]
            for name, record in sorted(self._state.datasets.items())
            if is_home(record.kind, record.properties)
        }

    # Writing

    def snapshot(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None:
        """Take snapshots as the contract says."""
        self.snapshot_sets([(snapshots, properties)])

    def snapshot_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None:
        """Take sets of snapshots as the contract says."""
        own = {name: properties for snapshots, properties in sets for name in snapshots}
        snapshots = [name for names, _ in sets for name in names]
        check_together(snapshots)
        for name in snapshots:
            check_properties(name, own[name])
        for name in snapshots:
            self._dataset(name.dataset)
            self._require_free(name)
        if not snapshots:
            return
        self._require_room(snapshots[0])
        transaction = self._state.begin()
        for name in snapshots:
            live = self._state.datasets[name.dataset]
            self._state.snapshots[name] = SnapshotRecord(
                key=self._state.key(),
                guid=self._state.guid(),
                createtxg=transaction,
                properties=dict(own[name]),
                referenced=live.referenced,
                written=live.written,
                content=live.content,
            )
            self._state.change_dataset(name.dataset, written=0)

    def hold(self, snapshots: Sequence[Snapshot]) -> None:
        """Hold as the contract says."""
        self.hold_as(HOLD, snapshots)

    def release(self, snapshots: Sequence[Snapshot]) -> None:
        """Release as the contract says."""
        self.release_as(HOLD, snapshots)

    def create(self, name: Dataset, properties: Mapping[str, str], *, canmount: str) -> None:
        """Create as the contract says."""
        check_properties(name, properties)
        self._require_free(name)
        self._require_parent(name)
        self._require_room(name)
        self._add(name, properties, canmount=canmount)

    def clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None:
        """Clone as the contract says."""
        check_properties(target, properties)
        source = self._snapshot(origin)
        kind = DatasetKind.VOLUME if volume else DatasetKind.FILESYSTEM
        if origin.dataset.pool != target.pool:
            raise ZfsRefused(ZfsErrorKind.INVALID, target, f"{origin} is in another pool")
        if self._state.datasets[origin.dataset].kind is not kind:
            raise ZfsRefused(ZfsErrorKind.INVALID, target, f"{origin} is not of a {kind.value}")
        self._require_free(target)
        self._require_parent(target)
        self._require_room(target)
        self._add(
            target,
            properties,
            kind=kind,
            canmount="on" if volume else "noauto",
            origin=source.key,
            referenced=source.referenced,
            content=source.content,
        )

    def set_properties(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        """Set or remove user properties as the contract says."""
        check_properties(target, changes)
        if not changes:
            return
        if isinstance(target, Snapshot):
            properties = _changed(self._snapshot(target).properties, changes)
            self._state.change_snapshot(target, properties=properties)
        else:
            properties = _changed(self._dataset(target).properties, changes)
            self._state.change_dataset(target, properties=properties)

    def sync(self, dataset: Dataset) -> None:
        """Do nothing: in memory all counts at once."""

    def set_canmount(self, name: Dataset, value: str) -> None:
        """Set canmount as the contract says."""
        record = self._dataset(name)
        if record.kind is DatasetKind.VOLUME:
            raise ZfsRefused(ZfsErrorKind.INVALID, name, "a volume has no canmount")
        if value == "off" and record.mounted:
            raise ZfsRefused(ZfsErrorKind.BUSY, name, "it is mounted")
        self._state.change_dataset(name, canmount=value)

    def set_mountpoint(self, name: Dataset, mountpoint: str | None) -> None:
        """Set or inherit the mountpoint as the contract says."""
        record = self._dataset(name)
        if record.kind is DatasetKind.VOLUME:
            raise ZfsRefused(ZfsErrorKind.INVALID, name, "a volume has no mountpoint")
        if record.mounted:
            raise ZfsRefused(ZfsErrorKind.BUSY, name, "it is mounted")
        self._state.change_dataset(name, inherits=mountpoint is None, mountpoint=mountpoint)

    def rename(self, old: Dataset, new: Dataset) -> None:
        """Rename as the contract says."""
        state = self._state
        self._dataset(old)
        if old.pool != new.pool or old.parent is None or (new.below(old) and new != old):
            raise ZfsRefused(ZfsErrorKind.INVALID, old, f"it cannot become {new}")
        self._require_free(new)
        self._require_parent(new)
        moved = list(state.tree(old))
        for name in moved:
            record = state.datasets[name]
            covers = record.mounted and set(state.mounts_inside(name)) - set(moved)
            if record.mounted and (record.users or covers):
                raise ZfsRefused(ZfsErrorKind.BUSY, name)
        for name in moved:
            target = Dataset(f"{new}{name.removeprefix(old)}")
            for snapshot, taken in state.snapshots_of(name):
                del state.snapshots[snapshot]
                state.snapshots[target.snapshot(snapshot.short)] = taken
            state.datasets[target] = state.datasets.pop(name)
        for name in list(state.tree(new)):
            if state.datasets[name].mounted and state.mountpoint(name) is None:
                state.change_dataset(name, mounted=False)
        state.begin()

    def promote(self, clones: Sequence[Dataset]) -> None:
        """Promote as the contract says, all or none."""
        origins = {clone: self._origin(clone) for clone in clones}
        check_independent({clone: origin.dataset for clone, origin in origins.items()})
        for clone, origin in origins.items():
            for older, _ in self._moving(origin):
                self._require_free(clone.snapshot(older.short))
        for clone, origin in origins.items():
            self._promote(clone, origin)
        self._state.begin()

    def destroy(self, targets: Sequence[Ref]) -> None:
        """Destroy as the contract says, all or none."""
        earlier: set[str] = set()
        for target in targets:
            if isinstance(target, SnapshotRef):
                self._check_snapshot(target, earlier)
            else:
                self._check_dataset(target, earlier)
            earlier.add(target.name)
        self._state.begin()
        for target in targets:
            if isinstance(target, DatasetRef):
                if target.name in self._state.datasets:
                    self._state.remove_dataset(target.name)
            elif target.name in self._state.snapshots:
                self._state.remove_snapshot(target.name)

    def rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        """Roll back as the contract says."""
        check_own(dataset.name, snapshot.name)
        live = self._dataset(dataset.name)
        _require_guid(dataset, live.guid)
        kept = self._snapshot(snapshot.name)
        _require_guid(snapshot, kept.guid)
        if live.mounted:
            raise ZfsRefused(ZfsErrorKind.BUSY, dataset.name, "it is mounted")
        if self._state.snapshots_of(dataset.name)[-1][0] != snapshot.name:
            raise ZfsRefused(ZfsErrorKind.NOT_LATEST, snapshot.name)
        self._state.change_dataset(
            dataset.name,
            written=_OVERHEAD,
            used=max(0, live.used - live.written) + _OVERHEAD,
            referenced=kept.referenced,
            content=kept.content,
        )

    def mount(self, name: Dataset) -> None:
        """Mount as the contract says."""
        record = self._dataset(name)
        if record.mounted:
            return
        if record.canmount == "off" or self._state.mountpoint(name) is None:
            raise ZfsRefused(ZfsErrorKind.INVALID, name, "it cannot be mounted")
        # The first mount of a clone writes a little.
        first = record.origin is not None and not record.written
        overhead = _OVERHEAD if first and not self._state.snapshots_of(name) else 0
        self._state.change_dataset(name, mounted=True, written=record.written + overhead)

    def unmount(self, name: Dataset) -> None:
        """Unmount as the contract says."""
        record = self._dataset(name)
        if not record.mounted:
            return
        inside = self._state.mounts_inside(name)
        if inside:
            raise ZfsRefused(ZfsErrorKind.BUSY, name, f"{inside[0]} is mounted below it")
        if record.users:
            raise ZfsRefused(ZfsErrorKind.BUSY, name, "it is in use")
        self._state.change_dataset(name, mounted=False)

    # What other people and programs do to the same pool

    def add_pool(self, name: str, *, mountpoint: str | None = None) -> None:
        """Make a pool with its topmost filesystem, mounted at MOUNTPOINT or at the pool's name."""
        self._add(
            Dataset(name),
            {},
            mounted=True,
            inherits=mountpoint is None,
            mountpoint=mountpoint,
        )

    def create_volume(self, name: Dataset) -> None:
        """Create a volume (zfs-create(8), -V)."""
        self._require_free(name)
        self._require_parent(name)
        self._require_room(name)
        self._add(name, {}, kind=DatasetKind.VOLUME)

    def write(self, name: Dataset, content: str, amount: int = 1) -> None:
        """Write AMOUNT bytes to a dataset, after which its whole content is CONTENT."""
        live = self._dataset(name)
        self._state.change_dataset(
            name,
            content=content,
            written=live.written + amount,
            referenced=live.referenced + amount,
            used=live.used + amount,
        )

    def content(self, name: Dataset | Snapshot) -> str:
        """Tell the content of a dataset or a snapshot."""
        if isinstance(name, Snapshot):
            return self._snapshot(name).content
        return self._dataset(name).content

    def open(self, name: Dataset) -> None:
        """Let a process have something of the dataset open."""
        self._state.change_dataset(name, users=self._dataset(name).users + 1)

    def close(self, name: Dataset) -> None:
        """Undo one ``open``."""
        self._state.change_dataset(name, users=max(0, self._dataset(name).users - 1))

    def hold_as(self, tag: str, snapshots: Sequence[Snapshot]) -> None:
        """Hold snapshots with any TAG; one held so already is fine."""
        for name in snapshots:
            self._snapshot(name)
        for name in snapshots:
            holds = self._snapshot(name).holds
            self._state.change_snapshot(name, holds=holds | {tag})

    def release_as(self, tag: str, snapshots: Sequence[Snapshot]) -> None:
        """Release the hold TAG; a deferred snapshot goes with its last hold and clone."""
        for name in snapshots:
            if name in self._state.snapshots:
                holds = self._state.snapshots[name].holds
                self._state.change_snapshot(name, holds=holds - {tag})
                self._state.collect(name)

    def defer(self, name: Snapshot) -> None:
        """Destroy a snapshot as soon as nothing keeps it (zfs-destroy(8), -d)."""
        self._snapshot(name)
        self._state.change_snapshot(name, deferred=True)
        self._state.collect(name)

    def set_pool(self, facts: PoolFacts) -> None:
        """Say what ``pool`` will tell about the pool that FACTS name."""
        self._state.pools[facts.name] = facts

    def set_full(self, *, full: bool) -> None:
        """Leave no room: nothing can be taken, cloned or created."""
        self._state.full = full

    # Rules

    def _dataset(self, name: Dataset) -> DatasetRecord:
        try:
            return self._state.datasets[name]
        except KeyError:
            raise ZfsRefused(ZfsErrorKind.NOT_FOUND, name) from None

    def _snapshot(self, name: Snapshot) -> SnapshotRecord:
        try:
            return self._state.snapshots[name]
        except KeyError:
            raise ZfsRefused(ZfsErrorKind.NOT_FOUND, name) from None

    def _require_free(self, name: Dataset | Snapshot) -> None:
        if name in self._state.datasets or name in self._state.snapshots:
            raise ZfsRefused(ZfsErrorKind.EXISTS, name)

    def _require_parent(self, name: Dataset) -> None:
        parent = name.parent
        if parent is None:
            raise ZfsRefused(ZfsErrorKind.INVALID, name, "this is a pool's name")
        if self._dataset(parent).kind is DatasetKind.VOLUME:
            raise ZfsRefused(ZfsErrorKind.INVALID, name, f"{parent} is a volume")

    def _require_room(self, name: str) -> None:
        if self._state.full:
            raise ZfsRefused(ZfsErrorKind.NO_SPACE, name)

    def _add(self, name: Dataset, properties: Mapping[str, str], **fields: object) -> None:
        self._state.datasets[name] = DatasetRecord(
            key=self._state.key(),
            guid=self._state.guid(),
            createtxg=self._state.begin(),
            properties=dict(properties),
            **fields,  # type: ignore[arg-type]
        )

    def _origin(self, clone: Dataset) -> Snapshot:
        origin = self._state.snapshot_of_key(self._dataset(clone).origin)
        if origin is None:
            raise ZfsRefused(ZfsErrorKind.NOT_A_CLONE, clone)
        return origin

    def _moving(self, origin: Snapshot) -> list[tuple[Snapshot, SnapshotRecord]]:
        lineage = self._state.snapshots_of(origin.dataset)
        last = [name for name, _ in lineage].index(origin)
        return lineage[: last + 1]

    def _promote(self, clone: Dataset, origin: Snapshot) -> None:
        state = self._state
        parent = origin.dataset
        key = state.snapshots[origin].key
        for name, record in self._moving(origin):
            del state.snapshots[name]
            shown = replace(record, placeholder=state.datasets[clone].placeholder)
            state.snapshots[clone.snapshot(name.short)] = shown
        state.change_dataset(clone, origin=state.datasets[parent].origin)
        state.change_dataset(parent, origin=key)

    def _check_snapshot(self, target: SnapshotRef, earlier: set[str]) -> None:
        record = self._state.snapshots.get(target.name)
        if record is None:
            return
        _require_guid(target, record.guid)
        others = sorted(record.holds - {HOLD})
        if others:
            raise ZfsRefused(ZfsErrorKind.HELD, target.name, f"by {', '.join(others)}")
        for clone in self._state.clones_of(record.key):
            if clone not in earlier:
                raise ZfsRefused(ZfsErrorKind.HAS_CLONES, target.name, clone)

    def _check_dataset(self, target: DatasetRef, earlier: set[str]) -> None:
        record = self._state.datasets.get(target.name)
        if record is None:
            return
        _require_guid(target, record.guid)
        for child in self._state.children(target.name):
            if child not in earlier:
                raise ZfsRefused(ZfsErrorKind.HAS_CHILDREN, target.name, child)
        for snapshot, _ in self._state.snapshots_of(target.name):
            if snapshot not in earlier:
                raise ZfsRefused(ZfsErrorKind.HAS_SNAPSHOTS, target.name, snapshot)
        if record.mounted or record.users:
            raise ZfsRefused(ZfsErrorKind.BUSY, target.name)


def _changed(properties: Mapping[str, str], changes: Mapping[str, str | None]) -> Mapping[str, str]:
    merged = {**properties, **changes}
    return {name: text for name, text in merged.items() if text is not None}


def _require_guid(target: Ref, guid: int) -> None:
    if target.guid is not None and target.guid != guid:
        raise ZfsRefused(ZfsErrorKind.GUID_CHANGED, target.name)
