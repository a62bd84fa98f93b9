"""What a keeper does for those who connect to it: one thread a connection, one operation at a time.

Requests and answers are JSON objects, one a line; ``drivers.guests.client`` is the other side. ``state`` is
answered at any time. A connection that froze the guest holds it until ``thaw`` or ``end``, or until it is gone:
whatever becomes of ckptree, the guest goes on. A caller that is there but does nothing is bounded, too, by the
``hold`` of its request.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from reconciler.drivers.lines import Lines, LinesBroken
from reconciler.errors import CkptreeError, HoldLost, StepFailed
from reconciler.keeper import memory_files
from reconciler.keeper.endpoint import Endpoint
from reconciler.keeper.log import Log
from reconciler.keeper.machine import Described, Machine
from reconciler.keeper.order import Order, optional_text, text

LOOK_SECONDS = 1.0
"""How often the socket's file and the guest are looked at."""
HOLD_SECONDS = 600.0
"""How long a caller may hold the guest frozen, unless it asks for another bound."""
_UNUSED_SECONDS = 60.0  # without a connection, before there is a guest
_RELEASE_SECONDS = 120.0  # when there is no caller any more who could say it
_LONGEST_WAIT = 86400.0
_SEND_SECONDS = 10.0  # for a caller to take an answer


class _Gone(Exception):
    """The connection is of no use any more; it is closed without a word."""


