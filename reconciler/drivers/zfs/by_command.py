"""The write path through the ``zfs`` command, for hosts that have no pyzfs; it must be as good.

The command can check nothing beforehand and do nothing as a whole but a snapshot, so promote,
destroy and rollback are verified first on the model of what is there. Nothing here is ever given
``-f``, ``-r`` or ``-R``.
"""

import json
from collections.abc import Mapping, Sequence

from reconciler.drivers.command import run
from reconciler.drivers.zfs.library import program_text, refused_by_program
from reconciler.drivers.zfs.listing import parse_holds
from reconciler.drivers.zfs.reader import Scope
from reconciler.drivers.zfs.writer import ITSELF, HostWriter, Refused, datasets_of
from reconciler.errors import CommandFailed, ObservationFailed, ZfsErrorKind, ZfsRefused
from reconciler.model.properties import HOLD
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot

_TIMEOUT = 300.0  # seconds
_SNAPSHOTS = Scope(types="snapshot", depth=1)


class CommandZfs(HostWriter):
    """Reads and writes through the ``zfs`` command; implements ``contracts.zfs.Zfs``."""

    @property
    def name(self) -> str:
        """The write path's name."""
        return "zfs command"

    def sync(self, dataset: Dataset) -> None:
        """Sync as the contract says."""
        try:
            run([self._zpool, "sync", dataset.pool], timeout=_TIMEOUT)
        except CommandFailed as error:
            raise ZfsRefused(ZfsErrorKind.OTHER, dataset.pool, error.stderr.strip()) from error

    def _write(self, *words: str) -> None:
        try:
            run([self._zfs, *words], timeout=_TIMEOUT)
        except CommandFailed as error:
            ended = error.code is not None
            detail = error.stderr.strip() if ended else "the zfs command did not end in time"
            raise Refused(detail or str(error)) from error

    def _own_holds(self, snapshots: Sequence[Snapshot]) -> Mapping[Snapshot, bool]:
        if not snapshots:
            return {}
        try:
            text = run([self._zfs, "holds", "-H", *snapshots], timeout=_TIMEOUT).stdout
            return {name: HOLD in tags for name, tags in parse_holds(text, snapshots).items()}
        except CommandFailed:
            pass  # one of them is gone, or nothing can be read: the reader knows the difference
        datasets = tuple(dict.fromkeys(name.dataset for name in snapshots))
        readings = self.look(datasets, _SNAPSHOTS)
        for reading in readings.values():
            for gap in reading.gaps:
                raise ObservationFailed(f"{gap.name} cannot be read: {gap.reason}")
        facts = [readings[name.dataset].snapshot(name) for name in snapshots]
        return {found.name: HOLD in found.holds for found in facts if found is not None}

    def _take(self, snapshots: Sequence[Snapshot], properties: Mapping[str, str]) -> None:
        self._write("snapshot", *_options(properties), *snapshots)

    def _take_sets(self, sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> None:
        # The command gives all snapshots of one call the same properties; a channel program need not.
        pool = sets[0][0][0].dataset.pool
        words = [self._zfs, "program", "-j", pool, "-", *snapshot_words(sets)]
        try:
            answer = run(words, timeout=_TIMEOUT, input=program_text("snapshot").decode()).stdout
        except CommandFailed as error:
            raise Refused(error.stderr.strip() or str(error)) from error
        refused_by_program(str(json.loads(answer).get("return", "")))

    def _hold(self, snapshots: Sequence[Snapshot]) -> None:
        self._write("hold", HOLD, *snapshots)

    def _release(self, snapshots: Sequence[Snapshot]) -> None:
        self._write("release", HOLD, *snapshots)

    def _create(self, name: Dataset, properties: Mapping[str, str], canmount: str) -> None:
        native = {"canmount": canmount, "atime": "off"}
        self._write("create", "-u", *_options({**properties, **native}), name)

    def _clone(
        self, origin: Snapshot, target: Dataset, properties: Mapping[str, str], *, volume: bool
    ) -> None:
        native = {"volmode": "dev"} if volume else {"canmount": "noauto"}
        self._write("clone", *_options({**properties, **native}), origin, target)

    def _set(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        values = [f"{name}={value}" for name, value in changes.items() if value is not None]
        if values:
            self._write("set", *values, target)
        for name, value in changes.items():
            if value is None:
                self._write("inherit", name, target)

    def _set_canmount(self, name: Dataset, value: str) -> None:
        self._write("set", f"canmount={value}", name)

    def _set_mountpoint(self, name: Dataset, mountpoint: str | None) -> None:
        if mountpoint is None:
            self._write("inherit", "mountpoint", name)
        else:
            self._write("set", f"mountpoint={mountpoint}", name)

    def _rename(self, old: Dataset, new: Dataset) -> None:
        self._write("rename", old, new)

    def _promote(self, clones: Sequence[Dataset]) -> None:
        origins = [
            facts.origin.dataset
            for clone, reading in self.look(clones, ITSELF).items()
            if (facts := reading.dataset(clone)) is not None and facts.origin is not None
        ]
        self._rehearse(lambda model: model.promote(clones), [*clones, *origins], ITSELF)
        for done, clone in enumerate(clones):
            try:
                self._write("promote", clone)
            except Refused as refused:
                raise Refused(_progress(refused, "promoted", clones[:done])) from refused

    def _check_destroy(self, targets: Sequence[Ref]) -> None:
        self._rehearse(lambda model: model.destroy(targets), datasets_of(targets), ITSELF)

    def _destroy(self, targets: Sequence[Ref]) -> None:
        destroyed: list[str] = []
        for target in targets:
            try:
                self._write("destroy", target.name)
                destroyed.append(target.name)
            except Refused as refused:
                if not self._gone(target):
                    detail = _progress(refused, "destroyed", destroyed)
                    raise Refused(detail) from refused

    def _gone(self, target: Ref) -> bool:
        reading = self.look(datasets_of([target]), ITSELF)[datasets_of([target])[0]]
        if isinstance(target, SnapshotRef):
            return not reading.gaps and reading.snapshot(target.name) is None
        return not reading.gaps and reading.dataset(target.name) is None

    def _rollback(self, dataset: DatasetRef, snapshot: SnapshotRef) -> None:
        self._rehearse(lambda model: model.rollback(dataset, snapshot), [dataset.name], ITSELF)
        self._write("rollback", snapshot.name)

    def _mount(self, name: Dataset) -> None:
        self._write("mount", name)

    def _unmount(self, name: Dataset) -> None:
        self._write("unmount", name)


def snapshot_words(sets: Sequence[tuple[Sequence[Snapshot], Mapping[str, str]]]) -> list[str]:
    """Write SETS as the arguments of ``programs/snapshot.lua``."""
    words = []
    for snapshots, properties in sets:
        own = [f"={name}\t{value}" for name, value in properties.items()]
        for snapshot in snapshots:
            words += [f"@{snapshot}", *own]
    return words


def _options(properties: Mapping[str, str]) -> list[str]:
    return [word for name, value in properties.items() for word in ("-o", f"{name}={value}")]


def _progress(refused: Refused, done: str, names: Sequence[str]) -> str:
    return f"{refused.detail}; {done} before it: {', '.join(names)}" if names else refused.detail
