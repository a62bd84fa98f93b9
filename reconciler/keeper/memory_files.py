"""The files that hold a guest's RAM: made durable, renamed before anything resumes them, removed.

The files at MEMORY are the one of that name and those that a hypervisor may put beside it (``base.ckp``,
``base.ckp.kern``, ``base.ckp.meta``; ``model.properties``). What is inside them is the hypervisors' business.
"""

import os
from contextlib import suppress
from pathlib import Path

from reconciler.drivers.storage import sync_directory
from reconciler.errors import StepFailed
from reconciler.model.properties import MEMORY_BESIDE, RESUMED


def consume(memory: str) -> str:
    """Give the files at MEMORY their last name, for good, and tell it; raises StepFailed: nothing was renamed.

    A second start can never find them again, whatever happens to the first. The main file is renamed first: without
    it the others are worth nothing.
    """
    target = Path(memory).with_name(RESUMED)
    if Path(memory) == target:
        raise StepFailed(f"{memory} cannot be resumed: something has done that already")
    try:
        if not Path(memory).is_file():
            raise FileNotFoundError(2, "there is no such file")
        for left in _files(str(target)):
            left.unlink()
        for path in _files(memory):
            path.rename(target.with_name(RESUMED + path.name.removeprefix(Path(memory).name)))
        sync_directory(target.parent)
    except OSError as error:
        raise StepFailed(f"{memory} cannot be resumed: {error.strerror}") from error
    return str(target)


def discard(memory: str) -> None:
    """Remove the files at MEMORY as far as they are there and can be removed; never raises."""
    for path in _files(memory):
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):
        sync_directory(Path(memory).parent)


def settle(memory: str) -> None:
    """Make the files at MEMORY private and put them, and their names, on stable storage; raises StepFailed."""
    try:
        for path in _files(memory):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, 0o600)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(memory).parent)
    except OSError as error:
        raise StepFailed(f"{memory} cannot be put on stable storage: {error.strerror}") from error


def ensure_fresh(memory: str, longest: int) -> None:
    """Refuse a path that a hypervisor would overwrite, or that is longer than LONGEST bytes; raises StepFailed."""
    if len(os.fsencode(memory)) > longest:
        raise StepFailed(
            f"{memory} is longer than the hypervisor can take ({longest} bytes); give the home a shorter mountpoint"
        )
    for path in _files(memory):
        raise StepFailed(f"{path} is there already and would be overwritten (remove it)")


def _files(memory: str) -> list[Path]:
    """The files at MEMORY that are there, the main one first."""
    names = (f"{memory}{suffix}" for suffix in ("", *MEMORY_BESIDE))
    return [Path(name) for name in names if os.path.lexists(name)]
