"""The real guest under a pretended bhyve: QEMU with the guest's RAM in a file that this process holds as well.

The RAM is in memory shared with QEMU, so that what a checkpoint's file says about it is what QEMU has, and the other
way round. The state of processor and devices is QEMU's own. QEMU dies with this process, however that ends.
"""

from __future__ import annotations

import _socket
import _thread
import os
import time

from tests.doubles.host import place
from tests.doubles.qmp import Client
from tests.doubles.settings import Settings, expanded, pci_devices
from tests.doubles.system import finished, spawn

_DISKS = {"virtio-blk", "ahci-hd", "nvme"}
_LOADED_WITHIN = 60.0  # seconds


class Machine:
    """One QEMU, stopped until nobody holds it any more."""

    def __init__(self, tree: Settings, ram: int, state: int | None = None) -> None:
        """Start QEMU with the memory file RAM; STATE is an open file with the saved state of its devices."""
        self.ram = ram
        self.size = os.fstat(ram).st_size
        self.holders = {"start"}
        self._lock = _thread.allocate_lock()
        ours, theirs = _socket.socketpair()
        words = _command(tree, self.size, ram, theirs.fileno())
        kept = [ram, theirs.fileno()]
        if state is not None:
            words += ["-incoming", f"fd:{state}"]
            kept.append(state)
        self._process = spawn(words, keep=kept)
        theirs.close()
        self.qmp = Client(ours)
        self.qmp.tell("qmp_capabilities")

    def hold(self, holder: str) -> None:
        """Stop the guest for HOLDER, its disks flushed; it goes on when nobody holds it."""
        with self._lock:
            if not self.holders:
                self.qmp.ask("stop")
            self.holders.add(holder)

    def release(self, holder: str) -> None:
        """Let the guest go on if only HOLDER held it."""
        with self._lock:
            if holder in self.holders:
                self.holders.discard(holder)
                if not self.holders:
                    self.qmp.ask("cont")

    def save_devices(self) -> bytes:
        """Give the state of processor and devices of the held guest."""
        state = os.memfd_create("devices")
        try:
            path = f"/proc/{os.getpid()}/fd/{state}"
            self.qmp.ask("xen-save-devices-state", f'"filename": "{path}", "live": false')
            return os.pread(state, os.fstat(state).st_size, 0)
        finally:
            os.close(state)

    def wait_loaded(self) -> bool:
        """Wait until the saved state is in the devices; tells whether it is."""
        deadline = time.monotonic() + _LOADED_WITHIN
        while time.monotonic() < deadline:
            if "inmigrate" not in self.qmp.ask("query-status"):
                return True
            time.sleep(0.01)
        return False

    def kill(self) -> None:
        """End QEMU at once and wait until it is gone, with every file closed."""
        os.kill(self._process, 9)
        finished(self._process)


def _command(tree: Settings, size: int, ram: int, monitor: int) -> list[str]:
    # A device list in the saved state could only be read by the very same QEMU, and the state's own head and tail are
    # not written by the command that saves devices alone: both off.
    words = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-S"]
    words += ["-machine", "pc,memory-backend=ram,suppress-vmdesc=on", "-cpu", "qemu64"]
    words += [
        "-accel",
        "tcg,thread=single,tb-size=16",
        "-smp",
        tree["cpus"],
        "-m",
        f"{size >> 10}k",
    ]
    words += ["-global", "migration.send-configuration=off", "-no-user-config", "-no-reboot"]
    backend = f"memory-backend-file,id=ram,size={size},mem-path=/proc/self/fd/{ram},share=on"
    words += ["-object", backend, "-display", "none", "-vga", "none"]
    words += ["-chardev", f"socket,id=qmp,fd={monitor}", "-mon", "chardev=qmp,mode=control"]
    words += ["-chardev", _console(expanded(tree, "lpc.com1.path")), "-serial", "chardev:com1"]
    for number, (model, prefix) in enumerate(pci_devices(tree)):
        path = expanded(tree, f"{prefix}.path")
        if model in _DISKS and path:
            mode = "off" if writable(path) else "on"
            file = path.replace(",", ",,")
            # bhyve does not lock its disks, and "auto-read-only" is what blockif_open does.
            options = (
                f"file={file},format=raw,if=none,id=disk{number},file.locking=off,readonly={mode}"
            )
            words += ["-drive", options, "-device", f"virtio-blk-pci,drive=disk{number}"]
    return words


def _console(path: str) -> str:
    if path == "stdio":
        return "stdio,id=com1,signal=off"
    if not path or path.startswith("tcp="):
        return "null,id=com1"
    real = place(path) if path.startswith("/dev/") else path
    return f"file,id=com1,path={real.replace(',', ',,')},append=on"


def writable(path: str) -> bool:
    """Tell whether the disk PATH can be opened for writing; raises OSError if not even for reading."""
    for mode in (os.O_RDWR, os.O_RDONLY):
        try:
            os.close(os.open(path, mode))
        except OSError:
            if mode == os.O_RDONLY:
                raise
        else:
            return mode == os.O_RDWR
    return False


def disks(tree: Settings) -> list[str]:
    """Give the paths of the disks."""
    paths = [(model, expanded(tree, f"{prefix}.path")) for model, prefix in pci_devices(tree)]
    return [path for model, path in paths if model in _DISKS and path]
