"""The double of vm-bhyve 1.7: its configuration, its commands for running guests, and its restart loop.

`vm start` leaves `vm _run` behind, which launches bhyve again and again until an exit code ends it. What it writes,
refuses and forgets (a `.save` that nothing removes after it was resumed) is that of vm-bhyve.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from tests.doubles.host import complain, place, sibling
from tests.doubles.system import call, spawn
from tests.doubles.vm_guest import (
    Configuration,
    Guest,
    bhyvectl,
    first_line,
    is_stopped,
    put,
    read,
    resolve,
    set_key,
    warn,
    yes,
)
from tests.doubles.vm_run import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_COMMANDS = ["discard", "get", "info", "list", "poweroff", "reset", "set", "start", "stop"]
_COMMANDS += ["suspend", "usage", "version", "_run"]
_SETTINGS = ("console", "compress", "decompress", "suspend")
_COLUMNS = ("NAME", "DATASTORE", "LOADER", "CPU", "MEMORY", "VNC", "AUTO", "STATE", "TAGS")


def main() -> None:
    """Be vm."""
    if len(sys.argv) < 2:
        _error("no command specified")
    word, *arguments = sys.argv[1:]
    found = [command for command in _COMMANDS if command.startswith(word)]
    if word not in found and len(found) > 1:
        _error(f"ambiguous command '{word}'")
    if not found:
        _usage()
    command = word if word in found else found[0]
    if command == "version":
        print("vm-bhyve: Bhyve virtual machine management v1.7.5", flush=True)
        os._exit(0)
    if command == "usage":
        _usage()
    host = read(place("/etc/rc.conf"))
    if not yes(host.get("vm_enable", "")):
        _error("$vm_enable is not enabled in /etc/rc.conf!")
    manager = Manager(host)
    action = {
        "discard": manager.discard,
        "get": manager.get,
        "info": manager.info,
        "list": manager.show,
        "poweroff": manager.power_off,
        "reset": manager.reset,
        "set": manager.set,
        "start": manager.start,
        "stop": manager.stop,
        "suspend": manager.suspend,
        "_run": manager.loop,
    }[command]
    code = action(arguments)
    sys.stdout.flush()
    os._exit(code)


class Manager:
    """The commands; each gives an exit code."""

    def __init__(self, host: Configuration) -> None:
        default = resolve("default", host.get("vm_dir", ""))
        if default is None:
            _error("$vm_dir has not been configured or is not a valid directory")
        self._auto = host.get("vm_list", "").split()
        os.makedirs(f"{default.path}/.config", exist_ok=True)
        self._system_file = f"{default.path}/.config/system.conf"
        self._system = read(self._system_file)
        others = self._system.get("datastore_list", "").split()
        found = [resolve(name, self._system.get(f"path_{name}", "")) for name in others]
        self._stores = [default, *(store for store in found if store is not None)]

    def _guest(self, name: str) -> Guest | None:
        for store in self._stores:
            guest = Guest(name, store)
            if os.path.isfile(guest.file(f"{name}.conf")):
                return guest
        return None

    def _valid(self, name: str) -> Guest:
        return self._guest(name) or _error(f"{name} doesn't appear to be a valid virtual machine")

    def _can_suspend(self, *, quietly: bool = False) -> bool:
        _, usage = call([sibling("bhyvectl")])
        oids = [place("/sbin/sysctl"), "kern.conftxt"]
        _, kernel = call(oids)
        if b"--suspend=" not in usage or b"BHYVE_SNAPSHOT" not in kernel:
            reason = "bhyve on this host does not support suspend"
        elif not yes(self._system.get("suspend", "no")):
            reason = "bhyve seems to support suspend but disabled in vm-bhyve config"
        else:
            return True
        if not quietly:
            warn(reason)
        return False

    # ---- settings ------------------------------------------------------------------------------------------------

    def get(self, names: list[str]) -> int:
        """Show settings."""
        print(f"{'SETTING':<20}VALUE")
        for name in _SETTINGS if names == ["all"] else names:
            if name in _SETTINGS:
                print(f"{name:<20}{self._system.get(name) or '-'}")
        return 0

    def set(self, pairs: list[str]) -> int:
        """Change settings."""
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key not in _SETTINGS:
                _error(f"invalid configuration setting - '{key}'")
            set_key(self._system_file, key, value)
        return 0

    # ---- looking -------------------------------------------------------------------------------------------------

    def show(self, options: list[str]) -> int:
        """Show every guest in columns, as column(1) makes them."""
        rows = [_COLUMNS]
        for store in self._stores:
            for name in sorted(os.listdir(store.path)):
                guest = Guest(name, store)
                if not guest.has(f"{name}.conf"):
                    continue
                conf, state = guest.configuration, _state(guest)
                if "-r" in options and state in ("Stopped", "Suspended"):
                    continue
                auto = f"Yes [{self._auto.index(name) + 1}]" if name in self._auto else "No"
                tags = ",".join(conf.get("tags", "-").split())
                size = (conf.get("cpu", ""), conf.get("memory", ""))
                loader = conf.get("loader", "none")
                rows.append((name, store.name, loader, *size, "-", auto, state, tags))
        widths = [max(len(row[index]) for row in rows) for index in range(len(_COLUMNS))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join(cells).rstrip())
        return 0

    def info(self, names: list[str]) -> int:
        """Show the little of `vm info` that says whether a guest runs."""
        for name in names:
            guest = self._guest(name) or _error(f"unable to locate virtual machine '{name}'")
            line = "-" * 24
            print(f"{line}\nVirtual Machine: {name}\n{line}\n  state: {_state(guest).lower()}")
            print(f"  datastore: {guest.store.name}\n")
        return 0

    # ---- starting and stopping -----------------------------------------------------------------------------------

    def start(self, names: list[str]) -> int:
        """Start guests in the background; gives how many could not be started."""
        return sum(self._start(name) for name in names if not name.startswith("-"))

    def _start(self, name: str) -> int:
        print(f"Starting {name}")
        guest = self._guest(name)
        if guest is None:
            print(f"  ! {name} does not seem to be a valid virtual machine")
            return 1
        print(f"  * found guest in {guest.directory}")
        if not is_stopped(guest, quietly=True):
            print("  ! guest appears to be running already")
            return 1
        if not guest.configuration.get("cpu") or not guest.configuration.get("memory"):
            print("  ! incomplete virtual machine configuration")
            return 1
        resumes = self._can_suspend(quietly=True) and os.path.exists(guest.save)
        print("  * found saved vm state, resuming..." if resumes else "  * booting...", flush=True)
        nothing = os.open("/dev/null", os.O_RDWR)
        spawn([os.path.abspath(sys.argv[0]), "_run", name], output=nothing, errors=nothing)
        return 0

    def stop(self, names: list[str]) -> int:
        """Press the power button twice and forget the saved state."""
        for name in names:
            pid = _pid(name)
            if not os.path.exists(place(f"/dev/vmm/{name}")):
                warn(f"{name} doesn't appear to be a running virtual machine")
            elif not pid:
                warn(f"unable to locate process id for {name}")
            else:
                print(f"Sending ACPI shutdown to {name}", flush=True)
                for wait in (1, 0):
                    _kill(pid)
                    time.sleep(wait)
                return self.discard(["-f", name])
        return 0

    def suspend(self, names: list[str]) -> int:
        """Ask bhyve to save and end; returns before it did."""
        if not self._can_suspend():
            _error("unable to suspend the guest")
        for name in names:
            guest = self._valid(name)
            if not os.path.exists(guest.device):
                warn(f"{name} doesn't appear to be a running virtual machine")
            elif not _pid(name):
                warn(f"unable to locate process id for {name}")
            else:
                print(f"Suspending {name}")
                put(guest.file("suspending.lock"), _socket.gethostname())
                bhyvectl(name, f"--suspend={guest.save}")
        return 0

    def power_off(self, arguments: list[str]) -> int:
        """Cut the power, remove the object and the saved state."""
        force, name = _forced(arguments)
        if not os.path.exists(place(f"/dev/vmm/{name}")):
            _error(f"{name} doesn't appear to be a running virtual machine")
        if not force and not _confirmed(
            "Are you sure you want to forcefully poweroff this virtual machine"
        ):
            return 0
        for request in ("--force-poweroff", "--destroy"):
            if code := bhyvectl(name, request):
                return code
        return self.discard(["-f", name])

    def reset(self, arguments: list[str]) -> int:
        """Reset the guest."""
        force, name = _forced(arguments)
        if not os.path.exists(place(f"/dev/vmm/{name}")):
            _error(f"{name} doesn't appear to be a running virtual machine")
        if not force and not _confirmed(
            "Are you sure you want to forcefully reset this virtual machine"
        ):
            return 0
        return bhyvectl(name, "--force-reset")

    def discard(self, arguments: list[str]) -> int:
        """Remove the saved state."""
        force, name = _forced(arguments)
        guest = self._valid(name)
        question = "Are you sure you want to remove the saved state of this virtual machine"
        if not force and not _confirmed(question):
            return 0
        if not os.path.exists(guest.save):
            return 0 if force else _error(f"no saved state exists for {name}")
        for directory, _, files in os.walk(guest.directory):
            for file in files:
                if file.startswith(f"{name}.save"):
                    os.unlink(f"{directory}/{file}")
        return 0

    def loop(self, arguments: list[str]) -> int:
        """Be the background process of `vm start`."""
        return run(self._guest(arguments[-1]), lambda: self._can_suspend(quietly=True))


def _state(guest: Guest) -> str:
    if pid := _pid(guest.name):
        return f"Running ({pid})"
    if os.path.exists(guest.save):
        return "Suspended"
    return f"Locked ({first_line(guest.file('run.lock'))})" if guest.has("run.lock") else "Stopped"


def _pid(name: str) -> int:
    """Give the process whose title is that of the guest NAME: pgrep(1). 0 if there is none."""
    wanted = f"bhyve: {name} (bhyve)".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if file.read().rstrip(b"\0") == wanted:
                        return int(entry)
            except OSError:
                pass  # it is gone
    return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 15)
    except ProcessLookupError:
        pass


def _forced(arguments: list[str]) -> tuple[bool, str]:
    names = [word for word in arguments if not word.startswith("-")]
    return "-f" in arguments, names[0] if names else _usage()


def _confirmed(question: str) -> bool:
    """Ask; the end of input counts as yes, as it happens to do in vm-bhyve."""
    while True:
        sys.stdout.write(f"{question} (y/n)? ")
        sys.stdout.flush()
        answer = sys.stdin.readline()
        if not answer or answer.startswith("y"):
            return True
        if answer.startswith("n"):
            return False


def _error(text: str) -> NoReturn:
    complain(f"{os.path.abspath(sys.argv[0])}: ERROR: {text}")
    os._exit(1)


def _usage() -> NoReturn:
    print(
        "vm-bhyve: Bhyve virtual machine management v1.7.5\n\nvm " + " | ".join(_COMMANDS),
        flush=True,
    )
    os._exit(1)
