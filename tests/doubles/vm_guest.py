"""What vm-bhyve keeps on disk: datastores, guests, their settings and their locks.

The commands (vm_bhyve) and the restart loop (vm_run) share it.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from tests.doubles.host import complain, place, sibling
from tests.doubles.system import call

Configuration = dict[str, str]


class Store:
    """A datastore: its name, its directory and its ZFS dataset, if it is one."""

    def __init__(self, name: str, path: str, dataset: str) -> None:
        self.name = name
        self.path = path
        self.dataset = dataset


class Guest:
    """A guest: its directory and what vm-bhyve keeps there."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.store = store

    @property
    def directory(self) -> str:
        """Its directory, which holds its settings, disks and locks."""
        return f"{self.store.path}/{self.name}"

    @property
    def configuration(self) -> Configuration:
        """Its settings, read now."""
        return read(f"{self.directory}/{self.name}.conf")

    @property
    def save(self) -> str:
        """Where its RAM is when it is suspended."""
        return f"{self.directory}/{self.name}.save"

    @property
    def device(self) -> str:
        """Its object in the kernel."""
        return place(f"/dev/vmm/{self.name}")

    def file(self, name: str) -> str:
        """Give the path of a file in its directory."""
        return f"{self.directory}/{name}"

    def has(self, name: str) -> bool:
        """Tell whether there is a file of that name in its directory."""
        return os.path.exists(self.file(name))

    def log(self, text: str) -> None:
        """Write a line to vm-bhyve.log."""
        with open(self.file("vm-bhyve.log"), "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime())}: {text}\n")


def is_stopped(guest: Guest, *, quietly: bool = False) -> bool:
    """Tell whether a guest may be started; a lock of this host does not matter without an object."""
    reason = ""
    if guest.has("run.lock"):
        owner = first_line(guest.file("run.lock"))
        if owner != _socket.gethostname():
            reason = f"{guest.name} appears to be running on {owner} (locked)"
    if not reason and os.path.exists(guest.device):
        reason = f"{guest.name} appears to be running locally (vmm exists)"
    if reason and not quietly:
        warn(reason)
    return not reason


def bhyvectl(name: str, request: str) -> int:
    words = [sibling("bhyvectl"), f"--vm={name}", request]
    return call(words)[0]


def resolve(name: str, where: str) -> Store | None:
    kind, _, dataset = where.partition(":")
    if kind == "zfs":
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            for line in mounts:
                source, path, *_ = line.split(" ")
                if source == dataset:
                    return Store(name, path, dataset)
        return None
    return Store(name, where, "") if os.path.isdir(where) else None


def read(path: str) -> Configuration:
    """Read settings: lines that begin with a small letter, `#` ends even a quoted value, the first of a key wins."""
    settings: Configuration = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return settings
    for line in lines:
        if "a" <= line[:1] <= "z":
            key, equals, value = line.partition("#")[0].rstrip(" ").replace('"', "").partition("=")
            settings.setdefault(key, value if equals else key)
    return settings


def set_key(path: str, key: str, value: str) -> None:
    """Set KEY in a file as sysrc(8) does."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines if not line.startswith(f"{key}=")]
    place_of = next((index for index, line in enumerate(lines) if line.startswith(f"{key}=")), None)
    kept.insert(len(kept) if place_of is None else place_of, f'{key}="{value}"')
    put(path, "\n".join(kept))


def put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")


def first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\n")
    except FileNotFoundError:
        return ""


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def yes(value: str) -> bool:
    return bool(value) and value.lower() not in ("no", "false", "off", "0")


def warn(text: str) -> None:
    complain(f"{os.path.abspath(sys.argv[0])}: WARNING: {text}")
