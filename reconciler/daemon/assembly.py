"""The daemon as a whole: its parts made from the host's settings, begun, set up anew, and ended in order.

Signals and the command line are ``cli.run``'s; what the parts do is theirs.
"""

import logging
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

from reconciler.contracts.clock import Clock
from reconciler.daemon.fetching import Fetching
from reconciler.daemon.http import StatusServer
from reconciler.daemon.looking import LookedAt
from reconciler.daemon.loop import Loop, Setup
from reconciler.daemon.notify import Notifier
from reconciler.daemon.wakes import Cause, Wakes
from reconciler.drivers.readiness import Readiness
from reconciler.drivers.watch import FolderWatch
from reconciler.errors import CkptreeError
from reconciler.names import VmName
from reconciler.render.host_view import HostReport
from reconciler.render.revision_view import outcome
from reconciler.source.contract import Source
from reconciler.source.repository import GitSource
from reconciler.spec.settings import HostSettings

_TO_THE_NEXT_ACTION = 60.0  # seconds
_TO_DELIVER = 5.0  # seconds for what is still to be told to others

_log = logging.getLogger(__name__)


class Daemon:
    """``ckptree run`` on HOST. LOAD reads the settings, OPEN_SOURCE opens the source of documents that they name.

    ENDED is called when the loop has ended by itself, which it never should.
    """

    def __init__(
        self,
        host: LookedAt,
        load: Callable[[], HostSettings],
        open_source: Callable[[HostSettings], Source],
        clock: Clock,
        socket: Path,
        ended: Callable[[], None],
    ) -> None:
        self._load = load
        self._open_source = open_source
        self._clock = clock
        self._socket = socket
        self._ended = ended
        self._readiness = Readiness()
        self._ready = False
        self._wakes = Wakes(clock)
        settings = load()
        source = open_source(settings)
        self._watch = FolderWatch(lambda: self._wakes.wake(Cause.FILES))
        setup = Setup(settings, source)
        self._loop = Loop(
            host, setup, self._watch, clock, self._wakes, random.random, self._told, os.getpid()
        )
        self._host_name = host.identity.name
        self._server = self._make_server(settings)
        self._notifier = Notifier(settings.notify, self._host_name, clock)
        self._fetching = self._make_fetching(setup)
        self._thread = Thread(target=self._run, name="loop", daemon=True)

    def start(self) -> None:
        """Begin; raises CkptreeError if another daemon runs on this host."""
        self._server.start()
        _log.info("ckptree runs on %s; documents: %s", self._host_name, self._loop.setup.source.place)  # fmt: skip
        self._fetching.start()
        self._thread.start()

    def reload(self) -> None:
        """Read the settings again and look at everything; settings that cannot be read change nothing."""
        self._readiness.reloading()
        try:
            settings = self._load()
            source = self._open_source(settings)
        except Exception as error:  # noqa: BLE001 - whatever a reload meets, the daemon goes on
            _log.error("the settings are not read again, those from before stay in force: %s", error)  # fmt: skip
        else:
            self._set_up(settings, source)
        self._wakes.wake(Cause.RELOAD)
        self._readiness.ready()

    def stop(self) -> None:
        """End in order: nothing new is begun, what is at work reaches its next action, and everybody is told."""
        self._readiness.stopping()
        self._wakes.close()
        for key in self._loop.workers.stop(_TO_THE_NEXT_ACTION):
            _log.warning("%s is still at work; the next run finishes or undoes what it has begun", key)  # fmt: skip
        self._fetching.stop()
        self._watch.close()
        self._server.stop()
        self._notifier.close(_TO_DELIVER)
        self._close(self._loop.setup.source)
        self._thread.join(_TO_DELIVER)
        _log.info("ckptree has ended; every guest goes on")

    def _run(self) -> None:
        try:
            self._loop.run()
        finally:
            self._ended()

    def _set_up(self, settings: HostSettings, source: Source) -> None:
        before = self._loop.setup
        if _sources(settings) != _sources(before.settings):
            self._fetching.stop()
            self._close(before.source)
            self._loop.setup = Setup(settings, source)
            self._fetching = self._make_fetching(self._loop.setup)
            self._fetching.start()
        else:
            self._loop.setup = Setup(settings, before.source)
            self._fetching.now()
        if (settings.listen, settings.interval) != (before.settings.listen, before.settings.interval):  # fmt: skip
            self._serve(settings, before.settings)
        if settings.notify != before.settings.notify:
            before_notifier = self._notifier
            self._notifier = Notifier(settings.notify, self._host_name, self._clock)
            before_notifier.close(_TO_DELIVER)
        _log.info("the settings were read again")

    def _serve(self, settings: HostSettings, before: HostSettings) -> None:
        """Answer as SETTINGS say; if that cannot be, as BEFORE."""
        self._server.stop()
        for chosen in (settings, before, replace(before, listen=None)):
            self._server = self._make_server(chosen)
            try:
                self._server.start()
            except CkptreeError as error:
                _log.error("%s", error)
            else:
                return

    def _close(self, source: Source) -> None:
        if isinstance(source, GitSource):
            source.ledger.close(_TO_DELIVER)

    def _make_fetching(self, setup: Setup) -> Fetching:
        git = setup.settings.source
        every = setup.settings.interval if git is None else git.every
        return Fetching(setup.source, every.total_seconds(), self._clock, self._wakes)

    def _make_server(self, settings: HostSettings) -> StatusServer:
        return StatusServer(
            self._report,
            self._socket,
            settings.listen,
            self._look_again,
            interval=settings.interval,
        )

    def _look_again(self, vm: str) -> None:
        self._fetching.now()
        self._wakes.wake(Cause.REQUEST, {VmName(vm)} if vm else None)

    def _report(self) -> HostReport:
        report = self._loop.report()
        if report.daemon is None:
            return report
        daemon = replace(report.daemon, untold=self._notifier.failures)
        return replace(report, daemon=daemon)

    def _told(self, report: HostReport) -> None:
        if not self._ready:
            self._ready = True
            self._readiness.ready()
        self._readiness.status(report.brief)
        self._notifier.tell(report)
        self._note_revision(report)

    def _note_revision(self, report: HostReport) -> None:
        """Write down what became of the revision in force, once all of its VMs were looked at."""
        source, board = self._loop.setup.source, self._loop.board
        revision = board.in_force.revision
        if not isinstance(source, GitSource) or revision is None:
            return
        fresh = [one for one in board.seen if one.desired.vm not in board.in_force.stale]
        if {one.desired.revision for one in fresh} - {revision}:
            return
        failures = {
            str(vm.status.vm): vm.doing.error
            for vm in report.vms
            if vm.doing is not None and vm.doing.error
        }
        plans = [one.plan for one in board.seen]
        try:
            source.ledger.note(revision, *outcome(plans, failures, report.faults))
        except CkptreeError as error:
            _log.warning("%s", error)


def _sources(settings: HostSettings) -> tuple[object, ...]:
    """What of SETTINGS the source of the documents is made of; its ledger tells the program for revisions."""
    return settings.vms, settings.source, settings.notify.revision
