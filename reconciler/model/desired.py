"""What an operator wants for one VM: the typed form of one YAML document.

``spec`` makes it, ``plan`` reads it. Every key of the file has its place here, also those that nothing acts on
yet. Durations are ``timedelta``, moments are aware UTC ``datetime``; a node's children are found by its
``parent``, and ``nodes`` is in the order of the file, parents before children.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import Dataset, NodeName, VmName


class MemoryWish(Enum):
    """Whether a checkpoint is to keep the guest's RAM."""

    AUTO = "auto"
    REQUIRED = "required"
    NEVER = "never"


class When(Enum):
    """When a new node is taken."""

    NOW = "now"
    MANUAL = "manual"


class PruneMode(Enum):
    """What becomes of nodes that are no longer in the file."""

    AUTO = "auto"
    CONFIRM = "confirm"
    NEVER = "never"


class Unsaved(Enum):
    """What becomes of the running state when another node is restored."""

    SAVE = "save"
    REFUSE = "refuse"
    DISCARD = "discard"


class WhenRunning(Enum):
    """What a restore does with a running guest."""

    STOP = "stop"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class FileDisk:
    """A disk image: PATH relative to the branch."""

    path: str


@dataclass(frozen=True, slots=True)
class VolumeDisk:
    """A volume (zvol) directly below the branch, reached in it as the symbolic link NAME."""

    name: str


Disk = FileDisk | VolumeDisk


@dataclass(frozen=True, slots=True, kw_only=True)
class Bhyve:
    """A guest that ckptree starts itself; either CONFIG (bhyve_config(5), relative to home) or ARGS."""

    config: str | None = None
    args: tuple[str, ...] = ()
    loader: tuple[str, ...] = ()
    mode: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmBhyve:
    """A guest of vm-bhyve, by the name that `vm` knows it under."""

    guest: str
    mode: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Qemu:
    """A guest of QEMU: the program and its arguments."""

    args: tuple[str, ...]
    binary: str = "qemu-system-x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A guest that the operator's own commands start, stop, look at and save; each an argument list."""

    start: tuple[str, ...]
    stop: tuple[str, ...]
    running: tuple[str, ...]
    save: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """``none``: disks only, the guest is not ckptree's to start or stop."""


Hypervisor = Bhyve | VmBhyve | Qemu | Command | Unmanaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """An operator's program run around a checkpoint or a restore."""

    run: tuple[str, ...]
    timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPair:
    """The hooks around one checkpoint or restore; none is a hook not given."""

    before: Hook | None = None
    after: Hook | None = None

    @property
    def quiesces(self) -> bool:
        """Whether the two count as bringing the guest to rest and letting it go on: it takes both."""
        return self.before is not None and self.after is not None


NO_HOOKS = HookPair()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of a VM; none is a hook not given."""

    before_checkpoint: Hook | None = None
    after_checkpoint: Hook | None = None
    before_restore: Hook | None = None
    after_restore: Hook | None = None

    @property
    def checkpoint(self) -> HookPair:
        """The hooks around a checkpoint."""
        return HookPair(before=self.before_checkpoint, after=self.after_checkpoint)

    @property
    def restore(self) -> HookPair:
        """The hooks around a restore."""
        return HookPair(before=self.before_restore, after=self.after_restore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Automatic nodes: one EVERY so often, each kept for KEEP; with MEMORY never, no guest is paused for one."""

    every: timedelta
    keep: timedelta
    memory: MemoryWish = MemoryWish.NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """How removals are treated: GRACE before a destroy, at most LIMIT removals without approval."""

    mode: PruneMode = PruneMode.AUTO
    grace: timedelta = timedelta(hours=24)
    limit: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePolicy:
    """How a restore is done; a changed AGAIN asks for ``current`` once more."""

    again: str | None = None
    unsaved: Unsaved = Unsaved.SAVE
    running: WhenRunning = WhenRunning.STOP


@dataclass(frozen=True, slots=True, order=True)
class SourcePosition:
    """Where something stands in a file; LINE and COLUMN count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredNode:
    """One node of the desired tree."""

    name: NodeName
    parent: NodeName | None
    position: SourcePosition
    about: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    protect: bool = False
    memory: MemoryWish = MemoryWish.AUTO
    expires: datetime | None = None
    keep: timedelta | None = None
    when: When = When.NOW
    fork: bool = False
    adopt: str | None = None
    group: str | None = None
    was: NodeName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredVm:
    """One valid YAML document. DIGEST is the SHA-256 of its bytes, REVISION the commit that it is from, if any."""

    vm: VmName
    dataset: Dataset
    disks: tuple[Disk, ...]
    nodes: tuple[DesiredNode, ...]
    position: SourcePosition
    digest: str
    hypervisor: Hypervisor = Unmanaged()
    current: NodeName | None = None
    prune: Prune = Prune()
    restore: RestorePolicy = RestorePolicy()
    hooks: Hooks = Hooks()
    schedule: Schedule | None = None
    windows: Windows = ALWAYS
    host: str | None = None
    suspend: bool = False
    revision: str | None = None
    by_name: dict[NodeName, DesiredNode] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the nodes once."""
        object.__setattr__(self, "by_name", {node.name: node for node in self.nodes})

    @property
    def file_disks(self) -> tuple[FileDisk, ...]:
        """The disks that are files in the branch."""
        return tuple(disk for disk in self.disks if isinstance(disk, FileDisk))

    @property
    def volume_disks(self) -> tuple[VolumeDisk, ...]:
        """The disks that are volumes below the branch."""
        return tuple(disk for disk in self.disks if isinstance(disk, VolumeDisk))

    def children(self, parent: NodeName | None) -> tuple[DesiredNode, ...]:
        """The nodes directly below PARENT (the roots for none), in the order of the file."""
        return tuple(node for node in self.nodes if node.parent == parent)
