"""What a merge would change, as Markdown for a merge request: a table of the VMs, then the details of each, folded.

Losses come first everywhere. ``merge_view`` says what is told; the forges cut a comment that is too long, so this ends
in time and says so.
"""

from collections.abc import Iterable, Sequence

from reconciler.model.actions import Action, Capture, DestroyNodes, Restore, Retire, nodes_of
from reconciler.model.plan import Condition
from reconciler.render.action_words import ActionView, action_view
from reconciler.render.markdown import code, escaped, plain_html, prose
from reconciler.render.merge_view import Fate, MergedVm, MergeView
from reconciler.render.plan_view import LossView, PlanView, sums_text
from reconciler.render.units import bytes_text, count_text, time_text

_LONGEST = 60_000  # characters; a comment on GitHub may have 65,536
_ROWS = 24_000  # characters for the table
_NAMES = 4  # in a cell
_NOTHING = "-"
_HEADINGS = ("VM", "Lost for good", "Restored", "Taken", "Removed", "Waits or refused")


def render_merge(view: MergeView) -> str:
    """Write VIEW as Markdown."""
    shown = [vm for vm in view.vms if vm.changes or vm.waits or vm.fate is not Fate.UNCHANGED]
    title = f"### ckptree: merging {code(view.head)} into {code(view.base)}"
    blocks = [title, _verdict(view, shown), *_faults(view)]
    if shown:
        blocks.append(_table(shown))
    text = "\n\n".join(blocks)
    for number, vm in enumerate(shown):
        block = _details(vm)
        if len(text) + len(block) > _LONGEST:
            left = count_text(len(shown) - number, "VM")
            text += f"\n\nThe details of {left} are left out here (see {code('--format json')})."
            break
        text += f"\n\n{block}" if block else ""
    return f"{text}\n\n{_footer(view)}\n"


def _verdict(view: MergeView, shown: Sequence[MergedVm]) -> str:
    counts = {fate: sum(vm.fate is fate for vm in view.vms) for fate in Fate}
    same = counts[Fate.UNCHANGED] - sum(vm.fate is Fate.UNCHANGED for vm in shown)
    said = [f"{count} {fate.value}" for fate, count in counts.items() if count]
    losing = [vm for vm in shown if (found := vm.view) is not None and found.losses]
    text = f"{count_text(len(view.vms), 'VM')}: {', '.join(said)}." if said else "No VMs."
    if view.findings:
        text = f"**{count_text(len(view.findings), 'fault')} in the documents.** {text}"
    if losing:
        names = ", ".join(escaped(vm.vm) for vm in losing)
        text = f"**Data of {names} will be lost for good.** {text}"
    if not shown and same and not view.findings:
        text = f"Changes nothing. {text}"
    return text


def _faults(view: MergeView) -> Iterable[str]:
    if view.findings:
        lines = [
            f"- {code(str(f.position))}: {prose(f.message)} ({prose(f.hint)})"
            for f in view.findings
        ]
        most = lines[:50]
        more = [f"- and {len(lines) - len(most)} more"] if len(lines) > len(most) else []
        yield "\n".join(["**Faults**", "", *most, *more])


def _table(shown: Sequence[MergedVm]) -> str:
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|{'---|' * len(_HEADINGS)}"]
    length = 0
    for number, vm in enumerate(shown):
        row = f"| {' | '.join(cell or _NOTHING for cell in _cells(vm))} |"
        length += len(row)
        if length > _ROWS:
            lines.append(f"| and {len(shown) - number} more |{' |' * (len(_HEADINGS) - 1)}")
            break
        lines.append(row)
    return "\n".join(lines)


def _cells(vm: MergedVm) -> tuple[str, ...]:
    name = f"**{escaped(vm.vm)}**" + (f" on {escaped(vm.host)}" if vm.host else "")
    view = vm.view
    if vm.plan is None or view is None:
        return name, "", "", "", "", escaped(vm.fate.value)
    actions = vm.plan.actions
    held = [c.reason.value for c in (*view.refusals, *view.waits)]
    new = "new" if vm.fate is Fate.NEW else ""
    return (
        name,
        _loss_cell(view.losses),
        ", ".join(_restored(a) for a in actions if isinstance(a, Restore)),
        _names(nodes_of(a) for a in actions if _adds(a)),
        _names(nodes_of(a) for a in actions if isinstance(a, Retire | DestroyNodes)),
        ", ".join([new] * bool(new) + [escaped(reason) for reason in dict.fromkeys(held)]),
    )


def _restored(action: Restore) -> str:
    if not action.starts:
        return f"{escaped(action.node)}, no pause"
    return f"{escaped(action.node)}, {'the guest stops' if action.runs else 'the guest starts'}"


def _adds(action: Action) -> bool:
    return bool(nodes_of(action)) and not isinstance(action, Restore | Retire | DestroyNodes)


