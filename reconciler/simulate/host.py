"""A whole host in memory: ZFS, the link, and who has the disks open, behind the same contracts as the real one.

The planner carries out on it what it has decided so far, a plan is rehearsed on it before it runs, and the
property tests crash it between any two steps.
"""

from collections.abc import Sequence

from reconciler.contracts.perform import Place, perform
from reconciler.errors import StepFailed
from reconciler.model.journal import Left
from reconciler.model.observed import (
    GuestState,
    Link,
    LinkTo,
    Observation,
    Running,
)
from reconciler.model.steps import Step, SwitchLink
from reconciler.names import Dataset
from reconciler.simulate.guest import MemoryGuest, memory_of, with_memory
from reconciler.simulate.zfs import MemoryZfs

_LINKS_COST = 8192  # bytes that new links to volumes write into a clone; any number but 0 would do


class MemoryFiles:
    """The files of one home in memory; implements ``contracts.files.Files``.

    ``guest_branch`` is the last component of the branch that the guest has open, ``absent`` names missing disks.
    """

    def __init__(self, zfs: MemoryZfs, link: Link, guest: GuestState) -> None:
        self.link = link
        self.guest = guest
        self.guest_branch: str | None = None
        self.absent: set[str] = set()
        self._zfs = zfs

    def copy(self, zfs: MemoryZfs) -> "MemoryFiles":
        """Copy it, on top of ZFS."""
        copied = MemoryFiles(zfs, self.link, self.guest)
        copied.guest_branch = self.guest_branch
        copied.absent = set(self.absent)
        return copied

    def read_link(self, home: str) -> Link:  # noqa: ARG002 - there is one home only
        """Read the link."""
        return self.link

    def switch_link(self, home: str, target: str) -> None:  # noqa: ARG002
        """Switch the link."""
        self.link = LinkTo(target)

    def missing(
        self,
        branch: str,  # noqa: ARG002
        dataset: Dataset,  # noqa: ARG002
        files: Sequence[str],
        volumes: Sequence[str],
    ) -> Sequence[str]:
        """Name the disks that were said to be absent."""
        return [name for name in (*files, *volumes) if name in self.absent]

    def prepare(
        self, branch: str, dataset: Dataset, files: Sequence[str], volumes: Sequence[str]
    ) -> None:
        """Write the links to the volumes."""
        absent = self.missing(branch, dataset, files, volumes)
        if absent:
            raise StepFailed(f"{dataset} has no {', '.join(absent)}")
        if volumes:
            self._zfs.write(dataset, self._zfs.content(dataset), _LINKS_COST)

    def memory_path(self, branch: str, dataset: Dataset, memory: str) -> str:  # noqa: ARG002
        """Name the dataset and the file: see ``simulate.guest``."""
        return f"{dataset}:{memory}"

    def prepare_memory(self, branch: str, dataset: Dataset, memory: str) -> None:
        """Remove what lies there."""
        self.drop_memory(branch, dataset, memory)

    def live_memory(self, branch: str, dataset: Dataset) -> Sequence[str]:  # noqa: ARG002
        """Name the files of RAM."""
        return tuple(sorted(memory_of(self._zfs.content(dataset))))

    def drop_memory(self, branch: str, dataset: Dataset, memory: str) -> None:  # noqa: ARG002
        """Remove the file of RAM."""
        content = self._zfs.content(dataset)
        files = dict(memory_of(content))
        if files.pop(memory, None) is not None:
            self._zfs.write(dataset, with_memory(content, files), _LINKS_COST)

    def link_disks(self, home: str, names: Sequence[str]) -> Sequence[str]:  # noqa: ARG002
        """Link nothing: these homes have no files of their own."""
        return ()

    def users(self, branches: Sequence[tuple[str, Dataset]], volumes: Sequence[str]) -> GuestState:  # noqa: ARG002
        """Tell the guest's state for the branch that it runs on; where that is not known, for every one."""
        if self.guest_branch in {None, *(dataset.leaf for _, dataset in branches)}:
            return self.guest
        return GuestState(Running.OFF)


class MemoryHost:
    """ZFS, files and guest of one VM's home, with what its journal would say of branches left."""

    def __init__(
        self, zfs: MemoryZfs, files: MemoryFiles, guest: MemoryGuest, place: Place
    ) -> None:
        self.zfs = zfs
        self.files = files
        self.guest = guest
        self.place = place
        self.left: dict[int, Left] = {}

    @classmethod
    def of(cls, observation: Observation) -> "MemoryHost":
        """Make a host on which OBSERVATION would be observed."""
        home = observation.reading.root
        zfs = MemoryZfs.from_readings([observation.reading])
        facts = observation.reading.dataset(home)
        path = (facts.mountpoint if facts is not None else None) or f"/{home}"
        files = MemoryFiles(zfs, observation.link, observation.guest)
        if observation.ability.managed and isinstance(observation.link, LinkTo):
            files.guest_branch = observation.link.target
        guest = MemoryGuest(zfs, files, observation.ability)
        return cls(zfs, files, guest, Place(observation.vm, home, path))

    def copy(self) -> "MemoryHost":
        """Copy it: what is done to the copy is not done to this one."""
        zfs = self.zfs.copy()
        files = self.files.copy(zfs)
        copied = MemoryHost(zfs, files, self.guest.copy(zfs, files), self.place)
        copied.left = dict(self.left)
        return copied

    def perform(self, step: Step) -> None:
        """Carry out STEP; raises as ``contracts.perform`` does."""
        perform(step, self.zfs, self.files, self.guest, self.place)
        if isinstance(step, SwitchLink) and step.before is not None and step.left is not None:
            left = self.zfs.read([step.before.name])[step.before.name].dataset(step.before.name)
            if left is not None:
                self.left[left.guid] = step.left
