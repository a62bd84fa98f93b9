"""What a plan says and does about a guest that ckptree runs: its memory, its pause, and being on or off."""

from dataclasses import replace

import pytest

from reconciler.errors import ExitCode
from reconciler.model.actions import Capture, Restore, Start, Sweep
from reconciler.model.desired import DesiredVm, MemoryWish, RestorePolicy, Unsaved, WhenRunning
from reconciler.model.journal import STOP, GaveUp, GuestSeen, Intended
from reconciler.model.observed import Ability, GuestState, PoolFacts, Running
from reconciler.model.plan import Condition, Plan, Reason, Severity
from reconciler.model.properties import Grade
from reconciler.names import NodeName
from tests.support.world import DISKS_ONLY, MANAGED, World, desired

A = NodeName("a")
REQUIRED = {"a": {"memory": MemoryWish.REQUIRED}}


def running(ability: Ability = MANAGED) -> World:
    world = World(ability=ability)
    world.write("w0")
    world.boot("ram0")
    return world


def taken(ability: Ability = MANAGED) -> World:
    """A running guest that has moved on from the node a."""
    world = running(ability)
    world.apply(desired({"a": {}}))
    world.write("w1")
    world.guest.ram = "ram1"
    return world


def again(**fields: object) -> DesiredVm:
    policy = replace(RestorePolicy(again="1"), **fields)  # type: ignore[arg-type]
    return desired({"a": {}}, current=A, restore=policy)


def only(plan: Plan, reason: Reason) -> Condition:
    (found,) = [c for c in plan.conditions if c.reason is reason]
    return found


def test_a_running_guest_is_captured_with_its_memory() -> None:
    (action,) = running().plan(desired({"a": {}})).actions
    assert isinstance(action, Capture)
    assert (action.grade, action.memory) == (Grade.MEMORY, ".ckptree/a.ckp")
    assert ("ckptree:fingerprint", MANAGED.fingerprint) in action.nodes[0].properties


def test_a_guest_that_is_off_is_captured_clean() -> None:
    (action,) = World(ability=MANAGED).plan(desired({"a": {}})).actions
    assert isinstance(action, Capture)
    assert (action.grade, action.memory) == (Grade.CLEAN, None)


def test_required_memory_waits_for_a_guest_that_is_off() -> None:
    plan = World(ability=MANAGED).plan(desired({"a": {}}, REQUIRED))
    assert not plan.actions
    assert only(plan, Reason.MEMORY_UNAVAILABLE).severity is Severity.WAIT


def test_required_memory_is_refused_where_it_cannot_be_saved() -> None:
    plan = running(DISKS_ONLY).plan(desired({"a": {}}, REQUIRED))
    assert not plan.actions
    found = only(plan, Reason.MEMORY_UNAVAILABLE)
    assert found.severity is Severity.REFUSAL
    assert "this host cannot" in found.message


def test_where_memory_cannot_be_saved_the_disks_are_taken_and_the_plan_says_so() -> None:
    plan = running(DISKS_ONLY).plan(desired({"a": {}}))
    (action,) = plan.actions
    assert isinstance(action, Capture)
    assert action.grade is Grade.CRASH
    assert "this host cannot" in only(plan, Reason.MEMORY_NOT_KEPT).message


def test_a_path_that_the_hypervisor_cannot_take_counts_as_no_memory() -> None:
    world = running(replace(MANAGED, longest_path=20))
    assert (
        "longer than the 20" in only(world.plan(desired({"a": {}})), Reason.MEMORY_NOT_KEPT).message
    )


def test_a_pool_without_room_for_the_memory_is_refused_before_the_guest_is_frozen() -> None:
    world = running(replace(MANAGED, ram=1 << 40))
    world.zfs.set_pool(PoolFacts(name="tank", available=1 << 30))
    plan = world.plan(desired({"a": {}}))
    assert not plan.actions
    assert "RAM takes up to" in only(plan, Reason.POOL_FULL).message


