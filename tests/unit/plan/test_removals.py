"""Design section 5: what becomes of nodes that the file has no longer."""

import pytest

from reconciler.errors import ZfsRefused
from reconciler.model.actions import DestroyNodes, Restore, Retire, Revive, Tidy
from reconciler.model.desired import Prune, PruneMode
from reconciler.model.observed import LinkTo
from reconciler.model.plan import Reason
from reconciler.model.properties import NODE, VM
from reconciler.names import Dataset, NodeName
from tests.support.plans import (
    DISCARD,
    SOON,
    A,
    B,
    C,
    kinds,
    line,
    message,
    reasons,
    running,
    world_with,
)
from tests.support.world import HOME, Nested, World, desired

BOTH: Nested = {"a": {"b": {"c": {}}, "d": {}}}
D = NodeName("d")


def forked(prune: Prune | None = None, volumes: tuple[str, ...] = ()) -> World:
    """a(b(c), d) with the guest on d, which lives on a clone of a."""
    prune = prune or Prune()
    return world_with(
        line(prune=prune),
        desired(BOTH, current=A, prune=prune, restore=DISCARD),
        volumes=volumes,
    )


def test_a_removed_subtree_is_retired_and_destroyed_when_its_grace_is_over() -> None:
    world = forked()
    file = desired({"a": {"d": {}}}, current=A)
    assert kinds(world.apply(file).done) == [Retire]
    assert world.shape() == {"a": None, "d": "a"}
    world.pass_time(hours=23, minutes=59)
    assert not world.plan(file).actions
    world.pass_time(minutes=1)
    (destroy,) = world.apply(file).done.actions
    assert isinstance(destroy, DestroyNodes)
    assert [node.name for node in destroy.nodes] == ["b", "c"]
    assert sorted(world.tree.nodes) == ["a", "d"]


def test_a_purge_does_not_wait_for_the_grace() -> None:
    world = forked()
    file = desired({"a": {"d": {}}}, current=A)
    world.apply(file)
    assert kinds(world.plan(file, purge=True)) == [DestroyNodes]


def test_a_purge_does_nothing_that_the_file_newly_asks_for() -> None:
    world = forked()
    world.apply(desired({"a": {"d": {}}}, current=A))
    file = desired({"a": {"d": {}, "new": {}}}, current=A)
    assert kinds(world.apply(file, purge=True).done) == [DestroyNodes]
    assert sorted(world.tree.nodes) == ["a", "d"]


def test_a_node_written_again_within_the_grace_is_the_same_node() -> None:
    world = forked()
    guid = world.tree.nodes[C].guid
    world.apply(desired({"a": {"d": {}}}, current=A))
    assert kinds(world.apply(desired(BOTH, current=A)).done) == [Revive, Revive]
    assert world.tree.nodes[C].guid == guid


def test_a_node_spliced_out_of_a_line_is_destroyed() -> None:
    world = world_with(line())
    world.apply(desired({"a": {"c": {}}}, prune=SOON))
    assert world.shape() == {"a": None, "c": "a"}
    assert B not in world.tree.nodes


@pytest.mark.parametrize("volumes", [(), ("disk1", "disk2")])
def test_a_spliced_node_with_one_line_left_is_promoted_away_from(volumes: tuple[str, ...]) -> None:
    world = forked(SOON, volumes)
    result = world.apply(desired({"d": {}}, prune=SOON, restore=DISCARD))
    _, destroy = result.done.actions
    assert isinstance(destroy, DestroyNodes)
    assert [ref.name for ref in destroy.promote] == [
        *(HOME.child("b-2").child(name) for name in reversed(volumes)), HOME.child("b-2")
    ]  # fmt: skip
    assert world.shape() == {"d": None}
    assert [branch.facts.name for branch in world.tree.branches] == [HOME.child("b-2")]


def test_a_spliced_node_with_several_lines_stays_retired_and_says_so() -> None:
    world = forked(SOON)
    result = world.apply(desired({"b": {"c": {}}, "d": {}}, prune=SOON))
    assert kinds(result.done) == [Retire]
    assert message(result.left, Reason.PINNED) == (
        f"a stays retired and its space is not freed while {HOME}/b-1 and {HOME}/b-2 descend from it -> "
    )
    world.apply(desired({"d": {}}, prune=SOON))
    assert sorted(world.tree.nodes) == ["d"]


def test_a_removal_that_holds_the_position_is_refused() -> None:
    world = world_with(line())
    plan = world.plan(desired({"x": {"y": {}}}, {"x": {"when": "manual"}}))
    assert Reason.WOULD_DROP_HEAD in reasons(plan)
    assert not plan.actions


def test_an_ancestor_of_the_guest_may_be_spliced_out() -> None:
    world = world_with(line())
    assert kinds(world.apply(desired({"b": {"c": {}}}, prune=SOON)).done) == [Retire, DestroyNodes]
    assert world.tree.position == C


