"""Asks the daemon of this host over its Unix socket, and never waits for it for long.

Used by commands that work without a daemon as well, and that say which it was. Neighbour: ``http``, the other side.
"""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import cast

from reconciler.errors import CkptreeError
from reconciler.model.properties import decode_time
from reconciler.plan.document import Json
from reconciler.render.daemon_text import NO_DAEMON, daemon_text
from reconciler.render.host_view import Doing, Work

_PATIENCE = 2.0  # seconds, for the whole answer
_LONGEST = 64 * 1024 * 1024  # bytes
_PIECE = 64 * 1024


class DaemonMute(CkptreeError):
    """A daemon that is there and gives no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """The daemon that runs: its PID, its LAST_PASS over everything, and what it is DOING with each VM.

    MUTE is why a daemon that seems to run gave no answer; then nothing else is known of it.
    """

    pid: int = 0
    last_pass: datetime | None = None
    doing: Mapping[str, Doing] = field(default_factory=dict)
    mute: str = ""

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        if self.mute:
            return {"pid": None, "last_pass": None, "problem": self.mute}
        last = None if self.last_pass is None else f"{self.last_pass:%Y-%m-%dT%H:%M:%SZ}"
        return {"pid": self.pid, "last_pass": last, "problem": ""}


def ask(path: str, at: Path, patience: float = _PATIENCE) -> bytes | None:
    """Get PATH from the daemon that listens AT its socket; none where no daemon does.

    Raises DaemonMute if it gives no good answer within PATIENCE seconds, or must not be asked by this user.
    """
    return _request("GET", path, b"", at, patience)


def look_again(vm: str, at: Path, patience: float = _PATIENCE) -> bool:
    """Ask the daemon AT that socket to look at VM again, at all for an empty text; false where no daemon listens.

    Raises DaemonMute as ask does.
    """
    return _request("POST", "/look-again", vm.encode(), at, patience) is not None


def presence(at: Path) -> Presence | None:
    """Tell of the daemon that listens AT that socket; none where no daemon does. Never raises."""
    try:
        answer = ask("/doing.json", at)
        return None if answer is None else _presence(answer)
    except DaemonMute as mute:
        return Presence(mute=str(mute))


def presence_text(daemon: Presence | None, now: datetime) -> str:
    """Tell in a line whether a daemon runs."""
    if daemon is None:
        return NO_DAEMON
    return daemon.mute or daemon_text(daemon.pid, daemon.last_pass, now)


def _request(method: str, path: str, body: bytes, at: Path, patience: float) -> bytes | None:
    until = time.monotonic() + patience
    connection = _Connection(at, until)
    try:
        connection.connect()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise DaemonMute(f"{at} cannot be asked: {error.strerror or 'no answer'}") from error
    try:
        connection.request(method, path, body or None)
        response = connection.getresponse()
        answer = bytearray()
        while piece := response.read1(_PIECE):
            answer += piece
            connection.line.settimeout(max(until - time.monotonic(), 0.001))
            if len(answer) > _LONGEST or time.monotonic() > until:
                raise DaemonMute(f"the daemon at {at} does not come to an end with its answer")
    except TimeoutError as error:
        raise DaemonMute(f"the daemon at {at} does not answer within {patience:g} s") from error
    except (OSError, HTTPException) as error:
        raise DaemonMute(f"the daemon at {at} broke off its answer") from error
    finally:
        connection.close()
    if response.status >= 400:
        said = answer.decode(errors="replace").strip().partition("\n")[0]
        raise DaemonMute(f"the daemon at {at} refuses: {said[:200] or response.status}")
    return bytes(answer)


class _Connection(HTTPConnection):
    def __init__(self, at: Path, until: float) -> None:
        super().__init__("localhost")
        self._at = at
        self._until = until

    def connect(self) -> None:
        # Kept, as the base forgets it where the answer ends with the connection.
        self.line = self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.settimeout(max(self._until - time.monotonic(), 0.001))
        try:
            self.line.connect(str(self._at))
        except BaseException:
            self.line.close()
            raise


def _presence(answer: bytes) -> Presence:
    try:
        body = json.loads(answer)
        daemon = body["daemon"]
        last = daemon["last_pass"]
        return Presence(
            pid=int(daemon["pid"]),
            last_pass=None if last is None else decode_time(last),
            doing={str(vm): _doing(facts) for vm, facts in body["doing"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, CkptreeError) as error:
        raise DaemonMute("the daemon's answer is of another version (restart it)") from error


def _doing(facts: Mapping[str, object]) -> Doing:
    retry = facts["retry"]
    pause = facts["pause_seconds"]
    return Doing(
        work=Work(facts["work"]),
        since=decode_time(str(facts["since"])),
        action=str(facts["action"]),
        failures=int(cast(int, facts["failures"])),
        error=str(facts["error"]),
        retry=None if retry is None else decode_time(str(retry)),
        pause=None if pause is None else float(cast(float, pause)),
    )
