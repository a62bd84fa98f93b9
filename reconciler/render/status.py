"""The status of several VMs for a terminal: one line a VM, and below it whatever needs a person.

``status_view`` says what is told.
"""

from collections.abc import Mapping, Sequence

from reconciler.model.plan import Reason
from reconciler.names import Dataset
from reconciler.render.conditions_text import add_condition
from reconciler.render.layout import Page, Piece, Span, columns, padded
from reconciler.render.status_view import State, StatusView
from reconciler.render.style import Role, Style
from reconciler.render.units import bytes_text

_HEADINGS = ("VM", "STATE", "POSITION", "BRANCH", "CHECKPOINTS", "UNSAVED", "USED", "REVISION")
_RIGHT = {"UNSAVED", "USED"}
_GAP = "  "
_DIGEST = 12
_STATES = {
    State.READY: Role.GOOD,
    State.RECONCILING: Role.CHANGE,
    State.STALLED: Role.REFUSAL,
    State.SUSPENDED: Role.WAIT,
    State.ELSEWHERE: Role.DIM,
}


def render_status(
    views: Sequence[StatusView],
    released: Mapping[Dataset, str],
    style: Style,
    doing: Mapping[str, str] | None = None,
) -> str:
    """Write the status of VMs as a table.

    RELEASED are the homes that no file describes, with their VMs; DOING tells what the daemon does with a VM.
    """
    page = Page(style)
    if not views and not released:
        page.line("no VMs")
        return page.text()
    rows = [_cells(view, style) for view in views]
    gone = [_released_cells(name, style) for name in released.values()]
    table = zip(_HEADINGS, *rows, *gone, strict=True)
    widths = [max(map(columns, column)) for column in table]
    if style.width and sum(widths) + len(_GAP) * (len(widths) - 1) > style.width:
        widths = widths[:-1]  # the revision is the first that a narrow terminal can do without
    page.line(first=[Span(_row(_HEADINGS, widths), Role.DIM)])
    for view, row in zip(views, rows, strict=True):
        _line(page, row, widths, _STATES[view.state])
        _explain(page, view, style)
        if at_work := (doing or {}).get(view.vm):
            page.line(Span(at_work, Role.CHANGE), first="  ", rest="    ")
    for home, row in zip(released, gone, strict=True):
        _line(page, row, widths, Role.WAIT)
        message = f"no file describes {home}: its checkpoints and holds stay, nothing is touched"
        page.line(Span(message, Role.DIM), first="  ")
    return page.text()


def _cells(view: StatusView, style: Style) -> tuple[str, ...]:
    nothing = style.glyphs.dash
    shown = [f"{count} {phase.value.lower()}" for phase, count in view.phases.items() if count]
    return (
        view.vm,
        view.state.value,
        view.position or nothing,
        view.head or nothing,
        ", ".join(shown) or "none",
        bytes_text(view.unsaved) if view.head is not None else nothing,
        nothing if view.used is None else bytes_text(view.used),
        (view.revision or view.digest or nothing)[:_DIGEST],
    )


def _released_cells(name: str, style: Style) -> tuple[str, ...]:
    return (name, "Released", *[style.glyphs.dash] * (len(_HEADINGS) - 2))


def _row(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return _GAP.join(
        padded(text, width, right=heading in _RIGHT)
        for heading, text, width in zip(_HEADINGS, row, widths, strict=False)
    )


def _line(page: Page, row: tuple[str, ...], widths: Sequence[int], state_role: Role) -> None:
    name, state = (padded(text, width) for text, width in zip(row[:2], widths, strict=False))
    rest = _row(row, widths)[columns(name) + columns(state) + len(_GAP) :]
    pieces: list[Piece] = [Span(name, Role.STRONG), _GAP, Span(state, state_role), rest]
    page.line(first=pieces)


def _explain(page: Page, view: StatusView, style: Style) -> None:
    if view.state in {State.RECONCILING, State.ELSEWHERE, State.SUSPENDED}:
        verdict = view.reconciling if view.state is State.RECONCILING else view.ready
        page.line(Span(verdict.message, Role.DIM), first="  ")
    elif view.pending:
        page.line(Span(view.reconciling.message, Role.DIM), first="  ")
    loud = [condition for condition in view.notes if condition.reason is Reason.HEAD_LOST]
    for condition in (*loud, *view.blocks):
        add_condition(page, condition, style, ["  "])
