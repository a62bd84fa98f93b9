"""Each action of a plan in plain words: what it does, the pause of the guest, how it is undone.

``plan_view`` puts these together with what is lost; ``plan_text`` lays them out. Only what the
action itself says is told, because the plan is all that a reader has.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from reconciler.model import properties
from reconciler.model.actions import (
    Action,
    Adopt,
    Annotate,
    Capture,
    Collect,
    DestroyNodes,
    Fork,
    NewNode,
    PropertyChange,
    Relink,
    Restore,
    Retire,
    Return,
    Revive,
    Start,
    Sweep,
    Tidy,
)
from reconciler.model.desired import HookPair
from reconciler.model.journal import Left
from reconciler.model.properties import Grade
from reconciler.model.steps import DatasetRef
from reconciler.names import Dataset, NodeName, branch_number
from reconciler.render.units import bytes_text, count_text, time_text

CANNOT_BE_UNDONE = "cannot be undone"
_LONGEST_VALUE = 50


class Mark(Enum):
    """The kinds of action that a reader tells apart by their sign."""

    CAPTURE = "+"
    FORK = "*"
    RESTORE = "<"
    CHANGE = "~"
    RETIRE = "-"
    DESTROY = "!"
    COLLECT = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionView:
    """One action: sign and verb, WHAT it does, further FACTS, the guest's PAUSE, and its UNDO."""

    mark: Mark
    verb: str
    what: str
    facts: tuple[str, ...] = ()
    pause: str = ""
    undo: str = ""


def action_view(action: Action, home: Dataset) -> ActionView:
    """Tell ACTION in words; names below HOME are shortened."""
    view = _view(action, home)
    match action:
        case Capture(hooks=pair) | Restore(hooks=pair) | Start(hooks=pair) | Return(hooks=pair):
            said = _hooks(pair)
            return replace(view, facts=(*view.facts, said)) if said else view
        case _:
            return view


def _hooks(pair: HookPair) -> str:
    before = "" if pair.before is None else f"{pair.before.run[0]} first"
    after = "" if pair.after is None else f"{pair.after.run[0]} afterwards, whatever happens"
    named = " and ".join(text for text in (before, after) if text)
    return f"runs {named}" if named else ""


def _view(action: Action, home: Dataset) -> ActionView:  # noqa: C901 - one case an action
    match action:
        case Relink(branch=branch):
            what = f"the link leads to {short(branch.name, home)} again"
            return ActionView(mark=Mark.CHANGE, verb="relink", what=what)
        case Tidy():
            return _tidy(action, home)
        case Annotate():
            return _annotate(action)
        case Adopt(node=node, snapshots=snapshots):
            names = ", ".join(short(ref.name, home) for ref in snapshots)
            return ActionView(
                mark=Mark.CHANGE,
                verb="adopt",
                what=f"{names} becomes the checkpoint {node}",
                facts=("marked and held; its data is not touched",),
            )
        case Revive(node=node):
            what = f"{node} comes back, the very same checkpoint"
            return ActionView(mark=Mark.CAPTURE, verb="revive", what=what)
        case Capture():
            return _capture(action, home)
        case Fork():
            return _fork(action, home)
        case Restore():
            return _restore(action, home)
        case Start(branch=branch, memory=memory):
            how = "from its memory" if memory is not None else "from its disks"
            return ActionView(
                mark=Mark.CHANGE,
                verb="start",
                what=f"the guest goes on, on {short(branch.name, home)}, {how}",
                facts=("ckptree had stopped it and was interrupted",),
            )
        case Return(branch=branch, back=back):
            how = "from its memory" if back.memory is not None else "from its disks"
            return ActionView(
                mark=Mark.RESTORE,
                verb="return",
                what=f"the guest goes back to {short(back.branch.name, home)}, {how}",
                facts=(
                    f"the restore of {back.node} on {short(branch.name, home)} was interrupted while it was started",
                ),
            )
        case Sweep(branch=branch, memory=memory):
            what = f"{', '.join(memory)} on {short(branch.name, home)} is removed"
            return ActionView(
                mark=Mark.COLLECT,
                verb="sweep",
                what=what,
                facts=("memory that an interrupted run left; no checkpoint loses it",),
            )
        case Retire(nodes=nodes, until=until):
            several = "they come" if len(nodes) > 1 else "it comes"
            return ActionView(
                mark=Mark.RETIRE,
                verb="retire",
                what=", ".join(_named(node.name, node.about) for node in nodes),
                undo=f"until {time_text(until)} {several} back by putting"
                f" {'them' if len(nodes) > 1 else 'it'} back into the file; after that destroyed",
            )
        case DestroyNodes():
            return _destroy(action, home)
        case Collect():
            return _collect(action, home)
        case _:
            assert_never(action)


