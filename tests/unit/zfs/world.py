"""A ZFS to test, with what other people and programs do to it; here the one in memory."""

from typing import Protocol

from reconciler.contracts.zfs import Zfs
from reconciler.model.observed import Reading
from reconciler.names import Dataset, Snapshot
from reconciler.simulate.zfs import MemoryZfs

_HOME = Dataset("tank/home")


class World(Protocol):
    """A pool with one mounted filesystem ``home`` to play in."""

    @property
    def zfs(self) -> Zfs:
        """What is tested."""

    @property
    def home(self) -> Dataset:
        """The filesystem to play in."""

    def volume(self, name: Dataset) -> None:
        """Make a small volume."""

    def write(self, name: Dataset, content: str) -> None:
        """Replace the content of a mounted filesystem."""

    def content(self, name: Dataset) -> str:
        """Tell the content of a mounted filesystem."""

    def open(self, name: Dataset) -> None:
        """Let a process use a mounted filesystem or a volume."""

    def close(self, name: Dataset) -> None:
        """Undo ``open``."""

    def hold_as(self, tag: str, name: Snapshot) -> None:
        """Hold a snapshot with somebody else's tag."""

    def release_as(self, tag: str, name: Snapshot) -> None:
        """Undo ``hold_as``."""

    def defer(self, name: Snapshot) -> None:
        """Destroy a snapshot as soon as nothing keeps it."""

    def fill(self, *, full: bool) -> None:
        """Leave no room in the pool, or make room again."""


class MemoryWorld:
    """The model as a World."""

    def __init__(self, home: Dataset = _HOME, mountpoint: str = "/tank") -> None:
        self.zfs = MemoryZfs(first_guid=1 << 62)
        self.zfs.add_pool(home.pool, mountpoint=mountpoint)
        self.home = home
        self.zfs.create(self.home, {}, canmount="on")
        self.zfs.mount(self.home)

    def volume(self, name: Dataset) -> None:
        self.zfs.create_volume(name)

    def write(self, name: Dataset, content: str) -> None:
        self.zfs.write(name, content)

    def content(self, name: Dataset) -> str:
        return self.zfs.content(name)

    def open(self, name: Dataset) -> None:
        self.zfs.open(name)

    def close(self, name: Dataset) -> None:
        self.zfs.close(name)

    def hold_as(self, tag: str, name: Snapshot) -> None:
        self.zfs.hold_as(tag, [name])

    def release_as(self, tag: str, name: Snapshot) -> None:
        self.zfs.release_as(tag, [name])

    def defer(self, name: Snapshot) -> None:
        self.zfs.defer(name)

    def fill(self, *, full: bool) -> None:
        self.zfs.set_full(full=full)


def look(world: World) -> Reading:
    """Read all of the world's home, which must be readable."""
    reading = world.zfs.read([world.home])[world.home]
    assert not reading.gaps
    return reading


def guid(world: World, name: Dataset | Snapshot) -> int:
    """Read the guid of an object that must be there."""
    reading = look(world)
    facts = reading.snapshot(name) if isinstance(name, Snapshot) else reading.dataset(name)
    assert facts is not None
    return facts.guid