def test_the_guest_can_be_sent_away_and_its_node_removed_in_one_go() -> None:
    world = world_with(line())
    result = world.apply(desired({"a": {}}, current=A, prune=SOON))
    assert kinds(result.done) == [Restore, Retire, DestroyNodes]
    assert sorted(world.tree.nodes) == ["a"]


def test_a_protected_node_is_not_retired_until_the_protection_was_taken_off() -> None:
    flags = {"c": {"protect": True}}
    world = world_with(
        desired(BOTH, {**flags, "d": {"fork": True}}), desired(BOTH, flags, current=A)
    )
    plan = world.plan(desired({"a": {"d": {}}}, current=A))
    assert not plan.actions
    assert "write it back with 'protect: false'" in message(plan, Reason.PROTECTED)
    world.apply(desired(BOTH, current=A))
    assert kinds(world.plan(desired({"a": {"d": {}}}, current=A))) == [Retire]


def test_more_removals_than_the_limit_wait_for_approval_of_just_these() -> None:
    world = forked()
    file = desired({"a": {"d": {}}}, current=A, prune=Prune(limit=1))
    plan = world.plan(file)
    assert not plan.actions
    assert plan.approval is not None
    assert [node.name for node in plan.approval.nodes] == ["b", "c"]
    assert f"ckptree approve web {plan.approval.digest}" in message(plan, Reason.AWAITING_APPROVAL)
    world.approve(plan)
    assert kinds(world.apply(file).done) == [Retire]


def test_every_removal_waits_where_the_file_says_confirm() -> None:
    world = forked()
    plan = world.plan(
        desired({"a": {"b": {}, "d": {}}}, current=A, prune=Prune(mode=PruneMode.CONFIRM))
    )
    assert "'prune: {mode: confirm}'" in message(plan, Reason.AWAITING_APPROVAL)


def test_nothing_is_retired_where_the_file_says_never() -> None:
    world = forked()
    plan = world.plan(desired({"a": {"d": {}}}, current=A, prune=Prune(mode=PruneMode.NEVER)))
    assert not plan.actions
    assert Reason.NOT_PRUNED in reasons(plan)


def test_an_empty_tree_is_emptied_only_when_approved() -> None:
    world = forked(SOON)
    file = desired({}, prune=SOON)
    plan = world.plan(file)
    assert "it empties the tree" in message(plan, Reason.AWAITING_APPROVAL)
    world.approve(plan)
    world.apply(file)
    assert not world.tree.nodes
    assert world.content() == "w0"
    assert len(world.tree.branches) == 1


def test_foreign_clones_pin_a_node_and_are_named() -> None:
    world = forked(SOON)
    world.zfs.clone(world.tree.nodes[C].snapshot.name, Dataset("tank/theirs"), {}, volume=False)
    result = world.apply(desired({"a": {"b": {}, "d": {}}}, current=A, prune=SOON))
    assert kinds(result.done) == [Retire]
    assert "tank/theirs is a foreign clone of it" in message(result.left, Reason.FOREIGN_CLONE)


def test_a_foreign_hold_pins_a_node_and_is_named() -> None:
    world = forked(SOON)
    world.zfs.hold_as("backup", [world.tree.nodes[C].snapshot.name])
    result = world.apply(desired({"a": {"b": {}, "d": {}}}, current=A, prune=SOON))
    assert kinds(result.done) == [Retire]
    assert "backup" in message(result.left, Reason.FOREIGN_HOLD)


def test_a_foreign_snapshot_is_not_moved_by_a_promote() -> None:
    world = world_with(desired({"a": {}}, prune=SOON))
    world.zfs.snapshot([HOME.child("b-1").snapshot("manual")], {})
    world.apply(line(prune=SOON))
    world.apply(desired({"a": {"b": {"c": {}, "d": {}}}}, current=B, prune=SOON, restore=DISCARD))
    result = world.apply(desired({"d": {}}, current=None, prune=SOON, restore=DISCARD))
    assert "manual" in message(result.left, Reason.FOREIGN_IN_THE_WAY)
    assert world.zfs.content(HOME.child("b-1").snapshot("manual")) == "w0"


def test_a_promote_that_would_clash_with_a_snapshot_of_the_clone_is_not_tried() -> None:
    world = forked(SOON, ("disk1",))
    world.zfs.snapshot([HOME.child("b-2").child("disk1").snapshot("a")], {})
    result = world.apply(desired({"d": {}}, prune=SOON, restore=DISCARD))
    assert "b-2/disk1@a" in message(result.left, Reason.FOREIGN_IN_THE_WAY)
    assert not world.plan(desired({"d": {}}, prune=SOON, restore=DISCARD)).actions


