"""``ckptree run``: the daemon in the foreground; daemon(8), rc(8) or systemd puts it where it belongs.

Signals arrive here and nowhere else: SIGHUP reads the settings again and looks at everything, SIGTERM and SIGINT end.
"""

import logging
import signal
import sys
from queue import SimpleQueue
from types import FrameType

import click

from reconciler import paths
from reconciler.cli.session import Session
from reconciler.errors import ExitCode

_ENDED = 0  # no signal has this number


@click.command("run")
@click.option("--debug", is_flag=True, help="Log every program that is started, too.")
@click.pass_obj
def command(session: Session, debug: bool) -> ExitCode:
    """Keep the VMs equal to their documents, until a signal ends it: at every edit, every commit, and now and then.

    SIGHUP reads ckptree.yaml again and looks at everything; SIGTERM ends it between two actions. Guests go on.
    """
    from reconciler.daemon.assembly import Daemon
    from reconciler.drivers.clock import SystemClock

    _log_to_stderr(debug=debug)
    # An interrupted put is taken up again: SimpleQueue may be used in signal handlers.
    events: SimpleQueue[int] = SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        events.put(number)

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    daemon = Daemon(
        session.host,
        session.read_settings,
        session.open_source,
        SystemClock(),
        paths.SOCKET,
        lambda: events.put(_ENDED),
    )
    daemon.start()
    while (event := events.get()) == signal.SIGHUP:
        daemon.reload()
    daemon.stop()
    return ExitCode.ERROR if event == _ENDED else ExitCode.NOTHING_TO_DO


def _log_to_stderr(*, debug: bool) -> None:
    """Log to the standard error; under a supervisor the time is the system log's to write."""
    stamp = "%(asctime)s " if sys.stderr.isatty() else ""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format=f"{stamp}%(levelname)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("watchdog", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
