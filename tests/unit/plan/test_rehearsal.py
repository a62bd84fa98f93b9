"""The net below the planner: a plan that a bug might have made is not carried out."""

from dataclasses import replace

import pytest

from reconciler.errors import PlanRefused
from reconciler.execute.rehearsal import rehearse
from reconciler.model.actions import Action, Collect, DestroyNodes, DoomedNode, Retire, RetiredNode
from reconciler.model.desired import DesiredVm
from reconciler.model.steps import DatasetRef, SnapshotRef
from reconciler.names import NodeName
from tests.support.plans import LINE, SOON, A, B, C, line, running, world_with
from tests.support.world import HOME, START, World, desired


def destroy(world: World, *names: NodeName) -> DestroyNodes:
    nodes = [world.tree.nodes[name] for name in names]
    return DestroyNodes(
        nodes=tuple(DoomedNode(name=node.name, guid=node.guid) for node in nodes),
        promote=(),
        targets=tuple(ref for node in nodes for ref in node.refs),
        frees=0,
    )


def retire(world: World, name: NodeName) -> Retire:
    node = world.tree.nodes[name]
    guard = SnapshotRef(node.snapshot.name, node.guid)
    return Retire(nodes=(RetiredNode(name=name, guard=guard, about=""),), since=START, until=START)


def refusal(world: World, file: DesiredVm, *actions: Action) -> str:
    plan = replace(world.plan(file), actions=actions, conditions=())
    with pytest.raises(PlanRefused, match="nothing was done, please report this") as caught:
        rehearse(plan, file, world.observe(file))
    return str(caught.value)


@pytest.fixture
def world() -> World:
    return world_with(line())


def test_a_wanted_node_is_not_destroyed(world: World) -> None:
    assert "b, which is wanted" in refusal(world, line(), destroy(world, B))


def test_a_node_that_is_not_retired_is_not_destroyed(world: World) -> None:
    file = desired({"a": {"c": {}}}, prune=SOON)
    assert "b, which was not retired" in refusal(world, file, destroy(world, B))


def test_a_node_within_its_grace_is_not_destroyed(world: World) -> None:
    file = desired({"a": {"c": {}}})
    assert "before its time is over" in refusal(world, file, retire(world, B), destroy(world, B))


def test_the_ground_under_the_guest_is_not_destroyed(world: World) -> None:
    file = desired({"a": {"b": {}}}, prune=SOON)
    assert "away from under the guest" in refusal(world, file, retire(world, C), destroy(world, C))


def test_nothing_is_lost_without_being_said(world: World) -> None:
    hidden = replace(destroy(world, B), nodes=())
    assert "lose b without saying so" in refusal(world, desired({"a": {"c": {}}}), hidden)


def test_nothing_foreign_is_destroyed(world: World) -> None:
    world.zfs.create(HOME.child("theirs"), {}, canmount="on")
    collect = Collect(
        branch=DatasetRef(HOME.child("theirs")), targets=(DatasetRef(HOME.child("theirs")),)
    )
    assert "change what is not ckptree's (tank/vm/web/theirs" in refusal(world, line(), collect)


def test_what_zfs_would_refuse_is_not_tried(world: World) -> None:
    collect = Collect(
        branch=DatasetRef(HOME.child("b-1")), targets=(DatasetRef(HOME.child("b-1")),)
    )
    assert "cannot work: tank/vm/web/b-1: has snapshots" in refusal(world, line(), collect)


def test_the_file_is_reached_or_it_is_said_why_not(world: World) -> None:
    file = desired({"a": {"b": {"c": {"new": {}}}}}, {"a": {"about": "x"}})
    (annotate, _) = world.plan(file).actions
    assert "leaves out new without saying why" in refusal(world, file, annotate)
    less = desired({"a": {"c": {}}}, {"a": {"about": "x"}})
    assert "leaves b in place at 12:00:00" in refusal(world, less, annotate)
    assert "leaves c retired" in refusal(world, line(), retire(world, C))


def test_the_guest_is_not_left_without_a_branch(world: World) -> None:
    everything = destroy(world, A, B, C)
    unmounted = world.copy()
    unmounted.zfs.unmount(HOME.child("b-1"))
    branch = DatasetRef(HOME.child("b-1"))
    whole = replace(everything, targets=(*everything.targets, branch))
    nodes = [retire(unmounted, name) for name in (A, B, C)]
    assert "without a branch" in refusal(unmounted, desired({}, prune=SOON), *nodes, whole)


def test_a_running_guest_stops_a_restore_that_should_not_have_been_planned(world: World) -> None:
    file = line(current=A)
    actions = world.plan(file).actions
    running(world)
    assert "is in use: bhyve (pid 42)" in refusal(world, file, *actions)


def test_a_plan_that_does_nothing_is_fine(world: World) -> None:
    rehearse(world.plan(desired(LINE)), line(), world.observe(line()))
