"""A scratch pool in a file as a World, driven by the ``zfs`` command; only for the lab.

Everything that is not ours to do is done here by plain commands, so that the code under test is
never its own witness.
"""

import itertools
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from reconciler.drivers.zfs.by_command import CommandZfs
from reconciler.drivers.zfs.by_core import CoreZfs
from reconciler.names import Dataset, Snapshot

_numbers = itertools.count(1)

WRITE_PATHS = {"command": CommandZfs, "pyzfs": CoreZfs}


def sh(*words: str) -> str:
    """Run a program that must succeed."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


class Pool:
    """A pool in a file in DIRECTORY, mounted there too; ``end`` takes it away."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test{uuid4().hex[:8]}"
        self.mountpoint = directory / self.name
        self._file = directory / f"{self.name}.img"
        with self._file.open("wb") as image:
            image.truncate(512 << 20)
        options = ["-o", "cachefile=none", "-O", f"mountpoint={self.mountpoint}"]
        sh("zpool", "create", *options, self.name, str(self._file))

    def end(self) -> None:
        sh("zpool", "destroy", "-f", self.name)
        self._file.unlink()


class RealWorld:
    """A filesystem of its own in POOL."""

    def __init__(self, pool: Pool, write_path: str) -> None:
        self.pool = pool
        self.zfs: CommandZfs = WRITE_PATHS[write_path]()
        self.home = Dataset(pool.name).child(f"home{next(_numbers)}")
        self._open: dict[Dataset, int] = {}
        self._filled = False
        sh("zfs", "create", self.home)

    def end(self) -> None:
        for name in list(self._open):
            self.close(name)
        if self._filled:
            self.fill(full=False)

    def volume(self, name: Dataset) -> None:
        sh("zfs", "create", "-s", "-V", "1M", "-o", "volmode=dev", name)

    def write(self, name: Dataset, content: str) -> None:
        self._path(name).joinpath("content").write_text(content)
        sh("zpool", "sync", self.pool.name)

    def content(self, name: Dataset) -> str:
        return self._path(name).joinpath("content").read_text()

    def open(self, name: Dataset) -> None:
        path = Path("/dev/zvol", name)
        deadline = time.monotonic() + 10
        if sh("zfs", "get", "-H", "-o", "value", "type", name) == "filesystem\n":
            path = self._path(name)
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._open[name] = os.open(path, os.O_RDONLY)

    def close(self, name: Dataset) -> None:
        os.close(self._open.pop(name))

    def hold_as(self, tag: str, name: Snapshot) -> None:
        sh("zfs", "hold", tag, name)

    def release_as(self, tag: str, name: Snapshot) -> None:
        sh("zfs", "release", tag, name)

    def defer(self, name: Snapshot) -> None:
        sh("zfs", "destroy", "-d", name)

    def fill(self, *, full: bool) -> None:
        self._filled = full
        file = self._path(self.home) / "filling"
        if not full:
            file.unlink(missing_ok=True)
        for size in (1 << 20, 1 << 17, 1 << 17, 1 << 12) if full else ():
            with file.open("ab", buffering=0) as filling, suppress(OSError):
                while True:
                    filling.write(os.urandom(size))
            sh("zpool", "sync", self.pool.name)  # what was freed by now can be written once more
        sh("zpool", "sync", self.pool.name)

    def _path(self, name: Dataset) -> Path:
        return Path(sh("zfs", "get", "-H", "-o", "value", "mountpoint", name).rstrip("\n"))
