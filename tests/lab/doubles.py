"""The doubles of bhyve, bhyvectl, vm-bhyve and sysctl on the throw-away lab machine, and one guest under them.

``install_doubles`` makes the machine look like a FreeBSD host with bhyve to the programs that drive it; never call it
anywhere else. ``switch`` turns the faults of tests/doubles/README.md on for a while.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.image import write_image

PROGRAMS = Path(__file__).parents[1] / "doubles"
SWITCHES = Path("/var/run/double-bhyve.json")
RAM = 8 << 20  # bytes, of a Bhyve
Switch = str | int | float | bool | None | dict[str, str | None]
_SECONDS = 60.0  # for anything that is waited for: the machine is emulated
_POLL = 0.02


def install_doubles() -> None:
    """Put the doubles in place of the programs; more than once is fine. Raises RuntimeError outside the lab."""
    if "CKPTREE_LAB_ZFS" not in os.environ:
        raise RuntimeError(
            "the doubles replace programs of the system: only in the lab (script/lab)"
        )
    for directory in (
        "/usr/local/sbin",
        "/usr/share/bhyve/gdb",
        "/usr/local/share/uefi-firmware",
        "/dev/vmm",
        "/var/run/bhyve",
    ):
        Path(directory).mkdir(parents=True, exist_ok=True)
    for name in ("bhyve", "bhyvectl", "bhyveload", "vm"):
        _link(Path("/usr/local/sbin", name), PROGRAMS / name)
    _link(Path("/sbin/sysctl"), PROGRAMS / "sysctl")
    Path("/usr/share/bhyve/gdb/target.xml").write_text("<target/>\n")
    for firmware in ("BHYVE_UEFI.fd", "BHYVE_UEFI_VARS.fd"):
        Path("/usr/local/share/uefi-firmware", firmware).write_text("firmware\n")


@contextmanager
def switch(**faults: Switch) -> Iterator[None]:
    """Turn FAULTS on, beside those that are on already, until the context is left."""
    before = SWITCHES.read_bytes() if SWITCHES.exists() else b"{}"
    _put({**json.loads(before), **faults})
    try:
        yield
    finally:
        _put(json.loads(before))


class Bhyve:
    """A guest with one disk in DIRECTORY, and the process of bhyve that runs it."""

    def __init__(self, name: str, directory: Path, *, obeys_power_button: bool = False) -> None:
        """Make its disk if there is none yet; the console's text is kept in DIRECTORY as well."""
        self.name = name
        self.directory = directory
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        if not self.disk.exists():
            write_image(self.disk, 1 << 20, obeys_power_button=obeys_power_button)

    @property
    def disk(self) -> Path:
        return self.directory / "disk0.img"

    @property
    def console(self) -> Path:
        return self.directory / "com1"

    @property
    def errors(self) -> str:
        """What the last process wrote to its standard error."""
        return Path(f"/run/{self.name}.errors").read_text()

    @property
    def object(self) -> Path:
        return Path("/dev/vmm", self.name)

    @property
    def socket_file(self) -> Path:
        return Path("/var/run/bhyve", self.name)

    def launch(self, *more: str, disk: bool = True, stub: bool = False) -> subprocess.Popen[bytes]:
        """Start bhyve with MORE arguments and return at once."""
        words = ["bhyve", "-c", "1", "-m", str(RAM), "-s", "0,hostbridge", "-s", "31,lpc"]
        words += ["-l", "bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd"]
        words += ["-l", f"com1,{self.console}"]
        if disk:
            words += ["-s", f"3,virtio-blk,{self.disk}"]
        if stub:
            self.port = _free_port()
            words += ["-G", f"127.0.0.1:{self.port}"]
        with Path(f"/run/{self.name}.errors").open("wb") as errors:
            self.process = subprocess.Popen([*words, *more, self.name], stderr=errors)
        return self.process

    def start(self, *more: str, disk: bool = True, stub: bool = False) -> None:
        """Start bhyve with MORE arguments and wait until it has its title, which it takes when it is ready."""
        process = self.launch(*more, disk=disk, stub=stub)
        title = f"bhyve: {self.name} (bhyve)".encode()
        words = Path(f"/proc/{process.pid}/cmdline")
        deadline = time.monotonic() + _SECONDS
        while words.read_bytes().rstrip(b"\0") != title:
            assert process.poll() is None, f"bhyve ended with {process.returncode}: {self.errors}"
            assert time.monotonic() < deadline, "bhyve is not ready"
            time.sleep(_POLL)

    def control(self, *requests: str) -> subprocess.CompletedProcess[str]:
        """Run bhyvectl."""
        words = ["bhyvectl", f"--vm={self.name}", *requests]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)

    def wait(self) -> int:
        """Wait for the end of bhyve and give its exit code."""
        assert self.process is not None
        return self.process.wait(_SECONDS)

    def barrier(self) -> None:
        """Wait until every checkpoint asked for is done, complete or not."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self.socket_file))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

    def attach(self) -> socket.socket:
        """Connect to the debugger's port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS)

    def remove(self) -> None:
        """End it for good, however it is."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(_SECONDS)
        self.object.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(target)


def _put(switches: dict[str, Switch]) -> None:
    new = SWITCHES.with_suffix(".new")
    new.write_text(json.dumps(switches))
    new.replace(SWITCHES)
