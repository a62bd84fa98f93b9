"""Guests that a keeper keeps: this side asks, the process beside ckptree (``keeper``) does.

A keeper is started when there is a guest to start, or, as a guard, one to freeze. It belongs to nobody: ckptree may
end at any moment, finds it again by its socket, and knows it by the home that it names and the lock that it holds.
"""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import reconciler
from reconciler import paths
from reconciler.drivers.command import Shared, run, shared
from reconciler.drivers.lines import Lines, LinesBroken
from reconciler.errors import CommandFailed, HoldLost, StepFailed
from reconciler.model.observed import Ability, GuestState, Running

KEEPER = ("-m", "reconciler.keeper")
"""The keeper's program, for the interpreter that runs ckptree."""
BASE_SECONDS = 60.0
"""What a start or a save may take, besides the time for the RAM."""
SLOWEST = 20_000_000
"""Bytes a second: how slowly RAM may be written or read before it counts as stuck."""
STOP_SECONDS = 120.0
"""How long a guest may take to shut down when it is asked to."""
HOLD_SECONDS = 3600.0
"""How long a guest may be held frozen by a ckptree that lives: longer than any wait for a group that is of use."""
_KILL_SECONDS = 60.0
_THAW_SECONDS = 60.0  # besides the time for the RAM
_ASK_SECONDS = 10.0  # for a question that needs no work
_GRACE_SECONDS = 30.0  # for the answer, beyond what the work may take
_SPAWN_SECONDS = 60.0  # an interpreter under emulation takes its time
_SEND_SECONDS = 10.0
_PATIENCE = 5.0  # for a keeper that just begins or ends, or makes its socket again
_LOOK_SECONDS = 0.02
_LOCK = ".ckptree/keeper.lock"
_LOG = ".ckptree/guest.log"
_TAIL = 4096  # bytes of the log that are looked at
_CODE = str(Path(reconciler.__file__).parent.parent)


class _NoKeeper(Exception):
    """No keeper answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a keeper is told at its start: whose guest, and the settings of the MACHINE, ``kind`` among them."""

    vm: str
    home: str
    machine: Mapping[str, object]
    guard: bool = False

    @property
    def socket(self) -> str:
        """Where the keeper is found."""
        return str(paths.RUN / f"{self.vm}.sock")

    @property
    def log(self) -> str:
        """Where the keeper and the hypervisor write."""
        return f"{self.home}/{_LOG}"

    @property
    def digest(self) -> str:
        """What tells this order from another one; the keeper gives it back, it does not compute it."""
        return sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()[:16]

    def line(self) -> str:
        """The order as the keeper reads it."""
        return json.dumps({**self._fields(), "digest": self.digest}) + "\n"

    def _fields(self) -> dict[str, object]:
        return {
            "vm": self.vm,
            "home": self.home,
            "socket": self.socket,
            "log": self.log,
            "machine": dict(self.machine),
            "guard": self.guard,
        }


