"""This host for real: who it is, its ZFS, and for each VM the hands to work with and what is observed.

Decides nothing. ``cli.session`` and the loop both work through it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.contracts.journal import Journal
from reconciler.contracts.perform import Place
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import HostIdentity, Observation
from reconciler.names import Dataset

if TYPE_CHECKING:
    from reconciler.contracts.zfs import Zfs

_GUESTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Observed:
    """One VM: its document, the hands for it, and what was observed."""

    desired: DesiredVm
    hands: Hands
    observation: Observation


class Host:
    """A host with its IDENTITY, on ZFS; SAY is told in a sentence when a VM's lock has to be waited for."""

    def __init__(self, zfs: "Zfs", identity: HostIdentity, say: Callable[[str], None]) -> None:
        self.identity = identity
        self._zfs = zfs
        self._say = say

    def observe(self, vms: Sequence[DesiredVm]) -> tuple[Observed, ...]:
        """Observe VMS with one reading of all their homes, and several guests at once: any of them may be slow."""
        from reconciler.drivers.files import RealFiles
        from reconciler.drivers.users import OpenFiles
        from reconciler.observe.observer import observe, read_homes, read_pools

        readings = read_homes(vms, self._zfs)
        pools = read_pools(readings, self._zfs)
        files = RealFiles(OpenFiles())

        def look(vm: DesiredVm) -> Observed:
            reading = readings[vm.dataset]
            home = reading.dataset(vm.dataset)
            hands = self._hands(vm, home.mountpoint if home is not None and home.mounted else None)
            seen = observe(
                vm,
                hands.zfs,
                files,
                hands.guest,
                hands.journal,
                self.identity,
                reading,
                pools.get(vm.dataset),
            )
            return Observed(vm, hands, seen)

        if len(vms) == 1:
            return (look(vms[0]),)
        with ThreadPoolExecutor(_GUESTS_AT_ONCE) as executor:
            return tuple(executor.map(look, vms))

    def hands(self, vm: DesiredVm) -> Hands:
        """Make the hands for VM."""
        return self._hands(vm, self._zfs.mounted_at(vm.dataset))

    def released(self, vms: Sequence[DesiredVm]) -> dict[Dataset, str]:
        """The homes on this host that none of VMS describes, with the names of their VMs. Raises ObservationFailed."""
        described = {vm.dataset for vm in vms}
        return {home: name for home, name in self._zfs.homes().items() if home not in described}

    def _hands(self, vm: DesiredVm, path: str | None) -> Hands:
        from reconciler.drivers.files import RealFiles
        from reconciler.drivers.guests.choose import guest_of
        from reconciler.drivers.hooks import RealHooks
        from reconciler.drivers.journal import FileJournal, NoJournal

        def waiting(text: str) -> None:
            self._say(f"{vm.vm}: {text}")

        journal: Journal = NoJournal(f"{vm.dataset} is not mounted")
        if path is not None:
            journal = FileJournal(path, waiting)
        place = Place(vm.vm, vm.dataset, path or f"/{vm.dataset}")
        guest = guest_of(vm, place.path)
        return Hands(self._zfs, RealFiles(), guest, journal, place, RealHooks())
