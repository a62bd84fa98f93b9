"""Processes, sockets and threads from the interpreter's own modules.

``subprocess``, ``socket``, ``threading`` and ``typing`` take longer to import than these programs take to do all their
work, and much longer under emulation. What is built into the interpreter is enough.
"""

from __future__ import annotations

import _socket
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INT = 4  # bytes of a descriptor in a control message


def spawn(
    words: Sequence[str], keep: Sequence[int] = (), output: int = -1, errors: int = -1
) -> int:
    """Start a program with no standard input; the descriptors in KEEP stay open in it. Gives its process id.

    OUTPUT and ERRORS are descriptors for its standard output and error; without them it shares ours.
    """
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
    ]
    for descriptor in keep:
        os.set_inheritable(descriptor, True)
    for descriptor, number in ((output, 1), (errors, 2)):
        if descriptor >= 0:
            actions.append((os.POSIX_SPAWN_DUP2, descriptor, number))
    return os.posix_spawnp(words[0], list(words), os.environ, file_actions=actions)


def finished(process: int) -> int:
    """Wait for the end of a program and give its exit code; negative: the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def call(words: Sequence[str]) -> tuple[int, bytes]:
    """Run a program and give its exit code and everything that it wrote."""
    reading, writing = os.pipe()
    process = spawn(words, output=writing, errors=writing)
    os.close(writing)
    text = b""
    while chunk := os.read(reading, 65536):
        text += chunk
    os.close(reading)
    return finished(process), text


def listening(path: str) -> _socket.socket:
    """Listen on the socket file PATH; one that an earlier process left there is replaced."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    server = _socket.socket(_socket.AF_UNIX)
    server.bind(path)
    server.listen(10)
    return server


def accepted(server: _socket.socket) -> _socket.socket:
    """Wait for a connection and give it."""
    descriptor, _ = server._accept()  # type: ignore[attr-defined]  # what socket.accept() calls
    return _socket.socket(fileno=descriptor)


def connected(path: str) -> _socket.socket:
    """Connect to the socket file PATH; raises OSError."""
    connection = _socket.socket(_socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def send_file(connection: _socket.socket, text: bytes, file: int) -> None:
    """Send TEXT with an open file."""
    rights = file.to_bytes(_INT, sys.byteorder)
    connection.sendmsg([text], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive_file(connection: _socket.socket) -> tuple[bytes, int]:
    """Receive what ``send_file`` sent; no text and -1 at the end of file."""
    text, control, _, _ = connection.recvmsg(4096, _socket.CMSG_SPACE(_INT))
    if not control:
        return text, -1
    return text, int.from_bytes(control[0][2][:_INT], sys.byteorder)


def thread(target: Callable[..., None], *arguments: object) -> None:
    """Run TARGET in a thread that ends with the program."""
    _thread.start_new_thread(target, arguments)
