"""The automatic node that keeps what the guest has and no checkpoint has, before the guest is taken away from it.

``restore`` takes it with the restore, ``owed`` where a restore was interrupted. When it is taken is theirs.
"""

from datetime import timedelta

from reconciler.model import properties
from reconciler.model.actions import NewNode
from reconciler.model.properties import Grade
from reconciler.model.tree import Branch
from reconciler.names import AUTOMATIC_PREFIX, NodeName
from reconciler.plan.draft import Draft
from reconciler.plan.guest import memory_file, memory_properties, why_not_kept

AUTOMATIC_LIFE_HOURS = 72
_LONGEST_NODE = 63


def node_that_saves(draft: Draft, head: Branch, target: NodeName) -> tuple[NewNode, str | None]:
    """Name the node that keeps the state of HEAD before TARGET is restored, and the file of its RAM if any."""
    stamp = draft.now.strftime("%Y%m%dT%H%M%SZ")
    text = f"{AUTOMATIC_PREFIX}{stamp}-before-{target}"[:_LONGEST_NODE]
    suffix = 2
    while text in draft.tree.nodes:
        text = f"{AUTOMATIC_PREFIX}{stamp}-{suffix}-before-{target}"[:_LONGEST_NODE]
        suffix += 1
    name = NodeName(text)
    expires = draft.now + timedelta(hours=AUTOMATIC_LIFE_HOURS)
    memory = None if why_not_kept(draft, name) else memory_file(name)
    grade = Grade.CLEAN if memory is None else Grade.MEMORY
    node = NewNode(
        name=name,
        parent=draft.tree.position,
        snapshots=draft.set_of(head.facts.name, draft.free_short_name(name)),
        properties=(
            (properties.VM, str(draft.desired.vm)),
            (properties.NODE, str(name)),
            (properties.GRADE, grade.value),
            (properties.TAKEN, properties.encode_time(draft.now)),
            (properties.EXPIRES, properties.encode_time(expires)),
            (properties.ABOUT, f"saved before the restore of {target}"),
            *(() if memory is None else memory_properties(draft, memory)),
        ),
    )
    return node, memory
