"""Every default path in one place, so that a port has one file to patch."""

import sys
from pathlib import Path

PREFIX = Path("/etc") if sys.platform.startswith("linux") else Path("/usr/local/etc")

VMS = PREFIX / "ckptree" / "vms.d"
"""The VM documents: a directory or a single file."""

CONFIG = PREFIX / "ckptree" / "ckptree.yaml"
"""The host's own settings; need not exist."""

RUN = Path("/var/run/ckptree")
"""The sockets of the keepers, one for each guest that runs; empty after a boot."""
