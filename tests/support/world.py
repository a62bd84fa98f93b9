"""A host in memory with one VM, driven as `ckptree apply` drives a real one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

from reconciler.contracts.perform import Place
from reconciler.drivers.guests.unmanaged import UnmanagedGuest
from reconciler.execute.apply import Result, Wish, apply
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredNode, DesiredVm, SourcePosition, VolumeDisk
from reconciler.model.journal import Approved, Confirmed, JournalFacts, JournalRecord, facts_of
from reconciler.model.observed import (
    Ability,
    GuestState,
    HostIdentity,
    LinkTo,
    Observation,
    Running,
)
from reconciler.model.plan import NO_RESTRAINT, Plan, Restraint
from reconciler.model.steps import DatasetRef
from reconciler.model.tree import Tree, derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import Dataset, NodeName, VmName
from reconciler.observe.observer import observe
from reconciler.plan.document import SavedPlan
from reconciler.plan.planner import make_plan
from reconciler.simulate.guest import MemoryGuest, disk_of, memory_of, with_memory
from reconciler.simulate.hooks import MemoryHooks
from reconciler.simulate.host import MemoryFiles
from reconciler.simulate.zfs import MemoryZfs
from tests.support.faults import Fuse, fragile

VM = VmName("web")
HOME = Dataset("tank/vm/web")
START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
UNMANAGED = Ability()
MANAGED = Ability(managed=True, memory=True, why_not="", fingerprint="cpu=a;devices=b", ram=4096)
"""A guest that ckptree runs, and whose memory it can save."""
DISKS_ONLY = Ability(managed=True, why_not="this host cannot", fingerprint="cpu=a;devices=b")
"""A guest that ckptree runs, and whose memory it cannot save."""
HERE = SourcePosition("web.yaml", 1, 1)
IDENTITY = HostIdentity("bsd07", "host-id-1")

Nested = Mapping[str, "Nested"]
Flags = Mapping[str, object]


def nodes_of(
    tree: Nested, flags: Mapping[str, Flags] | None = None, parent: NodeName | None = None
) -> tuple[DesiredNode, ...]:
    """Nodes from nested names; FLAGS gives other fields of a node by its name."""
    found: list[DesiredNode] = []
    for text, below in tree.items():
        name = NodeName(text)
        node = DesiredNode(name=name, parent=parent, position=HERE)
        found.append(replace(node, **cast(dict[str, object], (flags or {}).get(text, {}))))  # type: ignore[arg-type]
        found += nodes_of(below, flags, name)
    return tuple(found)


def desired(tree: Nested, flags: Mapping[str, Flags] | None = None, **fields: object) -> DesiredVm:
    """A desired VM with the checkpoints TREE."""
    vm = DesiredVm(
        vm=VM, dataset=HOME, disks=(), nodes=nodes_of(tree, flags), position=HERE, digest="d"
    )
    return replace(vm, **fields)  # type: ignore[arg-type]


class MemoryJournal:
    """A journal in memory; FAIL may raise before or after a record is written."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] | None = None

    def facts(self) -> JournalFacts:
        return facts_of(self.records)

    def append(self, record: JournalRecord) -> None:
        self.records = [*(self.records or ()), record]

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:  # noqa: ARG002
        yield


