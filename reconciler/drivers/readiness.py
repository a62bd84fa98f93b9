"""Tell the service manager how far the daemon is: sd_notify(3), which systemd and a few others understand.

A datagram to the socket that NOTIFY_SOCKET names; without that variable (FreeBSD's daemon(8), a terminal) nothing is
said. What is said, and when, is the daemon's. A manager that does not listen is never a reason to fail.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

_VARIABLE = "NOTIFY_SOCKET"


def _monotonic_ns() -> int:
    """What sd_notify(3) calls MONOTONIC_USEC, in nanoseconds: CLOCK_MONOTONIC, whatever time.monotonic() uses."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Readiness:
    """The way to the service manager that ENVIRONMENT names; MONOTONIC gives its clock in nanoseconds.

    The variable is taken out of ENVIRONMENT: the guests that are started later must not speak for the daemon.
    """

    def __init__(
        self,
        environment: MutableMapping[str, str] = os.environ,
        monotonic: Callable[[], int] = _monotonic_ns,
    ) -> None:
        address = environment.pop(_VARIABLE, "")
        # '@' begins a name of Linux that is not in any file system; the kernel wants a null byte there.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._monotonic = monotonic

    @property
    def heard(self) -> bool:
        """Whether anybody wants to be told."""
        return self._address.startswith(("/", "\0"))

    def ready(self) -> None:
        """Begun, or set up anew after `reloading`."""
        self._say("READY=1")

    def reloading(self) -> None:
        """The settings are being read again; `ready` must follow."""
        # Since systemd 253 a reload counts only with the time, so that it is not taken for an earlier one.
        self._say("RELOADING=1", f"MONOTONIC_USEC={self._monotonic() // 1000}")

    def stopping(self) -> None:
        """The end has begun, and is on purpose."""
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        """TEXT, a line for people, is shown by `systemctl status`."""
        line = " ".join(text.split())
        if line:
            self._say(f"STATUS={line}")

    def _say(self, *lines: str) -> None:
        if not self.heard:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(0)  # a manager that hangs must not hang the daemon
            manager.sendto("\n".join(lines).encode(), self._address)
