"""The double of bhyve: one process per guest, with a real guest in a QEMU below it.

The main thread starts everything in bhyve's order and waits for the end; threads serve bhyvectl, the checkpoint
socket and the debugger's port. Which faults it has is asked of the switches each time they matter.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in, like all that system.py uses
import _socket
import os
import select
import sys
import time

from tests.doubles import checkpoint
from tests.doubles.host import complain, fail, number, on, place, switches, word
from tests.doubles.machine import Machine, disks, writable
from tests.doubles.qmp import QemuGone, Refused
from tests.doubles.settings import Arguments, Settings, memory_size, usage
from tests.doubles.system import accepted, connected, listening, receive_file, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SIGTERM = 15

RESET, OFF, HALTED, TRIPLE_FAULT, ERROR, SUSPENDED = range(6)
"""The exit codes of bhyve(8)."""

_KEEPS_OBJECT, _DESTROYS_OBJECT = 0, 64  # added to the exit code on its way to the main thread


class Hypervisor:
    """The guest NAME, running."""

    def __init__(self, name: str, tree: Settings, machine: Machine) -> None:
        self.name = name
        self.tree = tree
        self.machine = machine
        self._ending, self._ended = os.pipe()

    # ---- its end -------------------------------------------------------------------------------------------------

    def end(self, code: int, *, destroy: bool = False) -> None:
        """Let the main thread end the program with CODE; the first one wins."""
        os.write(self._ended, bytes([code | (_DESTROYS_OBJECT if destroy else _KEEPS_OBJECT)]))

    def wait(self) -> NoReturn:
        """Wait for the end, and end."""
        byte = os.read(self._ending, 1)[0]
        code = byte & ~_DESTROYS_OBJECT
        self.machine.kill()
        powered_off = code == OFF and self.tree.get("destroy_on_poweroff") == "true"
        if byte & _DESTROYS_OBJECT or powered_off:
            _forget(self.name)
        os._exit(code)

    def follow(self) -> None:
        """Turn the end of QEMU into that of the program."""
        code = ERROR
        for event in self.machine.qmp.listen():
            if '"SHUTDOWN"' in event:
                if "guest-reset" in event:
                    code = RESET
                elif "guest-shutdown" in event:
                    code = OFF
        self.end(code)

    def press_power_button(self, *_: object) -> None:
        """Handle SIGTERM: the boot program of the tests obeys only if it was made to."""
        if on("power_button"):
            self.end(OFF)
        else:
            self.machine.qmp.tell("system_powerdown")

    def follow_switches(self) -> None:
        """End by a fault that is switched on for a guest that has just become ready."""
        if "dies_after_ready" in switches():
            complain("vm exit[0]: the double was told to die")
            self.end(int(number("dies_after_ready")))
        for name, code in (
            ("reset_after", RESET),
            ("power_off_after", OFF),
            ("halt_after", HALTED),
            ("triple_fault_after", TRIPLE_FAULT),
        ):
            if name in switches():
                thread(self._end_after, number(name), code)

    def _end_after(self, seconds: float, code: int) -> None:
        time.sleep(seconds)
        self.end(code)

    # ---- bhyvectl's checkpoints ----------------------------------------------------------------------------------

    def serve_checkpoints(self, server: _socket.socket) -> None:
        """Serve one request at a time, without ever answering."""
        while True:
            connection = accepted(server)
            request, directory = receive_file(connection)
            if directory < 0:
                complain("nvlist_recv() failed: Socket is not connected")
            else:
                command, _, filename = request.decode().partition(" ")
                self._checkpoint(directory, filename, suspend=command == "suspend")
                os.close(directory)
            connection.close()

    def _checkpoint(self, directory: int, filename: str, *, suspend: bool) -> None:
        try:
            done = checkpoint.save(self.machine, self.tree, directory, filename)
            if done and suspend:
                self.end(int(number("suspend_exit", SUSPENDED)), destroy=True)
                return
            self.machine.release("checkpoint")
        except (QemuGone, Refused) as error:
            complain(f"Failed to snapshot device state: {error}")

    # ---- the debugger --------------------------------------------------------------------------------------------

    def serve_debugger(self, server: _socket.socket) -> None:
        """Hold the guest while somebody is connected; only one may be."""
        attached: _socket.socket | None = None
        while True:
            watched = [server] if attached is None else [server, attached]
            ready, _, _ = select.select(watched, [], [])
            if attached in ready and attached is not None and not _received(attached):
                attached.close()
                attached = None
                self._quietly(self.machine.release, "debugger")
            if server in ready:
                connection = accepted(server)
                if attached is None:
                    attached = connection
                    self._quietly(self.machine.hold, "debugger")
                else:
                    connection.close()

    def _quietly(self, verb: Callable[..., None], argument: object) -> None:
        try:
            verb(argument)
        except (QemuGone, Refused, OSError):
            pass  # the guest is ending, or who asked is gone

    # ---- bhyvectl's other requests, which are ioctls of the kernel in reality ------------------------------------

    def serve_control(self, server: _socket.socket) -> None:
        """Answer bhyvectl."""
        while True:
            connection = accepted(server)
            request = connection.recv(256).decode()
            if request == "destroy":
                _forget(self.name)
                self.end(ERROR)
            elif request == "force-poweroff":
                self.end(OFF)
            elif request == "force-reset":
                self.end(RESET)
            self._quietly(connection.sendall, self._answer(request).encode())
            connection.close()

    def _answer(self, request: str) -> str:
        every = ", ".join(str(cpu) for cpu in range(int(self.tree["cpus"])))
        if request == "active":
            return every
        if request == "debug" and "debugger" in self.machine.holders:
            return every
        return "(none)"


def main() -> None:
    """Be bhyve."""
    can_snapshot = word("no_snapshot") not in ("userland", "both")
    arguments = Arguments(sys.argv[1:], knows_restore=can_snapshot)
    tree = arguments.tree
    if tree.get("config.dump") in ("1", "true", "yes"):
        for name in sorted(tree):
            print(f"{name}={tree[name]}")
        sys.stdout.flush()
        os._exit(1)
    _fail_by_switch()
    saved = checkpoint.load(arguments.restore) if arguments.restore else None
    if saved is not None:
        tree.setdefault("name", saved.name)
        tree["cpus"] = str(saved.cpus)
    name = tree.get("name") or usage()
    size = saved.size if saved else memory_size(tree["memory.size"])
    if not size:
        fail(4, "invalid memsize")
    _create_object(name, tree)
    # From here on bhyvectl is heard, even if it has to wait for its answer.
    control = listening(place(f"/var/run/double-bhyve/{name}"))
    debugger = _listen_for_debugger(tree)
    _check_disks(tree)
    time.sleep(number("slow_start"))

    ram = os.memfd_create("guest")
    os.ftruncate(ram, size)
    if saved is not None:
        checkpoint.fill(ram, saved)
        checkpoint.check_devices(saved, tree)
        _fail_restore_by_switch()
    machine = Machine(tree, ram, saved.devices if saved else None)
    hypervisor = Hypervisor(name, tree, machine)
    thread(hypervisor.follow)
    if saved is not None:
        _wait_restored(machine)
    thread(hypervisor.serve_control, control)
    if can_snapshot:
        thread(hypervisor.serve_checkpoints, listening(place(f"/var/run/bhyve/{name}")))
    if debugger is not None:
        thread(hypervisor.serve_debugger, debugger)
        if tree.get("gdb.wait") == "true":
            machine.hold("debugger")
    set_title(f"bhyve: {name} (bhyve)")
    _signal.signal(_SIGTERM, hypervisor.press_power_button)
    machine.release("start")
    hypervisor.follow_switches()
    hypervisor.wait()


def set_title(title: str) -> None:
    """Let ps(1) show TITLE in place of the command line, as setproctitle(3) does it."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
        start, end = map(int, stat.read().rpartition(")")[2].split()[45:47])
    text = title.encode()[: end - start - 2]
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        # Linux takes what lies there for a title, up to its end, if the last byte of the area is not the old one.
        memory.write(text.ljust(end - start - 1, b"\0") + b".")


