"""The actions that a plan is made of: a closed union, each saying all that is needed to carry it out.

An action leaves nothing to decide. Datasets and snapshots are guarded by guid; a guid of none is an object that an
earlier action of the same plan makes. Sizes in bytes. ``plan.steps`` takes an action apart into steps.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from reconciler.model.desired import NO_HOOKS, HookPair
from reconciler.model.journal import Left
from reconciler.model.properties import Grade
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, NodeName, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNode:
    """A node to be made: one atomic set of SNAPSHOTS that carries PROPERTIES."""

    name: NodeName
    parent: NodeName | None
    snapshots: tuple[Snapshot, ...]
    properties: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Take NODES, each the parent of the next, from BRANCH as it is now.

    MEMORY is where the RAM goes that is kept with them, relative to the branch, RAM its size in bytes. With a GROUP it
    is taken at one instant with those of other VMs, by ``execute.together``. HOOKS are run around it; ``plan.hooks``
    puts them in.
    """

    nodes: tuple[NewNode, ...]
    branch: DatasetRef
    grade: Grade
    memory: str | None = None
    ram: int = 0
    group: str | None = None
    hooks: HookPair = NO_HOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Make NODE offline from its parent's snapshots ORIGINS, on the new branch TARGET; costs no space."""

    node: NewNode
    origins: tuple[SnapshotRef, ...]
    target: Dataset
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Put the guest on the state of NODE: a clone of its snapshots ORIGINS as the new branch TARGET.

    SAVE is the node that keeps the unsaved state of the branch BEFORE; UNSAVED is how many bytes that state has,
    LEFT what becomes of it. AGAIN is the file's token, written down with the switch.

    RUNS tells that the guest runs and is stopped only when TARGET is ready, STARTS that it is started there, from
    the RAM at MEMORY if given. SAVE_MEMORY is where its RAM is kept with SAVE, RAM its size in bytes; BACK_MEMORY is
    what it goes on from on BEFORE if it cannot be started on TARGET.
    """

    node: NodeName
    origins: tuple[SnapshotRef, ...]
    target: Dataset
    number: int
    files: tuple[str, ...]
    before: DatasetRef | None
    before_volumes: tuple[str, ...]
    save: NewNode | None
    left: Left
    unsaved: int
    again: str | None
    runs: bool = False
    starts: bool = False
    memory: str | None = None
    save_memory: str | None = None
    back_memory: str | None = None
    ram: int = 0
    hooks: HookPair = NO_HOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """Where a guest goes if the restore of NODE, asked for with AGAIN, cannot start it: BRANCH, from MEMORY if any.

    LEFT is how the branch is left that it was to start on: a guest that was interrupted there may have written to it.
    """

    node: NodeName
    again: str | None
    branch: DatasetRef
    memory: str | None
    volumes: tuple[str, ...]
    files: tuple[str, ...]
    left: Left = Left.DISCARDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start the guest again, which ckptree stopped, on BRANCH, from the RAM at MEMORY if given; BACK if that fails.

    With BACK it is the end of a restore, and the hook after one is run.
    """

    branch: DatasetRef
    memory: str | None
    volumes: tuple[str, ...]
    files: tuple[str, ...]
    back: WayBack | None = None
    hooks: HookPair = NO_HOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Take the guest BACK from BRANCH, where a restore was interrupted while it was being started."""

    branch: DatasetRef
    back: WayBack
    hooks: HookPair = NO_HOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Remove MEMORY, live files of RAM that an interrupted run left in BRANCH; nothing may ever resume them."""

    branch: DatasetRef
    memory: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Make the foreign SNAPSHOTS the node NODE."""

    node: NodeName
    snapshots: tuple[SnapshotRef, ...]
    properties: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyChange:
    """User property KEY of TARGET from OLD to NEW, none being absent."""

    target: Ref
    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate:
    """Bring the properties of NODE in line with the file, and put back missing holds; RENAMES tells its old name."""

    node: NodeName
    changes: tuple[PropertyChange, ...] = ()
    holds: tuple[SnapshotRef, ...] = ()
    was: NodeName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidy:
    """Bring a branch's canmount and mount in line: the head mounted with canmount=on, a dormant one neither."""

    branch: DatasetRef
    head: bool
    canmount: bool
    mount: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredNode:
    """A node that goes out of sight; GUARD is its own snapshot."""

    name: NodeName
    guard: SnapshotRef
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Hide NODES from now on; they can be brought back UNTIL the grace ends."""

    nodes: tuple[RetiredNode, ...]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Revive:
    """Bring back the retired NODE, the same snapshots as before."""

    node: NodeName
    guard: SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DoomedNode:
    """A node that is destroyed, by name and guid."""

    name: NodeName
    guid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyNodes:
    """Destroy NODES for good.

    PROMOTE are clones that are promoted first, so that what stays no longer hangs on what goes. TARGETS are named as
    they are after that, in the order in which they can go. FREES is at least what is freed, in bytes.
    """

    nodes: tuple[DoomedNode, ...]
    promote: tuple[DatasetRef, ...]
    targets: tuple[Ref, ...]
    frees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relink:
    """Point the link at BRANCH again."""

    home: Dataset
    branch: DatasetRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Free what no node needs: destroy the empty dormant BRANCH (TARGETS), or roll its datasets back (ROLLBACKS).

    SAVED tells that the branch had nothing unsaved, which must still be so.
    """

    branch: DatasetRef
    targets: tuple[Ref, ...] = ()
    rollbacks: tuple[tuple[DatasetRef, SnapshotRef], ...] = ()
    frees: int = 0
    saved: bool = False


Action = (
    Relink
    | Tidy
    | Annotate
    | Adopt
    | Revive
    | Capture
    | Fork
    | Restore
    | Start
    | Return
    | Sweep
    | Retire
    | DestroyNodes
    | Collect
)


def nodes_of(action: Action) -> tuple[NodeName, ...]:
    """Name the nodes that ACTION is about; of a restore its target first, then the one that keeps the unsaved state."""
    match action:
        case Capture(nodes=new):
            return tuple(node.name for node in new)
        case Fork(node=made):
            return (made.name,)
        case Restore(node=target, save=save):
            return (target,) if save is None else (target, save.name)
        case Adopt(node=node) | Revive(node=node) | Annotate(node=node):
            return (node,)
        case Retire(nodes=retired):
            return tuple(node.name for node in retired)
        case DestroyNodes(nodes=doomed):
            return tuple(node.name for node in doomed)
        case Start(back=back) | Return(back=back):
            return () if back is None else (back.node,)
        case Relink() | Tidy() | Sweep() | Collect():
            return ()
        case _:
            assert_never(action)
