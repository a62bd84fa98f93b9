"""The Python binding of libzfs_core: whether this host has a usable one, and how to call it.

It is imported only when asked for: most hosts and every development machine lack it. Two traps are
closed here: the package index has an abandoned pyzfs 0.2 that crashes the interpreter, and some
calls of the real one misread what they are given. What the calls are for is in ``by_core``.
"""

import importlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from reconciler.drivers.zfs.writer import Refused
from reconciler.errors import ZfsErrorKind, ZfsRefused

_OLDEST = 2  # the major version from which pyzfs is the one that comes with OpenZFS
_DEVICE = Path("/dev/zfs")
_INSTRUCTIONS = 50_000_000  # zfs-program(8): the limits of a program, well below the highest
_MEMORY = 50 << 20
_UPPER_HALF = 1 << 63

_KINDS = {
    "NoSpace": ZfsErrorKind.NO_SPACE,
    "QuotaExceeded": ZfsErrorKind.NO_SPACE,
    "WrongParent": ZfsErrorKind.INVALID,
    "PoolsDiffer": ZfsErrorKind.INVALID,
    "NotClone": ZfsErrorKind.NOT_A_CLONE,
    "ZCPPermissionError": ZfsErrorKind.PERMISSION,
    "PermissionError": ZfsErrorKind.PERMISSION,
    "DatasetExists": ZfsErrorKind.EXISTS,
    "FilesystemExists": ZfsErrorKind.EXISTS,
    "SnapshotExists": ZfsErrorKind.EXISTS,
    "ParentNotFound": ZfsErrorKind.NOT_FOUND,
    "DatasetNotFound": ZfsErrorKind.NOT_FOUND,
    "FilesystemNotFound": ZfsErrorKind.NOT_FOUND,
    "SnapshotNotFound": ZfsErrorKind.NOT_FOUND,
}
"""What the binding's exceptions mean where no later reading explains more."""


def available() -> str | None:
    """Tell why this host cannot write through pyzfs; none if it can."""
    try:
        version = importlib.metadata.version("pyzfs")
    except ImportError:
        return "pyzfs is not installed"
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < _OLDEST:
        return (
            f"pyzfs {version} is the abandoned one; the one of OpenZFS {_OLDEST} or later is needed"
        )
    try:
        module = _library()
    except (ImportError, OSError) as error:
        return f"pyzfs {version} cannot be loaded ({error})"
    if not hasattr(module, "lzc_channel_program"):
        return f"pyzfs {version} cannot run channel programs"
    if os.geteuid() != 0:
        return "channel programs need root"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} cannot be opened: is ZFS loaded?"
    try:
        module.lzc_exists(b"ckptree")
    except Exception as error:  # noqa: BLE001 - the binding's own errors have no common base
        return f"libzfs_core does not answer ({error})"
    return None


def call(function: str, *arguments: object) -> object:
    """Call FUNCTION of libzfs_core; raises Refused with what its error tells."""
    module = _library()
    operation: Callable[..., object] = getattr(module, function)
    try:
        return operation(*arguments)
    except (OSError, module.exceptions.ZFSError) as error:
        raise Refused(_explained(error), _kind(error)) from error


def run_program(pool: str, program: str, arguments: Sequence[str]) -> None:
    """Run one of ``programs/*.lua`` in a transaction group of its own.

    A program answers with nothing, or with the kind of its refusal, the object and a detail,
    divided by tabs. Raises ZfsRefused with those, or Refused if the program itself broke.
    """
    text = program_text(program)
    words = [argument.encode() for argument in arguments]
    module = _library()
    try:
        result = module.lzc_channel_program(pool.encode(), text, _INSTRUCTIONS, _MEMORY, words)
    except (OSError, module.exceptions.ZFSError) as error:
        raise Refused(_explained(error), _kind(error)) from error
    refused_by_program(result.decode() if result else "")


def refused_by_program(answer: str) -> None:
    """Raise ZfsRefused if the ANSWER of a program is a refusal."""
    if answer:
        kind, target, detail = answer.split("\t")
        raise ZfsRefused(ZfsErrorKind(kind), target, detail)


@cache
def program_text(name: str) -> bytes:
    """Read ``programs/NAME.lua``."""
    return files("reconciler.drivers.zfs").joinpath("programs", f"{name}.lua").read_bytes()


def signed(guid: int | None) -> str:
    """Write a guid as a program sees it: Lua's numbers are signed; empty where there is none."""
    if guid is None:
        return ""
    return str(guid - 2 * _UPPER_HALF if guid >= _UPPER_HALF else guid)


@cache
def _library() -> ModuleType:
    return importlib.import_module("libzfs_core")


def _kind(error: Exception) -> ZfsErrorKind | None:
    """Find the one kind of an error, or of all the errors that it bundles."""
    bundled = getattr(error, "errors", None) or [error]
    kinds = {_KINDS.get(type(one).__name__) for one in bundled}
    return kinds.pop() if len(kinds) == 1 else None


def _explained(error: Exception) -> str:
    details = getattr(error, "details", None)
    if isinstance(details, bytes):
        details = details.decode("utf-8", "replace")
    return f"{error}: {details}" if details else str(error)
