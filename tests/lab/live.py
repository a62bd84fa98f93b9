"""A guest that ckptree runs on a host with real ZFS, whose memory proves itself, under one of several hypervisors.

Its console is a file in the home. For each life of the guest (each process of the hypervisor that starts anew, from
its disks or from memory) the test takes the file away first, so that what a life says stands alone.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.contracts.guest import Guest
from reconciler.drivers.guests.choose import guest_of
from reconciler.model.observed import Running
from reconciler.paths import RUN
from reconciler.spec.load import load_path
from tests.guest.image import (
    assert_unbroken,
    boots,
    console,
    lines_of,
    on_disk,
    parse,
    wait_for,
    write_image,
)
from tests.lab.doubles import install_doubles
from tests.lab.operator import Operator, shell

_SECONDS = 120.0
_BHYVE = (
    "-c", "1", "-m", "8388608", "-s", "0,hostbridge", "-s", "3,virtio-blk,current/disk0.img", "-s", "31,lpc",
    "-l", "bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd", "-l", "com1,{console}",
)  # fmt: skip
_BHYVE_CONFIG = """\
cpus=1
memory.size=8388608
pci.0.0.0.device=hostbridge
pci.0.3.0.device=virtio-blk
pci.0.3.0.path=current/disk0.img
pci.0.31.0.device=lpc
lpc.bootrom=/usr/local/share/uefi-firmware/BHYVE_UEFI.fd
lpc.com1.path={console}
"""
_QEMU = (
    "-nodefaults", "-m", "8", "-drive", "file=current/disk0.img,format=raw,if=virtio",
    "-chardev", "file,id=com1,path=console,append=on", "-serial", "chardev:com1",
)  # fmt: skip


_FAILS_ONCE = """\
#!/bin/sh
# PROGRAM, which fails once where FLAG says so.
case "$*" in
*config.dump*) ;; # only asks what the definition means
*) if [ -e {flag} ]; then rm {flag}; echo "the test lets this start fail" >&2; exit 1; fi ;;
esac
exec {program} "$@"
"""
_FLAG = Path("/run/lab-fail-once")


@dataclass(frozen=True)
class Kind:
    """A hypervisor and the way in which it saves memory, and how ZFS is written with it."""

    name: str
    write_path: str


QEMU = Kind("qemu", "pyzfs")
SUSPEND = Kind("bhyve, suspended", "pyzfs")
STUB = Kind("bhyve, held by the stub", "command")


class Live(Operator):
    """A VM with one file disk, run by the hypervisor KIND; PORT is that of its stub."""

    def __init__(
        self, home: str, folder: Path, kind: Kind, *, name: str = "web", port: int = 7010
    ) -> None:
        super().__init__(home, folder, kind.write_path, (), name)
        self.kind = kind
        self.port = port
        self.more: tuple[str, ...] = ()
        program, wrapper = "/usr/bin/qemu-system-x86_64", Path("/usr/local/bin/lab-qemu")
        if kind is not QEMU:
            install_doubles()
            wrapper = Path("/usr/local/sbin/bhyve")
            program = str(wrapper.resolve())
            wrapper.unlink()
        wrapper.write_text(_FAILS_ONCE.format(program=program, flag=_FLAG))
        wrapper.chmod(0o755)

    @classmethod
    def counting(cls, home: str, folder: Path, kind: Kind) -> Iterator["Live"]:
        """A guest that runs and counts, and is switched off at the end; its document lies below FOLDER."""
        documents = folder / "vms"
        documents.mkdir()
        live = cls(home, documents, kind)
        live.make()
        live.start()
        yield live
        live.end()

    @property
    def applying(self) -> list[str]:
        """The arguments of `ckptree apply`, for whoever runs it in a way of its own."""
        return ["--vms", str(self.folder), "--zfs", self.write_path, "apply"]

    def make(self, *, button: bool = False) -> None:
        """Make the home, the disk and, where there is one, the definition."""
        self.document_of("")
        outcome = self.ckptree("init", self.name)
        assert outcome.code == 0, outcome.text
        write_image(self.disk, 1 << 20, obeys_power_button=button)
        if self.kind is SUSPEND:
            text = _BHYVE_CONFIG.format(console=self.console)
            (self.path / f"{self.name}.conf").write_text(text)

    def document_of(self, checkpoints: str, *keys: str) -> None:
        """Write the document with the tree CHECKPOINTS and further lines KEYS."""
        self.write(checkpoints, f"hypervisor: {self._hypervisor()}", *keys)

    def _hypervisor(self) -> str:
        if self.kind is SUSPEND:
            return f"{{bhyve: {{config: {self.name}.conf}}}}"
        args: tuple[str, ...] = _QEMU
        if self.kind is STUB:
            args = (*_BHYVE, "-G", f"127.0.0.1:{self.port}")
        words = ", ".join(f'"{word.format(console=self.console)}"' for word in (*args, *self.more))
        if self.kind is QEMU:
            return f"{{qemu: {{binary: /usr/local/bin/lab-qemu, args: [{words}]}}}}"
        return f"{{bhyve: {{args: [{words}]}}}}"

    def fail_next_start(self) -> None:
        """Let the hypervisor fail the next time that it is started."""
        _FLAG.touch()

    def start(self) -> None:
        """Boot it as an operator does, and see it count."""
        outcome = self.ckptree("start", self.name)
        assert outcome.code == 0, outcome.text
        self.counts(2)

    def runs(self) -> bool:
        """Whether the hypervisor says that it runs."""
        return self.guest.state().running is Running.RUNNING

    @property
    def guest(self) -> Guest:
        """The driver, as new as it is in a new run of ckptree."""
        vms = {vm.vm: vm for vm in load_path(self.document).vms}
        (desired,) = vms.values()
        return guest_of(desired, str(self.path))

    # The console

    @property
    def console(self) -> Path:
        return self.path / "console"

    @contextmanager
    def another_life(self) -> Iterator[None]:
        """What is said in this context by a new process of the hypervisor stands alone on the console."""
        if self.console.exists():
            self.console.rename(self.path / "console.before")
        yield

    def counts(self, more: int = 2) -> None:
        """See the guest count on, in one life, with its disk in agreement."""
        before = len(parse(self.said()))
        wait_for(
            self.console,
            lambda lines: len(parse(_whole(lines))) >= before + more,
            seconds=_SECONDS,
            what="count",
        )
        assert_unbroken(parse(self.said()))

    def said(self) -> list[str]:
        """The lines of this life, without the rest of one that was begun before it."""
        return _whole(console(self.console))

    def stands_still(self) -> bool:
        """Whether nothing is said for a while."""
        before = self.console.read_bytes() if self.console.exists() else b""
        time.sleep(1.0)
        return before == (self.console.read_bytes() if self.console.exists() else b"")

    def booted(self) -> int:
        """How often this life began from the disks."""
        return len(boots(self.said()))

    # What was kept

    def node(self, name: str) -> str:
        """The snapshot of the node NAME, relative to the home."""
        return next(s for s in self.snapshots() if self.get(s, "ckptree:node") == name)

    def automatic(self) -> list[str]:
        """The names of the automatic nodes, oldest first."""
        kept = [s for s in self.snapshots() if self.get(s, "ckptree:node").startswith("auto-")]
        kept.sort(key=lambda s: int(self.get(s, "createtxg")))
        return [self.get(s, "ckptree:node") for s in kept]

    def count_in(self, name: str) -> int:
        """The count that the disk of the node NAME has."""
        place = Path("/run/lab-node")
        place.mkdir(exist_ok=True)
        shell("mount", "-t", "zfs", f"{self.home}/{self.node(name)}", str(place))
        try:
            return on_disk(place / "disk0.img").count
        finally:
            shell("umount", str(place))

    def goes_on_from(self, name: str) -> None:
        """Assert that this life, which began from memory, is what the guest did next after the node NAME was taken."""
        count = self.count_in(name)
        self.counts(2)
        text = self.console.read_bytes()
        assert self.booted() == 0, f"it booted: {lines_of(text)}"
        last = f"count {count} disk {count}\n".encode()
        after = f"count {count + 1} disk".encode()
        rest = text.replace(b"\r", b"")
        begun = any(rest.startswith(last[at:] + after) for at in range(len(last) + 1))
        assert begun, f"taken at {count}, gone on with {rest[:60]!r}"

    def live_memory(self) -> list[str]:
        """Files of RAM in the current branch."""
        folder = self.path / "current" / ".ckptree"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def has_a_monitor(self) -> None:
        """Give the guest of QEMU a monitor of its operator's, from its next start on."""
        self.more = ("-qmp", f"unix:{self._monitor},server=on,wait=off")

    @property
    def _monitor(self) -> str:
        return f"/run/lab-{self.name}.qmp"

    @contextmanager
    def paused_by_its_operator(self) -> Iterator[None]:
        """The guest of QEMU is paused by its operator meanwhile, so that it cannot be frozen."""
        self._tell_monitor("stop")
        try:
            yield
        finally:
            self._tell_monitor("cont")

    def _tell_monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(self._monitor)
            stream = connection.makefile("rw")
            stream.readline()
            for word in ("qmp_capabilities", command):
                stream.write(f'{{"execute": "{word}"}}\n')
                stream.flush()
                while "return" not in stream.readline():
                    pass

    def end(self) -> None:
        """Switch it off, however it is, and wait until nothing of it is left."""
        self.ckptree("stop", "--now", self.name)
        subprocess.run(["pkill", "-KILL", "-f", f"^bhyve: {self.name} "], check=False)
        deadline = time.monotonic() + _SECONDS
        while self.runs() or Path(RUN, f"{self.name}.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def until(holds: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
    """Wait until something HOLDS."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _whole(lines: list[str]) -> list[str]:
    """Leave out the rest of a line that was begun before this life."""
    return lines[1:] if lines and not lines[0].startswith(("count", "boot")) else lines
