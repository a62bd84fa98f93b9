"""The write path through pyzfs: libzfs_core calls and channel programs (zfs-program(8)).

Whatever concerns several objects happens in one transaction group, and whatever could harm is
verified inside that group, where nothing else can change the pool. What libzfs_core cannot do
(mount, unmount, create, rename, native properties) is left to the ``zfs`` command.
"""

from collections.abc import Mapping, Sequence

from reconciler.drivers.zfs.by_command import CommandZfs, snapshot_words
from reconciler.drivers.zfs.library import call, run_program, signed
from reconciler.drivers.zfs.writer import Refused
from reconciler.errors import ZfsErrorKind
from reconciler.model.properties import HOLD
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot

_TAG = HOLD.encode()
_NOAUTO = 2  # ZFS_CANMOUNT_NOAUTO of libzfs: native properties are numbers here
_DEV = 2  # ZFS_VOLMODE_DEV


class CoreZfs(CommandZfs):
    """Reads through the ``zfs`` command, writes through libzfs_core; implements ``Zfs``."""

    @property
    def name(self) -> str:
        """The write path's name."""
        return "pyzfs"

    def _own_holds(self, snapshots: Sequence[Snapshot]) -> Mapping[Snapshot, bool]:
        holds = {}
        for name in snapshots:
            try:
                tags = call("lzc_get_holds", name.encode())
            except Refused as refused:
                if refused.kind is not ZfsErrorKind.NOT_FOUND:
                    raise
            else:
                holds[name] = isinstance(tags, Mapping) and _TAG in tags
        return holds

    def _take(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None:
        call("lzc_snapshot", [name.encode() for name in snapshots], _bytes(properties))

    def _take_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None:
        run_program(sets[0][0][0].dataset.pool, "snapshot", snapshot_words(sets))

    def _hold(self, snapshots: Sequence[Snapshot]) -> None:
        missing = call("lzc_hold", {name.encode(): _TAG for name in snapshots})
        if missing:
            raise Refused(f"there is no {missing}", ZfsErrorKind.NOT_FOUND)

    def _release(self, snapshots: Sequence[Snapshot]) -> None:
        call("lzc_release", {name.encode(): [_TAG] for name in snapshots})

    def _clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None:
        native = {b"volmode": _DEV} if volume else {b"canmount": _NOAUTO}
        call("lzc_clone", target.encode(), origin.encode(), {**_bytes(properties), **native})

    def _set(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        words = [
            f"{name}\t" if value is None else f"{name}\t={value}" for name, value in changes.items()
        ]
        run_program(_pool(target), "properties", [target, *words])

    def _promote(self, clones: Sequence[Dataset]) -> None:
        run_program(clones[0].pool, "promote", clones)

    def _check_destroy(self, targets: Sequence[Ref]) -> None:
        run_program(_pool(targets[0].name), "destroy", ["check", HOLD, *_guarded(targets)])

    def _destroy(self, targets: Sequence[Ref]) -> None:
        run_program(_pool(targets[0].name), "destroy", ["destroy", "", *_guarded(targets)])

    def _rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        run_program(dataset.name.pool, "rollback", _guarded([dataset, snapshot]))


def _guarded(targets: Sequence[Ref]) -> list[str]:
    return [f"{target.name}\t{signed(target.guid)}" for target in targets]


def _pool(name: Dataset | Snapshot) -> str:
    return (name.dataset if isinstance(name, Snapshot) else name).pool


def _bytes(properties: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in properties.items()}
