"""What still lives on a doomed node: the question that decides whether and how it can be destroyed.

A *line* is something alive that descends from a node: the rest of its own branch, a branch cloned from it, or a
foreign clone. Alive is the head, a node that stays, anything foreign, what somebody has mounted, and a tip whose
unsaved state nobody gave up.
``destroy`` acts on the answers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.model.observed import DatasetFacts, SnapshotFacts
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.model.tree import Branch, Node, Tree
from reconciler.names import Dataset, NodeName

_ALL_OF_IT = -1  # before every transaction group


@dataclass(frozen=True, slots=True)
class Line:
    """One line, named by its dataset; CLONE tells whether it hangs on the node as a clone, OURS whether as a branch."""

    dataset: Dataset
    clone: bool
    ours: bool


class Lines:
    """The lines of one TREE in which the nodes DOOMED are to go.

    GIVEN_UP tells whether the unsaved state of a dormant branch may be lost.
    """

    def __init__(
        self, tree: Tree, doomed: frozenset[NodeName], given_up: Callable[[Branch], bool]
    ) -> None:
        self._tree = tree
        self._doomed = doomed
        self._given_up = given_up
        self._unit = {facts.name: branch for branch in tree.branches for facts in branch.datasets}
        self._snapshots: dict[Dataset, list[SnapshotFacts]] = {}
        for branch in tree.branches:
            for facts in branch.foreign_snapshots:
                self._snapshots.setdefault(facts.name.dataset, []).append(facts)
        for node in tree.nodes.values():
            for facts in node.all_snapshots:
                self._snapshots.setdefault(facts.name.dataset, []).append(facts)
        self._living = self._find_living()

    def of(self, node: Node) -> frozenset[Line]:
        """The lines that descend from NODE."""
        own = self._tree_branch(node)
        lines = set()
        if self._alive(own, node.snapshot.createtxg):
            lines.add(Line(own.facts.name, clone=False, ours=True))
        for clone, unit in self._clones(node):
            if unit is None:
                lines.add(Line(clone, clone=True, ours=False))
            elif unit.facts.name in self._living:
                lines.add(Line(unit.facts.name, clone=True, ours=True))
        return frozenset(lines)

    def alive(self, branch: Branch) -> bool:
        """Whether anything in BRANCH, or hanging on it, is alive."""
        return branch.facts.name in self._living

    def removable(self, node: Node) -> bool:
        """Whether NODE can be destroyed without taking anything alive along."""
        lines = self.of(node)
        if len(lines) > 1:
            return False
        return all(not line.clone or (line.ours and self.can_promote(node)) for line in lines)

    def can_promote(self, node: Node) -> bool:
        """Whether a clone of NODE may be promoted: that would move every snapshot as old as it, too."""
        return not self.in_the_way(node)

    def in_the_way(self, node: Node) -> tuple[SnapshotFacts, ...]:
        """The foreign snapshots that a promote of a clone of NODE would move, and those of a moved one's name."""
        foreign = [
            facts
            for facts in self._tree_branch(node).foreign_snapshots
            if facts.createtxg <= node.snapshot.createtxg
        ]
        for facts in node.all_snapshots:
            beside = self._snapshots.get(facts.name.dataset, ())
            moved = {other.name.short for other in beside if other.createtxg <= facts.createtxg}
            for clone in facts.clones:
                own = self._snapshots.get(clone, ()) if clone in self._unit else ()
                foreign += [other for other in own if other.name.short in moved]
        return tuple(foreign)

    def clones_to_promote(self, node: Node) -> tuple[DatasetFacts, ...]:
        """The datasets of the one clone that NODE must be moved to before it can be destroyed; none if it need not."""
        clone = next((line for line in self.of(node) if line.clone and line.ours), None)
        if clone is None:
            return ()
        names = {facts.name for facts in node.all_snapshots}
        branch = self._unit[clone.dataset]
        return tuple(facts for facts in reversed(branch.datasets) if facts.origin in names)

    def targets(self, removed: frozenset[NodeName]) -> tuple[tuple[Ref, ...], int]:
        """What goes with the nodes REMOVED, in the order in which it can, and how many bytes that frees at least."""
        order: dict[Ref, int] = {}
        for name in removed:
            self._add_branch_if_dead(self._tree_branch(self._tree.nodes[name]), order)
        for name in removed:
            # The branch's own snapshot goes last: as long as it is there, the node is, and can be destroyed again.
            for facts in reversed(self._tree.nodes[name].all_snapshots):
                self._add_snapshot(facts, order, counted=True)
        return tuple(order), sum(order.values())

    def _add_branch_if_dead(self, branch: Branch, order: dict[Ref, int]) -> None:
        if self.alive(branch) or branch.ref in order:
            return
        for name in branch.nodes:
            for facts in reversed(self._tree.nodes[name].all_snapshots):
                if facts.name.dataset in self._unit and self._unit[facts.name.dataset] is branch:
                    self._add_snapshot(facts, order, counted=False)
        for dataset in reversed(branch.datasets):
            # The filesystem's ``used`` has that of its volumes in it.
            freed = dataset.used if dataset is branch.facts else 0
            order.setdefault(DatasetRef(dataset.name, dataset.guid), freed)

    def _add_snapshot(self, facts: SnapshotFacts, order: dict[Ref, int], *, counted: bool) -> None:
        for clone in facts.clones:
            if clone in self._unit:
                self._add_branch_if_dead(self._unit[clone], order)
        order.setdefault(SnapshotRef(facts.name, facts.guid), facts.used if counted else 0)

    def _tree_branch(self, node: Node) -> Branch:
        return self._unit[node.branch]

    def _clones(self, node: Node) -> Iterator[tuple[Dataset, Branch | None]]:
        """The clones of NODE, each with its branch (none if it is foreign), but those within its own branch."""
        for facts in node.all_snapshots:
            for clone in facts.clones:
                unit = self._unit.get(clone)
                if unit is not self._tree_branch(node):
                    yield clone, unit

    def _find_living(self) -> frozenset[Dataset]:
        """The branches in which, or on which, anything is alive."""
        hang_on: dict[Dataset, set[Dataset]] = {}
        for node in self._tree.nodes.values():
            for _, unit in self._clones(node):
                if unit is not None:
                    hang_on.setdefault(unit.facts.name, set()).add(node.branch)
        living = {b.facts.name for b in self._tree.branches if self._alive_itself(b, _ALL_OF_IT)}
        todo = sorted(living)
        while todo:
            found = hang_on.get(todo.pop(), set()) - living
            living |= found
            todo += sorted(found)
        return frozenset(living)

    def _alive(self, branch: Branch, since: int) -> bool:
        """Whether BRANCH has anything alive that is later than the transaction group SINCE."""
        later = self._later(branch, since)
        clones = (unit for node in later for _, unit in self._clones(node) if unit is not None)
        return self._alive_itself(branch, since) or any(
            unit.facts.name in self._living for unit in clones
        )

    def _alive_itself(self, branch: Branch, since: int) -> bool:
        head = self._tree.head
        if head is not None and branch.facts.name == head.facts.name:
            return True
        if branch.foreign_datasets or branch.facts.mounted or not self._given_up(branch):
            return True
        if any(facts.createtxg > since for facts in branch.foreign_snapshots):
            return True
        return any(
            node.name not in self._doomed or any(unit is None for _, unit in self._clones(node))
            for node in self._later(branch, since)
        )

    def _later(self, branch: Branch, since: int) -> list[Node]:
        nodes = (self._tree.nodes[name] for name in branch.nodes)
        return [node for node in nodes if node.snapshot.createtxg > since]
