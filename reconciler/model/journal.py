"""The records of a home's journal, and the facts that a plan needs from them.

The journal answers only what ZFS cannot: was this name ever realised, which ``current`` was last applied, how was
a branch left. Losing it loses no checkpoint. The journal's driver writes the records; nothing here reads a file.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import assert_never

from reconciler.errors import CkptreeError
from reconciler.model.properties import decode_time
from reconciler.names import NodeName

DESTROY, CLONE = "Destroy", "CloneDataset"
TAKE_FROZEN, TAKE_AND_END, STOP, START = "TakeFrozen", "TakeAndEnd", "StopGuest", "StartGuest"
"""How Intended names these steps."""
REVIVE = "Revive"
"""How Intended names this action."""


class Left(Enum):
    """How a branch was left at a restore."""

    CLEAN = "clean"
    SAVED = "saved"
    DISCARDED = "discarded"


class Occasion(Enum):
    """What hooks are run around."""

    CHECKPOINT = "checkpoint"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A plan is carried out: BY whom, from which file and REVISION of a repository, and with which digests.

    CAPTURING is the file's ``current`` where the plan reaches it without a restore, AGAIN the file's token then.
    """

    at: str
    by: str
    plan: str
    file: str
    file_digest: str
    capturing: NodeName | None = None
    again: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """The next step is STEP on TARGET.

    The first step of an action tells that ACTION, by the name of its class, the NODES that it is about, and how many
    STEPS it has: for whoever reads what happened.
    """

    at: str
    step: str
    target: str
    action: str = ""
    nodes: list[NodeName] = field(default_factory=list)
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The intended step happened. With it a guest went on that had stood still for PAUSE seconds."""

    at: str
    pause: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The intended step did not happen."""

    at: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """The link is about to be switched to the branch with GUID, to restore NODE."""

    at: str
    guid: int
    node: NodeName | None
    again: str | None
    before: int | None
    left: Left | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The link was switched as the last Switching says."""

    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """These nodes were seen to exist, by guid."""

    at: str
    nodes: dict[NodeName, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A plan was carried out whole; CURRENT and AGAIN of its file count as done, the guest stands on POSITION.

    HEAD is the guid of the branch that the link points at. What was discarded is gone, but for what the branches with
    the guids in DISCARDED still have: what another dormant branch has from now on is somebody else's.
    """

    at: str
    file_digest: str
    current: NodeName | None
    again: str | None
    position: NodeName | None
    head: int | None
    revision: str | None = None
    discarded: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A person (or the making of the home) says that this tree may be restored and retired."""

    at: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A person allows the removal of the nodes with GUIDS, shown under DIGEST."""

    at: str
    by: str
    digest: str
    guids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A person says that NODE counts as never taken."""

    at: str
    by: str
    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Wished:
    """A person says that NODE, which waits for that, is to be taken."""

    at: str
    by: str
    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwished:
    """NODE, which a person wanted taken, was not, and the person knows: it is not taken at another moment instead."""

    at: str
    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """A person says that the home belongs to this host and no longer to the host with the id BEFORE."""

    at: str
    by: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSeen:
    """The guest was seen RUNNING, or a person BY stopped it for good: ckptree does not owe it a start any more."""

    at: str
    running: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp:
    """The restore of NODE, asked for with the token AGAIN, failed and was taken back; it is not tried again so."""

    at: str
    node: NodeName
    again: str | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksBegun:
    """The hook before OCCASION (of NODES, on the branch at BRANCH) may run from now on: the one after it is owed.

    AFTER is the argument list of that one (empty where there is none), TIMEOUT its seconds: a document that changes
    meanwhile must not leave a guest at rest.
    """

    at: str
    occasion: Occasion
    nodes: list[NodeName]
    branch: str
    after: list[str]
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailed:
    """The hook named HOOK failed."""

    at: str
    hook: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksEnded:
    """The hook after OCCASION has run, whatever came of it; it is not owed any more."""

    at: str
    occasion: Occasion


JournalRecord = (
    Begun
    | Intended
    | Done
    | Failed
    | Switching
    | Switched
    | Realised
    | Applied
    | Confirmed
    | Approved
    | Forgotten
    | Wished
    | Unwished
    | TakenOver
    | GuestSeen
    | GaveUp
    | HooksBegun
    | HookFailed
    | HooksEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a restored guest comes from until it has been seen running: the branch with GUID, and what counted then."""

    guid: int
    node: NodeName
    again: str | None
    current_before: NodeName | None
    again_before: str | None
    position_before: NodeName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFacts:
    """The journal's answers.

    ``exists`` is false where there is no journal; ``confirmed`` once a person (or ``init``) has said that the tree
    is ckptree's to restore and retire. ``realised`` maps every node name that was once real to its guid, ``seen`` to
    when that was first seen. ``wished`` are the nodes that a person wants taken and that were not seen since.
    ``current`` and ``again`` are the last applied ones; ``position`` the last recorded one. ``head`` is the guid
    of the branch that the link was last switched to; ``switching`` is a switch that was begun and has no outcome.
    ``capturing`` is the ``current`` that a plan which was not finished was to take, with ``again``.
    ``destroying`` are the targets of destroys that were begun, as their Intended names them: what is left of those
    datasets after a power cut is given up. ``left`` tells by guid how branches were left. ``approved`` are the guids
    of nodes whose removal a person allowed. ``intended`` is the step that was last begun. ``stopped`` tells that
    ckptree began to take the guest down and has not seen it running since: it owes it a start. ``gave_up`` is the
    ``current`` whose restore failed, with ``again``, and why. ``origin`` is where the guest ran before the link was
    switched for a restore that took it down, as long as it has not been seen running since. ``hooks`` tells that a hook
    was begun whose other half has not run yet. ``pause`` is how many seconds the guest stood still for the last
    checkpoint or restore.
    """

    exists: bool = False
    confirmed: bool = False
    realised: dict[NodeName, int] = field(default_factory=dict)
    seen: dict[NodeName, datetime] = field(default_factory=dict)
    wished: frozenset[NodeName] = frozenset()
    current: NodeName | None = None
    again: str | None = None
    position: NodeName | None = None
    head: int | None = None
    switching: Switching | None = None
    capturing: tuple[NodeName, str | None] | None = None
    destroying: tuple[str, ...] = ()
    left: dict[int, Left] = field(default_factory=dict)
    approved: frozenset[int] = frozenset()
    intended: str = ""
    stopped: bool = False
    gave_up: tuple[NodeName, str | None, str] | None = None
    origin: Origin | None = None
    hooks: HooksBegun | None = None
    pause: float | None = None


