"""What the keeper's server needs of a hypervisor: the same few verbs for all of them.

Each verb returns when it is done or raises StepFailed with the hypervisor's own words. The server calls one at a
time, from any thread; only ``running`` is also called while another verb works, and must not wait for it.

``keeper.__main__`` makes a machine from the keeper's order, by its kind, and imports no other module than that one:

    bhyve     keeper.bhyve.BhyveMachine
    qemu      keeper.qemu.QemuMachine
    vm-bhyve  keeper.vm_bhyve.VmBhyveMachine
    command   keeper.by_command.CommandMachine

each with ``from_order(order, log) -> Machine``, a class method. ORDER is the whole order: ``order["vm"]``,
``order["home"]`` (both are checked already) and ``order["machine"]``, the settings of the kind, which only the
machine understands and checks: ``keeper.order`` has ``section``, ``text``, ``optional_text`` and ``words`` for
that, which raise StepFailed. It starts nothing yet. LOG takes what a person may want to know later; what ends the
guest for good is the machine's to write there, as the last line.

The verbs in their order of use:

    start            once, unless the keeper is a guard (then the guest runs already and is not the keeper's child)
    save             writes MEMORY; after an error the guest goes on, and its partial files are gone
    release or end   exactly one of the two after each save that succeeded
    shut_down, end   at any other time

``save`` leaves files at MEMORY that ``memory_files.settle`` has put on stable storage. A machine that resumes from
them at ``release`` renames them first with ``memory_files.consume``.
"""

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable


class Words(Protocol):
    """Where a machine writes what happens to its guest (``keeper.log.Log``)."""

    def write(self, text: str) -> None:
        """Add one line of the keeper's own, with the time. Never raises."""

    def output(self, program: str, line: str) -> None:
        """Add one line that PROGRAM wrote. Never raises."""


class Machine(Protocol):
    """One guest's hypervisor, from the inside of the keeper."""

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        """Make the machine that ORDER describes; changes nothing yet. Raises StepFailed: the order is not sound."""

    def start(self, memory: str | None, seconds: float) -> None:
        """Start the guest, from the files at MEMORY if given; seen running within SECONDS.

        The server has renamed the files before (``memory_files.consume``) and removes them afterwards.
        """

    def running(self) -> str | None:
        """How it is known that the guest runs (``bhyve (pid 42) since 2026-11-25T08:00:00Z``); none if it is off.

        A guest whose hypervisor is just being started again after a reset runs. One that ``save`` froze may be
        either. Once none is told after a start, the guest is off for good and the keeper ends.
        """

    def save(self, memory: str, seconds: float) -> None:
        """Freeze the guest with disks flushed and RAM complete and fsynced at MEMORY; if that fails it goes on."""

    def release(self, seconds: float) -> None:
        """Let the saved guest go on with the next instruction; raises HoldLost if it went on before that."""

    def end(self, seconds: float) -> None:
        """Let the guest be off at once, without asking it; a saved one too.

        Raises HoldLost if a saved one went on before that: it is left alone then.
        """

    def shut_down(self, seconds: float) -> None:
        """Ask the guest to shut down; if it does not within SECONDS, raise and leave it running."""


@runtime_checkable
class Described(Protocol):
    """A machine that also knows what its guest is made of."""

    def topology(self) -> str:
        """A digest of the devices that the guest runs with, empty if it is off; never waits.

        The definition may be edited while the guest runs; memory can be resumed only with the devices of then.
        """
