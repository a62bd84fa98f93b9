"""Where a guest's settings say that its disks are: through the home's link, or past it.

A restore switches the disks by switching the link. A guest whose settings name a branch itself would go on writing to
that branch afterwards: it is refused before anything is done. Reads words, and looks at links; what the settings of a
hypervisor mean is for ``qemu_definition`` and ``bhyve_definition`` to know.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reconciler.model.desired import Disk, FileDisk
from reconciler.names import Dataset, branch_number

LINK = "current"


@dataclass(frozen=True)
class DiskPaths:
    """The PATHS that a guest's settings name, as written there: relative to the folder HOME, or absolute."""

    home: str
    paths: tuple[str, ...]

    def misled(self, disks: Sequence[str], dataset: Dataset, where: str) -> str | None:
        """Tell which of DISKS, or which branch, is not named through the link; none if all is well.

        WHERE is what to call the settings, in the plural; DATASET is the home's.
        """
        for path in self.paths:
            branch = self._branch(path, dataset)
            if branch is not None:
                name = path.partition(f"{branch}/")[2]
                return f"{where} name the branch {branch} itself: {path} (write {LINK}/{name})"
        for disk in disks:
            if not self._named & {f"{LINK}/{disk}", disk}:
                return f"{where} do not name the disk {disk} through the link (write {LINK}/{disk})"
        return None

    def unlinked(self, disks: Sequence[str], where: str) -> str | None:
        """Tell which of DISKS is named as the home's own link (``ckptree init`` makes it), and is no such link."""
        for disk in disks:
            direct = disk in self._named and f"{LINK}/{disk}" not in self._named
            if direct and not _leads_to(Path(self.home, disk), f"{LINK}/{disk}"):
                return f"{self.home}/{disk} is no link to {LINK}/{disk} (write {LINK}/{disk} in {where})"
        return None

    def inside(self, path: str) -> str | None:
        """Give PATH relative to the home, none if it lies elsewhere or climbs out of a folder."""
        if ".." in path.split("/"):
            return None
        whole = posixpath.normpath(posixpath.join(self.home, path))
        return whole.removeprefix(f"{self.home}/") if whole.startswith(f"{self.home}/") else None

    @cached_property
    def _named(self) -> frozenset[str | None]:
        return frozenset(self.inside(path) for path in self.paths)

    def _branch(self, path: str, dataset: Dataset) -> str | None:
        inside, device = self.inside(path), f"/dev/zvol/{dataset}/"
        if inside is None and path.startswith(device):
            inside = path.removeprefix(device)
        first, slash, _ = (inside or "").partition("/")
        return first if slash and branch_number(first) is not None else None


def names_of(disks: Sequence[Disk]) -> tuple[str, ...]:
    """Under which names DISKS are reached in a branch."""
    return tuple(disk.path if isinstance(disk, FileDisk) else disk.name for disk in disks)


def _leads_to(link: Path, target: str) -> bool:
    try:
        return str(link.readlink()) == target
    except OSError:
        return False
