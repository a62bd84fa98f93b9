"""Find out whether a bhyve process serves a guest: by its socket, and by its title.

``/dev/vmm/NAME`` and the file of the socket prove nothing, both stay after a bhyve that was killed. The socket is
there only with BHYVE_SNAPSHOT; a process that resumes memory has neither socket nor title yet, but its arguments.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.drivers.command import run
from reconciler.errors import CommandFailed

SOCKETS = Path("/var/run/bhyve")
OBJECTS = Path("/dev/vmm")
_CONNECT_SECONDS = 5.0
_PS_SECONDS = 30.0
# On FreeBSD a header goes on to the end of the argument, commas and all: one option a column.
_LISTING = ("ps", "-axww", "-o", "pid=", "-o", "stat=", "-o", "command=")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has not ended: TITLE is its command line, or what it calls itself."""

    pid: int
    title: str


def listed() -> Iterator[Process]:
    """Find every process of this host; raises CommandFailed."""
    for line in run(_LISTING, timeout=_PS_SECONDS).stdout.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0].isdecimal() and not words[1].startswith("Z"):
            yield Process(int(words[0]), words[2].strip())


def answers(vm: str) -> bool:
    """Whether a bhyve accepts connections for VM. It writes one line of complaint for each (nvlist_recv() failed)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(SOCKETS / vm))
        except OSError:
            return False
    return True


def has_object(vm: str) -> bool:
    """Whether the kernel has a VM of this name, running or left behind."""
    return os.path.lexists(OBJECTS / vm)


def find_process(vm: str) -> int | None:
    """The pid of the bhyve of VM, whoever started it; none if there is none. Raises CommandFailed."""
    for process in listed():
        if process.pid != os.getpid() and _is_bhyve(process.title, vm):
            return process.pid
    return None


def is_titled(pid: int, vm: str) -> bool:
    """Whether process PID calls itself the bhyve of VM, which it does once the guest runs."""
    try:
        done = run(["ps", "-ww", "-o", "command=", "-p", str(pid)], timeout=_PS_SECONDS)
    except CommandFailed:
        return False
    return _has_title(done.stdout.strip(), vm)


def _has_title(title: str, vm: str) -> bool:
    return title in {f"bhyve: {vm}", f"bhyve: {vm} (bhyve)"}


def _is_bhyve(title: str, vm: str) -> bool:
    if _has_title(title, vm):
        return True
    words = title.split()
    early = len(words) > 1 and words[0].rpartition("/")[2] == "bhyve" and words[-1] == vm
    return early and "config.dump=1" not in words
