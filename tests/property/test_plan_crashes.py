"""Invariant 4 without chance: typical plans, cut at every single thing that they do, end as if nothing had happened."""

from collections.abc import Callable

import pytest

from reconciler.model.actions import (
    Adopt,
    Annotate,
    Capture,
    Collect,
    DestroyNodes,
    Fork,
    Relink,
    Restore,
    Retire,
    Revive,
)
from reconciler.model.desired import DesiredVm, MemoryWish, Prune, RestorePolicy, Unsaved
from reconciler.model.observed import Ability, LinkAbsent
from reconciler.model.plan import Plan
from reconciler.model.steps import DatasetRef, Promote
from reconciler.names import NodeName
from reconciler.plan.steps import steps_of
from tests.support.faults import Fuse, PowerCut
from tests.support.picture import everything, outcome
from tests.support.world import DISKS_ONLY, HOME, MANAGED, Nested, World, desired

Scene = tuple[World, DesiredVm]
Stage = Callable[[tuple[str, ...]], Scene]
NOW = Prune(grace=Prune().grace * 0)
LINE: Nested = {"a": {"b": {"c": {}}}}


def _world(volumes: tuple[str, ...], *files: DesiredVm) -> World:
    """A world after FILES were applied, with the guest having written something before each and after the last."""
    world = World(volumes)
    for number, file in enumerate(files):
        world.write(f"w{number}")
        world.apply(_with_disks(world, file))
    world.write("unsaved")
    return world


def _with_disks(world: World, file: DesiredVm) -> DesiredVm:
    return desired({}, None, nodes=file.nodes, disks=world.volumes, **_rest(file))


def _rest(file: DesiredVm) -> dict[str, object]:
    return {key: getattr(file, key) for key in ("current", "prune", "restore", "digest")}


def _scene(world: World, file: DesiredVm) -> Scene:
    return world, _with_disks(world, file)


def captured_chain(volumes: tuple[str, ...]) -> Scene:
    return _scene(_world(volumes, desired({"a": {}})), desired(LINE))


def captured_chain_through_current(volumes: tuple[str, ...]) -> Scene:
    return _scene(_world(volumes, desired({"a": {}})), desired(LINE, current=NodeName("b")))


def captured_below_new_current(volumes: tuple[str, ...]) -> Scene:
    return _scene(_world(volumes, desired({"a": {}})), desired(LINE, current=NodeName("a")))


def fork_below_fork(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE))
    forks = {"x": {"fork": True}, "y": {"fork": True}}
    return _scene(world, desired({"a": {"b": {"c": {}}, "x": {"y": {}}}}, forks))


def restore_that_saves(volumes: tuple[str, ...]) -> Scene:
    return _scene(_world(volumes, desired(LINE)), desired(LINE, current=NodeName("a")))


def restore_that_discards(volumes: tuple[str, ...]) -> Scene:
    discard = RestorePolicy(unsaved=Unsaved.DISCARD)
    return _scene(
        _world(volumes, desired(LINE)), desired(LINE, current=NodeName("a"), restore=discard)
    )


def restore_again(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE, current=NodeName("c")))
    again = RestorePolicy(again="1", unsaved=Unsaved.DISCARD)
    return _scene(world, desired(LINE, current=NodeName("c"), restore=again))


def restore_with_new_child(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE))
    return _scene(world, desired({"a": {"b": {"c": {}}, "n": {"m": {}}}}, current=NodeName("a")))


def restore_with_forked_grandchild(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE))
    tree: Nested = {"a": {"b": {"c": {}}, "n": {"x": {}}}}
    return _scene(world, desired(tree, {"x": {"fork": True}}, current=NodeName("a")))


def retire(volumes: tuple[str, ...]) -> Scene:
    world = _moved(volumes)
    return _scene(world, desired({"a": {"d": {}}}, current=NodeName("a")))


def revive(volumes: tuple[str, ...]) -> Scene:
    world = _moved(volumes)
    world.apply(_with_disks(world, desired({"a": {"d": {}}}, current=NodeName("a"))))
    world.pass_time(hours=1)
    return _scene(world, desired({"a": {"b": {"c": {}}, "d": {}}}, current=NodeName("a")))


def _moved(volumes: tuple[str, ...], prune: Prune | None = None) -> World:
    """a(b(c), d), with the guest at d, on a branch of its own."""
    both: Nested = {"a": {"b": {"c": {}}, "d": {}}}
    prune = prune or Prune()
    return _world(
        volumes,
        desired(LINE, prune=prune),
        desired(
            both, current=NodeName("a"), prune=prune, restore=RestorePolicy(unsaved=Unsaved.DISCARD)
        ),
    )


