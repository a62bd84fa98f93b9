"""``when: manual`` and ``ckptree take``: a person's word, which a crash does not lose."""

import pytest

from reconciler.model.actions import Capture, Fork
from reconciler.model.desired import When
from reconciler.model.journal import facts_of
from reconciler.model.plan import Reason
from reconciler.names import NodeName
from tests.support.faults import Fuse, PowerCut
from tests.support.plans import A, B, kinds, reasons, world_with
from tests.support.world import Flags, Nested, World, desired

TREE: Nested = {"a": {"b": {"c": {}}}}
MANUAL: dict[str, Flags] = {"b": {"when": When.MANUAL}}


def waiting() -> World:
    world = world_with(desired({"a": {}}))
    world.write("more")
    return world


def test_a_node_that_waits_is_taken_by_hand_and_nothing_else_is_done() -> None:
    world = waiting()
    file = desired({**TREE, "d": {}}, MANUAL, current=A)
    result = world.apply(file, take=B)
    (capture,) = result.done.actions
    assert isinstance(capture, Capture)
    assert [node.name for node in capture.nodes] == ["b"]
    assert sorted(world.tree.nodes) == ["a", "b"]


def test_what_stands_below_it_follows_with_the_next_apply() -> None:
    world = waiting()
    world.apply(desired(TREE, MANUAL), take=B)
    assert world.shape() == {"a": None, "b": "a"}
    world.apply(desired(TREE, MANUAL))
    assert world.shape() == {"a": None, "b": "a", "c": "b"}


@pytest.mark.parametrize("place", range(4, 14))
def test_a_crash_does_not_lose_the_wish(place: int) -> None:
    """Invariant 4, once the wish is written down."""
    world = waiting()
    file = desired(TREE, MANUAL)
    try:
        world.apply(file, take=B, fuse=Fuse(place))
    except PowerCut:
        wished = B in facts_of(world.journal.records).wished or B in world.tree.nodes
        world.apply(file)
        assert (B in world.tree.nodes) is wished
    else:
        assert B in world.tree.nodes


def test_a_wish_counts_once() -> None:
    world = waiting()
    file = desired(TREE, MANUAL)
    world.apply(file, take=B)
    assert facts_of(world.journal.records).wished == frozenset()
    world.zfs.release([s.name for s in world.tree.nodes[B].all_snapshots])
    world.zfs.destroy(world.tree.nodes[B].refs)
    assert reasons(world.plan(file))[0] is Reason.LOST


def test_one_that_waits_for_something_else_is_not_taken_and_no_wish_is_kept() -> None:
    world = waiting()
    result = world.apply(desired({"a": {"x": {"b": {}}}, "y": {}}, MANUAL), take=B)
    assert not result.done.actions
    assert Reason.PARENT_MISSING in reasons(result.done)
    assert facts_of(world.journal.records).wished == frozenset()


def test_a_fork_is_made_by_hand_too() -> None:
    world = waiting()
    flags: dict[str, Flags] = {"f": {"when": When.MANUAL, "fork": True}}
    file = desired({"a": {"f": {}}}, flags)
    assert not world.plan(file).actions
    assert kinds(world.apply(file, take=NodeName("f")).done) == [Fork]
