"""What the loop saw last, whole: other threads read it without waiting, and a report is made of it on demand.

Data and its arrangement only. Neighbours: ``loop`` puts up a new one after each look, ``http`` shows the report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler import __version__
from reconciler.daemon.documents import InForce
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.plan import Plan, Reason
from reconciler.names import Dataset, VmName
from reconciler.render.host_view import DaemonFacts, Doing, HostReport, SourceFacts, VmReport, Work
from reconciler.render.status_view import StatusView
from reconciler.render.tree_nodes import TreeView
from reconciler.source.contract import Source


@dataclass(frozen=True, slots=True)
class Seen:
    """One VM as it was seen last; at DUE it is to be looked at again."""

    desired: DesiredVm
    observation: Observation
    plan: Plan
    status: StatusView
    tree: TreeView
    due: datetime | None

    @property
    def unreadable(self) -> bool:
        """Whether something of it could not be read, so that nothing was concluded."""
        reasons = {Reason.OBSERVATION_INCOMPLETE, Reason.POOL_UNAVAILABLE}
        return any(condition.reason in reasons for condition in self.plan.conditions)


@dataclass(frozen=True, slots=True)
class Life:
    """The daemon's process: its pid, and since when it runs."""

    pid: int
    started: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All VMs as they were seen AT that moment or before. FAULTS are of the host, those of documents are in IN_FORCE.

    MISSED counts the looks that found changed documents of which no event had told.
    """

    at: datetime
    in_force: InForce = field(default_factory=InForce)
    seen: tuple[Seen, ...] = ()
    released: Mapping[Dataset, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    passes: int = 0
    missed: int = 0
    last_pass: datetime | None = None
    next_pass: datetime | None = None

    @property
    def homes(self) -> tuple[str, ...]:
        """Where the homes of the VMs are mounted."""
        found = (seen.observation.reading.dataset(seen.desired.dataset) for seen in self.seen)
        return tuple(
            home.mountpoint for home in found if home is not None and home.mountpoint is not None
        )

    def report(
        self,
        host: str,
        at: datetime,
        life: Life,
        source: Source,
        doing: Callable[[str], Doing | None],
        before: Mapping[VmName, VmReport],
    ) -> HostReport:
        """Tell all of it AT this moment, with what the workers are DOING.

        The report on a VM of which nothing has changed is the very object that it was BEFORE: whoever writes it in
        another form need not do so again.
        """
        idle = Doing(work=Work.IDLE, since=life.started)
        return HostReport(
            host=host,
            version=__version__,
            at=at,
            vms=tuple(
                _vm_report(seen, doing(seen.desired.vm) or idle, before.get(seen.desired.vm))
                for seen in self.seen
            ),
            released=self.released,
            faults=(*self.in_force.faults, *self.faults),
            daemon=DaemonFacts(
                pid=life.pid,
                started=life.started,
                last_pass=self.last_pass,
                next_pass=self.next_pass,
                passes=self.passes,
                missed=self.missed,
                source=SourceFacts(
                    place=source.place, revision=source.revision, problem=source.problem
                ),
            ),
        )


def _vm_report(seen: Seen, doing: Doing, before: VmReport | None) -> VmReport:
    doing = replace(doing, pause=seen.observation.journal.pause)
    if (
        before is not None
        and before.status is seen.status
        and before.tree is seen.tree
        and before.doing == doing
    ):
        return before
    return VmReport(status=seen.status, tree=seen.tree, doing=doing)
