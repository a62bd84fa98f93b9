"""The sentences of an explanation: what exists and what the file says, of a node and of a VM.

Only facts; what is done about them is the plan's. Neighbour: ``explain`` puts them together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model import properties
from reconciler.model.desired import DesiredNode, DesiredVm, MemoryWish, When
from reconciler.model.observed import Observation, Running
from reconciler.model.plan import Plan
from reconciler.model.properties import Grade
from reconciler.model.tree import Node, Tree, derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import NodeName
from reconciler.render.events_view import Event, Happened
from reconciler.render.units import age_text, bytes_text, count_text, time_text

_GRADES = {
    Grade.MEMORY: "disks and memory of one instant, so the guest can go on from there",
    Grade.CLEAN: "taken while the guest was off, so the disks are as it left them",
    Grade.QUIESCED: "taken while hooks kept the guest's file systems at rest",
    Grade.CRASH: "taken of the running guest's disks alone, as after a power cut",
}
_RUNNING = {
    Running.OFF: "The guest is off",
    Running.RUNNING: "The guest runs",
    Running.UNKNOWN: "Whether the guest runs is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that an explanation is made from. SOURCE is the text of the document, EVENTS are those of the journal."""

    desired: DesiredVm
    observation: Observation
    plan: Plan
    now: datetime
    source: str = ""
    events: Sequence[Event] = ()
    windows: Windows = ALWAYS

    @property
    def tree(self) -> Tree:
        """The tree that exists."""
        return derive_tree(self.desired.vm, self.observation.reading, self.observation.link)


def existing(known: Known, tree: Tree, node: Node) -> Iterator[str]:
    """Tell of NODE, which exists."""
    volumes = f" with those of {count_text(len(node.members), 'volume')}" if node.members else ""
    yield f"It is the snapshot {node.snapshot.name} (guid {node.guid}){volumes}, {_below(node)}."
    if node.taken is not None:
        age = age_text(known.now - node.taken)
        yield f"It was taken at {time_text(node.taken)}, {age} ago: {_GRADES[node.grade]}."
    else:
        yield f"When it was taken is not written at it: {_GRADES[node.grade]}."
    if node.memory is not None:
        yield _memory(known, node)
    referenced = sum(facts.referenced for facts in node.all_snapshots)
    yield f"It refers to {bytes_text(referenced)}; {bytes_text(node.own_bytes)} of its own are freed with it, at least."
    loose = [facts.name for facts in node.all_snapshots if properties.HOLD not in facts.holds]
    yield (
        f"The hold '{properties.HOLD}' is missing on {', '.join(loose)}."
        if loose
        else f"It is held (zfs-hold(8)) with the tag '{properties.HOLD}', so no other tool can destroy it."
    )
    yield from _place(tree, node)
    for text, there in (
        ("It is protected.", node.protect),
        (f"It was taken at one instant with others as the group {node.group}.", node.group),
        (f"It says: {' '.join(node.about.split())}", node.about),
    ):
        if there:
            yield text
    if node.retired is not None:
        until = node.retired + known.desired.prune.grace
        yield f"It is hidden since {time_text(node.retired)}, and may be destroyed from {time_text(until)} on."
    if node.expires is not None:
        yield f"Its time is over at {time_text(node.expires)}."


def _memory(known: Known, node: Node) -> str:
    saved = node.snapshot.properties.get(properties.FINGERPRINT, "")
    same = saved == known.observation.ability.fingerprint
    if not known.observation.ability.memory:
        fits = f"it cannot be resumed here: {known.observation.ability.why_not}"
    elif same:
        fits = "it can be resumed, the host and its devices are as they were"
    else:
        fits = "it cannot be resumed as the host or its devices are others now; the guest would boot from the disks"
    return f"The guest's memory is in {node.memory}; {fits}."


def _below(node: Node) -> str:
    return "a root" if node.parent is None else f"below {node.parent}"


def _place(tree: Tree, node: Node) -> Iterator[str]:
    if tree.position == node.name:
        yield "The guest stands on it: it is the position."
    elif node.name in {other.name for other in tree.ancestors(tree.position)}:
        yield f"The guest descends from it, by way of {tree.position}."
    elif tree.position is not None:
        yield f"The guest does not descend from it, but from {tree.position}."
    below = [child.name for child in tree.children(node.name)]
    if below:
        yield f"Directly below it: {', '.join(below)}."


def absent(known: Known, name: NodeName) -> Iterator[str]:
    """Tell of the node NAME, which does not exist."""
    journal = known.observation.journal
    guid = journal.realised.get(name)
    gaps = known.observation.reading.gaps
    if gaps:
        yield f"Whether it exists is not known, as {gaps[0].name} could not be read."
        return
    if guid is None:
        yield "It does not exist, and never has as far as the journal goes."
        return
    renamed = next((node.name for node in known.tree.nodes.values() if node.guid == guid), None)
    if renamed is not None:
        yield f"It has another name now: {renamed} (guid {guid})."
        return
    first = journal.seen.get(name)
    seen = "" if first is None else f", first seen at {time_text(first)},"
    yield f"It existed once (guid {guid}){seen} and is gone."


