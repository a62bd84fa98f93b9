"""A guest in memory, behind the same contract as the real ones: its RAM is a text that is saved and resumed.

The RAM that a checkpoint kept lies in the content of its branch, as the files of a real one do, so that snapshots
and clones take it along. ``write_disk`` and ``disk_of`` are for whoever looks at disks alone.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from reconciler.errors import StepFailed
from reconciler.model.observed import Ability, GuestState, Link, LinkTo, Running
from reconciler.names import Dataset
from reconciler.simulate.zfs import MemoryZfs

RESUMED = "resumed"
_FILES = "\n#memory "


class Holder(Protocol):
    """Whoever knows whether the guest runs, and on which branch: the files of the simulated home."""

    link: Link
    guest: GuestState
    guest_branch: str | None


def disk_of(content: str) -> str:
    """What the disk of a dataset with CONTENT has, without files of RAM."""
    return content.partition(_FILES)[0]


def memory_of(content: str) -> Mapping[str, str]:
    """The files of RAM of a dataset with CONTENT: what each has, by its name."""
    _, found, text = content.partition(_FILES)
    files: dict[str, str] = json.loads(text) if found else {}
    return files


def with_memory(content: str, files: Mapping[str, str]) -> str:
    """Write CONTENT anew with FILES as its files of RAM."""
    disk = disk_of(content)
    return f"{disk}{_FILES}{json.dumps(dict(files), sort_keys=True)}" if files else disk


class MemoryHold:
    """Implements ``contracts.guest.Hold``."""

    def __init__(self) -> None:
        self.ended = False

    def end(self) -> None:
        """End the guest."""
        self.ended = True


class MemoryGuest:
    """Implements ``contracts.guest.Guest`` on FILES, which know whether the guest runs, and ZFS, which has its RAM.

    Paths of memory files are ``DATASET:NAME`` here. ``ram`` is what the guest has in RAM while it runs.
    """

    def __init__(self, zfs: MemoryZfs, files: Holder, ability: Ability) -> None:
        self.ability = ability
        self.ram = ""
        self._zfs = zfs
        self._files = files

    def copy(self, zfs: MemoryZfs, files: Holder) -> "MemoryGuest":
        """Copy it, on top of ZFS and FILES."""
        copied = MemoryGuest(zfs, files, self.ability)
        copied.ram = self.ram
        return copied

    @property
    def name(self) -> str:
        """The name of this hypervisor."""
        return "simulated"

    def probe(self) -> Ability:
        """Tell what it was made with."""
        return self.ability

    def state(self) -> GuestState:
        """Tell what the files know."""
        return self._files.guest

    @contextmanager
    def frozen(self, memory: str) -> Iterator[MemoryHold]:
        """Save the RAM into the branch."""
        if self._files.guest.running is not Running.RUNNING or not self.ability.memory:
            raise StepFailed("the guest cannot be frozen")
        self._write(memory, self.ram)
        hold = MemoryHold()
        yield hold
        if hold.ended:
            self._files.guest = GuestState(Running.OFF)

    def stop(self, *, now: bool) -> None:  # noqa: ARG002 - it always obeys at once
        """Stop."""
        if self._files.guest.running is Running.OFF:
            return
        if not self.ability.managed:
            raise StepFailed("the guest is not ckptree's to stop")
        self._files.guest = GuestState(Running.OFF)

    def tidy(self) -> None:
        """Leave it as it is: nothing lies beside it."""

    def start(self, memory: str | None = None) -> None:
        """Start, from the RAM in MEMORY if given, which is used up by it."""
        if not self.ability.managed or self._files.guest.running is not Running.OFF:
            raise StepFailed("the guest cannot be started")
        self.ram = "" if memory is None else self._take(memory)
        self._files.guest = GuestState(Running.RUNNING, "simulated")
        link = self._files.link
        self._files.guest_branch = link.target if isinstance(link, LinkTo) else None

    def _write(self, memory: str, ram: str) -> None:
        dataset, files = self._look(memory)
        content = self._zfs.content(dataset)
        name = memory.partition(":")[2]
        self._zfs.write(dataset, with_memory(content, {**files, name: ram}), 4096)

    def _take(self, memory: str) -> str:
        dataset, files = self._look(memory)
        left = dict(files)
        name = memory.partition(":")[2]
        if name not in left:
            # A plan that is tried out knows what will be there, and not what it has in it.
            return ""
        ram = left.pop(name)
        self._zfs.write(dataset, with_memory(self._zfs.content(dataset), left), 0)
        return ram

    def _look(self, memory: str) -> tuple[Dataset, Mapping[str, str]]:
        dataset = Dataset(memory.partition(":")[0])
        return dataset, memory_of(self._zfs.content(dataset))
