"""A bhyve guest, from the inside of its keeper: bhyve is the keeper's child, and its exit codes decide what follows.

Memory is saved in one of two ways. ``suspend``: bhyve writes the guest and ends; to let it go on, another bhyve
resumes it. ``checkpoint``: a connection to the GDB stub holds the vCPUs while bhyve writes and until we are done.

Memory is resumed at most once: every relaunch after a reset is cold. ``bhyve_launch`` starts bhyve,
``bhyve_control`` asks it for things, ``bhyve_files`` looks at what it wrote.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reconciler.drivers.guests.bhyve_definition import (
    LONGEST_PATH,
    Definition,
    read_definition,
    saving_way,
)
from reconciler.errors import CommandFailed, HoldLost, StepFailed
from reconciler.keeper import bhyve_control as control
from reconciler.keeper.bhyve_files import check_files
from reconciler.keeper.bhyve_launch import (
    RESET,
    SUSPENDED,
    Launcher,
    ensure_alone,
    explain,
    kill,
    quoted,
)
from reconciler.keeper.child import Child
from reconciler.keeper.machine import Words
from reconciler.keeper.memory_files import consume, discard, ensure_fresh, settle
from reconciler.keeper.order import optional_text, section, text, words
from reconciler.model.desired import Bhyve
from reconciler.model.properties import RESUMED

_COLD_SECONDS = 60.0  # for a start that nobody waits for
_SLOWEST = 20_000_000  # bytes of RAM a second
_EXIT_SECONDS = 0.5  # between the last that a process serves and its exit code
_POWER_OFF_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Suspended:
    """The guest is in the files at MEMORY and nowhere else."""

    memory: str


@dataclass(frozen=True, slots=True)
class _Stopped:
    """The guest is in its bhyve, which STUB holds."""

    stub: control.Stub


class _Lost:
    """The guest was stopped, and its bhyve ended: it may have been started again from its disks meanwhile."""


_Hold = _Suspended | _Stopped | _Lost


class BhyveMachine:
    """One guest of bhyve; its mode says how it is saved, and ``auto`` takes the shorter way where there is a stub."""

    def __init__(self, vm: str, home: str, bhyve: Bhyve, log: Words) -> None:
        self._vm = vm
        self._home = home
        self._bhyve = bhyve
        self._launcher = Launcher(vm, home, bhyve, log)
        self._log = log
        self._lock = threading.RLock()
        """Held while anything is done to the guest, so that its end is nobody else's to judge meanwhile."""
        self._child: Child | None = None
        self._hold: _Hold | None = None
        self._late: str | None = None
        """Where a suspend that took too long may still write the guest."""
        self._definition = Definition(devices=(), memory=0, cpus=1)

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        """Make the machine as the contract says; the settings are ``config`` or ``args``, ``loader`` and ``mode``."""
        settings = section(order, "machine")
        bhyve = Bhyve(
            config=optional_text(settings, "config"),
            args=words(settings, "args"),
            loader=words(settings, "loader"),
            mode=text(settings, "mode"),
        )
        return cls(text(order, "vm"), text(order, "home"), bhyve, log)

    def running(self) -> str | None:
        """Tell how it is known, as the contract says."""
        child = self._child
        if child is None:
            return None
        if not child.alive:
            return f"bhyve (pid {child.pid}) has just ended, and may be started again"
        return f"bhyve (pid {child.pid}) since {child.since}"

    def topology(self) -> str:
        """Tell what the guest is made of, as the contract says."""
        return self._definition.digest if self._child is not None else ""

    def start(self, memory: str | None, seconds: float) -> None:
        """Start the guest as the contract says."""
        until = time.monotonic() + seconds
        with self._lock:
            self._definition = read_definition(self._bhyve, self._vm, self._home)
            ensure_alone(self._vm)
            self._launch(memory, until)
            self._say("started" if memory is None else f"resumed from {memory}")

    def save(self, memory: str, seconds: float) -> None:
        """Save the guest as the contract says."""
        until = time.monotonic() + seconds
        with self._lock:
            child = self._child
            if child is None or not child.alive:
                raise StepFailed(f"{self._vm} is off")
            ensure_fresh(memory, LONGEST_PATH)
            child.forget_output()
            if saving_way(self._bhyve.mode, self._definition) == "checkpoint":
                self._checkpoint(child, memory, until)
            else:
                self._suspend(child, memory, until)

    def release(self, seconds: float) -> None:
        """Let the guest go on as the contract says."""
        with self._lock:
            hold, self._hold = self._hold, None
            match hold:
                case _Suspended(memory):
                    self._resume(memory, seconds)
                case _Stopped(stub):
                    self._ensure_held(stub)
                    stub.close()
                case _Lost():
                    raise self._lost()
                case None:
                    raise StepFailed(f"{self._vm} is not held")

    def end(self, seconds: float) -> None:
        """Let the guest be off as the contract says."""
        with self._lock:
            hold, self._hold = self._hold, None
            child = self._child
            match hold:
                case _Stopped(stub):
                    self._ensure_held(stub)
                case _Lost():
                    raise self._lost()
            if child is not None:
                with suppress(StepFailed):
                    control.power_off(self._vm, min(seconds, _POWER_OFF_SECONDS))
            if isinstance(hold, _Stopped):
                hold.stub.close()  # the vCPUs find the request to power off before the next instruction
            if child is not None and child.wait(min(seconds, _POWER_OFF_SECONDS)) is None:
                kill(child)
            self._off("switched off on request" if hold is None else "ended, as it was saved")

    def shut_down(self, seconds: float) -> None:
        """Ask the guest to shut down as the contract says."""
        with self._lock:
            child = self._child
            if child is None:
                return
            child.terminate()
            code = child.wait(seconds)
            if code is None:
                raise StepFailed(
                    f"{self._vm} did not shut down within {seconds:g} s of being asked; it runs on (stop it from"
                    " inside, or stop it without asking)"
                )
            self._off(f"shut down on request, bhyve {explain(code)}")

    def _ensure_held(self, stub: control.Stub) -> None:
        """Raise HoldLost, with STUB closed, unless the guest has stood still since it was saved."""
        alive = self._child is not None and self._child.alive
        if alive and stub.holds():
            return
        stub.close()
        if not alive:
            raise self._lost()
        raise HoldLost(
            f"{self._vm} was let go by something else while it was held (another debugger?)"
        )

    def _lost(self) -> HoldLost:
        return HoldLost(f"{self._vm} is not held any more: its bhyve ended")

    def _launch(self, memory: str | None, until: float) -> None:
        self._child = self._launcher.launch(self._definition, memory, until, self._when_ended)

    def _suspend(self, child: Child, memory: str, until: float) -> None:
        try:
            control.request_suspend(self._vm, memory, until - time.monotonic())
        except StepFailed as error:
            if isinstance(error.__cause__, CommandFailed) and error.__cause__.code is None:
                self._late = memory  # it took too long, and may have asked before that
            raise
        served = control.await_served(self._vm, until - time.monotonic())
        code = child.wait(_EXIT_SECONDS)
        if code is None:
            code = self._not_suspended(child, memory, until, served=served)
        reset = code == RESET and not Path(memory).exists()
        if reset or code not in {RESET, SUSPENDED}:
            discard(memory)
            self._judge(child, code)
            raise StepFailed(f"the bhyve of {self._vm} {explain(code)} instead of being saved")
        try:
            check_files(memory, self._definition)
            settle(memory)
        except StepFailed as error:
            self._bring_back(memory, str(error))
            raise StepFailed(f"the memory of {self._vm} was not saved: {error}") from error
        self._child = None
        self._late = None
        self._hold = _Suspended(memory)

    def _not_suspended(self, child: Child, memory: str, until: float, *, served: bool) -> int:
        """A bhyve that should have ended: tell its exit code if it does so yet, else raise StepFailed.

        If it has SERVED the request, its files are complete, or it will never write them.
        """
        if served and not self._complete(memory):
            discard(memory)
            raise StepFailed(f"bhyve could not save {self._vm}, which runs on{quoted(child)}")
        code = child.wait(max(until - time.monotonic(), 0.0))
        if code is not None:
            return code
        # bhyve may still be writing. It has its files open: under another name they are safe from whoever tidies up.
        self._late = memory
        with suppress(StepFailed):
            self._late = consume(memory)
        raise StepFailed(f"bhyve did not save {self._vm} in time{quoted(child)}")

    def _complete(self, memory: str) -> bool:
        try:
            check_files(memory, self._definition)
        except StepFailed:
            return False
        return True

    def _checkpoint(self, child: Child, memory: str, until: float) -> None:
        if self._definition.stub is None:
            raise StepFailed(
                f"{self._vm} has no GDB stub, without which a checkpoint is not exact (give bhyve -G 127.0.0.1:PORT)"
            )
        stub = control.Stub(self._definition.stub)
        try:
            stub.await_parked(self._vm, until - time.monotonic())
            self._save_held(child, memory, until, stub)
        except StepFailed:
            stub.close()
            discard(memory)
            raise
        self._hold = _Stopped(stub)

    def _save_held(self, child: Child, memory: str, until: float, stub: control.Stub) -> None:
        control.request_checkpoint(self._vm, memory, until - time.monotonic())
        if not control.await_served(self._vm, until - time.monotonic()):
            raise StepFailed(f"bhyve did not save {self._vm} in time{quoted(child)}")
        try:
            check_files(memory, self._definition)
        except StepFailed as error:
            raise StepFailed(f"bhyve could not save {self._vm}: {error}{quoted(child)}") from error
        settle(memory)
        if not (child.alive and stub.holds()):
            raise StepFailed(
                f"{self._vm} was not held while it was saved (is a debugger at its GDB stub?)"
            )

    def _resume(self, memory: str, seconds: float) -> None:
        """Let a suspended guest go on; if that fails it is started from its disks, and StepFailed raised."""
        files = None
        try:
            files = memory if memory.endswith(f"/{RESUMED}") else consume(memory)
            self._launch(files, time.monotonic() + seconds)
        except StepFailed as error:
            self._start_cold(str(error))
            raise StepFailed(
                f"{error}; it was started from its disks instead, what it had in memory only is in the checkpoint"
            ) from error
        finally:
            if files is not None:
                discard(files)

    def _bring_back(self, memory: str, why: str) -> None:
        """Let a guest come back whose bhyve has ended, though its files may be bad; or raise StepFailed."""
        late, self._late = self._late, None
        for files in (memory, late):
            if files is not None and self._complete(files):
                self._resume(files, self._patience())
                return
        discard(memory)
        self._start_cold(why)

    def _patience(self) -> float:
        """How long a guest may take to be resumed when nobody waits for it."""
        return _COLD_SECONDS + self._definition.memory / _SLOWEST

    def _start_cold(self, why: str) -> None:
        """Start the guest from its disks because something went wrong; raises StepFailed if it is off then."""
        self._say(
            f"what the guest had in memory only is lost ({why}); its disks were flushed, it is started from them"
        )
        self._launch_cold()

    def _launch_cold(self) -> None:
        try:
            self._launch(None, time.monotonic() + _COLD_SECONDS)
        except StepFailed as error:
            self._off(f"{error}; not started again")
            raise

    def _when_ended(self, child: Child) -> None:
        """Judge the end of a bhyve that nobody waits for."""
        with self._lock:
            code = child.wait(0)
            if child is self._child and code is not None:
                self._judge(child, code)

    def _judge(self, child: Child, code: int) -> None:
        """Do what follows from bhyve's exit code: bhyve(8)."""
        late, self._late = self._late, None
        if isinstance(self._hold, _Stopped):
            self._hold.stub.close()
            self._hold = _Lost()
        with suppress(StepFailed):  # what follows is written down; nobody waits for it
            if late is not None and code in {RESET, SUSPENDED} and Path(late).exists():
                self._say("bhyve suspended the guest later than it was waited for")
                self._bring_back(late, "its memory files are not complete")
            elif code == RESET:
                self._say("the guest was reset; it is started again from its disks")
                self._launch_cold()
            else:
                self._off(f"bhyve {explain(code)}{quoted(child)}; not started again")

    def _off(self, reason: str) -> None:
        """The guest is off for good, for REASON, which becomes the last line of the log."""
        try:
            control.remove_object(self._vm)
        except StepFailed as error:
            self._say(str(error))
        self._say(reason)
        self._late = None
        self._child = None

    def _say(self, what: str) -> None:
        self._log.write(f"{self._vm}: {what}")