def test_a_purge_waits_while_the_link_is_wrong() -> None:
    world = forked()
    world.apply(desired({"a": {"d": {}}}, current=A))
    world.files.link = LinkTo("b-1")
    plan = world.plan(desired({"a": {"d": {}}}, current=A), purge=True)
    assert not plan.actions
    assert "where the guest belongs" in message(plan, Reason.LINK_MOVED)


def test_a_foreign_snapshot_keeps_its_branch() -> None:
    world = forked(SOON)
    world.zfs.snapshot([HOME.child("b-1").snapshot("manual")], {})
    world.apply(desired({"a": {"d": {}}}, current=A, prune=SOON))
    assert world.zfs.content(HOME.child("b-1").snapshot("manual")) == "w0"


def test_a_dormant_branch_that_somebody_wrote_to_is_kept_until_it_is_given_up() -> None:
    world = forked(SOON)
    world.zfs.mount(HOME.child("b-1"))
    world.zfs.write(HOME.child("b-1"), "by hand", 4096)
    result = world.apply(desired({"b": {}, "d": {}}, current=None, prune=SOON))
    assert Tidy in kinds(result.done)
    assert world.zfs.content(HOME.child("b-1")) == "by hand"
    result = world.apply(desired({"d": {}}, current=None, prune=SOON))
    assert "unsaved: discard" in message(result.left, Reason.UNSAVED_TIP)
    assert world.zfs.content(HOME.child("b-1")) == "by hand"
    world.apply(desired({"d": {}}, current=None, prune=SOON, restore=DISCARD))
    assert sorted(world.tree.nodes) == ["d"]


def test_a_branch_that_somebody_uses_is_neither_unmounted_nor_destroyed() -> None:
    world = forked(SOON)
    world.zfs.mount(HOME.child("b-1"))
    running(world)
    result = world.apply(desired({"a": {"d": {}}}, current=A, prune=SOON))
    assert "zfs unmount tank/vm/web/b-1" in message(result.left, Reason.GUEST_RUNNING)
    assert world.tree.branch(HOME.child("b-1")) is not None


def test_half_a_set_that_says_it_is_ours_is_nobodys_and_kept() -> None:
    world = forked(SOON, ("disk1",))
    orphan = HOME.child("b-1").child("disk1").snapshot("half")
    world.zfs.snapshot([orphan], {VM: "web", NODE: "half"})
    world.apply(desired({"a": {"d": {}}}, current=A, prune=SOON))
    assert orphan in world.tree.foreign


def test_a_dormant_branch_without_a_node_is_kept_for_its_unsaved_state_and_said() -> None:
    world = world_with(desired({"a": {}}))
    fork = desired({"a": {"x": {}}}, {"x": {"fork": True}}, prune=SOON)
    world.apply(fork)
    world.zfs.write(HOME.child("b-2"), "by hand", 4096)
    world.zfs.destroy(world.tree.nodes[NodeName("x")].refs)
    plan = world.plan(desired({"a": {}}, prune=SOON))
    assert not plan.actions
    assert "b-2 has no checkpoint, and 4096 bytes" in message(plan, Reason.UNSAVED_TIP)


def test_a_branch_that_somebody_made_by_hand_keeps_its_name() -> None:
    world = world_with(line())
    world.zfs.create(HOME.child("b-2"), {}, canmount="on")
    world.apply(line(current=A))
    head = world.tree.head
    assert head is not None
    assert head.facts.name == HOME.child("b-3")


def test_a_removal_below_which_the_guest_stands_on_an_automatic_node_is_refused() -> None:
    world = world_with(line(), line(current=A))
    saved = next(name for name in world.tree.nodes if name.automatic)
    world.apply(line(current=saved))
    plan = world.plan(desired({"a": {}}))
    assert not plan.actions
    assert "the guest descends from auto-" in message(plan, Reason.WOULD_DROP_HEAD)


def test_a_refused_destroy_gives_up_nothing_of_the_branch() -> None:
    fork = desired({"a": {"x": {}}}, {"x": {"fork": True}})
    world = world_with(desired({"a": {}}), fork)
    file = desired({"a": {}})
    world.apply(file)
    world.pass_time(hours=25)
    branch = HOME.child("b-2")
    world.zfs.open(branch)
    with pytest.raises(ZfsRefused):
        world.apply(file)
    world.zfs.write(branch, "by hand", 4096)
    world.zfs.close(branch)
    world.apply(file)
    assert world.zfs.content(branch) == "by hand"


def test_a_purge_without_a_journal_waits_and_says_so() -> None:
    world = forked()
    file = desired({"a": {"d": {}}}, current=A)
    world.apply(file)
    world.journal.records = None
    plan = world.plan(file, purge=True)
    assert not plan.actions
    assert "nothing is purged" in message(plan, Reason.UNCONFIRMED)