class World:
    """The host, its clock and the operator's deeds."""

    def __init__(self, volumes: tuple[str, ...] = (), ability: Ability = UNMANAGED) -> None:
        self.zfs = MemoryZfs()
        self.zfs.add_pool("tank")
        self.zfs.create(Dataset("tank/vm"), {}, canmount="on")
        self.zfs.mount(Dataset("tank/vm"))
        self.zfs.create(HOME, {"ckptree:vm": VM, "ckptree:owner": IDENTITY.host_id}, canmount="on")
        self.zfs.mount(HOME)
        branch = HOME.child("b-1")
        ours = {"ckptree:vm": VM, "ckptree:branch": "1"}
        self.zfs.create(branch, ours, canmount="on")
        self.zfs.mount(branch)
        for volume in volumes:
            self.zfs.create_volume(branch.child(volume))
            self.zfs.set_properties(branch.child(volume), ours)
        self.files = MemoryFiles(self.zfs, LinkTo("b-1"), GuestState(Running.OFF))
        self.guest = MemoryGuest(self.zfs, self.files, ability)
        self.hooks = MemoryHooks()
        self.journal = MemoryJournal()
        self.journal.append(Confirmed(at="", by="init"))
        self.now = START
        self.blind_to: str | None = None
        self.volumes = tuple(VolumeDisk(volume) for volume in volumes)

    def copy(self) -> "World":
        copied = World.__new__(World)
        copied.zfs = self.zfs.copy()
        copied.files = self.files.copy(copied.zfs)
        copied.guest = self.guest.copy(copied.zfs, copied.files)
        copied.hooks = self.hooks.copy()
        copied.journal = MemoryJournal()
        copied.journal.records = (
            None if self.journal.records is None else list(self.journal.records)
        )
        copied.now, copied.volumes, copied.blind_to = self.now, self.volumes, self.blind_to
        return copied

    def hands(self, fuse: Fuse | None = None) -> Hands:
        fuse = Fuse() if fuse is None else fuse
        managed = self.guest.ability.managed
        zfs, files, guest, journal, hooks = fragile(
            self.zfs,
            self.files,
            self.guest if managed else UnmanagedGuest(desired({})),
            self.journal,
            self.hooks,
            fuse,
            self.blind_to,
        )
        return Hands(zfs, files, guest, journal, Place(VM, HOME, f"/{HOME}"), hooks)

    def observe(self, vm: DesiredVm) -> Observation:
        hands = self.hands()
        return observe(vm, hands.zfs, hands.files, hands.guest, hands.journal, IDENTITY)

    def plan(
        self,
        vm: DesiredVm,
        *,
        confirm: bool = False,
        purge: bool = False,
        group: str | None = None,
        restraint: Restraint = NO_RESTRAINT,
        windows: Windows = ALWAYS,
    ) -> Plan:
        return make_plan(
            vm,
            self.observe(vm),
            self.now,
            confirm=confirm,
            purge=purge,
            group=group,
            restraint=restraint,
            windows=windows,
        )

    def apply(
        self,
        vm: DesiredVm,
        *,
        confirm: bool = False,
        purge: bool = False,
        fuse: Fuse | None = None,
        saved: SavedPlan | None = None,
        **wishes: object,
    ) -> Result:
        """Apply VM; WISHES are further fields of a Wish."""
        wish = Wish(by="test", confirm=confirm, purge=purge, saved=saved)
        wish = replace(wish, **wishes)  # type: ignore[arg-type]
        return apply(vm, self.hands(fuse), IDENTITY, lambda: self.now, wish, lambda _: None)

    def approve(self, plan: Plan) -> None:
        """Let a person approve what PLAN holds back."""
        assert plan.approval is not None
        guids = [node.guid for node in plan.approval.nodes]
        record = Approved(at="", by="test", digest=plan.approval.digest, guids=guids)
        self.journal.append(record)

    def blind(self, number: int) -> None:
        """From now on something of the home cannot be read; NUMBER chooses what."""
        reading = self.zfs.read([HOME])[HOME]
        names = [*(f.name for f in reading.datasets), *(f.name for f in reading.snapshots)]
        self.blind_to = str(names[number % len(names)]) if number % 5 else "everything"

    def boot(self, ram: str = "booted") -> None:
        """Let the guest, which ckptree runs, run with RAM."""
        head = self.tree.head
        assert head is not None
        self.files.guest = GuestState(Running.RUNNING, "simulated")
        self.files.guest_branch = head.facts.name.leaf
        self.guest.ram = ram

    def forget_memory(self) -> None:
        """Remove the live files of RAM, as a start from the disks does."""
        head = self.tree.head
        assert head is not None
        for memory in self.files.live_memory("", head.facts.name):
            self.files.drop_memory("", head.facts.name, memory)

    def plan_branch(self) -> DatasetRef:
        """The current branch as plans name it."""
        head = self.tree.head
        assert head is not None
        return head.ref

    def pass_time(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def write(self, content: str, amount: int = 4096) -> None:
        """Let the guest write to every disk of the branch that it is on."""
        head = self.tree.head
        assert head is not None
        for facts in head.datasets:
            files = memory_of(self.zfs.content(facts.name))
            self.zfs.write(facts.name, with_memory(content, files), amount)

    @property
    def tree(self) -> Tree:
        return derive_tree(VM, self.zfs.read([HOME])[HOME], self.files.link)

    def content(self) -> str:
        """What the guest sees on its first disk."""
        head = self.tree.head
        assert head is not None
        return disk_of(self.zfs.content(head.facts.name))

    def shape(self) -> dict[str, str | None]:
        """Each node that is not retired, with its nearest parent that is neither."""
        tree = self.tree
        shown = [node for node in tree.nodes.values() if node.retired is None]
        names = {node.name for node in shown}
        return {
            str(node.name): next(
                (str(a.name) for a in tree.ancestors(node.parent) if a.name in names), None
            )
            for node in shown
        }
