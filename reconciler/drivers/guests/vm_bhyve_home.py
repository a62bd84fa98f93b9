"""The files of a vm-bhyve guest in its home: what goes back there when its dataset becomes a branch.

vm-bhyve finds a guest by ``<guest>/<guest>.conf`` and keeps logs, locks and scripts beside it: they describe the
guest and are no part of a checkpoint. Everything here can be done again after a crash. What is moved, and why, is
``execute.vm_bhyve_init``'s to decide.
"""

import filecmp
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from reconciler.drivers.storage import sync_directory

UEFI_VARIABLES = "uefi-vars.fd"
"""The firmware's variables in a guest's directory (``vm::uefi`` in lib/vm-run)."""
_UEFI_TEMPLATE = Path("/usr/local/share/uefi-firmware/BHYVE_UEFI_VARS.fd")


def move_back(branch: Path, home: Path, but: Collection[str]) -> tuple[list[str], list[str]]:
    """Move everything in BRANCH to HOME except the names in BUT.

    Tells what was moved, and what was left: HOME has something else of that name, or it is no file that can be
    copied (a socket). Each file is complete in HOME and on stable storage before it leaves BRANCH. Raises OSError.
    """
    moved: list[str] = []
    left: list[str] = []
    for source in sorted(branch.iterdir()):
        if source.name not in but:
            (moved if _move(source, home / source.name) else left).append(source.name)
    sync_directory(branch)
    return moved, left


def move_file(source: Path, target: Path) -> bool:
    """Move one file to another file system; false, and nothing is done, if TARGET is there and differs."""
    moved = _move(source, target)
    sync_directory(source.parent)
    return moved


def make_uefi_variables(branch: Path) -> bool:
    """Put the firmware's empty variables into BRANCH, as vm-bhyve does before a first start.

    Tells whether it did: there are some already, or the firmware is not installed.
    """
    target = branch / UEFI_VARIABLES
    if os.path.lexists(target) or not _UEFI_TEMPLATE.is_file():
        return False
    _copy(_UEFI_TEMPLATE, target)
    return True


def _move(source: Path, target: Path) -> bool:
    mode = source.lstat().st_mode
    if stat.S_ISDIR(mode):
        target.mkdir(exist_ok=True)
        left = [
            child for child in sorted(source.iterdir()) if not _move(child, target / child.name)
        ]
        _copy_owner(source, target)
        sync_directory(target.parent)
        if not left:
            source.rmdir()
        return not left
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        return False
    if not os.path.lexists(target):
        _copy(source, target)
    elif not _same(source, target):
        return False
    source.unlink()
    return True


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.ckptree-new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    shutil.copyfile(source, fresh, follow_symlinks=False)
    _copy_owner(source, fresh)
    if not fresh.is_symlink():
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
    fresh.rename(target)
    sync_directory(target.parent)


def _copy_owner(source: Path, target: Path) -> None:
    facts = source.lstat()
    os.chown(target, facts.st_uid, facts.st_gid, follow_symlinks=False)
    shutil.copystat(
        source, target, follow_symlinks=False
    )  # after chown(2), which clears set-user-id


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return other.is_file() and filecmp.cmp(one, other, shallow=False)