def facts_of(
    records: Iterable[JournalRecord] | None, earlier: JournalFacts | None = None
) -> JournalFacts:
    """Boil RECORDS down, in their order, with what EARLIER ones came to; none is a journal that does not exist."""
    if records is None:
        return JournalFacts()
    facts = earlier or JournalFacts(exists=True)
    for record in records:
        facts = _with(facts, record)
    return facts


def complete_switch(facts: JournalFacts) -> JournalFacts:
    """Count the unfinished switch as done: for a link that shows that it happened."""
    switch = facts.switching
    if switch is None:
        return facts
    left = dict(facts.left)
    left.pop(switch.guid, None)
    if switch.before is not None and switch.left is not None:
        left[switch.before] = switch.left
    facts = replace(facts, head=switch.guid, switching=None, left=left)
    origin = facts.origin
    if switch.node is not None:
        came_from = None
        if switch.before is not None and facts.stopped:
            came_from = Origin(
                guid=switch.before,
                node=switch.node,
                again=switch.again,
                current_before=facts.current,
                again_before=facts.again,
                position_before=facts.position,
            )
        return replace(
            facts,
            current=switch.node,
            again=switch.again,
            position=switch.node,
            gave_up=None,
            origin=came_from,
        )
    if origin is not None and origin.guid == switch.guid:  # the way back: as if it had not been
        return replace(
            facts,
            current=origin.current_before,
            again=origin.again_before,
            position=origin.position_before,
            origin=None,
        )
    return facts


