"""A host that loses its power between any two things that it does, also half-way through what is not atomic.

Written after the weaker write path, the zfs command: it promotes, holds, sets and destroys one by one, after it has
looked whether all of it can work.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from reconciler.contracts.files import Files
from reconciler.contracts.guest import Guest, Hold
from reconciler.contracts.hooks import HookRunner
from reconciler.contracts.journal import Journal
from reconciler.contracts.zfs import Zfs
from reconciler.errors import ObservationFailed
from reconciler.model.desired import Hook
from reconciler.model.journal import JournalFacts, JournalRecord
from reconciler.model.observed import Gap, Reading
from reconciler.model.properties import HOLD
from reconciler.model.steps import Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.host import MemoryFiles
from reconciler.simulate.zfs import MemoryZfs

_SIMPLE_WRITES = frozenset(
    {"snapshot", "clone", "set_canmount", "mount", "unmount", "rollback", "create", "rename"}
)


class PowerCut(Exception):
    """The host stops here."""


class Fuse:
    """Counts what the host does, and cuts the power AFTER so many."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.count = 0

    def tick(self) -> None:
        """Do one more thing, if there is power."""
        if self.count == self.after:
            raise PowerCut(f"after {self.count}")
        self.count += 1


class FragileZfs:
    """ZFS behind a fuse; of what BLIND_TO names, and all below it, nothing can be read."""

    def __init__(self, zfs: MemoryZfs, fuse: Fuse, blind_to: str | None = None) -> None:
        self._zfs, self._fuse, self._blind_to = zfs, fuse, blind_to

    def read(self, roots: Sequence[Dataset]) -> Mapping[Dataset, Reading]:
        if self._blind_to == "everything":
            raise ObservationFailed("no ZFS can be read here")
        readings = self._zfs.read(roots)
        return {root: self._dimmed(reading) for root, reading in readings.items()}

    def _dimmed(self, reading: Reading) -> Reading:
        hidden = self._blind_to
        if hidden is None:
            return reading
        return Reading(
            root=reading.root,
            datasets=tuple(f for f in reading.datasets if not f.name.below(hidden)),
            snapshots=tuple(
                f
                for f in reading.snapshots
                if f.name != hidden and not f.name.dataset.below(hidden)
            ),
            gaps=(Gap(hidden, "I/O error"),),
        )

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - every method of Zfs
        found: Callable[..., object] = getattr(self._zfs, name)
        if name not in _SIMPLE_WRITES:
            return found

        def write(*words: object, **named: object) -> object:
            self._fuse.tick()
            result = found(*words, **named)
            self._fuse.tick()
            return result

        return write

    def hold(self, snapshots: Sequence[Snapshot]) -> None:
        self._zfs.copy().hold(snapshots)
        for name in snapshots:
            self._fuse.tick()
            self._zfs.hold([name])
        self._fuse.tick()

    def set_properties(self, target: Dataset | Snapshot, changes: Mapping[str, str | None]) -> None:
        self._zfs.copy().set_properties(target, changes)
        self._fuse.tick()
        self._zfs.set_properties(target, {k: v for k, v in changes.items() if v is not None})
        for key, value in changes.items():
            if value is None:
                self._fuse.tick()
                self._zfs.set_properties(target, {key: None})
        self._fuse.tick()

    def promote(self, clones: Sequence[Dataset]) -> None:
        self._zfs.copy().promote(clones)
        for clone in clones:
            self._fuse.tick()
            self._zfs.promote([clone])
        self._fuse.tick()

    def destroy(self, targets: Sequence[Ref]) -> None:
        self._zfs.copy().destroy(targets)
        for ref in targets:
            if isinstance(ref, SnapshotRef):
                self._fuse.tick()
                self._zfs.release_as(HOLD, [ref.name])
        for ref in targets:
            self._fuse.tick()
            self._zfs.destroy([ref])
        self._fuse.tick()


class FragileFiles:
    """The files behind a fuse."""

    def __init__(self, files: MemoryFiles, fuse: Fuse) -> None:
        self._files, self._fuse = files, fuse

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - every method of Files
        found: Callable[..., object] = getattr(self._files, name)
        if name not in {"switch_link", "prepare", "prepare_memory", "drop_memory"}:
            return found

        def write(*words: object) -> object:
            self._fuse.tick()
            result = found(*words)
            self._fuse.tick()
            return result

        return write


class FragileGuest:
    """The guest behind a fuse. Whoever froze it may die: then its keeper lets it go on."""

    def __init__(self, guest: Guest, fuse: Fuse) -> None:
        self._guest, self._fuse = guest, fuse

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of Guest
        return getattr(self._guest, name)

    @contextmanager
    def frozen(self, memory: str) -> Iterator[Hold]:
        self._fuse.tick()
        with self._guest.frozen(memory) as hold:
            self._fuse.tick()
            yield hold
            self._fuse.tick()
        self._fuse.tick()

    def stop(self, *, now: bool) -> None:
        self._fuse.tick()
        self._guest.stop(now=now)
        self._fuse.tick()

    def start(self, memory: str | None = None) -> None:
        self._fuse.tick()
        self._guest.start(memory)
        self._fuse.tick()


class FragileJournal:
    """The journal behind a fuse."""

    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal, self._fuse = journal, fuse

    def facts(self) -> JournalFacts:
        return self._journal.facts()

    def append(self, record: JournalRecord) -> None:
        self._fuse.tick()
        self._journal.append(record)
        self._fuse.tick()

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        with self._journal.locked(purpose):
            yield


class FragileHooks:
    """Hooks behind a fuse: killed before one, or after it with nobody who knows what it said."""

    def __init__(self, hooks: HookRunner, fuse: Fuse) -> None:
        self._hooks, self._fuse = hooks, fuse

    def run(self, hook: Hook, environment: Mapping[str, str]) -> None:
        self._fuse.tick()
        try:
            self._hooks.run(hook, environment)
        finally:
            self._fuse.tick()


def fragile(
    zfs: MemoryZfs,
    files: MemoryFiles,
    guest: Guest,
    journal: Journal,
    hooks: HookRunner,
    fuse: Fuse,
    blind_to: str | None = None,
) -> tuple[Zfs, Files, Guest, Journal, HookRunner]:
    """Put all of them behind FUSE."""
    return (
        cast(Zfs, FragileZfs(zfs, fuse, blind_to)),
        cast(Files, FragileFiles(files, fuse)),
        cast(Guest, FragileGuest(guest, fuse)),
        FragileJournal(journal, fuse),
        FragileHooks(hooks, fuse),
    )
