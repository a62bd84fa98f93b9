"""What every implementation of ``contracts.zfs`` must do, stated once and run on each of them.

``tests/unit/zfs`` runs it on the model, ``tests/lab`` on real ZFS through both write paths.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from reconciler.errors import ZfsErrorKind, ZfsRefused
from reconciler.model.observed import Reading
from reconciler.model.properties import HOLD
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.names import Dataset, Snapshot
from tests.unit.zfs.world import World, guid, look

NODE = {"ckptree:node": "one", "ckptree:about": "tab\there, newline\nthere, ümlaut 100%"}


@contextmanager
def refused(kind: ZfsErrorKind, target: str | None = None) -> Iterator[None]:
    with pytest.raises(ZfsRefused) as caught:
        yield
    assert caught.value.kind is kind, caught.value
    assert target is None or caught.value.target == target, caught.value


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    before = _without_sizes(look(world))
    yield
    assert _without_sizes(look(world)) == before


def _without_sizes(reading: Reading) -> Reading:
    """Sizes change a little later than what they are the sizes of."""
    return replace(
        reading,
        datasets=tuple(replace(one, used=0, referenced=0, written=0) for one in reading.datasets),
        snapshots=tuple(replace(one, used=0, referenced=0) for one in reading.snapshots),
    )


class Tree:
    """A branch with a volume and two snapshots, and a mounted clone of the first."""

    def __init__(self, world: World) -> None:
        zfs = world.zfs
        self.branch = world.home.child("b-1")
        self.volume = self.branch.child("disk")
        self.clone = world.home.child("b-2")
        self.one = self.branch.snapshot("one")
        self.two = self.branch.snapshot("two")
        zfs.create(self.branch, {}, canmount="on")
        zfs.mount(self.branch)
        world.volume(self.volume)
        world.write(self.branch, "first")
        zfs.snapshot([self.one, self.volume.snapshot("one")], NODE)
        world.write(self.branch, "second")
        zfs.snapshot([self.two], {})
        zfs.clone(self.one, self.clone, {"ckptree:branch": "2"}, volume=False)

    def everything(self) -> list[Ref]:
        return [
            DatasetRef(self.clone),
            SnapshotRef(self.two),
            SnapshotRef(self.one),
            SnapshotRef(self.volume.snapshot("one")),
            DatasetRef(self.volume),
            DatasetRef(self.branch),
        ]


class ZfsContract:
    """Subclasses give a fixture ``world``."""

    @pytest.fixture
    def tree(self, world: World) -> Tree:
        return Tree(world)

    def test_a_new_tree_reads_as_made(self, world: World, tree: Tree) -> None:
        reading = look(world)
        branch, clone = reading.dataset(tree.branch), reading.dataset(tree.clone)
        one, two = reading.snapshot(tree.one), reading.snapshot(tree.two)
        assert branch is not None
        assert clone is not None
        assert one is not None
        assert two is not None
        assert branch.mounted
        assert branch.mountpoint is not None
        assert branch.mountpoint.endswith(f"/{world.home.leaf}/b-1")
        assert (clone.mounted, clone.canmount, clone.origin) == (False, "noauto", tree.one)
        assert clone.properties == {"ckptree:branch": "2"}
        assert one.properties == NODE
        assert one.clones == (tree.clone,)
        assert one.createtxg < two.createtxg
        assert two.properties == {}
        volume = reading.snapshot(tree.volume.snapshot("one"))
        assert volume is not None
        assert (volume.createtxg, volume.properties) == (one.createtxg, NODE)

    def test_an_absent_root_reads_empty(self, world: World, tree: Tree) -> None:
        absent = world.home.child("nothing")
        deeper = absent.child("below")
        readings = world.zfs.read([absent, tree.clone, deeper])
        assert not readings[absent].datasets + readings[deeper].datasets
        assert not readings[absent].gaps + readings[deeper].gaps
        assert [facts.name for facts in readings[tree.clone].datasets] == [tree.clone]

    def test_homes(self, world: World, tree: Tree) -> None:
        world.zfs.set_properties(world.home, {"ckptree:vm": "web"})
        world.zfs.set_properties(tree.branch, {"ckptree:vm": "web", "ckptree:branch": "1"})
        homes = world.zfs.homes()
        assert [name for name in homes if name.below(world.home)] == [world.home]
        assert homes[world.home] == "web"

    def test_pool(self, world: World) -> None:
        facts = world.zfs.pool(world.home.child("not").child("yet"))
        assert (facts.name, facts.health, facts.readonly) == (world.home.pool, "ONLINE", False)
        assert facts.available > 0

    def test_pools_of_many_are_the_same_as_one_by_one(self, world: World) -> None:
        homes = [world.home, world.home.parent or world.home]
        assert world.zfs.pools(homes) == {home: world.zfs.pool(home) for home in homes}

    def test_snapshot_all_or_none(self, world: World, tree: Tree) -> None:
        volume = tree.volume.snapshot("two")
        with unchanged(world), refused(ZfsErrorKind.EXISTS, tree.two):
            world.zfs.snapshot([volume, tree.two], {})
        gone = world.home.child("gone").snapshot("two")
        with unchanged(world), refused(ZfsErrorKind.NOT_FOUND):
            world.zfs.snapshot([volume, gone], {})
        with refused(ZfsErrorKind.INVALID):
            world.zfs.snapshot([volume, tree.volume.snapshot("three")], {})
        world.zfs.snapshot([], {})

    def test_sets_of_snapshots_are_of_one_instant_each_with_its_own_properties(
        self, world: World, tree: Tree
    ) -> None:
        first = tree.volume.snapshot("set")
        second = world.home.snapshot("set")
        sets = [
            ([first], {"ckptree:vm": "a", "ckptree:node": "x y"}),
            ([second], {"ckptree:vm": "b"}),
        ]
        world.zfs.snapshot_sets(sets)
        reading = world.zfs.read([world.home])[world.home]
        one, other = reading.snapshot(first), reading.snapshot(second)
        assert one is not None
        assert other is not None
        assert one.createtxg == other.createtxg
        assert one.properties == {"ckptree:vm": "a", "ckptree:node": "x y"}
        assert other.properties == {"ckptree:vm": "b"}
        with unchanged(world), refused(ZfsErrorKind.EXISTS, second):
            world.zfs.snapshot_sets([([tree.volume.snapshot("new")], {}), ([second], {})])
        gone = world.home.child("gone").snapshot("new")
        with unchanged(world), refused(ZfsErrorKind.NOT_FOUND):
            world.zfs.snapshot_sets([([tree.volume.snapshot("new")], {}), ([gone], {})])
        world.zfs.snapshot_sets([])

    def test_hold_and_release(self, world: World, tree: Tree) -> None:
        world.zfs.hold([tree.one])
        world.zfs.hold([tree.one, tree.two])
        world.hold_as("theirs", tree.one)
        one = look(world).snapshot(tree.one)
        assert one is not None
        assert one.holds == {HOLD, "theirs"}
        with unchanged(world), refused(ZfsErrorKind.NOT_FOUND):
            world.zfs.hold([tree.volume.snapshot("one"), tree.branch.snapshot("gone")])
        world.zfs.release([tree.one, tree.two, tree.branch.snapshot("gone")])
        world.zfs.release([tree.one])
        one = look(world).snapshot(tree.one)
        assert one is not None
        assert one.holds == {"theirs"}
        world.release_as("theirs", tree.one)

    def test_create(self, world: World, tree: Tree) -> None:
        new = world.home.child("new")
        world.zfs.create(new, {"ckptree:vm": "web"}, canmount="off")
        facts = look(world).dataset(new)
        assert facts is not None
        assert (facts.canmount, facts.mounted) == ("off", False)
        assert facts.properties == {"ckptree:vm": "web"}
        with refused(ZfsErrorKind.EXISTS):
            world.zfs.create(new, {}, canmount="on")
        with refused(ZfsErrorKind.NOT_FOUND):
            world.zfs.create(world.home.child("no").child("x"), {}, canmount="on")
        with refused(ZfsErrorKind.INVALID):
            world.zfs.create(tree.volume.child("x"), {}, canmount="on")

    def test_clone(self, world: World, tree: Tree) -> None:
        volume = tree.clone.child("disk")
        world.zfs.clone(tree.volume.snapshot("one"), volume, {}, volume=True)
        with unchanged(world):
            new = world.home.child("new")
            for kind, origin, target, is_volume in (
                (ZfsErrorKind.NOT_FOUND, tree.branch.snapshot("gone"), new, False),
                (ZfsErrorKind.EXISTS, tree.one, tree.clone, False),
                (ZfsErrorKind.NOT_FOUND, tree.one, new.child("x"), False),
                (ZfsErrorKind.INVALID, tree.one, Dataset("elsewhere/x"), False),
            ):
                with refused(kind):
                    world.zfs.clone(origin, target, {}, volume=is_volume)

    def test_a_clone_has_the_bytes_of_its_origin(self, world: World, tree: Tree) -> None:
        world.zfs.mount(tree.clone)
        assert world.content(tree.clone) == "first"
        assert world.content(tree.branch) == "second"

    def test_set_properties(self, world: World, tree: Tree) -> None:
        for target in (tree.one, tree.branch, tree.volume):
            changes = {"ckptree:about": "a\tb\nc", "ckptree:node": None, "ckptree:labels": ""}
            world.zfs.set_properties(target, changes)
            reading = look(world)
            facts = (
                reading.snapshot(target)
                if isinstance(target, Snapshot)
                else reading.dataset(target)
            )
            assert facts is not None
            assert facts.properties == {"ckptree:about": "a\tb\nc", "ckptree:labels": ""}
        two = look(world).snapshot(tree.two)
        assert two is not None
        assert two.properties == {}, "what the filesystem has is not the snapshot's own"
        with unchanged(world):
            for name, value in (("about", "x"), ("Ckptree:x", "x"), ("ckptree:x", "x" * 8192)):
                with refused(ZfsErrorKind.INVALID):
                    world.zfs.set_properties(tree.one, {"ckptree:about": "new", name: value})
            with refused(ZfsErrorKind.NOT_FOUND):
                world.zfs.set_properties(tree.branch.snapshot("gone"), {"ckptree:about": "x"})
        world.zfs.set_properties(tree.one, {"ckptree:about": "x" * 8191})

    def test_canmount_neither_mounts_nor_unmounts(self, world: World, tree: Tree) -> None:
        world.zfs.set_canmount(tree.branch, "noauto")
        world.zfs.set_canmount(tree.clone, "on")
        reading = look(world)
        branch, clone = reading.dataset(tree.branch), reading.dataset(tree.clone)
        assert branch is not None
        assert clone is not None
        assert (branch.canmount, branch.mounted) == ("noauto", True)
        assert (clone.canmount, clone.mounted) == ("on", False)
        with unchanged(world):
            with refused(ZfsErrorKind.BUSY):
                world.zfs.set_canmount(tree.branch, "off")
            with refused(ZfsErrorKind.INVALID):
                world.zfs.set_canmount(tree.volume, "on")
            with refused(ZfsErrorKind.NOT_FOUND):
                world.zfs.set_canmount(world.home.child("gone"), "on")

    def test_rename_takes_everything_along(self, world: World, tree: Tree) -> None:
        world.zfs.hold([tree.one])
        before = look(world)
        new = world.home.child("moved")
        world.zfs.rename(tree.branch, new)
        after = look(world)
        old, branch = before.dataset(tree.branch), after.dataset(new)
        assert old is not None
        assert branch is not None
        assert (branch.guid, branch.mounted) == (old.guid, True)
        assert branch.mountpoint is not None
        assert branch.mountpoint.endswith(f"/{world.home.leaf}/moved")
        clone, one = after.dataset(tree.clone), after.snapshot(new.snapshot("one"))
        assert clone is not None
        assert one is not None
        assert clone.origin == new.snapshot("one")
        assert one.holds == {HOLD}
        assert after.dataset(new.child("disk")) is not None
        with unchanged(world):
            for kind, name, target in (
                (ZfsErrorKind.NOT_FOUND, tree.branch, world.home.child("x")),
                (ZfsErrorKind.EXISTS, new, tree.clone),
                (ZfsErrorKind.NOT_FOUND, new, world.home.child("x").child("y")),
                (ZfsErrorKind.INVALID, new, new.child("x")),
                (ZfsErrorKind.INVALID, tree.clone, new.child("disk").child("x")),
            ):
                with refused(kind):
                    world.zfs.rename(name, target)

    def test_a_filesystem_in_use_is_left_alone(self, world: World, tree: Tree) -> None:
        world.open(tree.branch)
        with unchanged(world):
            with refused(ZfsErrorKind.BUSY):
                world.zfs.rename(tree.branch, world.home.child("moved"))
            with refused(ZfsErrorKind.BUSY):
                world.zfs.unmount(tree.branch)
            with refused(ZfsErrorKind.BUSY):
                world.zfs.destroy(tree.everything())
        world.close(tree.branch)
        world.zfs.unmount(tree.branch)

    def test_unmount_touches_only_the_one(self, world: World, tree: Tree) -> None:
        with unchanged(world), refused(ZfsErrorKind.BUSY):
            world.zfs.unmount(world.home)
        world.zfs.unmount(tree.branch)
        world.zfs.unmount(tree.branch)
        world.zfs.unmount(world.home)
        world.zfs.mount(world.home)
        world.zfs.mount(tree.branch)
        world.zfs.mount(tree.branch)
        assert world.content(tree.branch) == "second"
        gone = world.home.child("gone")
        for operation in (world.zfs.mount, world.zfs.unmount):
            with refused(ZfsErrorKind.NOT_FOUND):
                operation(gone)
        with refused(ZfsErrorKind.INVALID):
            world.zfs.mount(tree.volume)
        world.zfs.set_canmount(tree.clone, "off")
        with refused(ZfsErrorKind.INVALID):
            world.zfs.mount(tree.clone)

    def test_promote(self, world: World, tree: Tree) -> None:
        world.zfs.hold([tree.one])
        volume = tree.clone.child("disk")
        world.zfs.clone(tree.volume.snapshot("one"), volume, {}, volume=True)
        before = look(world).snapshot(tree.one)
        world.zfs.promote([tree.clone, volume])
        reading = look(world)
        moved = reading.snapshot(tree.clone.snapshot("one"))
        branch = reading.dataset(tree.branch)
        assert before is not None
        assert moved is not None
        assert branch is not None
        assert (moved.guid, moved.createtxg) == (before.guid, before.createtxg)
        assert (moved.properties, moved.holds) == (before.properties, before.holds)
        assert moved.clones == (tree.branch,)
        assert branch.origin == tree.clone.snapshot("one")
        assert reading.snapshot(tree.two) is not None
        assert reading.snapshot(volume.snapshot("one")) is not None

    def test_promote_is_all_or_none(self, world: World, tree: Tree) -> None:
        volume = tree.clone.child("disk")
        world.zfs.clone(tree.volume.snapshot("one"), volume, {}, volume=True)
        sibling = world.home.child("b-3")
        world.zfs.clone(tree.one, sibling, {}, volume=False)
        world.zfs.snapshot([volume.snapshot("one")], {})
        with unchanged(world):
            for kind, clones in (
                (ZfsErrorKind.EXISTS, [tree.clone, volume]),
                (ZfsErrorKind.NOT_A_CLONE, [tree.clone, tree.branch]),
                (ZfsErrorKind.NOT_FOUND, [tree.clone, world.home.child("gone")]),
                (ZfsErrorKind.INVALID, [tree.clone, sibling]),
            ):
                with refused(kind):
                    world.zfs.promote(clones)

    def test_destroy_of_everything(self, world: World, tree: Tree) -> None:
        world.zfs.hold([tree.one, tree.two])
        world.zfs.unmount(tree.branch)
        targets = [
            DatasetRef(ref.name, guid(world, ref.name))
            if isinstance(ref, DatasetRef)
            else SnapshotRef(ref.name, guid(world, ref.name))
            for ref in tree.everything()
        ]
        world.zfs.destroy(targets)
        assert [facts.name for facts in look(world).datasets] == [world.home]
        world.zfs.destroy(targets)

    @pytest.mark.parametrize(
        ("kind", "spoil"),
        [
            (ZfsErrorKind.HAS_CLONES, lambda _, tree: tree.everything()[1:]),
            (
                ZfsErrorKind.HAS_SNAPSHOTS,
                lambda _, tree: tree.everything()[:1] + tree.everything()[2:],
            ),
            (
                ZfsErrorKind.HAS_CHILDREN,
                lambda _, tree: tree.everything()[:3] + tree.everything()[5:],
            ),
            (ZfsErrorKind.HAS_CLONES, lambda _, tree: tree.everything()[::-1][2:]),
            (
                ZfsErrorKind.GUID_CHANGED,
                lambda _, tree: [*tree.everything()[:-1], DatasetRef(tree.branch, 7)],
            ),
            (
                ZfsErrorKind.HELD,
                lambda world, tree: [world.hold_as("theirs", tree.one), *tree.everything()][1:],
            ),
            (
                ZfsErrorKind.BUSY,
                lambda world, tree: [world.zfs.mount(tree.clone), *tree.everything()][1:],
            ),
            (
                ZfsErrorKind.BUSY,
                lambda world, tree: [world.zfs.mount(tree.branch), *tree.everything()][1:],
            ),
        ],
        ids=["clone", "snapshot", "child", "order", "guid", "held", "mounted clone", "mounted"],
    )
    def test_destroy_is_all_or_nothing(
        self,
        world: World,
        tree: Tree,
        kind: ZfsErrorKind,
        spoil: Callable[[World, Tree], list[Ref]],
    ) -> None:
        world.zfs.hold([tree.one, tree.two])
        world.zfs.unmount(tree.branch)
        targets = spoil(world, tree)
        with unchanged(world), refused(kind):
            world.zfs.destroy(targets)
        if kind is ZfsErrorKind.HELD:
            world.release_as("theirs", tree.one)

    def test_an_open_volume_is_not_destroyed(self, world: World) -> None:
        volume = world.home.child("lone")
        world.volume(volume)
        world.open(volume)
        with unchanged(world), refused(ZfsErrorKind.BUSY):
            world.zfs.destroy([DatasetRef(volume)])
        world.close(volume)
        world.zfs.destroy([DatasetRef(volume)])
        assert look(world).dataset(volume) is None

    def test_a_deferred_snapshot_goes_with_its_last_clone(self, world: World, tree: Tree) -> None:
        world.defer(tree.one)
        one = look(world).snapshot(tree.one)
        assert one is not None
        assert one.deferred
        targets: list[Ref] = [DatasetRef(tree.clone), SnapshotRef(tree.one)]
        world.zfs.destroy(targets)
        assert look(world).snapshot(tree.one) is None

    def test_rollback(self, world: World, tree: Tree) -> None:
        world.write(tree.branch, "third")
        ref, two = DatasetRef(tree.branch), SnapshotRef(tree.two)
        with unchanged(world), refused(ZfsErrorKind.BUSY):
            world.zfs.rollback(ref, two)
        world.zfs.unmount(tree.branch)
        with unchanged(world):
            for kind, dataset, snapshot in (
                (ZfsErrorKind.NOT_LATEST, ref, SnapshotRef(tree.one)),
                (ZfsErrorKind.GUID_CHANGED, DatasetRef(tree.branch, 7), two),
                (ZfsErrorKind.GUID_CHANGED, ref, SnapshotRef(tree.two, 7)),
                (ZfsErrorKind.NOT_FOUND, ref, SnapshotRef(tree.branch.snapshot("gone"))),
                (ZfsErrorKind.INVALID, ref, SnapshotRef(tree.volume.snapshot("one"), 7)),
            ):
                with refused(kind):
                    world.zfs.rollback(dataset, snapshot)
        world.zfs.rollback(
            DatasetRef(tree.branch, guid(world, tree.branch)),
            SnapshotRef(tree.two, guid(world, tree.two)),
        )
        world.zfs.mount(tree.branch)
        assert world.content(tree.branch) == "second"

    def test_a_full_pool(self, world: World, tree: Tree) -> None:
        world.zfs.unmount(tree.branch)
        world.fill(full=True)
        new = world.home.child("new")
        with unchanged(world):
            with refused(ZfsErrorKind.NO_SPACE):
                world.zfs.snapshot([tree.clone.snapshot("x")], {})
            with refused(ZfsErrorKind.NO_SPACE):
                world.zfs.clone(tree.one, new, {}, volume=False)
            with refused(ZfsErrorKind.NO_SPACE):
                world.zfs.create(new, {}, canmount="on")
            with refused(ZfsErrorKind.EXISTS):
                world.zfs.snapshot([tree.one], {})
        world.zfs.set_properties(tree.one, {"ckptree:about": "still possible"})
        world.zfs.destroy([SnapshotRef(tree.two)])
        world.fill(full=False)
        world.zfs.snapshot([tree.clone.snapshot("x")], {})
