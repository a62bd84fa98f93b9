"""What can be asked of a running bhyve from outside: through bhyvectl, its socket and its GDB stub.

bhyvectl's exit 0 means only that a message was queued; ``await_served`` tells when bhyve is done with it, and the
files or the exit code tell what came of it.
"""

import socket
import time

from reconciler.drivers.command import run
from reconciler.drivers.guests import bhyve_process
from reconciler.errors import CommandFailed, StepFailed

_QUICK_SECONDS = 30.0  # for requests that need no work
_CONNECT_SECONDS = 10.0


def make_object(vm: str) -> None:
    """Make the VM object into which a guest without firmware is resumed; raises StepFailed."""
    _bhyvectl(vm, "--create", _QUICK_SECONDS)


def remove_object(vm: str) -> None:
    """Remove the VM object if there is one; it stays after every end of bhyve but a suspend. Raises StepFailed."""
    if bhyve_process.has_object(vm):
        _bhyvectl(vm, "--destroy", _QUICK_SECONDS)


def request_suspend(vm: str, memory: str, seconds: float) -> None:
    """Ask bhyve to write the guest to MEMORY and to end; raises StepFailed if it was not even asked."""
    _bhyvectl(vm, f"--suspend={memory}", seconds)


def request_checkpoint(vm: str, memory: str, seconds: float) -> None:
    """Ask bhyve to write the guest to MEMORY and to go on; raises StepFailed if it was not even asked."""
    _bhyvectl(vm, f"--checkpoint={memory}", seconds)


def power_off(vm: str, seconds: float) -> None:
    """Switch the guest off without asking it; raises StepFailed."""
    _bhyvectl(vm, "--force-poweroff", seconds)


def await_served(vm: str, seconds: float) -> bool:
    """Wait until bhyve has served the requests so far, or is gone; false if it has not in time.

    Its one thread takes the next connection only when it is done with the one before; ours says nothing and is closed
    at once, of which it complains on its standard error.
    """
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as barrier:
        try:
            barrier.settimeout(max(seconds, 0.1))
            barrier.connect(str(bhyve_process.SOCKETS / vm))
            barrier.shutdown(socket.SHUT_WR)
            barrier.settimeout(max(deadline - time.monotonic(), 0.1))
            barrier.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
    return True


class Stub:
    """A connection to the guest's GDB stub at ADDRESS: as long as it lasts, no vCPU runs. Raises StepFailed."""

    def __init__(self, address: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._connection = socket.socket(family, socket.SOCK_STREAM)
        self._connection.settimeout(_CONNECT_SECONDS)
        try:
            self._connection.connect(address)
        except OSError as error:
            self._connection.close()
            raise StepFailed(
                f"the guest's GDB stub at {address[0]}:{address[1]} does not answer: {error.strerror or error}"
            ) from error

    def holds(self) -> bool:
        """Whether the connection stands; bhyve closes a second one, if a debugger was there before."""
        try:
            self._connection.settimeout(0)
            return bool(self._connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let the vCPUs run."""
        self._connection.close()


def _bhyvectl(vm: str, request: str, seconds: float) -> None:
    try:
        run(["bhyvectl", f"--vm={vm}", request], timeout=max(seconds, 1.0))
    except CommandFailed as error:
        raise StepFailed(str(error)) from error
