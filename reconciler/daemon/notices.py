"""Decide what is told to people: one notice for each change, nothing twice, and no stream of a VM that flaps.

Pure: from one report to the next, in time. Neighbours: ``notify`` delivers what comes out of here; what happened step
by step is in the journals (``render.events``), not here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from reconciler.model.properties import encode_time
from reconciler.names import VmName
from reconciler.plan.document import Json
from reconciler.render.host_view import HostReport, VmReport
from reconciler.render.status_view import State
from reconciler.render.tree_nodes import Phase
from reconciler.render.units import count_text

_MANY = 12
"""More changes of one kind of a VM within _AWHILE, and it flaps: told once, and again when it has been steady."""
_AWHILE = timedelta(minutes=10)
_SHOWN = 10  # names in a sentence


class Weight(Enum):
    """How much a notice matters, in the words of syslog(3)."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "err"


class Kind(Enum):
    """What a notice is about."""

    STATE = "state"
    FLAPPING = "flapping"
    TAKEN = "taken"
    RESTORED = "restored"
    RETIRED = "retired"
    REVIVED = "revived"
    DESTROYED = "destroyed"
    FAILED = "failed"
    RECOVERED = "recovered"
    RELEASED = "released"
    FAULTY = "faulty"
    HEALED = "healed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that people are told, about a VM or (none) the host. REASON is one of those that status has."""

    at: datetime
    host: str
    kind: Kind
    weight: Weight
    message: str
    vm: VmName | None = None
    state: str = ""
    reason: str = ""
    nodes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Write it as one line: what it is about first."""
        return f"{self.vm}: {self.message}" if self.vm is not None else self.message

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the keys stay as they are once released."""
        return {
            "version": 1,
            "at": encode_time(self.at),
            "host": self.host,
            "event": self.kind.value,
            "severity": self.weight.value,
            "vm": None if self.vm is None else str(self.vm),
            "state": self.state,
            "reason": self.reason,
            "nodes": list(self.nodes),
            "message": self.message,
        }


@dataclass(slots=True)
class _Track:
    """Something that goes from one value to another: the one TOLD last, the one SEEN last, and when it changed."""

    told: object
    seen: object
    changes: list[datetime] = field(default_factory=list)
    flapping: bool = False


