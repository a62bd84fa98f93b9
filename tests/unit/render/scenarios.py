"""Hosts in memory in every situation that a reader of plans and trees may meet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import time, timedelta

from reconciler.model.desired import (
    Bhyve,
    DesiredVm,
    Prune,
    PruneMode,
    RestorePolicy,
    Schedule,
    Unsaved,
    When,
)
from reconciler.model.journal import STOP, Intended
from reconciler.model.observed import GuestState, LinkTo, PoolFacts, Running
from reconciler.model.plan import Plan
from reconciler.model.windows import Window, Windows
from reconciler.names import NodeName, Snapshot
from reconciler.render.tree_nodes import TreeView
from reconciler.render.tree_view import tree_view
from tests.support.world import DISKS_ONLY, HOME, MANAGED, START, Flags, Nested, World, desired

GIB = 1 << 30
MIB = 1 << 20

LINE: Nested = {"base": {"patched": {"with-postgres": {}}}}
ABOUT = {
    "base": {"about": "14.3 fresh install", "protect": True, "labels": (("change", "CHG-4711"),)}
}
B1, B2, B3 = (HOME.child(f"b-{number}") for number in (1, 2, 3))


@dataclass(frozen=True)
class Scene:
    """A host and the file that is applied to it next."""

    world: World
    vm: DesiredVm

    @property
    def plan(self) -> Plan:
        # The digest covers more than is shown: a change elsewhere may not change every file here.
        return replace(self.world.plan(self.vm), digest="3f2a91c04b7d8e65" * 4)

    @property
    def tree(self) -> TreeView:
        return tree_view(self.vm, self.world.observe(self.vm), self.plan, self.world.now)


def _size(world: World, name: Snapshot, used: int) -> None:
    world.zfs._state.change_snapshot(name, used=used)


def _standing(volumes: tuple[str, ...] = (), unsaved: int = 412 * MIB) -> World:
    """A VM with three nodes in line, the guest on the last one, with something unsaved."""
    world = World(volumes)
    world.apply(desired(LINE, ABOUT))
    for name, size in (("base", 3 * GIB), ("patched", 900 * MIB), ("with-postgres", 14 * GIB)):
        _size(world, B1.snapshot(name), size)
    world.zfs._state.change_dataset(HOME, used=41 * GIB)
    if unsaved:
        world.write("since", unsaved)
    world.pass_time(hours=3, minutes=20)
    return world


def _restored(policy: Unsaved = Unsaved.SAVE) -> World:
    """The same, after a restore of base and a new node there."""
    world = _standing()
    world.apply(
        desired(
            {"base": {"patched": {"with-postgres": {}}, "experiment": {}}},
            ABOUT,
            current=NodeName("base"),
            restore=RestorePolicy(unsaved=policy),
        )
    )
    world.write("experiment", 25 * MIB)
    world.pass_time(hours=1)
    return world


def empty() -> Scene:
    world = World()
    world.write("installed", 5 * GIB)
    return Scene(world, desired({}))


def first_capture() -> Scene:
    world = World(("disk1", "swap"))
    world.write("installed", 5 * GIB)
    return Scene(world, desired(LINE, ABOUT))


def nothing_to_do() -> Scene:
    return Scene(_standing(), desired(LINE, ABOUT))


def waits() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {"later": {"last": {}}}}, "other": {}}}
    return Scene(_standing(), desired(tree, {**ABOUT, "later": {"when": When.MANUAL}}))


def annotate() -> Scene:
    flags = {"base": {"about": "an install\nof 14.3 \x1b[31mred", "labels": (("a", "b"),)}}
    return Scene(_standing(), desired(LINE, flags))


def restore_saved() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {}}, "experiment": {}}}
    return Scene(_standing(("disk1",)), desired(tree, ABOUT, current=NodeName("base")))


def restore_discarded() -> Scene:
    policy = RestorePolicy(unsaved=Unsaved.DISCARD)
    vm = desired(LINE, ABOUT, current=NodeName("base"), restore=policy)
    return Scene(_standing(), vm)


def _running() -> World:
    """A guest with 2 GiB of RAM that ckptree runs, with base taken while it ran."""
    world = World(("disk1",), replace(MANAGED, ram=2 * GIB))
    world.zfs.set_pool(PoolFacts(name="tank", available=900 * GIB))
    world.write("installed", 5 * GIB)
    world.boot()
    world.apply(desired({"base": {}}, ABOUT))
    _size(world, B1.snapshot("base"), 3 * GIB)
    world.write("since", 25 * MIB)
    world.pass_time(hours=2)
    return world


def captured_with_memory() -> Scene:
    tree: Nested = {"base": {"patched": {}}}
    return Scene(_running(), desired(tree, ABOUT))


def restore_running() -> Scene:
    again = RestorePolicy(again="1")
    return Scene(_running(), desired({"base": {}}, ABOUT, current=NodeName("base"), restore=again))


def restore_running_discarded() -> Scene:
    again = RestorePolicy(again="1", unsaved=Unsaved.DISCARD)
    return Scene(_running(), desired({"base": {}}, ABOUT, current=NodeName("base"), restore=again))


def restore_without_memory() -> Scene:
    world = _running()
    world.guest.ability = replace(DISKS_ONLY, why_not="bhyve cannot save nvme@pci.0.4.0")
    again = RestorePolicy(again="1")
    return Scene(world, desired({"base": {}}, ABOUT, current=NodeName("base"), restore=again))


def group_pending() -> Scene:
    tree: Nested = {"base": {"release": {}}}
    return Scene(_running(), desired(tree, {**ABOUT, "release": {"group": "r7"}}))


def start_owed() -> Scene:
    world = _running()
    world.journal.append(Intended(at="", step=STOP, target=""))
    world.files.guest = GuestState(Running.OFF)
    return Scene(world, desired({"base": {}}, ABOUT))


def restore_clean() -> Scene:
    return Scene(_standing(unsaved=0), desired(LINE, ABOUT, current=NodeName("patched")))


def after_restore() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {}}, "experiment": {}}}
    return Scene(_restored(), desired(tree, ABOUT, current=NodeName("base")))


def retire() -> Scene:
    return Scene(_restored(), desired({"base": {"experiment": {}}}, ABOUT))


def retired() -> Scene:
    world = _restored()
    vm = desired({"base": {"experiment": {}}}, ABOUT)
    world.apply(vm)
    world.pass_time(hours=2)
    return Scene(world, vm)


def revive() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {}}, "experiment": {}}}
    return Scene(retired().world, desired(tree, ABOUT))


def destroy() -> Scene:
    scene = retired()
    scene.world.pass_time(hours=72)
    return scene


def splice() -> Scene:
    """The root goes, and the branch of the guest, a clone of it, is promoted."""
    world = _restored(Unsaved.DISCARD)
    free = {"base": {"protect": False}}
    world.apply(desired({"base": {"patched": {"with-postgres": {}}, "experiment": {}}}, free))
    vm = desired({"experiment": {}})
    world.apply(vm)
    world.pass_time(hours=25)
    return Scene(world, vm)


def pinned() -> Scene:
    world = _restored()
    free = {"base": {"protect": False}}
    world.apply(desired({"base": {"patched": {"with-postgres": {}}, "experiment": {}}}, free))
    vm = desired({"patched": {"with-postgres": {}}, "experiment": {}})
    world.apply(vm)
    world.pass_time(hours=25)
    return Scene(world, vm)


def fork() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {}}, "playground": {}}}
    return Scene(_standing(), desired(tree, {**ABOUT, "playground": {"fork": True}}))


def adopt() -> Scene:
    world = _standing()
    world.zfs.snapshot([B1.snapshot("by-hand")], {})
    world.zfs.snapshot([B1.snapshot("by-hand-too")], {})
    tree: Nested = {"base": {"patched": {"with-postgres": {"mine": {}}}}}
    return Scene(world, desired(tree, {**ABOUT, "mine": {"adopt": "b-1@by-hand"}}))


def rename() -> Scene:
    tree: Nested = {"base": {"updated": {"with-postgres": {"new": {}}}}}
    return Scene(_standing(), desired(tree, {**ABOUT, "updated": {"was": NodeName("patched")}}))


def approval() -> Scene:
    vm = desired({"base": {"experiment": {}}}, ABOUT, prune=Prune(mode=PruneMode.CONFIRM))
    return Scene(_restored(), vm)


def refusals() -> Scene:
    tree: Nested = {"patched": {"with-postgres": {}}}
    return Scene(_standing(), desired(tree))


def would_drop_head() -> Scene:
    return Scene(_standing(), desired({"base": {}}, ABOUT))


def parent_immutable() -> Scene:
    tree: Nested = {"base": {"with-postgres": {"patched": {}}}}
    return Scene(_standing(), desired(tree, ABOUT))


def lost() -> Scene:
    world = _standing()
    node = B1.snapshot("with-postgres")
    world.zfs.release([node])
    world.zfs._state.remove_snapshot(node)
    return Scene(world, desired(LINE, ABOUT))


def head_lost() -> Scene:
    world = _restored()
    for name, _ in world.zfs._state.snapshots_of(B2):
        world.zfs._state.remove_snapshot(name)
    world.zfs._state.remove_dataset(B2)
    vm = desired(LINE, ABOUT, current=NodeName("patched"))
    return Scene(world, vm)


def link_moved() -> Scene:
    world = _restored()
    world.files.link = LinkTo("b-1")
    tree: Nested = {"base": {"patched": {"with-postgres": {}}, "experiment": {}}}
    return Scene(world, desired(tree, ABOUT, current=NodeName("base")))


def running() -> Scene:
    world = _standing()
    world.files.guest = GuestState(Running.RUNNING, "process 4711 has disk0.img open")
    tree: Nested = {"base": {"patched": {"with-postgres": {"live": {}}}}}
    return Scene(world, desired(tree, ABOUT, current=NodeName("base")))


def suspended() -> Scene:
    tree: Nested = {"base": {"patched": {"with-postgres": {"next": {}}}}}
    return Scene(
        _standing(), desired(tree, ABOUT, suspend=True, hypervisor=Bhyve(config="web.conf"))
    )


def not_initialised() -> Scene:
    scene = first_capture()
    home = HOME.parent
    assert home is not None
    return Scene(scene.world, replace(scene.vm, dataset=home.child("other")))


def pool_gone() -> Scene:
    world = _standing()
    world.zfs.set_pool(PoolFacts(name="tank", health="SUSPENDED", available=9 * GIB))
    tree: Nested = {"base": {"patched": {"with-postgres": {"next": {}}}}}
    return Scene(world, desired(tree, ABOUT))


def other_host() -> Scene:
    return Scene(_standing(), desired(LINE, ABOUT, host="bsd08"))


def foreign() -> Scene:
    world = _restored()
    for number in range(8):
        world.zfs.snapshot([B1.snapshot(f"autosnap_2026-11-2{number}")], {})
    world.zfs.create(HOME.child("stuff"), {}, canmount="on")
    parent = HOME.parent
    assert parent is not None
    world.zfs.clone(B1.snapshot("base"), parent.child("mine"), {}, volume=False)
    return Scene(world, desired({"base": {"patched": {}}}, ABOUT))


def _dated() -> tuple[World, DesiredVm]:
    flags: dict[str, Flags] = {
        "trial": {"expires": START, "about": "not needed after the release"},
        "with-postgres": {"keep": timedelta(hours=2)},
        "fresh": {"expires": START},
    }
    tree: Nested = {"base": {"trial": {"patched": {"with-postgres": {}}}, "fresh": {}}}
    world = World()
    world.apply(desired({"base": {"trial": {"patched": {"with-postgres": {}}}}}))
    for name, size in (("trial", 2 * GIB), ("with-postgres", 14 * GIB)):
        _size(world, B1.snapshot(name), size)
    world.pass_time(hours=3)
    return world, desired(tree, {**flags, "patched": {"keep": timedelta(hours=30)}})


def expired() -> Scene:
    return Scene(*_dated())


def expired_and_hidden() -> Scene:
    world, vm = _dated()
    world.apply(vm)
    world.pass_time(hours=1)
    return Scene(world, vm)


def outside_windows() -> Scene:
    hours = Window(days=frozenset({5, 6}), start=time(22), end=time(6), zone="Europe/Berlin")
    scene = restore_running()
    windows = Windows(paused=(hours,), destroyed=(hours,))
    return Scene(scene.world, replace(scene.vm, windows=windows))


def automatic() -> Scene:
    """Twelve automatic checkpoints above the last one with a name, and more below it."""
    world = World()
    line: Nested = {"base": {"patched": {}}}
    for nodes, hours in (({"base": {}}, 7), (line, 12)):
        vm = desired(nodes, schedule=Schedule(every=timedelta(hours=8), keep=timedelta(days=30)))
        for _ in range(hours):
            world.write(f"at {world.now}", 30 * MIB)
            world.apply(vm)
            world.pass_time(hours=8)
    for node in world.tree.nodes.values():
        _size(world, node.snapshot.name, 103 * MIB)
    return Scene(world, vm)


PLANS: dict[str, Callable[[], Scene]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        first_capture, nothing_to_do, waits, annotate, restore_saved, restore_discarded,
        restore_clean, retire, revive, destroy, splice, pinned, fork, adopt, rename, approval,
        refusals, would_drop_head, parent_immutable, lost, head_lost, link_moved, running,
        suspended, not_initialised, pool_gone, other_host, captured_with_memory, restore_running,
        restore_running_discarded, restore_without_memory, group_pending, start_owed,
        expired, expired_and_hidden, outside_windows,
    )
}  # fmt: skip

TREES: dict[str, Callable[[], Scene]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        empty, first_capture, waits, restore_saved, after_restore, retired, destroy, rename,
        adopt, lost, head_lost, not_initialised, pool_gone, foreign, running, restore_running,
        expired, expired_and_hidden,
    )
}  # fmt: skip
