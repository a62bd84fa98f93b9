"""Decide what concerns the guest's memory and its being on: what is kept, what can be resumed, what is owed to it.

``additions`` and ``restore`` ask here. A file of RAM is resumed only with the disks of its own snapshot, on a host
that is as it was; every doubt means a start from the disks, which the plan says.
"""

from reconciler.model import properties
from reconciler.model.actions import Start, Sweep
from reconciler.model.desired import DesiredNode, MemoryWish
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.tree import Branch, Node
from reconciler.names import NodeName
from reconciler.plan.draft import Draft


def memory_file(name: NodeName) -> str:
    """Name the file of RAM of node NAME, relative to its branch."""
    return f"{properties.MEMORY_FOLDER}/{name}{properties.MEMORY_SUFFIX}"


def memory_properties(draft: Draft, memory: str) -> tuple[tuple[str, str], ...]:
    """Write the properties of a node whose RAM is at MEMORY."""
    return (
        (properties.MEMORY, memory),
        (properties.FINGERPRINT, draft.observation.ability.fingerprint),
    )


def why_not_kept(draft: Draft, name: NodeName) -> str:
    """Say why the RAM of the guest cannot be kept with node NAME now; empty if it can."""
    guest, ability = draft.guest, draft.observation.ability
    if guest.running is Running.OFF:
        return "" if live_memory(draft) is not None else "the guest is off"
    if not ability.memory:
        return ability.why_not
    if guest.running is Running.UNKNOWN:
        return f"it cannot be told whether the guest runs ({guest.proof})"
    head = draft.tree.head
    mountpoint = None if head is None else head.facts.mountpoint
    resumed = f"{properties.MEMORY_FOLDER}/{properties.RESUMED}"
    path = max((f"{mountpoint}/{file}" for file in (memory_file(name), resumed)), key=len)
    if len(path.encode()) > ability.longest_path:
        return f"{path} would be longer than the {ability.longest_path} bytes that the hypervisor takes"
    return ""


def keeps_memory(draft: Draft, wanted: DesiredNode) -> bool:
    """Whether the new node WANTED is taken with the guest's RAM; says so where it is not and might have been."""
    if wanted.memory is MemoryWish.NEVER:
        return False
    why = why_not_kept(draft, wanted.name)
    if why and draft.observation.ability.managed and draft.guest.running is not Running.OFF:
        draft.note(
            Reason.MEMORY_NOT_KEPT,
            f"{wanted.name} is taken without the guest's memory: {why}",
            node=wanted.name,
            resolve="write 'memory: never' at it to agree, or put right what is said",
        )
    return not why


def refused_for_memory(draft: Draft, wanted: DesiredNode) -> bool:
    """Refuse a new node that must have the guest's RAM and cannot; tells whether it did."""
    if wanted.memory is not MemoryWish.REQUIRED:
        return False
    why = why_not_kept(draft, wanted.name)
    if not why:
        return False
    off = draft.guest.running is Running.OFF
    message = f"{wanted.name} requires the guest's memory, which cannot be saved: {why}"
    resolve = (
        "start the guest, or write 'memory: auto'"
        if off
        else "write 'memory: auto', or put right what is said"
    )
    if off and draft.observation.ability.memory:
        draft.wait(Reason.MEMORY_UNAVAILABLE, message, node=wanted.name, resolve=resolve)
    else:
        draft.refuse(Reason.MEMORY_UNAVAILABLE, message, node=wanted.name, resolve=resolve)
    return True


def why_not_resumed(draft: Draft, node: Node) -> str:
    """Say why the RAM that was kept with NODE cannot be resumed here; empty if it can, or if there is none."""
    if node.memory is None:
        return ""
    ability = draft.observation.ability
    if not ability.memory:
        return ability.why_not
    then = _words(node.snapshot.properties.get(properties.FINGERPRINT, ""))
    now = _words(ability.fingerprint)
    differ = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
    if not differ:
        return ""
    shown = ", ".join(
        f"{key} was {then.get(key, 'not known')} and is {now.get(key, 'not known')}"
        for key in differ
    )
    return f"it was saved under other circumstances ({shown})"


def live_memory(draft: Draft, branch: Branch | None = None) -> str | None:
    """The file of RAM in BRANCH (the head) that may be resumed with its disks as they are now; none if none may."""
    branch = branch or draft.tree.head
    name = None if branch is None else draft.position_of(branch)
    if branch is None or name is None or branch.unsaved:
        return None
    node, live = draft.tree.nodes[name], draft.observation.live_memory.get(branch.facts.name, ())
    return None if node.memory not in live or why_not_resumed(draft, node) else node.memory


def sweep_memory(draft: Draft) -> None:
    """Remove live files of RAM that an interrupted run left: the guest has gone on from them, or its disks have."""
    head = draft.tree.head
    if head is None or draft.link_stays_moved or not head.facts.mounted:
        return
    left = draft.observation.live_memory.get(head.facts.name, ())
    if not left:
        return
    if draft.guest.running is Running.RUNNING or (
        draft.guest.running is Running.OFF and head.unsaved
    ):
        draft.add(Sweep(branch=draft.dataset_ref(head.facts), memory=left))


def report_not_ready(draft: Draft) -> bool:
    """Tell whether the guest has to be started, or its branch mounted, before it is taken together with others."""
    head = draft.tree.head
    if not draft.owes_start and (head is None or head.facts.mounted):
        return False
    draft.wait(
        Reason.GUEST_STARTED,
        f"the guest of {draft.desired.vm} is not as it should be: its start is due, or its branch is not mounted",
        resolve=f"run 'ckptree apply {draft.desired.vm}'",
    )
    return True


def start_on_head(draft: Draft, head: Branch, memory: str | None) -> Start:
    """Write the start of the guest on HEAD, from the RAM at MEMORY if given."""
    return Start(
        branch=draft.dataset_ref(head.facts),
        memory=memory,
        volumes=head.volume_names,
        files=tuple(disk.path for disk in draft.desired.file_disks),
    )


def _words(fingerprint: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in fingerprint.split(";") if word)
    return {key: value for key, _, value in pairs}
