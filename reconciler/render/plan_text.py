"""Plans for a terminal: what will be lost, what will be done, what stands in the way, in this order.

Made to be understood at a glance: one sign and one sentence an action, reasons with the edit that resolves them.
``plan_view`` says what is told; nothing is decided here.
"""

from collections.abc import Sequence

from reconciler.model.plan import Condition, Plan
from reconciler.render.action_words import CANNOT_BE_UNDONE, ActionView, Mark
from reconciler.render.conditions_text import add_condition
from reconciler.render.layout import Page, Piece, Span, padded
from reconciler.render.plan_view import (
    NOTHING_TO_DO,
    LossView,
    PlanView,
    Sums,
    plan_view,
    sums_text,
)
from reconciler.render.style import Role, Style
from reconciler.render.units import bytes_text, count_text, time_text

_DIGEST = 12
_VERB = 9

_ROLES = {
    Mark.CAPTURE: Role.ADD,
    Mark.FORK: Role.ADD,
    Mark.RESTORE: Role.RESTORE,
    Mark.CHANGE: Role.CHANGE,
    Mark.RETIRE: Role.RETIRE,
    Mark.DESTROY: Role.LOSS,
    Mark.COLLECT: Role.DIM,
}


def render_plan(plan: Plan, style: Style) -> str:
    """Write the plan of one VM."""
    page = Page(style)
    _plan(page, plan_view(plan), style)
    return page.text()


def render_plans(plans: Sequence[Plan], style: Style) -> str:
    """Write the plans of several VMs, and what they come to in all."""
    if len(plans) == 1:
        return render_plan(plans[0], style)
    page = Page(style)
    views = [plan_view(plan) for plan in plans]
    idle = [view for view in views if view.idle and not view.notes]
    for view in views:
        if view not in idle:
            _plan(page, view, style)
            page.blank()
    for view in idle:
        _plan(page, view, style)
    page.blank()
    _in_all(page, views)
    return page.text()


def sign_text(mark: Mark, style: Style) -> str:
    """Tell the sign of a kind of action."""
    if mark is Mark.FORK:
        return style.glyphs.fork
    if mark is Mark.RESTORE:
        return style.glyphs.restore
    return str(mark.value)


def _plan(page: Page, view: PlanView, style: Style) -> None:
    name = Span(f"{view.vm}:", Role.STRONG)
    if view.idle:
        role = Role.GOOD if view.idle == NOTHING_TO_DO else Role.WAIT
        page.line(name, Span(f" {view.idle}", role))
        for condition in view.notes:
            add_condition(page, condition, style, ["  "])
        return
    page.line(name, Span(f" {view.home}", Role.DIM))
    already = [loss for loss in view.losses if loss.already]
    _losses(page, "ALREADY LOST", already, style)
    coming = [loss for loss in view.losses if not loss.already]
    _losses(page, "WILL BE LOST", coming, style)
    if view.actions:
        page.blank()
        for action in view.actions:
            _action(page, action, style)
    _conditions(page, "Refused", view.refusals, style)
    _conditions(page, "Waits", view.waits, style)
    _conditions(page, "Notes", view.notes, style)
    page.blank()
    _closing(page, view)


def _losses(page: Page, title: str, losses: Sequence[LossView], style: Style) -> None:
    if not losses:
        return
    page.blank()
    page.line(Span(title, Role.LOSS), " and cannot be brought back:", first="  ")
    sizes = ["" if loss.size is None else bytes_text(loss.size) for loss in losses]
    widest = max(len(size) for size in sizes)
    for loss, size in zip(losses, sizes, strict=True):
        amount = f"{padded(size, widest, right=True)}  " if widest else ""
        sign = Span(sign_text(Mark.DESTROY, style), Role.LOSS)
        page.line(loss.what, first=["  ", sign, " ", Span(amount, Role.LOSS)])


def _action(page: Page, action: ActionView, style: Style) -> None:
    role = _ROLES[action.mark]
    first: list[Piece] = [
        "  ",
        Span(f"{sign_text(action.mark, style)} {action.verb:{_VERB}}", role),
    ]
    page.line(action.what, first=first)
    indent = " " * (4 + _VERB)
    more = "; ".join(text for text in (*action.facts, action.pause) if text)
    if more:
        page.line(Span(more, Role.DIM), first=indent)
    if action.undo:
        final = action.undo.endswith(CANNOT_BE_UNDONE) and action.mark is not Mark.COLLECT
        page.line(Span(action.undo, Role.LOSS if final else Role.DIM), first=indent)


def _conditions(page: Page, title: str, conditions: Sequence[Condition], style: Style) -> None:
    if not conditions:
        return
    page.blank()
    page.line(Span(title, Role.STRONG), first="  ")
    for condition in conditions:
        add_condition(page, condition, style, ["  "])


def _closing(page: Page, view: PlanView) -> None:
    page.line(Span("Plan:", Role.STRONG), f" {sums_text(view.sums)}")
    made = f"digest {view.digest[:_DIGEST]}, made {time_text(view.now)} from {view.file}"
    page.line(Span(made, Role.DIM))
    if view.approve is not None:
        page.line(Span("To approve the held removals:", Role.WAIT))
        page.line(f"  {view.approve}")


def _in_all(page: Page, views: Sequence[PlanView]) -> None:
    changed = sum(bool(view.actions) for view in views)
    blocked = sum(view.blocked for view in views)
    idle = sum(not view.actions and not view.blocked for view in views)
    parts = [f"{changed} with changes", f"{blocked} blocked", f"{idle} with nothing to do"]
    page.line(Span(f"{count_text(len(views), 'VM')}:", Role.STRONG), f" {', '.join(parts)}")
    total = sum((view.sums for view in views), Sums())
    page.line(Span("In all:", Role.STRONG), f" {sums_text(total)}")
