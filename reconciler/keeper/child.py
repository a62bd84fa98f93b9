"""A hypervisor process as the keeper's child: what it writes goes to the log, its end is waited for.

Two threads a child: one reads its output, so that it can never block, and one waits for its end.
"""

import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress

from reconciler.keeper.log import utc_now
from reconciler.keeper.machine import Words

_KEPT_LINES = 40
_CHUNK = 4096
_LONGEST_LINE = 2000  # bytes; a guest's console may never end a line
_DRAIN_SECONDS = (
    2.0  # for the output of a process that has ended; its own children may keep the pipe open
)


class Child:
    """PROCESS, started with its output in a pipe. ON_END is called once it has ended, from a thread of its own.

    NOISE are beginnings of lines that say nothing; they go to the log only.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        program: str,
        log: Words,
        on_end: Callable[["Child"], None],
        noise: Collection[str] = (),
    ) -> None:
        self.pid = process.pid
        self.since = utc_now()
        self._process = process
        self._program = program
        self._log = log
        self._on_end = on_end
        self._noise = tuple(noise)
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ended = threading.Event()
        self._code = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, minus the number of the signal that killed it; none if it lives after SECONDS."""
        return self._code if self._ended.wait(max(seconds, 0.0)) else None

    def forget_output(self) -> None:
        """Let ``said`` tell only what is written from now on."""
        self._lines.clear()

    def said(self) -> str:
        """Its last words, in one line; empty if it wrote nothing of importance."""
        return "; ".join(list(self._lines)[-5:])

    def terminate(self) -> None:
        """Send SIGTERM, which a hypervisor takes for the power button."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        rest = b""
        with suppress(OSError, ValueError), stream:
            while chunk := stream.read1(_CHUNK):  # type: ignore[attr-defined]
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._keep(line)
        self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        self._log.output(self._program, text)
        if not text.startswith(self._noise):
            self._lines.append(text)

    def _await_end(self) -> None:
        self._code = self._process.wait()
        self._reader.join(_DRAIN_SECONDS)
        self._ended.set()
        self._on_end(self)
