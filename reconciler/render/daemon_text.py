"""The daemon in words: whether one runs, and what it does with a VM. The same below every table of a terminal."""

from datetime import datetime

from reconciler.render.host_view import Doing, Work
from reconciler.render.units import age_text, count_text

NO_DAEMON = "without the daemon"


def daemon_text(pid: int, last_pass: datetime | None, now: datetime) -> str:
    """Tell that the daemon runs, and how long ago it looked at everything."""
    look = "no look yet" if last_pass is None else f"last look {age_text(now - last_pass)} ago"
    return f"with the daemon (pid {pid}, {look})"


def doing_text(doing: Doing, now: datetime) -> str:
    """Tell what the daemon does with a VM; an empty text if nothing."""
    match doing.work:
        case Work.IDLE:
            return ""
        case Work.QUEUED:
            return f"the daemon: queued for {age_text(now - doing.since)}"
        case Work.WORKING:
            return f"the daemon: {doing.action or 'at work'}, for {age_text(now - doing.since)}"
        case Work.BACKING_OFF:
            again = (
                ""
                if doing.retry is None
                else f"; next try in {age_text(max(doing.retry, now) - now)}"
            )
            return f"the daemon: {count_text(doing.failures, 'failure')} in a row: {doing.error}{again}"
