"""The file of one VM in an operator's hands: every edit of the desired tree, always a valid file."""

from dataclasses import replace
from hashlib import sha256

from reconciler.model.desired import (
    DesiredNode,
    DesiredVm,
    Hooks,
    Prune,
    RestorePolicy,
    Schedule,
    VolumeDisk,
)
from reconciler.names import NodeName
from tests.support.world import HERE, HOME, VM


class Operator:
    """The file. Every deed leaves it valid, or does nothing."""

    def __init__(self, volumes: tuple[VolumeDisk, ...] = ()) -> None:
        self.volumes = volumes
        self.nodes: dict[NodeName, DesiredNode] = {}
        self.current: NodeName | None = None
        self.prune = Prune()
        self.restore = RestorePolicy()
        self.suspend = False
        self.schedule: Schedule | None = None
        self.hooks = Hooks()

    @property
    def names(self) -> list[NodeName]:
        """The nodes of the file in its order."""
        return list(self.nodes)

    def file(self) -> DesiredVm:
        """Write the file."""
        ordered: list[DesiredNode] = []
        self._below(None, ordered)
        vm = DesiredVm(
            vm=VM, dataset=HOME, disks=self.volumes, nodes=tuple(ordered), position=HERE, digest="",
            current=self.current, prune=self.prune, restore=self.restore, suspend=self.suspend,
            schedule=self.schedule,
            hooks=self.hooks,
        )  # fmt: skip
        return replace(vm, digest=sha256(repr(vm).encode()).hexdigest())

    def add(self, name: str, parent: NodeName | None, **fields: object) -> None:
        """Add a node."""
        node = NodeName(name)
        if node in self.nodes or (parent is not None and parent not in self.nodes):
            return
        if parent is None:
            fields.pop("fork", None)
        if any(other.adopt == fields.get("adopt") is not None for other in self.nodes.values()):
            return
        if any(other.was == node for other in self.nodes.values()):
            return
        made = DesiredNode(name=node, parent=parent, position=HERE)
        self.nodes[node] = replace(made, **fields)  # type: ignore[arg-type]

    def subtree(self, name: NodeName) -> list[NodeName]:
        """NAME and all below it."""
        found = [name]
        for other in self.file().nodes:
            if other.parent in found:
                found.append(other.name)
        return found

    def remove(self, name: NodeName, *, keep_children: bool) -> None:
        """Remove a node, with all below it or with its children one level higher."""
        if keep_children:
            parent = self.nodes[name].parent
            self._reparent(name, parent)
            self._drop([name])
        else:
            self._drop(self.subtree(name))

    def rename(self, old: NodeName, new: str, *, say_so: bool) -> None:
        """Give a node another name, with ``was`` or without."""
        name = NodeName(new)
        if name in self.nodes or any(other.was in {old, name} for other in self.nodes.values()):
            return
        node = self.nodes[old]
        changed = replace(node, name=name, was=old if say_so else None)
        self.nodes = {
            name if key == old else key: changed if key == old else value
            for key, value in self.nodes.items()
        }
        self._reparent(old, name)
        if self.current == old:
            self.current = name

    def move(self, name: NodeName, parent: NodeName | None) -> None:
        """Write a node below another one."""
        if parent is None or (parent in self.nodes and parent not in self.subtree(name)):
            fork = self.nodes[name].fork and parent is not None
            self.nodes[name] = replace(self.nodes[name], parent=parent, fork=fork)

    def change(self, name: NodeName, **fields: object) -> None:
        """Change other fields of a node."""
        if self.nodes[name].parent is None:
            fields.pop("fork", None)
        self.nodes[name] = replace(self.nodes[name], **fields)  # type: ignore[arg-type]

    def clear(self) -> None:
        """Write ``checkpoints: {}``."""
        self._drop(self.names)

    def _reparent(self, old: NodeName, new: NodeName | None) -> None:
        for key, node in self.nodes.items():
            if node.parent == old:
                self.nodes[key] = replace(node, parent=new, fork=node.fork and new is not None)

    def _drop(self, names: list[NodeName]) -> None:
        for name in names:
            del self.nodes[name]
        if self.current in names:
            self.current = None

    def _below(self, parent: NodeName | None, ordered: list[DesiredNode]) -> None:
        for node in self.nodes.values():
            if node.parent == parent:
                ordered.append(node)
                self._below(node.name, ordered)
