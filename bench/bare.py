"""What a checkpoint of a running guest comes down to at the least, with nothing of ckptree in it.

The same work as the keeper and ckptree do together while the guest stands, as straight as it can be written: one
process, one socket, one call after the other.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from libzfs_core import lzc_snapshot

from bench.monitor import Monitor

_POLL = 0.002  # seconds between two looks at what QEMU has no event for


def checkpoint(
    monitor: Monitor, snapshot: str, folder: Path, properties: Mapping[str, str]
) -> None:
    """Save the guest of MONITOR to a fresh file in FOLDER and take SNAPSHOT with PROPERTIES; the file is removed then.

    The guest stands between ``stop`` and ``cont``.
    """
    memory = folder / snapshot.partition("@")[2]
    encoded = {name.encode(): value.encode() for name, value in properties.items()}
    descriptor = os.open(memory, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        monitor.execute("getfd", descriptor=descriptor, fdname="memory")
        mark = monitor.mark()
        monitor.execute("stop")
        monitor.execute("migrate", uri="fd:memory")
        monitor.expect("MIGRATION", mark, status="completed")
        os.fsync(descriptor)
        lzc_snapshot([snapshot.encode()], encoded)
        while monitor.execute("query-status") == "finish-migrate":
            time.sleep(_POLL)
        monitor.execute("cont")
        monitor.expect("RESUME", mark)
    finally:
        os.close(descriptor)
        memory.unlink()
