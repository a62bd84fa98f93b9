"""What still lives on a doomed node: the question that decides whether and how it can be destroyed.

A *line* is something alive that descends from a node: the rest of its own branch, a branch cloned from it, or a
foreign clone. Alive is the head, a node that stays, anything foreign, what somebody has mounted, and a tip whose
unsaved state nobody gave up.
``destroy`` acts on the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.model.observed import DatasetFacts, SnapshotFacts
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.model.tree import Branch, Node, Tree
from reconciler.names import Dataset, NodeName


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

    def of(self, node: Node) -> frozenset[Line]:
        """The lines that descend from NODE."""
        return self._of(node, frozenset())

    def alive(self, branch: Branch) -> bool:
        """Whether anything in BRANCH, or hanging on it, is alive."""
        return self._alive(branch, None, frozenset())

    def removable(self, node: Node) -> bool:
        """Whether NODE can be destroyed without taking anything alive along."""
        lines = self.of(node)
        if len(lines) > 1:
            return False
        return all(not line.clone or (line.ours and self.can_promote(node)) for line in lines)

    def can_promote(self, node: Node) -> bool:
        """Whether a clone of NODE may be promoted: that would move foreign snapshots as old as it, too."""
        return not self.foreign_in_the_way(node)

    def foreign_in_the_way(self, node: Node) -> tuple[SnapshotFacts, ...]:
        """The foreign snapshots that a promote of a clone of NODE would move."""
        return tuple(
            facts
            for facts in self._tree_branch(node).foreign_snapshots
            if facts.createtxg <= node.snapshot.createtxg
        )

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

    def _of(self, node: Node, visiting: frozenset[Dataset]) -> frozenset[Line]:
        own = self._tree_branch(node)
        lines = set()
        if self._alive(own, node, visiting):
            lines.add(Line(own.facts.name, clone=False, ours=True))
        for facts in node.all_snapshots:
            for clone in facts.clones:
                unit = self._unit.get(clone)
                if unit is None:
                    lines.add(Line(clone, clone=True, ours=False))
                elif unit is not own and self._alive(unit, None, visiting):
                    lines.add(Line(unit.facts.name, clone=True, ours=True))
        return frozenset(lines)

    def _alive(self, branch: Branch, after: Node | None, visiting: frozenset[Dataset]) -> bool:
        """Whether BRANCH has anything alive, later than the node AFTER if that is given."""
        name = branch.facts.name
        if self._tree.head is None or name == self._tree.head.facts.name:
            return True
        if branch.foreign_datasets or branch.facts.mounted or not self._given_up(branch):
            return True
        since = after.snapshot.createtxg if after is not None else -1
        if any(facts.createtxg > since for facts in branch.foreign_snapshots):
            return True
        if name in visiting and after is None:
            return False
        inside = visiting | {name}
        for other in (self._tree.nodes[node] for node in branch.nodes):
            if other.snapshot.createtxg <= since:
                continue
            if other.name not in self._doomed:
                return True
            if any(line.dataset != name for line in self._of(other, inside)):
                return True
        return False
