"""Which program a name stands for now: what a host's hypervisor is, asked once as long as its file stays the same.

A digest of a big file and a look at what a program says of itself are dear, and a host has many guests.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from reconciler.drivers.command import find

_DIGEST_LENGTH = 12  # hexadecimal digits

Stamp = tuple[int, ...]


def digest_of(program: str) -> str:
    """Tell a digest of the file that PROGRAM, a name or an absolute path, is found in; raises OSError."""
    path = find(program)
    return _digest(path, stamp_of(path))


def stamp_of(path: str) -> Stamp:
    """Tell what changes when the file at PATH is another one; a cache that is given it forgets the old one."""
    status = Path(path).stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: str, stamp: Stamp) -> str:  # noqa: ARG001
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGEST_LENGTH]
