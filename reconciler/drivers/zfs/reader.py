"""Reads the host's ZFS through the ``zfs`` command: one process for all roots, one more for holds.

The command needs no privilege, knows what is mounted, and is as fast as anything else can be;
``listing`` understands what it prints. What fails here is a Gap: an absence is only believed when
the parent could be listed without it. A pool that does not answer in time is not asked again in the
same reading, and costs no other pool its answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.contracts.zfs import is_home
from reconciler.drivers.command import run
from reconciler.drivers.zfs.listing import (
    ASKED,
    Listing,
    parse,
    parse_holds,
    parse_local,
)
from reconciler.errors import CommandFailed, ObservationFailed
from reconciler.model.observed import DatasetKind, Gap, PoolFacts, Reading, SnapshotFacts
from reconciler.model.properties import BRANCH, VM
from reconciler.names import Dataset, Snapshot

EVERYTHING = "filesystem,volume,snapshot"
_ROWS = "name,property,value,source"  # what ``listing`` understands

_Name = TypeVar("_Name", Dataset, Snapshot, str)

_TIMEOUT = 300.0  # seconds; a pool that hangs must not hang us
_LONGEST_ARGUMENTS = 64 << 10  # bytes of names in one command, far below every system's limit


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to read: TYPES as in zfs-get(8), DEPTH levels below each root (none: all)."""

    types: str = EVERYTHING
    depth: int | None = None


