"""A plain client of the QEMU machine protocol on a connected socket, for a program with threads.

One thread runs ``listen``, which hands answers to whoever asked and gives the events; any thread may call ``ask``.
Messages stay text: the few words that matter in them are looked for, so that no JSON has to be read.
"""

from __future__ import annotations

import _socket
import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class QemuGone(Exception):
    """QEMU ended or said something that is not the protocol."""


class Refused(Exception):
    """QEMU refused a command, in its own words."""


class Client:
    """The client's end of the protocol. QEMU's greeting is awaited when it is made."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection
        self._lines = _lines(connection)
        self._sending = _thread.allocate_lock()
        self._waiting: dict[int, _thread.LockType] = {}
        self._answers: dict[int, str] = {}
        self._last = 0
        self._gone = False
        if '"QMP"' not in next(self._lines, ""):
            raise QemuGone

    def tell(self, command: str, arguments: str = "") -> None:
        """Send COMMAND with ARGUMENTS (the inside of a JSON object); its answer is not waited for."""
        self._send(command, arguments, 0)

    def ask(self, command: str, arguments: str = "") -> str:
        """Send COMMAND and give the line that answers it; raises Refused or QemuGone."""
        arrived = _thread.allocate_lock()
        arrived.acquire()
        with self._sending:
            self._last += 1
            number = self._last
            self._waiting[number] = arrived
        if self._gone:
            raise QemuGone
        self._send(command, arguments, number)
        arrived.acquire()
        answer = self._answers.pop(number, "")
        if not answer:
            raise QemuGone
        if '"error"' in answer:
            raise Refused(answer)
        return answer

    def _send(self, command: str, arguments: str, number: int) -> None:
        text = f'{{"execute": "{command}", "arguments": {{{arguments}}}, "id": {number}}}\n'
        with self._sending:
            try:
                self._connection.sendall(text.encode())
            except OSError as error:
                raise QemuGone from error

    def listen(self) -> Iterator[str]:
        """Give the line of each event until QEMU is gone."""
        for line in self._lines:
            if '"event"' in line:
                yield line
                continue
            _, found, number = line.rpartition('"id": ')
            if not found:
                continue
            key = int(number.split(",")[0].rstrip("} \r"))
            if key in self._waiting:
                self._answers[key] = line
                self._waiting.pop(key).release()
        self._gone = True
        for arrived in list(self._waiting.values()):
            arrived.release()


def _lines(connection: _socket.socket) -> Iterator[str]:
    rest = b""
    while True:
        try:
            chunk = connection.recv(65536)
        except OSError:
            return
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
