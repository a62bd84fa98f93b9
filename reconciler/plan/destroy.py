"""Destroy doomed nodes, whole subtrees in one action, and say of the others what pins them.

With one line left that lives on a clone, the clone is promoted first, so that what stays no longer hangs on what
goes. With several lines a node stays until one of them is gone. A branch without anything alive goes whole.
"""

from reconciler.model import properties
from reconciler.model.actions import DestroyNodes, DoomedNode
from reconciler.model.desired import Unsaved
from reconciler.model.journal import Left, names_dataset
from reconciler.model.observed import DatasetFacts
from reconciler.model.plan import Reason
from reconciler.model.steps import DatasetRef, Promote
from reconciler.model.tree import Branch
from reconciler.names import NodeName
from reconciler.plan.draft import Draft
from reconciler.plan.lines import Line, Lines


def destroy_doomed(draft: Draft, doomed: frozenset[NodeName]) -> None:
    """Destroy those of DOOMED that can go; say what pins the others."""
    if draft.tree.head is None or draft.link_stays_moved:
        return
    left = doomed - _held_by_others(draft, doomed)
    progress = True
    while progress:
        progress = False
        for root in _roots(draft, left):
            gone = _destroy_cluster(draft, root, left)
            left -= gone
            progress = progress or bool(gone)
    for name in sorted(left):
        _report_pinned(draft, name, left)


def _held_by_others(draft: Draft, doomed: frozenset[NodeName]) -> frozenset[NodeName]:
    """Say which of DOOMED somebody else holds: they stay, and all that they hang on with them."""
    held = set()
    for name in sorted(doomed):
        tags = {
            f"{tag} on {facts.name}"
            for facts in draft.tree.nodes[name].all_snapshots
            for tag in facts.holds - {properties.HOLD}
        }
        if tags:
            held.add(name)
            draft.wait(
                Reason.FOREIGN_HOLD,
                f"{_stays(name)}: somebody else holds it ({', '.join(sorted(tags))})",
                node=name,
                resolve="let whoever placed the hold release it ('zfs release TAG SNAPSHOT')",
            )
    return frozenset(held)


def tip_is_given_up(draft: Draft, branch: Branch) -> bool:
    """Whether nothing is lost with the state of a dormant BRANCH that no snapshot has.

    A branch that was left saved and has such a state all the same was written to by somebody since.
    """
    if not branch.unsaved or draft.desired.restore.unsaved is Unsaved.DISCARD:
        return True
    begun = any(names_dataset(text, branch.facts.name) for text in draft.journal.destroying)
    return begun or draft.how_left(branch) is Left.DISCARDED


def _lines(draft: Draft, doomed: frozenset[NodeName]) -> Lines:
    return Lines(draft.tree, doomed, lambda branch: tip_is_given_up(draft, branch))


def _roots(draft: Draft, doomed: frozenset[NodeName]) -> list[NodeName]:
    return [
        node.name
        for node in draft.tree.nodes.values()
        if node.name in doomed and node.parent not in doomed
    ]


def _destroy_cluster(
    draft: Draft, root: NodeName, doomed: frozenset[NodeName]
) -> frozenset[NodeName]:
    """Destroy what can go of the doomed nodes that hang together from ROOT on, in one action."""
    lines = _lines(draft, doomed)
    cluster: set[NodeName] = set()
    for node in draft.tree.descendants(root):
        if node.name == root or (node.parent in cluster and node.name in doomed):
            cluster.add(node.name)
    stands_on = draft.tree.position if draft.file.nodes else None
    removed = frozenset(
        name for name in cluster if name != stands_on and lines.removable(draft.tree.nodes[name])
    )
    if not removed:
        return removed
    nodes = tuple(
        DoomedNode(name=node.name, guid=node.guid)
        for node in draft.tree.nodes.values()
        if node.name in removed
    )
    trial = draft.trial()
    promoted: list[DatasetRef] = []
    while clones := _next_promotion(trial, doomed, removed):
        promoted += (draft.dataset_ref(clone) for clone in clones)
        trial.host.perform(Promote(tuple(draft.dataset_ref(clone) for clone in clones)))
        trial.forget_tree()
    targets, frees = _lines(trial, doomed).targets(removed)
    draft.add(
        DestroyNodes(
            nodes=nodes,
            promote=tuple(promoted),
            targets=tuple(draft.unguarded_if_new(ref) for ref in targets),
            frees=frees,
        )
    )
    return removed


def _next_promotion(
    trial: Draft, doomed: frozenset[NodeName], removed: frozenset[NodeName]
) -> tuple[DatasetFacts, ...]:
    lines = _lines(trial, doomed)
    found = (lines.clones_to_promote(trial.tree.nodes[name]) for name in sorted(removed))
    return next((clones for clones in found if clones), ())


def _report_pinned(draft: Draft, name: NodeName, doomed: frozenset[NodeName]) -> None:
    if name.automatic and name == draft.tree.position:
        return  # the guest stands on it; it goes when the next one is taken
    node, lines, stays = draft.tree.nodes[name], _lines(draft, doomed), _stays(name)
    found = sorted(lines.of(node), key=lambda line: line.dataset)
    foreign = [line for line in found if not line.ours]
    in_the_way = lines.in_the_way(node)
    if foreign:
        draft.wait(
            Reason.FOREIGN_CLONE,
            f"{stays}: {', '.join(line.dataset for line in foreign)} is a foreign clone of it",
            node=name,
            resolve="destroy the clone, or promote it with 'zfs promote'",
        )
    elif len(found) == 1 and found[0].clone and in_the_way:
        draft.wait(
            Reason.FOREIGN_IN_THE_WAY,
            f"{stays}: its branch could only be kept by moving snapshots to"
            f" {found[0].dataset}, where these stand in the way:"
            f" {', '.join(facts.name for facts in in_the_way)}",
            node=name,
            resolve="destroy, rename or adopt the snapshots named",
        )
    else:
        _report_lines(draft, name, found)


def _stays(name: NodeName) -> str:
    return f"{name} stays" if name.automatic else f"{name} stays retired"


def _report_lines(draft: Draft, name: NodeName, found: list[Line]) -> None:
    unsaved = [
        line.dataset
        for line in found
        if (branch := draft.tree.branch(line.dataset)) is not None
        and branch is not draft.tree.head
        and not tip_is_given_up(draft, branch)
    ]
    if unsaved:
        draft.wait(
            Reason.UNSAVED_TIP,
            f"{_stays(name)}: {', '.join(unsaved)} has changes that no checkpoint has",
            node=name,
            resolve="write 'restore: {unsaved: discard}' to give them up",
        )
        return
    draft.note(
        Reason.PINNED,
        f"{_stays(name)} and its space is not freed while"
        f" {' and '.join(line.dataset for line in found)} descend from it",
        node=name,
    )
