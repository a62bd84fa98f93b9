"""Put what was done to a directory on stable storage, for the drivers that write files."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in directory PATH survive a power cut (fsync(2)); raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