def destroyed_subtree(volumes: tuple[str, ...]) -> Scene:
    world = _moved(volumes, NOW)
    return _scene(world, desired({"a": {"d": {}}}, current=NodeName("a"), prune=NOW))


def spliced_with_promote(volumes: tuple[str, ...]) -> Scene:
    world = _moved(volumes, NOW)
    return _scene(world, desired({"d": {}}, current=None, prune=NOW))


def spliced_with_two_promotes(volumes: tuple[str, ...]) -> Scene:
    """One node (y) lives on a clone of x, which lives on a clone of a; x and a go."""
    fork, give_up = {"x": {"fork": True}}, RestorePolicy(unsaved=Unsaved.DISCARD)
    both: Nested = {"a": {"x": {"y": {}}}}
    world = _world(
        volumes,
        desired({"a": {}}, prune=NOW),
        desired({"a": {"x": {}}}, fork, prune=NOW),
        desired(both, fork, current=NodeName("x"), prune=NOW, restore=give_up),
    )
    return _scene(world, desired({"y": {}}, prune=NOW, restore=give_up))


def spliced_in_a_line(volumes: tuple[str, ...]) -> Scene:
    return _scene(_world(volumes, desired(LINE)), desired({"a": {"c": {}}}, prune=NOW))


def emptied(volumes: tuple[str, ...]) -> Scene:
    world = _moved(volumes, NOW)
    file = _with_disks(world, desired({}, prune=NOW))
    plan = world.plan(file)
    world.approve(plan)
    return world, file


def adopted(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired({"a": {}}))
    head = world.tree.head
    assert head is not None
    world.zfs.snapshot([facts.name.snapshot("manual") for facts in head.datasets], {})
    return _scene(world, desired({"a": {"m": {"n": {}}}}, {"m": {"adopt": "manual"}}))


def renamed(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE))
    names = {"x": {"was": "a", "about": "new"}, "y": {"was": "b"}}
    typed = {k: {**v, "was": NodeName(v["was"])} for k, v in names.items()}
    return _scene(world, desired({"x": {"y": {"c": {}}}}, typed))


def relinked(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE))
    world.files.link = LinkAbsent()
    return _scene(world, desired(LINE))


def head_lost(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE), desired(LINE, current=NodeName("a")))
    head = world.tree.head
    assert head is not None
    world.zfs.unmount(head.facts.name)
    world.zfs.destroy([DatasetRef(facts.name) for facts in reversed(head.datasets)])
    return _scene(world, desired(LINE, current=NodeName("a")))


def collected(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE, current=NodeName("c")))
    again = [RestorePolicy(again=token, unsaved=Unsaved.DISCARD) for token in "12"]
    world.apply(_with_disks(world, desired(LINE, current=NodeName("a"), restore=again[0])))
    return _scene(world, desired(LINE, current=NodeName("b"), restore=again[1]))


def expired(volumes: tuple[str, ...]) -> Scene:
    world = _world(volumes, desired(LINE), desired(LINE, current=NodeName("a")))
    world.apply(_with_disks(world, desired(LINE, current=NodeName("b"))))
    world.pass_time(hours=100)
    return _scene(world, desired(LINE, current=NodeName("b")))


def _running(volumes: tuple[str, ...], *files: DesiredVm, ability: Ability = MANAGED) -> World:
    """A world whose guest ckptree runs, after FILES were applied; it has done something before and after each."""
    world = World(volumes, ability)
    world.boot()
    for number, file in enumerate((*files, None)):
        world.write(f"w{number}")
        world.guest.ram = f"ram{number}"
        if file is not None:
            world.apply(_with_disks(world, file))
    return world


def captured_with_memory(volumes: tuple[str, ...]) -> Scene:
    return _scene(_running(volumes, desired({"a": {}})), desired(LINE))


def captured_with_memory_and_without(volumes: tuple[str, ...]) -> Scene:
    never = {"b": {"memory": MemoryWish.NEVER}}
    return _scene(_running(volumes, desired({"a": {}})), desired(LINE, never))


def captured_where_memory_cannot_be_saved(volumes: tuple[str, ...]) -> Scene:
    return _scene(_running(volumes, ability=DISKS_ONLY), desired(LINE))


