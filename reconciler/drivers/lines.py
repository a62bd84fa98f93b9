"""JSON objects, one a line, over a stream socket, with bounds: what ckptree and a guest's keeper speak.

Both sides use it; neither trusts the other to be well.
"""

import json
import socket
import time
from collections.abc import Mapping

_LONGEST = 64 << 10  # bytes of a line
_CHUNK = 4096


class LinesBroken(Exception):
    """The other side does not speak as agreed, or not in time; its connection is of no use any more."""


class Lines:
    """One side of CONNECTION, for one thread. Every wait is bounded by SECONDS, or not for none."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def read(self, seconds: float | None) -> Mapping[str, object] | None:
        """Read one object; none when the other side has closed. Raises LinesBroken or OSError."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._rest:
            if len(self._rest) > _LONGEST:
                raise LinesBroken(f"more than {_LONGEST} bytes without an end of line")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise LinesBroken(f"nothing was said for {seconds:.0f} s")
            self._connection.settimeout(left)
            try:
                chunk = self._connection.recv(_CHUNK)
            except TimeoutError:
                continue
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LinesBroken("a line that is not JSON") from error
        if not isinstance(found, dict):
            raise LinesBroken("a line that is not a JSON object")
        return found

    def write(self, message: Mapping[str, object], seconds: float) -> None:
        """Write one object; raises OSError."""
        self._connection.settimeout(seconds)
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def fileno(self) -> int:
        """The descriptor of the connection."""
        return self._connection.fileno()

    def gone(self) -> bool:
        """Whether the other side has closed its end, without waiting."""
        if self._rest:
            return False
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
