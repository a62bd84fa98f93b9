"""Carry a plan out on a host in memory before it runs, and look at everything that it touches.

This is the net below the planner: it knows the rules in other words. A plan that would touch anything foreign,
destroy what is wanted, protected or under the guest, or that does not come to rest, is refused as a bug, and
nothing of it is done.
"""

from datetime import datetime, timedelta

from reconciler.errors import CkptreeError, PlanRefused
from reconciler.model.actions import Adopt, Capture, DestroyNodes, Relink, Restore, Retire
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.plan import Plan
from reconciler.model.tree import Node, Tree, derive_tree
from reconciler.plan.identity import names_before
from reconciler.plan.steps import steps_of
from reconciler.simulate.host import MemoryHost


def rehearse(
    plan: Plan,
    desired: DesiredVm,
    observation: Observation,
    *,
    purge: bool = False,
    partly: bool = False,
) -> None:
    """Try PLAN out in memory; raises PlanRefused with what is wrong with it.

    A PURGE may cut graces short; that, or one that says PARTLY, need not reach the desired tree.
    """
    if not plan.actions:
        return
    host = MemoryHost.of(observation)
    before = _tree(desired, host)
    untouchable = _foreign(before, plan, host)
    for action in plan.actions:
        for step in steps_of(plan.vm, plan.home, action):
            try:
                host.perform(step)
            except CkptreeError as error:
                raise PlanRefused(
                    f"the plan for {plan.vm} cannot work: {error}; nothing was done, please report this"
                ) from error
    after = _tree(desired, host)
    for complaint in (
        _touched(untouchable, _foreign(after, plan, host)),
        _lost(before, after, plan, desired, purge=purge),
        _head(before, after, plan, desired),
        "" if purge or partly else _not_reached(after, plan, desired, plan.now),
    ):
        if complaint:
            raise PlanRefused(
                f"the plan for {plan.vm} {complaint}; nothing was done, please report this"
            )


def _tree(desired: DesiredVm, host: MemoryHost) -> Tree:
    reading = host.zfs.read([desired.dataset])[desired.dataset]
    return derive_tree(desired.vm, reading, host.files.link)


def _foreign(tree: Tree, plan: Plan, host: MemoryHost) -> frozenset[str]:
    """Everything foreign, by name and guid, but what the plan adopts."""
    adopted = {
        ref.name for action in plan.actions if isinstance(action, Adopt) for ref in action.snapshots
    }
    reading = host.zfs.read([plan.home])[plan.home]
    guids: dict[str, int] = {facts.name: facts.guid for facts in reading.datasets}
    guids.update((facts.name, facts.guid) for facts in reading.snapshots)
    return frozenset(f"{name} {guids[name]}" for name in tree.foreign if name not in adopted)


def _touched(before: frozenset[str], after: frozenset[str]) -> str:
    gone = sorted(before - after)
    return f"would change what is not ckptree's ({gone[0]})" if gone else ""


def _lost(before: Tree, after: Tree, plan: Plan, desired: DesiredVm, *, purge: bool) -> str:
    said = {
        node.guid
        for action in plan.actions
        if isinstance(action, DestroyNodes)
        for node in action.nodes
    }
    retired_now = {
        node.guard.guid
        for action in plan.actions
        if isinstance(action, Retire)
        for node in action.nodes
    }
    left = {node.guid for node in after.nodes.values()}
    renamed = names_before(desired, before)
    for node in before.nodes.values():
        if node.guid in left:
            continue
        if node.guid not in said:
            return f"would lose {node.name} without saying so"
        wanted = node.name in desired.by_name and not _over(node, desired, plan.now)
        if node.protect or wanted or node.name in renamed:
            return f"would destroy {node.name}, which is wanted"
        since = plan.now if node.guid in retired_now else node.retired
        if since is None:
            since = node.expires if node.name.automatic else None
            grace = timedelta(0)
        else:
            grace = timedelta(0) if purge else desired.prune.grace
        if since is None:
            return f"would destroy {node.name}, which was not retired"
        if since + grace > plan.now:
            return f"would destroy {node.name} before its time is over"
    return ""


def _over(node: Node, desired: DesiredVm, now: datetime) -> bool:
    """Whether the time of NODE, which the file has, is over."""
    wanted = desired.by_name[node.name]
    if wanted.keep is not None:
        return node.taken is not None and node.taken + wanted.keep <= now
    return wanted.expires is not None and wanted.expires <= now


def _head(before: Tree, after: Tree, plan: Plan, desired: DesiredVm) -> str:
    if after.head is None:
        return "" if before.head is None else "would leave the guest without a branch"
    moved = any(isinstance(action, Restore | Relink | Capture | Adopt) for action in plan.actions)
    if before.position is None or moved or not desired.nodes:
        return ""
    stood_on = before.nodes[before.position].guid
    if stood_on in {node.guid for node in after.nodes.values()}:
        return ""
    return f"would take {before.position} away from under the guest"


def _not_reached(after: Tree, plan: Plan, desired: DesiredVm, now: datetime) -> str:
    waiting = {condition.node for condition in plan.conditions}
    held = {condition.reason for condition in plan.conditions}
    for wanted in desired.nodes:
        node = after.nodes.get(wanted.name)
        if node is None and wanted.name not in waiting:
            return f"leaves out {wanted.name} without saying why"
        if node is not None and node.retired is not None and not _over(node, desired, now):
            return f"leaves {wanted.name} retired"
    unwanted = [
        node
        for node in after.nodes.values()
        if node.name not in desired.by_name and not node.name.automatic and node.retired is None
    ]
    if unwanted and not held:
        return f"leaves {unwanted[0].name} in place at {now:%H:%M:%S} without saying why"
    return ""
