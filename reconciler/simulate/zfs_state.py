"""What the ZFS in memory remembers, and the questions that its rules ask of it.

Records are frozen and replaced, never changed, so that a copy of the whole state costs two
dictionaries. Lineage is kept by ``key``, an inner serial number: names change with a rename or a
promote, and a received snapshot may have the guid of another one. The rules themselves are in
``simulate.zfs``; readings in ``simulate.zfs_readings``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.model.observed import DatasetKind, Gap, PoolFacts
from reconciler.names import Dataset, Snapshot

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """A filesystem or volume.

    ``origin`` is the key of the snapshot that it is a clone of. ``mountpoint`` counts only where
    ``inherits`` is false. ``content`` stands for all its bytes; ``users`` counts who has it open. A
    placeholder is known by name only: it belongs to somebody else, and readings do not show it.
    """

    key: int
    guid: int
    kind: DatasetKind = DatasetKind.FILESYSTEM
    createtxg: int = 0
    origin: int | None = None
    mounted: bool = False
    inherits: bool = True
    mountpoint: str | None = None
    canmount: str = "on"
    properties: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    used: int = 0
    referenced: int = 0
    written: int = 0
    content: str = ""
    users: int = 0
    placeholder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot; ``written`` is what it added to the one before it. Placeholders are not shown."""

    key: int
    guid: int
    createtxg: int = 0
    properties: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    holds: frozenset[str] = frozenset()
    deferred: bool = False
    used: int = 0
    referenced: int = 0
    written: int = 0
    content: str = ""
    placeholder: bool = False


class State:
    """Everything there is, by name."""

    __slots__ = (
        "datasets", "full", "gaps", "next_guid", "next_key", "pools", "snapshots", "transaction",
    )  # fmt: skip

    def __init__(self, next_guid: int = 1) -> None:
        self.datasets: dict[Dataset, DatasetRecord] = {}
        self.snapshots: dict[Snapshot, SnapshotRecord] = {}
        self.gaps: dict[Dataset, tuple[Gap, ...]] = {}
        self.pools: dict[str, PoolFacts] = {}
        self.full = False
        self.next_guid = next_guid
        self.next_key = 1
        self.transaction = 1

    def copy(self) -> "State":
        """Copy it; the records are shared, which is safe because nothing changes them."""
        copied = State(self.next_guid)
        copied.datasets = dict(self.datasets)
        copied.snapshots = dict(self.snapshots)
        copied.gaps = dict(self.gaps)
        copied.pools = dict(self.pools)
        copied.full = self.full
        copied.next_key = self.next_key
        copied.transaction = self.transaction
        return copied

    def guid(self) -> int:
        """Hand out a guid that nothing has."""
        self.next_guid += 1
        return self.next_guid - 1

    def key(self) -> int:
        """Hand out a key that nothing has."""
        self.next_key += 1
        return self.next_key - 1

    def begin(self) -> int:
        """Open the next transaction group and give its number."""
        self.transaction += 1
        return self.transaction

    def add_dataset(self, name: Dataset, record: DatasetRecord) -> None:
        """Add a dataset, with placeholders for the parents that nothing is known about."""
        above = name.parent
        if above is not None and above not in self.datasets:
            self.add_placeholder(above)
        self.datasets[name] = record

    def add_placeholder(self, name: Dataset) -> None:
        """Add a dataset of which only the name is known."""
        record = DatasetRecord(
            key=self.key(),
            guid=self.guid(),
            inherits=False,
            canmount="off",
            placeholder=True,
        )
        self.add_dataset(name, record)

    def snapshots_of(self, name: Dataset) -> list[tuple[Snapshot, SnapshotRecord]]:
        """List the snapshots of dataset NAME, oldest first."""
        start = f"{name}@"
        found = [item for item in self.snapshots.items() if item[0].startswith(start)]
        return sorted(found, key=lambda item: (item[1].createtxg, item[0]))

    def snapshot_of_key(self, key: int | None) -> Snapshot | None:
        """Find the present name of the snapshot with KEY."""
        return next((name for name, record in self.snapshots.items() if record.key == key), None)

    def clones_of(self, key: int) -> list[Dataset]:
        """List the clones of the snapshot with KEY by name."""
        return sorted(name for name, record in self.datasets.items() if record.origin == key)

    def tree(self, top: Dataset) -> Iterator[Dataset]:
        """List TOP and every dataset below it, parents first."""
        return iter(sorted(name for name in self.datasets if name.below(top)))

    def children(self, name: Dataset) -> Iterator[Dataset]:
        """List the datasets directly below NAME."""
        return (other for other in sorted(self.datasets) if other.parent == name)

    def mountpoint(self, name: Dataset) -> str | None:
        """Where NAME is or would be mounted, its parents' mountpoints considered."""
        record = self.datasets[name]
        if record.kind is DatasetKind.VOLUME:
            return None
        if not record.inherits:
            return record.mountpoint
        parent = name.parent
        if parent is None:
            return f"/{name}"
        above = self.mountpoint(parent)
        return None if above is None else f"{above.rstrip('/')}/{name.leaf}"

    def mounts_inside(self, name: Dataset) -> list[Dataset]:
        """List the other mounted filesystems below NAME, by name or by path."""
        path = self.mountpoint(name)
        inside = []
        for other, record in self.datasets.items():
            if other == name or not record.mounted:
                continue
            where = self.mountpoint(other)
            by_path = path is not None and where is not None and where.startswith(f"{path}/")
            if by_path or other.below(name):
                inside.append(other)
        return sorted(inside)

    def change_dataset(self, name: Dataset, **changes: object) -> None:
        """Replace fields of the dataset NAME."""
        self.datasets[name] = replace(self.datasets[name], **changes)  # type: ignore[arg-type]

    def change_snapshot(self, name: Snapshot, **changes: object) -> None:
        """Replace fields of the snapshot NAME."""
        self.snapshots[name] = replace(self.snapshots[name], **changes)  # type: ignore[arg-type]

    def remove_dataset(self, name: Dataset) -> None:
        """Remove a dataset, and its origin if that only waited for this (zfs-destroy(8), -d)."""
        origin = self.snapshot_of_key(self.datasets.pop(name).origin)
        if origin is not None:
            self.collect(origin)

    def remove_snapshot(self, name: Snapshot) -> None:
        """Remove a snapshot; what it added now counts for the next one, or for the live dataset."""
        lineage = self.snapshots_of(name.dataset)
        position = [short for short, _ in lineage].index(name)
        amount = self.snapshots.pop(name).written
        if position + 1 < len(lineage):
            after, record = lineage[position + 1]
            self.change_snapshot(after, written=record.written + amount)
        else:
            live = self.datasets[name.dataset]
            self.change_dataset(name.dataset, written=live.written + amount)

    def collect(self, name: Snapshot) -> None:
        """Remove the snapshot NAME if it is deferred and nothing keeps it any longer."""
        record = self.snapshots[name]
        if record.deferred and not record.holds and not self.clones_of(record.key):
            self.remove_snapshot(name)
