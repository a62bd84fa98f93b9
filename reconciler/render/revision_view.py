"""What has become of a revision on a host, from what is left to do for its VMs: one word and one sentence.

The same for the daemon and for ``ckptree apply``, so that both say the same and nobody is told twice.
"""

from collections.abc import Mapping, Sequence

from reconciler.model.plan import Condition, Plan, Reason, Severity
from reconciler.render.status_view import PATIENT
from reconciler.render.units import count_text
from reconciler.source.ledger import State

_BY_THE_FILE = {*PATIENT, Reason.OTHER_HOST, Reason.SUSPENDED}
_NAMED = 5  # VMs in one sentence


def outcome(
    left: Sequence[Plan], failures: Mapping[str, str], faults: Sequence[str]
) -> tuple[State, str]:
    """Judge a revision by what is LEFT to do for each VM, by what failed (VM to error), and by FAULTS of its files."""
    if faults:
        return State.FAILED, f"{count_text(len(faults), 'fault')} in its documents: {faults[0]}"
    if failures:
        first = min(failures)
        return State.FAILED, f"{_names(failures)} failed: {first}: {failures[first]}"
    waiting = {str(plan.vm): _waits(plan) for plan in left}
    waiting = {vm: words for vm, words in waiting.items() if words}
    if waiting:
        first = min(waiting)
        return State.WAITING, f"{_names(waiting)} not finished: {first}: {waiting[first]}"
    return State.APPLIED, f"{count_text(len(left), 'VM')} as the documents say"


def _waits(plan: Plan) -> str:
    conditions = [c for c in plan.conditions if _matters(c)]
    conditions.sort(key=lambda condition: condition.severity is not Severity.REFUSAL)
    if conditions:
        return f"{conditions[0].reason.value}: {conditions[0].message}"
    return f"{count_text(len(plan.actions), 'action')} to be carried out" if plan.actions else ""


def _matters(condition: Condition) -> bool:
    return condition.severity is not Severity.NOTE and condition.reason not in _BY_THE_FILE


def _names(vms: Mapping[str, str]) -> str:
    names = sorted(vms)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
