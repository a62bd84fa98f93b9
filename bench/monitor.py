"""A second QMP monitor of a guest, which sees when it was stopped and when it ran again, by QEMU's own clock.

The guest's document names it (``Monitor.arguments``), and every QEMU of the guest connects to it by itself, also one
that starts in the middle of a restore. It asks for nothing while ckptree is measured; ``execute`` is for the bare
work that ckptree is compared with.
"""

import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LONGEST_LINE = 1 << 20  # bytes


class Unmeasured(Exception):
    """The measurement itself failed: nothing is known."""


@dataclass(frozen=True, slots=True)
class Event:
    """What QEMU told, and WHEN: seconds, with microseconds, by the clock of the machine."""

    name: str
    status: str
    when: float


class Monitor:
    """Listens at PATH for the QEMUs of one guest, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._news = threading.Condition()
        self._events: list[Event] = []
        self._answers: list[Mapping[str, object]] = []
        self._connection: socket.socket | None = None
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the guest's arguments need to say."""
        return (
            *("-chardev", f"socket,id=bench,path={self._path}"),
            *("-mon", "chardev=bench,mode=control"),
        )

    def mark(self) -> int:
        """Give a place in what was told, for ``since``."""
        with self._news:
            return len(self._events)

    def since(self, mark: int) -> list[Event]:
        """Give what was told since MARK."""
        with self._news:
            return self._events[mark:]

    def expect(self, name: str, mark: int, *, status: str = "", seconds: float = 60.0) -> Event:
        """Wait for the event NAME (with STATUS in its data) after MARK, and give the last; raises Unmeasured."""

        def found() -> list[Event]:
            return [e for e in self._events[mark:] if (e.name, e.status) == (name, status)]

        with self._news:
            if not self._news.wait_for(found, seconds):
                raise Unmeasured(f"QEMU did not tell of {name} within {seconds:g} s")
            return found()[-1]

    def execute(self, command: str, *, descriptor: int | None = None, **arguments: str) -> str:
        """Let QEMU execute COMMAND, and give the status that it answers, if any; raises Unmeasured."""
        connection = self._connection
        if connection is None:
            raise Unmeasured("no QEMU is connected")
        request = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        with self._news:
            self._answers.clear()
        if descriptor is None:
            connection.sendall(request)
        else:
            socket.send_fds(connection, [request], [descriptor])
        with self._news:
            if not self._news.wait_for(lambda: self._answers, 60):
                raise Unmeasured(f"QEMU did not answer {command}")
            answer = self._answers[0]
        if "error" in answer:
            raise Unmeasured(f"QEMU says to {command}: {answer['error']}")
        result = answer["return"]
        return str(result.get("status", "")) if isinstance(result, dict) else ""

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines, suppress(OSError):
                connection.sendall(b'{"execute": "qmp_capabilities"}\n')
                self._connection = connection
                for line in iter(lambda: lines.readline(_LONGEST_LINE), b""):
                    self._hear(json.loads(line))
            self._connection = None

    def _hear(self, told: Mapping[str, object]) -> None:
        with self._news:
            if "event" in told:
                self._events.append(_event(told))
            elif "QMP" not in told:
                self._answers.append(told)
            self._news.notify_all()


def _event(told: Mapping[str, object]) -> Event:
    stamp, data = told.get("timestamp"), told.get("data")
    when = time.time()
    if isinstance(stamp, dict):
        when = float(stamp["seconds"]) + float(stamp["microseconds"]) / 1e6
    status = data.get("status", "") if isinstance(data, dict) else ""
    return Event(str(told["event"]), str(status), when)
