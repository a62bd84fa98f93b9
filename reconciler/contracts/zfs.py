"""The ZFS operations that ckptree needs; two real write paths and the model implement them alike.

Every write either happens as a whole or raises ZfsRefused with the same kind on every
implementation, unless the method says otherwise. A write that must look first and cannot raises
ObservationFailed. Names are full names, property values plain text (a driver encodes and decodes
them). None of these ever uses force. What may not even be asked is checked by the functions at the
end, for all of them alike.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from reconciler.errors import ZfsErrorKind, ZfsRefused
from reconciler.model.observed import DatasetKind, PoolFacts, Reading
from reconciler.model.properties import BRANCH, LONGEST_VALUE, VM, encode_text
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot

_PROPERTY = re.compile(r"(?=[^:]*:)[a-z0-9][a-z0-9:._-]{0,254}")  # zfsprops(7), User Properties


class ZfsReader(Protocol):
    """Reading; needs no privilege."""

    def read(self, roots: Sequence[Dataset]) -> Mapping[Dataset, Reading]:
        """Read everything at and below each of ROOTS, in as few calls as can be.

        A root that does not exist gives an empty Reading; what could not be read gives a Gap, never
        an absence. Raises ObservationFailed only where nothing at all can be read (no ZFS on this
        host).
        """

    def guids(self, names: Sequence[Dataset | Snapshot]) -> Mapping[Dataset | Snapshot, int]:
        """Tell the guid of each of NAMES that exists; much quicker than a reading.

        Raises ObservationFailed.
        """

    def mounted_at(self, dataset: Dataset) -> str | None:
        """Tell where DATASET is mounted; none if it is not, or does not exist. Raises ObservationFailed."""

    def pool(self, dataset: Dataset) -> PoolFacts:
        """Read the state of DATASET's pool and what DATASET may still write.

        Raises ObservationFailed.
        """

    def pools(self, datasets: Sequence[Dataset]) -> Mapping[Dataset, PoolFacts]:
        """Read what ``pool`` tells of each of DATASETS, which exist, at the price of one. Raises ObservationFailed."""

    def homes(self) -> Mapping[Dataset, str]:
        """Every filesystem of the host that is marked as a home, with the VM's name.

        Raises ObservationFailed.
        """


class ZfsWriter(Protocol):
    """Writing; needs root."""

    @property
    def name(self) -> str:
        """The write path as `ckptree doctor` shows it: ``pyzfs`` or ``zfs command``."""

    def snapshot(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None:
        """Take all SNAPSHOTS (of one pool, each of another dataset) atomically, with PROPERTIES.

        Raises ZfsRefused: EXISTS, NOT_FOUND, NO_SPACE, INVALID (two pools, two of one dataset).
        """

    def snapshot_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None:
        """Take the snapshots of all SETS in one transaction group, each set with its own properties.

        Raises ZfsRefused as ``snapshot`` does, and then none is taken.
        """

    def hold(self, snapshots: Sequence[Snapshot]) -> None:
        """Hold every snapshot with our tag; one already held is fine.

        Raises ZfsRefused: NOT_FOUND, and holds none.
        """

    def release(self, snapshots: Sequence[Snapshot]) -> None:
        """Release our hold on every snapshot; one not held, or gone, is fine."""

    def create(self, name: Dataset, properties: Mapping[str, str], *, canmount: str) -> None:
        """Create a filesystem, unmounted, with atime=off: reading a disk must not look like a write.

        Raises ZfsRefused: EXISTS, NOT_FOUND (its parent), INVALID (below a volume), NO_SPACE.
        """

    def clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None:
        """Clone ORIGIN as TARGET: a filesystem unmounted, canmount=noauto; a volume volmode=dev.

        VOLUME must be what ORIGIN is, and the target's parent a filesystem: where they are not,
        the model raises INVALID and ZFS itself may not notice. Raises ZfsRefused: NOT_FOUND (origin
        or the target's parent), EXISTS, NO_SPACE, INVALID (another pool).
        """

    def set_properties(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        """Set user properties of TARGET, or remove those whose value is none.

        Raises ZfsRefused: NOT_FOUND, INVALID (no user property, or too long).
        """

    def sync(self, dataset: Dataset) -> None:
        """Wait until all that was written to DATASET's pool so far counts in ``written`` (zpool-sync(8)).

        Raises ZfsRefused: OTHER.
        """

    def set_canmount(self, name: Dataset, value: str) -> None:
        """Set canmount (on, off, noauto) of a filesystem without mounting or unmounting it.

        Raises ZfsRefused: NOT_FOUND, INVALID (a volume), BUSY (off while it is mounted).
        """

    def set_mountpoint(self, name: Dataset, mountpoint: str | None) -> None:
        """Give an unmounted filesystem a mountpoint of its own, or let it inherit one (none).

        Raises ZfsRefused: NOT_FOUND, INVALID (a volume), BUSY (it is mounted).
        """

    def rename(self, old: Dataset, new: Dataset) -> None:
        """Rename a dataset with all below it; what is mounted is mounted again at its new place.

        Raises ZfsRefused: NOT_FOUND (or the new parent), EXISTS, BUSY (a mounted filesystem in
        use), INVALID (another pool, below itself or a volume).
        """

    def promote(self, clones: Sequence[Dataset]) -> None:
        """Promote every clone, all or none where the write path can.

        The zfs command can not: it checks all first, then goes one by one. Raises ZfsRefused:
        NOT_FOUND, NOT_A_CLONE, EXISTS (a snapshot name that both have), INVALID (the clones descend
        from each other or from the same dataset, so that the order would matter).
        """

    def destroy(self, targets: Sequence[Ref]) -> None:
        """Destroy TARGETS, where what hangs on another comes before it; one already gone is fine.

        Verified first, all of them, and nothing is destroyed if one fails: GUID_CHANGED; of a
        snapshot HELD (by any tag but ours, which is released for it), HAS_CLONES; of a dataset
        HAS_CHILDREN, HAS_SNAPSHOTS (anything that is not an earlier target), BUSY (mounted or
        open). pyzfs does it in one transaction group; the zfs command one by one after the check,
        so that a volume which a process opened can stop it half-way: then the text says what is
        gone.
        """

    def rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        """Roll an unmounted DATASET back to SNAPSHOT, which must be its latest.

        Whether a volume is open is for the caller to find out first: the zfs command does not mind.
        Raises ZfsRefused: INVALID (a snapshot of another dataset), NOT_FOUND, GUID_CHANGED, BUSY
        (mounted), NOT_LATEST.
        """

    def mount(self, name: Dataset) -> None:
        """Mount a filesystem; mounted already is fine.

        Raises ZfsRefused: NOT_FOUND, INVALID (a volume, canmount=off, no mountpoint), OTHER.
        """

    def unmount(self, name: Dataset) -> None:
        """Unmount this one filesystem, never by force; unmounted already is fine.

        Raises ZfsRefused: NOT_FOUND, BUSY (in use, or another filesystem is mounted below it).
        """


class Zfs(ZfsReader, ZfsWriter, Protocol):
    """Both halves."""


def is_home(kind: DatasetKind, properties: Mapping[str, str]) -> bool:
    """Whether these own PROPERTIES mark a home: a VM's name, and not on one of its branches."""
    return kind is DatasetKind.FILESYSTEM and VM in properties and BRANCH not in properties


def check_properties(target: str, changes: Mapping[str, str | None]) -> None:
    """Raise ZfsRefused, INVALID, unless all CHANGES are user properties that ZFS can store."""
    for name, value in changes.items():
        if not _PROPERTY.fullmatch(name):
            raise ZfsRefused(ZfsErrorKind.INVALID, target, f"{name!r} is no user property")
        try:
            size = len(encode_text(value or ""))
        except UnicodeEncodeError:
            raise ZfsRefused(
                ZfsErrorKind.INVALID, target, f"the value of {name} is no text"
            ) from None
        if size > LONGEST_VALUE:
            detail = f"the value of {name} is longer than {LONGEST_VALUE} bytes"
            raise ZfsRefused(ZfsErrorKind.INVALID, target, detail)


def check_together(snapshots: Sequence[Snapshot]) -> None:
    """Raise ZfsRefused, INVALID, unless SNAPSHOTS can be taken at once."""
    seen: set[Dataset] = set()
    for snapshot in snapshots:
        if snapshot.dataset in seen:
            raise ZfsRefused(ZfsErrorKind.INVALID, snapshot, "two snapshots of one dataset at once")
        if snapshot.dataset.pool != snapshots[0].dataset.pool:
            raise ZfsRefused(ZfsErrorKind.INVALID, snapshot, "snapshots of two pools at once")
        seen.add(snapshot.dataset)


def check_own(dataset: Dataset, snapshot: Snapshot) -> None:
    """Raise ZfsRefused, INVALID, unless SNAPSHOT is one of DATASET."""
    if snapshot.dataset != dataset:
        detail = f"{snapshot} is a snapshot of another dataset"
        raise ZfsRefused(ZfsErrorKind.INVALID, dataset, detail)


def check_independent(origins: Mapping[Dataset, Dataset]) -> None:
    """Raise ZfsRefused, INVALID, unless clones can be promoted in any order.

    ORIGINS gives each clone's origin's dataset.
    """
    seen: set[Dataset] = set()
    for clone, origin in origins.items():
        if origin in seen or origin in origins:
            detail = f"another of the clones to promote is {origin} or comes from it"
            raise ZfsRefused(ZfsErrorKind.INVALID, clone, detail)
        seen.add(origin)
