"""A guest of the operator's own commands, while its memory is saved: the keeper is a guard, the guest no child of it.

``save PATH`` leaves the guest suspended; ``start PATH`` lets it go on. What each command means is said in
``drivers.guests.command_definition``.
"""

import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from reconciler.drivers.guests.command_definition import Commands
from reconciler.errors import StepFailed
from reconciler.keeper.machine import Words
from reconciler.keeper.memory_files import consume, discard, ensure_fresh, settle
from reconciler.keeper.order import section, text, words

_LONGEST_PATH = 1023
_GO_ON_SECONDS = 60.0  # after a save that failed


class CommandMachine:
    """One guest of the operator's COMMANDS."""

    def __init__(self, commands: Commands, log: Words) -> None:
        self._commands = commands
        self._log = log
        self._memory: str | None = None  # what the guest is suspended into

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        """Make the machine as the contract says; the settings are ``start``, ``stop``, ``running`` and ``save``."""
        settings = section(order, "machine")
        read = {name: words(settings, name) for name in ("start", "stop", "running", "save")}
        for name, command in read.items():
            if not command and name != "save":
                raise StepFailed(f"the keeper's order has no command '{name}'")
        return cls(Commands(home=text(order, "home"), **read), log)

    def start(self, memory: str | None, seconds: float) -> None:
        """Start the guest as the contract says."""
        self._commands.do_start(memory, time.monotonic() + seconds)

    def running(self) -> str | None:
        """Ask whether the guest runs, as the contract says; raises StepFailed where that is unknown."""
        return self._commands.proof if self._commands.runs() else None

    def save(self, memory: str, seconds: float) -> None:
        """Suspend the guest into MEMORY as the contract says."""
        if not self._commands.save:
            raise StepFailed("the guest has no 'save' command")
        ensure_fresh(memory, _LONGEST_PATH)
        suspended = False
        try:
            self._commands.do_save(memory, time.monotonic() + seconds)
            suspended = True
            _ensure_full(memory)
            settle(memory)
        except StepFailed as error:
            raise self._gone_on(error, memory, suspended=suspended) from error
        self._memory = memory

    def release(self, seconds: float) -> None:
        """Let the suspended guest go on as the contract says."""
        memory, self._memory = self._memory, None
        if memory is None:
            raise StepFailed("the guest is not suspended")
        self._resume(memory, time.monotonic() + seconds)

    def end(self, seconds: float) -> None:
        """Stop the guest as the contract says; one that is suspended may be off already, or paused."""
        saved, self._memory = self._memory, None
        if saved is None or self._commands.runs():
            self.shut_down(seconds)

    def shut_down(self, seconds: float) -> None:
        """Stop the guest as the contract says; the operator has only one command for that."""
        self._commands.do_stop(time.monotonic() + seconds)

    def _resume(self, memory: str, until: float) -> None:
        """Let the guest go on from MEMORY, which is used up; a guest that cannot is started from its disks."""
        resumed = consume(memory)
        try:
            self._commands.do_start(resumed, until)
        except StepFailed as error:
            if self._seems_on():
                raise
            self._log.write(f"the guest did not go on and is started from its disks: {error}")
            self._commands.do_start(None, time.monotonic() + _GO_ON_SECONDS)
            raise StepFailed(
                f"the guest did not go on, and was started from its disks: {error}"
            ) from error
        finally:
            discard(resumed)

    def _gone_on(self, error: StepFailed, memory: str, *, suspended: bool) -> StepFailed:
        """Let the guest go on after a save that failed, and give what to raise then.

        A guest that is SUSPENDED may be paused, and 'running' may say that it runs. A command that had to be killed
        may have suspended it or not.
        """
        until = time.monotonic() + _GO_ON_SECONDS
        try:
            if _is_full(memory) and (suspended or not self._seems_on()):
                self._resume(memory, until)
            elif not self._seems_on():
                self._commands.do_start(None, until)
        except StepFailed as worse:
            return StepFailed(f"{error}; {worse}")
        finally:
            discard(memory)
        return error

    def _seems_on(self) -> bool:
        """Whether the guest runs; one of which that is unknown must not be started a second time."""
        with suppress(StepFailed):
            return self._commands.runs()
        return True


def _is_full(memory: str) -> bool:
    with suppress(OSError):
        status = Path(memory).lstat()
        return stat.S_ISREG(status.st_mode) and status.st_size > 0
    return False


def _ensure_full(memory: str) -> None:
    if not _is_full(memory):
        raise StepFailed(f"the 'save' command wrote nothing to {memory}")
