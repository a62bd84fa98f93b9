"""The one place that starts processes.

Every program is started from an argument list and an absolute path, with a small fixed
environment, no standard input, a time limit and a bound on its output; never through a shell.
What a program's output means is the caller's business. A program that is to live long (``launch``)
has no time limit: whoever starts it looks after it.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from types import MappingProxyType
from typing import IO

from reconciler.drivers.process_end import await_end
from reconciler.errors import CommandFailed

TRUSTED = (
    "/sbin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/bin",
    "/usr/bin",
    "/usr/local/bin",
)
"""Where programs are looked for; $PATH belongs to whoever started us."""

LONGEST_OUTPUT = 64 << 20  # bytes, of each of the two streams
_NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
_NOT_STARTED = 127  # what a shell says, sh(1)
_CHUNK = 1 << 16
_PATIENCE = 2.0  # seconds for a killed process, or for a pipe that a program's own child keeps open

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Shared:
    """A DESCRIPTOR that programs get, and those of them that could not be ended and may still have it."""

    descriptor: int
    stuck: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def kept_by(self) -> int | None:
        """The pid of a program that still has the descriptor though nobody waits for it any more."""
        return next((process.pid for process in self.stuck if process.poll() is None), None)


_shared: list[Shared] = []
_sharing = (
    Lock()
)  # also while a program is started: none may get a descriptor that was closed meanwhile


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ended well wrote; bytes that are no UTF-8 as surrogates."""

    stdout: str
    stderr: str
    code: int = 0


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: str | None = None,  # noqa: A002 - the word of the standard library
    cwd: str = "/",
    codes: Collection[int] = (0,),
    shares: bool = True,
    environment: Mapping[str, str] = _NOTHING_MORE,
) -> Completed:
    """Run a program to its end in folder CWD, TIMEOUT in seconds, INPUT as its standard input.

    ENVIRONMENT has variables besides the fixed ones, which it may replace.
    SHARES is false for a program that leaves a process behind, which must not get what is ``shared``.
    A name without a slash is looked for in TRUSTED. Raises CommandFailed: no such program, an
    exit code that is not one of CODES, the time limit (no exit code), too much output.
    """
    words = tuple(argv)
    started = time.monotonic()
    with _sharing:
        given = tuple(_shared) if shares else ()
        descriptors = tuple(each.descriptor for each in given)
        process = _start(
            words,
            wants_input=input is not None,
            cwd=cwd,
            descriptors=descriptors,
            environment=environment,
        )
    streams = _Streams(process, None if input is None else input.encode())
    try:
        # Popen.wait would look every so often, and make every program seem slower than it is.
        ended = await_end(process.pid, started + timeout)
        # FreeBSD tells of the end a moment before the process can be waited for.
        code: int | None = process.wait(_PATIENCE if ended else 0)
    except subprocess.TimeoutExpired:
        if not _kill(process):
            for each in given:
                each.stuck.append(process)
        code = None
    except BaseException:
        _kill(process)
        raise
    stdout, stderr, too_much = streams.finish()
    _log.debug("%s: %s after %.3f s", " ".join(words), code, time.monotonic() - started)
    complaint = stderr.decode("utf-8", "replace")
    if too_much:
        raise CommandFailed(words, code, f"more than {LONGEST_OUTPUT} bytes of output")
    if code is None or code not in codes:
        raise CommandFailed(words, code, complaint)
    return Completed(stdout.decode("utf-8", "surrogateescape"), complaint, code)


def launch(
    argv: Sequence[str], *, cwd: str, output: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Start a program that lives on, in folder CWD, and give it to the caller to look after.

    Its standard input never says anything and never ends: a hypervisor may have the guest's console there, and would
    read an end of file again and again.
    What it writes on either stream goes to OUTPUT: a pipe that the caller must read, or a file descriptor. It has a
    session of its own and outlives the caller: it ignores SIGPIPE, so that it does not die of writing to a reader
    that is gone. Raises CommandFailed: no such program, or no such folder.
    """
    words = tuple(argv)
    silent, kept_open = os.pipe()
    try:
        return subprocess.Popen(
            [find(words[0]), *words[1:]],
            stdin=silent,
            pass_fds=(kept_open,),  # the program itself has the other end
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=cwd,
            start_new_session=True,
            restore_signals=False,  # the interpreter ignores SIGPIPE; so does what it starts then
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(words, _NOT_STARTED, str(error)) from error
    finally:
        os.close(silent)
        os.close(kept_open)


@contextmanager
def shared(descriptor: int) -> Iterator[Shared]:
    """Give DESCRIPTOR to every program that is run meanwhile.

    Whoever is at its other end sees it closed only when they have ended, too: if we are killed, a program that we
    started goes on by itself for a while, and so does one that is stuck in the kernel when its time is over.
    """
    given = Shared(descriptor)
    with _sharing:
        _shared.append(given)
    try:
        yield given
    finally:
        with _sharing:
            _shared.remove(given)


@cache
def find(program: str) -> str:
    """Find the absolute path of PROGRAM in TRUSTED; raises FileNotFoundError."""
    if "/" in program:
        return program
    for directory in TRUSTED:
        path = Path(directory, program)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise FileNotFoundError(f"there is no program {program} in {', '.join(TRUSTED)}")


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "PATH": ":".join(TRUSTED)}


def _start(
    words: tuple[str, ...],
    *,
    wants_input: bool,
    cwd: str,
    descriptors: tuple[int, ...],
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [find(words[0]), *words[1:]],
            stdin=subprocess.PIPE if wants_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_environment(), **environment},
            cwd=cwd,
            pass_fds=descriptors,
            start_new_session=True,  # an interrupt at the terminal must not stop zfs half-way
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(words, _NOT_STARTED, str(error)) from error


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a program with what it started; false if it is stuck in the kernel, where it is left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    return process.returncode is not None


class _Streams:
    """The three pipes of a running program, each served by a thread so that none can block."""

    def __init__(self, process: subprocess.Popen[bytes], text: bytes | None) -> None:
        self._process = process
        self._too_much = False
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._threads = [
            Thread(target=self._drain, args=(process.stdout, self._stdout), daemon=True),
            Thread(target=self._drain, args=(process.stderr, self._stderr), daemon=True),
        ]
        if text is not None:
            self._threads.append(Thread(target=self._feed, args=(text,), daemon=True))
        for thread in self._threads:
            thread.start()

    def finish(self) -> tuple[bytes, bytes, bool]:
        """Give what was read once the program is gone, and whether it was too much."""
        for thread in self._threads:
            thread.join(_PATIENCE)
        return bytes(self._stdout), bytes(self._stderr), self._too_much

    def _drain(self, stream: IO[bytes], kept: bytearray) -> None:
        with stream:
            while chunk := stream.read1(_CHUNK):  # type: ignore[attr-defined]
                kept += chunk
                if len(kept) > LONGEST_OUTPUT:
                    self._too_much = True
                    _kill(self._process)
                    return

    def _feed(self, text: bytes) -> None:
        stream = self._process.stdin
        if stream is not None:
            with suppress(BrokenPipeError), stream:
                stream.write(text)
