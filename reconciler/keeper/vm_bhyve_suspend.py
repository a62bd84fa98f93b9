"""Way A for a guest of vm-bhyve: bhyve writes it and ends, and vm-bhyve starts another bhyve that resumes it.

Behind the fence of ``vm_bhyve_loop``, so that vm-bhyve does not take the end for a reset; whatever goes wrong, the
guest goes on: from the files if they are whole, else from its disks, which bhyve has flushed before it wrote.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from reconciler.drivers.guests.bhyve_definition import Definition
from reconciler.drivers.guests.vm_bhyve_loop import Loop
from reconciler.drivers.process_end import await_end
from reconciler.errors import CkptreeError, StepFailed
from reconciler.keeper import bhyve_control as control
from reconciler.keeper.bhyve_files import check_files
from reconciler.keeper.machine import Words
from reconciler.keeper.memory_files import consume, discard, settle

_ENDING_SECONDS = 5.0  # for a bhyve that has no more to do
_GO_ON_SECONDS = 300.0  # for a start that nobody waits for
_LATE_SECONDS = 3600.0  # for a bhyve that writes RAM longer than it was waited for
COMPLETE = Definition(devices=(), memory=0, cpus=1)
"""What files are checked against: an index that bhyve completed has every device, whose addresses vm-bhyve chose."""


class Suspension:
    """GUEST, which LOOP runs, put away into files and brought back."""

    def __init__(self, guest: str, loop: Loop, log: Words) -> None:
        self._guest = guest
        self._loop = loop
        self._log = log

    def suspend(self, bhyve: int, memory: str, until: float) -> None:
        """Put the guest of the process BHYVE into whole, durable files at MEMORY; it and the loop have ended then.

        Raises StepFailed, and the guest goes on.
        """
        with ExitStack() as fence:
            fence.enter_context(self._loop.fenced())
            failure = self._request(memory, until)
            try:
                suspended = self._has_ended(bhyve, memory, until)
            except TimeoutError:
                self._mind(bhyve, memory, fence.pop_all())
                raise StepFailed(
                    f"{self._guest} was not saved in time; it stands still until bhyve (pid {bhyve}) and vm-bhyve are"
                    " done, and goes on then"
                ) from failure
            if not suspended:
                discard(memory)
                raise failure or StepFailed(
                    f'bhyve could not save {self._guest}, which runs on (debug="yes" in {self._guest}.conf keeps'
                    " what bhyve says in bhyve.log)"
                )
        try:
            check_files(memory, COMPLETE)
            settle(memory)
        except StepFailed as error:
            self._bring_back(memory, str(error))
            raise StepFailed(f"the memory of {self._guest} was not saved: {error}") from error

    def _request(self, memory: str, until: float) -> StepFailed | None:
        """Ask bhyve to write the guest and to end; gives what went wrong: who knows what was done before that."""
        try:
            control.request_suspend(self._guest, memory, until - time.monotonic())
        except StepFailed as error:
            return error
        return None

    def _has_ended(self, bhyve: int, memory: str, until: float) -> bool:
        """Whether bhyve, and the loop, have ended; false if bhyve could not save the guest, which runs on.

        Raises TimeoutError: one of them is still at it.
        """
        served = control.await_served(self._guest, until - time.monotonic())
        ended = await_end(bhyve, min(until, time.monotonic() + _ENDING_SECONDS))
        if not ended and served and not _is_complete(memory):
            return False
        if (ended or await_end(bhyve, until)) and self._loop.await_off(until):
            return True
        raise TimeoutError

    def _mind(self, bhyve: int, memory: str, fence: ExitStack) -> None:
        """See to it that the guest goes on when a bhyve that is late is done, though nobody waits for it any more.

        The process lives until the thread is done, and keeps its lock: nobody else touches the guest meanwhile.
        """
        late = memory
        try:
            late = consume(
                memory
            )  # bhyve has the files open; under this name nobody tidies them up
        except StepFailed as error:
            self._log.write(str(error))

        def mind() -> None:
            with fence:
                try:
                    suspended = self._has_ended(bhyve, late, time.monotonic() + _LATE_SECONDS)
                except TimeoutError:
                    self._log.write(f"bhyve (pid {bhyve}) is not done yet; it is left alone")
                    return
            if suspended:
                self._bring_back(late, "the guest was saved later than it was waited for")
            else:
                discard(late)
                self._log.write("bhyve could not save the guest, which runs on")

        threading.Thread(target=self._told(mind), daemon=False).start()

    def _told(self, work: Callable[[], None]) -> Callable[[], None]:
        """Let what WORK raises be told in the log, as there is nobody else to tell."""

        def told() -> None:
            try:
                work()
            except CkptreeError as error:
                self._log.write(str(error))

        return told

    def resume(self, memory: str, until: float) -> None:
        """Let a suspended guest go on; if that fails it is started from its disks, and StepFailed raised."""
        files = None
        try:
            files = consume(memory)
            self._loop.start(files, until)
        except StepFailed as error:
            self._start_cold(str(error))
            raise StepFailed(
                f"{error}; it was started from its disks instead, what it had in memory only is in the checkpoint"
            ) from error
        finally:
            if files is not None:
                discard(files)

    def _bring_back(self, memory: str, why: str) -> None:
        """Let a guest that bhyve has put away come back, though its files may be bad; raises StepFailed."""
        if not _is_complete(memory):
            discard(memory)
            self._start_cold(why)
            return
        try:
            self._loop.start(memory, time.monotonic() + _GO_ON_SECONDS)
            self._log.write(f"{why}; the guest was resumed")
        except StepFailed as error:
            self._start_cold(str(error))
        finally:
            discard(memory)

    def _start_cold(self, why: str) -> None:
        """Start the guest from its disks because something went wrong; raises StepFailed if it is off then."""
        self._log.write(
            f"what the guest had in memory only is lost ({why}); its disks were flushed, it is started from them"
        )
        self._loop.start(None, time.monotonic() + _GO_ON_SECONDS)


def _is_complete(memory: str) -> bool:
    try:
        check_files(memory, COMPLETE)
    except StepFailed:
        return False
    return True
