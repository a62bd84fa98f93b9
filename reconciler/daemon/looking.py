"""Look at some VMs of a host: observe them in one reading, and plan each. Changes nothing.

What goes wrong with one VM is a fault of that VM and keeps no other one from being looked at. Neighbours: ``loop``
says which VMs, ``board`` keeps what was seen.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reconciler.daemon.board import Seen
from reconciler.daemon.host import Observed
from reconciler.errors import CkptreeError
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import HostIdentity
from reconciler.model.plan import Restraint
from reconciler.model.windows import Windows
from reconciler.names import Dataset, VmName
from reconciler.plan.due import next_due
from reconciler.plan.planner import make_plan
from reconciler.render.status_view import status_view
from reconciler.render.tree_view import tree_view

_log = logging.getLogger(__name__)


class LookedAt(Protocol):
    """What the daemon needs of a host; ``daemon.host`` is one."""

    @property
    def identity(self) -> HostIdentity:
        """Who it is."""

    def observe(self, vms: Sequence[DesiredVm]) -> tuple[Observed, ...]:
        """Observe VMS in one reading."""

    def hands(self, vm: DesiredVm) -> Hands:
        """Make the hands for VM."""

    def released(self, vms: Sequence[DesiredVm]) -> dict[Dataset, str]:
        """The homes that none of VMS describes. Raises CkptreeError."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was SEEN of each VM, and in words what could not be."""

    seen: dict[VmName, Seen]
    faults: tuple[str, ...]


def look_at(
    vms: Sequence[DesiredVm],
    host: LookedAt,
    now: datetime,
    restraint: Callable[[DesiredVm], Restraint],
    windows: Windows,
) -> Looked:
    """Look at VMS of HOST at the moment NOW; RESTRAINT tells what must not be done for a document. Never raises."""
    observed, faults = _observe(vms, host)
    seen = {}
    for one in observed:
        try:
            seen[one.desired.vm] = _plan(one, now, restraint(one.desired), windows)
        except Exception as error:  # noqa: BLE001 - a bug met in one VM must not stop the others
            faults.append(_internal(one.desired, error))
    return Looked(seen, tuple(dict.fromkeys(faults)))


def _observe(vms: Sequence[DesiredVm], host: LookedAt) -> tuple[list[Observed], list[str]]:
    if not vms:
        return [], []
    try:
        return list(host.observe(vms)), []
    except CkptreeError as error:
        return [], [str(error)]
    except Exception as error:  # noqa: BLE001 - of one of them: the others are looked at without it
        if len(vms) == 1:
            return [], [_internal(vms[0], error)]
    alone = [_observe([vm], host) for vm in vms]
    return [one for found, _ in alone for one in found], [text for _, told in alone for text in told]  # fmt: skip


def _internal(vm: DesiredVm, error: Exception) -> str:
    _log.exception("%s: internal error", vm.vm, exc_info=error)
    return f"{vm.vm}: internal error ({type(error).__name__}: {error}); please report it"


def _plan(one: Observed, now: datetime, restraint: Restraint, windows: Windows) -> Seen:
    desired, observation = one.desired, one.observation
    plan = make_plan(desired, observation, now, restraint=restraint, windows=windows)
    return Seen(
        desired=desired,
        observation=observation,
        plan=plan,
        status=status_view(desired, observation, plan),
        tree=tree_view(desired, observation, plan, now),
        due=next_due(desired, observation, now, windows),
    )