def short(name: str, home: str) -> str:
    """Leave HOME out of a name below it: ``b-1@base``, ``b-1/disk1``."""
    return name.removeprefix(f"{home}/")


def saved_until(node: NewNode) -> str:
    """Tell until when an automatic checkpoint is kept."""
    value = dict(node.properties).get(properties.EXPIRES)
    return "" if value is None else f" until {time_text(properties.decode_time(value))}"


def _named(name: NodeName, about: str) -> str:
    text = " ".join(about.split())
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 3]}..."
    return f"{name} ({text})" if text else name


def _below(parent: NodeName | None) -> str:
    return f"below {parent}" if parent is not None else "as a root"


def _capture(action: Capture, home: Dataset) -> ActionView:
    placed = ", then ".join(f"{node.name} {_below(node.parent)}" for node in action.nodes)
    branch = short(action.branch.name, home)
    volumes = len(action.nodes[0].snapshots) - 1
    facts = []
    if action.group is not None:
        facts.append(f"at one instant with the other VMs of the group {action.group}")
    if volumes:
        facts.append(f"the files and {count_text(volumes, 'volume')} at one instant")
    renamed = [
        short(node.snapshots[0], home)
        for node in action.nodes
        if node.snapshots[0].short != node.name
    ]
    if renamed:
        facts.append(f"as the snapshot {', '.join(renamed)}, because the plain name is taken")
    return ActionView(
        mark=Mark.CAPTURE,
        verb="capture",
        what=f"{placed}, from {branch}",
        facts=tuple(facts),
        pause=_capture_pause(action.grade, action.ram),
    )


def _capture_pause(grade: Grade, ram: int) -> str:
    match grade:
        case Grade.CLEAN:
            return "no pause: the guest is off"
        case Grade.CRASH:
            return "no pause: the guest is not stopped, so the disks are as after a power cut"
        case Grade.QUIESCED:
            return "a short pause: the guest's file systems are frozen meanwhile"
        case Grade.MEMORY:
            size = f" ({bytes_text(ram)})" if ram else ""
            return f"the guest is frozen while its memory{size} is written"
        case _:
            assert_never(grade)


def _fork(action: Fork, home: Dataset) -> ActionView:
    origin = short(action.origins[0].name, home)
    return ActionView(
        mark=Mark.FORK,
        verb="fork",
        what=f"{action.node.name} {_below(action.node.parent)}, the same as {origin}",
        facts=(
            "takes no space",
            f"on the new branch {short(action.target, home)}",
        ),
        pause="no pause: the guest is not touched",
    )


def _restore(action: Restore, home: Dataset) -> ActionView:
    target = short(action.target, home)
    what = f"the guest goes to {action.node}, on the new branch {target}"
    pause = _restore_pause(action)
    if action.before is None:
        return ActionView(mark=Mark.RESTORE, verb="restore", what=what, pause=pause)
    before = short(action.before.name, home)
    facts: tuple[str, ...] = ()
    match action.left:
        case Left.CLEAN:
            facts = (f"nothing on {before} is unsaved, so nothing is lost",)
            undo = ""
        case Left.SAVED if action.save is not None:
            kept = f"kept as {action.save.name}{saved_until(action.save)}"
            facts = (f"{_unsaved(action, before)} {kept}",)
            undo = f"the way back: 'current: {action.save.name}'"
        case Left.SAVED | Left.DISCARDED:
            lost = f"{_unsaved(action, before)} LOST"
            undo = f"{lost} ('unsaved: discard'), which {CANNOT_BE_UNDONE}"
        case _:
            assert_never(action.left)
    return ActionView(
        mark=Mark.RESTORE, verb="restore", what=what, facts=facts, pause=pause, undo=undo
    )


