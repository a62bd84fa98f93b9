"""The primitive effects that every action comes down to, in the order in which they are carried out.

One step is one call to the host: it either happened or it did not, and each may be the last one before a crash.
``plan.steps`` writes the steps of an action, ``execute`` carries them out on the real host and ``simulate`` on the
one in memory. A guid of none means that an earlier step of the same plan makes the object.
"""

from dataclasses import dataclass

from reconciler.model.journal import Left
from reconciler.names import Dataset, NodeName, Snapshot


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A dataset by name, guarded by guid."""

    name: Dataset
    guid: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A snapshot by name, guarded by guid."""

    name: Snapshot
    guid: int | None = None


Ref = DatasetRef | SnapshotRef


@dataclass(frozen=True, slots=True)
class TakeSnapshots:
    """One atomic snapshot of all of SNAPSHOTS, each with PROPERTIES from the first moment on."""

    node: NodeName
    snapshots: tuple[Snapshot, ...]
    properties: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold every one of SNAPSHOTS; already held is fine."""

    snapshots: tuple[SnapshotRef, ...]


@dataclass(frozen=True, slots=True)
class CloneDataset:
    """Clone ORIGIN as TARGET with our PROPERTIES; a filesystem is left unmounted with canmount=noauto."""

    origin: SnapshotRef
    target: Dataset
    volume: bool
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SetProperties:
    """Set user properties of TARGET (none removes one)."""

    target: Ref
    changes: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class SetCanmount:
    """Set canmount of a branch: on for the current one, noauto for the others."""

    branch: DatasetRef
    value: str


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount a branch; already mounted is fine."""

    branch: DatasetRef


@dataclass(frozen=True, slots=True)
class Unmount:
    """Unmount a branch, never by force; already unmounted is fine. PATIENT: one in use is left for a later plan."""

    branch: DatasetRef
    patient: bool = False


@dataclass(frozen=True, slots=True)
class PrepareBranch:
    """Make a mounted clone ready for the guest: links to its own VOLUMES, every one of FILES there, no leftovers.

    Records in ``ckptree:baseline`` what that wrote.
    """

    branch: DatasetRef
    volumes: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettleBranch:
    """Record in ``ckptree:baseline`` that BRANCH, as it is now, has nothing that is not saved."""

    branch: DatasetRef


@dataclass(frozen=True, slots=True)
class EnsureSaved:
    """Fail unless BRANCH has still nothing that is not saved: somebody may have been on it since it was observed."""

    branch: DatasetRef


@dataclass(frozen=True, slots=True)
class EnsureUnused:
    """Fail unless no process has anything of BRANCH (or its VOLUMES) open."""

    branch: DatasetRef
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnsureUsed:
    """Fail unless a process has something of BRANCH (or its VOLUMES) open: the guest must run on these disks."""

    branch: DatasetRef
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchLink:
    """Point the link at BRANCH with one rename(2). LEFT says how the branch before it was left."""

    home: Dataset
    branch: DatasetRef
    before: DatasetRef | None
    left: Left | None


@dataclass(frozen=True, slots=True)
class TakeFrozen:
    """Freeze the guest on BRANCH with its RAM at MEMORY (relative to it), take all TAKES, let the guest go on.

    ENDS: it never goes on, and is off afterwards in the state that was taken.
    """

    branch: DatasetRef
    memory: str
    takes: tuple[TakeSnapshots, ...]
    ends: bool = False


@dataclass(frozen=True, slots=True)
class StopGuest:
    """Shut the guest on BRANCH down; NOW: without asking it."""

    branch: DatasetRef
    now: bool = False


@dataclass(frozen=True, slots=True)
class StartGuest:
    """Start the guest on BRANCH, whose VOLUMES and FILES must be there, from the RAM at MEMORY if given.

    Files of RAM can be used once: they have another name as soon as anything may have read them.
    """

    branch: DatasetRef
    memory: str | None
    volumes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DropMemory:
    """Remove the live files of RAM at MEMORY from BRANCH: those in snapshots stay."""

    branch: DatasetRef
    memory: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Promote the clones in one go: their origins and all older snapshots move to them (zfs-promote(8))."""

    clones: tuple[DatasetRef, ...]


@dataclass(frozen=True, slots=True)
class Destroy:
    """Release our holds on TARGETS and destroy them, in this order, all or nothing where the host can."""

    targets: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Rollback:
    """Roll a dormant dataset back to its latest snapshot."""

    dataset: DatasetRef
    snapshot: SnapshotRef


Step = (
    TakeSnapshots
    | Hold
    | CloneDataset
    | SetProperties
    | SetCanmount
    | Mount
    | Unmount
    | PrepareBranch
    | SettleBranch
    | EnsureSaved
    | EnsureUnused
    | EnsureUsed
    | SwitchLink
    | TakeFrozen
    | StopGuest
    | StartGuest
    | DropMemory
    | Promote
    | Destroy
    | Rollback
)
