"""What can be asked of a running bhyve from outside: through bhyvectl, its socket and its GDB stub.

bhyvectl's exit 0 means only that a message was queued; ``await_served`` tells when bhyve is done with it, and the
files or the exit code tell what came of it.
"""

import socket
import time
from collections.abc import Mapping

from reconciler.drivers.command import run
from reconciler.drivers.guests import bhyve_process
from reconciler.errors import CommandFailed, StepFailed

_QUICK_SECONDS = 30.0  # for requests that need no work
_CONNECT_SECONDS = 10.0
_PARK_SECONDS = 10.0
_LOOK_SECONDS = 0.02
_ANY_CODE = range(256)


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
    """A connection to the guest's GDB stub at ADDRESS: as long as it lasts, no vCPU runs. Raises StepFailed.

    connect(2) returns before bhyve has taken the connection up; ``await_parked`` tells when it has.
    """

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

    def await_parked(self, vm: str, seconds: float) -> None:
        """Wait until bhyve has told every vCPU of VM to stop, if bhyvectl can tell that; raises StepFailed.

        Only before a checkpoint: its end clears what the kernel remembers of it (vm_resume_cpu), while bhyve itself
        keeps the vCPUs until the connection ends (gdb.c), which ``holds`` tells.
        """
        deadline = time.monotonic() + min(seconds, _PARK_SECONDS)
        while not _told_to_stop(vm):
            if not self.holds() or time.monotonic() > deadline:
                raise StepFailed(f"{vm} was not held (is a debugger at its GDB stub?)")
            time.sleep(_LOOK_SECONDS)

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


def _told_to_stop(vm: str) -> bool:
    """Whether every vCPU was told to stop; taken for true where bhyvectl is too old to tell. Raises StepFailed.

    Not every vCPU of the definition need be active: older kernels activate one when the guest starts it.
    """
    argv = ["bhyvectl", f"--vm={vm}", "--get-active-cpus", "--get-debug-cpus"]
    try:
        text = run(argv, timeout=_QUICK_SECONDS, codes=_ANY_CODE).stdout
    except CommandFailed as error:
        raise StepFailed(str(error)) from error
    told = _cpus(text)
    return "debug cpus" not in told or told["debug cpus"] == told.get("active cpus")


def _cpus(text: str) -> Mapping[str, str]:
    """The sets of vCPUs that bhyvectl prints (print_cpus), each by its name."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): numbers.strip() for name, colon, numbers in lines if colon}


def _bhyvectl(vm: str, request: str, seconds: float) -> None:
    try:
        run(["bhyvectl", f"--vm={vm}", request], timeout=max(seconds, 1.0))
    except CommandFailed as error:
        raise StepFailed(str(error)) from error
