"""Conditions for a terminal, the same wherever they are shown: reason, message, resolving edit.

``plan_text``, ``tree_text`` and ``status`` indent them as they need.
"""

from collections.abc import Sequence

from reconciler.model.plan import Condition, Severity
from reconciler.render.layout import Page, Piece, Span
from reconciler.render.style import Role, Style

_ROLES = {
    Severity.REFUSAL: Role.REFUSAL,
    Severity.WAIT: Role.WAIT,
    Severity.NOTE: Role.STRONG,
}


def add_condition(page: Page, condition: Condition, style: Style, lead: Sequence[Piece]) -> None:
    """Add ``Reason: message`` and ``→ resolve`` to PAGE, each line after LEAD."""
    reason = Span(f"{condition.reason.value}:", _ROLES[condition.severity])
    page.line(reason, f" {condition.message}", first=lead, rest=[*lead, "  "])
    if condition.resolve:
        arrow = style.glyphs.arrow
        first = [*lead, "  ", Span(arrow, Role.RESOLVE), " "]
        rest = [*lead, " " * (3 + len(arrow))]
        page.line(Span(condition.resolve, Role.RESOLVE), first=first, rest=rest)
