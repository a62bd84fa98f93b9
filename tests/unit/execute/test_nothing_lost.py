"""What the guest has and no checkpoint has is kept, and so is what somebody still wants, whatever came between."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from reconciler.errors import CkptreeError, PlanStale, StepFailed
from reconciler.model.actions import DestroyNodes, Retire, nodes_of
from reconciler.model.desired import DesiredVm, Prune, PruneMode, RestorePolicy, Unsaved
from reconciler.model.journal import HooksBegun, Left, Occasion, facts_of
from reconciler.model.observed import GuestState, Running
from reconciler.model.plan import Plan
from reconciler.model.windows import Window, Windows
from reconciler.names import NodeName
from reconciler.plan.document import plan_document, read_plan_document
from tests.support.faults import Fuse, PowerCut
from tests.support.plans import A, B, C, kinds
from tests.support.world import HOME, MANAGED, World, desired

NIGHT = Windows(destroyed=(Window(days=frozenset(range(7)), start=time(22), end=time(6)),))
BACK = desired({"a": {"b": {}}}, current=A)


def moved_on() -> World:
    """A guest that runs and has written something since its node b."""
    world = World(ability=MANAGED)
    world.boot("one")
    world.apply(desired({"a": {}}))
    world.write("two")
    world.apply(desired({"a": {"b": {}}}))
    world.write("three")
    return world


def ends(world: World) -> None:
    """The guest shuts itself down."""
    world.files.guest, world.guest.ram = GuestState(Running.OFF), ""


def branches(world: World) -> list[str]:
    return [branch.facts.name.leaf for branch in world.tree.branches]


@contextmanager
def ending_in_the_freeze(world: World) -> Iterator[None]:
    @contextmanager
    def frozen(memory: str) -> Iterator[None]:
        ends(world)
        raise StepFailed(f"bhyve ended with exit code 4 while it wrote {memory}")
        yield

    frozen_before = world.guest.frozen
    world.guest.frozen = frozen  # type: ignore[method-assign,assignment]
    yield
    world.guest.frozen = frozen_before  # type: ignore[method-assign]


def test_7_a_guest_that_was_off_at_a_restore_and_was_booted_since_is_not_taken_back() -> None:
    world = moved_on()
    ends(world)
    world.apply(BACK)
    world.forget_memory()
    world.boot("booted by hand")
    for day in range(3):
        world.pass_time(days=1)
        world.write(f"day {day} of work", 1 << 20)
        world.apply(BACK)
    with ending_in_the_freeze(world), pytest.raises(CkptreeError, match="exit code 4"):
        world.apply(desired({"a": {"b": {}, "c": {}}}, current=A))
    world.apply(desired({"a": {"b": {}, "c": {}}}, current=A))
    world.apply(desired({"a": {"b": {}, "c": {}}}, current=A))
    assert world.content() == "day 2 of work"
    assert world.files.guest.running is Running.RUNNING


def test_7_what_a_guest_wrote_after_a_restore_that_was_killed_is_kept() -> None:
    start, tried = moved_on(), 0
    for place in range(1, 90):
        world = start.copy()
        try:
            world.apply(BACK, fuse=Fuse(place))
            break
        except PowerCut:
            pass
        runs = world.files.guest.running is Running.RUNNING
        if world.tree.head is None or world.tree.head.facts.name.leaf != "b-2" or not runs:
            continue
        tried += 1
        world.pass_time(hours=48)
        world.write("days of work", 1 << 22)
        ends(world)
        for _ in range(3):
            world.apply(BACK)
            world.pass_time(hours=1)
        if world.content() != "days of work":
            (saved,) = [node for node in world.tree.nodes.values() if node.branch.leaf == "b-2"]
            assert saved.name.automatic, place
            world.apply(replace(BACK, current=saved.name))
            assert world.content() == "days of work", place
    assert tried > 1


def test_7_a_start_that_fails_there_gives_nothing_up_either() -> None:
    world = moved_on()
    facts = world.tree.head
    assert facts is not None
    for place in range(1, 90):
        cut = world.copy()
        with suppress(PowerCut):
            cut.apply(BACK, fuse=Fuse(place))
        if (
            cut.tree.head is not None
            and cut.tree.head.facts.name.leaf == "b-2"
            and facts_of(cut.journal.records).origin is not None
        ):
            cut.write("work", 1 << 22)
            ends(cut)
            assert Left.DISCARDED not in facts_of(cut.journal.records).left.values()
            cut.apply(BACK)
            assert Left.DISCARDED not in facts_of(cut.journal.records).left.values()
            return
    pytest.fail("no restore was cut short where it starts the guest")


def test_6_a_guest_that_ran_on_its_old_disks_is_not_resumed_on_them() -> None:
    world = moved_on()
    start = world.guest.start
    users = world.files.users

    def on_the_wrong_disks(memory: str | None = None) -> None:
        start(memory)
        world.zfs.write(HOME.child("b-1"), "booted from the old disks", 1 << 20)

    def not_there(*_: object) -> GuestState:
        return GuestState(Running.OFF)

    world.guest.start = on_the_wrong_disks  # type: ignore[method-assign]
    world.files.users = not_there  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(CkptreeError, match="was started from its disks"):
            world.apply(BACK)
    finally:
        world.guest.start = start  # type: ignore[method-assign]
        world.files.users = users  # type: ignore[method-assign]
    assert world.guest.ram != "one"


def test_a_node_that_a_person_asked_for_and_did_not_get_is_not_taken_later() -> None:
    world = moved_on()
    file = desired({"a": {"b": {"c": {}}}}, current=None)
    with ending_in_the_freeze(world), pytest.raises(CkptreeError):
        world.apply(file, take=C)
    assert facts_of(world.journal.records).wished == frozenset()


def retired(world: World) -> World:
    """B is retired, and the guest elsewhere."""
    world.apply(BACK)
    world.write("elsewhere")
    world.apply(desired({"a": {}}, current=A))
    assert world.tree.nodes[B].retired is not None
    return world


def test_2_a_purge_leaves_what_the_file_wants_under_another_name() -> None:
    world = retired(moved_on())
    file = desired({"a": {"c": {}}}, {"c": {"was": B}}, current=A)
    world.apply(file, purge=True)
    assert B in world.tree.nodes
    world.apply(file)
    assert C in world.tree.nodes


def doomed(plan: Plan) -> list[NodeName]:
    return [
        name
        for action in plan.actions
        if isinstance(action, DestroyNodes)
        for name in nodes_of(action)
    ]


def test_2_prune_never_stops_what_was_retired_before() -> None:
    world = retired(moved_on())
    world.pass_time(days=30)
    never = desired({"a": {}}, current=A, prune=Prune(mode=PruneMode.NEVER))
    assert B not in doomed(world.plan(never))
    assert B in doomed(world.plan(desired({"a": {}}, current=A)))


def test_what_was_allowed_to_go_counts_no_more_once_it_was_wanted_again() -> None:
    """Also where nothing is settled, because ``current`` names a node that waits to be taken."""
    world = moved_on()
    world.apply(BACK)
    world.write("elsewhere")
    elsewhere = NodeName("z")
    strict = desired({"a": {}, "z": {}}, current=elsewhere, prune=Prune(limit=0))
    world.approve(world.plan(strict))
    world.apply(strict)
    assert world.tree.nodes[B].retired is not None
    world.apply(desired({"a": {"b": {}}, "z": {}}, current=elsewhere, prune=Prune(limit=0)))
    assert world.tree.nodes[B].retired is None
    assert Retire not in kinds(world.plan(strict))


def test_a_saved_plan_that_would_retire_more_now_is_stale() -> None:
    world = moved_on()
    world.apply(desired({"a": {"b": {"c": {}}}}))
    world.apply(desired({"a": {"b": {"c": {}}}}, current=A))
    file = desired({"a": {"c": {}}}, {"c": {"keep": timedelta(hours=2)}}, current=A)
    (saved,) = read_plan_document(plan_document((world.plan(file),)), "x")
    world.pass_time(hours=3)
    with pytest.raises(PlanStale, match="fell due by time"):
        world.apply(file, saved=saved)


def test_what_was_discarded_outside_the_hours_for_that_goes_when_they_come() -> None:
    world = moved_on()
    file: DesiredVm = replace(BACK, restore=RestorePolicy(unsaved=Unsaved.DISCARD))
    world.apply(file, windows=NIGHT)
    assert branch_unsaved(world, "b-1")
    world.apply(file, windows=NIGHT)
    world.now = datetime(2026, 12, 20, 1, 30, tzinfo=UTC)
    world.apply(file, windows=NIGHT)
    assert not branch_unsaved(world, "b-1")


def branch_unsaved(world: World, name: str) -> int:
    return next(branch.unsaved for branch in world.tree.branches if branch.facts.name.leaf == name)


def test_the_hook_that_is_owed_where_the_vm_was_is_not_run_by_another_host() -> None:
    world = moved_on()
    world.journal.append(
        HooksBegun(
            at="",
            occasion=Occasion.CHECKPOINT,
            nodes=[C],
            branch="b-1",
            after=["/hooks/thaw"],
            timeout=5.0,
        )
    )
    world.zfs.set_properties(HOME, {"ckptree:owner": "another"})
    world.apply(BACK)
    assert world.hooks.names == []
    assert facts_of(world.journal.records).hooks is not None


def test_a_document_that_was_changed_while_the_lock_was_waited_for_is_not_gone_by() -> None:
    world = moved_on()
    with pytest.raises(PlanStale, match="was changed meanwhile"):
        world.apply(BACK, still=lambda: False)
    assert branches(world) == ["b-1"]
