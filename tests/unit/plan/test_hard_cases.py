"""Design section 5, row by row: what happens in the hard cases."""

from datetime import timedelta

import pytest

from reconciler.errors import ExitCode
from reconciler.model.actions import (
    Adopt,
    Annotate,
    Capture,
    Collect,
    Fork,
    Restore,
    Retire,
)
from reconciler.model.desired import (
    MemoryWish,
    RestorePolicy,
    Unsaved,
    VolumeDisk,
    When,
)
from reconciler.model.journal import Applied, Forgotten, Left
from reconciler.model.observed import GuestState, Running
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.names import NodeName
from tests.support.plans import (
    DISCARD,
    LINE,
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

# Captures


def test_a_new_child_of_the_position_and_the_chain_below_it_are_captured_at_once() -> None:
    world = world_with(desired({"a": {}}))
    plan = world.plan(line())
    (capture,) = plan.actions
    assert isinstance(capture, Capture)
    assert [(node.name, node.parent) for node in capture.nodes] == [("b", "a"), ("c", "b")]
    assert capture.grade is Grade.CLEAN


def test_all_disks_of_a_node_are_of_one_instant() -> None:
    world = world_with(line(), volumes=("disk1", "disk2"))
    for node in world.tree.nodes.values():
        assert len({facts.createtxg for facts in node.all_snapshots}) == 1
        assert len(node.members) == 2


def test_a_capture_from_a_running_guest_is_not_called_clean() -> None:
    world = World()
    running(world)
    world.apply(desired({"a": {}}))
    assert world.tree.nodes[A].grade is Grade.CRASH


def test_of_several_new_children_the_one_that_leads_to_current_is_captured() -> None:
    world = world_with(desired({"a": {}}))
    plan = world.plan(desired({"a": {"x": {}, "b": {"c": {}}}}, current=C))
    (capture,) = plan.actions
    assert isinstance(capture, Capture)
    assert [node.name for node in capture.nodes] == ["b", "c"]
    assert "Restore" not in [type(action).__name__ for action in plan.actions]
    assert reasons(plan) == [Reason.PARENT_NOT_CURRENT]


def test_a_new_child_of_another_node_waits_with_the_two_edits_that_resolve_it() -> None:
    world = world_with(line())
    plan = world.plan(desired({"a": {"b": {"c": {}}, "x": {}}}))
    assert not plan.actions
    assert plan.exit_code is ExitCode.BLOCKED
    assert message(plan, Reason.PARENT_NOT_CURRENT) == (
        "x cannot be taken: the guest descends from c, not from a"
        " -> write 'current: a' to restore that first, or 'fork: true' at x"
    )


def test_a_new_root_beside_the_guests_lineage_waits() -> None:
    world = world_with(line())
    plan = world.plan(desired({**LINE, "x": {}}))
    assert message(plan, Reason.PARENT_NOT_CURRENT) == (
        "x cannot be taken: the guest descends from c, not from a root -> write x below c"
    )


def test_a_node_below_a_waiting_one_waits_for_it() -> None:
    world = world_with(line())
    plan = world.plan(desired({"a": {"b": {"c": {}}, "x": {"y": {}}}}))
    assert reasons(plan) == [Reason.PARENT_NOT_CURRENT, Reason.PARENT_MISSING]


def test_a_manual_node_waits_to_be_taken() -> None:
    plan = World().plan(desired({"a": {}}, {"a": {"when": When.MANUAL}}))
    assert (
        message(plan, Reason.WHEN_MANUAL)
        == "a is taken by hand -> run 'ckptree take web a' when it is to be taken, or write 'when: now' at it"
    )


def test_memory_that_cannot_be_saved_is_refused_where_it_is_required() -> None:
    plan = World().plan(desired({"a": {}}, {"a": {"memory": MemoryWish.REQUIRED}}))
    assert not plan.actions
    assert reasons(plan) == [Reason.MEMORY_UNAVAILABLE]


def test_a_node_that_was_real_once_is_not_taken_again_until_it_is_forgotten() -> None:
    world = world_with(line())
    world.zfs.destroy(world.tree.nodes[C].refs)
    plan = world.plan(line())
    assert not plan.actions
    assert "ckptree forget web c" in message(plan, Reason.LOST)
    world.journal.append(Forgotten(at="", by="test", node=C))
    assert kinds(world.plan(line())) == [Capture]


def test_nothing_is_captured_into_a_full_pool() -> None:
    world = World()
    world.zfs.set_full(full=True)
    plan = world.plan(desired({"a": {}}))
    assert not plan.actions
    assert "free space" in message(plan, Reason.POOL_FULL)


def test_nothing_is_captured_from_a_head_that_lacks_a_disk() -> None:
    world = World()
    world.files.absent.add("disk1")
    (volume,) = World(("disk1",)).volumes
    plan = world.plan(desired({"a": {}}, disks=(volume,)))
    assert not plan.actions
    assert message(plan, Reason.DISK_MISSING) == (
        "not taken: a; the head has no disk1"
        " -> create it in the head and run 'ckptree init web', or remove it from 'disks'"
    )


def test_a_physical_name_that_something_foreign_has_gets_a_suffix() -> None:
    world = World()
    world.zfs.snapshot([HOME.child("b-1").snapshot("a")], {})
    world.apply(desired({"a": {}}))
    assert world.tree.nodes[A].snapshot.name.short == "a-2"


# Forks


def test_a_fork_below_a_fork_is_made_offline_and_the_guest_stays() -> None:
    world = world_with(line(), volumes=("disk1",))
    forks = {"x": {"fork": True}, "y": {"fork": True}}
    result = world.apply(desired({"a": {"b": {"c": {}}, "x": {"y": {}}}}, forks))
    assert kinds(result.done) == [Fork, Fork]
    assert world.shape() == {"a": None, "b": "a", "c": "b", "x": "a", "y": "x"}
    assert world.tree.position == C


# Restores


def test_without_current_nothing_is_restored() -> None:
    world = world_with(line())
    assert not world.plan(line()).actions


def test_a_changed_current_is_restored_and_what_was_unsaved_is_kept() -> None:
    world = world_with(line(), volumes=("disk1",))
    world.write("unsaved")
    result = world.apply(line(current=A))
    assert kinds(result.done) == [Restore]
    saved = "auto-20261123T120000Z-before-a"
    assert world.tree.position == A
    assert world.shape()[saved] == "c"
    node = world.tree.nodes[NodeName(saved)]
    assert {world.zfs.content(facts.name) for facts in node.all_snapshots} == {"unsaved"}
    assert node.expires == world.now + timedelta(hours=72)
    assert not result.left.actions


def test_an_automatic_node_goes_when_it_has_expired_and_its_empty_branch_with_it() -> None:
    world = world_with(line(), line(current=A))
    assert len(world.tree.nodes) == 4
    world.pass_time(hours=71)
    assert not world.plan(line(current=A)).actions
    world.pass_time(hours=1)
    world.apply(line(current=A))
    assert sorted(world.tree.nodes) == ["a", "b", "c"]


def test_an_automatic_node_can_be_gone_back_to_and_does_not_expire_then() -> None:
    world = world_with(line(), line(current=A))
    saved = next(name for name in world.tree.nodes if name.automatic)
    world.apply(line(current=saved))
    assert world.tree.position == saved
    world.pass_time(hours=100)
    assert not world.plan(line(current=saved)).actions


def test_two_automatic_nodes_of_one_second_have_different_names() -> None:
    world = world_with(line())
    for number, target in enumerate([A, B, A]):
        world.write(f"x{number}")
        world.apply(line(current=target))
    assert sum(name.automatic for name in world.tree.nodes) == 3


def test_unsaved_state_can_refuse_a_restore() -> None:
    world = world_with(line())
    world.write("unsaved")
    plan = world.plan(line(current=A, restore=RestorePolicy(unsaved=Unsaved.REFUSE)))
    assert not plan.actions
    assert not plan.settles_current
    assert "4096 bytes since c" in message(plan, Reason.UNSAVED_STATE)


def test_discarded_state_is_written_out_in_bytes_and_rolled_back() -> None:
    world = world_with(line())
    world.write("unsaved")
    plan = world.plan(line(current=A, restore=DISCARD))
    restore, collect = plan.actions
    assert isinstance(restore, Restore)
    assert isinstance(collect, Collect)
    assert (restore.left, restore.unsaved, restore.save) == (Left.DISCARDED, 4096, None)
    assert collect.frees == 4096
    world.apply(line(current=A, restore=DISCARD))
    assert world.zfs.content(HOME.child("b-1")) == "w0"


def test_a_discarded_tip_below_a_foreign_snapshot_is_not_rolled_back() -> None:
    world = world_with(line())
    world.zfs.snapshot([HOME.child("b-1").snapshot("manual")], {})
    world.write("unsaved")
    result = world.apply(line(current=A, restore=DISCARD))
    assert kinds(result.done) == [Restore]
    assert world.zfs.content(HOME.child("b-1")) == "unsaved"


def test_a_changed_token_goes_back_to_the_same_node() -> None:
    world = world_with(line(current=C))
    world.write("unsaved")
    again = line(current=C, restore=RestorePolicy(again="1"))
    assert kinds(world.apply(again).done) == [Restore]
    assert world.content() == "w0"
    assert not world.plan(again).actions


def test_a_changed_token_with_nothing_to_undo_counts_as_done() -> None:
    world = world_with(line(current=C))
    again = line(current=C, restore=RestorePolicy(again="1"))
    world.apply(again)
    world.write("later")
    assert not world.plan(again).actions


def test_captures_that_moved_the_guest_on_are_noted_and_not_undone() -> None:
    world = world_with(desired({"a": {}}, current=A))
    result = world.apply(line(current=A))
    assert kinds(result.done) == [Capture]
    assert reasons(result.left) == [Reason.CURRENT_BEHIND_HEAD]
    assert result.left.exit_code is ExitCode.NOTHING_TO_DO


def test_a_guest_that_was_moved_by_hand_is_reported_and_not_moved_back() -> None:
    world = world_with(line(current=C))
    head = NodeName("x")
    world.apply(desired({"a": {"b": {"c": {}}, "x": {}}}, {"x": {"fork": True}}, current=C))
    world.journal.append(
        Applied(at="", file_digest="", current=head, again=None, position=head, head=None)
    )
    plan = world.plan(
        desired({"a": {"b": {"c": {}}, "x": {}}}, {"x": {"fork": True}}, current=head)
    )
    assert not plan.actions
    assert "restore.again" in message(plan, Reason.HEAD_DRIFTED)


def test_current_that_this_plan_captures_is_not_restored() -> None:
    assert kinds(World().plan(line(current=B))) == [Capture]


def test_a_guest_that_stands_on_the_newly_named_current_is_captured_on_and_not_taken_back() -> None:
    world = world_with(desired({"a": {}}))
    assert kinds(world.plan(line(current=A))) == [Capture]


def test_a_changed_token_takes_the_guest_back_after_its_state_was_captured() -> None:
    world = world_with(desired({"a": {}}, current=A))
    world.write("unsaved")
    result = world.apply(line(current=A, restore=RestorePolicy(again="1")))
    assert kinds(result.done) == [Capture, Restore]
    assert world.content() == "w0"


def test_current_that_cannot_be_taken_waits_and_stays_asked_for() -> None:
    world = world_with(line())
    file = desired({"a": {"b": {"c": {}}, "x": {}}}, current=NodeName("x"))
    plan = world.plan(file)
    assert Reason.CURRENT_NOT_TAKEN in reasons(plan)
    assert not plan.settles_current


def test_new_children_of_the_restored_node_are_captured_after_the_restore() -> None:
    world = world_with(line())
    result = world.apply(desired({"a": {"b": {"c": {}}, "x": {"y": {}}}}, current=A))
    assert kinds(result.done) == [Restore, Capture]
    assert world.shape()["y"] == "x"


def test_a_running_guest_that_is_not_ours_is_not_restored() -> None:
    world = world_with(line())
    running(world)
    plan = world.plan(line(current=A))
    assert not plan.actions
    assert "the guest runs (bhyve (pid 42))" in message(plan, Reason.GUEST_RUNNING)


def test_a_guest_of_which_nothing_is_known_is_not_restored() -> None:
    world = world_with(line())
    world.files.guest = GuestState(Running.UNKNOWN, "fstat failed")
    assert "may be running" in message(world.plan(line(current=A)), Reason.GUEST_RUNNING)


def test_a_node_without_a_volume_that_the_file_wants_is_not_restored() -> None:
    world = world_with(line())
    (volume,) = World(("disk1",)).volumes
    world.zfs.create_volume(HOME.child("b-1").child("disk1"))
    plan = world.plan(line(current=A, disks=(volume,)))
    assert not plan.actions
    assert "taken without the volume disk1" in message(plan, Reason.DISK_MISSING)


def test_what_is_forked_from_a_node_captured_after_the_restore_is_made_in_the_same_run() -> None:
    world = world_with(line())
    file = desired({"a": {"b": {"c": {}}, "n": {"x": {}}}}, {"x": {"fork": True}}, current=A)
    result = world.apply(file)
    assert kinds(result.done) == [Restore, Capture, Fork]
    assert not result.left.actions


# Without a journal


def test_without_a_journal_nothing_is_restored_or_retired_until_it_is_confirmed() -> None:
    world = world_with(line())
    world.journal.records = None
    file = desired({"a": {"b": {}}}, current=A)
    plan = world.plan(file)
    assert not plan.actions
    assert reasons(plan) == [Reason.UNCONFIRMED, Reason.UNCONFIRMED]
    assert all("--confirm" in condition.resolve for condition in plan.conditions)
    assert kinds(world.plan(file, confirm=True)) == [Restore, Retire]


def test_without_a_journal_new_nodes_are_still_captured() -> None:
    world = world_with(desired({"a": {}}))
    world.journal.records = None
    assert kinds(world.apply(line()).done) == [Capture]
    assert kinds(world.plan(desired({"a": {"b": {}}}))) == []


# Identity


def test_a_foreign_set_of_snapshots_is_adopted_between_two_nodes() -> None:
    world = World(("disk1",))
    world.apply(desired({"a": {}}))
    world.zfs.snapshot([f.name.snapshot("manual") for f in world.tree.branches[0].datasets], {})
    world.apply(desired({"a": {"c": {}}}))
    file = desired({"a": {"m": {"c": {}}}}, {"m": {"adopt": "b-1@manual"}})
    assert kinds(world.apply(file).done) == [Adopt]
    assert world.shape() == {"a": None, "m": "a", "c": "m"}
    assert len(world.tree.nodes[NodeName("m")].members) == 1


@pytest.mark.parametrize(
    ("adopt", "tree", "why"),
    [
        ("nothing", {"a": {"m": {}}}, "there is no such foreign snapshot"),
        ("half", {"a": {"m": {}}}, "disk1 has no snapshot of the same instant"),
        ("whole", {"a": {}, "m": {}}, "that snapshot descends from a"),
        ("gone", {"a": {"m": {}}}, "it is destroyed already"),
    ],
)
def test_what_cannot_be_adopted_is_refused_with_the_reason(
    adopt: str, tree: Nested, why: str
) -> None:
    world = world_with(desired({"a": {}}), volumes=("disk1",))
    datasets = [facts.name for facts in world.tree.branches[0].datasets]
    world.zfs.snapshot([datasets[0].snapshot("half")], {})
    world.zfs.snapshot([name.snapshot("whole") for name in datasets], {})
    world.zfs.snapshot([name.snapshot("gone") for name in datasets], {})
    world.zfs.hold_as("backup", [datasets[0].snapshot("gone")])
    world.zfs.defer(datasets[0].snapshot("gone"))
    plan = world.plan(desired(tree, {"m": {"adopt": adopt}}))
    assert not plan.actions
    assert why in message(plan, Reason.ADOPT_IMPOSSIBLE)


def test_two_foreign_snapshots_of_one_name_are_not_adopted_by_that_name() -> None:
    world = world_with(line(), line(current=A))
    for number in (1, 2):
        world.zfs.snapshot([HOME.child(f"b-{number}").snapshot("manual")], {})
    file = desired({"a": {"b": {"c": {}}, "m": {}}}, {"m": {"adopt": "manual"}}, current=A)
    assert "have that name" in message(world.plan(file), Reason.ADOPT_IMPOSSIBLE)
    file = desired({"a": {"b": {"c": {}}, "m": {}}}, {"m": {"adopt": "b-2@manual"}}, current=A)
    assert kinds(world.plan(file)) == [Adopt]


def test_properties_and_holds_are_put_back_in_line() -> None:
    world = world_with(line())
    world.zfs.release([world.tree.nodes[B].snapshot.name])
    flags = {"a": {"about": "first\tinstall", "labels": (("os", "14"),), "protect": True}}
    assert kinds(world.apply(desired(LINE, flags)).done) == [Annotate, Annotate]
    node = world.tree.nodes[A]
    assert (node.about, node.labels, node.protect) == ("first\tinstall", (("os", "14"),), True)
    assert "ckptree" in world.tree.nodes[B].snapshot.holds


def test_a_retired_node_is_held_too() -> None:
    world = world_with(line(), line(current=A), desired({"a": {}}, current=A))
    world.zfs.release([world.tree.nodes[C].snapshot.name])
    assert kinds(world.plan(desired({"a": {}}, current=A))) == [Annotate]


def test_nodes_are_renamed_together_and_keep_their_guids() -> None:
    world = world_with(line(), volumes=("disk1",))
    before = {node.guid for node in world.tree.nodes.values()}
    flags = {"x": {"was": A}, "y": {"was": B}}
    assert kinds(world.apply(desired({"x": {"y": {"c": {}}}}, flags)).done) == [Annotate, Annotate]
    assert world.shape() == {"x": None, "y": "x", "c": "y"}
    assert {node.guid for node in world.tree.nodes.values()} == before


def test_a_rename_without_was_is_suspected_and_nothing_is_taken_or_retired() -> None:
    world = world_with(line())
    plan = world.plan(desired({"a": {"b": {"x": {}}}}))
    assert not plan.actions
    assert "write 'was: c' at x" in message(plan, Reason.SUSPECTED_RENAME)


def test_a_node_under_another_parent_is_refused_and_nothing_is_retired() -> None:
    world = world_with(line())
    plan = world.plan(desired({"a": {"c": {}}, "b": {}}))
    assert not plan.actions
    assert Reason.PARENT_IMMUTABLE in reasons(plan)


def test_a_volume_that_is_not_taken_as_a_disk_yet_keeps_every_checkpoint_waiting() -> None:
    world = World(volumes=("disk1",))
    world.zfs.create_volume(HOME.child("b-1").child("disk2"))
    file = desired({"a": {}}, disks=(VolumeDisk("disk1"), VolumeDisk("disk2")))
    assert "'ckptree init web'" in message(world.plan(file), Reason.DISK_MISSING)


def test_taking_again_out_of_the_file_restores_nothing() -> None:
    world = World()
    policy = RestorePolicy(again="one")
    world.apply(desired({"a": {}}, current=A, restore=policy))
    world.write("work")
    assert not world.plan(desired({"a": {}}, current=A)).actions


def test_a_name_that_a_renamed_node_had_is_free_again() -> None:
    world = World()
    world.apply(desired({"a": {}}))
    world.apply(desired({"x": {}}, {"x": {"was": A}}))
    result = world.apply(desired({"x": {"a": {}}}, {"x": {"was": NodeName("older")}}))
    assert kinds(result.done) == [Capture]


def test_the_advice_to_agree_with_where_the_guest_is_names_no_automatic_node() -> None:
    world = World()
    file = desired({"a": {"b": {}}}, current=A)
    world.apply(desired({"a": {}}, current=A))
    world.write("more")
    world.apply(file)
    world.write("still more")
    world.apply(file, automatic=timedelta(days=1))
    position = world.tree.position
    assert position is not None
    assert position.automatic
    (told,) = world.plan(file).conditions
    assert told.reason is Reason.CURRENT_BEHIND_HEAD
    assert told.resolve == "write 'current: b', or remove 'current'"
