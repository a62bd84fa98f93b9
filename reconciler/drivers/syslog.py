"""Lines for syslog(3). What is said, and how much it matters, is decided elsewhere."""

import syslog
from collections.abc import Callable

from reconciler.errors import CkptreeError

FACILITIES = {
    name.lower().removeprefix("log_"): getattr(syslog, name)
    for name in (
        "LOG_AUTH", "LOG_CRON", "LOG_DAEMON", "LOG_KERN", "LOG_LPR", "LOG_MAIL", "LOG_NEWS", "LOG_SYSLOG", "LOG_USER",
        "LOG_UUCP", *(f"LOG_LOCAL{number}" for number in range(8)),
    )
}  # fmt: skip
"""The facilities by the names that syslog.conf(5) has for them."""

_IDENT = "ckptree"
_LONGEST = 8000  # bytes; syslogd(8) cuts what is longer where it likes


class Syslog:
    """Writes to syslog under FACILITY; WRITE and OPEN are those of the standard library. Raises CkptreeError."""

    def __init__(
        self,
        facility: str,
        write: Callable[[int, str], None] = syslog.syslog,
        begin: Callable[[str, int, int], None] = syslog.openlog,
    ) -> None:
        if facility not in FACILITIES:
            raise CkptreeError(
                f"there is no syslog facility {facility} (write one of {', '.join(sorted(FACILITIES))})"
            )
        self._facility = FACILITIES[facility]
        self._write = write
        begin(_IDENT, syslog.LOG_PID, self._facility)

    def say(self, priority: int, text: str) -> None:
        """Write TEXT as one line, with PRIORITY, one of the LOG_ numbers of syslog(3)."""
        line = " ".join(text.split())
        line = "".join(char if char.isprintable() else "?" for char in line)
        self._write(self._facility | priority, line.encode()[:_LONGEST].decode(errors="ignore"))
