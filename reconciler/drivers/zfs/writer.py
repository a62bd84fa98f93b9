"""What both write paths share: checks before a write, and the reason after ZFS refused one.

ZFS tells why it refused by an exit code that is always the same, or by an errno with several
meanings. So the kind of a refusal is found by reading again and trying the same operation on the
model of what is there (``simulate.zfs``): where that refuses too, it says exactly why. The effects
themselves are in ``by_command`` and ``by_core``; here is no process and no library call.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from reconciler.contracts.zfs import check_own, check_properties, check_together
from reconciler.drivers.zfs.reader import CommandReader, Scope
from reconciler.errors import CkptreeError, ObservationFailed, ZfsErrorKind, ZfsRefused
from reconciler.model.observed import Reading
from reconciler.model.properties import encode_text
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.zfs import MemoryZfs

ITSELF = Scope(depth=1)
"""A dataset with its own snapshots and its direct children: enough for nearly every rule."""

_ALONE = Scope(types="filesystem,volume", depth=0)
_DATASETS = Scope(types="filesystem,volume")
_NO_ROOM = 1 << 20  # bytes: ZFS keeps a little back and refuses before it is at zero


class Refused(Exception):
    """ZFS refused an effect; KIND where that is certain, DETAIL what it said."""

    def __init__(self, detail: str, kind: ZfsErrorKind | None = None) -> None:
        self.detail = detail
        self.kind = kind
        super().__init__(detail)


class HostWriter(CommandReader, ABC):
    """The writing half of ``contracts.zfs.Zfs``, on effects that a write path provides."""

    def snapshot(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None:
        """Take snapshots as the contract says."""
        if not snapshots:
            return
        check_together(snapshots)
        check_properties(snapshots[0], properties)
        self._attempt(
            lambda: self._take(snapshots, _encoded(properties)),
            lambda model: model.snapshot(snapshots, properties),
            snapshots[0],
            [name.dataset for name in snapshots],
        )

    def snapshot_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None:
        """Take sets of snapshots as the contract says."""
        snapshots = [name for names, _ in sets for name in names]
        if not snapshots:
            return
        check_together(snapshots)
        for names, properties in sets:
            for name in names:
                check_properties(name, properties)
        encoded = [(names, _encoded(properties)) for names, properties in sets]
        self._attempt(
            lambda: self._take_sets(encoded),
            lambda model: model.snapshot_sets(sets),
            snapshots[0],
            [name.dataset for name in snapshots],
        )

    def hold(self, snapshots: Sequence[Snapshot]) -> None:
        """Hold as the contract says."""
        holds = self._own_holds(snapshots)
        for name in snapshots:
            if name not in holds:
                raise ZfsRefused(ZfsErrorKind.NOT_FOUND, name)
        missing = [name for name, ours in holds.items() if not ours]
        if missing:
            self._attempt(
                lambda: self._hold(missing),
                lambda model: model.hold(missing),
                missing[0],
                [name.dataset for name in missing],
            )

    def release(self, snapshots: Sequence[Snapshot]) -> None:
        """Release as the contract says."""
        held = [name for name, ours in self._own_holds(snapshots).items() if ours]
        if held:
            self._attempt(
                lambda: self._release(held),
                lambda model: model.release(held),
                held[0],
                [name.dataset for name in held],
            )

    def create(self, name: Dataset, properties: Mapping[str, str], *, canmount: str) -> None:
        """Create as the contract says."""
        check_properties(name, properties)
        self._attempt(
            lambda: self._create(name, _encoded(properties), canmount),
            lambda model: model.create(name, properties, canmount=canmount),
            name,
            [name, *_parent(name)],
        )

    def clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None:
        """Clone as the contract says."""
        check_properties(target, properties)
        self._attempt(
            lambda: self._clone(origin, target, _encoded(properties), volume=volume),
            lambda model: model.clone(origin, target, properties, volume=volume),
            target,
            [origin.dataset, target, *_parent(target)],
        )

    def set_properties(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        """Set or remove user properties as the contract says."""
        check_properties(target, changes)
        if changes:
            self._attempt(
                lambda: self._set(target, _encoded_changes(changes)),
                lambda model: model.set_properties(target, changes),
                target,
                [_dataset_of(target)],
            )

    def set_canmount(self, name: Dataset, value: str) -> None:
        """Set canmount as the contract says."""

        def rehearsal(model: MemoryZfs) -> None:
            model.set_canmount(name, value)

        if value == "off":  # ZFS would unmount it
            self._rehearse(rehearsal, [name], _ALONE)
        self._attempt(lambda: self._set_canmount(name, value), rehearsal, name, [name])

    def set_mountpoint(self, name: Dataset, mountpoint: str | None) -> None:
        """Set or inherit the mountpoint as the contract says; ZFS would move a mounted one."""

        def rehearsal(model: MemoryZfs) -> None:
            model.set_mountpoint(name, mountpoint)

        self._rehearse(rehearsal, [name], _ALONE)
        self._attempt(lambda: self._set_mountpoint(name, mountpoint), rehearsal, name, [name])

    def rename(self, old: Dataset, new: Dataset) -> None:
        """Rename as the contract says."""
        self._attempt(
            lambda: self._rename(old, new),
            lambda model: model.rename(old, new),
            old,
            [old, new, *_parent(new)],
            otherwise=ZfsErrorKind.BUSY,
        )

    def promote(self, clones: Sequence[Dataset]) -> None:
        """Promote as the contract says."""
        clones = tuple(dict.fromkeys(clones))
        if clones:
            self._attempt(
                lambda: self._promote(clones),
                lambda model: model.promote(clones),
                clones[0],
                clones,
            )

    def destroy(self, targets: Sequence[Ref]) -> None:
        """Destroy as the contract says; our own holds come back if ZFS refuses after all."""
        if not targets:
            return
        self._check_destroy(targets)
        holds = self._own_holds([ref.name for ref in targets if isinstance(ref, SnapshotRef)])
        held = [name for name, ours in holds.items() if ours]
        self.release(held)
        try:
            self._attempt(
                lambda: self._destroy(targets),
                lambda model: model.destroy(targets),
                targets[-1].name,
                datasets_of(targets),
                otherwise=ZfsErrorKind.BUSY,
            )
        except CkptreeError:
            self.hold(list(self._own_holds(held)))
            raise

    def rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        """Roll back as the contract says."""
        check_own(dataset.name, snapshot.name)
        self._attempt(
            lambda: self._rollback(dataset, snapshot),
            lambda model: model.rollback(dataset, snapshot),
            dataset.name,
            [dataset.name],
        )

    def mount(self, name: Dataset) -> None:
        """Mount as the contract says."""
        facts = self.look([name], _ALONE)[name].dataset(name)
        if facts is None or not facts.mounted:
            self._attempt(
                lambda: self._mount(name),
                lambda model: model.mount(name),
                name,
                [name],
            )

    def unmount(self, name: Dataset) -> None:
        """Unmount as the contract says.

        What is mounted below is looked for first, because the command would unmount that too.
        """

        def rehearsal(model: MemoryZfs) -> None:
            model.unmount(name)

        readings = self._rehearse(rehearsal, [name], _DATASETS)
        facts = readings[name].dataset(name)
        if facts is not None and facts.mounted:
            self._attempt(
                lambda: self._unmount(name),
                rehearsal,
                name,
                [name],
                otherwise=ZfsErrorKind.BUSY,
            )

    def _attempt(
        self,
        effect: Callable[[], None],
        rehearsal: Callable[[MemoryZfs], None],
        target: str,
        roots: Sequence[Dataset],
        *,
        otherwise: ZfsErrorKind = ZfsErrorKind.OTHER,
    ) -> None:
        """Do EFFECT; if ZFS refuses, raise ZfsRefused with the reason that REHEARSAL finds."""
        try:
            effect()
        except Refused as refused:
            try:
                self._rehearse(rehearsal, roots, ITSELF)
            except ZfsRefused as reason:
                detail = "; ".join(text for text in (reason.detail, refused.detail) if text)
                raise ZfsRefused(reason.kind, reason.target, detail) from refused
            except ObservationFailed:
                pass
            kind = refused.kind or self._circumstances(roots[-1]) or otherwise
            raise ZfsRefused(kind, target, refused.detail) from refused

    def _rehearse(
        self, rehearsal: Callable[[MemoryZfs], None], roots: Sequence[Dataset], scope: Scope
    ) -> Mapping[Dataset, Reading]:
        """Try an operation on the model of what is there now, and give what was read.

        Raises ZfsRefused with the reason if the model refuses, ObservationFailed if not all of
        ROOTS could be read: then nothing is known.
        """
        readings = self.look(tuple(dict.fromkeys(roots)), scope)
        for reading in readings.values():
            for gap in reading.gaps:
                raise ObservationFailed(f"{gap.name} cannot be read: {gap.reason}")
        rehearsal(MemoryZfs.from_readings(readings.values()))
        return readings

    def _circumstances(self, name: Dataset) -> ZfsErrorKind | None:
        """Find a reason that lies in no dataset: no room, no privilege."""
        with suppress(ObservationFailed):
            if self.pool(name).available < _NO_ROOM:
                return ZfsErrorKind.NO_SPACE
        return ZfsErrorKind.PERMISSION if os.geteuid() != 0 else None

    # The effects: each raises Refused; property values are encoded already.

    @abstractmethod
    def _own_holds(self, snapshots: Sequence[Snapshot]) -> Mapping[Snapshot, bool]:
        """Tell of each snapshot that exists whether it has our hold."""

    @abstractmethod
    def _take(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None: ...

    @abstractmethod
    def _take_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None: ...

    @abstractmethod
    def _hold(self, snapshots: Sequence[Snapshot]) -> None: ...

    @abstractmethod
    def _release(self, snapshots: Sequence[Snapshot]) -> None: ...

    @abstractmethod
    def _create(self, name: Dataset, properties: Mapping[str, str], canmount: str) -> None: ...

    @abstractmethod
    def _clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None: ...

    @abstractmethod
    def _set(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None: ...

    @abstractmethod
    def _set_canmount(self, name: Dataset, value: str) -> None: ...

    @abstractmethod
    def _set_mountpoint(self, name: Dataset, mountpoint: str | None) -> None: ...

    @abstractmethod
    def _rename(self, old: Dataset, new: Dataset) -> None: ...

    @abstractmethod
    def _promote(self, clones: Sequence[Dataset]) -> None:
        """Promote after having verified all of them, by whatever means; may raise ZfsRefused."""

    @abstractmethod
    def _check_destroy(self, targets: Sequence[Ref]) -> None:
        """Verify all of TARGETS as the contract says; raises ZfsRefused."""

    @abstractmethod
    def _destroy(self, targets: Sequence[Ref]) -> None:
        """Destroy TARGETS, verified and released; may raise ZfsRefused."""

    @abstractmethod
    def _rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        """Roll back after having verified both, by whatever means; may raise ZfsRefused."""

    @abstractmethod
    def _mount(self, name: Dataset) -> None: ...

    @abstractmethod
    def _unmount(self, name: Dataset) -> None: ...


def datasets_of(targets: Sequence[Ref]) -> Sequence[Dataset]:
    """List the datasets that TARGETS are or belong to, each once."""
    return list(dict.fromkeys(_dataset_of(target.name) for target in targets))


def _dataset_of(name: Dataset | Snapshot) -> Dataset:
    return name.dataset if isinstance(name, Snapshot) else name


def _parent(name: Dataset) -> Sequence[Dataset]:
    return [] if name.parent is None else [name.parent]


def _encoded(properties: Mapping[str, str]) -> Mapping[str, str]:
    return {name: encode_text(value) for name, value in properties.items()}


def _encoded_changes(changes: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return {name: None if value is None else encode_text(value) for name, value in changes.items()}
