"""An explanation for a terminal: four short paragraphs, then what happened. ``explain`` says what is told."""

from collections.abc import Sequence

from reconciler.render.conditions_text import add_condition
from reconciler.render.edits import Edit
from reconciler.render.events_text import render_event
from reconciler.render.explain import Explanation, Obstacle
from reconciler.render.layout import Page, Span
from reconciler.render.style import Role, Style
from reconciler.render.units import age_text, time_text


def render_explanation(told: Explanation, style: Style) -> str:
    """Write what is TOLD."""
    page = Page(style)
    name = f"{told.vm}" if told.node is None else f"{told.vm}: {told.node}"
    page.line(Span(name, Role.STRONG))
    _paragraph(page, "What exists", told.exists)
    _paragraph(page, "What the file says", told.says)
    _paragraph(page, "What the plan does", told.done)
    if told.obstacles:
        page.blank()
        page.line(Span("What stands in the way, or is good to know", Role.STRONG), first="  ")
        for obstacle in told.obstacles:
            _obstacle(page, obstacle, style)
    if told.due is not None and told.node is None:
        page.blank()
        page.line(
            f"Next due: {time_text(told.due)}, in {age_text(told.due - told.now)}.", first="  "
        )
    page.blank()
    if not told.history:
        page.line(Span("The journal tells nothing of it.", Role.DIM), first="  ")
        return page.text()
    page.line(Span("What happened last", Role.STRONG), first="  ")
    return page.text() + "".join(f"  {render_event(event, style)}" for event in told.history)


def _paragraph(page: Page, title: str, sentences: Sequence[str]) -> None:
    page.blank()
    page.line(Span(title, Role.STRONG), first="  ")
    for sentence in sentences:
        page.line(sentence, first="    ", rest="      ")


def _obstacle(page: Page, obstacle: Obstacle, style: Style) -> None:
    add_condition(page, obstacle.condition, style, ["    "])
    for edit in obstacle.edits:
        page.line(Span(_where(edit), Role.DIM), first="      ")
        # Never broken, and with its spaces: it is there to be copied.
        page.line(first=[Span(f"{edit.line:>10} | ", Role.DIM), Span(edit.text, Role.ADD)])


def _where(edit: Edit) -> str:
    verb = "instead of this line" if edit.replaces else "before this line"
    return f"{edit.file}:{edit.line}, {verb}:"