def _loss_cell(losses: Sequence[LossView]) -> str:
    if not losses:
        return ""
    known = sum(loss.size or 0 for loss in losses)
    return f"**{bytes_text(known)}**" if known else "**something**"


def _names(groups: Iterable[Sequence[str]]) -> str:
    names = list(dict.fromkeys(name for group in groups for name in group))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(escaped(name) for name in names[:_NAMES]) + more


def _details(vm: MergedVm) -> str:
    view = vm.view
    parts: list[str] = []
    if vm.remark:
        parts.append(prose(vm.remark[:1].upper() + vm.remark[1:]) + ".")
    if view is not None:
        parts += _planned(vm, view)
    if vm.keys:
        keys = "; ".join(_key(key) for key in vm.keys)
        parts.append(f"**Also changed in the document:** {keys}")
    if vm.pending is not None:
        parts.append(
            f"Pending with or without this merge: {prose(sums_text(vm.pending.sums, short=True))}."
        )
    if not parts:
        return ""
    loses = view is not None and bool(view.losses)
    opened = "<details open>" if loses else "<details>"
    return "\n\n".join([f"{opened}<summary>{_summary(vm, view)}</summary>", *parts, "</details>"])


def _key(text: str) -> str:
    name, colon, change = text.partition(": ")
    return code(name) + (f": {escaped(change)}" if colon else "")


def _summary(vm: MergedVm, view: PlanView | None) -> str:
    host = f" on {plain_html(vm.host)}" if vm.host else ""
    if view is None:
        said = vm.fate.value
    elif vm.plan is not None and not vm.plan.actions and not vm.plan.blocked:
        said = "nothing is done now"
    else:
        said = sums_text(view.sums, short=True)
    return f"<b>{plain_html(vm.vm)}</b>{host}: {plain_html(said)}"


def _planned(vm: MergedVm, view: PlanView) -> Iterable[str]:
    coming = [loss for loss in view.losses if not loss.already]
    already = [loss for loss in view.losses if loss.already]
    yield from _list("Lost for good", [_loss(loss) for loss in coming])
    yield from _list("Lost already", [_loss(loss) for loss in already])
    ordered = sorted(zip(_actions(vm), view.actions, strict=True), key=lambda pair: _order(pair[0]))
    yield from _list("What is done", [_action(words) for _, words in ordered])
    dropped = [] if vm.plan is None else [action_view(a, vm.plan.home) for a in vm.dropped]
    yield from _list("Refused", [_condition(vm, c) for c in view.refusals])
    yield from _list("Waits", [_condition(vm, c) for c in view.waits])
    yield from _list("Notes", [_condition(vm, c) for c in view.notes])
    if view.approve is not None:
        yield f"To approve the held removals: {code(view.approve)}"
    yield from _list("No longer done", [f"{a.verb} {prose(a.what)}" for a in dropped])
    ended = [f"**{c.reason.value}**: {prose(c.message)}" for c in vm.resolved]
    yield from _list("No longer so", ended)


def _actions(vm: MergedVm) -> tuple[Action, ...]:
    return () if vm.plan is None else vm.plan.actions


def _order(action: Action) -> int:
    """What a reviewer looks for first: what destroys, what stops a guest, what is taken, and the rest."""
    match action:
        case DestroyNodes():
            return 0
        case Restore():
            return 1
        case Capture():
            return 2
        case _:
            return 3


def _list(title: str, items: Sequence[str]) -> Iterable[str]:
    if items:
        yield "\n".join([f"**{title}**", "", *(f"- {item}" for item in items)])


def _loss(loss: LossView) -> str:
    size = "" if loss.size is None else f"**{bytes_text(loss.size)}**: "
    return size + prose(loss.what)


def _action(words: ActionView) -> str:
    more = [prose(text) for text in (*words.facts, words.pause, words.undo) if text]
    lines = [f"**{words.verb}** {prose(words.what)}", *(f"  {text}" for text in more)]
    return "  \n".join(lines)


def _condition(vm: MergedVm, condition: Condition) -> str:
    node = None
    if vm.desired is not None and condition.node is not None:
        node = vm.desired.by_name.get(condition.node)
    where = "" if node is None else f" ({code(f'{node.position.file}:{node.position.line}')})"
    text = f"**{condition.reason.value}**{where}: {prose(condition.message)}"
    return text + (f"  \n  → {prose(condition.resolve)}" if condition.resolve else "")


def _footer(view: MergeView) -> str:
    if not view.seen:
        return "<sub>No observation of a host was given.</sub>"
    hosts = ", ".join(f"{plain_html(host)} at {time_text(at)}" for host, at in view.seen.items())
    return (
        f"<sub>Planned for the state of {hosts}; what has happened there since is not in it.</sub>"
    )
