"""When a later plan may differ from this one for no other reason than that time has passed.

Pure: the daemon asks how long it may sleep. A moment too early does no harm, one too late would.
"""

from collections.abc import Iterator
from datetime import datetime

from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.tree import Tree, derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.plan.expiry import end_of, existing
from reconciler.plan.schedule import last_taken
from reconciler.plan.windows import next_opening


def next_due(
    desired: DesiredVm, observation: Observation, now: datetime, windows: Windows = ALWAYS
) -> datetime | None:
    """Tell the first moment after NOW at which something of this VM falls due by time alone; none if nothing does.

    That is the next automatic checkpoint, an expiry, the end of a grace, or the opening of a window; WINDOWS are
    those of the host.
    """
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    moments = (*_ends(desired, observation, tree, now), *_openings(desired, windows, now))
    return min((moment for moment in moments if moment > now), default=None)


def _ends(
    desired: DesiredVm, observation: Observation, tree: Tree, now: datetime
) -> Iterator[datetime]:
    for wanted in desired.nodes:
        end = end_of(wanted, existing(wanted, tree), observation.journal)
        if end is not None:
            yield end
    for node in tree.nodes.values():
        if node.retired is not None:
            yield node.retired + desired.prune.grace
        elif node.name.automatic and node.expires is not None:
            yield node.expires
    if desired.schedule is not None:
        last = last_taken(tree, now)
        if last is not None:
            yield last + desired.schedule.every


def _openings(desired: DesiredVm, windows: Windows, now: datetime) -> Iterator[datetime]:
    both = windows.with_own(desired.windows)
    for kind in (both.paused, both.destroyed):
        opens = next_opening(kind, now)
        if opens is not None:
            yield opens
