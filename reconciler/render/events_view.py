"""What happened to a VM, from the records of its journal: each event once, when it is through.

A journal has every step with its intent and its outcome; people want to know what came of the actions. Neighbours:
``events_text`` lays events out, ``model.journal`` has the records. Nothing is read here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import assert_never

from reconciler.errors import CkptreeError
from reconciler.model.journal import (
    Applied,
    Approved,
    Begun,
    Confirmed,
    Done,
    Failed,
    Forgotten,
    GaveUp,
    GuestSeen,
    HookFailed,
    HooksBegun,
    HooksEnded,
    Intended,
    JournalRecord,
    Realised,
    Switched,
    Switching,
    TakenOver,
    Unwished,
    Wished,
)
from reconciler.model.properties import decode_time, encode_time
from reconciler.names import NodeName, VmName
from reconciler.plan.document import Json
from reconciler.render.units import count_text


class Happened(Enum):
    """What an event is; the values are what other programs look for."""

    CAPTURED = "captured"
    FORKED = "forked"
    ADOPTED = "adopted"
    CHANGED = "changed"
    RESTORED = "restored"
    RETURNED = "returned"
    STARTED = "started"
    STOPPED = "stopped"
    RELINKED = "relinked"
    RETIRED = "retired"
    REVIVED = "revived"
    DESTROYED = "destroyed"
    COLLECTED = "collected"
    FAILED = "failed"
    HOOK_FAILED = "hook-failed"
    INTERRUPTED = "interrupted"
    SAID = "said"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened AT that moment (none: the record has none), in words; BY is who asked, where known."""

    vm: VmName
    at: datetime | None
    what: Happened
    message: str
    by: str = ""
    nodes: tuple[NodeName, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the keys stay as they are once released."""
        return {
            "at": None if self.at is None else encode_time(self.at),
            "vm": str(self.vm),
            "event": self.what.value,
            "by": self.by,
            "nodes": [str(node) for node in self.nodes],
            "message": self.message,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class _Action:
    """An action at work: its kind, its nodes, and how many of its steps are not done yet."""

    kind: str
    nodes: tuple[NodeName, ...]
    left: int
    begun: str


_DONE = {
    "Capture": (Happened.CAPTURED, "captured {}"),
    "Fork": (Happened.FORKED, "forked {} off its parent"),
    "Adopt": (Happened.ADOPTED, "adopted {}"),
    "Annotate": (Happened.CHANGED, "changed what is written at {}"),
    "Retire": (Happened.RETIRED, "retired {}"),
    "Revive": (Happened.REVIVED, "brought {} back"),
    "DestroyNodes": (Happened.DESTROYED, "destroyed {}"),
    "Collect": (Happened.COLLECTED, "cleared a branch that nothing used"),
    "Relink": (Happened.RELINKED, "put the link right"),
    "Start": (Happened.STARTED, "started the guest"),
    "Return": (Happened.RETURNED, "took the guest back from an interrupted restore of {}"),
}
_DOING = {
    "Capture": "capturing {}",
    "Fork": "forking {}",
    "Adopt": "adopting {}",
    "Annotate": "changing what is written at {}",
    "Restore": "restoring {}",
    "Retire": "retiring {}",
    "Revive": "bringing {} back",
    "DestroyNodes": "destroying {}",
    "Collect": "clearing a branch",
    "Relink": "putting the link right",
    "Start": "starting the guest",
    "Return": "taking the guest back from an interrupted restore of {}",
    "Tidy": "tidying the mounts",
    "Sweep": "sweeping up memory that an interrupted run left",
}


class Story:
    """The events of VM, from records in their order; ``after`` may be called again as the journal grows."""

    def __init__(self, vm: VmName) -> None:
        self.vm = vm
        self._by = ""
        self._position: NodeName | None = None
        self._action: _Action | None = None
        self._step: Intended | None = None
        self._failed = ""

    def after(self, records: Iterable[JournalRecord]) -> tuple[Event, ...]:
        """Tell the events that RECORDS bring about."""
        return tuple(event for record in records for event in self._after(record))

    @property
    def at_work(self) -> tuple[datetime | None, str] | None:
        """Since when and at what a run is that has written no outcome yet: it is at work, or was interrupted."""
        if self._action is not None:
            return _moment(self._action.begun), _words(_DOING, self._action)
        if self._step is not None:
            return _moment(self._step.at), f"at the step {self._step.step}"
        return None

    def _after(self, record: JournalRecord) -> tuple[Event, ...]:  # noqa: C901 - one case a record
        match record:
            case Begun(by=by):
                cut = self._interrupted(record.at)
                self._by = by
                return cut
            case Intended():
                return self._intended(record)
            case Done() | Switched():
                return self._done(record.at)
            case Failed(error=error):
                return self._failure(record.at, error)
            case Applied(position=position):
                self._position = position
                return ()
            case GaveUp(node=node, error=error):
                if error == self._failed:
                    message = f"gave the restore of {node} up: the guest is where it was"
                    return (self._event(record.at, Happened.RETURNED, message, nodes=(node,)),)
                message = f"gave the restore of {node} up: {error}"
                event = self._event(record.at, Happened.FAILED, message, nodes=(node,))
                return (replace(event, error=error),)
            case HookFailed(hook=hook, error=error):
                message = f"the hook {hook} failed: {error}"
                return (
                    replace(self._event(record.at, Happened.HOOK_FAILED, message), error=error),
                )
            case GuestSeen(running=running, by=by):
                if running:
                    return ()
                return (self._said(record.at, Happened.STOPPED, "stopped the guest", by),)
            case Confirmed(by=by):
                message = "confirmed that this tree may be restored and retired"
                return (self._said(record.at, Happened.SAID, message, by),)
            case Approved(by=by, guids=guids):
                message = f"approved the removal of {count_text(len(guids), 'checkpoint')}"
                return (self._said(record.at, Happened.SAID, message, by),)
            case Forgotten(by=by, node=node):
                message = f"let {node}, which is gone, be taken anew"
                return (self._said(record.at, Happened.SAID, message, by, node),)
            case Wished(by=by, node=node):
                return (self._said(record.at, Happened.SAID, f"asked for {node}", by, node),)
            case TakenOver(by=by, before=before):
                message = f"took the home over from the host {before}"
                return (self._said(record.at, Happened.SAID, message, by),)
            case Switching() | Realised() | Unwished() | HooksBegun() | HooksEnded():
                return ()
            case _:
                assert_never(record)

    def _intended(self, record: Intended) -> tuple[Event, ...]:
        cut: tuple[Event, ...] = ()
        if record.action:
            cut = self._interrupted(record.at)
            nodes = tuple(record.nodes)
            self._action = _Action(record.action, nodes, record.steps, record.at)
        self._step = record
        return cut

    def _done(self, at: str) -> tuple[Event, ...]:
        self._step, action = None, self._action
        if action is None:
            return ()
        if action.left > 1:
            self._action = _Action(action.kind, action.nodes, action.left - 1, action.begun)
            return ()
        self._action = None
        came_from = self._position
        if action.kind == "Restore":
            return (self._restored(at, action, came_from),)
        if action.kind == "Capture" and action.nodes:
            self._position = action.nodes[-1]
        if action.kind not in _DONE:
            return ()
        what, _ = _DONE[action.kind]
        message = _words({kind: text for kind, (_, text) in _DONE.items()}, action)
        event = self._event(at, what, message, nodes=action.nodes)
        # A start by hand is nobody's plan.
        return (replace(event, by="") if action.kind == "Start" else event,)

    def _restored(self, at: str, action: _Action, came_from: NodeName | None) -> Event:
        target, *saved = action.nodes
        self._position = target
        start = f"restored {target}"
        if came_from is not None:
            start = f"restored the guest from {came_from} to {target}"
        kept = f", and kept the state before as {saved[0]}" if saved else ""
        return self._event(at, Happened.RESTORED, start + kept, nodes=action.nodes)

    def _failure(self, at: str, error: str) -> tuple[Event, ...]:
        step, action = self._step, self._action
        self._step = self._action = None
        self._failed = error
        if action is not None:
            doing = _words(_DOING, action)
        elif step is not None:
            doing = f"at the step {step.step}"
        else:
            return ()  # how an interrupted switch of the link came out
        event = self._event(
            at, Happened.FAILED, f"failed {doing}: {error}", nodes=() if action is None else action.nodes
        )  # fmt: skip
        return (replace(event, error=error),)

    def _interrupted(self, at: str) -> tuple[Event, ...]:
        """Something else begins: what was at work before was interrupted."""
        work = self.at_work
        self._action = self._step = None
        if work is None:
            return ()
        since, doing = work
        when = "" if since is None else f", begun {encode_time(since)}"
        message = f"a run was interrupted {doing}{when}; this one goes on"
        return (self._event(at, Happened.INTERRUPTED, message),)

    def _event(
        self, at: str, what: Happened, message: str, *, nodes: tuple[NodeName, ...] = ()
    ) -> Event:
        return Event(
            vm=self.vm, at=_moment(at), what=what, message=message, by=self._by, nodes=nodes
        )

    def _said(
        self, at: str, what: Happened, message: str, by: str, node: NodeName | None = None
    ) -> Event:
        nodes = () if node is None else (node,)
        return Event(vm=self.vm, at=_moment(at), what=what, message=message, by=by, nodes=nodes)


def _words(texts: dict[str, str], action: _Action) -> str:
    nodes = action.nodes if action.kind != "Restore" else action.nodes[:1]
    return texts.get(action.kind, action.kind).format(", ".join(nodes))


def _moment(text: str) -> datetime | None:
    try:
        return decode_time(text)
    except CkptreeError:
        return None
