"""What an operator sets for one host: the typed form of ``ckptree.yaml``.

``spec.host`` makes it. Everything is optional; a default here is the default of the file. Durations are
``timedelta``, paths are absolute.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from reconciler.model.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Whose signatures count: SSH, the file of allowed signers (ssh-keygen(1)); GPG, a home with trusted keys only."""

    ssh: Path | None = None
    gpg: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """Documents from folder PATH of BRANCH in the repository at URL, fetched EVERY so often.

    With VERIFY every commit must be signed by one of those; with DESTRUCTIVE what removes anything is carried out
    only where every commit since the last accepted one is signed by one of those.
    """

    url: str
    branch: str = "main"
    path: str = ""
    every: timedelta = timedelta(minutes=1)
    verify: Signers | None = None
    destructive: Signers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is told when a VM's state changes: syslog(3) under FACILITY (none for nobody), a program, an address.

    REVISION is a program that is told what became of each revision of a repository, for a commit status.
    """

    facility: str | None = "daemon"
    command: tuple[str, ...] = ()
    webhook: str | None = None
    revision: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """The settings of a host.

    VMS is the place of the VM documents where SOURCE is none; ZFS is the way in which ZFS is written. GROUP_WAIT is how
    long a frozen guest waits for the others of its group. INTERVAL is the time between two looks at everything.
    LISTEN is the address and port on which the status is shown besides the socket, for example 127.0.0.1:8470.
    """

    vms: Path | None = None
    zfs: str = "auto"
    group_wait: timedelta = timedelta(seconds=60)
    interval: timedelta = timedelta(minutes=5)
    source: GitSource | None = None
    listen: tuple[str, int] | None = None
    notify: Notify = field(default_factory=Notify)
    windows: Windows = field(default_factory=Windows)
