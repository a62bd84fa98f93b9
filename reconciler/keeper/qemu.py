"""A QEMU guest, from the inside of its keeper: QEMU is the keeper's child, and asked through QMP.

``save`` is QEMU's own migration to a file that the keeper opened, after ``stop``: nothing of the guest runs between
the last instruction that is in the file and ``release`` (``cont``). ``start`` from memory is the same file into a
QEMU that waits with ``-incoming defer``. The connection needs no name: QEMU connects once to a socket that is gone
afterwards, so nobody else can command it.

``drivers.guests.qemu_definition`` knows the arguments, ``qmp`` the conversation. The pid file is QEMU's own lock
(it keeps it locked for its life): two QEMUs of one home cannot be, even if a keeper was killed and left its guest.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reconciler.drivers import command
from reconciler.drivers.guests.program_file import digest_of
from reconciler.drivers.guests.qemu_definition import OUR_ID, PID_FILE, Definition
from reconciler.drivers.guests.qemu_program import topology_of
from reconciler.errors import CommandFailed, StepFailed
from reconciler.keeper.child import Child
from reconciler.keeper.machine import Words
from reconciler.keeper.memory_files import discard, settle
from reconciler.keeper.order import section, text, words

if TYPE_CHECKING:
    from reconciler.keeper.qmp import Qmp

_MAGIC = b"QEVM"  # how a migration stream begins (migration/savevm.c)
_GO_ON_SECONDS = 10.0  # after a save that failed; it is tried longer than that
_DYING_SECONDS = 5.0  # for a process that was killed or has closed its connection


class QemuMachine:
    """The guest VM of QEMU: PROGRAM is started with DEFINITION and connects to the socket RENDEZVOUS."""

    def __init__(
        self, vm: str, program: str, definition: Definition, rendezvous: str, log: Words
    ) -> None:
        self._vm = vm
        self._program = program
        self._definition = definition
        self._rendezvous = Path(rendezvous)
        self._log = log
        self._topology = ""
        self._child: Child | None = None
        self._qmp: Qmp | None = None

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        """Make the machine as the contract says; the settings are ``binary`` and ``args``."""
        settings = section(order, "machine")
        definition = Definition(text(order, "home"), words(settings, "args"))
        if (reason := definition.unfit()) is not None:
            raise StepFailed(f"the guest cannot be started: {reason}")
        rendezvous = str(Path(text(order, "socket")).with_suffix(".qmp"))
        return cls(text(order, "vm"), text(settings, "binary"), definition, rendezvous, log)

    def start(self, memory: str | None, seconds: float) -> None:
        """Start QEMU as the contract says; after an error there is none."""
        try:
            self._start(memory, time.monotonic() + seconds)
        except StepFailed as error:
            what = self._lost(error)
            with suppress(StepFailed):
                self._kill()
            raise what from error
        except BaseException:
            with suppress(StepFailed):
                self._kill()
            raise

    def running(self) -> str | None:
        """Tell that QEMU is there, as the contract says."""
        child = self._child
        if child is None or not child.alive:
            return None
        return f"{Path(self._program).name} (pid {child.pid}) since {child.since}"

    def topology(self) -> str:
        """Tell what the guest runs with as the contract says (``keeper.machine.Described``)."""
        return self._topology if self.running() is not None else ""

    def save(self, memory: str, seconds: float) -> None:
        """Save RAM as the contract says."""
        until, qmp = time.monotonic() + seconds, self._conversation()
        with _created(memory) as descriptor:
            try:
                target = qmp.prepare(descriptor, until=until)
            except StepFailed as error:  # nothing has happened to the guest
                raise self._lost(error) from error
            try:
                qmp.save(target, until=until)
                _ensure_stream(memory)
                _within(until, lambda: settle(memory), f"{memory} is not on stable storage yet")
            except StepFailed as error:
                raise self._gone_on(error) from error

    def release(self, seconds: float) -> None:
        """Let the guest go on as the contract says."""
        try:
            self._conversation().go_on(until=time.monotonic() + seconds)
        except StepFailed as error:
            raise self._lost(error) from error

    def end(self, seconds: float) -> None:
        """End QEMU: by its own command, which closes the images properly, or by force when half the time is over."""
        child, until = self._child, time.monotonic() + seconds
        if child is None:
            return
        with suppress(StepFailed):
            self._conversation().execute("quit", until=time.monotonic() + seconds / 2)
            child.wait(until - seconds / 2 - time.monotonic())
        self._kill()

    def shut_down(self, seconds: float) -> None:
        """Press the guest's power button, and wait for the end of QEMU as the contract says."""
        child, until = self._child, time.monotonic() + seconds
        if child is None:
            return
        try:
            self._conversation().execute("system_powerdown", until=until)
        except StepFailed:
            if child.alive and not self._conversation().lost:
                raise
        if child.wait(until - time.monotonic()) is None:
            raise StepFailed(f"the guest did not shut down within {seconds:g} s")
        self._kill()

    def _start(self, memory: str | None, until: float) -> None:
        qmp = self._launch(["-S", "-incoming", "defer"] if memory else [], until)
        if memory:
            with _opened(memory) as descriptor:
                qmp.load(descriptor, until=until)
            qmp.go_on(until=until)
        status = qmp.status(until=until)
        if status != "running":
            raise StepFailed(f"the guest did not start to run, for QEMU it is {status}")

    def _launch(self, more: list[str], until: float) -> "Qmp":
        try:
            from reconciler.keeper.qmp import Qmp
        except ImportError as error:
            raise StepFailed("the library qemu.qmp is missing (install ckptree[qemu])") from error
        self._rendezvous.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._rendezvous.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._rendezvous))
            self._rendezvous.chmod(0o600)
            listener.listen(1)
            self._topology = topology_of(self._definition, digest_of(self._program))
            self._qmp = qmp = Qmp(self._vm)
            process = command.launch(self._words(more), cwd=self._definition.home)
            self._child = Child(process, "qemu", self._log, self._ended)
            qmp.connect(listener, until=until)
        except (CommandFailed, OSError) as error:
            raise StepFailed(f"QEMU cannot be started: {error}") from error
        finally:
            listener.close()
            self._rendezvous.unlink(missing_ok=True)
        return qmp

    def _words(self, more: list[str]) -> list[str]:
        """QEMU's command line: ours first, so that an option of the document without its value cannot swallow it."""
        ours = [self._program, "-name", self._vm, "-pidfile", PID_FILE]
        ours += ["-chardev", f"socket,id={OUR_ID},path={self._rendezvous}"]
        ours += ["-mon", f"chardev={OUR_ID},mode=control"]
        if not self._definition.has_display:
            ours += ["-display", "none"]
        return [*ours, *more, *self._definition.arguments]

    def _conversation(self) -> "Qmp":
        if self._qmp is None or self._child is None:
            raise StepFailed("the guest is off")
        return self._qmp

    def _gone_on(self, error: StepFailed) -> StepFailed:
        """Let the guest go on after ERROR, and give what to raise then."""
        try:
            self._conversation().go_on(until=time.monotonic() + _GO_ON_SECONDS)
        except StepFailed as worse:
            worse = self._lost(worse)
            return StepFailed(f"{error}; {worse}")
        return error

    def _lost(self, error: StepFailed) -> StepFailed:
        """Give what to raise instead of ERROR: how QEMU ended and what it said last, if that is why."""
        child, qmp = self._child, self._qmp
        # The connection ends a moment before the process does.
        if child is None or qmp is None or not qmp.lost or child.wait(_DYING_SECONDS) is None:
            return error
        return StepFailed(_epitaph(child))

    def _ended(self, child: Child) -> None:
        self._log.write(_epitaph(child))
        if self._qmp is not None:
            self._qmp.lose()

    def _kill(self) -> None:
        """See QEMU gone, by force if it is still there, and end the conversation."""
        child, self._qmp, qmp = self._child, None, self._qmp
        if child is not None:
            child.kill()
            if child.wait(_DYING_SECONDS) is None:
                raise StepFailed(f"QEMU (pid {child.pid}) was killed and has not ended")
        if qmp is not None:
            qmp.close()


