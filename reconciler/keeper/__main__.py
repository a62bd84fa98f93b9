"""``python -m reconciler.keeper``: read an order, become a keeper, and tell the caller that it can be asked.

The order is one JSON line on standard input (``order``). One line comes back on standard output: ``ready``, or why
not. By then the keeper is a process of its own that belongs to nobody: the one that was started ends.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

from reconciler.errors import CkptreeError, StepFailed
from reconciler.keeper.endpoint import Endpoint
from reconciler.keeper.lock import sign_lock, take_lock
from reconciler.keeper.log import Log
from reconciler.keeper.machine import Machine
from reconciler.keeper.order import Order, parse_order
from reconciler.keeper.server import Server

_LONGEST_ORDER = 1 << 20  # bytes
_LOCK_SECONDS = 15.0  # for the keeper of the guest's life before this one to end


def main() -> int:
    """Become the keeper that standard input asks for; the exit code is that of the process that was started."""
    os.umask(0o077)
    try:
        order = parse_order(sys.stdin.readline(_LONGEST_ORDER))
        # No descriptor is closed on purpose: the lock lives as long as the process.
        lock = take_lock(order.home, _LOCK_SECONDS)
        try:
            log = Log(order.log)
        except OSError as error:
            raise StepFailed(f"{order.log} cannot be written: {error.strerror}") from error
        machine = make_machine(order, log)
        endpoint = Endpoint(order.socket)
    except CkptreeError as error:
        return _tell(str(error), 1)
    try:
        if os.fork():
            return _tell("ready", 0)
    except OSError as error:
        endpoint.withdraw()
        return _tell(f"the keeper could not become a process of its own: {error.strerror}", 1)
    _detach(log)
    sign_lock(lock)
    try:
        Server(order, endpoint, machine, log).run()
    except Exception as error:  # noqa: BLE001 - the last resort: it belongs into the log, in one line
        log.write(f"the keeper failed: {type(error).__name__}: {error}")
        endpoint.withdraw()
    return 0


def make_machine(order: Order, log: Log) -> Machine:  # pragma: no branch - one line a kind
    """Make the machine of the order's kind; raises StepFailed."""
    match order.kind:
        case "bhyve":
            from reconciler.keeper.bhyve import BhyveMachine

            return BhyveMachine.from_order(order.whole, log)
        case "qemu":
            from reconciler.keeper.qemu import QemuMachine

            return QemuMachine.from_order(order.whole, log)
        case "vm-bhyve":
            from reconciler.keeper.vm_bhyve import VmBhyveMachine

            return VmBhyveMachine.from_order(order.whole, log)
        case "command":
            from reconciler.keeper.by_command import CommandMachine

            return CommandMachine.from_order(order.whole, log)
        case other:
            raise StepFailed(f"the keeper's order has an unknown kind of machine, {other!r}")


def _tell(text: str, code: int) -> int:
    with suppress(OSError):
        print(" ".join(text.split()), flush=True)  # noqa: T201 - the answer to the order
    return code


def _detach(log: Log) -> None:
    """Belong to no session, caller or terminal, and go on whatever signal asks for an end: the guest is what counts."""
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # A handler and not SIG_IGN, which the hypervisor would inherit.
        signal.signal(number, _go_on)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    log.attach((1, 2))
    threading.excepthook = lambda failed: log.write(f"the keeper failed: {failed.exc_value!r}")


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing: the host's end comes with SIGKILL, and the guest was asked by the host itself."""


if __name__ == "__main__":
    sys.exit(main())
