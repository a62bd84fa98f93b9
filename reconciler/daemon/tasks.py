"""What a worker does: apply one VM's document, or take a group's checkpoint. The daemon's way into ``execute``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.daemon.workers import Task
from reconciler.execute.apply import Wish, apply
from reconciler.execute.together import Member, capture_together
from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Restraint
from reconciler.model.windows import Windows
from reconciler.names import Dataset, VmName
from reconciler.render.action_words import action_view
from reconciler.render.units import count_text

if TYPE_CHECKING:
    from reconciler.daemon.looking import LookedAt

BY = "the daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How work is to be done: in which windows, how many seconds a group's guests wait, for which revision.

    It may begin long after it was offered: then RESTRAINT tells what must not be done for a document, and NEWEST which
    document of a VM is in force; none is released. COUNTS tells, once a VM's lock is held, whether that is so still: a
    person may have changed the document and applied it meanwhile.
    """

    clock: Callable[[], datetime]
    restraint: Callable[[DesiredVm], Restraint]
    newest: Callable[[VmName], DesiredVm | None]
    counts: Callable[[DesiredVm], bool]
    windows: Windows
    group_wait: float
    revision: str | None

    @property
    def by(self) -> str:
        """Who asks, for the journal."""
        return BY if self.revision is None else f"{BY} at {self.revision[:12]}"


def apply_task(host: "LookedAt", desired: DesiredVm, orders: Orders) -> Task:
    """Make the task that applies DESIRED."""

    def work(begin: Callable[[str], None]) -> str:
        wanted = orders.newest(desired.vm)
        if wanted is None or wanted.dataset != desired.dataset:
            return ""  # released meanwhile, or moved: the next look knows
        restraint = orders.restraint(wanted)
        wish = Wish(
            by=orders.by,
            restraint=restraint,
            windows=orders.windows,
            still=lambda: orders.counts(wanted),
        )

        def progress(action: Action) -> None:
            begin(_words(action, desired.dataset))

        hands = host.hands(wanted)
        result = apply(wanted, hands, host.identity, orders.clock, wish, progress)
        left = len(result.left.actions)
        return f"{count_text(left, 'action')} left after all were done" if left else ""

    return work


def group_task(host: "LookedAt", group: str, members: Sequence[DesiredVm], orders: Orders) -> Task:
    """Make the task that takes the checkpoint of GROUP, of all its MEMBERS."""

    def work(begin: Callable[[str], None]) -> str:
        def progress(member: Member) -> Callable[[Action], None]:
            return lambda action: begin(
                f"{member.desired.vm}: {_words(action, member.desired.dataset)}"
            )

        parts = [Member(vm, host.hands(vm)) for vm in members]
        planned = capture_together(
            group,
            parts,
            host.identity,
            orders.clock,
            orders.by,
            orders.group_wait,
            progress,
            windows=orders.windows,
            still=orders.counts,
        )
        return "; ".join(planned.obstacles)

    return work


def _words(action: Action, home: Dataset) -> str:
    view = action_view(action, home)
    return f"{view.verb} {view.what}"
