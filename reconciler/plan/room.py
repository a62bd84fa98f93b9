"""Whether a checkpoint can be taken of the head as it is: its disks are all there, and there is room for it."""

from reconciler.model.desired import DesiredNode, MemoryWish
from reconciler.model.plan import Reason
from reconciler.plan.draft import SPARE_BYTES, Draft
from reconciler.plan.guest import why_not_kept


def why_no_room(draft: Draft, chain: tuple[DesiredNode, ...]) -> tuple[Reason, str, str] | None:
    """Say why CHAIN cannot be taken of the head as it is, and what would resolve it; none if it can."""
    head = draft.tree.head
    there = () if head is None else head.volume_names
    not_ours = [disk.name for disk in draft.desired.volume_disks if disk.name not in there]
    missing = list(dict.fromkeys((*draft.observation.missing_disks, *not_ours)))
    if missing:
        return (
            Reason.DISK_MISSING,
            f"the head has no {', '.join(missing)}",
            f"create it in the head and run 'ckptree init {draft.desired.vm}', or remove it from 'disks'",
        )
    if not _room_for(draft, chain):
        return (
            Reason.POOL_FULL,
            f"{draft.desired.dataset} may write only {draft.observation.pool.available} bytes more"
            + _needs(draft, chain),
            "free space, or raise the quota",
        )
    return None


def _room_for(draft: Draft, chain: tuple[DesiredNode, ...]) -> bool:
    return draft.observation.pool.available >= SPARE_BYTES + _ram(draft, chain)


def _needs(draft: Draft, chain: tuple[DesiredNode, ...]) -> str:
    ram = _ram(draft, chain)
    return f", and the guest's RAM takes up to {ram} (less where ZFS compresses it)" if ram else ""


def _ram(draft: Draft, chain: tuple[DesiredNode, ...]) -> int:
    kept = any(
        wanted.memory is not MemoryWish.NEVER and not why_not_kept(draft, wanted.name)
        for wanted in chain
    )
    return draft.observation.ability.ram if kept else 0
