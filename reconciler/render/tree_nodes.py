"""A VM's tree as it is shown: plain data, and its JSON form, whose keys stay as they are once released.

``tree_view`` makes it, ``tree_text`` draws it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from reconciler.model import properties
from reconciler.model.observed import Running
from reconciler.model.plan import Condition
from reconciler.names import NodeName, VmName
from reconciler.plan.document import Json


class Phase(Enum):
    """What a node is at this moment (design section 5)."""

    PRESENT = "Present"
    PLANNED = "Planned"
    WAITING = "Waiting"
    RETIRED = "Retired"
    LOST = "Lost"
    EXPIRED = "Expired"
    FOREIGN = "Foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node. What only an existing node has (grade, size, branch, guid) is none for another.

    STRAY tells that the file has it not and the plan leaves it. ``coming`` are the plan's actions
    on it, in order; ``goes`` is when it may be destroyed; ``conditions`` are why it waits, or what
    else there is to know of it.
    """

    name: NodeName
    parent: NodeName | None
    phase: Phase
    desired: bool
    stray: bool = False
    here: bool = False
    grade: properties.Grade | None = None
    memory: bool = False
    taken: datetime | None = None
    own_bytes: int | None = None
    branch: str | None = None
    snapshot: str | None = None
    guid: int | None = None
    about: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    protect: bool = False
    group: str | None = None
    expires: datetime | None = None
    retired: datetime | None = None
    goes: datetime | None = None
    coming: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the guid is text, because it may have more than 53 bits."""
        return {
            "name": str(self.name),
            "parent": _text(self.parent),
            "phase": self.phase.value,
            "desired": self.desired,
            "automatic": self.name.automatic,
            "here": self.here,
            "grade": None if self.grade is None else self.grade.value,
            "memory": self.memory,
            "taken": _time(self.taken),
            "own_bytes": self.own_bytes,
            "branch": self.branch,
            "snapshot": self.snapshot,
            "guid": None if self.guid is None else str(self.guid),
            "about": self.about,
            "labels": dict[str, Json](self.labels),
            "protect": self.protect,
            "group": self.group,
            "expires": _time(self.expires),
            "retired": _time(self.retired),
            "goes": _time(self.goes),
            "coming": _texts(self.coming),
            "conditions": [condition_json(condition) for condition in self.conditions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """All there is to show of one VM. ``nodes`` are depth first, parents before their children.

    ``head`` is the branch that the guest is on, ``unsaved`` what was written on it since
    ``position``; ``faults`` and ``gaps`` are what is wrong and what could not be read;
    ``conditions`` are those of the VM as a whole. RELEASED tells that no file describes the VM.
    """

    vm: VmName
    home: str
    exists: bool
    released: bool
    now: datetime
    nodes: tuple[NodeView, ...]
    head: str | None
    position: NodeName | None
    unsaved: int
    guest: Running | None
    used: int | None
    available: int | None
    foreign_snapshots: tuple[str, ...]
    foreign_datasets: tuple[str, ...]
    faults: tuple[str, ...]
    gaps: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()

    def count(self, phase: Phase) -> int:
        """Count the nodes in PHASE; for Foreign, the snapshots and datasets."""
        if phase is Phase.FOREIGN:
            return len(self.foreign_snapshots) + len(self.foreign_datasets)
        return sum(node.phase is phase for node in self.nodes)

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values: sizes in bytes, times in UTC."""
        return {
            "vm": str(self.vm),
            "dataset": self.home,
            "exists": self.exists,
            "released": self.released,
            "now": properties.encode_time(self.now),
            "head": self.head,
            "position": _text(self.position),
            "unsaved_bytes": self.unsaved,
            "guest": None if self.guest is None else self.guest.value,
            "used_bytes": self.used,
            "available_bytes": self.available,
            "nodes": [node.to_json() for node in self.nodes],
            "foreign": {
                "snapshots": _texts(self.foreign_snapshots),
                "datasets": _texts(self.foreign_datasets),
            },
            "faults": _texts(self.faults),
            "unreadable": _texts(self.gaps),
            "conditions": [condition_json(condition) for condition in self.conditions],
        }


def condition_json(condition: Condition) -> dict[str, Json]:
    """Write a condition as JSON values."""
    return {
        "severity": condition.severity.value,
        "reason": condition.reason.value,
        "message": condition.message,
        "node": _text(condition.node),
        "resolve": condition.resolve,
    }


def _text(name: str | None) -> str | None:
    return None if name is None else str(name)


def _texts(items: Iterable[str]) -> list[Json]:
    return [str(item) for item in items]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else properties.encode_time(moment)
