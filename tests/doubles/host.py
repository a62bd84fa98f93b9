"""The host that the doubles pretend to be: where its files are, which faults it has, what its errors are called.

Everything lies below a root directory: DOUBLE_ROOT in the environment, else the directory below which the program was
started as usr/local/sbin/NAME or sbin/NAME (so / where it is installed for real). Start-up time matters under
emulation: this and its neighbours import little.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

HOST_ERRORS = {
    errno.ECONNREFUSED: 61,
    errno.ENAMETOOLONG: 63,
    errno.ENOTEMPTY: 66,
    errno.ELOOP: 62,
}
"""FreeBSD's number of an error whose number here is another one: errno(2)."""


def _root() -> str:
    given = os.environ.get("DOUBLE_ROOT")
    if given is not None:
        return given.rstrip("/")
    directory = os.path.dirname(os.path.abspath(sys.argv[0]))
    for usual in ("/usr/local/sbin", "/usr/sbin", "/sbin"):
        if directory.endswith(usual):
            return directory[: -len(usual)]
    return ""


ROOT = _root()


def place(path: str) -> str:
    """Give the real place of PATH of the pretended host."""
    return ROOT + path


def switches() -> dict[str, object]:
    """Read the faults that are switched on, at this moment: README.md has the list."""
    try:
        with open(place("/var/run/double-bhyve.json"), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    import json  # most of the time there is nothing to read

    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def number(name: str, default: float = 0) -> float:
    """Give the number that the switch NAME has; DEFAULT if it is off."""
    value = switches().get(name)
    return value if isinstance(value, int | float) else default


def word(name: str) -> str:
    """Give the word that the switch NAME has; empty if it is off."""
    value = switches().get(name)
    return value if isinstance(value, str) else ""


def on(name: str) -> bool:
    """Tell whether the switch NAME is on."""
    return bool(switches().get(name))


def host_error(error: OSError) -> int:
    """Give FreeBSD's number of ERROR."""
    number_here = error.errno or 0
    return HOST_ERRORS.get(number_here, number_here)


def complain(text: str) -> None:
    """Write a line to standard error at once."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        pass  # like any program whose reader is gone


def fail(code: int, *lines: str) -> NoReturn:
    """Write LINES to standard error and end with CODE."""
    for line in lines:
        complain(line)
    os._exit(code)


def sibling(program: str) -> str:
    """Give the path of another program of this host, as it was started itself."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), program)
