"""``expires`` and ``keep``: a checkpoint whose time is over goes as if removed from the file; its children stay."""

from datetime import timedelta

import pytest

from reconciler.model.actions import DestroyNodes, Restore, Retire, Revive
from reconciler.model.desired import DesiredVm, Prune, PruneMode
from reconciler.model.plan import Reason
from reconciler.names import NodeName
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
from tests.support.world import START, Flags, Nested, World, desired

DAY = timedelta(days=1)


def dated(tree: Nested, flags: dict[str, Flags] | None = None, **fields: object) -> DesiredVm:
    """LINE-like trees in which b is wanted for a day."""
    return desired(tree, {"b": {"expires": START + DAY}, **(flags or {})}, **fields)


def test_a_node_stays_until_its_date_and_is_then_retired_and_later_destroyed() -> None:
    file = dated(LINE)
    world = world_with(file)
    world.pass_time(hours=23, minutes=59)
    assert not world.plan(file).actions
    world.pass_time(minutes=1)
    result = world.apply(file)
    assert kinds(result.done) == [Retire]
    assert world.shape() == {"a": None, "c": "a"}
    assert message(result.left, Reason.EXPIRED) == (
        "b was wanted until 2026-11-24 12:00 UTC and is hidden; it goes at 2026-11-25 12:00 UTC"
        " -> move its date to bring it back, or remove it from the file"
    )
    world.pass_time(hours=24)
    assert kinds(world.apply(file).done) == [DestroyNodes]
    assert sorted(world.tree.nodes) == ["a", "c"]


def test_keep_counts_from_when_the_node_was_taken() -> None:
    file = desired({"a": {"b": {}}}, {"a": {"keep": DAY}})
    world = World()
    world.pass_time(days=10)
    world.apply(file)
    world.pass_time(hours=23)
    assert not world.plan(file).actions
    world.pass_time(hours=1)
    assert kinds(world.plan(file)) == [Retire]


@pytest.mark.parametrize("flag", [{"expires": START + DAY}, {"keep": DAY}])
def test_a_node_that_has_gone_is_never_taken_again_and_is_not_lost(flag: Flags) -> None:
    world = world_with(desired(LINE, {"c": flag}, prune=SOON))
    world.write("on")
    world.pass_time(days=2)
    file = desired({"a": {"b": {"c": {"e": {}}}}}, {"c": flag}, prune=SOON)
    world.apply(file)
    assert sorted(world.tree.nodes) == ["a", "b", "e"]
    plan = world.plan(file)
    assert not plan.actions
    assert not plan.blocked
    assert reasons(plan) == [Reason.EXPIRED]
    assert "c was wanted until 2026-11-24 12:00 UTC and is gone, and is not taken again" in message(
        plan, Reason.EXPIRED
    )


def test_a_node_that_was_over_before_it_could_be_taken_is_not_taken() -> None:
    world = world_with(desired({"a": {}}))
    world.pass_time(days=2)
    result = world.apply(dated({"a": {"b": {"c": {}}}}))
    assert world.shape() == {"a": None, "c": "a"}
    assert "is not taken any more -> remove it from the file, or move its date" in message(
        result.left, Reason.EXPIRED
    )


def test_moving_the_date_brings_a_hidden_node_back() -> None:
    world = world_with(dated(LINE))
    guid = world.tree.nodes[B].guid
    world.pass_time(hours=25)
    world.apply(dated(LINE))
    later = desired(LINE, {"b": {"expires": START + 3 * DAY}})
    assert kinds(world.apply(later).done) == [Revive]
    assert world.tree.nodes[B].guid == guid
    assert world.shape() == {"a": None, "b": "a", "c": "b"}


def test_expiries_do_not_count_as_removals_that_need_approval() -> None:
    over = {name: {"expires": START + DAY} for name in "bd"}
    tree: Nested = {"a": {"b": {"c": {}}, "d": {}, "x": {}}}
    forks = {"d": {"fork": True}, "x": {"fork": True}}
    world = world_with(line(), desired(tree, forks, current=C))
    world.pass_time(hours=25)
    without_x = desired({"a": {"b": {"c": {}}, "d": {}}}, over, prune=Prune(limit=0), current=C)
    result = world.apply(without_x)
    (retire,) = result.done.actions
    assert isinstance(retire, Retire)
    assert [node.name for node in retire.nodes] == ["b", "d"]
    assert Reason.AWAITING_APPROVAL in reasons(result.left)
    assert world.tree.nodes[NodeName("x")].retired is None


