"""Deliver notices: to syslog, to a program, to an address, each on a thread of its own with a bounded queue.

A receiver that hangs delays nobody: not the loop, not the other receivers. What is told is decided by ``notices``.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from threading import Condition, Thread

from reconciler.contracts.clock import Clock
from reconciler.daemon.notices import Notice, Notices, Weight
from reconciler.errors import CkptreeError
from reconciler.render.host_view import HostReport
from reconciler.spec.settings import Notify

_QUEUED = 200  # notices that wait for one receiver; then the oldest gives way
_PAUSES = (2.0, 10.0)  # seconds before a second and a third try
_COMMAND_SECONDS = 30.0
_LONGEST_ERROR = 1000  # characters

_log = logging.getLogger(__name__)

Deliver = Callable[[Notice], None]
"""Delivers one notice, or raises CkptreeError."""


class Notifier:
    """Tells people of HOST, as SETTINGS say, what changes from report to report.

    ``tell`` returns at once, whatever the receivers do; it is called by one thread. A receiver that cannot be set up
    is logged and left out. The threads end by ``close``, or with the process.
    """

    def __init__(self, settings: Notify, host: str, clock: Clock) -> None:
        self._notices = Notices(host)
        self._clock = clock
        self._receivers: list[Receiver] = []
        for name, make in _makers(settings):
            try:
                self._receivers.append(Receiver(name, make()))
            except CkptreeError as error:
                _log.error("nobody is told by %s: %s", name, error)

    def tell(self, report: HostReport) -> None:
        """Tell what is new in REPORT."""
        for notice in self._notices.decide(report):
            for receiver in self._receivers:
                receiver.put(notice)

    def close(self, seconds: float) -> None:
        """Take nothing more, and let what is queued be delivered within SECONDS; then give it up."""
        for receiver in self._receivers:
            receiver.close()
        deadline = self._clock.monotonic() + seconds
        for receiver in self._receivers:
            left = receiver.join(max(0.0, deadline - self._clock.monotonic()))
            if left:
                _log.warning("%s was not told %d notices: there was no time", receiver.name, left)

    @property
    def failures(self) -> Mapping[str, int]:
        """How many notices each receiver, by name, did not get."""
        return {receiver.name: receiver.failures for receiver in self._receivers}


class Receiver:
    """One receiver, NAME in messages, to whom DELIVER brings a notice; has a thread and a queue of its own."""

    def __init__(self, name: str, deliver: Deliver, pauses: tuple[float, ...] = _PAUSES) -> None:
        self.name = name
        self.failures = 0
        self._deliver = deliver
        self._pauses = pauses
        self._queue: deque[Notice] = deque()
        self._changed = Condition()
        self._closing = False
        self._failing = False
        self._at_work = False
        self._thread = Thread(target=self._work, name=f"notify {name}", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Queue NOTICE; where too many wait, the oldest is given up: what is so now matters more."""
        with self._changed:
            if self._closing:
                return
            if len(self._queue) >= _QUEUED:
                self._queue.popleft()
                self._failed("too many notices wait for it")
            self._queue.append(notice)
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more, and wait no more between tries."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, seconds: float) -> int:
        """Wait SECONDS for the queue to become empty; gives how many notices are left. After ``close``."""
        self._thread.join(seconds)
        with self._changed:
            left = len(self._queue) + self._at_work
            self._queue.clear()
            return left

    def _work(self) -> None:
        while (notice := self._next()) is not None:
            error = self._try(notice)
            with self._changed:
                self._at_work = False
                if error:
                    self._failed(error)
                elif self._failing:
                    self._failing = False
                    _log.info("%s is told again; it was not told %d notices", self.name, self.failures)  # fmt: skip

    def _next(self) -> Notice | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._at_work = bool(self._queue)
            return self._queue.popleft() if self._queue else None

    def _try(self, notice: Notice) -> str:
        error = ""
        for pause in (0.0, *self._pauses):
            with self._changed:
                if pause and self._changed.wait_for(lambda: self._closing, pause):
                    return error
            try:
                self._deliver(notice)
            except CkptreeError as failed:
                error = str(failed)
            except Exception as failed:  # noqa: BLE001 - whatever a receiver does, the others are told
                error = f"internal error ({type(failed).__name__}: {failed}); please report it"
            else:
                return ""
        return error

    def _failed(self, why: str) -> None:
        """Count a notice that was not delivered; only the first one after a success is logged."""
        self.failures += 1
        if not self._failing:
            self._failing = True
            _log.warning("%s is not told: %s", self.name, why[:_LONGEST_ERROR])


def _makers(settings: Notify) -> list[tuple[str, Callable[[], Deliver]]]:
    makers: list[tuple[str, Callable[[], Deliver]]] = []
    facility, command, webhook = settings.facility, settings.command, settings.webhook
    if facility is not None:
        makers.append(("syslog", lambda: by_syslog(facility)))
    if command:
        makers.append((command[0], lambda: by_command(command)))
    if webhook is not None:
        makers.append(("the webhook", lambda: by_webhook(webhook)))
    return makers


def by_syslog(facility: str) -> Deliver:
    """Deliver to syslog under FACILITY, each with its severity."""
    import syslog

    from reconciler.drivers.syslog import Syslog

    log = Syslog(facility)
    priorities = {
        Weight.INFO: syslog.LOG_INFO,
        Weight.NOTICE: syslog.LOG_NOTICE,
        Weight.WARNING: syslog.LOG_WARNING,
        Weight.ERROR: syslog.LOG_ERR,
    }
    return lambda notice: log.say(priorities[notice.weight], notice.text)


def by_command(argv: tuple[str, ...]) -> Deliver:
    """Deliver to a program: the notice as JSON on its standard input, the main parts in its environment."""
    from reconciler.drivers.command import run
    from reconciler.drivers.trust import why_not_trusted

    def deliver(notice: Notice) -> None:
        doubt = why_not_trusted(argv[0])
        if doubt:
            raise CkptreeError(f"{argv[0]} is not run: {doubt}")
        body = json.dumps(notice.to_json()) + "\n"
        run(
            argv,
            timeout=_COMMAND_SECONDS,
            input=body,
            environment=_environment(notice),
            shares=False,
        )

    return deliver


def by_webhook(url: str) -> Deliver:
    """Deliver to URL: the notice as JSON."""
    from reconciler.drivers.webhook import Webhook

    webhook = Webhook(url)
    return lambda notice: webhook.send(json.dumps(notice.to_json()).encode())


def _environment(notice: Notice) -> dict[str, str]:
    body = notice.to_json()
    found = {
        f"CKPTREE_{key.upper()}": str(body[key] or "")
        for key in ("at", "host", "event", "severity", "vm", "state", "reason", "message")
    }
    found["CKPTREE_NODES"] = " ".join(notice.nodes)
    longest = 60_000  # characters; execve(2) takes 128 KiB of one at least
    return {key: value.replace("\0", "")[:longest] for key, value in found.items()}
