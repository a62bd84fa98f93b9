"""Make what a VM's document describes and does not exist yet: its home, its first branch, the link.

A dataset in which the disks already lie becomes a home and its first branch by renaming, nothing is copied. Every
step looks at what exists first, so that a run after a crash goes on where the last one ended. Disks themselves are
the operator's to make.
"""

from collections.abc import Callable
from datetime import datetime

from reconciler.contracts.files import Files
from reconciler.contracts.journal import Journal
from reconciler.contracts.zfs import Zfs
from reconciler.errors import CkptreeError
from reconciler.execute.vm_bhyve_init import VmBhyveInit
from reconciler.model import properties
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import Confirmed
from reconciler.model.observed import (
    DatasetFacts,
    DatasetKind,
    HostIdentity,
    LinkAbsent,
    Reading,
    Running,
)
from reconciler.model.tree import Branch, Tree, derive_tree
from reconciler.names import Dataset, branch_name
from reconciler.plan.parts import branch_properties

Say = Callable[[str], None]
JournalAt = Callable[[str], Journal]
"""Opens the journal of the home mounted at a path."""
_MOVING = ".ckptree-init"
"""A dataset that is becoming a branch has its own name with this behind it for a moment."""


class Initialiser:
    """One run of ``ckptree init`` for one VM; SAY is told of every change, as it is made."""

    def __init__(
        self,
        desired: DesiredVm,
        zfs: Zfs,
        files: Files,
        journal_at: JournalAt,
        identity: HostIdentity,
        by: str,
        say: Say,
        definition: VmBhyveInit | None = None,
    ) -> None:
        """DEFINITION takes care of what else than ZFS and the link the guest's hypervisor wants to be changed."""
        self._desired = desired
        self._zfs = zfs
        self._files = files
        self._journal_at = journal_at
        self._identity = identity
        self._by = by
        self._say = say
        self._definition = definition
        self._home = desired.dataset
        self._moving = Dataset(f"{desired.dataset}{_MOVING}")

    def run(self, clock: Callable[[], datetime]) -> None:
        """Make what is missing; raises CkptreeError if something is in the way, and then goes no further."""
        self._make_home()
        self._make_branch()
        home = self._facts(self._home)
        if home.mountpoint is None or not home.mounted:
            raise CkptreeError(f"{self._home} is not mounted (give it a mountpoint and mount it)")
        self._make_link(home.mountpoint)
        head = self._tree(home.mountpoint).head
        if head is None:
            raise CkptreeError(
                f"{home.mountpoint}/current leads to no branch (see 'ckptree plan {self._desired.vm}')"
            )
        self._take_volumes(home.mountpoint, head)
        if self._definition is not None:
            self._definition.settle(home.mountpoint, f"{home.mountpoint}/{head.facts.name.leaf}")
        names = [disk.path for disk in self._desired.file_disks]
        names += [disk.name for disk in self._desired.volume_disks]
        for name in self._files.link_disks(home.mountpoint, names):
            self._say(f"linked {home.mountpoint}/{name} to the current branch's")
        self._open_journal(home.mountpoint, clock)
        self._ask_for_disks(home.mountpoint, head)

    # The home

    def _make_home(self) -> None:
        reading, moving = self._read(self._home), self._read(self._moving)
        home = reading.dataset(self._home)
        if home is not None and properties.BRANCH in home.properties:
            raise CkptreeError(
                f"{self._home} is a branch of another home (name a dataset of its own)"
            )
        if home is not None and properties.VM in home.properties:
            self._require_ours(home)
            self._check_definition(home, converting=False)
        elif home is not None and self._has_disks(home, reading):
            self._check_definition(home, converting=True)
            self._require_convertible(home, reading)
            self._zfs.rename(self._home, self._moving)
            moving = self._read(self._moving)
            home = None
        elif home is not None:
            if home.kind is not DatasetKind.FILESYSTEM:
                raise CkptreeError(f"{self._home} is a volume (name a filesystem as 'dataset')")
            self._check_definition(home, converting=False)
            self._zfs.set_properties(self._home, self._marks())
            self._say(f"marked {self._home} as the home of {self._desired.vm}")
        if home is None:
            self._zfs.create(self._home, self._marks(), canmount="on")
            self._say(f"created {self._home}")
        former = moving.dataset(self._moving)
        if former is not None:
            self._move_in(former)
        self._zfs.mount(self._home)

    def _check_definition(self, home: DatasetFacts, *, converting: bool) -> None:
        if self._definition is None:
            return
        if home.mounted and home.mountpoint is not None:
            self._definition.check(home.mountpoint, converting=converting)
        elif converting:
            raise CkptreeError(f"{self._home} is not mounted (run 'zfs mount {self._home}' first)")

    def _marks(self) -> dict[str, str]:
        return {
            properties.VM: str(self._desired.vm),
            properties.OWNER: self._identity.host_id,
        }

    def _require_ours(self, home: DatasetFacts) -> None:
        vm, owner = home.properties[properties.VM], home.properties.get(properties.OWNER)
        if vm != self._desired.vm:
            raise CkptreeError(
                f"{self._home} is the home of VM {vm} (give {self._desired.vm} its own)"
            )
        if owner not in {None, self._identity.host_id}:
            raise CkptreeError(
                f"{self._home} belongs to another host, {owner} (see 'ckptree take-over')"
            )

    def _has_disks(self, home: DatasetFacts, reading: Reading) -> bool:
        volumes = [disk.name for disk in self._desired.volume_disks]
        if any(reading.dataset(self._home.child(name)) for name in volumes):
            return True
        paths = [disk.path for disk in self._desired.file_disks]
        if not home.mounted or home.mountpoint is None:
            raise CkptreeError(
                f"{self._home} is not mounted (mount it first: 'zfs mount {self._home}')"
            )
        return len(self._files.missing(home.mountpoint, self._home, paths, ())) < len(paths)

    def _require_convertible(self, home: DatasetFacts, reading: Reading) -> None:
        wanted = {self._home.child(disk.name) for disk in self._desired.volume_disks}
        others = [f.name for f in reading.datasets if f.name not in {self._home, *wanted}]
        if others:
            raise CkptreeError(
                f"{', '.join(others)} lies in {self._home} and is none of its 'disks' (move it away first)"
            )
        absent: list[str] = sorted(wanted - {facts.name for facts in reading.datasets})
        if home.mountpoint is not None:
            paths = [disk.path for disk in self._desired.file_disks]
            absent += self._files.missing(home.mountpoint, self._home, paths, ())
        if absent:
            raise CkptreeError(
                f"{self._home} has only some of its 'disks': {', '.join(absent)} is not there"
            )
        volumes = [disk.name for disk in self._desired.volume_disks]
        guest = self._files.users([(home.mountpoint or "", self._home)], volumes)
        if guest.running is not Running.OFF:
            raise CkptreeError(f"{self._home} is in use: {guest.proof} (stop the guest first)")

    def _move_in(self, former: DatasetFacts) -> None:
        """Make the former dataset the first branch; a mountpoint of its own goes to the home."""
        branch = branch_name(self._home, 1)
        own = former.mountpoint
        if own is not None and not own.endswith(_MOVING):
            self._zfs.unmount(self._moving)
            self._zfs.set_mountpoint(self._home, own)
            self._zfs.set_mountpoint(self._moving, None)
        self._zfs.mount(self._home)
        self._zfs.rename(self._moving, branch)
        self._say(f"made the former {self._home} the branch {branch}; nothing was copied")

    # The branch

    def _make_branch(self) -> None:
        branch = branch_name(self._home, 1)
        reading = self._read(self._home)
        if derive_tree(self._desired.vm, reading, LinkAbsent()).branches:
            return
        marks = dict(branch_properties(self._desired.vm, 1))
        if reading.dataset(branch) is None:
            self._zfs.create(branch, marks, canmount="on")
            self._say(f"created {branch}")
        else:
            self._zfs.set_properties(branch, marks)
            self._zfs.set_canmount(branch, "on")
        self._zfs.mount(branch)

    def _make_link(self, path: str) -> None:
        tree = self._tree(path)
        if isinstance(self._files.read_link(path), LinkAbsent) and len(tree.branches) == 1:
            only = tree.branches[0].facts.name.leaf
            self._files.switch_link(path, only)
            self._say(f"linked {path}/current to {only}")

    def _take_volumes(self, path: str, head: Branch) -> None:
        reading = self._read(self._home)
        there = []
        for disk in self._desired.volume_disks:
            volume = reading.dataset(head.facts.name.child(disk.name))
            if volume is None:
                continue
            there.append(disk.name)
            if properties.BRANCH not in volume.properties:
                marks = dict(branch_properties(self._desired.vm, head.number))
                self._zfs.set_properties(volume.name, marks)
                self._say(f"took {volume.name} as a disk")
        self._files.prepare(f"{path}/{head.facts.name.leaf}", head.facts.name, (), there)

    # The rest

    def _open_journal(self, path: str, clock: Callable[[], datetime]) -> None:
        journal = self._journal_at(path)
        if not journal.facts().exists and not self._tree(path).nodes:
            journal.append(Confirmed(at=properties.encode_time(clock()), by=self._by))

    def _ask_for_disks(self, path: str, head: Branch) -> None:
        place = f"{path}/{head.facts.name.leaf}"
        paths = [disk.path for disk in self._desired.file_disks]
        for name in self._files.missing(place, head.facts.name, paths, ()):
            self._say(f"next: put the disk image at {path}/current/{name}")
        names = [disk.name for disk in self._desired.volume_disks]
        for name in self._files.missing(place, head.facts.name, (), names):
            self._say(
                f"next: run 'zfs create -o volmode=dev -V SIZE {head.facts.name}/{name}',"
                f" then 'ckptree init {self._desired.vm}' again"
            )

    def _read(self, root: Dataset) -> Reading:
        reading = self._zfs.read([root])[root]
        if reading.gaps:
            gap = reading.gaps[0]
            raise CkptreeError(f"{gap.name} cannot be read: {gap.reason}")
        return reading

    def _facts(self, name: Dataset) -> DatasetFacts:
        facts = self._read(name).dataset(name)
        if facts is None:
            raise CkptreeError(f"{name} is gone again (is another program at work on it?)")
        return facts

    def _tree(self, path: str) -> Tree:
        return derive_tree(self._desired.vm, self._read(self._home), self._files.read_link(path))