def _fail_by_switch() -> None:
    if on("start_fails"):
        fail(1, word("start_fails") or "bhyve: the double was told not to start")


def _fail_restore_by_switch() -> None:
    while on("restore_hangs"):
        time.sleep(3600)
    if "restore_fails" in switches():
        fail(int(number("restore_fails", OFF)), "Failed to restore kernel structs.")


def _wait_restored(machine: Machine) -> None:
    try:
        if machine.wait_loaded():
            return
    except (QemuGone, Refused):
        pass
    fail(1, "Failed to restore PCI device state.")


def _create_object(name: str, tree: Settings) -> None:
    """Make /dev/vmm/NAME; without a boot ROM a loader must have made it before, bhyveload(8)."""
    rom = tree.get("lpc.bootrom")
    if _is_alive(name):
        fail(4, "vm_create: Device busy")
    path = place(f"/dev/vmm/{name}")
    existed = os.path.exists(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    if not rom and not existed:
        fail(4, "virtual machine cannot be booted")
    if rom and not os.path.exists(rom):
        fail(4, f'Error opening bootrom "{rom}": No such file or directory')


def _forget(name: str) -> None:
    try:
        os.unlink(place(f"/dev/vmm/{name}"))
    except FileNotFoundError:
        pass


def _is_alive(name: str) -> bool:
    try:
        connected(place(f"/var/run/double-bhyve/{name}")).close()
    except OSError:
        return False
    return True


def _listen_for_debugger(tree: Settings) -> _socket.socket | None:
    port = tree.get("gdb.port")
    if not port:
        return None
    descriptions = place("/usr/share/bhyve/gdb")
    if on("stub_missing_xml") or not os.path.isdir(descriptions):
        fail(1, "bhyve: Failed to open /usr/share/bhyve/gdb: No such file or directory")
    server = _socket.socket(_socket.AF_INET)
    server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        server.bind(
            (tree.get("gdb.address", "127.0.0.1").replace("localhost", "127.0.0.1"), int(port))
        )
        server.listen(1)
    except (OSError, ValueError) as error:
        fail(1, f"bhyve: gdb socket bind: {error}")
    return server


def _check_disks(tree: Settings) -> None:
    for path in disks(tree):
        try:
            writable(path)
        except OSError as error:
            reason = error.strerror or ""
            fail(
                ERROR,
                f"bhyve: Could not open backing file: {path}: {reason}",
                f"Device emulation initialization error: {reason}",
            )


def _received(connection: _socket.socket) -> bool:
    try:
        return bool(connection.recv(4096))
    except OSError:
        return False