class Kept:
    """A guest whose hypervisor is the child of a keeper, or, with a guard's ORDER, is held by one while frozen.

    A subclass has ``probe``, and says in ``unkept`` what is known of a guest that no keeper keeps.
    """

    def __init__(self, name: str, order: Order) -> None:
        self._name = name
        self._order = order

    @property
    def name(self) -> str:
        """The hypervisor's name as the contract says."""
        return self._name

    def probe(self) -> Ability:
        """Find out what can be done as the contract says."""
        raise NotImplementedError

    def ram(self) -> int:
        """The guest's RAM in bytes, for the deadlines; a subclass may know it without a whole ``probe``."""
        return self.probe().ram

    def unkept(self) -> GuestState:
        """What is known of a guest without a keeper: off, and the last that its log tells."""
        return GuestState(Running.OFF, self.last_words())

    def state(self) -> GuestState:
        """Tell the state as the contract says."""
        return self.kept() or self.unkept()

    def kept(self) -> GuestState | None:
        """What the guest's keeper says; none if there is no keeper."""
        deadline = time.monotonic() + _PATIENCE
        try:
            while (answer := self._heard()) is None:
                holder = self._lock_holder()
                if holder is None:
                    return None
                if time.monotonic() > deadline:
                    proof = f"its keeper ({holder}) does not answer at {self._order.socket}"
                    return GuestState(Running.UNKNOWN, proof)
                time.sleep(_LOOK_SECONDS)
        except StepFailed as error:
            return GuestState(Running.UNKNOWN, str(error))
        if answer.get("home") != self._order.home:
            return GuestState(
                Running.UNKNOWN,
                f"the keeper at {self._order.socket} is that of another VM of this name, in {answer.get('home')}",
            )
        running = answer.get("running")
        if isinstance(running, str):
            return GuestState(Running.RUNNING, running)
        if answer.get("doing"):
            return GuestState(Running.UNKNOWN, f"its keeper is busy ('{answer['doing']}')")
        return None

    def running_topology(self) -> str:
        """What the running guest is made of, as its keeper tells (``Described``); empty where it does not."""
        try:
            return str((self._heard() or {}).get("topology", ""))
        except StepFailed:
            return ""

    def _heard(self) -> Mapping[str, object] | None:
        """The keeper's answer; none if it does not answer at its socket."""
        try:
            with self._connect() as lines:
                return _ask(lines, {"do": "state"}, _ASK_SECONDS)
        except _NoKeeper:
            return None

    def last_words(self) -> str:
        """The last line of the guest's log; empty if there is none."""
        try:
            with Path(self._order.log).open("rb") as log:
                log.seek(max(os.fstat(log.fileno()).st_size - _TAIL, 0))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    @contextmanager
    def frozen(self, memory: str) -> Iterator["KeptHold"]:
        """Freeze the guest as the contract says."""
        ram = self.ram() / SLOWEST
        if self._order.guard:
            self._spawn()
        try:
            # A program that runs while the guest is frozen (zfs) keeps it frozen until it ends, even if we are killed.
            with self._connect() as lines, shared(lines.fileno()) as given:
                seconds = BASE_SECONDS + ram
                request = {
                    "do": "freeze",
                    "memory": memory,
                    "seconds": seconds,
                    "hold": HOLD_SECONDS,
                }
                _ask(lines, request, seconds)
                hold = KeptHold(lines, _THAW_SECONDS + ram, given)
                try:
                    yield hold
                except Exception as error:
                    try:
                        hold.thaw()
                    except HoldLost as second:
                        raise HoldLost(f"{error}; and {second}") from error
                    except StepFailed as second:
                        raise StepFailed(
                            f"{error}; and then the guest did not go on: {second}"
                        ) from error
                    raise
                hold.thaw()
        except _NoKeeper as error:
            raise StepFailed(self._lost(str(error))) from error

    def stop(self, *, now: bool) -> None:
        """Stop the guest as the contract says."""
        state = self.state()
        if state.running is Running.OFF:
            return
        seconds = _KILL_SECONDS if now else STOP_SECONDS
        try:
            with self._connect() as lines:
                _ask(lines, {"do": "stop", "now": now, "seconds": seconds}, seconds)
        except _NoKeeper as error:
            state = self.state()
            if state.running is Running.OFF:
                return
            raise StepFailed(
                f"{self._order.vm} cannot be stopped by ckptree: {state.proof}"
            ) from error

    def start(self, memory: str | None = None) -> None:
        """Start the guest as the contract says."""
        state = self.state()
        if state.running is not Running.OFF:
            raise StepFailed(
                f"{self._order.vm} is not started, it is {state.running.value}: {state.proof}"
            )
        seconds = BASE_SECONDS + self.ram() / SLOWEST
        order = self._order.digest
        request = {"do": "start", "memory": memory, "seconds": seconds, "order": order}
        try:
            try:
                with (
                    self._connect() as lines
                ):  # a fresh one whose caller was killed, if it has this order
                    _ask(lines, request, seconds)
            except _NoKeeper:
                self._spawn()
                with self._connect() as lines:
                    _ask(lines, request, seconds)
        except _NoKeeper as error:
            raise StepFailed(self._lost(str(error))) from error

    def tidy(self) -> None:
        """Wait for a keeper that is still at work for a caller that is gone, no longer than that work may take."""
        deadline = time.monotonic() + BASE_SECONDS
        with suppress(StepFailed):
            while (self._heard() or {}).get("doing") and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)

    def _spawn(self) -> None:
        """Start a keeper; raises StepFailed with its words."""
        argv = [sys.executable, *KEEPER]
        try:
            done = run(
                argv,
                timeout=_SPAWN_SECONDS,
                input=self._order.line(),
                cwd=_CODE,
                codes=(0, 1),
                shares=False,
            )
        except CommandFailed as error:
            raise StepFailed(f"the keeper of {self._order.vm} did not start: {error}") from error
        if done.stdout.strip() != "ready":
            said = done.stdout.strip() or " ".join(done.stderr.split()[-20:]) or "it said nothing"
            raise StepFailed(f"the keeper of {self._order.vm} did not start: {said}")

    @contextmanager
    def _connect(self) -> Iterator[Lines]:
        """Connect to the keeper; raises _NoKeeper."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ASK_SECONDS)
            try:
                connection.connect(self._order.socket)
            except OSError as error:
                raise _NoKeeper(f"{self._order.socket}: {error.strerror or error}") from error
            yield Lines(connection)

    def _lock_holder(self) -> str | None:
        """Who holds the lock of the home's keeper; none if nobody does, or it cannot be told."""
        try:
            descriptor = os.open(f"{self._order.home}/{_LOCK}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 64).decode("ascii", "replace").strip() or "no pid yet"
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def _lost(self, why: str) -> str:
        words = self.last_words()
        return f"the keeper of {self._order.vm} does not answer ({why})" + (
            f"; the last line of {self._order.log}: {words}" if words else ""
        )


class KeptHold:
    """A guest that a keeper holds for this connection, which is GIVEN to every program that is run meanwhile.

    See ``contracts.guest.Hold``.
    """

    def __init__(self, lines: Lines, seconds: float, given: Shared) -> None:
        self._lines = lines
        self._seconds = seconds
        self._given = given
        self._over = False

    def end(self) -> None:
        """Let the guest never go on, as the contract says."""
        self._say("end")

    def thaw(self) -> None:
        """Let the guest go on, unless it was ended; raises StepFailed if it did not, or went on before."""
        if self._over:
            return
        if (stuck := self._given.kept_by) is not None:
            # A snapshot that it takes after all would be one of a guest that went on. Unsaid, the keeper waits for the
            # end of that program, which has the connection as well, or for the end of the hold's time.
            raise StepFailed(
                f"process {stuck} was killed and has not ended; the guest stays frozen until it has, for"
                f" {HOLD_SECONDS:g} s at most"
            )
        self._say("thaw")

    def _say(self, verb: str) -> None:
        self._over = True
        try:
            _ask(self._lines, {"do": verb, "seconds": self._seconds}, self._seconds)
        except _NoKeeper as error:
            raise HoldLost(
                f"the guest was no longer held when ckptree wanted it to {verb} ({error}); what was read from its disks"
                " since may not fit its memory"
            ) from error


def _ask(lines: Lines, request: Mapping[str, object], seconds: float) -> Mapping[str, object]:
    """Ask and get the answer; raises StepFailed with the keeper's words, or _NoKeeper if it is gone."""
    try:
        lines.write(request, _SEND_SECONDS)
        # The keeper may first wait as long for another caller, and then work as long.
        answer = lines.read(2 * seconds + _GRACE_SECONDS)
    except LinesBroken as error:
        raise StepFailed(f"the guest's keeper does not answer: {error}") from error
    except OSError as error:
        raise _NoKeeper(str(error.strerror or error)) from error
    if answer is None:
        raise _NoKeeper("it closed the connection")
    if answer.get("ok") is not True:
        told = str(answer.get("error", "the guest's keeper refused and did not say why"))
        raise (HoldLost if answer.get("lost") is True else StepFailed)(told)
    return answer