def restore_of_a_running_guest(volumes: tuple[str, ...]) -> Scene:
    world = _running(volumes, desired({"a": {}}), desired(LINE))
    return _scene(world, desired(LINE, current=NodeName("a")))


def restore_of_a_running_guest_that_discards(volumes: tuple[str, ...]) -> Scene:
    world = _running(volumes, desired({"a": {}}), desired(LINE))
    discard = RestorePolicy(unsaved=Unsaved.DISCARD)
    return _scene(world, desired(LINE, current=NodeName("a"), restore=discard))


def restore_to_a_node_without_memory(volumes: tuple[str, ...]) -> Scene:
    world = _running(volumes, desired({"a": {}}, {"a": {"memory": MemoryWish.NEVER}}))
    world.apply(_with_disks(world, desired({"a": {"b": {}}})))
    return _scene(world, desired({"a": {"b": {}}}, current=NodeName("a")))


def restore_where_memory_cannot_be_saved(volumes: tuple[str, ...]) -> Scene:
    world = _running(volumes, desired({"a": {}}), ability=DISKS_ONLY)
    return _scene(
        world, desired({"a": {}}, current=NodeName("a"), restore=RestorePolicy(again="1"))
    )


def restore_of_a_running_guest_with_new_child(volumes: tuple[str, ...]) -> Scene:
    world = _running(volumes, desired({"a": {}}), desired(LINE))
    tree: Nested = {"a": {"b": {"c": {}}, "n": {}}}
    return _scene(world, desired(tree, current=NodeName("a")))


STAGES: dict[Stage, tuple[type, ...]] = {
    captured_chain: (Capture,),
    captured_chain_through_current: (Capture,),
    captured_below_new_current: (Capture,),
    fork_below_fork: (Fork, Fork),
    restore_that_saves: (Restore,),
    restore_that_discards: (Restore, Collect),
    restore_again: (Restore, Collect),
    restore_with_new_child: (Restore, Capture),
    restore_with_forked_grandchild: (Restore, Capture, Fork),
    retire: (Retire,),
    revive: (Revive, Revive),
    destroyed_subtree: (Retire, DestroyNodes),
    spliced_with_promote: (Retire, DestroyNodes),
    spliced_with_two_promotes: (Retire, DestroyNodes),
    spliced_in_a_line: (Retire, DestroyNodes),
    emptied: (Retire, DestroyNodes),
    adopted: (Adopt, Capture),
    renamed: (Annotate, Annotate),
    relinked: (Relink,),
    head_lost: (Restore,),
    collected: (Restore, Collect),
    expired: (DestroyNodes, DestroyNodes),
    captured_with_memory: (Capture,),
    captured_with_memory_and_without: (Capture, Capture),
    captured_where_memory_cannot_be_saved: (Capture,),
    restore_of_a_running_guest: (Restore,),
    restore_of_a_running_guest_that_discards: (Restore, Collect),
    restore_to_a_node_without_memory: (Restore,),
    restore_where_memory_cannot_be_saved: (Restore,),
    restore_of_a_running_guest_with_new_child: (Restore, Capture),
}


@pytest.mark.parametrize(
    "volumes", [(), ("disk1",), ("disk1", "disk2")], ids=lambda v: f"{len(v)}-volumes"
)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_4_a_crash_at_any_step_and_a_new_run_end_the_same(
    stage: Stage, volumes: tuple[str, ...]
) -> None:
    world, file = stage(volumes)
    plan = world.plan(file)
    assert tuple(type(action) for action in plan.actions) == STAGES[stage]
    whole, fuse = world.copy(), Fuse()
    assert not whole.apply(file, fuse=fuse).left.actions
    want = outcome(whole)
    for place in range(fuse.count):
        cut = world.copy()
        with pytest.raises(PowerCut):
            cut.apply(file, fuse=Fuse(place))
        assert not cut.apply(file).left.actions, f"cut at {place}"
        assert outcome(cut) == want, f"cut at {place}"
        before = everything(cut)
        assert not cut.apply(file).done.actions, f"cut at {place}"
        assert everything(cut) == before, f"cut at {place}"


def test_the_promotes_of_a_branch_and_its_volumes_are_among_what_is_cut() -> None:
    world, file = spliced_with_promote(("disk1", "disk2"))
    plan: Plan = world.plan(file)
    steps = [step for action in plan.actions for step in steps_of(plan.vm, HOME, action)]
    assert [len(step.clones) for step in steps if isinstance(step, Promote)] == [3]
