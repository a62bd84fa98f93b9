"""Find the processes that have something of a mounted branch or a volume open.

On Linux from proc(5), elsewhere with fuser(1), which POSIX specifies and FreeBSD has in base. What cannot be seen
for want of privilege is unknown, not absent.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.drivers.command import run
from reconciler.errors import CommandFailed
from reconciler.model.observed import GuestState, Running

_PROCESSES = Path("/proc")
_FUSER_SECONDS = 30.0
_SHOWN = 3


def find_users(mounts: Sequence[Path], devices: Sequence[Path]) -> GuestState:
    """Tell whether any other process has a file below MOUNTS, or one of DEVICES, open."""
    if not mounts and not devices:
        return GuestState(Running.OFF)
    if sys.platform.startswith("linux"):
        return _find_in_proc(mounts, devices)
    return _find_with_fuser(mounts, devices)


def _find_in_proc(mounts: Sequence[Path], devices: Sequence[Path]) -> GuestState:
    filesystems = {mount.stat().st_dev: mount for mount in mounts}
    nodes = {device.stat().st_rdev: device for device in devices}
    found: list[str] = []
    hidden = False
    for process in _PROCESSES.iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            used = next(_uses(process, filesystems, nodes), None)
        except PermissionError:
            hidden = True
            continue
        except OSError:
            continue  # the process has ended
        if used is not None:
            found.append(f"{_name(process)} (pid {process.name}) has {used} open")
    if found:
        return GuestState(Running.RUNNING, _some(found))
    if hidden:
        return GuestState(
            Running.UNKNOWN, "the processes of other users cannot be seen; run as root"
        )
    return GuestState(Running.OFF)


def _uses(process: Path, filesystems: dict[int, Path], nodes: dict[int, Path]) -> Iterator[str]:
    for entry in (*(process / "fd").iterdir(), process / "cwd"):
        try:
            target = str(entry.readlink())
            if not target.startswith("/"):
                continue  # a pipe, a socket: no file system to ask
        except FileNotFoundError:
            continue
        try:
            facts = entry.stat()
        except OSError:  # a dead network file, for example; the name must do
            if any(target.startswith(f"{mount}/") for mount in filesystems.values()):
                yield target
            continue
        if facts.st_dev in filesystems or facts.st_rdev in nodes:
            yield target


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"


def _find_with_fuser(mounts: Sequence[Path], devices: Sequence[Path]) -> GuestState:
    found: list[str] = []
    try:
        for mount in mounts:
            found += _fuser(["-c", str(mount)], mount)
        for device in devices:
            found += _fuser([str(device)], device)
    except CommandFailed as error:
        return GuestState(Running.UNKNOWN, str(error))
    if found:
        return GuestState(Running.RUNNING, _some(found))
    if os.geteuid() != 0:
        return GuestState(
            Running.UNKNOWN, "the processes of other users cannot be seen; run as root"
        )
    return GuestState(Running.OFF)


def _fuser(arguments: list[str], what: Path) -> list[str]:
    pids = re.findall(r"[0-9]+", run(["fuser", *arguments], timeout=_FUSER_SECONDS).stdout)
    return [f"pid {pid} uses {what}" for pid in pids if int(pid) != os.getpid()]


def _some(found: list[str]) -> str:
    more = len(found) - _SHOWN
    return "; ".join(found[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
