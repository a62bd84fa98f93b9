"""Automatic checkpoints: taken when due, where the guest is, and never in anybody's way."""

from dataclasses import replace
from datetime import timedelta

from reconciler.model.actions import Capture, DestroyNodes, Restore
from reconciler.model.desired import (
    DesiredVm,
    MemoryWish,
    Prune,
    RestorePolicy,
    Schedule,
    Unsaved,
)
from reconciler.model.observed import LinkTo, PoolFacts
from reconciler.model.plan import Plan, Reason
from reconciler.model.properties import Grade
from reconciler.names import NodeName
from tests.support.plans import DISCARD, A, B, kinds, message, reasons, running
from tests.support.world import MANAGED, Flags, Nested, World, desired

HOURLY = Schedule(every=timedelta(hours=1), keep=timedelta(days=1))
WITH_MEMORY = replace(HOURLY, memory=MemoryWish.AUTO)
BASE: Nested = {"a": {}}
FIRST = NodeName("auto-20261123T130000Z")


def hourly(
    tree: Nested = BASE, flags: dict[str, Flags] | None = None, **fields: object
) -> DesiredVm:
    return desired(tree, flags, **{"schedule": HOURLY, **fields})


def autos(world: World) -> list[str]:
    return [str(name) for name in world.tree.nodes if name.automatic]


def worked(world: World, file: DesiredVm, hours: int) -> None:
    """Let the guest write once an hour, and the file be applied."""
    for _ in range(hours):
        world.pass_time(hours=1)
        world.write(f"at {world.now}")
        world.apply(file)


def taken(plan: Plan) -> list[str]:
    return [
        str(node.name) for action in plan.actions if isinstance(action, Capture)
        for node in action.nodes
    ]  # fmt: skip


def started(file: DesiredVm) -> World:
    world = World()
    world.write("installed")
    world.apply(file)
    world.pass_time(hours=1)
    return world


def test_the_first_is_taken_at_once_below_the_position_and_kept_so_long() -> None:
    world = started(desired(BASE))
    world.write("more")
    world.apply(hourly())
    node = world.tree.nodes[FIRST]
    assert (node.parent, node.taken, node.grade) == (A, world.now, Grade.CLEAN)
    assert node.expires == world.now + timedelta(days=1)
    assert world.tree.position == FIRST


def test_the_next_is_taken_when_the_time_has_come() -> None:
    world = started(desired(BASE))
    world.write("more")
    world.apply(hourly())
    world.write("and more")
    world.pass_time(minutes=59, seconds=59)
    assert not world.plan(hourly()).actions
    world.pass_time(seconds=1)
    assert taken(world.plan(hourly())) == ["auto-20261123T140000Z"]


def test_a_checkpoint_with_a_name_puts_the_next_off() -> None:
    world = started(desired(BASE))
    world.write("named")
    file = hourly({"a": {"b": {}}})
    assert taken(world.apply(file).done) == ["b"]
    world.write("more")
    world.pass_time(minutes=59)
    assert not world.plan(file).actions
    world.pass_time(minutes=1)
    assert len(taken(world.plan(file))) == 1


def test_none_is_taken_of_a_guest_that_changed_nothing() -> None:
    world = started(hourly())
    assert autos(world) == []
    running(world)
    world.pass_time(days=2)
    assert not world.plan(hourly()).actions
    world.write("at last")
    assert len(taken(world.plan(hourly()))) == 1


def test_a_clock_that_was_set_back_stops_nothing_and_no_name_is_used_twice() -> None:
    world = started(desired(BASE))
    world.write("one")
    world.apply(hourly())
    world.pass_time(days=-30)
    world.write("two")
    world.apply(hourly())
    assert autos(world) == [FIRST, "auto-20261024T130000Z"]
    world.write("three")
    assert not world.plan(hourly()).actions
    world.pass_time(days=30)
    assert taken(world.plan(hourly())) == []
    world.pass_time(hours=1)
    assert taken(world.plan(hourly())) == ["auto-20261123T140000Z"]


def test_each_goes_when_its_time_is_over_and_those_that_stay_hang_together() -> None:
    world = started(desired(BASE))
    worked(world, hourly(), 30)
    assert len(autos(world)) == 24
    assert world.shape()[autos(world)[0]] == "a"
    named = hourly({"a": {"b": {}}})
    world.write("named")
    world.apply(named)
    worked(world, named, 30)
    assert world.shape()["b"] == "a"
    assert sorted(name for name in world.tree.nodes if not name.automatic) == ["a", "b"]


def test_the_last_one_stays_under_a_guest_that_is_off() -> None:
    world = started(desired(BASE))
    world.write("more")
    world.apply(hourly())
    world.pass_time(days=9)
    plan = world.plan(hourly())
    assert not plan.actions
    assert not plan.conditions


def test_the_one_that_the_guest_stands_on_unchanged_outlives_its_time() -> None:
    """Destroyed, it would be taken anew at once: the guest has then something that no checkpoint has."""
    file = hourly({}, prune=Prune(grace=timedelta(0)))
    world = World()
    world.write("installed")
    world.apply(file)
    only = autos(world)
    world.pass_time(days=30)
    assert not world.plan(file).actions
    assert autos(world) == only
    world.write("at last something new")
    assert kinds(world.plan(file)) == [Capture, DestroyNodes]
    world.apply(file)
    assert len(autos(world)) == 1
    assert autos(world) != only


def test_without_a_schedule_an_automatic_one_goes_when_its_time_is_over() -> None:
    world = World()
    world.write("installed")
    world.apply(hourly({}))
    world.pass_time(days=30)
    world.apply(desired({}))
    assert autos(world) == []


