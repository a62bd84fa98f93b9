"""A host in memory with many VMs, as the daemon sees one: documents in a folder, everything else simulated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from reconciler.contracts.perform import Place
from reconciler.daemon.host import Observed
from reconciler.drivers.guests.unmanaged import UnmanagedGuest
from reconciler.errors import ObservationFailed
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import Confirmed
from reconciler.model.observed import GuestState, HostIdentity, LinkTo, Observation, Running
from reconciler.model.plan import Restraint
from reconciler.model.tree import Tree, derive_tree
from reconciler.names import Dataset, VmName
from reconciler.observe.observer import observe
from reconciler.simulate.hooks import MemoryHooks
from reconciler.simulate.host import MemoryFiles
from reconciler.simulate.zfs import MemoryZfs
from reconciler.source.contract import Refreshed
from tests.support.world import IDENTITY, MemoryJournal


class LockedJournal(MemoryJournal):
    """A journal in memory whose lock is one."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:  # noqa: ARG002
        with self.lock:
            yield


class Folder:
    """Implements ``source.contract.Source`` on a folder that a test writes."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.place = str(path)
        self.revision: str | None = None
        self.problem = ""
        self.restraint = Restraint()
        self.refreshed = 0

    def restraint_of(self, revision: str | None) -> Restraint:
        assert revision == self.revision, "documents and restraint are of the same revision"
        return self.restraint

    def refresh(self) -> Refreshed:
        self.refreshed += 1
        return Refreshed(changed=False)

    def write(self, vm: str, checkpoints: str, *keys: str) -> None:
        """Write the document of VM, with CHECKPOINTS in flow style."""
        assert self.path is not None
        lines = [
            f"vm: {vm}",
            f"dataset: tank/{vm}",
            "disks: [disk0.img]",
            f"checkpoints: {checkpoints}",
        ]
        (self.path / f"{vm}.yaml").write_text("\n".join([*lines, *keys]) + "\n")


class MemoryHost:
    """Implements ``daemon.loop.LookedAt`` for the VMs NAMES, each with a home and a first branch."""

    def __init__(self, names: Sequence[str]) -> None:
        self.identity: HostIdentity = IDENTITY
        self.zfs = MemoryZfs()
        self.zfs.add_pool("tank")
        self.files: dict[str, MemoryFiles] = {}
        self.journals: dict[str, LockedJournal] = {}
        self.observed: list[tuple[str, ...]] = []
        self.unreadable = False
        for name in names:
            home = Dataset(f"tank/{name}")
            ours = {"ckptree:vm": name, "ckptree:owner": IDENTITY.host_id}
            self.zfs.create(home, ours, canmount="on")
            branch = {"ckptree:vm": name, "ckptree:branch": "1"}
            self.zfs.create(home.child("b-1"), branch, canmount="on")
            for dataset in (home, home.child("b-1")):
                self.zfs.mount(dataset)
            self.files[name] = MemoryFiles(self.zfs, LinkTo("b-1"), GuestState(Running.OFF))
            self.journals[name] = LockedJournal()
            self.journals[name].append(Confirmed(at="", by="init"))

    def observe(self, vms: Sequence[DesiredVm]) -> tuple[Observed, ...]:
        self.observed.append(tuple(vm.vm for vm in vms))
        if self.unreadable:
            raise ObservationFailed("the pool does not answer")
        return tuple(Observed(vm, hands := self.hands(vm), self._look(vm, hands)) for vm in vms)

    def hands(self, vm: DesiredVm) -> Hands:
        place = Place(vm.vm, vm.dataset, f"/{vm.dataset}")
        files, journal = self.files[vm.vm], self.journals[vm.vm]
        return Hands(self.zfs, files, UnmanagedGuest(vm), journal, place, MemoryHooks())

    def released(self, vms: Sequence[DesiredVm]) -> dict[Dataset, str]:
        described = {vm.dataset for vm in vms}
        homes = (Dataset(f"tank/{name}") for name in self.files)
        return {home: str(home.leaf) for home in homes if home not in described}

    def tree(self, vm: str) -> Tree:
        home = Dataset(f"tank/{vm}")
        return derive_tree(VmName(vm), self.zfs.read([home])[home], self.files[vm].link)

    def nodes(self, vm: str) -> set[str]:
        """The checkpoints that VM has."""
        return {str(name) for name in self.tree(vm).nodes}

    def _look(self, vm: DesiredVm, hands: Hands) -> Observation:
        return observe(vm, hands.zfs, hands.files, hands.guest, hands.journal, self.identity)
