"""The restart loop of the double of vm-bhyve: `vm _run`, which launches bhyve again and again."""

from __future__ import annotations

import _socket
import os

from tests.doubles.host import place, sibling
from tests.doubles.system import finished, spawn
from tests.doubles.vm_guest import (
    Configuration,
    Guest,
    bhyvectl,
    is_stopped,
    put,
    remove,
    set_key,
    yes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NO_GUEST, RUNS_ALREADY, IMPOSSIBLE = 5, 10, 15
"""The exit codes of the loop, where it is not that of bhyve."""


def run(guest: Guest | None, can_suspend: Callable[[], bool]) -> int:
    """Launch bhyve for GUEST until an exit code, a lock or a fault ends it."""
    if guest is None:
        return NO_GUEST
    if not is_stopped(guest):
        return RUNS_ALREADY
    conf = guest.configuration
    guest.log("initialising")
    if not (conf.get("loader") and conf.get("cpu") and conf.get("memory")):
        guest.log("fatal; unable to start - missing required configuration")
        return IMPOSSIBLE
    if not conf.get("uuid"):
        file = guest.file(f"{guest.name}.conf")
        set_key(file, "uuid", "00000000-0000-4000-8000-000000000001")
    firmware = _firmware(guest, conf) if conf["loader"].startswith("uefi") else []
    if firmware is None:
        return IMPOSSIBLE
    words = _devices(guest, conf, uefi=bool(firmware))
    words += ["-c", conf["cpu"], "-m", conf["memory"], "-AHPw"]
    words += [*conf.get("bhyve_options", "").split(), *firmware]
    ports = _ports(guest, conf)
    put(guest.file("run.lock"), _socket.gethostname())
    guest.log("booting")
    os.chdir("/")
    while True:
        _prepare(guest, conf)
        if not firmware and (code := _load(guest, conf)):
            break
        resume = _resume(guest, can_suspend) if os.path.exists(guest.save) else []
        guest.log("starting bhyve")
        log = guest.file("bhyve.log") if yes(conf.get("debug", "no")) else "/dev/null"
        with open(log, "wb") as errors:
            command = [sibling("bhyve"), *words, *resume, *ports, guest.name]
            code = finished(spawn(command, errors=errors.fileno()))
        guest.log(f"bhyve exited with status {code}")
        if guest.has("suspending.lock") or not _restarts(guest, conf, code):
            break
        guest.log("restarting")
    guest.log("suspended" if guest.has("suspending.lock") else "stopped")
    if os.path.exists(guest.device):
        bhyvectl(guest.name, "--destroy")
    for left in ("run.lock", "suspending.lock", "console"):
        remove(guest.file(left))
    return code


def _load(guest: Guest, conf: Configuration) -> int:
    """Run the loader of a guest without firmware."""
    words = [
        sibling("bhyveload"),
        "-m",
        conf["memory"],
        "-d",
        conf.get("disk0_name", ""),
        guest.name,
    ]
    code = finished(spawn(words))
    if code:
        guest.log(f"fatal; loader returned error {code}")
    return code


def _resume(guest: Guest, can_suspend: Callable[[], bool]) -> list[str]:
    if can_suspend():
        guest.log("saved vm state found, resuming")
        return ["-r", guest.save]
    guest.log(
        "saved vm state found but suspend/resume is unavailable or disabled, "
        "attempting to cold boot"
    )
    return []


def _restarts(guest: Guest, conf: Configuration, code: int) -> bool:
    if code == 0:
        return conf.get("on_restart", "restart") == "restart"
    if code in (1, 2):
        asked = guest.has("restart")
        remove(guest.file("restart"))
        return asked
    return conf.get("on_fault", "shutdown") == "restart"


def _firmware(guest: Guest, conf: Configuration) -> list[str] | None:
    directory = place("/usr/local/share/uefi-firmware")
    rom = f"{directory}/BHYVE_UEFI.fd"
    if not os.path.exists(rom):
        guest.log(f"fatal; unable to locate firmware {rom}")
        return None
    if yes(conf.get("uefi_vars", "")):
        template = f"{directory}/BHYVE_UEFI_VARS.fd"
        if not guest.has("uefi-vars.fd"):
            if not os.path.exists(template):
                guest.log("fatal; unable to locate UEFI vars database or template")
                return None
            with open(template, "rb") as source, open(guest.file("uefi-vars.fd"), "wb") as copy:
                copy.write(source.read())
        rom = f"{rom},{guest.file('uefi-vars.fd')}"
    return ["-l", f"bootrom,{rom}"]


def _devices(guest: Guest, conf: Configuration, *, uefi: bool) -> list[str]:
    """Give the -s options; slots come from the order of the entries, so that any edit moves them."""
    bridge = {"amd": "amd_hostbridge"}.get(conf.get("hostbridge", ""), "hostbridge")
    words = ["-s", f"0,{bridge}", "-s", "31,lpc"]
    slot, function = int(conf.get("start_slot", "4")), 0
    number = 0
    while conf.get(f"disk{number}_name") and conf.get(f"disk{number}_type"):
        path = _disk_path(guest, conf[f"disk{number}_name"], conf.get(f"disk{number}_dev", "file"))
        extra = conf.get(f"disk{number}_opts", "")
        device = f"0:{slot}:{function},{conf[f'disk{number}_type']},{path}"
        words += ["-s", f"{device},{extra}" if extra else device]
        if uefi:
            slot += 1
        else:
            function += 1
        number += 1
    if number and not uefi:
        slot, function = slot + 1, 0
    number = 0
    while conf.get(f"network{number}_type"):
        tap = f"tap{number},mac={conf.get(f'network{number}_mac', '58:9c:fc:00:00:01')}"
        words += ["-s", f"0:{slot}:{function},{conf[f'network{number}_type']},{tap}"]
        function += 1
        number += 1
    if number:
        slot += 1
    if yes(conf.get("virt_random", "")):
        words += ["-s", f"0:{slot}:0,virtio-rnd"]
        slot += 1
    if conf.get("virt_console0"):
        words += ["-s", f"0:{slot}:0,virtio-console,0={guest.file('vtcon.0')}"]
    return words


def _disk_path(guest: Guest, name: str, kind: str) -> str:
    if kind in ("zvol", "sparse-zvol"):
        return f"/dev/zvol/{guest.store.dataset}/{guest.name}/{name}"
    return name if kind == "custom" else guest.file(name)


def _ports(guest: Guest, conf: Configuration) -> list[str]:
    words, said = [], ""
    for number, port in enumerate(conf.get("comports", "com1").split(), start=1):
        path = f"/dev/nmdm-{guest.name}.{number}"
        words += ["-l", f"{port},{path}A"]
        said += f"{port}={path}B\n"
    put(guest.file("console"), said.rstrip("\n"))
    return words


def _prepare(guest: Guest, conf: Configuration) -> None:
    """Run the operator's script, before every launch, while the guest is fully down."""
    script = conf.get("prestart", "")
    path = script if script.startswith("/") else guest.file(script)
    if script and os.access(path, os.X_OK):
        dataset = f"{guest.store.dataset}/{guest.name}"
        guest.log(f"running prestart script {path} {guest.name} {dataset}")
        os.chdir(guest.directory)
        finished(spawn([path, guest.name, dataset]))
        os.chdir("/")