def test_nothing_is_restored_without_room_for_the_memory_that_is_kept_first() -> None:
    world = taken()
    world.guest.ability = replace(MANAGED, ram=1 << 40)
    world.zfs.set_pool(PoolFacts(name="tank", available=1 << 30))
    plan = world.plan(again())
    assert not plan.actions
    assert not plan.settles_current
    assert plan.exit_code is ExitCode.BLOCKED
    only(plan, Reason.POOL_FULL)


def test_a_restore_keeps_the_memory_and_starts_from_the_memory_of_the_node() -> None:
    world = taken()
    (action,) = world.plan(again()).actions
    assert isinstance(action, Restore)
    assert (action.runs, action.starts, action.memory) == (True, True, ".ckptree/a.ckp")
    assert action.save_memory is not None
    world.apply(again())
    assert (world.content(), world.guest.ram) == ("w0", "ram0")


def test_memory_of_other_circumstances_is_not_resumed_and_the_plan_says_which() -> None:
    world = taken()
    world.guest.ability = replace(MANAGED, fingerprint="cpu=b;devices=b")
    plan = world.plan(again())
    (action,) = plan.actions
    assert isinstance(action, Restore)
    assert action.memory is None
    assert "cpu was a and is b" in only(plan, Reason.MEMORY_NOT_RESUMED).message
    refused = world.plan(desired({"a": {}}, REQUIRED, current=A, restore=RestorePolicy(again="1")))
    assert not refused.actions
    assert only(refused, Reason.MEMORY_UNAVAILABLE).severity is Severity.REFUSAL


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"unsaved": Unsaved.REFUSE}, Reason.UNSAVED_STATE),
        ({"running": WhenRunning.WAIT}, Reason.GUEST_RUNNING),
    ],
)
def test_the_file_can_make_a_restore_wait_for_a_running_guest(
    policy: dict[str, object], reason: Reason
) -> None:
    plan = taken().plan(again(**policy))
    assert not plan.actions
    assert only(plan, reason).resolve


def test_a_guest_whose_state_is_unknown_is_not_stopped() -> None:
    world = taken()
    world.files.guest = GuestState(Running.UNKNOWN, "its keeper is silent")
    assert "its keeper is silent" in only(world.plan(again()), Reason.GUEST_RUNNING).message


def test_a_restore_that_was_taken_back_is_not_tried_again_until_the_file_asks_anew() -> None:
    world = taken()
    world.journal.append(GaveUp(at="", node=A, again="1", error="it broke"))
    plan = world.plan(again())
    assert not plan.actions
    assert "it broke" in only(plan, Reason.RESTORE_FAILED).message
    assert world.plan(desired({"a": {}}, current=A, restore=RestorePolicy(again="2"))).actions


def test_a_guest_that_ckptree_stopped_before_it_was_interrupted_is_started_again() -> None:
    world = taken()
    world.journal.append(Intended(at="", step=STOP, target=""))
    world.files.guest = GuestState(Running.OFF)
    plan = world.plan(desired({"a": {}}))
    (action,) = plan.actions
    assert isinstance(action, Start)
    assert action.memory is None, "its disks have changed since the memory was saved"
    assert "from its disks" in only(plan, Reason.GUEST_STARTED).message


def test_a_guest_that_a_person_stopped_stays_off() -> None:
    world = taken()
    world.journal.append(Intended(at="", step=STOP, target=""))
    world.journal.append(GuestSeen(at="", running=False, by="operator"))
    world.files.guest = GuestState(Running.OFF)
    assert not world.plan(desired({"a": {}})).actions


def test_memory_that_an_interrupted_run_left_is_removed_while_the_guest_runs() -> None:
    world = taken()
    with world.guest.frozen("tank/vm/web/b-1:.ckptree/x.ckp"):
        pass
    (action,) = world.plan(desired({"a": {}})).actions
    assert action == Sweep(branch=world.plan_branch(), memory=(".ckptree/x.ckp",))
