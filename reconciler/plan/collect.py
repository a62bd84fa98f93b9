"""Free what no node needs: dormant branches without a node, and states that were discarded at a restore."""

from reconciler.model.actions import Collect
from reconciler.model.journal import Left
from reconciler.model.plan import Reason
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.model.tree import Branch
from reconciler.plan.destroy import tip_is_given_up
from reconciler.plan.draft import Draft
from reconciler.plan.permission import may_destroy


def collect_garbage(draft: Draft) -> None:
    """Destroy empty dormant branches and roll discarded tips back."""
    if draft.tree.head is None or draft.link_stays_moved or not draft.confirmed:
        return
    for branch in draft.tree.branches:
        here = branch.facts.name == draft.tree.head.facts.name
        if here or branch.facts.mounted or branch.foreign_datasets:
            continue
        if not branch.nodes and not branch.foreign_snapshots:
            _collect(draft, branch)
        elif branch.nodes and branch.unsaved and draft.how_left(branch) is Left.DISCARDED:
            _roll_back(draft, branch)


def _collect(draft: Draft, branch: Branch) -> None:
    ref = draft.dataset_ref(branch.facts)
    if tip_is_given_up(draft, branch):
        if not may_destroy(draft, f"the empty branch {ref.name} stays"):
            return
        targets: list[Ref] = [draft.dataset_ref(facts) for facts in reversed(branch.datasets)]
        draft.add(
            Collect(
                branch=ref,
                targets=tuple(targets),
                frees=branch.facts.used,
                saved=not branch.unsaved,
            )
        )
        return
    draft.wait(
        Reason.UNSAVED_TIP,
        f"{ref.name} has no checkpoint, and {branch.unsaved} bytes that no checkpoint has; it is kept",
        resolve="take a snapshot of it and adopt that, or write 'restore: {unsaved: discard}' to give it up",
    )


def _roll_back(draft: Draft, branch: Branch) -> None:
    last = draft.tree.nodes[branch.nodes[-1]]
    rollbacks: list[tuple[DatasetRef, SnapshotRef]] = []
    freed = 0
    for facts in branch.datasets:
        own = [other for other in draft.reading.snapshots if other.name.dataset == facts.name]
        newest = max(own, key=lambda other: other.createtxg, default=None)
        if newest is None or newest.name not in {other.name for other in last.all_snapshots}:
            return  # something foreign is newer: a rollback would lose it
        if facts.written:
            rollbacks.append((draft.dataset_ref(facts), draft.snapshot_ref(newest)))
            freed += facts.written
    ref = draft.dataset_ref(branch.facts)
    if not may_destroy(draft, f"the discarded state of {ref.name} stays"):
        return
    draft.add(Collect(branch=ref, rollbacks=tuple(rollbacks), frees=freed))
