"""Who this host is: its name, and an id that outlives reinstalls of ckptree and changes of name."""

import platform
import sys
from pathlib import Path

from reconciler.drivers.command import run
from reconciler.errors import CommandFailed
from reconciler.model.observed import HostIdentity

_SECONDS = 10.0


def this_host() -> HostIdentity:
    """Tell the name (its first label) and the id: kern.hostuuid(FreeBSD), machine-id(5) (Linux), else the name."""
    name = platform.node().partition(".")[0] or "localhost"
    return HostIdentity(name, _host_id() or f"name:{name}")


def _host_id() -> str:
    if sys.platform.startswith("linux"):
        try:
            return Path("/etc/machine-id").read_text().strip()
        except OSError:
            return ""
    try:
        return run(["sysctl", "-n", "kern.hostuuid"], timeout=_SECONDS).stdout.strip()
    except CommandFailed:
        return ""
