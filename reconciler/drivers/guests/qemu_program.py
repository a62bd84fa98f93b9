"""Which QEMU a program is: RAM that one has saved is resumed only by the very same one.

Used by ckptree (``qemu``) for the QEMU that would be started now and by the keeper for the one that it did start: an
upgrade of the host's packages may come between the two.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from reconciler.drivers.command import find, run
from reconciler.drivers.guests.qemu_definition import Definition

_DIGEST_LENGTH = 12  # hexadecimal digits
_VERSION_SECONDS = 30.0
_GREETING = "QEMU emulator version "


def version_of(program: str) -> str:
    """Tell what PROGRAM (an absolute path) says it is; raises CommandFailed or OSError."""
    return _version(program, _stamp(program))


def digest_of(program: str) -> str:
    """Tell a digest of the file that PROGRAM, a name or an absolute path, is found in; raises OSError."""
    path = find(program)
    return _digest(path, _stamp(path))


def topology_of(definition: Definition, digest: str) -> str:
    """Put into one word what a running guest was started with, and in which QEMU."""
    return f"{definition.digest}-{digest}"


def _stamp(path: str) -> tuple[int, ...]:
    status = Path(path).stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


# The stamp makes these forget a program that is no longer the same file.


@lru_cache(maxsize=16)
def _version(path: str, stamp: tuple[int, ...]) -> str:  # noqa: ARG001
    first, _, _ = run([path, "--version"], timeout=_VERSION_SECONDS).stdout.partition("\n")
    return first.removeprefix(_GREETING).strip()


@lru_cache(maxsize=16)
def _digest(path: str, stamp: tuple[int, ...]) -> str:  # noqa: ARG001
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGEST_LENGTH]
