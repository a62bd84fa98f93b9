"""A conversation with one QEMU in its Machine Protocol (QMP), for callers that know nothing of asyncio.

The only user of the library ``qemu.qmp`` (an optional dependency: imported here, and this module only by
``keeper.qemu``). One thread with an event loop serves the connection, so that the end of QEMU is noticed at once,
also in the middle of a command. What the states of QEMU mean for a guest is said here; processes and files are
``keeper.qemu``'s. Facts: QEMU's QMP reference (qemu-qmp-ref(7)), seen with QEMU 7.2 and 10.0.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate

from reconciler.errors import StepFailed

# What ends a connection is said by the errors here; the library would say it once more on standard error.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())

_Answer = TypeVar("_Answer")

_UNLIMITED = 1 << 50  # bytes a second; QEMU's default of 128 MiB/s is meant for networks
_FILE_URI = (9, 1)
"""From this version on ``fd:`` is no longer meant for files, but ``file:`` with a set of descriptors (since 8.2)."""
_FDSET = 0x636B70  # any number that the arguments of a guest will not use
_DONE = frozenset(
    ["none", "completed", "failed", "cancelled"]
)  # MigrationStatus without anything going on
_CLOSE_SECONDS = 2.0
_SHORT, _LONG = 0.005, 0.5  # seconds between two looks at what QEMU sends no event for


class QemuGone(StepFailed):
    """QEMU has ended, or closed the connection."""


class QemuLate(StepFailed):
    """QEMU did not answer within its time."""


class Qmp:
    """The connection. Every UNTIL is a time.monotonic(); every method raises StepFailed with QEMU's own words."""

    def __init__(self, vm: str) -> None:
        self._client = QMPClient(vm)
        # The library keeps every event for whoever asks later, in a keeper for months: nobody asks.
        self._client.events.event_filter = lambda _: False
        self._version: tuple[int, int] = (0, 0)
        self._lost = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None  # or nothing would keep it alive
        self._going_on: Future[None] | None = None
        self._refusal = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connect(self, listener: socket.socket, *, until: float) -> None:
        """Let QEMU connect to LISTENER, and get it ready for what may be asked later. Closes LISTENER."""
        self._call(self._connect(listener), until)

    def lose(self) -> None:
        """Tell that QEMU has ended, for whom it has never connected."""
        self._loop.call_soon_threadsafe(self._lost.set)

    def status(self, *, until: float) -> str:
        """Tell QEMU's RunState, for example ``running``, ``paused`` or ``postmigrate``."""
        return self._call(self._status(), until)

    @property
    def lost(self) -> bool:
        """Whether there is no connection."""
        return self._client.runstate is not Runstate.RUNNING

    def prepare(self, descriptor: int, *, until: float) -> str:
        """Do what can be done for ``save`` while the guest runs, and tell what to save to.

        DESCRIPTOR is an empty file that QEMU may write. Raises StepFailed too if the guest does not run, or has a
        device that cannot be saved now.
        """
        if self._going_on is not None and not self._going_on.done():
            raise StepFailed("the guest has not gone on yet since the last freeze")
        return self._call(self._prepare(descriptor), until)

    def save(self, target: str, *, until: float) -> None:
        """Stop the guest, flush its disks and write its RAM and devices to TARGET, which came from ``prepare``.

        After an error the guest is whatever it is: ``go_on`` must be called. ``stop`` drains and flushes the disks;
        the end of the migration flushes them once more, fails if that fails, and leaves the images as another QEMU
        could open them (do_vm_stop and vm_stop_force_state in cpus.c, migration.c).
        """
        self._call(self._save(target), until)

    def load(self, descriptor: int, *, until: float) -> None:
        """Give a QEMU that was started with ``-incoming defer`` the file behind DESCRIPTOR; the guest stays paused."""
        self._call(self._load(descriptor), until)

    def go_on(self, *, until: float) -> None:
        """Let the guest go on, and see it running.

        This is tried until it works or QEMU is gone, also when UNTIL is over and StepFailed has been raised: a guest
        is never left standing because a disk was slow.
        """
        if self._going_on is None or self._going_on.done():
            self._going_on = self._submit(self._go_on())
        try:
            self._going_on.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            detail = f": {self._refusal}" if self._refusal else ""
            raise QemuLate(
                f"QEMU has not let the guest go on yet, and still tries{detail}"
            ) from None
        except (QMPError, EOFError, OSError) as error:
            raise QemuGone("QEMU has ended") from error

    def execute(self, command: str, *, until: float) -> None:
        """Execute a command without arguments, such as ``quit`` or ``system_powerdown``."""
        self._call(self._execute(command), until)

    def close(self) -> None:
        """End the conversation and its thread."""
        with suppress(StepFailed):
            self._call(self._close(), time.monotonic() + _CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)

    # ---- between the threads -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self._loop.close()

    def _submit(self, work: Coroutine[object, object, _Answer]) -> Future[_Answer]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _call(self, work: Coroutine[object, object, _Answer], until: float) -> _Answer:
        future = self._submit(work)
        try:
            return future.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            future.cancel()
            raise QemuLate("QEMU did not answer in time") from None
        except ExecuteError as error:
            raise StepFailed(f"QEMU says: {error}") from error
        except (QMPError, EOFError, OSError) as error:
            raise QemuGone("QEMU has ended") from error

    # ---- in the event loop -------------------------------------------------------------------------------------

    async def _connect(self, listener: socket.socket) -> None:
        with listener:
            listener.settimeout(0)
            end, _ = await self._unless_lost(self._loop.sock_accept(listener))
        await self._client.connect(end)
        self._watching = self._loop.create_task(self._watch())
        greeting = self._client.greeting
        version = None if greeting is None else greeting.QMP.version.get("qemu")
        if isinstance(version, dict):
            self._version = (int(version["major"]), int(version["minor"]))
        events = {"capabilities": [{"capability": "events", "state": True}]}
        await self._client.execute("migrate-set-capabilities", events)
        await self._client.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED})

    async def _watch(self) -> None:
        """Notice the end of the connection, and take back what the library still holds of it."""
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()
        self._lost.set()
        with suppress(QMPError, EOFError, OSError):
            await self._client.disconnect()

    async def _close(self) -> None:
        if self._client.runstate is Runstate.RUNNING:
            with suppress(QMPError, EOFError, OSError):
                await self._client.disconnect()

    async def _execute(self, command: str) -> None:
        await self._client.execute(command)

    async def _query(self, command: str) -> dict[str, object]:
        answer = await self._client.execute(command)
        return answer if isinstance(answer, dict) else {}

    async def _status(self) -> str:
        return str((await self._query("query-status")).get("status"))

    async def _prepare(self, descriptor: int) -> str:
        status = await self._status()
        if status != "running":
            raise StepFailed(f"the guest does not run, for QEMU it is {status}")
        reasons = (await self._query("query-migrate")).get("blocked-reasons")
        if isinstance(reasons, list) and reasons:
            raise StepFailed(f"QEMU says: {'; '.join(str(reason) for reason in reasons)}")
        return await self._hand_over(descriptor)

    async def _save(self, target: str) -> None:
        await self._client.execute("stop")
        await self._migrate("migrate", target)
        while (status := await self._status()) == "finish-migrate":
            await asyncio.sleep(_SHORT)  # there is no event for it, and it takes less than that
        if status != "postmigrate":
            raise StepFailed(f"for QEMU the guest is {status} after its RAM was saved")

    async def _load(self, descriptor: int) -> None:
        await self._migrate("migrate-incoming", await self._hand_over(descriptor))

    async def _hand_over(self, descriptor: int) -> str:
        """Give QEMU a descriptor of its own for a file, and tell how a migration names it."""
        if self._version < _FILE_URI:
            self._client.send_fd_scm(descriptor)
            await self._client.execute("getfd", {"fdname": "memory"})
            return "fd:memory"
        with suppress(ExecuteError):  # there is none yet, or QEMU has closed it
            await self._client.execute("remove-fd", {"fdset-id": _FDSET})
        self._client.send_fd_scm(descriptor)
        await self._client.execute("add-fd", {"fdset-id": _FDSET})
        return f"file:/dev/fdset/{_FDSET}"

    async def _migrate(self, command: str, uri: str) -> None:
        with self._client.listener("MIGRATION") as events:
            await self._client.execute(command, {"uri": uri})
            status = ""
            while status not in _DONE:
                event = await self._unless_lost(events.get())
                data = event["data"]
                status = str(data["status"]) if isinstance(data, dict) else ""
        if status != "completed":
            answer = await self._query("query-migrate")
            raise StepFailed(f"QEMU says: {answer.get('error-desc') or f'migration {status}'}")

    async def _unless_lost(self, work: Coroutine[object, object, _Answer]) -> _Answer:
        """Give what WORK gives; raises EOFError as soon as QEMU is gone."""
        wanted = self._loop.create_task(work)
        lost = self._loop.create_task(self._lost.wait())
        try:
            await asyncio.wait({wanted, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                raise EOFError
            return wanted.result()
        finally:
            wanted.cancel()
            lost.cancel()

    async def _go_on(self) -> None:
        pause = _SHORT
        while True:
            try:
                await self._cancel_migration()
                await self._client.execute("cont")
                if (status := await self._status()) == "running":
                    return
                self._refusal = f"for QEMU it is {status}"
            except ExecuteError as error:  # such as: Migration is not finalized yet
                self._refusal = str(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONG)

    async def _cancel_migration(self) -> None:
        if (await self._query("query-migrate")).get("status", "none") not in _DONE:
            await self._client.execute("migrate_cancel")