def test_prune_confirm_and_never_hold_an_expiry_as_any_removal() -> None:
    world = world_with(dated(LINE))
    world.pass_time(hours=25)
    confirm = world.plan(dated(LINE, prune=Prune(mode=PruneMode.CONFIRM)))
    assert not confirm.actions
    assert Reason.AWAITING_APPROVAL in reasons(confirm)
    never = world.plan(dated(LINE, prune=Prune(mode=PruneMode.NEVER)))
    assert not never.actions
    assert Reason.NOT_PRUNED in reasons(never)


def test_a_protected_node_stays_until_the_protection_is_taken_off() -> None:
    world = world_with(dated(LINE, {"b": {"expires": START + DAY, "protect": True}}))
    world.pass_time(hours=25)
    plan = world.plan(dated(LINE, {"b": {"expires": START + DAY, "protect": True}}))
    assert not plan.actions
    assert message(plan, Reason.EXPIRED) == (
        "the time of b is over, and it stays, because it is protected"
        " -> move its date, or take away what keeps it"
    )
    assert world.apply(dated(LINE)).done.actions
    assert B not in world.shape()


def test_what_current_names_stays() -> None:
    world = world_with(line())
    over = {"b": {"expires": START + DAY}}
    world.pass_time(hours=25)
    world.apply(desired(LINE, over, current=B, restore=DISCARD))
    assert world.tree.position == B
    assert world.tree.nodes[B].retired is None
    plan = world.plan(desired(LINE, over, current=B, restore=DISCARD))
    assert "it stays, because 'current' names it" in message(plan, Reason.EXPIRED)


def test_the_ground_under_the_guest_stays_and_goes_when_the_guest_has_moved_on() -> None:
    file = desired(LINE, {"c": {"expires": START + DAY}}, prune=SOON)
    world = world_with(file)
    world.pass_time(hours=25)
    plan = world.plan(file)
    assert not plan.actions
    assert reasons(plan) == [Reason.WOULD_DROP_HEAD]
    assert "keep it in the file, with a later date" in message(plan, Reason.WOULD_DROP_HEAD)
    on = desired({"a": {"b": {"c": {"d": {}}}}}, {"c": {"expires": START + DAY}}, prune=SOON)
    world.apply(on)
    assert world.shape() == {"a": None, "b": "a", "d": "b"}


def test_a_file_whose_nodes_are_all_over_empties_no_tree() -> None:
    over = {name: {"expires": START + DAY} for name in "abc"}
    file = desired(LINE, over, prune=SOON)
    world = world_with(file)
    world.pass_time(hours=25)
    world.apply(file)
    assert world.tree.position == C


def test_a_restore_away_and_an_expiry_can_happen_in_one_go() -> None:
    over = {"c": {"expires": START + DAY}}
    world = world_with(desired(LINE, over))
    world.pass_time(hours=25)
    result = world.apply(desired(LINE, over, current=A, prune=SOON, restore=DISCARD))
    assert kinds(result.done)[:2] == [Restore, Retire]
    assert C not in world.tree.nodes


@pytest.mark.parametrize("tree", [{"b": {"f": {}}}, {"a": {"b": {"f": {}}}}])
def test_nothing_is_forked_from_another_node_than_the_file_says(tree: Nested) -> None:
    world = World()
    world.pass_time(days=2)
    result = world.apply(dated(tree, {"f": {"fork": True}}))
    assert "f is not made: the time of its parent b is over" in message(
        result.left, Reason.PARENT_MISSING
    )
    assert NodeName("f") not in world.tree.nodes


def test_a_node_that_is_over_is_no_suspected_rename() -> None:
    world = world_with(dated({"a": {"b": {}}}))
    world.write("more")
    world.pass_time(hours=25)
    plan = world.plan(dated({"a": {"b": {}, "new": {}}}))
    assert Reason.SUSPECTED_RENAME not in reasons(plan)


def test_a_renamed_node_keeps_its_date() -> None:
    world = world_with(desired({"a": {"b": {"c": {}}}}, {"b": {"keep": DAY}}))
    world.pass_time(hours=25)
    new = {"new": {"was": B, "keep": DAY}}
    world.apply(desired({"a": {"new": {"c": {}}}}, new))
    assert world.tree.nodes[NodeName("new")].retired is not None