class CommandReader:
    """Reads through the ``zfs`` and ``zpool`` commands; implements ``contracts.zfs.ZfsReader``."""

    def __init__(self, *, zfs: str = "zfs", zpool: str = "zpool") -> None:
        self._zfs = zfs
        self._zpool = zpool

    def read(self, roots: Sequence[Dataset]) -> Mapping[Dataset, Reading]:
        """Read as the contract says."""
        return self.look(roots, Scope())

    def look(self, roots: Sequence[Dataset], scope: Scope) -> Mapping[Dataset, Reading]:
        """Read the part of ROOTS that SCOPE names; otherwise the same as ``read``."""
        found: dict[Dataset, Reading] = {}
        hung: set[str] = set()
        for chunk in _chunks(roots):
            found |= self._read_once(chunk, scope, hung)
        shaken = [root for root, reading in found.items() if reading.gaps and root.pool not in hung]
        for chunk in _chunks(shaken):  # something may have gone between two calls: once more
            found |= self._read_once(chunk, scope, hung)
        return {root: found[root] for root in roots}

    def guids(self, names: Sequence[Dataset | Snapshot]) -> Mapping[Dataset | Snapshot, int]:
        """Read as the contract says."""
        if not names:
            return {}
        words = [self._zfs, "get", "-Hp", "-o", "name,value", "guid"]
        try:
            # The command sorts what it tells, whatever the order of the names.
            lines = run([*words, *names], timeout=_TIMEOUT).stdout.splitlines()
            found = dict(line.split("\t") for line in lines)
            return {name: int(found[name]) for name in names}
        except CommandFailed as error:
            if error.code is None:
                raise ObservationFailed(str(error)) from error
            if len(names) > 1:  # the exit code does not tell which of them failed
                return {one: guid for name in names for one, guid in self.guids([name]).items()}
            name = names[0]
            dataset = name.dataset if isinstance(name, Snapshot) else name
            reading = self.look([dataset], Scope(depth=1))[dataset]
            if reading.gaps:
                raise ObservationFailed(f"{name} cannot be read: {error}") from error
            facts = reading.snapshot(name) if isinstance(name, Snapshot) else reading.dataset(name)
            return {} if facts is None else {name: facts.guid}
        except (KeyError, ValueError) as error:
            raise ObservationFailed(f"the guids of {', '.join(names)} cannot be read") from error

    def mounted_at(self, dataset: Dataset) -> str | None:
        """Read as the contract says."""
        words = [self._zfs, "get", "-Hp", "-o", "value", "mounted,mountpoint", dataset]
        try:
            mounted, _, path = run(words, timeout=_TIMEOUT).stdout.rstrip("\n").partition("\n")
        except CommandFailed as error:
            if self._proven_absent(dataset):
                return None
            raise ObservationFailed(f"{dataset} cannot be read: {error}") from error
        return path if mounted == "yes" and path.startswith("/") else None

    def pool(self, dataset: Dataset) -> PoolFacts:
        """Read as the contract says; for a dataset that does not exist, its nearest parent."""
        asked = ("get", "-Hp", "-o", "value")
        try:
            pool = run([self._zpool, *asked, "health,readonly", dataset.pool], timeout=_TIMEOUT)
            health, readonly = pool.stdout.split()
            available = self._room(dataset)
        except (CommandFailed, ValueError) as error:
            raise ObservationFailed(f"pool {dataset.pool} cannot be read: {error}") from error
        return PoolFacts(
            name=dataset.pool, health=health, readonly=readonly == "on", available=available
        )

    def pools(self, datasets: Sequence[Dataset]) -> Mapping[Dataset, PoolFacts]:
        """Read as the contract says."""
        asked = ("get", "-Hp", "-o", "name,property,value")
        names = sorted({dataset.pool for dataset in datasets})
        words: list[tuple[str, str, str]] = []
        try:
            commands = [
                [self._zpool, *asked, "health,readonly", *chunk] for chunk in _chunks(names)
            ]
            commands += [[self._zfs, *asked, "available", *chunk] for chunk in _chunks(datasets)]
            for command in commands:
                for line in run(command, timeout=_TIMEOUT).stdout.splitlines():
                    name, key, value = line.split("\t")
                    words.append((name, key, value))
            said = {(name, key): value for name, key, value in words}
            return {
                dataset: PoolFacts(
                    name=dataset.pool,
                    health=said[dataset.pool, "health"],
                    readonly=said[dataset.pool, "readonly"] == "on",
                    available=int(said[dataset, "available"]),
                )
                for dataset in datasets
            }
        except (CommandFailed, KeyError, ValueError) as error:
            raise ObservationFailed(
                f"the pools {', '.join(names)} cannot be read: {error}"
            ) from error

    def _room(self, dataset: Dataset) -> int:
        try:
            words = [self._zfs, "get", "-Hp", "-o", "value", "available", dataset]
            return int(run(words, timeout=_TIMEOUT).stdout)
        except CommandFailed:
            if dataset.parent is None or not self._proven_absent(dataset):
                raise
            return self._room(dataset.parent)

    def homes(self) -> Mapping[Dataset, str]:
        """Read as the contract says."""
        asked = (VM, BRANCH)
        words = ["get", "-Hp", "-t", "filesystem", "-s", "local", "-o", _ROWS]
        try:
            listed = run([self._zfs, *words, ",".join(asked)], timeout=_TIMEOUT)
        except CommandFailed as error:
            raise ObservationFailed(f"ZFS cannot be read: {error}") from error
        return {
            Dataset(name): properties[VM]
            for name, properties in parse_local(listed.stdout, asked).items()
            if is_home(DatasetKind.FILESYSTEM, properties)
        }

    def _read_once(
        self, roots: Sequence[Dataset], scope: Scope, hung: set[str]
    ) -> Mapping[Dataset, Reading]:
        """Read ROOTS; pools in HUNG are not asked, and those that do not answer in time get into it."""
        found = {root: _unanswered(root) for root in roots if root.pool in hung}
        asked = [root for root in roots if root not in found]
        if not asked:
            return found
        depth = ["-r"] if scope.depth is None else ["-d", str(scope.depth)]
        words = ["get", "-Hp", *depth, "-t", scope.types, "-o", _ROWS]
        try:
            text = run([self._zfs, *words, ",".join(ASKED), *asked], timeout=_TIMEOUT).stdout
        except CommandFailed as error:
            pools = list(_by_pool(asked).values())
            if error.code is None and len(pools) == 1:
                hung.add(asked[0].pool)
                return found | {root: _unanswered(root) for root in asked}
            if error.code is not None and len(asked) == 1:
                return found | {asked[0]: self._unread(asked[0], error)}
            # Nothing tells which of them failed. Hundreds of roots of a pool that hangs would take hours one by one.
            parts = pools if error.code is None else [[root] for root in asked]
            with ThreadPoolExecutor(len(pools)) as executor:
                for part in executor.map(lambda part: self._read_once(part, scope, hung), parts):
                    found |= part
            return found
        listing = parse(text)
        snapshots = self._with_holds(listing, hung)
        return found | {root: _reading(root, listing, snapshots) for root in asked}

    def _unread(self, root: Dataset, error: CommandFailed) -> Reading:
        if "does not exist" in error.stderr and self._proven_absent(root):
            return Reading(root=root)
        return Reading(root=root, gaps=(Gap(root, str(error)),))

    def _proven_absent(self, name: Dataset) -> bool:
        """Whether NAME is missing from a complete listing of what is beside it.

        Raises ObservationFailed if not even the pools can be listed.
        """
        parent = name.parent
        if parent is None:
            try:
                pools = run([self._zpool, "list", "-H", "-o", "name"], timeout=_TIMEOUT).stdout
            except CommandFailed as error:
                raise ObservationFailed(f"ZFS cannot be read: {error}") from error
            return name not in pools.split("\n")
        words = ["list", "-H", "-o", "name", "-t", "filesystem,volume", "-d", "1", parent]
        try:
            beside = run([self._zfs, *words], timeout=_TIMEOUT).stdout
        except CommandFailed as error:
            return error.code is not None and self._proven_absent(parent)
        return name not in beside.split("\n")

    def _with_holds(self, listing: Listing, hung: set[str]) -> Sequence[SnapshotFacts]:
        tags: dict[Snapshot, frozenset[str]] = {}
        for pool, held in _by_pool(list(listing.held)).items():
            for chunk in _chunks(held):
                if pool in hung:
                    listing.gaps.extend(Gap(name, _no_answer(pool)) for name in chunk)
                    continue
                try:
                    text = run([self._zfs, "holds", "-H", *chunk], timeout=_TIMEOUT).stdout
                except CommandFailed as error:
                    if error.code is None:
                        hung.add(pool)
                    listing.gaps.extend(Gap(name, str(error)) for name in chunk)
                    continue
                tags |= parse_holds(text, chunk)
        for name, found in tags.items():
            if len(found) != listing.held[name]:
                listing.gaps.append(Gap(name, f"{listing.held[name]} holds, {len(found)} listed"))
        return [
            replace(facts, holds=tags.get(facts.name, frozenset())) for facts in listing.snapshots
        ]


