"""Wait for the end of a process, our child or not, without looking every so often: kqueue(2), or pidfd_open(2)."""

import os
import select
import time


def await_end(pid: int, until: float) -> bool:
    """Wait for process PID to end; false if it still lives when ``time.monotonic()`` is UNTIL."""
    seconds = max(until - time.monotonic(), 0.0)
    try:
        if hasattr(os, "pidfd_open"):
            return _by_pidfd(pid, seconds)
        return _by_kqueue(pid, seconds)
    except ProcessLookupError:
        return True


def _by_pidfd(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        return bool(ended.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _by_kqueue(pid: int, seconds: float) -> bool:  # pragma: no cover - there is none on Linux
    queue = select.kqueue()  # type: ignore[attr-defined]
    try:
        end = select.kevent(  # type: ignore[attr-defined]
            pid,
            select.KQ_FILTER_PROC,  # type: ignore[attr-defined]
            select.KQ_EV_ADD,  # type: ignore[attr-defined]
            select.KQ_NOTE_EXIT,  # type: ignore[attr-defined]
        )
        return bool(queue.control([end], 1, seconds))
    finally:
        queue.close()
