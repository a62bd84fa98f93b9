"""Whether what bhyve wrote is a whole memory checkpoint: bhyvectl's exit code does not tell.

Three files: RAM at F, kernel and device state at F.kern, and F.meta, an index of it in JSON that bhyve completes
last (snapshot.c).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.drivers.guests.bhyve_definition import LONGEST_PATH, Definition
from reconciler.errors import StepFailed

__all__ = ["LONGEST_PATH", "check_files"]

_LARGEST_INDEX = 1 << 20  # bytes; a real one has about 1.3 kB


def check_files(memory: str, definition: Definition) -> None:
    """Raises StepFailed, saying what is missing, unless the files at MEMORY hold all of the guest."""
    try:
        ram, state = Path(memory).stat().st_size, Path(f"{memory}.kern").stat().st_size
        with Path(f"{memory}.meta").open("rb") as file:
            index = json.loads(file.read(_LARGEST_INDEX))
    except OSError as error:
        raise StepFailed(f"bhyve did not write {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise StepFailed(f"{memory}.meta is not complete") from error
    try:
        expected = int(index["basic metadata"]["memsize"])
        entries = [*_entries(index, "kern_structs"), *_entries(index, "devices")]
        devices = {name.rpartition("@")[2] for name, _ in _entries(index, "devices")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StepFailed(f"{memory}.meta is not what bhyve writes") from error
    if ram != expected:
        raise StepFailed(f"{memory} has {ram} bytes where the guest has {expected} of RAM")
    needed = max((end for _, end in entries), default=0)
    if state < needed or not needed:
        raise StepFailed(f"{memory}.kern has {state} bytes where {needed} were written")
    absent = [device for device in definition.devices if device.address not in devices]
    if absent:
        named = ", ".join(f"{device.model} ({device.address})" for device in absent)
        raise StepFailed(f"{memory}.meta has nothing of {named}")


def _entries(index: Mapping[str, object], key: str) -> Iterator[tuple[str, int]]:
    """The names of what is in the state file, and where each ends; raises KeyError, TypeError, ValueError."""
    found = index[key]
    if not isinstance(found, list):
        raise TypeError(key)
    for entry in found:
        yield str(entry["device"]), int(entry["file_offset"]) + int(entry["size"])
