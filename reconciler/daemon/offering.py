"""Offer the workers what is to be done: for each VM that was just looked at, and for groups that are ready.

Decides nothing about a VM: the plan says whether anything is to be done. Neighbours: ``tasks`` are what is offered.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from reconciler.daemon.board import Board, Seen
from reconciler.daemon.looking import LookedAt
from reconciler.daemon.tasks import Orders, apply_task, group_task
from reconciler.daemon.workers import Workers
from reconciler.execute.notes import anything_to_write
from reconciler.names import VmName
from reconciler.plan.group import groups_of, plan_group

_GROUP = "group "  # no VM's name has a blank


class Offering:
    """Offers to WORKERS what is to be done on HOST."""

    def __init__(self, host: LookedAt, workers: Workers) -> None:
        self._host = host
        self._workers = workers

    def offer(
        self, board: Board, looked: AbstractSet[VmName], orders: Orders, urgent: AbstractSet[VmName]
    ) -> None:
        """Offer what is to be done for the VMs that were LOOKED at, and forget the failures where nothing is any more.

        Those that are URGENT are tried at once, however often they failed.
        """
        due = self._workers.retries_due
        seen = {one.desired.vm: one for one in board.seen}
        keys = {vm.vm for vm in board.in_force.vms} | {
            f"{_GROUP}{group}" for group in groups_of(board.in_force.vms)
        }
        idle = self._workers.keys - keys
        idle |= {
            name
            for name in looked
            if not self._offer_vm(seen[name], orders, urgent=name in urgent)
            and not seen[name].unreadable  # what failed before may fail again
        }
        for group, members in groups_of(board.in_force.vms).items():
            names = {vm.vm for vm in members}
            parts = [seen[name] for name in sorted(names) if name in seen]
            if not names & looked or any(self._workers.busy(name) for name in names):
                continue
            whole = len(parts) == len(names)
            if not whole or not self._offer_group(group, parts, orders, urgent=names <= urgent):
                idle |= {f"{_GROUP}{group}"}
        self._workers.rest(idle)
        # Their time has come and nothing could be offered: without this it would be time again at once, and for ever.
        self._workers.put_off({key for key in due if self.vms_of([key], board) & looked})

    def vms_of(self, keys: Iterable[str], board: Board) -> set[VmName]:
        """The VMs that the workers with KEYS are for."""
        groups = groups_of(board.in_force.vms)
        found: set[VmName] = set()
        for key in keys:
            if key.startswith(_GROUP):
                found |= {vm.vm for vm in groups.get(key.removeprefix(_GROUP), ())}
            else:
                found.add(VmName(key))
        return found

    def _offer_vm(self, seen: Seen, orders: Orders, *, urgent: bool) -> bool:
        """Offer what is to be done for a VM; tells whether anything is."""
        desired, plan, observation = seen.desired, seen.plan, seen.observation
        # An after hook that is owed by a run that was killed is run whatever the document says now.
        owed = observation.journal.hooks is not None
        anything = bool(plan.actions) or anything_to_write(desired, plan, observation)
        if not owed and (plan.hands_off or not anything):
            return False
        task = apply_task(self._host, desired, orders)
        self._workers.offer(
            desired.vm, desired.digest, task, pool=desired.dataset.pool, urgent=urgent
        )
        return True

    def _offer_group(
        self, group: str, parts: Sequence[Seen], orders: Orders, *, urgent: bool
    ) -> bool:
        """Offer a group's checkpoint if all of its VMs are ready for it and have nothing of their own to do first."""
        if any(part.plan.actions for part in parts):
            return False
        members = [(part.desired, part.observation) for part in parts]
        if not plan_group(group, members, orders.clock(), orders.windows).ready:
            return False
        reason = " ".join(part.desired.digest for part in parts)
        task = group_task(self._host, group, [vm for vm, _ in members], orders)
        pool = parts[0].desired.dataset.pool  # that of all: one snapshot is taken of all of them
        self._workers.offer(f"{_GROUP}{group}", reason, task, pool=pool, urgent=urgent)
        return True
