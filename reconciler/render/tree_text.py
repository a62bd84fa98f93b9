"""The tree of a VM for a terminal: lineage as a drawing, and everything else in columns.

Retired nodes are dim and say when they go; nodes that the file wants and that do not exist stand in
their place, with the reason. ``tree_view`` says what is shown, ``drawing`` draws the lines.
"""

from reconciler.model.observed import Running
from reconciler.render.conditions_text import add_condition
from reconciler.render.drawing import Lead, draw
from reconciler.render.folding import Folded, fold
from reconciler.render.layout import Page, Piece, Span, columns, padded, shortened
from reconciler.render.style import Role, Style
from reconciler.render.tree_nodes import NodeView, Phase, TreeView
from reconciler.render.units import age_text, bytes_text, count_text, time_text

_HEADINGS = ("CHECKPOINT", "PHASE", "GRADE", "AGE", "OWN", "BRANCH")
_RIGHT = {"AGE", "OWN"}
_GAP = "  "
_NARROWEST_NAME = 16
_TAIL = 36  # columns that "you are here" needs beside the table
_LONGEST_ABOUT = 60
_MOST_FOREIGN = 5

_PHASES = {
    Phase.PRESENT: Role.PLAIN,
    Phase.PLANNED: Role.ADD,
    Phase.WAITING: Role.WAIT,
    Phase.RETIRED: Role.DIM,
    Phase.LOST: Role.LOSS,
    Phase.EXPIRED: Role.DIM,
    Phase.FOREIGN: Role.DIM,
}
_COMING = {
    "adopt": "to be adopted",
    "capture": "to be captured",
    "destroy": "to be DESTROYED",
    "fork": "to be forked",
    "restore": "the guest is to go here",
    "retire": "to be retired",
    "revive": "to be revived",
}
_RELEASED = " no file describes this VM: everything stays, and nothing is touched"
_GUEST = {
    Running.OFF: "the guest is off",
    Running.RUNNING: "the guest runs",
    Running.UNKNOWN: "whether the guest runs is unknown",
}


def render_tree(view: TreeView, style: Style) -> str:
    """Write the tree of one VM."""
    page = Page(style)
    _heading(page, view, style)
    if view.nodes:
        _table(page, view, style)
    elif view.exists:
        page.line(Span("no checkpoints yet", Role.DIM), first="  ")
    _closing(page, view, style)
    return page.text()


def _heading(page: Page, view: TreeView, style: Style) -> None:
    facts = []
    if view.guest is not None and view.exists:
        facts.append(_GUEST[view.guest])
    if view.used is not None:
        facts.append(f"{bytes_text(view.used)} used")
    if view.available is not None:
        facts.append(f"{bytes_text(view.available)} free")
    text = "".join(f", {fact}" for fact in facts)
    page.line(Span(f"{view.vm}:", Role.STRONG), Span(f" {view.home}{text}", Role.DIM))
    if view.released:
        page.line(Span("Released:", Role.WAIT), _RELEASED, first="  ")
    if not view.exists:
        page.line(Span("the dataset does not exist", Role.WAIT), first="  ")
    elif view.head is None:
        message = "no branch is known to be the guest's: the link is missing, leads nowhere, or cannot be read"
        page.line(Span(message, Role.LOSS), first="  ")
    elif view.position is None:
        here = Span(_here_text(view, style), Role.HERE)
        page.line(f"on {view.head}, below no checkpoint  ", here, first="  ")


def _here_text(view: TreeView, style: Style) -> str:
    return f"{style.glyphs.here}, {_unsaved_text(view)}"


def _unsaved_text(view: TreeView) -> str:
    return f"{bytes_text(view.unsaved)} unsaved" if view.unsaved else "nothing unsaved"


def _table(page: Page, view: TreeView, style: Style) -> None:
    rows = fold(view.nodes)
    shown = [row for row in rows if isinstance(row, NodeView)]
    leads = draw(rows, style.glyphs)
    cells = [_cells(view, node, leads[node.name], style) for node in shown]
    widths = [max(map(columns, column)) for column in zip(_HEADINGS, *cells, strict=True)]
    widths[0] = _name_width(shown, cells, widths, style)
    titles = _columns(_HEADINGS, widths)
    page.line(first=[Span(padded(_HEADINGS[0], widths[0]) + titles, Role.DIM)])
    by_name = {node.name: _columns(row, widths) for node, row in zip(shown, cells, strict=True)}
    for row in rows:
        lead = leads[row.name]
        if isinstance(row, Folded):
            _folded(page, row, lead, style)
        else:
            _node(page, view, row, lead, by_name[row.name], widths[0], style)


def _folded(page: Page, row: Folded, lead: Lead, style: Style) -> None:
    times = [] if row.first is None or row.last is None else [row.first, row.last]
    days = " to ".join(dict.fromkeys(f"{moment:%Y-%m-%d}" for moment in times))
    parts = [f"{style.glyphs.ellipsis} {row.count} more automatic", days, bytes_text(row.own_bytes)]
    text = Span(", ".join(part for part in parts if part), Role.DIM)
    page.line(first=[Span(lead.name, Role.DIM), text])


