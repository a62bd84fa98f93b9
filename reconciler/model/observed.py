"""What was read from ZFS, the link, the journal and the host; facts only, nothing concluded.

``observe`` fills it from the drivers, ``simulate`` from its memory. ``model.tree`` derives the checkpoint tree
from it. What could not be read is a Gap: unknown, which is not absent.
"""

from dataclasses import dataclass, field
from enum import Enum

from reconciler.model.journal import JournalFacts
from reconciler.names import Dataset, Snapshot, VmName


class DatasetKind(Enum):
    """The two kinds of dataset that matter here."""

    FILESYSTEM = "filesystem"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """A filesystem or volume. Sizes in bytes; ``properties`` are the ckptree: ones of local source, decoded.

    ``mountpoint`` is the path at which it is or would be mounted, none where it has none. ``written`` is what was
    written since its latest snapshot (zfsprops(7)).
    """

    name: Dataset
    guid: int
    kind: DatasetKind
    createtxg: int
    origin: Snapshot | None = None
    mounted: bool = False
    mountpoint: str | None = None
    canmount: str = "on"
    properties: dict[str, str] = field(default_factory=dict)
    used: int = 0
    referenced: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """A snapshot. ``used`` is what only it holds; ``deferred`` means already destroyed but for its last clone."""

    name: Snapshot
    guid: int
    createtxg: int
    properties: dict[str, str] = field(default_factory=dict)
    holds: frozenset[str] = frozenset()
    clones: tuple[Dataset, ...] = ()
    deferred: bool = False
    used: int = 0
    referenced: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of everything at and below ROOT. Empty without a gap means that ROOT does not exist.

    Datasets are sorted by name, snapshots by (dataset, createtxg, name).
    """

    root: Dataset
    datasets: tuple[DatasetFacts, ...] = ()
    snapshots: tuple[SnapshotFacts, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def dataset(self, name: str) -> DatasetFacts | None:
        """The facts of the dataset NAME, none if it was not read."""
        return next((facts for facts in self.datasets if facts.name == name), None)

    def snapshot(self, name: str) -> SnapshotFacts | None:
        """The facts of the snapshot NAME, none if it was not read."""
        return next((facts for facts in self.snapshots if facts.name == name), None)


@dataclass(frozen=True, slots=True)
class LinkAbsent:
    """There is no link."""


@dataclass(frozen=True, slots=True)
class LinkTo:
    """The link points at TARGET, as written in it."""

    target: str


@dataclass(frozen=True, slots=True)
class LinkUnknown:
    """The link could not be read, or something that is no link has its name."""

    reason: str


Link = LinkAbsent | LinkTo | LinkUnknown


class Running(Enum):
    """Whether the guest runs."""

    OFF = "off"
    RUNNING = "running"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GuestState:
    """Whether the guest runs, and how that is known (for example the processes that have a disk open)."""

    running: Running
    proof: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What can be done with a guest on this host, as its hypervisor stands now.

    ``managed``: ckptree may stop and start it. ``memory``: the RAM of the guest, as it runs or would run, can be saved
    and resumed; where not, ``why_not`` says why, as the end of a sentence. ``fingerprint`` is what must be the same
    for saved RAM to be resumed (host, processor, hypervisor, devices: ``key=value`` words with ``;`` between them).
    ``ram`` is the guest's RAM in bytes, 0 where unknown. ``longest_path`` is how long a memory file's path may be.
    """

    managed: bool = False
    memory: bool = False
    why_not: str = "the guest is not ckptree's to stop and start"
    fingerprint: str = ""
    ram: int = 0
    longest_path: int = 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """The pool under a home. ``available`` is what the home may still write, in bytes."""

    name: str
    health: str = "ONLINE"
    readonly: bool = False
    available: int = 0

    @property
    def unusable(self) -> bool:
        """Whether nothing can be read from it or written to it: zpoolconcepts(7)."""
        return self.health in {"SUSPENDED", "FAULTED", "UNAVAIL", "REMOVED"}


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Who this host is: its name, and the id that stays the same for good."""

    name: str
    host_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that a plan for one VM is made from, besides the file.

    ``journal`` counts an unfinished switch of the link as done exactly if the link shows it.
    ``missing_disks`` names the desired disks that the head has not. ``host`` is this host's name, ``host_id`` its
    unchanging identity (kern.hostuuid, /etc/machine-id). ``live_memory`` names the files of RAM that nothing has
    resumed in each branch that is mounted, relative to it. ``users`` tells who else uses a branch of a guest that its
    hypervisor calls off; ``busy`` are the dormant branches that are mounted and in use.
    """

    vm: VmName
    reading: Reading
    link: Link
    guest: GuestState
    pool: PoolFacts
    journal: JournalFacts
    host: str
    host_id: str
    missing_disks: tuple[str, ...] = ()
    ability: Ability = Ability()
    live_memory: dict[Dataset, tuple[str, ...]] = field(default_factory=dict)
    users: str = ""
    busy: frozenset[Dataset] = frozenset()