def said_of(
    known: Known, wanted: DesiredNode | None, node: Node | None, name: NodeName
) -> Iterator[str]:
    """Tell what the file says of the node NAME, WANTED there, which exists as NODE."""
    file = known.desired.position.file
    if wanted is None:
        automatic = ", as is right for an automatic checkpoint" if name.automatic else ""
        yield f"{file} does not have it{automatic}."
        return
    place = "as a root" if wanted.parent is None else f"below {wanted.parent}"
    where = f"{wanted.position.file}:{wanted.position.line}"
    yield f"{where} has it {place}{_keys(wanted)}."
    if node is not None and node.parent != wanted.parent and node.retired is None:
        yield f"It exists {_below(node)}."
    if known.desired.current == name:
        yield "'current' names it: the guest is to be brought here when that is new."


def _keys(wanted: DesiredNode) -> str:
    said = [
        text
        for text, given in (
            ("protect: true", wanted.protect),
            (f"memory: {wanted.memory.value}", wanted.memory is not MemoryWish.AUTO),
            (f"expires: {wanted.expires and time_text(wanted.expires)}", wanted.expires),
            (f"keep: {wanted.keep and age_text(wanted.keep)}", wanted.keep),
            (f"when: {wanted.when.value}", wanted.when is not When.NOW),
            ("fork: true", wanted.fork),
            (f"adopt: {wanted.adopt}", wanted.adopt),
            (f"group: {wanted.group}", wanted.group),
            (f"was: {wanted.was}", wanted.was),
        )
        if given
    ]
    said += [f"label {key}={value}" for key, value in wanted.labels]
    return f", with {', '.join(said)}" if said else ""


def document(desired: DesiredVm) -> Iterator[str]:
    """Tell what the document says of the VM as a whole."""
    kept = count_text(len(desired.nodes), "checkpoint")
    yield f"{desired.position.file}:{desired.position.line} describes it, with {kept}."
    if desired.current is not None:
        yield f"'current' is {desired.current}: the guest is brought there when that is new, and not again."
    else:
        yield "'current' is not given: nothing is ever restored."
    if desired.schedule is not None:
        every, keep = age_text(desired.schedule.every), age_text(desired.schedule.keep)
        yield f"An automatic checkpoint is taken every {every} and kept {keep}."
    grace, limit = age_text(desired.prune.grace), desired.prune.limit
    yield f"Removals ({desired.prune.mode.value}): a grace of {grace}, more than {limit} at once wait for approval."
    if desired.suspend:
        yield "It is suspended: nothing is done."


def whole(known: Known, tree: Tree) -> Iterator[str]:
    """Tell what exists of the VM as a whole, and how the guest came to where it is."""
    seen = known.observation
    for gap in seen.reading.gaps:
        yield f"{gap.name} could not be read: {gap.reason}."
    if tree.home is None and seen.reading.gaps:
        return
    if tree.home is None:
        yield f"{seen.reading.root} does not exist here or is no home ('ckptree init {known.desired.vm}' makes it)."
        return
    there = [node for node in tree.nodes.values() if node.retired is None]
    hidden = len(tree.nodes) - len(there)
    more = f", and {hidden} hidden ones" if hidden else ""
    used = f"{bytes_text(tree.home.used)} in all, {bytes_text(seen.pool.available)} may still be written"
    yield f"{tree.home.name} has {count_text(len(there), 'checkpoint')}{more}: {used}."
    proof = f" ({seen.guest.proof})" if seen.guest.proof else ""
    yield f"{_RUNNING[seen.guest.running]}{proof}."
    if tree.head is None:
        yield "The link points at no branch of it."
    else:
        stands = "no checkpoint" if tree.position is None else str(tree.position)
        unsaved = bytes_text(tree.head.unsaved)
        yield f"It is on the branch {tree.head.facts.name.leaf} and stands on {stands}, with {unsaved} unsaved."
    yield from _came_there(known, tree)
    journal = seen.journal
    if not journal.confirmed:
        yield "Nobody has confirmed this tree: nothing is restored or removed."
    if journal.current is not None:
        yield f"The last 'current' that was carried out is {journal.current}."
    if tree.foreign:
        foreign = count_text(len(tree.foreign), "snapshot or dataset", "snapshots and datasets")
        yield f"Not ckptree's, and never touched: {foreign}."
    for fault in tree.faults:
        yield f"{fault.subject}: {fault.message}."


def _came_there(known: Known, tree: Tree) -> Iterator[str]:
    """Tell what brought the guest to its position: the last event that did."""
    brings = {Happened.RESTORED, Happened.CAPTURED, Happened.RETURNED, Happened.ADOPTED}
    for event in reversed(known.events):
        if event.what in brings and tree.position in event.nodes:
            when = "" if event.at is None else f" at {time_text(event.at)}"
            by = f", asked for by {event.by}" if event.by else ""
            yield f"It came there{when}: {event.message}{by}."
            return
