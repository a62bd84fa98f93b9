"""Random operations on a World, as plain values that can be printed and replayed.

An operation is a tuple of its name and text arguments. They are drawn from what the model has, with
some nonsense among them, and applied alike to any World; the result is ``done`` or the kind of the
refusal.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from reconciler.errors import ZfsRefused
from reconciler.model.observed import DatasetFacts, DatasetKind, Reading, SnapshotFacts
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot
from tests.unit.zfs.world import MemoryWorld, World, look

Operation = tuple[str, ...]
Guids = Mapping[str, int]

WEIGHTS = {
    "snapshot": 18,
    "clone": 18,
    "destroy": 8,
    "hold": 8,
    "promote": 8,
    "release": 6,
    "rollback": 6,
    "set": 6,
    "mount": 6,
    "unmount": 5,
    "rename": 4,
    "create": 4,
    "write": 5,
    "canmount": 2,
    "volume": 3,
    "hold_as": 2,
    "release_as": 2,
    "defer": 2,
    "open": 2,
    "close": 2,
}
_LARGEST = 24  # datasets; beyond this the draws are destroys
_FEW = 9  # datasets; below this they are left to grow
_WRONG = "wrong"


class Draw:
    """Draws operations that fit, more or less, what the model has now."""

    def __init__(self, seed: int, world: MemoryWorld, *, whole: bool) -> None:
        """WHOLE: a destroy is all or nothing even if a volume in it turns out to be open."""
        self._whole = whole
        self._random = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
        self._world = world
        self._opened: list[Dataset] = []
        self._first = _settlement(str(world.home))
        self._reading = look(world)

    def reseed(self, seed: int) -> None:
        """Let what follows depend on SEED only."""
        self._random.seed(seed)

    def next(self) -> Operation:
        """Draw one operation."""
        if self._first:
            return self._first.pop(0)
        self._reading = look(self._world)
        crowded = len(self._reading.datasets) > _LARGEST
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        kind = self._random.choices(
            ["destroy"] if crowded else kinds, None if crowded else weights
        )[0]
        return kind, *map(str, getattr(self, f"_{kind}")())

    def _dataset(self, kind: DatasetKind | None = None) -> Dataset:
        if self._random.random() < 0.02:
            return self._world.home.child("never")
        fitting = [
            facts.name
            for facts in self._reading.datasets
            if facts.name != self._world.home and kind in {None, facts.kind}
        ]
        return self._random.choice(fitting) if fitting else self._world.home.child("x1")

    def _any_snapshot(self) -> Snapshot:
        names = [facts.name for facts in self._reading.snapshots]
        if not names or self._random.random() < 0.03:
            return self._dataset().snapshot("never")
        return self._random.choice(names)

    def _some_snapshots(self) -> list[str]:
        drawn = [self._any_snapshot() for _ in range(self._random.choice([1, 1, 2, 3]))]
        return list(dict.fromkeys(drawn))

    def _new(self) -> Dataset:
        parent = self._world.home if self._random.random() < 0.6 else self._dataset()
        if parent.count("/") > 4:
            parent = self._world.home
        return parent.child(f"x{self._random.randrange(12)}")

    def _guard(self, name: str) -> str:
        guard = self._random.choices(["right", "none", _WRONG], [70, 26, 4])[0]
        return f"{name} {guard}"

    def _snapshot(self) -> list[str]:
        short = f"s{self._random.randrange(9)}"
        datasets = {self._dataset() for _ in range(self._random.choice([1, 1, 2, 3]))}
        names = [str(name.snapshot(short)) for name in sorted(datasets)]
        self._random.shuffle(names)
        return names

    def _clone(self) -> list[str]:
        origin = self._any_snapshot()
        facts = self._reading.dataset(origin.dataset)
        volume = facts is not None and facts.kind is DatasetKind.VOLUME
        target = self._new()
        if target.parent is not None and self._is_volume(target.parent):
            return []  # libzfs_core would do it
        return [origin, target, "volume" if volume else "filesystem"]

    def _destroy(self) -> list[str]:
        """Take what is below some dataset, clones included, perhaps with something missing."""
        targets: list[str] = []
        few = len(self._reading.datasets) < _FEW
        if self._random.random() < (0.85 if few else 0.5):
            targets = self._some_snapshots()
        else:
            self._gather(self._dataset(), targets, set())
            if self._random.random() < 0.35:
                targets.pop(self._random.randrange(len(targets)))
            in_use = [name for name in targets if name in self._opened]
            if in_use and not self._whole:
                targets = in_use[:1]
        return [self._guard(name) for name in targets] or [self._guard(self._any_snapshot())]

    def _gather(self, name: Dataset, targets: list[str], seen: set[Dataset]) -> None:
        if name in seen:
            return
        seen.add(name)
        for facts in self._reading.datasets:
            inside = facts.origin is not None and facts.origin.dataset == name
            if facts.name.parent == name or inside:
                self._gather(facts.name, targets, seen)
        targets.extend(
            facts.name for facts in self._reading.snapshots if facts.name.dataset == name
        )
        targets.append(name)

    def _hold(self) -> list[str]:
        return self._some_snapshots()

    _release = _hold

    def _hold_as(self) -> list[str]:
        free = [facts.name for facts in self._reading.snapshots if "theirs" not in facts.holds]
        return [self._random.choice(free)] if free else []

    def _release_as(self) -> list[str]:
        held = [facts.name for facts in self._reading.snapshots if "theirs" in facts.holds]
        return [self._random.choice(held)] if held else []

    def _defer(self) -> list[str]:
        kept = [facts.name for facts in self._reading.snapshots if facts.holds or facts.clones]
        return [self._random.choice(kept)] if kept else []

    def _promote(self) -> list[str]:
        clones: list[str] = [
            facts.name for facts in self._reading.datasets if facts.origin is not None
        ]
        number = self._random.choice([1, 1, 1, 2, 2, 3])
        drawn = self._random.sample(clones, min(number, len(clones)))
        return drawn if drawn and self._random.random() < 0.9 else [*drawn, self._dataset()]

    def _rollback(self) -> list[str]:
        dataset = self._dataset()
        if dataset in self._opened:
            return []
        taken = [facts for facts in self._reading.snapshots if facts.name.dataset == dataset]
        if not taken or self._random.random() < 0.1:
            return [self._guard(dataset), self._guard(self._any_snapshot())]
        latest = self._random.random() < 0.7
        chosen = taken[-1] if latest else self._random.choice(taken)
        return [self._guard(dataset), self._guard(chosen.name)]

    def _set(self) -> list[str]:
        target = self._dataset() if self._random.random() < 0.3 else self._any_snapshot()
        key = self._random.choice(["ckptree:about", "ckptree:node", "ckptree:labels"])
        value = self._random.choice(["-", "=", "=plain", "=a\tb\nc", "=ünï 100%"])
        return [target, key, value]

    def _mount(self) -> list[str]:
        """Leave out what would hide another mount: that is the operating system's matter."""
        name = self._dataset()
        mounted = [facts.name for facts in self._reading.datasets if facts.mounted]
        return [] if any(other.below(name) for other in mounted) else [name]

    def _unmount(self) -> list[str]:
        mounted = [facts.name for facts in self._reading.datasets[1:] if facts.mounted]
        return [self._random.choice([*mounted, self._dataset()])]

    def _rename(self) -> list[str]:
        old = self._dataset()
        if any(name.below(old) and self._is_volume(name) for name in self._opened):
            return []
        return [old, self._new()]

    def _create(self) -> list[str]:
        return [self._new(), self._random.choice(["on", "on", "noauto", "off"])]

    def _write(self) -> list[str]:
        mounted = [facts.name for facts in self._reading.datasets if facts.mounted]
        return [self._random.choice(mounted), f"content {self._random.randrange(10**6)}"]

    def _canmount(self) -> list[str]:
        return [self._dataset(), self._random.choice(["on", "noauto", "off"])]

    def _volume(self) -> list[str]:
        new = self._new()
        parent = None if new.parent is None else self._reading.dataset(new.parent)
        if self._reading.dataset(new) or parent is None or self._is_volume(parent.name):
            return []
        return [new]

    def _open(self) -> list[str]:
        free = [
            facts.name
            for facts in self._reading.datasets
            if (facts.mounted or facts.kind is DatasetKind.VOLUME)
            and facts.name not in self._opened
            and facts.name != self._world.home
        ]
        if not free:
            return []
        self._opened.append(self._random.choice(free))
        return [self._opened[-1]]

    def _close(self) -> list[str]:
        if not self._opened:
            return []
        return [self._opened.pop(self._random.randrange(len(self._opened)))]

    def _is_volume(self, name: Dataset) -> bool:
        facts = self._reading.dataset(name)
        return facts is not None and facts.kind is DatasetKind.VOLUME


