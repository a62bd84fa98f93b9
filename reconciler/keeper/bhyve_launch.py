"""Start a bhyve for a guest and see it run; everything before ``bhyve`` is the keeper's to judge.

A guest with firmware needs nothing else. One without needs a VM object first: its loader makes and fills it, or,
where memory is resumed, an empty one will do.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress

from reconciler.drivers import command
from reconciler.drivers.guests import bhyve_process
from reconciler.drivers.guests.bhyve_definition import Definition, command_line
from reconciler.errors import CommandFailed, StepFailed
from reconciler.keeper import bhyve_control as control
from reconciler.keeper.child import Child
from reconciler.keeper.machine import Words
from reconciler.model.desired import Bhyve

RESET, SUSPENDED = 0, 5
_MEANINGS = {
    RESET: "reset",
    1: "powered off",
    2: "halted",
    3: "triple fault",
    4: "error",
    SUSPENDED: "suspended",
    64: "wrong usage",
    65: "wrong data",
    71: "error of the system",
    100: "unknown reason",
}
"""bhyve(8), EXIT STATUS, and sysexits(3)."""
_NOISE = ("nvlist_recv() failed",)
_LOOK_SECONDS = 0.02
_TITLE_SECONDS = 0.5  # between two looks at the process's title, each of which starts a program
_KILL_SECONDS = 10.0  # for a killed process to be gone with the memory of its guest


def explain(code: int) -> str:
    """Say what an exit code of bhyve means; a negative one is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code} ({_MEANINGS.get(code, 'unknown')})"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def quoted(child: Child) -> str:
    """The last words of CHILD, to end a sentence with; empty if there are none."""
    said = child.said()
    return f": {said}" if said else ""


def ensure_alone(vm: str) -> None:
    """Raises StepFailed if VM has a bhyve already; a VM object alone proves nothing."""
    try:
        pid = bhyve_process.find_process(vm)
    except CommandFailed as error:
        raise StepFailed(f"it cannot be told whether {vm} runs already: {error}") from error
    if pid is not None or bhyve_process.answers(vm):
        who = "a bhyve" if pid is None else f"the bhyve with pid {pid}"
        raise StepFailed(f"{who} that ckptree did not start serves {vm} already (stop it)")


def kill(child: Child) -> None:
    """Kill a bhyve and wait until it is gone; raises StepFailed if it is not."""
    child.kill()
    if child.wait(_KILL_SECONDS) is None:
        raise StepFailed(f"bhyve (pid {child.pid}) cannot be killed")


class Launcher:
    """Starts BHYVE for VM, with HOME as its folder."""

    def __init__(self, vm: str, home: str, bhyve: Bhyve, log: Words) -> None:
        self._vm = vm
        self._home = home
        self._bhyve = bhyve
        self._log = log

    def launch(
        self,
        definition: Definition,
        memory: str | None,
        until: float,
        on_end: Callable[[Child], None],
    ) -> Child:
        """Start bhyve, from the files at MEMORY if given, and wait until the guest runs.

        UNTIL is a time of the monotonic clock. Raises StepFailed, and then there is no bhyve.
        """
        try:
            control.remove_object(self._vm)
            if memory is None:
                self._load(until)
            elif not definition.bootrom:
                control.make_object(self._vm)
            argv = command_line(self._bhyve, self._vm, self._home, memory)
            process = command.launch(argv, cwd=self._home)
            child = Child(process, "bhyve", self._log, on_end, _NOISE)
            try:
                self._await_ready(child, until)
            except StepFailed:
                kill(child)
                raise
        except (StepFailed, CommandFailed) as error:
            with suppress(StepFailed):
                control.remove_object(self._vm)
            raise StepFailed(f"{self._vm} could not be started: {error}") from error
        return child

    def _load(self, until: float) -> None:
        """Run the loader, which makes the VM object and fills it."""
        if not self._bhyve.loader:
            return
        seconds = max(until - time.monotonic(), 1.0)
        done = command.run(self._bhyve.loader, timeout=seconds, cwd=self._home)
        for line in (done.stdout + done.stderr).splitlines():
            self._log.output("loader", line)

    def _await_ready(self, child: Child, until: float) -> None:
        """Wait until bhyve serves its socket or has its title: it does neither before the guest is there."""
        look = time.monotonic() + _TITLE_SECONDS
        while (code := child.wait(_LOOK_SECONDS)) is None:
            now = time.monotonic()
            if bhyve_process.answers(self._vm):
                return
            if now >= look:
                if bhyve_process.is_titled(child.pid, self._vm):
                    return
                look = now + _TITLE_SECONDS
            if now > until:
                raise StepFailed(f"bhyve was not ready in time{quoted(child)}")
        what = f"exit code {code}" if code >= 0 else explain(code)
        raise StepFailed(f"bhyve ended before the guest ran ({what}){quoted(child)}")
