"""Find the processes that have something of a mounted branch or a volume open.

On Linux from proc(5), elsewhere with fuser(1), which POSIX specifies and FreeBSD has in base. What cannot be seen
for want of privilege is unknown, not absent.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from reconciler.drivers.command import run
from reconciler.errors import CommandFailed
from reconciler.model.observed import GuestState, Running

_PROCESSES = Path("/proc")
_FUSER_SECONDS = 30.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Open:
    """Something that a process has open: WHO that is, the DEVICE it lies on and the one that it is (NODE), its PATH."""

    who: str
    device: int | None
    node: int | None
    path: str


class OpenFiles:
    """All that the processes of this host have open, looked at once, when it is first asked for.

    For a look at many VMs, one after the other; for a decision about one it must be made anew.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: tuple[list[_Open], bool] | None = None

    def known(self) -> tuple[list[_Open], bool]:
        """Give all of them, and whether there are processes that cannot be seen."""
        with self._lock:
            if self._found is None:
                self._found = _look_into_proc()
            return self._found


def find_users(
    mounts: Sequence[Path], devices: Sequence[Path], files: OpenFiles | None = None
) -> GuestState:
    """Tell whether any other process has a file below MOUNTS, or one of DEVICES, open; FILES may be known already."""
    if not mounts and not devices:
        return GuestState(Running.OFF)
    if sys.platform.startswith("linux"):
        return _find_in_proc(mounts, devices, files or OpenFiles())
    return _find_with_fuser(mounts, devices)


def _find_in_proc(mounts: Sequence[Path], devices: Sequence[Path], files: OpenFiles) -> GuestState:
    filesystems = {mount.stat().st_dev for mount in mounts}
    nodes = {device.stat().st_rdev for device in devices}
    everything, hidden = files.known()
    found: dict[str, str] = {}
    for one in everything:
        # The device of a dead network file, for example, is not known; the name must do.
        below = one.device is None and any(one.path.startswith(f"{mount}/") for mount in mounts)
        if below or one.device in filesystems or one.node in nodes:
            found.setdefault(one.who, one.path)
    if found:
        return GuestState(
            Running.RUNNING, _some([f"{who} has {path} open" for who, path in found.items()])
        )
    if hidden:
        return GuestState(
            Running.UNKNOWN, "the processes of other users cannot be seen; run as root"
        )
    return GuestState(Running.OFF)


def _look_into_proc() -> tuple[list[_Open], bool]:
    found: list[_Open] = []
    hidden = False
    for process in _PROCESSES.iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            found += _opened_by(process)
        except PermissionError:
            hidden = True
        except OSError:
            continue  # the process has ended
    return found, hidden


def _opened_by(process: Path) -> list[_Open]:
    found = []
    who = f"{_name(process)} (pid {process.name})"
    for entry in (*(process / "fd").iterdir(), process / "cwd"):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if not target.startswith("/"):
            continue  # a pipe, a socket: no file system to ask
        try:
            facts = entry.stat()
        except OSError:
            found.append(_Open(who, None, None, target))
        else:
            found.append(_Open(who, facts.st_dev, facts.st_rdev, target))
    return found


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
