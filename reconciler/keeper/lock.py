"""The lock that makes a keeper the only one of its home, and proves to others that it lives.

flock(2) on ``<home>/.ckptree/keeper.lock``, held for the keeper's life and gone with it, however it ends.
"""

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

from reconciler.errors import StepFailed

LOCK = ".ckptree/keeper.lock"


def take_lock(home: str, seconds: float) -> int:
    """Take the lock of HOME and give its descriptor; a keeper that is just ending is waited for.

    Only for the main thread. Raises StepFailed: another keeper still has it after SECONDS, or it cannot be made.
    """
    path = Path(home, LOCK)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StepFailed(f"{path} cannot be opened: {error.strerror}") from error
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except TimeoutError as error:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StepFailed(
            f"the guest of {home} is kept by another process already ({holder})"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return descriptor


def sign_lock(descriptor: int) -> None:
    """Write into the lock who holds it, for people."""
    with suppress(OSError):  # a full pool
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)


def _give_up(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal(2) calls
    raise TimeoutError