def test_current_does_not_look_at_automatic_ones_above_it() -> None:
    world = started(desired(BASE))
    world.apply(desired(BASE, current=A))
    worked(world, hourly(current=A), 3)
    plan = world.plan(hourly(current=A))
    assert not plan.actions
    assert not plan.conditions


def test_a_guest_is_not_thrown_back_because_its_file_newly_says_where_it_is() -> None:
    world = started(desired(BASE))
    worked(world, hourly(), 3)
    plan = world.plan(hourly(current=A))
    assert not plan.actions
    assert "change" not in message(plan, Reason.CURRENT_BEHIND_HEAD)
    assert "restore: {again: ...}' to go back to the state of a itself" in message(
        plan, Reason.CURRENT_BEHIND_HEAD
    )
    world.apply(hourly(current=A))
    again = RestorePolicy(again="1", unsaved=Unsaved.DISCARD)
    assert kinds(world.plan(hourly(current=A, restore=again))) == [Restore]


def test_an_automatic_one_can_be_gone_back_to_and_is_then_kept() -> None:
    world = started(desired(BASE))
    worked(world, hourly(), 3)
    second = NodeName(autos(world)[1])
    file = hourly(current=second, restore=DISCARD)
    world.apply(file)
    assert world.tree.position == second
    world.pass_time(days=9)
    world.apply(file)
    assert autos(world) == [second]


def test_a_named_node_follows_the_guest_past_automatic_ones() -> None:
    world = started(desired(BASE))
    worked(world, hourly(), 2)
    world.write("more")
    result = world.apply(hourly({"a": {"b": {}}}))
    assert taken(result.done) == ["b"]
    assert world.shape()["b"] == autos(world)[-1]
    assert world.tree.position == B


def test_none_is_taken_while_a_restore_waits() -> None:
    refuse = RestorePolicy(unsaved=Unsaved.REFUSE)
    tree: Nested = {"a": {"b": {}}}
    world = started(desired(tree))
    world.write("unsaved")
    plan = world.plan(hourly(tree, current=A, restore=refuse))
    assert not plan.actions
    assert message(plan, Reason.SCHEDULE_WAITS) == (
        "no automatic checkpoint is taken while a waits to be restored -> "
    )
    assert Reason.UNSAVED_STATE in reasons(plan)


def test_one_is_taken_while_current_names_what_was_not_taken_yet() -> None:
    world = started(desired(BASE))
    world.write("more")
    later = hourly({"a": {"b": {}}}, {"b": {"memory": MemoryWish.REQUIRED}}, current=B)
    plan = world.plan(later)
    assert Reason.CURRENT_NOT_TAKEN in reasons(plan)
    assert taken(plan) == [FIRST]


def test_none_is_taken_right_after_a_restore() -> None:
    tree: Nested = {"a": {"b": {}}}
    world = started(desired(tree))
    world.write("more")
    result = world.apply(hourly(tree, current=A))
    assert kinds(result.done) == [Restore]
    assert not result.left.actions


def test_no_guest_pauses_for_one_unless_the_file_says_so() -> None:
    world = World(ability=MANAGED)
    world.apply(desired(BASE))
    world.pass_time(hours=1)
    world.boot()
    world.write("more")
    (capture,) = world.plan(hourly()).actions
    assert isinstance(capture, Capture)
    assert (capture.memory, capture.grade) == (None, Grade.CRASH)
    (capture,) = world.plan(hourly(schedule=WITH_MEMORY)).actions
    assert isinstance(capture, Capture)
    assert (capture.memory, capture.grade) == (f".ckptree/{FIRST}.ckp", Grade.MEMORY)


def test_with_memory_a_guest_that_runs_has_always_changed() -> None:
    world = World(ability=MANAGED)
    world.apply(desired(BASE))
    world.pass_time(hours=1)
    world.boot()
    assert not world.plan(hourly()).actions
    file = hourly(schedule=WITH_MEMORY)
    assert len(taken(world.apply(file).done)) == 1
    assert not world.plan(file).actions


def test_a_link_that_was_moved_and_a_pool_that_is_full_are_not_taken_from() -> None:
    world = started(desired(BASE))
    world.write("more")
    world.zfs.set_pool(PoolFacts(name="tank", available=100))
    plan = world.plan(hourly())
    assert not plan.actions
    assert message(plan, Reason.POOL_FULL) == (
        "no automatic checkpoint is taken; tank/vm/web may write only 100 bytes more"
        " -> free space, or raise the quota"
    )
    world.zfs.set_pool(PoolFacts(name="tank", available=1 << 40))
    running(world)
    world.files.link = LinkTo("nowhere")
    assert not world.plan(hourly()).actions


def test_no_removal_is_counted_for_them_and_a_shorter_schedule_removes_none_early() -> None:
    world = started(desired(BASE))
    worked(world, hourly(prune=Prune(limit=0)), 30)
    assert len(autos(world)) == 24
    short = replace(HOURLY, keep=timedelta(hours=2))
    assert not world.plan(hourly(schedule=short)).actions


def test_a_person_takes_one_at_any_time_for_as_long_as_is_said() -> None:
    world = started(desired(BASE))
    result = world.apply(desired({"a": {"b": {}}}), automatic=timedelta(hours=5))
    assert taken(result.done) == [FIRST]
    assert world.tree.nodes[FIRST].expires == world.now + timedelta(hours=5)
    again = world.apply(desired(BASE), automatic=timedelta(hours=5))
    assert taken(again.done) == [f"{FIRST}-2"]
    assert kinds(again.left) == []


def test_old_ones_are_destroyed_in_one_plan_with_a_new_one() -> None:
    world = started(desired(BASE))
    worked(world, hourly(), 3)
    world.pass_time(days=2)
    world.write("later")
    assert kinds(world.apply(hourly()).done) == [Capture, DestroyNodes]
    assert len(autos(world)) == 1
