"""A whole host as data: what the page, ``/status.json`` and the metrics are made of.

Made by the daemon of what it knows, and by ``ckptree tree --html`` without one: then ``daemon`` and ``doing`` are
none. Nothing is worked out here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from reconciler.model.properties import encode_time
from reconciler.names import Dataset, VmName
from reconciler.plan.document import Json
from reconciler.render.status_view import StatusView
from reconciler.render.tree_nodes import TreeView
from reconciler.render.units import count_text


class Work(Enum):
    """What the daemon does with a VM."""

    IDLE = "idle"
    QUEUED = "queued"
    WORKING = "working"
    BACKING_OFF = "backing-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What the daemon does with a VM SINCE then; after FAILURES in a row with ERROR it tries again at RETRY.

    ACTION is the one it carries out, in words. PAUSE is how many seconds the guest stood still the last time.
    """

    work: Work
    since: datetime
    action: str = ""
    failures: int = 0
    error: str = ""
    retry: datetime | None = None
    pause: float | None = None

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {
            "work": self.work.value,
            "since": encode_time(self.since),
            "action": self.action,
            "failures": self.failures,
            "error": self.error,
            "retry": None if self.retry is None else encode_time(self.retry),
            "pause_seconds": self.pause,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """PLACE of the documents, the accepted REVISION of a repository, and the PROBLEM that keeps it from newer ones."""

    place: str
    revision: str | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {"place": self.place, "revision": self.revision, "problem": self.problem}


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """The daemon itself.

    MISSED counts the changes that a periodic look found and no event had told of, UNTOLD the notices that each receiver
    did not get.
    """

    pid: int
    started: datetime
    last_pass: datetime | None
    next_pass: datetime | None
    passes: int
    missed: int
    source: SourceFacts
    untold: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {
            "pid": self.pid,
            "started": encode_time(self.started),
            "last_pass": None if self.last_pass is None else encode_time(self.last_pass),
            "next_pass": None if self.next_pass is None else encode_time(self.next_pass),
            "passes": self.passes,
            "missed": self.missed,
            "source": self.source.to_json(),
            "untold": dict(self.untold),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VmReport:
    """All that is shown of one VM."""

    status: StatusView
    tree: TreeView
    doing: Doing | None = None

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {
            "status": self.status.to_json(),
            "tree": self.tree.to_json(),
            "doing": None if self.doing is None else self.doing.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """All that is shown of a host AT that moment. FAULTS are those of documents; RELEASED are homes without one."""

    host: str
    version: str
    at: datetime
    vms: tuple[VmReport, ...]
    released: Mapping[Dataset, VmName | str]
    faults: tuple[str, ...]
    daemon: DaemonFacts | None = None

    @property
    def brief(self) -> str:
        """One line for people: how many VMs there are, and in which states."""
        states = Counter(report.status.state.value for report in self.vms)
        told = "".join(f", {number} {state}" for state, number in sorted(states.items()))
        return f"{count_text(len(self.vms), 'VM')}{told}"

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values: sizes in bytes, times in UTC."""
        return {
            "version": 1,
            "host": self.host,
            "ckptree": self.version,
            "at": encode_time(self.at),
            "daemon": None if self.daemon is None else self.daemon.to_json(),
            "faults": list(self.faults),
            "vms": [report.to_json() for report in self.vms],
            "released": [
                {"vm": str(name), "dataset": str(home)} for home, name in self.released.items()
            ],
        }