def _reading(root: Dataset, listing: Listing, snapshots: Sequence[SnapshotFacts]) -> Reading:
    """Pick what lies at and below ROOT; what cannot be read there is no fact."""
    gaps = tuple(gap for gap in listing.gaps if f"{gap.name}/".startswith((f"{root}/", f"{root}@")))
    unknown = {gap.name for gap in gaps}
    return Reading(
        root=root,
        datasets=tuple(
            sorted(
                (facts for facts in listing.datasets if facts.name.below(root)),
                key=lambda facts: facts.name,
            )
        ),
        snapshots=tuple(
            sorted(
                (
                    facts
                    for facts in snapshots
                    if facts.name.dataset.below(root) and facts.name not in unknown
                ),
                key=lambda facts: (facts.name.dataset, facts.createtxg, facts.name),
            )
        ),
        gaps=gaps,
    )


def _no_answer(pool: str) -> str:
    return f"pool {pool} did not answer within {_TIMEOUT:g} s"


def _unanswered(root: Dataset) -> Reading:
    return Reading(root=root, gaps=(Gap(root, _no_answer(root.pool)),))


def _by_pool(names: Sequence[_Name]) -> Mapping[str, list[_Name]]:
    pools: dict[str, list[_Name]] = {}
    for name in names:
        pools.setdefault(name.partition("@")[0].partition("/")[0], []).append(name)
    return pools


def _chunks(names: Sequence[_Name]) -> Iterator[list[_Name]]:
    chunk: list[_Name] = []
    size = 0
    for name in names:
        if chunk and size + len(name) >= _LONGEST_ARGUMENTS:
            yield chunk
            chunk, size = [], 0
        chunk.append(name)
        size += len(name) + 1
    if chunk:
        yield chunk