class Server:
    """Serves MACHINE at ENDPOINT until its guest is off for good; ``run`` is the keeper's main loop."""

    def __init__(self, order: Order, endpoint: Endpoint, machine: Machine, log: Log) -> None:
        self._order = order
        self._endpoint = endpoint
        self._machine = machine
        self._log = log
        self._operation = threading.Lock()
        self._doing = ""
        self._held = False
        self._started = order.guard
        self._finished = False
        self._answering = 0
        self._answered = threading.Condition()
        self._woken, self._wake = os.pipe()

    def run(self) -> None:
        """Serve until there is nothing left to keep."""
        threading.stack_size(
            256 << 10
        )  # bytes; the default takes 8 MiB of address space a connection
        heard = time.monotonic()
        while not self._finished:
            if self._accept():
                heard = time.monotonic()
            self._look_after_socket()
            idle = time.monotonic() - heard
            with suppress(StepFailed):  # what is not known of the guest does not end its keeper
                self._attempt(lambda: self._look_after_guest(idle))  # noqa: B023 - called at once
        self._endpoint.withdraw()
        with self._answered:
            self._answered.wait_for(lambda: not self._answering, _SEND_SECONDS)

    def _accept(self) -> bool:
        listener = self._endpoint.listener
        try:
            ready, _, _ = select.select([listener.fileno(), self._woken], [], [], LOOK_SECONDS)
            if listener.fileno() not in ready:
                return False
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except (OSError, RuntimeError) as error:  # no descriptor or no thread left
            self._log.write(f"the keeper could not accept a connection: {error}")
            select.select([self._woken], [], [], LOOK_SECONDS)
        return True

    def _look_after_socket(self) -> None:
        try:
            if not self._finished and self._endpoint.repair():
                self._log.write("the keeper's socket was gone and has been made again")
        except StepFailed as error:
            self._log.write(f"the keeper's socket is gone: {error}")

    def _look_after_guest(self, idle: float) -> None:
        """Finish if the guest is off for good, or if nobody wants this keeper."""
        if not self._operation.acquire(blocking=False):
            return
        try:
            if self._started and not self._order.guard:
                unwanted = self._machine.running() is None
            else:
                unwanted = idle > _UNUSED_SECONDS
            if unwanted:
                self._finish()
        finally:
            self._operation.release()

    def _finish(self) -> None:
        """Let the main loop end; only with the operation's lock, so that no other operation begins."""
        self._finished = True
        self._endpoint.withdraw()
        os.write(self._wake, b"\0")

    def _serve(self, connection: socket.socket) -> None:
        lines = Lines(connection)
        with connection:
            try:
                while (request := lines.read(None)) is not None:
                    with self._counted():
                        self._answer(lines, request)
            except (OSError, LinesBroken) as error:
                self._log.write(f"a connection to the keeper was given up: {error}")
            except _Gone:
                pass

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """What the end of the keeper waits for."""
        with self._answered:
            self._answering += 1
        try:
            yield
        finally:
            with self._answered:
                self._answering -= 1
                self._answered.notify_all()

    def _answer(self, lines: Lines, request: Mapping[str, object]) -> None:
        try:
            answer = self._do(lines, request)
        except _Gone:
            raise
        except CkptreeError as error:
            answer = {"ok": False, "error": str(error), "lost": isinstance(error, HoldLost)}
        except Exception as error:  # noqa: BLE001 - a bug in a machine is a sentence for the caller
            answer = {"ok": False, "error": str(self._unexpected(error))}
        lines.write(answer, _SEND_SECONDS)

    def _do(self, lines: Lines, request: Mapping[str, object]) -> dict[str, object]:
        seconds = _seconds(request, "seconds", _RELEASE_SECONDS)
        match request.get("do"):
            case "state":
                return self._state()
            case "start":
                order = optional_text(request, "order") or ""
                return self._start(optional_text(request, "memory"), order, seconds)
            case "stop":
                return self._stop(now=request.get("now") is True, seconds=seconds)
            case "freeze":
                return self._freeze(lines, request, seconds)
            case "thaw" | "end":
                raise StepFailed("this connection does not hold the guest frozen")
            case other:
                raise StepFailed(f"the keeper does not know how to {other!r}")

    def _state(self) -> dict[str, object]:
        doing, held = self._doing, self._held
        running = self._machine.running()
        if running is None and held:
            running = "frozen by ckptree, its memory is saved"
        return {
            "ok": True,
            "vm": self._order.vm,
            "home": self._order.home,
            "pid": os.getpid(),
            "running": running,
            "topology": self._machine.topology() if isinstance(self._machine, Described) else "",
            "held": held,
            "doing": doing,
        }

    @contextmanager
    def _operating(self, doing: str, seconds: float) -> Iterator[None]:
        """One operation at a time; raises StepFailed if another one takes longer than SECONDS."""
        if not self._operation.acquire(timeout=seconds):
            raise StepFailed(
                f"the guest's keeper is busy for another caller ('{self._doing}'); try again later"
            )
        try:
            if self._finished:
                raise _Gone
            self._doing = doing
            yield
        finally:
            self._doing = ""
            self._operation.release()

    def _start(self, memory: str | None, order: str, seconds: float) -> dict[str, object]:
        with self._operating("start", seconds):
            running = self._machine.running()
            if running is not None:
                raise StepFailed(f"the guest runs already: {running}")
            if self._started or order != self._order.digest:
                # The next life of the guest may be by another definition: it gets a keeper of its own. So does one of
                # which another ckptree was killed before it could ask for the start.
                self._finish()
                raise _Gone
            resumed = memory_files.consume(memory) if memory is not None else None
            self._started = True
            try:
                self._attempt(lambda: self._machine.start(resumed, seconds))
            finally:
                if resumed is not None:
                    memory_files.discard(resumed)
        return {"ok": True, "running": self._machine.running()}

    def _stop(self, *, now: bool, seconds: float) -> dict[str, object]:
        with self._operating("stop", seconds):
            if self._machine.running() is not None:
                verb = self._machine.end if now else self._machine.shut_down
                self._attempt(lambda: verb(seconds))
            self._finish()
        return {"ok": True}

    def _freeze(
        self, lines: Lines, request: Mapping[str, object], seconds: float
    ) -> dict[str, object]:
        """Freeze, and hold the guest until the connection says what becomes of it, or is gone."""
        memory = text(request, "memory")
        most = _seconds(request, "hold", HOLD_SECONDS)
        with self._operating("freeze", seconds):
            try:
                if self._machine.running() is None:
                    raise StepFailed("the guest is off")
                if lines.gone():
                    raise _Gone
                self._save(memory, seconds)
                self._held = True
                return self._hold(lines, most)
            finally:
                self._held = False
                if self._order.guard:
                    self._finish()

    def _save(self, memory: str, seconds: float) -> None:
        """Save; a machine that fails in a way it does not know of is asked to let the guest go on."""
        try:
            self._machine.save(memory, seconds)
        except CkptreeError:
            raise
        except Exception as error:
            with suppress(Exception):
                self._machine.release(_RELEASE_SECONDS)
            raise self._unexpected(error) from error

    def _hold(self, lines: Lines, most: float) -> dict[str, object]:
        began = time.monotonic()
        verb, seconds = self._await_verdict(lines, most)
        try:
            if verb == "end":
                self._end_held(seconds)
                self._finish()
            else:
                self._attempt(lambda: self._machine.release(seconds))
        except CkptreeError as error:
            self._log.write(f"after {time.monotonic() - began:.1f} s frozen: {error}")
            if verb is not None:
                raise
        if verb is None:
            raise _Gone  # and no answer: a caller that is there after all must not take its hold for a good one
        return {"ok": True}

    def _end_held(self, seconds: float) -> None:
        """End the guest; one that cannot be ended goes on, as its caller has let go of it."""
        try:
            self._attempt(lambda: self._machine.end(seconds))
        except HoldLost:
            raise  # it goes on already
        except CkptreeError:
            with suppress(CkptreeError):
                self._attempt(lambda: self._machine.release(_RELEASE_SECONDS))
            raise

    def _await_verdict(self, lines: Lines, most: float) -> tuple[str | None, float]:
        """Wait for what becomes of the held guest, and in how many seconds; no verb if its caller has failed."""
        try:
            lines.write({"ok": True}, _SEND_SECONDS)
            request = lines.read(most) or {"do": "nothing: it is gone"}
            verb, seconds = request.get("do"), _seconds(request, "seconds", _RELEASE_SECONDS)
        except (OSError, LinesBroken, StepFailed) as error:
            verb, seconds = str(error), _RELEASE_SECONDS
        if verb in {"thaw", "end"}:
            return str(verb), seconds
        self._log.write(f"the frozen guest goes on, because its caller failed ({verb})")
        return None, _RELEASE_SECONDS

    def _attempt(self, verb: Callable[[], None]) -> None:
        """Call a verb of the machine; whatever goes wrong in it is a sentence for the caller."""
        try:
            verb()
        except CkptreeError:
            raise
        except Exception as error:
            raise self._unexpected(error) from error

    def _unexpected(self, error: Exception) -> StepFailed:
        found = StepFailed(f"the guest's keeper failed: {type(error).__name__}: {error}")
        self._log.write(str(found))
        return found


def _seconds(request: Mapping[str, object], key: str, standard: float) -> float:
    value = request.get(key, standard)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise StepFailed(f"the request has no time in seconds as '{key}'")
    return min(float(value), _LONGEST_WAIT)