def _unsaved(action: Restore, before: str) -> str:
    """Name the unsaved state, with its verb."""
    disks = f"the unsaved {bytes_text(action.unsaved)} on {before}"
    if not action.runs:
        return f"{disks} are"
    if action.save_memory is None and action.left is Left.SAVED:
        return f"{disks} (the guest is shut down first, so its memory is not kept) are"
    return f"{disks} and the memory of the running guest are"


def _restore_pause(action: Restore) -> str:
    if not action.starts:
        return "no pause: the guest is off and stays off"
    begin = "the guest is off"
    if action.save_memory is not None:
        size = f" ({bytes_text(action.ram)})" if action.ram else ""
        begin += f" while its memory{size} is written, the link is switched"
    elif action.left is Left.DISCARDED:
        begin = "the guest is switched off at once, the link is switched"
    elif action.runs:
        begin += " while it shuts down, the link is switched"
    else:
        begin += " until the link is switched"
    how = "the checkpoint's memory is read" if action.memory is not None else "it boots"
    return f"{begin} and {how}"


def _destroy(action: DestroyNodes, home: Dataset) -> ActionView:
    names = ", ".join(node.name for node in action.nodes)
    facts = []
    if action.promote:
        kept = ", ".join(short(ref.name, home) for ref in action.promote)
        facts.append(f"{kept} is promoted first, so that what descends from it stays")
    branches = [
        short(ref.name, home)
        for ref in action.targets
        if isinstance(ref, DatasetRef) and branch_number(ref.name.leaf) is not None
    ]
    if branches:
        noun = "branch" if len(branches) == 1 else "branches"
        facts.append(f"with the {noun} {', '.join(branches)}, which nothing else uses")
    return ActionView(
        mark=Mark.DESTROY,
        verb="destroy",
        what=f"{names}: {frees_text(action.frees)}",
        facts=tuple(facts),
        undo=CANNOT_BE_UNDONE,
    )


def frees_text(count: int) -> str:
    """Tell what a destroy frees: a lower bound, as nothing that snapshots share is counted."""
    return f"frees at least {bytes_text(count)}" if count else "frees little or nothing"


def _collect(action: Collect, home: Dataset) -> ActionView:
    branch = short(action.branch.name, home)
    if action.rollbacks:
        last = short(action.rollbacks[0][1].name, home)
        freed = bytes_text(action.frees)
        what = f"{branch} goes back to {last}: {freed} on it are in no checkpoint"
    else:
        freed = f", {bytes_text(action.frees)}" if action.frees else ""
        what = f"the branch {branch}{freed}: no checkpoint is on it, and not the guest"
    return ActionView(mark=Mark.COLLECT, verb="collect", what=what, undo=CANNOT_BE_UNDONE)


def _tidy(action: Tidy, home: Dataset) -> ActionView:
    branch = short(action.branch.name, home)
    done = []
    if action.canmount:
        done.append(f"canmount={'on' if action.head else 'noauto'}")
    if action.mount:
        done.append("mounted" if action.head else "unmounted")
    role = "the guest is on it" if action.head else "the guest is not on it"
    what = f"{branch} gets {' and is '.join(done)}" if action.canmount else f"{branch} is {done[0]}"
    return ActionView(mark=Mark.CHANGE, verb="tidy", what=f"{what} ({role})")


def _annotate(action: Annotate) -> ActionView:
    said = []
    if action.was is not None:
        said.append(f"renamed from {action.was}, the very same checkpoint")
    said += [_change(change) for change in action.changes if change.key != properties.NODE]
    if action.holds:
        said.append(f"{count_text(len(action.holds), 'missing hold')} put back")
    return ActionView(mark=Mark.CHANGE, verb="annotate", what=f"{action.node}: {'; '.join(said)}")


def _change(change: PropertyChange) -> str:
    if change.key == properties.PROTECT:
        return "protected from now on" if change.new == "on" else "NO LONGER protected"
    key = change.key.removeprefix("ckptree:")
    if change.new is None:
        return f"{key} removed"
    text = change.new
    if change.key == properties.LABELS:
        text = ", ".join(f"{name}={value}" for name, value in properties.decode_labels(text))
    text = " ".join(text.split())
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 3]}..."
    return f"{key} becomes '{text}'"
