"""What a plan tells its reader, as data: losses, actions, what stands in the way, and the sums.

``plan_text`` lays it out for a terminal; a form for merge requests would start here as well. The
JSON form of a plan is not made from this but by ``plan.document``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import assert_never

from reconciler.model.actions import (
    Action,
    Adopt,
    Annotate,
    Capture,
    Collect,
    DestroyNodes,
    DoomedNode,
    Fork,
    Relink,
    Restore,
    Retire,
    Return,
    Revive,
    Start,
    Sweep,
    Tidy,
)
from reconciler.model.journal import Left
from reconciler.model.plan import Condition, Plan, Reason, Severity
from reconciler.names import VmName
from reconciler.render.action_words import ActionView, action_view, short
from reconciler.render.units import bytes_text

NOTHING_TO_DO = "nothing to do"
_BOOKKEEPING = 1 << 20
"""An unused branch of less than this holds what mounting it wrote, and nothing of the guest's."""


_COUNTED = (
    "capture", "fork", "adopt", "revive", "restore", "retire", "destroy", "change", "collect",
)  # fmt: skip
_ALWAYS = ("capture", "restore", "retire", "destroy")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossView:
    """Something that nobody can bring back: how many bytes at least (none: unknown), and what.

    ALREADY tells that it is gone now, whether the plan is carried out or not.
    """

    size: int | None
    what: str
    already: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """How much there is of everything; nodes, not actions, except for the last ones."""

    capture: int = 0
    fork: int = 0
    adopt: int = 0
    revive: int = 0
    restore: int = 0
    retire: int = 0
    destroy: int = 0
    change: int = 0
    collect: int = 0
    frees: int = 0
    waits: int = 0
    refused: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        names = [field.name for field in fields(self)]
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """All that is to be told of one VM's plan. APPROVE is the command that allows the removals."""

    vm: VmName
    home: str
    file: str
    digest: str
    now: datetime
    losses: tuple[LossView, ...]
    actions: tuple[ActionView, ...]
    refusals: tuple[Condition, ...]
    waits: tuple[Condition, ...]
    notes: tuple[Condition, ...]
    sums: Sums
    approve: str | None

    @property
    def idle(self) -> str:
        """Say why nothing is done and nothing stands in the way; empty if something is or does."""
        if self.actions or self.blocked or self.losses:
            return ""
        reasons = {condition.reason for condition in self.notes}
        if Reason.SUSPENDED in reasons:
            return "suspended, nothing is done"
        if Reason.OTHER_HOST in reasons:
            return "another host's, nothing is done"
        return NOTHING_TO_DO

    @property
    def blocked(self) -> bool:
        """Whether something waits or is refused."""
        return bool(self.refusals or self.waits)


def plan_view(plan: Plan) -> PlanView:
    """Tell PLAN in words."""
    by_severity = {
        severity: tuple(c for c in plan.conditions if c.severity is severity)
        for severity in Severity
    }
    approval = any(c.reason is Reason.AWAITING_APPROVAL for c in plan.conditions)
    approve = (
        f"ckptree approve {plan.vm} {plan.approval.digest}" if approval and plan.approval else None
    )
    return PlanView(
        vm=plan.vm,
        home=plan.home,
        file=plan.file,
        digest=plan.digest,
        now=plan.now,
        losses=tuple(_losses(plan)),
        actions=tuple(action_view(action, plan.home) for action in plan.actions),
        refusals=by_severity[Severity.REFUSAL],
        waits=by_severity[Severity.WAIT],
        notes=tuple(c for c in by_severity[Severity.NOTE] if c.reason is not Reason.HEAD_LOST),
        sums=_sums(plan),
        approve=approve,
    )


def _losses(plan: Plan) -> Iterable[LossView]:
    for condition in plan.conditions:
        if condition.severity is Severity.NOTE and condition.reason is Reason.HEAD_LOST:
            yield LossView(size=None, what=condition.message, already=True)
    given_up = set()
    for action in plan.actions:
        match action:
            case Restore(before=before, left=Left.DISCARDED) if before is not None:
                given_up.add(before.name)
                left = short(before.name, plan.home)
                memory = ", its memory with it" if action.runs else ""
                what = f"the guest's state on {left} since its last checkpoint{memory} ('unsaved: discard')"
                yield LossView(size=action.unsaved, what=what)
            case DestroyNodes(nodes=nodes):
                yield LossView(size=action.frees or None, what=_doomed_text(nodes))
            case Collect(branch=unused, frees=frees) if unused.name not in given_up:
                if action.rollbacks or frees >= _BOOKKEEPING:
                    what = f"what is on {short(unused.name, plan.home)} and in no checkpoint"
                    yield LossView(size=frees, what=what)
            case _:
                pass


def _doomed_text(nodes: tuple[DoomedNode, ...]) -> str:
    names = ", ".join(node.name for node in nodes)
    kind = "automatic checkpoint" if all(node.name.automatic for node in nodes) else "checkpoint"
    return f"the {kind} {names}" if len(nodes) == 1 else f"{len(nodes)} {kind}s: {names}"


def _sums(plan: Plan) -> Sums:
    total = Sums(
        waits=sum(c.severity is Severity.WAIT for c in plan.conditions),
        refused=sum(c.severity is Severity.REFUSAL for c in plan.conditions),
    )
    for action in plan.actions:
        total += _sum_of(action)
    return total


def _sum_of(action: Action) -> Sums:
    match action:
        case Capture(nodes=captured):
            return Sums(capture=len(captured))
        case Fork():
            return Sums(fork=1)
        case Adopt():
            return Sums(adopt=1)
        case Revive():
            return Sums(revive=1)
        case Restore():
            return Sums(restore=1)
        case Retire(nodes=retired):
            return Sums(retire=len(retired))
        case DestroyNodes(nodes=doomed, frees=frees):
            return Sums(destroy=len(doomed), frees=frees)
        case Collect(frees=frees):
            return Sums(collect=1, frees=frees)
        case Annotate() | Tidy() | Relink() | Start() | Return() | Sweep():
            return Sums(change=1)
        case _:
            assert_never(action)


def sums_text(sums: Sums, *, short: bool = False) -> str:
    """Write SUMS as one sentence: ``2 to capture, 1 to restore, 0 to retire, ...; frees ...``; SHORT without zeros."""
    parts = [
        f"{count} to {name}"
        for name in _COUNTED
        if (count := getattr(sums, name)) or (name in _ALWAYS and not short)
    ]
    text = ", ".join(parts) if any(getattr(sums, name) for name in _COUNTED) else NOTHING_TO_DO
    if sums.frees:
        text += f"; frees at least {bytes_text(sums.frees)}"
    held = []
    if sums.waits:
        held.append(f"{sums.waits} waiting")
    if sums.refused:
        held.append(f"{sums.refused} refused")
    return f"{text}; {', '.join(held)}" if held else text