@contextmanager
def _opened(memory: str) -> Iterator[int]:
    """Open the file MEMORY to be read; raises StepFailed."""
    try:
        descriptor = os.open(memory, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StepFailed(f"{memory} cannot be read: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _created(memory: str) -> Iterator[int]:
    """Make the new, private file MEMORY, which is removed if anything fails; raises StepFailed."""
    # QEMU 9.1 and later take a file to write only if it is open for nothing else.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(memory, flags, 0o600)
    except OSError as error:
        raise StepFailed(f"{memory} cannot be made: {error.strerror}") from error
    try:
        yield descriptor
    except BaseException:
        discard(memory)
        raise
    finally:
        os.close(descriptor)


def _ensure_stream(memory: str) -> None:
    with _opened(memory) as descriptor:
        begin = os.read(descriptor, len(_MAGIC))
    if begin != _MAGIC:
        raise StepFailed(f"QEMU wrote something else than RAM to {memory}")


def _within(until: float, work: Callable[[], None], late: str) -> None:
    """Do WORK, which may hang in the kernel; raises StepFailed(LATE) if it has not ended by UNTIL."""
    outcome: Future[None] = Future()

    def thread() -> None:
        try:
            work()
            outcome.set_result(None)
        except StepFailed as error:
            outcome.set_exception(error)

    threading.Thread(target=thread, daemon=True).start()
    try:
        outcome.result(max(0.0, until - time.monotonic()))
    except TimeoutError:
        raise StepFailed(late) from None


def _epitaph(child: Child) -> str:
    """One sentence on how QEMU ended, with its last words."""
    code, said = child.wait(0) or 0, child.said()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"QEMU (pid {child.pid}) {how}{f': {said}' if said else ''}"
