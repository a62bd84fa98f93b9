"""The keeper's Unix socket: made so that only its owner can reach it, and made again if its file vanishes."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

from reconciler.errors import StepFailed

_LONGEST = 103  # bytes: sun_path of FreeBSD is 104 with the terminator, unix(4)
_BACKLOG = 16
_PATIENCE = 2.0  # seconds for the other side to accept


class Endpoint:
    """A listening socket at PATH; raises StepFailed, with the HINT, if another process serves that path."""

    def __init__(self, path: str, hint: str = "is there a VM of this name twice?") -> None:
        self._path = Path(path)
        self._hint = hint
        self._listener, self._identity = self._bind()

    @property
    def listener(self) -> socket.socket:
        """The socket to accept from; not the same one for ever."""
        return self._listener

    def repair(self) -> bool:
        """Make the socket again if its file is not ours any more, and tell whether that was so; raises StepFailed."""
        if self._seen() == self._identity:
            return False
        fresh, identity = self._bind()
        self._listener.close()
        self._listener, self._identity = fresh, identity
        return True

    def withdraw(self) -> None:
        """Take the socket's file away, so that nobody else finds it; from any thread."""
        if self._seen() == self._identity:
            with suppress(OSError):
                self._path.unlink()

    def _seen(self) -> tuple[int, int] | None:
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _bind(self) -> tuple[socket.socket, tuple[int, int]]:
        """Bind beside PATH and rename(2), so that there is never a socket there that nobody serves."""
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        if len(os.fsencode(fresh)) > _LONGEST:
            raise StepFailed(f"{self._path} is too long for a socket (give the VM a shorter name)")
        if self._served():
            raise StepFailed(f"another process serves {self._path} ({self._hint})")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _private(self._path.parent)
            fresh.unlink(missing_ok=True)
            listener.bind(str(fresh))
            fresh.chmod(0o600)
            listener.listen(_BACKLOG)
            status = fresh.lstat()
            fresh.rename(self._path)
        except OSError as error:
            listener.close()
            raise StepFailed(f"{self._path} cannot be made: {error.strerror}") from error
        return listener, (status.st_dev, status.st_ino)

    def _served(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PATIENCE)
            try:
                probe.connect(str(self._path))
            except TimeoutError:
                return True
            except OSError:
                return False
        return True


def _private(folder: Path) -> None:
    """Make FOLDER where absent, and see that only this user can use it; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"{folder} belongs to another user")
    folder.chmod(0o700)
