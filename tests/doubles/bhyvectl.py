"""The double of bhyvectl: sends requests to the double of bhyve and knows as little of what becomes of them."""

from __future__ import annotations

import os
import sys

from tests.doubles.host import complain, fail, host_error, place, word
from tests.doubles.system import connected, send_file

_QUESTIONS = {
    "get-active-cpus": "active",
    "get-debug-cpus": "debug",
    "get-suspended-cpus": "suspended",
}
_ORDERS = ("create", "destroy", "force-poweroff", "force-reset")
_REFUSED = 255  # what a failed ioctl's -1 becomes as an exit code


def main() -> None:
    """Be bhyvectl."""
    can_snapshot = word("no_snapshot") not in ("userland", "both")
    name, flags, filename = "", [], ""
    for argument in sys.argv[1:]:
        option, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            _usage(can_snapshot)
        if option == "vm" and value:
            name = value
        elif option in ("suspend", "checkpoint") and value and can_snapshot:
            flags.append(option)
            filename = value
        elif option in (*_QUESTIONS, *_ORDERS) and not value:
            flags.append(option)
        else:
            _usage(can_snapshot)
    if not name or not flags:
        _usage(can_snapshot)
    saving = [flag for flag in flags if flag in ("suspend", "checkpoint")]
    if saving and len(flags) > 1:
        fail(1, "bhyvectl: mutually exclusive actions specified")
    os._exit(_act(name, flags, filename))


def _act(name: str, flags: list[str], filename: str) -> int:
    path = place(f"/dev/vmm/{name}")
    if "create" in flags:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            return _errno(host_error(error), _REFUSED)
    if not os.path.exists(path):
        fail(1, f"vm_open: {name} could not be opened: No such file or directory")
    if flags[0] in ("suspend", "checkpoint"):
        return _save(name, flags[0], filename)
    for flag in flags:
        if flag in _QUESTIONS:
            print(f"{flag[4:].replace('-', ' ')}:\t {_ask(name, _QUESTIONS[flag]) or '(none)'}")
        elif flag.startswith("force"):
            _ask(name, flag)
    sys.stdout.flush()
    if "destroy" in flags:
        _ask(name, "destroy")
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
    return 0


def _save(name: str, command: str, path: str) -> int:
    directory, filename = os.path.split(os.path.abspath(path))
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        complain(f"bhyvectl: Failed to open directory {directory}: {error.strerror}")
        return _errno(host_error(error), host_error(error))
    try:
        connection = connected(place(f"/var/run/bhyve/{name}"))
    except OSError as error:
        complain(f"connect() failed: {error.strerror}")
        return _errno(host_error(error), host_error(error))
    send_file(connection, f"{command} {filename}".encode(), opened)
    connection.close()
    return 0


def _ask(name: str, request: str) -> str:
    """Ask the process of the guest; a guest without one has nothing to say."""
    try:
        connection = connected(place(f"/var/run/double-bhyve/{name}"))
        connection.sendall(request.encode())
        return connection.recv(256).decode()
    except OSError:
        return ""  # it is gone, or ended before it could answer


def _errno(number: int, code: int) -> int:
    print(f"errno = {number}", flush=True)
    return code


def _usage(can_snapshot: bool) -> None:
    saving = (
        "       [--checkpoint=<filename>]\n       [--suspend=<filename>]\n" if can_snapshot else ""
    )
    fail(
        1,
        "Usage: bhyvectl --vm=<vmname>\n       [--create]\n       [--destroy]\n"
        f"{saving}"
        "       [--get-active-cpus]\n       [--get-debug-cpus]\n       [--get-suspended-cpus]\n"
        "       [--force-reset]\n       [--force-poweroff]",
    )
