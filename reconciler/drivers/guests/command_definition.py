"""The operator's own commands for a guest, and what their exit codes mean; schemas/vm.schema.json says it to people.

    start          starts the guest; 0: it runs
    start PATH     lets the guest go on from what ``save`` wrote, wherever that file is by now; 0: it runs
    stop           ends the guest; 0: it is off, or will be soon
    running        0: the guest runs, 1: it is off (or suspended by ``save``), anything else: unknown
    save PATH      writes the guest's RAM to the new file PATH and leaves it suspended, paused or off; anything but 0:
                   the guest goes on as if nothing had happened

Used by ckptree itself (``by_command``) and by the keeper that holds a frozen guest (``keeper.by_command``).
"""

import time
from dataclasses import dataclass

from reconciler.drivers.command import run
from reconciler.errors import CkptreeError, CommandFailed, StepFailed

_LOOK_SECONDS = 30.0  # for one answer of `running`
_PAUSE = 0.2  # seconds between two looks: somebody else's guest sends no event


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The commands, each an argument list, run in the folder HOME; SAVE may be empty.

    Every UNTIL is a time.monotonic(). Every method raises StepFailed with the words of the command.
    """

    home: str
    start: tuple[str, ...]
    stop: tuple[str, ...]
    running: tuple[str, ...]
    save: tuple[str, ...] = ()

    def runs(self) -> bool:
        """Whether the guest runs; raises StepFailed where that is unknown."""
        return self._run(self.running, time.monotonic() + _LOOK_SECONDS, (0, 1)) == 0

    def do_start(self, memory: str | None, until: float) -> None:
        """Start the guest, from the file MEMORY if given, and see it running."""
        self._run([*self.start, memory] if memory else self.start, until)
        self._wait_until(runs=True, until=until)

    def do_stop(self, until: float) -> None:
        """Stop the guest, and see it off."""
        self._run(self.stop, until)
        self._wait_until(runs=False, until=until)

    def do_save(self, memory: str, until: float) -> None:
        """Suspend the guest into the new file MEMORY."""
        self._run([*self.save, memory], until)

    @property
    def proof(self) -> str:
        """How it is known that the guest runs."""
        return f"'{' '.join(self.running)}' says so"

    def _run(
        self, words: list[str] | tuple[str, ...], until: float, codes: tuple[int, ...] = (0,)
    ) -> int:
        try:
            seconds = max(0.0, until - time.monotonic())
            return run(words, timeout=seconds, cwd=self.home, codes=codes).code
        except CommandFailed as error:
            raise StepFailed(str(error)) from error

    def _wait_until(self, *, runs: bool, until: float) -> None:
        wanted = "runs" if runs else "is off"
        said = "it says otherwise"
        while True:
            try:
                if self.runs() == runs:
                    return
            except CkptreeError as error:  # unknown for a moment may be known in the next
                said = str(error)
            if time.monotonic() > until:
                raise StepFailed(
                    f"'{' '.join(self.running)}' did not tell in time that the guest {wanted}: {said}"
                )
            time.sleep(_PAUSE)
