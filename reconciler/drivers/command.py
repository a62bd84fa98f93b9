"""The one place that starts processes.

Every program is started from an argument list and an absolute path, with a small fixed
environment, no standard input, a time limit and a bound on its output; never through a shell.
What a program's output means is the caller's business.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO

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
_NOT_STARTED = 127  # what a shell says, sh(1)
_CHUNK = 1 << 16
_PATIENCE = 2.0  # seconds for a killed process, or for a pipe that a program's own child keeps open

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ended with exit code 0 wrote; bytes that are no UTF-8 as surrogates."""

    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: str | None = None,  # noqa: A002 - the word of the standard library
) -> Completed:
    """Run a program to its end, TIMEOUT in seconds, INPUT as its standard input.

    A name without a slash is looked for in TRUSTED. Raises CommandFailed: no such program, an
    exit code other than 0, the time limit (no exit code), too much output.
    """
    words = tuple(argv)
    started = time.monotonic()
    process = _start(words, wants_input=input is not None)
    streams = _Streams(process, None if input is None else input.encode())
    try:
        code: int | None = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        code = None
    except BaseException:
        _kill(process)
        raise
    stdout, stderr, too_much = streams.finish()
    _log.debug("%s: %s after %.3f s", " ".join(words), code, time.monotonic() - started)
    complaint = stderr.decode("utf-8", "replace")
    if too_much:
        raise CommandFailed(words, code, f"more than {LONGEST_OUTPUT} bytes of output")
    if code != 0:
        raise CommandFailed(words, code, complaint)
    return Completed(stdout.decode("utf-8", "surrogateescape"), complaint)


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


def _start(words: tuple[str, ...], *, wants_input: bool) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [find(words[0]), *words[1:]],
            stdin=subprocess.PIPE if wants_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"LC_ALL": "C", "PATH": ":".join(TRUSTED)},
            cwd="/",
            start_new_session=True,  # an interrupt at the terminal must not stop zfs half-way
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(words, _NOT_STARTED, str(error)) from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with what it started; one that is stuck in the kernel is left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


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
