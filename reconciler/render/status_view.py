"""The status of each VM as data: Ready, Reconciling and Stalled, as people know them from Kubernetes.

``status`` lays it out. Everything is taken from the plan: what it would do is what is pending, what it
refuses is what stalls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Observation, Running
from reconciler.model.plan import Condition, Plan, Reason, Severity
from reconciler.names import NodeName, VmName
from reconciler.plan.document import Json
from reconciler.render.tree_nodes import Phase, condition_json
from reconciler.render.tree_view import tree_view
from reconciler.render.units import count_text

PATIENT = (Reason.WHEN_MANUAL, Reason.PARENT_MISSING, Reason.OUTSIDE_WINDOW)
"""Waits that the file itself asks for, or that another one explains: nothing is wrong with them."""


class Truth(Enum):
    """The three values of a Kubernetes condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class State(Enum):
    """A VM's status in one word, the most pressing one."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    ELSEWHERE = "Elsewhere"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition in the sense of Kubernetes: whether it holds, why, and what that means."""

    status: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The status of one VM. ``blocks`` are the conditions that need a person, the worst first.

    ``digest`` is that of the file's bytes, ``revision`` that of the repository the file is from.
    """

    vm: VmName
    home: str
    state: State
    ready: Verdict
    reconciling: Verdict
    stalled: Verdict
    file: str
    digest: str
    revision: str | None
    head: str | None
    position: NodeName | None
    guest: Running | None
    phases: Mapping[Phase, int]
    unsaved: int
    used: int | None
    available: int | None
    pending: int
    blocks: tuple[Condition, ...]
    notes: tuple[Condition, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values: sizes in bytes."""
        return {
            "vm": str(self.vm),
            "dataset": self.home,
            "state": self.state.value,
            "conditions": [
                {
                    "type": name,
                    "status": verdict.status.value,
                    "reason": verdict.reason,
                    "message": verdict.message,
                }
                for name, verdict in (
                    ("Ready", self.ready),
                    ("Reconciling", self.reconciling),
                    ("Stalled", self.stalled),
                )
            ],
            "file": self.file,
            "observed_digest": self.digest,
            "observed_revision": self.revision,
            "head": self.head,
            "position": None if self.position is None else str(self.position),
            "guest": None if self.guest is None else self.guest.value,
            "phases": {phase.value: count for phase, count in self.phases.items()},
            "unsaved_bytes": self.unsaved,
            "used_bytes": self.used,
            "available_bytes": self.available,
            "pending_actions": self.pending,
            "blocked_by": [condition_json(condition) for condition in self.blocks],
            "notes": [condition_json(condition) for condition in self.notes],
        }


def status_view(desired: DesiredVm, observation: Observation, plan: Plan) -> StatusView:
    """Tell the status of one VM that a file describes."""
    view = tree_view(desired, observation, plan, plan.now)
    blocks = [c for c in plan.conditions if c.severity is Severity.REFUSAL]
    blocks += [c for c in plan.conditions if c.severity is Severity.WAIT]
    stalling = [c for c in blocks if c.reason not in PATIENT]
    reconciling = _reconciling(plan, blocks)
    stalled = _stalled(stalling)
    return StatusView(
        vm=view.vm,
        home=view.home,
        state=_state(plan, reconciling, stalled),
        ready=_ready(plan, reconciling, stalled, waiting=len(blocks) - len(stalling)),
        reconciling=reconciling,
        stalled=stalled,
        file=desired.position.file,
        digest=desired.digest,
        revision=desired.revision,
        head=view.head,
        position=view.position,
        guest=view.guest if view.exists else None,
        phases={phase: view.count(phase) for phase in Phase},
        unsaved=view.unsaved,
        used=view.used,
        available=view.available,
        pending=len(plan.actions),
        blocks=tuple(blocks),
        notes=tuple(c for c in plan.conditions if c.severity is Severity.NOTE),
    )


def _message(plan: Plan, reason: Reason) -> str | None:
    """Tell the message of the condition with REASON, none if the plan has it not."""
    return next((c.message for c in plan.conditions if c.reason is reason), None)


def _reconciling(plan: Plan, blocks: Sequence[Condition]) -> Verdict:
    if plan.actions:
        message = f"{count_text(len(plan.actions), 'action')} to be carried out"
        return Verdict(Truth.TRUE, "ChangesPending", message)
    for condition in blocks:
        if condition.reason is Reason.OUTSIDE_WINDOW:  # it goes on by itself
            return Verdict(Truth.TRUE, condition.reason.value, condition.message)
    return Verdict(Truth.FALSE, "NothingPending")


def _stalled(blocks: Sequence[Condition]) -> Verdict:
    if not blocks:
        return Verdict(Truth.FALSE, "NothingBlocked")
    more = f" (and {len(blocks) - 1} more)" if len(blocks) > 1 else ""
    return Verdict(Truth.TRUE, blocks[0].reason.value, f"{blocks[0].message}{more}")


def _ready(plan: Plan, reconciling: Verdict, stalled: Verdict, *, waiting: int) -> Verdict:
    if elsewhere := _message(plan, Reason.OTHER_HOST):
        return Verdict(Truth.UNKNOWN, Reason.OTHER_HOST.value, elsewhere)
    if suspended := _message(plan, Reason.SUSPENDED):
        return Verdict(Truth.FALSE, Reason.SUSPENDED.value, suspended)
    for verdict in (stalled, reconciling):
        if verdict.status is Truth.TRUE:
            return Verdict(Truth.FALSE, verdict.reason, verdict.message)
    message = "what exists is what the file says"
    if waiting:
        message += f", but for {count_text(waiting, 'checkpoint')} that the file lets wait"
    return Verdict(Truth.TRUE, "UpToDate", message)


def _state(plan: Plan, reconciling: Verdict, stalled: Verdict) -> State:
    if _message(plan, Reason.OTHER_HOST):
        return State.ELSEWHERE
    if stalled.status is Truth.TRUE:
        return State.STALLED
    if _message(plan, Reason.SUSPENDED):
        return State.SUSPENDED
    return State.RECONCILING if reconciling.status is Truth.TRUE else State.READY