def _settlement(home: str) -> list[Operation]:
    """Make the operations by which every sequence begins: something for the others to work on."""
    branch, other = f"{home}/x1", f"{home}/x2"
    return [
        ("create", branch, "on"),
        ("mount", branch),
        ("volume", f"{branch}/x3"),
        ("write", branch, "first"),
        ("snapshot", f"{branch}@s1", f"{branch}/x3@s1"),
        ("write", branch, "second"),
        ("snapshot", f"{branch}/x3@s2", f"{branch}@s2"),
        ("clone", f"{branch}@s1", other, "filesystem"),
        ("clone", f"{branch}/x3@s1", f"{other}/x3", "volume"),
        ("mount", other),
        ("snapshot", f"{other}@s3", f"{other}/x3@s3"),
        ("hold", f"{branch}@s1", f"{other}@s3"),
    ]


def apply(world: World, operation: Operation, guids: Guids) -> str:
    """Carry OPERATION out; GUIDS tells the guids in this world of the names that it guards."""
    kind, *words = operation
    if not words:
        return "nothing"
    try:
        if kind in _OPERATIONS:
            _OPERATIONS[kind](world, words)
        else:
            _guarded(world, kind, words, guids)
    except ZfsRefused as refusal:
        return refusal.kind.value
    return "done"