def _name_width(
    shown: list[NodeView], cells: list[tuple[str, ...]], widths: list[int], style: Style
) -> int:
    """Choose the first column's width: a longer name gets a line of its own.

    The names of automatic nodes are long; they may not push the rest of the table to the right.
    """
    if not style.width:
        return widths[0]
    room = style.width - sum(len(_GAP) + width for width in widths[1:])
    if widths[0] + _TAIL <= room:
        return widths[0]
    rows = zip(shown, cells, strict=True)
    chosen = [columns(row[0]) for node, row in rows if not node.name.automatic]
    return max(_NARROWEST_NAME, min(room, max(chosen, default=0)))


def _cells(view: TreeView, node: NodeView, lead: Lead, style: Style) -> tuple[str, ...]:
    nothing = style.glyphs.dash
    return (
        f"{lead.name}{node.name}",
        node.phase.value,
        nothing if node.grade is None else node.grade.value,
        nothing if node.taken is None else age_text(view.now - node.taken),
        nothing if node.own_bytes is None else bytes_text(node.own_bytes),
        node.branch or nothing,
    )


def _columns(row: tuple[str, ...], widths: list[int]) -> str:
    """Write all columns but the first."""
    return "".join(
        _GAP + padded(text, width, right=heading in _RIGHT)
        for heading, text, width in list(zip(_HEADINGS, row, widths, strict=True))[1:]
    )


def _node(
    page: Page,
    view: TreeView,
    node: NodeView,
    lead: Lead,
    rest: str,
    width: int,
    style: Style,
) -> None:
    role = _PHASES[node.phase]
    present = Role.PLAIN if node.name.automatic else Role.STRONG
    name = Role.HERE if node.here else present if role is Role.PLAIN else role
    named: list[Piece] = [Span(lead.name, Role.DIM), Span(str(node.name), name)]
    used = columns(lead.name) + len(node.name)
    if used > width:
        page.line(first=named)
        named, used = [Span(lead.below[:width], Role.DIM)], min(width, columns(lead.below))
    first: list[Piece] = [*named, " " * (width - used), Span(rest, role)]
    below: list[Piece] = [Span(lead.below, Role.DIM)]
    unsaved = Span(_unsaved_text(view), Role.HERE)
    here = Span(style.glyphs.here, Role.HERE)
    row: list[Span] = [here, unsaved] if node.here else []
    further = _marks(node, style)
    at = width + columns(rest)
    if _fits([*row, *further], at, style):
        row, further = [*row, *further], []
    elif node.here and not _fits(row, at, style):
        near = _fits([here], at, style)
        row, further = ([here] if near else []), [*([] if near else [here]), unsaved, *further]
    page.line(*_joined(row), first=[*first, _GAP])
    if further:
        page.line(*_joined(further), first=below, rest=[*below, "  "])
    for condition in node.conditions:
        add_condition(page, condition, style, below)


def _fits(tail: list[Span], used: int, style: Style) -> bool:
    needs = sum(columns(span.text) + 2 for span in tail)
    return not style.width or used + needs <= style.width


def _joined(parts: list[Span]) -> list[Piece]:
    pieces: list[Piece] = []
    for part in parts:
        pieces += [", " if pieces else "", part]
    return pieces


def _marks(node: NodeView, style: Style) -> list[Span]:
    """Tell what else there is to say of NODE, most urgent first."""
    parts = [_coming(verb) for verb in node.coming if verb != "annotate"]
    if node.protect:
        parts.append(Span("protected", Role.GOOD))
    if node.name.automatic:
        parts.append(Span("automatic", Role.DIM))
    if node.memory:
        parts.append(Span("with memory"))
    if node.group is not None:
        parts.append(Span(f"group {node.group}"))
    if "destroy" in node.coming:
        pass  # when it was due is of no interest any more
    elif node.goes is not None:
        parts.append(Span(f"goes {time_text(node.goes)}", Role.RETIRE))
    elif node.expires is not None:
        parts.append(Span(f"expires {time_text(node.expires)}", Role.RETIRE))
    if node.stray:
        parts.append(Span("not in the file", Role.WAIT))
    if node.about and not node.name.automatic:  # whose name tells it already
        parts.append(Span(shortened(node.about, _LONGEST_ABOUT, style)))
    if node.labels:
        labels = " ".join(f"{key}={value}" for key, value in node.labels)
        parts.append(Span(f"[{labels}]", Role.DIM))
    return parts


def _coming(verb: str) -> Span:
    role = Role.LOSS if verb == "destroy" else Role.RETIRE if verb == "retire" else Role.ADD
    return Span(_COMING.get(verb, verb.replace("rename", "to be renamed", 1)), role)


def _closing(page: Page, view: TreeView, style: Style) -> None:
    _foreign(page, "foreign snapshot", view.foreign_snapshots, style)
    _foreign(page, "foreign dataset", view.foreign_datasets, style)
    for fault in view.faults:
        page.line(Span("Tampered:", Role.REFUSAL), f" {fault}", first="  ", rest="    ")
    for gap in view.gaps:
        page.line(Span("Could not be read:", Role.WAIT), f" {gap}", first="  ", rest="    ")
    for condition in view.conditions:
        add_condition(page, condition, style, ["  "])


def _foreign(page: Page, noun: str, names: tuple[str, ...], style: Style) -> None:
    if not names:
        return
    shown = ", ".join(names[:_MOST_FOREIGN])
    if len(names) > _MOST_FOREIGN:
        shown += f"{style.glyphs.ellipsis} and {len(names) - _MOST_FOREIGN} more"
    text = f"{count_text(len(names), noun)}, never touched: {shown}"
    page.line(Span(text, Role.DIM), first="  ", rest="    ")
