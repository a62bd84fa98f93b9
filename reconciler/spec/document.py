"""One document as far as it could be read: the typed values with their places.

Between reading (``vm``, ``nodes``) and judging (``checks``, ``across``); nobody outside ``spec``
sees it. A value that could not be read is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.model.desired import (
    DesiredNode,
    Disk,
    Hooks,
    Hypervisor,
    Prune,
    RestorePolicy,
    Schedule,
    SourcePosition,
)
from reconciler.model.windows import Windows
from reconciler.names import Dataset, NodeName, VmName

_Value_co = TypeVar("_Value_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Placed(Generic[_Value_co]):
    """A value and where it was written."""

    value: _Value_co
    position: SourcePosition


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node, and where the values of its keys stand."""

    node: DesiredNode
    keys: Mapping[str, SourcePosition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All of one document."""

    file: str
    vm: Placed[VmName] | None
    dataset: Placed[Dataset] | None
    disks: tuple[Placed[Disk], ...]
    nodes: tuple[PlacedNode, ...]
    current: Placed[NodeName] | None
    hypervisor: Hypervisor
    prune: Prune
    restore: RestorePolicy
    hooks: Hooks
    schedule: Schedule | None
    windows: Windows
    host: str | None
    suspend: bool
