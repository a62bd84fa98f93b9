"""What may not be done now, whatever the file says: pauses and destroys outside their windows, and what is restrained.

Each question says itself, in the draft, what a no keeps from happening and until when.
"""

from collections.abc import Iterable

from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.names import NodeName
from reconciler.plan.draft import Draft
from reconciler.plan.windows import is_open, opening_text

_NAMED = 5  # names in one sentence
_RESOLVE = "put right what is said, then plan again"


def names_text(names: Iterable[str]) -> str:
    """Write NAMES in a sentence, the first few of many."""
    found = sorted(names)
    rest = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def may_pause(draft: Draft, what: str, *, node: NodeName | None, resolve: str) -> bool:
    """Tell whether a running guest may be paused now; if not, WHAT waits for that. One that is off may always."""
    windows = draft.windows.paused
    if draft.guest.running is not Running.RUNNING or is_open(windows, draft.now):
        return True
    message = f"{what}, which is for the hours in which the guest may be paused;"
    draft.wait(
        Reason.OUTSIDE_WINDOW,
        f"{message} {opening_text(windows, draft.now)}",
        node=node,
        resolve=resolve,
    )
    return False


def may_remove(draft: Draft, what: str) -> bool:
    """Tell whether anything may be retired, destroyed or restored now; if not, WHAT is held."""
    if not draft.restraint.removals:
        return True
    draft.wait(Reason.RESTRAINED, f"{what}: {draft.restraint.removals}", resolve=_RESOLVE)
    return False


def may_destroy(draft: Draft, what: str) -> bool:
    """Tell whether anything may be destroyed now; if not, WHAT is held."""
    if not may_remove(draft, what):
        return False
    windows = draft.windows.destroyed
    if is_open(windows, draft.now):
        return True
    draft.note(
        Reason.OUTSIDE_WINDOW,
        f"{what}: nothing is destroyed outside its hours; {opening_text(windows, draft.now)}",
    )
    return False


def may_age(draft: Draft, what: str) -> bool:
    """Tell whether age alone may count as a reason now; if not, WHAT is held."""
    if not draft.restraint.ageing:
        return True
    draft.wait(Reason.CLOCK_JUMPED, f"{what}: {draft.restraint.ageing}", resolve=_RESOLVE)
    return False
