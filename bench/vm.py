"""A VM to measure: a QEMU guest with RAM that means something, its home on a real pool, and ckptree as a program.

ckptree is run as an operator runs it, a new process for each command. The guest is that of the tests, whose memory
proves itself; ``prove`` holds it to that.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.monitor import Monitor, Unmeasured
from reconciler.drivers.command import run
from reconciler.errors import CommandFailed
from tests.guest.image import (
    assert_unbroken,
    boots,
    console,
    parse,
    wait_for,
    write_image,
)

MIB = 1 << 20
RAM = 256  # MiB: a small guest that is real; below that the fixed cost of emulated programs is what is measured
FILLED = 128  # MiB of it with what cannot be compressed; the rest is zero
_FILLED_FROM = 0x1000000  # an address that the guest's program does not use
_SECONDS = 300.0


def execute(*argv: str) -> str:
    """Run a program of the host to its end, and give its output; raises Unmeasured with its complaint."""
    try:
        return run(argv, timeout=_SECONDS).stdout
    except CommandFailed as error:
        raise Unmeasured(str(error)) from error


@contextmanager
def pool(name: str, folder: Path, size: int) -> Iterator[Path]:
    """Make the pool NAME on a sparse file in FOLDER, and give where it is mounted."""
    mountpoint, image = folder / name, folder / f"{name}.img"
    with image.open("wb") as file:
        file.truncate(size)
    options = ["-o", "cachefile=none", "-O", "atime=off", "-O", f"mountpoint={mountpoint}"]
    execute("zpool", "create", *options, name, str(image))
    try:
        yield mountpoint
    finally:
        execute("zpool", "destroy", "-f", name)
        image.unlink()


def incompressible(size: int) -> Iterator[bytes]:
    """Give SIZE bytes, in pieces of a MiB, each of which ZFS cannot make smaller."""
    piece = os.urandom(MIB)
    for _ in range(size // MIB):
        yield piece


class Vm:
    """The VM NAME below the dataset PARENT (mounted at MOUNTPOINT), with SIZE bytes of disk, DATA of them used."""

    def __init__(
        self, name: str, parent: str, mountpoint: Path, folder: Path, size: int, data: int
    ) -> None:
        self.name = name
        self.home = f"{parent}/{name}"
        self.path = mountpoint / name
        self.size = size
        self.data = data
        self.monitor = Monitor(folder / f"{name}.sock")
        self._document = folder / f"{name}.yaml"
        self._nodes: list[str] = []

    def make(self) -> None:
        """Make the home and the disk, and boot the guest."""
        self.write()
        self.ckptree("init", self.name)
        disk = self.path / "current" / "disk0.img"
        write_image(disk, self.size)
        with disk.open("r+b") as file:
            file.seek(MIB)
            for piece in incompressible(self.data):
                file.write(piece)
            os.fsync(file.fileno())
        with (self.path / "filling").open("wb") as file:
            for piece in incompressible(FILLED * MIB):
                file.write(piece)
        self.ckptree("start", self.name)
        self.prove()

    def write(self, *keys: str, node: str | None = None) -> None:
        """Write the document with further KEYS; NODE is one more checkpoint, below those before."""
        if node is not None:
            self._nodes.append(node)
        arguments = (
            "-nodefaults", "-m", str(RAM),
            "-drive", "file=current/disk0.img,format=raw,if=virtio",
            "-device", f"loader,file=filling,addr={_FILLED_FROM:#x},force-raw=on",
            "-chardev", "file,id=com1,path=console,append=on", "-serial", "chardev:com1",
            *self.monitor.arguments,
        )  # fmt: skip
        words = ", ".join(f'"{word}"' for word in arguments)
        lines = [f"vm: {self.name}", f"dataset: {self.home}", "disks: [disk0.img]"]
        lines += [f"hypervisor: {{qemu: {{args: [{words}]}}}}", *keys]
        if not self._nodes:
            lines.append("checkpoints: {}")
        for depth, name in enumerate(self._nodes):
            lines += [f"{'  ' * 2 * depth}checkpoints:", f"{'  ' * 2 * depth}  {name}:"]
        self._document.write_text("\n".join(lines) + "\n")

    def ckptree(self, *arguments: str) -> float:
        """Run ckptree, insist on its exit code 0, and give the seconds that it took; raises Unmeasured."""
        program = str(Path(sys.executable).with_name("ckptree"))
        began = time.monotonic()
        execute(program, "--vms", str(self._document), "--zfs", "pyzfs", *arguments)
        return time.monotonic() - began

    @property
    def branch(self) -> str:
        """The dataset that the guest is on."""
        return f"{self.home}/{(self.path / 'current').readlink().name}"

    def properties(self, snapshot: str) -> dict[str, str]:
        """Give what ckptree wrote on SNAPSHOT itself."""
        text = execute("zfs", "get", "-H", "-s", "local", "-o", "property,value", "all", snapshot)
        pairs = (line.split("\t", 1) for line in text.splitlines())
        return {name: value for name, value in pairs if name.startswith("ckptree:")}

    def end(self) -> None:
        """Switch the guest off, as far as it can be."""
        with suppress(Unmeasured):
            self.ckptree("stop", "--now", self.name)

    def prove(self, *, resumed: bool = False) -> None:
        """See the guest count on in one life, in its RAM and on its disk; raises Unmeasured.

        RESUMED: this life must have begun from RAM.
        """
        try:
            before = len(parse(self._said()))
            wait_for(
                self._console,
                lambda _: len(parse(self._said())) >= before + 2,
                seconds=_SECONDS,
                what="count",
            )
            assert_unbroken(parse(self._said()))
        except (AssertionError, TimeoutError) as error:
            raise Unmeasured(f"the guest {self.name} is not what it was: {error}") from error
        if resumed and boots(self._said()):
            raise Unmeasured(f"the guest {self.name} booted instead of going on")

    def expect_another_life(self) -> None:
        """Put the console's file away, so that what the next QEMU of the guest says stands alone."""
        self._console.rename(self.path / "console.before")

    @property
    def _console(self) -> Path:
        return self.path / "console"

    def _said(self) -> list[str]:
        """The lines of this life, without the rest of one that was begun in the life before."""
        lines = console(self._console)
        return lines[1:] if lines and not lines[0].startswith(("count", "boot")) else lines
