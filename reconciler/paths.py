"""Every default path in one place, so that a port has one file to patch."""

import sys
from pathlib import Path

PREFIX = Path("/etc") if sys.platform.startswith("linux") else Path("/usr/local/etc")

VMS = PREFIX / "ckptree" / "vms.d"
"""The VM documents: a directory or a single file."""

CONFIG = PREFIX / "ckptree" / "ckptree.yaml"
"""The host's own settings; need not exist."""

STATE = Path("/var/lib/ckptree" if sys.platform.startswith("linux") else "/var/db/ckptree")
"""The copy of the repository that the documents come from; may be deleted, the repository has all of it."""

RUN = Path("/var/run/ckptree")
"""The sockets of the keepers, one for each guest that runs; empty after a boot."""

SOCKET = RUN / "daemon.socket"
"""The socket on which the daemon shows what it does; a keeper's ends in ``.sock``, whatever its VM is called."""
