"""A guest of vm-bhyve, from the inside of a keeper: bhyve is the child of vm-bhyve's loop, not of the keeper.

So the keeper is there only for an errand: to start the guest once, or, as a guard, to hold it frozen once; between
errands the guest is vm-bhyve's own. RAM is saved in the two ways of ``keeper.bhyve``. `vm suspend` is no help: it
writes ``<guest>.save`` into the guest's directory, and the RAM must lie in the branch, to be in the same snapshot as
the disks. What `vm suspend` does besides, fencing the loop, ``drivers.guests.vm_bhyve_loop`` does.

bhyve's own words are not to be had: vm-bhyve throws them away, or keeps them in ``bhyve.log`` with debug=yes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reconciler.drivers.guests.bhyve_definition import LONGEST_PATH, Definition, saving_way
from reconciler.drivers.guests.vm_bhyve_conf import read_conf
from reconciler.drivers.guests.vm_bhyve_definition import definition_of
from reconciler.drivers.guests.vm_bhyve_loop import Loop, why_not_resuming
from reconciler.drivers.guests.vm_bhyve_state import look
from reconciler.errors import HoldLost, StepFailed
from reconciler.keeper import bhyve_control as control
from reconciler.keeper.bhyve_files import check_files
from reconciler.keeper.machine import Words
from reconciler.keeper.memory_files import discard, ensure_fresh, settle
from reconciler.keeper.order import section, text
from reconciler.keeper.vm_bhyve_suspend import COMPLETE, Suspension
from reconciler.model.observed import Running


@dataclass(frozen=True, slots=True)
class _Suspended:
    """The guest is in the files at MEMORY and nowhere else."""

    memory: str


@dataclass(frozen=True, slots=True)
class _Stopped:
    """The guest is in its bhyve, which STUB holds."""

    stub: control.Stub


class VmBhyveMachine:
    """One GUEST of vm-bhyve, whose directory is HOME. MODE is the document's."""

    def __init__(self, guest: str, home: str, mode: str, log: Words) -> None:
        self._guest = guest
        self._home = home
        self._mode = mode
        self._log = log
        self._loop = Loop(guest, home, log.write)
        self._way_a = Suspension(guest, self._loop, log)
        self._hold: _Suspended | _Stopped | None = None
        self._handed_over = False

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        """Make the machine as the contract says; the settings are ``guest`` and ``mode``."""
        settings = section(order, "machine")
        return cls(text(settings, "guest"), text(order, "home"), text(settings, "mode"), log)

    def running(self) -> str | None:
        """Tell how it is known, as the contract says; none after a start, when there is nothing left to keep."""
        if self._handed_over:
            return None
        state = look(self._guest, self._home)
        return None if state.running is Running.OFF else state.proof

    def start(self, memory: str | None, seconds: float) -> None:
        """Start the guest as the contract says, and leave it to vm-bhyve."""
        until = time.monotonic() + seconds
        if memory is not None:
            self._ensure_resumable()
        self._loop.start(memory, until)
        self._log.write("started by vm-bhyve" if memory is None else f"resumed from {memory}")
        self._handed_over = True

    def save(self, memory: str, seconds: float) -> None:
        """Save the guest as the contract says."""
        until = time.monotonic() + seconds
        ensure_fresh(memory, LONGEST_PATH)
        found = self._loop.look()
        if found.bhyve is None:
            raise StepFailed(f"{self._guest} does not run: {found.proof or 'it is off'}")
        if self._mode == "disks":
            raise StepFailed(f"the memory of {self._guest} is not saved (mode: disks)")
        definition = self._definition()
        if saving_way(self._mode, definition) == "checkpoint":
            self._checkpoint(memory, definition.stub, until)
            return
        if found.loop is None:
            raise StepFailed(
                f"bhyve (pid {found.bhyve}) of {self._guest} was not started by vm-bhyve (stop it, then"
                f" 'vm start {self._guest}')"
            )
        self._loop.ensure_not_suspended()
        self._ensure_resumable()
        self._way_a.suspend(found.bhyve, memory, until)
        self._hold = _Suspended(memory)

    def release(self, seconds: float) -> None:
        """Let the guest go on as the contract says."""
        hold, self._hold = self._hold, None
        match hold:
            case _Suspended(memory):
                self._ensure_off()
                self._way_a.resume(memory, time.monotonic() + seconds)
            case _Stopped(stub):
                self._ensure_held(stub)
                stub.close()
            case None:
                raise StepFailed(f"{self._guest} is not held")

    def end(self, seconds: float) -> None:
        """Let the guest be off as the contract says; one that was suspended is off already."""
        until = time.monotonic() + seconds
        hold, self._hold = self._hold, None
        match hold:
            case _Suspended():
                self._ensure_off()
            case _Stopped(stub):
                # Its disks were flushed for the checkpoint, and nothing has run since: there is nothing to ask for.
                self._ensure_held(stub)
                try:
                    self._loop.kill(until)
                finally:
                    stub.close()
            case None:
                self._loop.power_off(until)

    def shut_down(self, seconds: float) -> None:
        """Ask the guest to shut down as the contract says."""
        self._loop.shut_down(time.monotonic() + seconds)

    def _ensure_off(self) -> None:
        """Raise HoldLost if something started the suspended guest, which has written to its disks then."""
        proof = self._loop.look().proof
        if proof is not None:
            raise HoldLost(
                f"{self._guest} was started by something else while it was saved: {proof}"
            )

    def _ensure_held(self, stub: control.Stub) -> None:
        """Raise HoldLost, with STUB closed, unless the guest has stood still since it was saved."""
        if not stub.holds():
            stub.close()
            raise HoldLost(
                f"{self._guest} was let go by something else, or ended, while it was held (another debugger?)"
            )

    def _ensure_resumable(self) -> None:
        if why_not := why_not_resuming():
            raise StepFailed(f"the memory of {self._guest} is no use: {why_not}")

    def _definition(self) -> Definition:
        conf = read_conf(Path(self._home, f"{self._guest}.conf"))
        if conf is None:
            raise StepFailed(f"there is no {self._home}/{self._guest}.conf")
        return definition_of(conf, self._guest, self._home)

    def _checkpoint(self, memory: str, address: tuple[str, int] | None, until: float) -> None:
        if address is None:
            raise StepFailed(
                f"{self._guest} has no GDB stub, without which a checkpoint is not exact (write"
                f' bhyve_options="-G 127.0.0.1:PORT" into {self._guest}.conf and restart the guest)'
            )
        stub = control.Stub(address)
        try:
            stub.await_parked(self._guest, until - time.monotonic())
            self._write_held(stub, memory, until)
        except BaseException:
            stub.close()
            discard(memory)
            raise
        self._hold = _Stopped(stub)

    def _write_held(self, stub: control.Stub, memory: str, until: float) -> None:
        control.request_checkpoint(self._guest, memory, until - time.monotonic())
        if not control.await_served(self._guest, until - time.monotonic()):
            raise StepFailed(f"bhyve did not save {self._guest} in time")
        try:
            check_files(memory, COMPLETE)
        except StepFailed as error:
            raise StepFailed(f"bhyve could not save {self._guest}: {error}") from error
        settle(memory)
        if not stub.holds() or self._loop.look().bhyve is None:
            raise StepFailed(
                f"{self._guest} was not held while it was saved (is a debugger at its GDB stub?)"
            )
