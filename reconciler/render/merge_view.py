"""What a merge would change for each VM, as data: the plan of the documents after it, less what is pending anyway.

Both plans are made from the same observation and for the moment at which that was made, so that a report is the same
whenever it is made anew. ``merge_text`` writes it as Markdown. No host is needed, and nothing is read here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from reconciler.errors import CkptreeError, ExitCode
from reconciler.execute.rehearsal import rehearse
from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm, SourcePosition
from reconciler.model.plan import Condition, Plan
from reconciler.names import VmName
from reconciler.plan.document import Json, to_json
from reconciler.plan.exported import Exported
from reconciler.plan.group import groups_of, joined, plan_group
from reconciler.plan.planner import make_plan
from reconciler.render.merge_compare import beyond, changed_keys
from reconciler.render.plan_view import PlanView, plan_view
from reconciler.render.tree_nodes import condition_json
from reconciler.render.units import count_text
from reconciler.spec.findings import Finding, as_json
from reconciler.spec.load import Loaded


class Fate(Enum):
    """What a merge does to a VM; in the order in which a reader wants to know of it."""

    CHANGED = "changed"
    NEW = "new"
    RELEASED = "released"
    FAULTY = "faulty"
    UNKNOWN = "unknown"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedVm:
    """One VM on one host (none: not known). PLAN is what only the merge brings, DROPPED what it keeps from happening.

    RESOLVED are conditions that it ends, PENDING is what is to be done with or without it; KEYS are further changes
    of the document in words. REMARK says all there is to say where there is no plan.
    """

    vm: VmName
    fate: Fate
    file: str
    host: str | None = None
    desired: DesiredVm | None = None
    plan: Plan | None = None
    dropped: tuple[Action, ...] = ()
    resolved: tuple[Condition, ...] = ()
    pending: PlanView | None = None
    keys: tuple[str, ...] = ()
    remark: str = ""

    @property
    def view(self) -> PlanView | None:
        """What only the merge brings, in words."""
        return None if self.plan is None else plan_view(self.plan)

    @property
    def waits(self) -> bool:
        """Whether something of it waits or is refused, or cannot be told."""
        return self.fate is Fate.UNKNOWN or (self.plan is not None and self.plan.blocked)

    @property
    def changes(self) -> bool:
        """Whether anything is another way with the merge."""
        planned = self.plan is not None and bool(self.plan.actions)
        return planned or bool(self.dropped or self.keys) or self.fate in {Fate.NEW, Fate.RELEASED}

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the keys stay as they are once released."""
        view = self.view
        return {
            "vm": str(self.vm),
            "fate": self.fate.value,
            "file": self.file,
            "host": self.host,
            "remark": self.remark,
            "losses": []
            if view is None
            else [{"bytes": loss.size, "what": loss.what, "already": loss.already} for loss in view.losses],
            "actions": [] if self.plan is None else [to_json(action) for action in self.plan.actions],
            "conditions": []
            if self.plan is None
            else [condition_json(condition) for condition in self.plan.conditions],
            "dropped": [to_json(action) for action in self.dropped],
            "resolved": [condition_json(condition) for condition in self.resolved],
            "changed_keys": list(self.keys),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeView:
    """What merging HEAD into BASE (both as they were named) does. SEEN tells when each host was observed."""

    base: str
    head: str
    vms: tuple[MergedVm, ...]
    findings: tuple[Finding, ...]
    seen: Mapping[str, datetime]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of `ckptree plan --diff`."""
        if self.findings:
            return ExitCode.ERROR
        if any(vm.changes for vm in self.vms):
            return ExitCode.CHANGES
        return ExitCode.BLOCKED if any(vm.waits for vm in self.vms) else ExitCode.NOTHING_TO_DO

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the keys stay as they are once released."""
        return {
            "version": 1,
            "base": self.base,
            "head": self.head,
            "observed": {host: f"{at:%Y-%m-%dT%H:%M:%SZ}" for host, at in self.seen.items()},
            "faults": [dict[str, Json](as_json(finding)) for finding in self.findings],
            "vms": [vm.to_json() for vm in self.vms],
        }


def merge_view(
    base: str, head: str, before: Loaded, after: Loaded, exported: Sequence[Exported]
) -> MergeView:
    """Tell what becomes of the VMs in the documents BEFORE and AFTER, on the hosts that EXPORTED observations.

    Raises CkptreeError where one host's VM was exported twice, PlanRefused where a plan is wrong, which is a bug.
    """
    seen: dict[tuple[VmName, str], Exported] = {}
    for one in exported:
        key = (one.observation.vm, one.observation.host)
        if key in seen:
            raise CkptreeError(
                f"VM {key[0]} of host {key[1]} is in the observations twice (give each host's once)"
            )
        seen[key] = one
    return MergeView(
        base=base,
        head=head,
        vms=tuple(sorted(_vms(before, after, list(exported)), key=_rank)),
        findings=after.findings,
        seen=_moments(exported),
    )


def _moments(exported: Sequence[Exported]) -> dict[str, datetime]:
    """When each host was observed, the oldest of its VMs."""
    moments: dict[str, datetime] = {}
    for one in exported:
        host = one.observation.host
        moments[host] = min(one.at, moments.get(host, one.at))
    return dict(sorted(moments.items()))


def _rank(vm: MergedVm) -> tuple[object, ...]:
    view = vm.view
    loses = view is not None and bool(view.losses)
    fates = list(Fate)
    return (not loses, not vm.changes and not vm.waits, fates.index(vm.fate), vm.vm, vm.host or "")


def _vms(before: Loaded, after: Loaded, exported: Sequence[Exported]) -> Iterator[MergedVm]:
    old = {vm.vm: vm for vm in before.vms}
    new = {vm.vm: vm for vm in after.vms}
    plans_before, plans_after = _plans(before.vms, exported), _plans(after.vms, exported)
    faulty = {finding.position.file for finding in before.findings}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield _gone(old[name], after)
            continue
        wanted, was = new[name], old.get(name)
        places = _places(wanted, exported)
        if not places:
            yield _unseen(wanted, was)
        for place in places:
            host = place.observation.host
            one = _compared(
                wanted, was, host, plans_after[name, host], plans_before.get((name, host))
            )
            yield _repaired(one) if was is None and wanted.position.file in faulty else one


def _places(vm: DesiredVm, exported: Sequence[Exported]) -> tuple[Exported, ...]:
    """The observations of VM: of its own host where the document names one, else of those on which it has a home."""
    found = [
        one
        for one in exported
        if one.observation.vm == vm.vm and one.observation.reading.root == vm.dataset
    ]
    if vm.host is not None:
        return tuple(one for one in found if one.observation.host == vm.host)
    homes = [one for one in found if one.observation.reading.datasets]
    return tuple(homes or found[:1])


def _plans(
    vms: Sequence[DesiredVm], exported: Sequence[Exported]
) -> dict[tuple[VmName, str], Plan]:
    seen = {(vm.vm, one.observation.host): (vm, one) for vm in vms for one in _places(vm, exported)}
    plans = {}
    for key, (vm, one) in seen.items():
        plans[key] = make_plan(vm, one.observation, one.at, windows=one.windows)
        rehearse(plans[key], vm, one.observation)
    for group, members in groups_of(vms).items():
        for host in {host for _, host in seen}:
            if not all((vm.vm, host) in seen for vm in members):
                continue
            places = [seen[vm.vm, host][1] for vm in members]
            pairs = [(vm, one.observation) for vm, one in zip(members, places, strict=True)]
            planned = plan_group(group, pairs, places[0].at, places[0].windows)
            for part in planned.plans if planned.ready else ():
                plans[part.vm, host] = joined(plans[part.vm, host], part)
    return plans


def _gone(was: DesiredVm, after: Loaded) -> MergedVm:
    file = was.position.file
    if any(finding.position.file == file for finding in after.findings):
        remark = (
            "its document has faults: until they are put right, the last valid one stays in force"
        )
        return MergedVm(vm=was.vm, fate=Fate.FAULTY, file=file, remark=remark)
    remark = "no document describes it any more: its checkpoints and holds stay, nothing of it is destroyed"
    if after.findings:
        remark = f"no valid document describes it any more; if none of those with faults does, {remark.split(': ')[1]}"
    return MergedVm(vm=was.vm, fate=Fate.RELEASED, file=file, remark=remark)


def _unseen(wanted: DesiredVm, was: DesiredVm | None) -> MergedVm:
    keys = () if was is None else tuple(changed_keys(was, wanted))
    if was is None:
        fate = Fate.NEW
        remark = (
            f"{count_text(len(wanted.nodes), 'checkpoint')}; {wanted.dataset} is in no observation"
            f" ('ckptree init {wanted.vm}' makes it on its host)"
        )
    elif _same(was, wanted):
        fate, remark = Fate.UNCHANGED, ""
    else:
        fate = Fate.UNKNOWN
        where = f"of host {wanted.host} " if wanted.host else ""
        remark = (
            f"its document changes, and no observation {where}has it with {wanted.dataset}"
            " (give that of its host with --observation)"
        )
    return MergedVm(
        vm=wanted.vm, fate=fate, file=wanted.position.file, desired=wanted, keys=keys, remark=remark
    )


def _same(was: DesiredVm, wanted: DesiredVm) -> bool:
    """Whether two documents say the same, wherever in the file they say it."""
    return was.digest == wanted.digest or _placeless(was) == _placeless(wanted)


def _placeless(vm: DesiredVm) -> DesiredVm:
    nowhere = SourcePosition("", 1, 1)
    nodes = tuple(replace(node, position=nowhere) for node in vm.nodes)
    return replace(vm, nodes=nodes, position=nowhere, digest="", revision=None)


def _compared(
    wanted: DesiredVm, was: DesiredVm | None, host: str, new: Plan, old: Plan | None
) -> MergedVm:
    actions, conditions = new.actions, new.conditions
    dropped: tuple[Action, ...] = ()
    pending: tuple[Action, ...] = ()
    resolved: tuple[Condition, ...] = ()
    if old is not None:
        actions, pending = beyond(new, old)
        dropped, _ = beyond(old, new)
        conditions = tuple(c for c in new.conditions if c not in old.conditions)
        resolved = tuple(c for c in old.conditions if c not in new.conditions)
    keys = () if was is None else tuple(changed_keys(was, wanted))
    nothing = was is not None and not (actions or dropped or keys or conditions or resolved)
    fate = Fate.NEW if was is None else Fate.UNCHANGED if nothing else Fate.CHANGED
    return MergedVm(
        vm=wanted.vm,
        fate=fate,
        file=wanted.position.file,
        host=host,
        desired=wanted,
        plan=replace(new, actions=actions, conditions=conditions),
        dropped=dropped,
        resolved=resolved,
        pending=plan_view(replace(new, actions=pending, conditions=())) if pending else None,
        keys=keys,
        remark=_remark(was, wanted),
    )


def _repaired(vm: MergedVm) -> MergedVm:
    remark = "its document had faults before: all that the new one does is told"
    return replace(vm, fate=Fate.CHANGED, remark=remark)


def _remark(was: DesiredVm | None, wanted: DesiredVm) -> str:
    if was is not None and (was.disks, was.hypervisor) != (wanted.disks, wanted.hypervisor):
        return (
            "its disks or its hypervisor become other ones: whether the host has them is not in an observation"
            " that was made before"
        )
    return ""
