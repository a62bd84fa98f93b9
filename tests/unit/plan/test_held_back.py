"""What is not done now, whatever the file says: outside its windows, and while something is restrained."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from reconciler.model.actions import Capture, Collect, DestroyNodes, Restore, Retire
from reconciler.model.desired import MemoryWish, Prune, RestorePolicy, Schedule
from reconciler.model.observed import Running
from reconciler.model.plan import Reason, Restraint
from reconciler.model.windows import Window, Windows
from reconciler.plan.group import plan_group
from tests.support.plans import (
    DISCARD,
    LINE,
    SOON,
    A,
    B,
    C,
    kinds,
    line,
    message,
    reasons,
    world_with,
)
from tests.support.world import DISKS_ONLY, MANAGED, START, Nested, World, desired

NIGHT = (Window(days=frozenset(range(7)), start=time(22), end=time(6)),)
PAUSES, DESTROYS = Windows(paused=NIGHT), Windows(destroyed=NIGHT)
ODD = Restraint(removals="the revision 1234 does not follow the last one")
JUMPED = Restraint(ageing="the clock was set forwards by 3 days")
NEXT: Nested = {"a": {"b": {"c": {"d": {"e": {}}}}}}


def live() -> World:
    """A guest that ckptree runs, on c of LINE, with RAM that no checkpoint has."""
    world = World(ability=MANAGED)
    world.write("installed")
    world.apply(line())
    world.boot()
    return world


def test_a_checkpoint_with_memory_waits_for_its_hours_and_is_then_taken() -> None:
    world = live()
    plan = world.plan(desired(NEXT), windows=PAUSES)
    assert not plan.actions
    assert reasons(plan) == [Reason.OUTSIDE_WINDOW, Reason.PARENT_MISSING]
    assert message(plan, Reason.OUTSIDE_WINDOW) == (
        "d is to be taken with the guest's memory, which is for the hours in which the guest may be paused;"
        " the window opens at 2026-11-23 22:00 UTC -> wait until then, or write 'memory: never' at it"
    )
    world.pass_time(hours=10)
    (capture,) = world.apply(desired(NEXT), windows=PAUSES).done.actions
    assert isinstance(capture, Capture)
    assert capture.memory is not None


def test_what_needs_no_pause_is_taken_at_any_hour() -> None:
    world = live()
    flags = {"d": {"memory": MemoryWish.NEVER}}
    plan = world.plan(desired(NEXT, flags), windows=PAUSES)
    (capture,) = plan.actions
    assert isinstance(capture, Capture)
    assert [node.name for node in capture.nodes] == ["d"]
    assert Reason.OUTSIDE_WINDOW in reasons(plan)
    disks = World(ability=DISKS_ONLY)
    disks.apply(line())
    disks.boot()
    assert kinds(disks.plan(desired(NEXT), windows=PAUSES)) == [Capture]


def test_a_guest_that_is_off_pauses_for_nothing() -> None:
    world = world_with(line())
    assert kinds(world.plan(desired(NEXT), windows=PAUSES)) == [Capture]
    assert kinds(world.plan(line(current=A), windows=PAUSES)) == [Restore]


def test_a_restore_that_stops_the_guest_waits_and_is_asked_for_all_the_while() -> None:
    world = live()
    world.apply(line(current=A), windows=PAUSES)
    assert world.files.guest.running is Running.RUNNING
    plan = world.plan(line(current=A), windows=PAUSES)
    assert "the window opens at 2026-11-23 22:00 UTC" in message(plan, Reason.OUTSIDE_WINDOW)
    assert not plan.settles_current
    world.pass_time(hours=10)
    assert kinds(world.apply(line(current=A), windows=PAUSES).done) == [Restore]


def test_the_files_own_windows_stand_for_those_of_the_host() -> None:
    world = live()
    noon = (replace(NIGHT[0], start=time(12), end=time(13)),)
    own = desired(NEXT, windows=Windows(paused=noon))
    assert kinds(world.plan(own, windows=PAUSES)) == [Capture]
    assert not world.plan(desired(NEXT, windows=PAUSES)).actions


def test_the_member_of_a_group_that_may_not_pause_now_keeps_the_group_waiting() -> None:
    world = live()
    file = desired(NEXT, {"d": {"group": "g"}}, windows=PAUSES)
    planned = plan_group("g", [(file, world.observe(file))], world.now)
    (obstacle,) = planned.obstacles
    assert obstacle.startswith("web: d is to be taken with the guest's memory")


def test_an_automatic_one_with_memory_waits_for_its_hours_too() -> None:
    world = live()
    schedule = Schedule(every=timedelta(hours=1), keep=timedelta(days=1), memory=MemoryWish.AUTO)
    world.pass_time(hours=1)
    plan = world.plan(line(schedule=schedule), windows=PAUSES)
    assert not plan.actions
    assert reasons(plan) == [Reason.OUTSIDE_WINDOW]


def test_a_persons_word_counts_at_any_hour() -> None:
    world = live()
    kept = timedelta(days=1)
    assert kinds(world.apply(line(), automatic=kept, windows=PAUSES).done) == [Capture]


def retired(prune: Prune = SOON) -> World:
    """B is hidden and, without a grace, due."""
    world = world_with(line(), desired({"a": {"c": {}}}, prune=Prune()))
    world.pass_time(hours=1)
    assert kinds(world.plan(desired({"a": {"c": {}}}, prune=prune))) == [DestroyNodes]
    return world


def test_nothing_is_destroyed_outside_its_hours_and_hiding_goes_on() -> None:
    world = world_with(line())
    file = desired({"a": {"c": {}}}, prune=SOON)
    result = world.apply(file, windows=DESTROYS)
    assert kinds(result.done) == [Retire]
    assert not result.left.blocked
    assert message(result.left, Reason.OUTSIDE_WINDOW) == (
        "not destroyed yet: b: nothing is destroyed outside its hours;"
        " the window opens at 2026-11-23 22:00 UTC -> "
    )
    assert not world.apply(file, purge=True, windows=DESTROYS).done.actions
    world.pass_time(hours=10)
    assert kinds(world.apply(file, windows=DESTROYS).done) == [DestroyNodes]


def test_an_empty_branch_and_a_discarded_state_stay_until_then() -> None:
    world = world_with(line())
    world.write("unsaved")
    file = line(current=A, restore=DISCARD)
    result = world.apply(file, windows=DESTROYS)
    assert kinds(result.done) == [Restore]
    assert "the discarded state of tank/vm/web/b-1 stays" in message(
        result.done, Reason.OUTSIDE_WINDOW
    )
    assert not result.left.actions


def test_an_empty_branch_stays_until_its_hours() -> None:
    held = world_with(line(), line(current=A, restore=DISCARD))
    left = held.apply(line(current=C), windows=DESTROYS).left
    assert "the empty branch tank/vm/web/b-2 stays" in message(left, Reason.OUTSIDE_WINDOW)
    assert not left.actions
    held.pass_time(hours=10)
    assert kinds(held.apply(line(current=C), windows=DESTROYS).done) == [Collect]


def test_a_restraint_holds_back_every_removal_and_says_why() -> None:
    world = world_with(line())
    plan = world.plan(desired({"a": {"c": {}}}), restraint=ODD)
    assert not plan.actions
    assert message(plan, Reason.RESTRAINED) == (
        "not retired: b: the revision 1234 does not follow the last one"
        " -> put right what is said, then plan again"
    )
    world = retired()
    file = desired({"a": {"c": {}}}, prune=SOON)
    for purge in (False, True):
        held = world.plan(file, purge=purge, restraint=ODD)
        assert not held.actions
        assert reasons(held) == [Reason.RESTRAINED]


def test_a_restraint_lets_what_only_adds_go_on() -> None:
    world = world_with(line())
    assert kinds(world.plan(desired(NEXT), restraint=ODD)) == [Capture]


@pytest.mark.parametrize("policy", [RestorePolicy(), DISCARD])
def test_a_restore_is_restrained_whatever_becomes_of_the_state_before(
    policy: RestorePolicy,
) -> None:
    world = world_with(line())
    world.write("unsaved")
    plan = world.plan(line(current=A, restore=policy), restraint=ODD)
    assert not plan.actions
    assert not plan.settles_current
    assert reasons(plan) == [Reason.RESTRAINED]


def test_while_the_clock_is_in_doubt_nothing_is_removed_because_of_its_age() -> None:
    over = {"b": {"expires": START + timedelta(days=1)}}
    world = world_with(desired(LINE, over))
    world.pass_time(days=2)
    plan = world.plan(desired(LINE, over), restraint=JUMPED)
    assert not plan.actions
    assert message(plan, Reason.CLOCK_JUMPED) == (
        "b is kept, though its time is over: the clock was set forwards by 3 days"
        " -> put right what is said, then plan again"
    )


def test_while_the_clock_is_in_doubt_what_is_hidden_stays_hidden_and_complete() -> None:
    over = {"b": {"expires": START + timedelta(days=1)}}
    world = world_with(desired(LINE, over))
    world.pass_time(days=2)
    world.apply(desired(LINE, over))
    world.pass_time(days=2)
    plan = world.plan(desired(LINE, over), restraint=JUMPED)
    assert not plan.actions
    assert "not destroyed, though their time is over: b" in message(plan, Reason.CLOCK_JUMPED)
    assert kinds(world.plan(desired(LINE, over))) == [DestroyNodes]


def test_while_the_clock_is_in_doubt_automatic_ones_stay_and_an_edit_is_followed() -> None:
    schedule = Schedule(every=timedelta(hours=1), keep=timedelta(hours=2))
    world = world_with(line())
    for _ in range(3):
        world.pass_time(hours=1)
        world.write(f"at {world.now}")
        world.apply(line(schedule=schedule))
    world.pass_time(days=9)
    held = world.plan(line(schedule=schedule), restraint=JUMPED)
    assert DestroyNodes not in kinds(held)
    edited = world.plan(desired({"a": {"c": {}}}, prune=SOON), restraint=JUMPED)
    assert kinds(edited)[0] is Retire


@pytest.mark.parametrize("names", [(A,), (A, B, C)])
def test_a_removal_that_is_approved_is_restrained_all_the_same(names: tuple[str, ...]) -> None:
    world = world_with(line(), line(current=A, restore=DISCARD))
    rest: Nested = {"a": {}} if len(names) == 1 else {}
    file = desired(rest, prune=Prune(limit=0))
    plan = world.plan(file)
    world.approve(plan)
    assert world.plan(file).actions
    assert not world.plan(file, restraint=ODD).actions
