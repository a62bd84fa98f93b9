"""Observe VMs: ZFS, the link, the disks, who uses them, and the journal, as one Observation each.

Changes nothing. ``plan`` decides from what this returns; ``cli`` and ``execute`` ask for it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from reconciler.contracts.files import Files
from reconciler.contracts.guest import Guest
from reconciler.contracts.journal import Journal
from reconciler.contracts.zfs import ZfsReader
from reconciler.errors import ObservationFailed
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import JournalFacts, complete_switch
from reconciler.model.observed import (
    Ability,
    Gap,
    GuestState,
    HostIdentity,
    Link,
    LinkAbsent,
    LinkUnknown,
    Observation,
    PoolFacts,
    Reading,
    Running,
)
from reconciler.model.tree import Branch, Tree, derive_tree
from reconciler.names import Dataset

_UNKNOWN = "UNKNOWN"


def observe(
    desired: DesiredVm,
    zfs: ZfsReader,
    files: Files,
    guest: Guest,
    journal: Journal,
    identity: HostIdentity,
    reading: Reading | None = None,
    pool: PoolFacts | None = None,
) -> Observation:
    """Observe one VM; READING of its home and POOL were read together with those of others."""
    if reading is None:
        reading = read_homes([desired], zfs)[desired.dataset]
    gaps: tuple[Gap, ...] = ()
    try:
        pool = pool or zfs.pool(desired.dataset)
    except ObservationFailed as error:
        pool = PoolFacts(name=desired.dataset.pool, health=_UNKNOWN)
        if reading.datasets:
            gaps = (Gap(desired.dataset.pool, str(error)),)
    if pool.unusable or (pool.health == _UNKNOWN and _unread(reading)):
        return _without_files(desired, reading, pool, identity)
    link, facts, more = _home_files(reading, files, journal)
    gaps = (*gaps, *more)
    tree = derive_tree(desired.vm, reading, link)
    if (
        tree.head is not None
        and facts.switching is not None
        and tree.head.facts.guid == facts.switching.guid
    ):
        facts = complete_switch(facts)
    try:
        live_memory = _live_memory(tree, files)
    except ObservationFailed as error:
        live_memory, gaps = {}, (*gaps, Gap("saved memory", str(error)))
    ability = guest.probe()
    state, users = _guest(tree, files, guest, ability)
    return Observation(
        vm=desired.vm,
        reading=replace(reading, gaps=(*reading.gaps, *gaps)),
        link=link,
        guest=state,
        pool=pool,
        journal=facts,
        host=identity.name,
        host_id=identity.host_id,
        missing_disks=_missing_disks(desired, tree, files),
        ability=ability,
        live_memory=live_memory,
        users=users,
        busy=_busy(tree, files, ability),
    )


def _without_files(
    desired: DesiredVm, reading: Reading, pool: PoolFacts, identity: HostIdentity
) -> Observation:
    """Observe what ZFS tells of itself: whoever reads a file on a suspended pool waits until it comes back."""
    why = f"pool {pool.name} is {pool.health}"
    return Observation(
        vm=desired.vm,
        reading=reading,
        link=LinkUnknown(why),
        guest=GuestState(Running.UNKNOWN, why),
        pool=pool,
        journal=JournalFacts(),
        host=identity.name,
        host_id=identity.host_id,
    )


def read_homes(desired: Sequence[DesiredVm], zfs: ZfsReader) -> Mapping[Dataset, Reading]:
    """Read the homes of all VMs in one go."""
    roots = [vm.dataset for vm in desired]
    try:
        return zfs.read(roots)
    except ObservationFailed as error:
        return {root: Reading(root=root, gaps=(Gap(root, str(error)),)) for root in roots}


def read_pools(readings: Mapping[Dataset, Reading], zfs: ZfsReader) -> Mapping[Dataset, PoolFacts]:
    """Read the pools of all homes that exist in one go; where that fails, each is left to ``observe``.

    A home that could not be read gets its pool's own facts: one that hangs is not waited for once for every home.
    """
    found: dict[Dataset, PoolFacts] = {}
    existing = [root for root, reading in readings.items() if reading.dataset(root) is not None]
    with suppress(ObservationFailed):
        found |= zfs.pools(existing) if existing else {}
    unread = [root for root, reading in readings.items() if _unread(reading)]
    for name in sorted({root.pool for root in unread}):
        try:
            pool = zfs.pool(Dataset(name))
        except ObservationFailed:
            pool = PoolFacts(name=name, health=_UNKNOWN)
        found |= {root: pool for root in unread if root.pool == name}
    return found


def _unread(reading: Reading) -> bool:
    """Whether not even the home could be read."""
    return bool(reading.gaps) and not reading.datasets


def _home_files(
    reading: Reading, files: Files, journal: Journal
) -> tuple[Link, JournalFacts, tuple[Gap, ...]]:
    home = reading.dataset(reading.root)
    if home is None:
        return LinkAbsent(), JournalFacts(), ()
    if not home.mounted or home.mountpoint is None:
        reason = f"{home.name} is not mounted (run 'zfs mount {home.name}')"
        return LinkUnknown(reason), JournalFacts(), ()
    try:
        facts = journal.facts()
    except ObservationFailed as error:
        return files.read_link(home.mountpoint), JournalFacts(), (Gap("journal", str(error)),)
    return files.read_link(home.mountpoint), facts, ()


def _guest(tree: Tree, files: Files, guest: Guest, ability: Ability) -> tuple[GuestState, str]:
    """Whether the guest runs, and who else uses a branch of one that is off; without a branch there is nothing to use.

    Of a guest that is not ckptree's, whoever uses a branch counts as the guest.
    """
    if tree.home is None or tree.home.mountpoint is None or not tree.branches:
        return GuestState(Running.OFF), ""
    known = guest.state()
    if known.running is not Running.OFF:
        return known, ""
    branches = [
        (f"{tree.home.mountpoint}/{branch.facts.name.leaf}", branch.facts.name)
        for branch in tree.branches
    ]
    volumes = sorted({name for branch in tree.branches for name in branch.volume_names})
    users = files.users(branches, volumes)
    if users.running is Running.OFF:
        return known, ""
    return (known, users.proof) if ability.managed else (users, "")


def _busy(tree: Tree, files: Files, ability: Ability) -> frozenset[Dataset]:
    """The dormant branches that somebody uses; of a guest that is not ckptree's, ``_guest`` tells."""
    if not ability.managed or tree.head is None:
        return frozenset()
    found = set()
    for branch in _mounted(tree):
        path = branch.facts.mountpoint
        if branch is tree.head or path is None:
            continue
        users = files.users([(path, branch.facts.name)], branch.volume_names)
        if users.running is not Running.OFF:
            found.add(branch.facts.name)
    return frozenset(found)


def _live_memory(tree: Tree, files: Files) -> dict[Dataset, tuple[str, ...]]:
    found = {
        branch.facts.name: tuple(files.live_memory(branch.facts.mountpoint, branch.facts.name))
        for branch in _mounted(tree)
        if branch.facts.mountpoint is not None
    }
    return {name: memory for name, memory in found.items() if memory}


def _mounted(tree: Tree) -> list[Branch]:
    return [branch for branch in tree.branches if branch.facts.mounted]


def _missing_disks(desired: DesiredVm, tree: Tree, files: Files) -> tuple[str, ...]:
    head = tree.head
    if head is None or not head.facts.mounted or head.facts.mountpoint is None:
        return ()
    paths = [disk.path for disk in desired.file_disks]
    names = [disk.name for disk in desired.volume_disks]
    return tuple(files.missing(head.facts.mountpoint, head.facts.name, paths, names))
