"""A plan is the same bytes each time, has a digest, and refuses to be carried out when it is stale."""

import json
import time

import pytest

from reconciler.errors import CkptreeError, PlanStale
from reconciler.execute.apply import Wish, apply
from reconciler.model.actions import DestroyNodes, Retire
from reconciler.model.journal import CLONE, DESTROY
from reconciler.model.steps import CloneDataset, Destroy
from reconciler.names import NodeName
from reconciler.plan.document import plan_document, read_plan_document, to_json
from reconciler.plan.planner import make_plan
from tests.support.plans import SOON, A, line
from tests.support.world import HOME, IDENTITY, Nested, World, desired


def test_the_same_input_gives_the_same_bytes() -> None:
    worlds = World(("disk1",)), World(("disk1",))
    texts = {plan_document((world.plan(line(current=A)),)) for world in worlds}
    assert len(texts) == 1


def test_the_digest_covers_the_file_the_actions_and_the_conditions() -> None:
    world = World()
    plans = [
        world.plan(line()),
        world.plan(line(digest="other")),
        world.plan(desired({"a": {}})),
        world.plan(desired({"a": {}}, {"a": {"when": "manual"}})),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)


def test_a_saved_plan_is_carried_out_if_it_is_still_true_and_refused_otherwise() -> None:
    world = World()
    (saved,) = read_plan_document(plan_document((world.plan(line()),)), "plan.json")
    world.pass_time(minutes=5)

    def go(by: str) -> None:
        wish = Wish(by=by, saved=saved)
        apply(line(digest=by), world.hands(), IDENTITY, lambda: world.now, wish, lambda _: None)

    with pytest.raises(PlanStale, match="the file has changed since 2026-11-23 12:00:00 UTC"):
        go("other")
    go("d")
    assert world.shape() == {"a": None, "b": "a", "c": "b"}
    with pytest.raises(PlanStale, match="what exists has changed"):
        go("d")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1, "plans": [{}]}', '{"version": 2}']
)
def test_what_is_no_saved_plan_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(CkptreeError, match=r"ckptree plan -o plan\.json"):
        read_plan_document(text, "plan.json")


def test_a_destroy_names_every_target_with_its_guid_and_what_it_frees() -> None:
    world = World()
    world.write("x", 1000)
    world.apply(desired({"a": {}}))
    world.write("y", 500)
    world.apply(line())
    retire, destroy = world.plan(desired({"b": {"c": {}}}, prune=SOON)).actions
    assert isinstance(retire, Retire)
    assert isinstance(destroy, DestroyNodes)
    guid = world.tree.nodes[A].guid
    assert to_json(destroy) == {
        "kind": "DestroyNodes",
        "nodes": [{"kind": "DoomedNode", "name": "a", "guid": guid}],
        "promote": [],
        "targets": [{"kind": "SnapshotRef", "name": f"{HOME}/b-1@a", "guid": guid}],
        "frees": destroy.frees,
    }


def test_the_journal_knows_the_steps_by_the_names_that_the_executor_writes() -> None:
    assert (Destroy.__name__, CloneDataset.__name__) == (DESTROY, CLONE)


def test_a_plan_is_json() -> None:
    body = json.loads(plan_document((World().plan(line(current=A)),)))
    assert body["version"] == 1
    assert [action["kind"] for action in body["plans"][0]["actions"]] == ["Capture"]


def test_two_hundred_nodes_in_sixty_branches_are_planned_well_below_a_second() -> None:
    world = World()
    forks: dict[str, Nested] = {f"f{number}": {} for number in range(60)}
    world.apply(desired({"root": {}}))
    zfs, ours = world.zfs, {"ckptree:vm": "web"}
    for number in range(60):
        branch = HOME.child(f"b-{number + 2}")
        zfs.clone(
            HOME.child("b-1").snapshot("root"),
            branch,
            {**ours, "ckptree:branch": "2"},
            volume=False,
        )
        for kind in "fgh":
            name = branch.snapshot(f"{kind}{number}")
            zfs.snapshot([name], {**ours, "ckptree:node": name.short})
            zfs.hold([name])
    for number in range(60):
        forks[f"f{number}"] = {f"g{number}": {f"h{number}": {}}}
    still, moving = (
        desired({"root": forks}),
        desired({"root": {"new": {}, **forks}}, current=NodeName("h7")),
    )
    assert len(world.tree.nodes) == 181
    for file, actions in ((still, 0), (moving, 2)):
        observation = world.observe(file)
        start = time.process_time()
        plan = make_plan(file, observation, world.now)
        assert time.process_time() - start < 0.5
        assert len(plan.actions) == actions


BOTH: Nested = {"a": {"b": {}}}
ALONE: Nested = {"a": {}}


def test_a_saved_plan_counts_its_graces_from_when_it_is_carried_out() -> None:
    world = World()
    world.apply(desired(BOTH))
    world.apply(desired(BOTH, current=NodeName("a")))
    file = desired(ALONE, current=NodeName("a"))
    (saved,) = read_plan_document(plan_document((world.plan(file),)), "plan.json")
    world.pass_time(hours=30)
    result = world.apply(file, saved=saved)
    assert result.left.actions == ()
    assert world.tree.nodes[NodeName("b")].retired == world.now


def test_a_saved_plan_that_time_has_made_another_one_is_refused() -> None:
    world = World()
    world.apply(desired(BOTH))
    world.apply(desired(BOTH, current=NodeName("a")))
    world.apply(desired(ALONE, current=NodeName("a")))
    file = desired({"a": {"c": {}}}, current=NodeName("a"))
    (saved,) = read_plan_document(plan_document((world.plan(file),)), "plan.json")
    world.pass_time(hours=30)
    with pytest.raises(PlanStale, match="something fell due by time"):
        world.apply(file, saved=saved)
