"""A guest that the operator's own commands start, stop, look at and save.

It belongs to nobody here: the commands are simply run. Only while its memory is saved a keeper holds it, as a guard
(``client.Kept``, ``keeper.by_command``), so that it goes on whatever becomes of ckptree.
"""

import hashlib
import os
import platform
import time
from pathlib import Path

from reconciler.drivers.guests.client import BASE_SECONDS, STOP_SECONDS, Kept, Order
from reconciler.drivers.guests.command_definition import Commands
from reconciler.drivers.storage import sync_directory
from reconciler.errors import CkptreeError, StepFailed
from reconciler.model.desired import Command, DesiredVm
from reconciler.model.observed import Ability, GuestState, Running
from reconciler.model.properties import RESUMED

_DIGEST = 12  # hexadecimal digits


class CommandGuest(Kept):
    """The guest COMMAND of the document DESIRED, whose home is mounted at HOME."""

    def __init__(self, desired: DesiredVm, command: Command, home: str) -> None:
        words = {
            "start": list(command.start),
            "stop": list(command.stop),
            "running": list(command.running),
            "save": list(command.save),
        }
        machine = {"kind": "command", **words}
        super().__init__("command", Order(vm=desired.vm, home=home, machine=machine, guard=True))
        self._words = words
        self._commands = Commands(
            home=home,
            start=command.start,
            stop=command.stop,
            running=command.running,
            save=command.save,
        )

    def probe(self) -> Ability:
        """Find out what can be done as the contract says; the commands are not run."""
        for name, words in self._words.items():
            if words and not (Path(words[0]).is_file() and os.access(words[0], os.X_OK)):
                return Ability(
                    why_not=f"its command '{name}' cannot be run: there is no program {words[0]}"
                )
        if not self._words["save"]:
            return Ability(managed=True, why_not="it has no 'save' command")
        text = "\0".join("\1".join(words) for words in self._words.values())
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST]
        fingerprint = f"machine={platform.machine()};commands={digest}"
        return Ability(managed=True, memory=True, why_not="", fingerprint=fingerprint)

    def unkept(self) -> GuestState:
        """What the operator's command says."""
        try:
            runs = self._commands.runs()
        except CkptreeError as error:
            return GuestState(Running.UNKNOWN, str(error))
        return (
            GuestState(Running.RUNNING, self._commands.proof) if runs else GuestState(Running.OFF)
        )

    def stop(self, *, now: bool) -> None:  # noqa: ARG002 - the operator has only one command for that
        """Stop the guest as the contract says."""
        self._ensure_free()
        if self.unkept().running is not Running.OFF:
            self._commands.do_stop(time.monotonic() + STOP_SECONDS)

    def start(self, memory: str | None = None) -> None:
        """Start the guest as the contract says."""
        self._ensure_free()
        state = self.unkept()
        if state.running is not Running.OFF:
            raise StepFailed(
                f"the guest is not started, it is {state.running.value}: {state.proof}"
            )
        until = time.monotonic() + BASE_SECONDS
        if memory is None:
            self._commands.do_start(None, until)
            return
        resumed = _used_up(memory)
        try:
            self._commands.do_start(str(resumed), until)
        finally:
            resumed.unlink(missing_ok=True)

    def _ensure_free(self) -> None:
        """Refuse to act while a guard holds the guest, or lets it go on after a ckptree that was killed."""
        state = self.kept()
        if state is not None:
            raise StepFailed(f"the guest's keeper is at work: {state.proof}")


def _used_up(memory: str) -> Path:
    """Give the file MEMORY its last name, so that no other start ever finds it; raises StepFailed."""
    target = Path(memory).with_name(RESUMED)
    try:
        Path(memory).replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise StepFailed(f"{memory} cannot be resumed: {error.strerror}") from error
    return target
