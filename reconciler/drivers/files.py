"""The files of a home for real: the link, the disks of a branch, the links to volumes.

Knows nothing of checkpoints and starts no process; ``drivers.users`` tells who has a disk open.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from reconciler.drivers.storage import sync_directory
from reconciler.drivers.users import OpenFiles, find_users
from reconciler.errors import ObservationFailed, StepFailed
from reconciler.model.observed import GuestState, Link, LinkAbsent, LinkTo, LinkUnknown
from reconciler.model.properties import MEMORY_BESIDE, MEMORY_FOLDER, MEMORY_SUFFIX
from reconciler.names import Dataset

LINK = "current"
_DEVICES = Path("/dev/zvol")
_DEVICE_SECONDS = 30.0
"""How long the node of a new volume may take: udev makes it later than ZFS returns, FreeBSD within 10 ms."""
_BLINK_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class RealFiles:
    """Implements ``contracts.files.Files`` on this machine's file system; OPEN_FILES may be known already."""

    def __init__(self, open_files: OpenFiles | None = None) -> None:
        self._open_files = open_files

    def read_link(self, home: str) -> Link:
        """Read the link as the contract says."""
        try:
            return LinkTo(str(Path(home, LINK).readlink()))
        except FileNotFoundError:
            return LinkAbsent() if Path(home).is_dir() else LinkUnknown(f"{home} is not there")
        except OSError as error:
            if os.path.lexists(f"{home}/{LINK}"):
                return LinkUnknown(f"{home}/{LINK} is not a symbolic link (move it out of the way)")
            return LinkUnknown(f"{home}/{LINK}: {error.strerror}")

    def switch_link(self, home: str, target: str) -> None:
        """Switch the link as the contract says."""
        _replace_link(Path(home, LINK), target)

    def missing(
        self, branch: str, dataset: Dataset, files: Sequence[str], volumes: Sequence[str]
    ) -> Sequence[str]:
        """Name missing disks as the contract says."""
        absent = [path for path in files if not _is_disk(branch, path)]
        absent += [
            name
            for name in volumes
            if _target(Path(branch, name)) != str(_device(dataset, name))
            or not os.path.lexists(_device(dataset, name))
        ]
        return absent

    def prepare(
        self, branch: str, dataset: Dataset, files: Sequence[str], volumes: Sequence[str]
    ) -> None:
        """Make a branch ready as the contract says."""
        for name in volumes:
            link, device = Path(branch, name), _device(dataset, name)
            if _target(link) != str(device):
                _replace_link(link, str(device))
        _wait_for([_device(dataset, name) for name in volumes], _DEVICE_SECONDS)
        absent = self.missing(branch, dataset, files, volumes)
        if absent:
            raise StepFailed(
                f"{dataset} has no {', '.join(absent)}; the file names it under 'disks'"
            )
        sealed = [path for path in files if not os.access(Path(branch, path), os.W_OK)]
        if sealed:
            # bhyve would open such a disk read-only without a word.
            raise StepFailed(f"{', '.join(sealed)} of {dataset} cannot be written")

    def memory_path(self, branch: str, dataset: Dataset, memory: str) -> str:  # noqa: ARG002
        """Tell the path of RAM as the contract says."""
        return f"{branch}/{memory}"

    def prepare_memory(self, branch: str, dataset: Dataset, memory: str) -> None:
        """Make the folder for RAM as the contract says."""
        _require_mounted(branch, dataset)
        folder = Path(branch, memory).parent
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            sync_directory(folder.parent)
        except OSError as error:
            raise StepFailed(f"{folder} cannot be made: {error.strerror}") from error
        self.drop_memory(branch, dataset, memory)

    def live_memory(self, branch: str, dataset: Dataset) -> Sequence[str]:
        """Name the files of RAM as the contract says."""
        folder = Path(branch, MEMORY_FOLDER)
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ObservationFailed(f"{folder} of {dataset}: {error.strerror}") from error
        found = (
            name for name in names if name.endswith(MEMORY_SUFFIX) and not name.startswith(".")
        )
        return tuple(f"{MEMORY_FOLDER}/{name}" for name in found)

    def drop_memory(self, branch: str, dataset: Dataset, memory: str) -> None:
        """Remove files of RAM as the contract says."""
        _require_mounted(branch, dataset)
        folder, name = Path(branch, memory).parent, Path(memory).name
        if not folder.is_dir():
            return
        there = [folder / f"{name}{suffix}" for suffix in ("", *MEMORY_BESIDE)]
        there = [path for path in there if os.path.lexists(path)]
        try:
            for path in there:
                path.unlink()
            if there:
                sync_directory(folder)
        except OSError as error:
            raise StepFailed(f"{folder}/{name} cannot be removed: {error.strerror}") from error

    def link_disks(self, home: str, names: Sequence[str]) -> Sequence[str]:
        """Link the disks of the home as the contract says."""
        made = []
        for name in names:
            path, target = Path(home, name), f"{LINK}/{name}"
            if "/" not in name and not os.path.lexists(path):
                _replace_link(path, target)
                made.append(name)
        return made

    def users(self, branches: Sequence[tuple[str, Dataset]], volumes: Sequence[str]) -> GuestState:
        """Find users as the contract says."""
        devices = [_device(dataset, name) for _, dataset in branches for name in volumes]
        mounts = [Path(path) for path, _ in branches if os.path.ismount(path)]
        return find_users(mounts, _wait_for(devices, _BLINK_SECONDS), self._open_files)


def _is_disk(branch: str, path: str) -> bool:
    """Whether PATH is a file of the branch's own: one elsewhere would not be in its snapshots."""
    try:
        real = Path(branch, path).resolve(strict=True)
        root = Path(branch).resolve(strict=True)
        own = real.is_relative_to(root) and real.stat().st_dev == root.stat().st_dev
        return own and real.is_file()
    except OSError:
        return False


def _require_mounted(branch: str, dataset: Dataset) -> None:
    """Refuse to write into the folder that a branch which is not mounted leaves to its home."""
    if not os.path.ismount(branch):
        raise StepFailed(f"{dataset} is not mounted at {branch}")


def _device(dataset: Dataset, name: str) -> Path:
    return _DEVICES / dataset / name


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


def _replace_link(link: Path, target: str) -> None:
    """Point LINK at TARGET by one rename(2), and put that on stable storage."""
    fresh = link.with_name(f".{link.name}.ckptree-new")
    try:
        if link.exists() and not link.is_symlink():
            raise StepFailed(f"{link} is in the way and is no symbolic link (move it away)")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.rename(link)
        sync_directory(link.parent)
    except OSError as error:
        raise StepFailed(f"{link} could not be pointed at {target}: {error.strerror}") from error


def _wait_for(devices: Sequence[Path], seconds: float) -> list[Path]:
    """Wait until all DEVICES have been there twice in a row, SECONDS at most; gives those that are there then.

    Twice, because udev takes a link away and puts it back while it looks at a new volume.
    """
    deadline = time.monotonic() + seconds
    before: list[Path] = []
    while True:
        there = [device for device in devices if device.exists()]
        if len(there) == len(before) == len(devices) or time.monotonic() > deadline:
            return there
        before = there
        time.sleep(_LOOK_SECONDS)