def names_dataset(targets: str, name: str) -> bool:
    """Whether TARGETS of an Intended, which are names with blanks between them, have NAME among them."""
    return f" {name} " in f" {targets} "


def _with(facts: JournalFacts, record: JournalRecord) -> JournalFacts:  # noqa: C901 - one case a record
    match record:
        case Begun(capturing=node) if node is not None:
            return replace(facts, capturing=(node, record.again))
        case Begun() | TakenOver() | HookFailed():
            return facts
        case HooksBegun(after=after):
            return replace(facts, hooks=record if after else None)
        case HooksEnded():
            return replace(facts, hooks=None)
        case Done(pause=pause):
            if pause is not None:
                facts = replace(facts, pause=pause)
            return _seen(facts) if facts.intended in {TAKE_FROZEN, START} else facts
        case GuestSeen():
            return _seen(facts)
        case GaveUp(node=node, again=again, error=error):
            return replace(facts, gave_up=(node, again, error))
        case Intended():
            return _with_intent(facts, record)
        case Failed():
            # A refused destroy gives nothing up; only one that was cut short does.
            tried = facts.destroying[:-1] if facts.intended == DESTROY else facts.destroying
            return replace(facts, switching=None, destroying=tried, intended="")
        case Switching():
            return replace(facts, switching=record)
        case Switched():
            return complete_switch(facts)
        case Realised():
            return _with_realised(facts, record)
        case Applied():
            return replace(
                facts,
                current=record.current,
                again=record.again,
                position=record.position,
                head=record.head,
                switching=None,
                capturing=None,
                destroying=(),
                left={
                    guid: left
                    for guid, left in facts.left.items()
                    if left is not Left.DISCARDED or guid in record.discarded
                },
                approved=frozenset(),
            )
        case Confirmed():
            return replace(facts, confirmed=True)
        case Approved(guids=guids):
            return replace(facts, approved=facts.approved | frozenset(guids))
        case Forgotten(node=node):
            realised = {name: guid for name, guid in facts.realised.items() if name != node}
            seen = {name: moment for name, moment in facts.seen.items() if name != node}
            return replace(facts, realised=realised, seen=seen, wished=facts.wished - {node})
        case Wished(node=node):
            return replace(facts, wished=facts.wished | {node})
        case Unwished(node=node):
            return replace(facts, wished=facts.wished - {node})
        case _:
            assert_never(record)


def _with_realised(facts: JournalFacts, record: Realised) -> JournalFacts:
    seen = facts.seen
    with suppress(CkptreeError):  # a time that nobody can read dates nothing
        seen = {**seen, **dict.fromkeys(record.nodes, decode_time(record.at))}
    return replace(
        facts,
        realised={**facts.realised, **record.nodes},
        seen=seen,
        wished=facts.wished - frozenset(record.nodes),
    )


def _seen(facts: JournalFacts) -> JournalFacts:
    return replace(facts, stopped=False, origin=None)


def _with_intent(facts: JournalFacts, intent: Intended) -> JournalFacts:
    takes_down = intent.step in {TAKE_FROZEN, TAKE_AND_END, STOP}
    facts = replace(facts, intended=intent.step, stopped=facts.stopped or takes_down)
    if intent.action == REVIVE:  # what a person allowed was to remove it as it was then
        facts = replace(facts, approved=frozenset())
    if intent.step == DESTROY:
        return replace(facts, destroying=(*facts.destroying, intent.target))
    if intent.step == CLONE and facts.destroying:  # a name that is given anew
        kept = tuple(text for text in facts.destroying if not names_dataset(text, intent.target))
        return replace(facts, destroying=kept)
    return facts
