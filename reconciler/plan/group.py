"""Checkpoints that several VMs take at one instant: who belongs together, and whether all of them are ready.

Pure. ``execute.together`` carries such a capture out; ``planner`` leaves it out of the plan of a single VM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.model.actions import Capture
from reconciler.model.desired import DesiredNode, DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.plan import Plan, Reason
from reconciler.model.tree import derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.plan.document import with_digest
from reconciler.plan.expiry import end_of, existing
from reconciler.plan.planner import make_plan


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The plans of all VMs of a group, each with the one capture, in the order of the VMs.

    ``obstacles`` says of every VM that is not ready why, as ``VM: reason``; ``done`` tells that all were taken before.
    """

    group: str
    plans: tuple[Plan, ...] = ()
    obstacles: tuple[str, ...] = ()
    done: bool = False

    @property
    def ready(self) -> bool:
        """Whether the group can be taken now."""
        return not self.done and not self.obstacles


def groups_of(vms: Sequence[DesiredVm]) -> Mapping[str, tuple[DesiredVm, ...]]:
    """Find the groups of VMS, each with its VMs by name; a VM that another host acts on or that is suspended counts."""
    found: dict[str, list[DesiredVm]] = {}
    for vm in sorted(vms, key=lambda vm: vm.vm):
        for node in vm.nodes:
            if node.group is not None:
                found.setdefault(node.group, []).append(vm)
    return {group: tuple(members) for group, members in sorted(found.items())}


def plan_group(
    group: str,
    members: Sequence[tuple[DesiredVm, Observation]],
    now: datetime,
    windows: Windows = ALWAYS,
) -> GroupPlan:
    """Plan the capture of GROUP for MEMBERS, all of the VMs that belong to it; WINDOWS are the host's."""
    taken = {vm.vm: _taken(group, vm, seen, now) for vm, seen in members}
    if all(taken.values()):
        return GroupPlan(group, done=True)
    if any(taken.values()):
        before = ", ".join(name for name, there in taken.items() if there)
        late = [name for name, there in taken.items() if not there]
        why = f"the group {group} was taken without it, of {before} (write another group at a new checkpoint of each)"
        return GroupPlan(group, obstacles=tuple(f"{name}: {why}" for name in late))
    plans = []
    obstacles = []
    for vm, seen in members:
        plan = make_plan(vm, seen, now, group=group, windows=windows)
        plans.append(plan)
        if not any(isinstance(action, Capture) for action in plan.actions):
            obstacles.append(f"{vm.vm}: {_why_not(plan, node_of(vm, group))}")
    return GroupPlan(group, plans=tuple(plans), obstacles=tuple(obstacles))


def node_of(vm: DesiredVm, group: str) -> DesiredNode:
    """The node of VM that belongs to GROUP."""
    return next(node for node in vm.nodes if node.group == group)


def joined(plan: Plan, part: Plan) -> Plan:
    """Show in PLAN the capture of PART, which is of the same VM and of a group that is ready."""
    taken = [action for action in part.actions if isinstance(action, Capture)]
    waiting = {node.name for action in taken for node in action.nodes}
    conditions = tuple(
        condition
        for condition in plan.conditions
        if not (condition.reason is Reason.GROUP_PENDING and condition.node in waiting)
    )
    return with_digest(replace(plan, actions=(*plan.actions, *taken), conditions=conditions))


def _taken(group: str, vm: DesiredVm, seen: Observation, now: datetime) -> bool:
    """Whether the node of GROUP was taken of VM, or is over and not to be taken any more."""
    wanted, tree = node_of(vm, group), derive_tree(vm.vm, seen.reading, seen.link)
    end = end_of(wanted, existing(wanted, tree), seen.journal)
    return wanted.name in tree.nodes or (end is not None and end <= now)


def _why_not(plan: Plan, node: DesiredNode) -> str:
    own = [condition for condition in plan.conditions if condition.node in {node.name, None}]
    found = next(iter([*[c for c in own if c.node == node.name], *own]), None)
    if found is None:
        return f"{node.name} cannot be taken now"
    return found.message + (f" ({found.resolve})" if found.resolve else "")
