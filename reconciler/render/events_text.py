"""Events for a terminal: one line each, the newest last. ``events_view`` says what happened."""

from reconciler.render.events_view import Event, Happened
from reconciler.render.layout import Page, Span
from reconciler.render.style import Role, Style

_ROLES = {
    Happened.CAPTURED: Role.ADD,
    Happened.FORKED: Role.ADD,
    Happened.ADOPTED: Role.ADD,
    Happened.REVIVED: Role.ADD,
    Happened.RESTORED: Role.RESTORE,
    Happened.RETURNED: Role.RESTORE,
    Happened.RETIRED: Role.RETIRE,
    Happened.DESTROYED: Role.LOSS,
    Happened.FAILED: Role.REFUSAL,
    Happened.HOOK_FAILED: Role.REFUSAL,
    Happened.INTERRUPTED: Role.WAIT,
}
_NO_TIME = "(no time)"
_TIME = 20  # columns


def render_event(event: Event, style: Style, width: int = 0) -> str:
    """Write EVENT, with WIDTH columns for the names of VMs."""
    page = Page(style)
    stamp = _NO_TIME if event.at is None else f"{event.at:%Y-%m-%d %H:%M:%SZ}"
    asked = f" (by {event.by})" if event.by else ""
    page.line(
        Span(event.message, _ROLES.get(event.what, Role.PLAIN)),
        Span(asked, Role.DIM),
        first=[
            Span(f"{stamp:{_TIME}} ", Role.DIM),
            Span(f"{event.vm:{width}}", Role.STRONG),
            "  ",
        ],
    )
    return page.text()