def _name(text: str) -> Dataset | Snapshot:
    return Snapshot(text) if "@" in text else Dataset(text)


def _ref(word: str, guids: Guids) -> Ref:
    text, guard = word.split(" ")
    guid = {"right": guids.get(text), "none": None, _WRONG: 12345}[guard]
    name = _name(text)
    return SnapshotRef(name, guid) if isinstance(name, Snapshot) else DatasetRef(name, guid)


def _guarded(world: World, kind: str, words: list[str], guids: Guids) -> None:
    refs = [_ref(word, guids) for word in words]
    if kind == "destroy":
        world.zfs.destroy(refs)
    else:
        dataset, snapshot = refs
        assert isinstance(dataset, DatasetRef)
        assert isinstance(snapshot, SnapshotRef)
        world.zfs.rollback(dataset, snapshot)


def _snapshots(words: list[str]) -> list[Snapshot]:
    return [Snapshot(word) for word in words]


def _do_snapshot(world: World, words: list[str]) -> None:
    world.zfs.snapshot(_snapshots(words), {"ckptree:node": words[0].partition("@")[2]})


def _do_clone(world: World, words: list[str]) -> None:
    origin, target, kind = words
    world.zfs.clone(
        Snapshot(origin), Dataset(target), {"ckptree:branch": "1"}, volume=kind == "volume"
    )


def _do_set(world: World, words: list[str]) -> None:
    target, key, value = words
    text = value.removeprefix("=") if value.startswith("=") else None
    world.zfs.set_properties(_name(target), {key: text})


_OPERATIONS: Mapping[str, Callable[[World, list[str]], None]] = {
    "snapshot": _do_snapshot,
    "clone": _do_clone,
    "set": _do_set,
    "hold": lambda world, words: world.zfs.hold(_snapshots(words)),
    "release": lambda world, words: world.zfs.release(_snapshots(words)),
    "create": lambda world, words: world.zfs.create(Dataset(words[0]), {}, canmount=words[1]),
    "canmount": lambda world, words: world.zfs.set_canmount(Dataset(words[0]), words[1]),
    "rename": lambda world, words: world.zfs.rename(Dataset(words[0]), Dataset(words[1])),
    "promote": lambda world, words: world.zfs.promote([Dataset(word) for word in words]),
    "mount": lambda world, words: world.zfs.mount(Dataset(words[0])),
    "unmount": lambda world, words: world.zfs.unmount(Dataset(words[0])),
    "volume": lambda world, words: world.volume(Dataset(words[0])),
    "write": lambda world, words: world.write(Dataset(words[0]), words[1]),
    "hold_as": lambda world, words: world.hold_as("theirs", Snapshot(words[0])),
    "release_as": lambda world, words: world.release_as("theirs", Snapshot(words[0])),
    "defer": lambda world, words: world.defer(Snapshot(words[0])),
    "open": lambda world, words: world.open(Dataset(words[0])),
    "close": lambda world, words: world.close(Dataset(words[0])),
}


def guids(reading: Reading) -> dict[str, int]:
    """Tell the guid of every object in a reading by name."""
    facts: list[DatasetFacts | SnapshotFacts] = [*reading.datasets, *reading.snapshots]
    return {str(one.name): one.guid for one in facts}


def comparable(reading: Reading) -> Reading:
    """Replace what no two ZFS have in common: guids, sizes, and the distance of transactions."""
    facts: list[DatasetFacts | SnapshotFacts] = [*reading.datasets, *reading.snapshots]
    order = {txg: rank for rank, txg in enumerate(sorted({one.createtxg for one in facts}))}
    return replace(
        reading,
        datasets=tuple(
            replace(one, guid=0, createtxg=order[one.createtxg], used=0, referenced=0, written=0)
            for one in reading.datasets
        ),
        snapshots=tuple(
            replace(one, guid=0, createtxg=order[one.createtxg], used=0, referenced=0)
            for one in reading.snapshots
        ),
    )