class Notices:
    """What was told so far, of a host with the name HOST; give it every report, in order."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._before: Mapping[VmName, VmReport] = {}
        self._faults: Mapping[str, frozenset[str]] = {}
        self._tracks: dict[tuple[VmName, Kind], _Track] = {}

    def decide(self, report: HostReport) -> tuple[Notice, ...]:
        """Tell what is new in REPORT. Of the first one only what is wrong is told."""
        vms = {vm.status.vm: vm for vm in report.vms}
        found = [*self._documents(report)]
        for name, vm in vms.items():
            before = self._before.get(name)
            if before is not None and vm is not before:
                found += self._nodes(before, vm, report.at)
            found += self._failure(name, vm, report.at)
            found += self._state(name, vm, report.at)
        found += self._released(vms, report.at)
        self._before = vms
        return tuple(found)

    def _notice(
        self, at: datetime, kind: Kind, weight: Weight, message: str, **more: object
    ) -> Notice:
        return Notice(
            at=at, host=self._host, kind=kind, weight=weight, message=message, **more  # type: ignore[arg-type]
        )  # fmt: skip

    def _state(self, name: VmName, vm: VmReport, at: datetime) -> Iterator[Notice]:
        status = vm.status
        now = (status.state, status.ready.reason)
        usual = None if status.state is State.STALLED else now
        told = self._step((name, Kind.STATE), now, usual, at)
        more = {"vm": name, "state": status.state.value, "reason": status.ready.reason}
        if told == Kind.FLAPPING:
            message = f"its state changes again and again, now {status.state.value} ({now[1]}); told when it is steady"
            yield self._notice(at, Kind.FLAPPING, Weight.WARNING, message, **more)
        elif told:
            weight = _WEIGHTS[status.state]
            message = f"{status.state.value} ({status.ready.reason}): {status.ready.message}"
            yield self._notice(at, Kind.STATE, weight, message, **more)

    def _failure(self, name: VmName, vm: VmReport, at: datetime) -> Iterator[Notice]:
        error = "" if vm.doing is None else vm.doing.error
        told = self._step((name, Kind.FAILED), error, "", at)
        if told == Kind.FLAPPING:
            message = (
                f"it fails again and again, now: {error}" if error else "it fails now and then"
            )
            yield self._notice(at, Kind.FLAPPING, Weight.ERROR, message, vm=name)
        elif told and error:
            yield self._notice(at, Kind.FAILED, Weight.ERROR, f"failed: {error}", vm=name)
        elif told:
            yield self._notice(at, Kind.RECOVERED, Weight.NOTICE, "it works again", vm=name)

    def _step(
        self, key: tuple[VmName, Kind], now: object, usual: object, at: datetime
    ) -> bool | Kind:
        """Tell whether that KEY is NOW so is to be told, or that it flaps; at first what is USUAL is not."""
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = _Track(told=usual, seen=usual)
        if now != track.seen:
            track.changes.append(at)
            track.seen = now
        track.changes = [moment for moment in track.changes if abs(at - moment) < _AWHILE]
        if track.flapping:
            if track.changes:
                return False
            track.flapping = False
        if now == track.told:
            return False
        if len(track.changes) > _MANY:
            track.flapping, track.told = True, None
            return Kind.FLAPPING
        track.told = now
        return True

    def _nodes(self, before: VmReport, vm: VmReport, at: datetime) -> Iterator[Notice]:
        name = vm.status.vm
        if vm.tree.gaps or before.tree.gaps or not vm.tree.exists:
            return  # what cannot be read is not gone
        old, new = _by_guid(before), _by_guid(vm)
        retired = [node for guid, (node, gone) in new.items() if gone and not _gone(old, guid)]
        back = [node for guid, (node, gone) in new.items() if not gone and _gone(old, guid)]
        lost = [node for guid, (node, _) in old.items() if guid not in new]
        for kind, nodes, done in (
            (Kind.TAKEN, [new[guid][0] for guid in new if guid not in old], "taken"),
            (Kind.RETIRED, retired, "retired; they come back if the document has them again"),
            (Kind.REVIVED, back, "brought back, the very same"),
            (Kind.DESTROYED, lost, "destroyed"),
        ):
            if nodes:
                noun = "checkpoint" if len(nodes) == 1 else "checkpoints"
                said = done.replace("they come", "it comes").replace("has them", "has it")
                message = f"{noun} {_listed(nodes)} {said if len(nodes) == 1 else done}"
                yield self._notice(at, kind, Weight.NOTICE, message, vm=name, nodes=tuple(nodes))
        heads = (before.tree.head, vm.tree.head)
        if None not in heads and heads[0] != heads[1]:
            position = vm.tree.position
            message = f"the guest was brought to {position or 'no checkpoint'}, on {heads[1]}"
            nodes = [] if position is None else [str(position)]
            yield self._notice(
                at, Kind.RESTORED, Weight.NOTICE, message, vm=name, nodes=tuple(nodes)
            )

    def _released(self, vms: Mapping[VmName, VmReport], at: datetime) -> Iterator[Notice]:
        for name in self._before:
            if name not in vms:
                for key in [key for key in self._tracks if key[0] == name]:
                    del self._tracks[key]
                message = (
                    "no document describes it any more; its checkpoints stay, nothing is done to it"
                )
                yield self._notice(at, Kind.RELEASED, Weight.WARNING, message, vm=name)

    def _documents(self, report: HostReport) -> Iterator[Notice]:
        """Tell of faults by what they are in: an edit that moves a fault to another line heals nothing."""
        problem = () if report.daemon is None else (report.daemon.source.problem,)
        faults = _by_place((*report.faults, *filter(None, problem)))
        for place, texts in faults.items():
            if texts != self._faults.get(place):
                first, *rest = sorted(texts)
                more = (
                    f" (and {count_text(len(rest), 'more fault', 'more faults')})" if rest else ""
                )
                yield self._notice(report.at, Kind.FAULTY, Weight.ERROR, f"{first}{more}")
        for place, texts in self._faults.items():
            if place not in faults:
                first = min(texts)
                message = f"no longer: {first}"
                yield self._notice(report.at, Kind.HEALED, Weight.NOTICE, message)
        self._faults = faults


_WEIGHTS = {
    State.READY: Weight.NOTICE,
    State.RECONCILING: Weight.INFO,
    State.STALLED: Weight.WARNING,
    State.SUSPENDED: Weight.NOTICE,
    State.ELSEWHERE: Weight.NOTICE,
}


def _by_guid(vm: VmReport) -> dict[int, tuple[str, bool]]:
    """The checkpoints that exist by guid: their names, and whether they are retired."""
    return {
        node.guid: (str(node.name), node.phase is Phase.RETIRED)
        for node in vm.tree.nodes
        if node.guid is not None
    }


def _gone(nodes: Mapping[int, tuple[str, bool]], guid: int) -> bool:
    return guid in nodes and nodes[guid][1]


def _by_place(faults: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for fault in faults:
        found.setdefault(fault.partition(":")[0], set()).add(fault)
    return {place: frozenset(texts) for place, texts in found.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
