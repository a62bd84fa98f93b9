"""Which QEMU a program is: RAM that one has saved is resumed only by the very same one.

Used by ckptree (``qemu``) for the QEMU that would be started now and by the keeper for the one that it did start: an
upgrade of the host's packages may come between the two.
"""

from functools import lru_cache

from reconciler.drivers.command import run
from reconciler.drivers.guests.program_file import Stamp, stamp_of
from reconciler.drivers.guests.qemu_definition import Definition

_VERSION_SECONDS = 30.0
_GREETING = "QEMU emulator version "


def version_of(program: str) -> str:
    """Tell what PROGRAM (an absolute path) says it is; raises CommandFailed or OSError."""
    return _version(program, stamp_of(program))


def topology_of(definition: Definition, digest: str) -> str:
    """Put into one word what a running guest was started with, and in which QEMU."""
    return f"{definition.digest}-{digest}"


@lru_cache(maxsize=16)
def _version(path: str, stamp: Stamp) -> str:  # noqa: ARG001
    first, _, _ = run([path, "--version"], timeout=_VERSION_SECONDS).stdout.partition("\n")
    return first.removeprefix(_GREETING).strip()
