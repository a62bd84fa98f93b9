"""Where the guest is, and when nothing at all is decided for its VM."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.actions import Annotate, Capture, Relink, Restore, Retire, Tidy
from reconciler.model.desired import RestorePolicy, VolumeDisk
from reconciler.model.observed import (
    GuestState,
    LinkAbsent,
    LinkTo,
    LinkUnknown,
    PoolFacts,
    Running,
)
from reconciler.model.plan import Plan, Reason
from reconciler.model.properties import NODE, OWNER, RETIRED, VM
from reconciler.model.steps import DatasetRef
from reconciler.names import VmName
from tests.support.picture import everything
from tests.support.plans import LINE, A, B, C, kinds, line, message, reasons, running, world_with
from tests.support.world import HOME, START, World, desired


def test_a_link_that_was_moved_is_put_right_while_the_guest_is_off() -> None:
    world = world_with(line(), line(current=A))
    for link in (LinkAbsent(), LinkTo("b-1"), LinkTo("elsewhere")):
        world.files.link = link
        result = world.apply(line(current=A))
        assert kinds(result.done) == [Relink]
        assert world.files.link == LinkTo("b-2")


def test_a_link_that_was_moved_is_left_alone_under_a_running_guest() -> None:
    world = world_with(line(), line(current=A))
    world.files.link = LinkTo("b-1")
    running(world)
    plan = world.plan(desired({"a": {"b": {"c": {"new": {}}}}}, current=A))
    assert not plan.actions
    assert "not moved under a running guest (bhyve (pid 42))" in message(plan, Reason.LINK_MOVED)
    world.apply(desired(LINE, {"a": {"about": "new"}}, current=A))
    world.files.guest = GuestState(Running.OFF)
    assert kinds(world.plan(desired(LINE, {"a": {"about": "new"}}, current=A))) == [Relink]


def test_without_a_journal_the_branch_with_canmount_on_is_the_head() -> None:
    world = world_with(line(), line(current=A))
    world.journal.records = None
    world.files.link = LinkTo("b-1")
    assert kinds(world.apply(line()).done) == [Relink]
    assert world.files.link == LinkTo("b-2")


def _lose_head(world: World) -> None:
    head = world.tree.head
    assert head is not None
    world.zfs.unmount(head.facts.name)
    world.zfs.destroy([DatasetRef(facts.name) for facts in reversed(head.datasets)])


def test_a_lost_head_is_restored_to_current_and_said_loudly() -> None:
    world = world_with(line(), line(current=A), volumes=("disk1",))
    _lose_head(world)
    result = world.apply(line(current=B))
    assert kinds(result.done) == [Restore]
    assert "GONE" in message(result.done, Reason.HEAD_LOST)
    assert world.tree.position == B
    assert world.files.link == LinkTo("b-3"), (
        "a name that the link has is not given to a branch in the making"
    )


def test_a_lost_head_without_current_goes_back_to_where_it_was_last() -> None:
    world = world_with(line(), line(current=A))
    _lose_head(world)
    assert kinds(world.apply(line()).done) == [Restore]
    assert world.tree.position == A


def test_a_lost_head_waits_where_nothing_tells_where_it_was_or_nobody_confirms() -> None:
    world = world_with(line(), line(current=A))
    _lose_head(world)
    world.journal.records = None
    assert "write 'current:'" in message(world.plan(line()), Reason.HEAD_LOST)
    assert reasons(world.plan(line(current=A))) == [Reason.UNCONFIRMED]
    assert kinds(world.plan(line(current=A), confirm=True)) == [Restore]


def test_what_needs_no_head_is_done_while_a_lost_one_waits() -> None:
    world = world_with(line(), line(current=A))
    _lose_head(world)
    world.journal.records = None
    result = world.apply(desired(LINE, {"a": {"about": "new"}}))
    assert kinds(result.done) == [Annotate]
    assert reasons(result.left) == [Reason.HEAD_LOST]


def test_a_lost_head_is_not_replaced_by_a_node_without_its_disks() -> None:
    world = world_with(line(), line(current=A))
    _lose_head(world)
    assert Reason.DISK_MISSING in reasons(world.plan(line(current=A, disks=(VolumeDisk("disk1"),))))


def test_what_is_over_goes_in_the_same_run_that_replaces_a_lost_head() -> None:
    over = {"c": {"expires": START + timedelta(days=1)}}
    world = world_with(desired(LINE, over), desired(LINE, over, current=A))
    _lose_head(world)
    world.pass_time(hours=25)
    result = world.apply(desired(LINE, over))
    assert kinds(result.done) == [Restore, Retire]
    assert not result.left.actions
    assert [node.name for node in world.tree.nodes.values() if node.retired is not None] == [C]


def test_the_node_that_replaces_a_lost_head_is_not_retired_from_under_the_guest() -> None:
    world = world_with(line(), line(current=C, restore=RestorePolicy(again="once")))
    _lose_head(world)
    result = world.apply(desired({"a": {}}))
    assert kinds(result.done) == [Restore]
    assert not result.left.actions
    assert world.tree.position == C
    assert "c, which would go with it" in message(result.left, Reason.WOULD_DROP_HEAD)


def test_nothing_is_retired_while_a_lost_head_waits() -> None:
    world = world_with(line(), line(current=C, restore=RestorePolicy(again="once")))
    _lose_head(world)
    result = world.apply(desired({"a": {}}, disks=(VolumeDisk("disk1"),)))
    assert not result.done.actions
    assert Reason.DISK_MISSING in reasons(result.left)
    assert all(node.retired is None for node in world.tree.nodes.values())


def test_the_head_is_mounted_and_every_other_branch_is_not() -> None:
    world = world_with(line(), line(current=A))
    world.zfs.unmount(HOME.child("b-2"))
    world.zfs.set_canmount(HOME.child("b-2"), "noauto")
    world.zfs.mount(HOME.child("b-1"))
    assert kinds(world.apply(line(current=A)).done) == [Tidy, Tidy]
    mounted = {b.facts.name: (b.facts.mounted, b.facts.canmount) for b in world.tree.branches}
    assert mounted == {HOME.child("b-1"): (False, "noauto"), HOME.child("b-2"): (True, "on")}


def _untouched(world: World, plan: Plan, reason: Reason) -> str:
    before = everything(world)
    assert not plan.actions
    assert plan.hands_off
    assert everything(world) == before
    return message(plan, reason)


def test_another_hosts_vm_is_not_touched() -> None:
    world = World()
    file = desired(LINE, host="other")
    assert "host other, this is bsd07" in _untouched(world, world.plan(file), Reason.OTHER_HOST)
    assert not world.apply(file).done.actions
    assert world.plan(desired(LINE, host="bsd07")).actions


def test_a_home_that_belongs_to_another_host_is_not_touched() -> None:
    world = World()
    world.zfs.set_properties(HOME, {OWNER: "host-id-2"})
    assert "ckptree take-over web" in _untouched(world, world.plan(line()), Reason.OWNED_ELSEWHERE)
    world.zfs.set_properties(HOME, {OWNER: None})
    assert kinds(world.plan(line())) == [Capture]


@pytest.mark.parametrize(
    ("pool", "state"), [({"health": "SUSPENDED"}, "SUSPENDED"), ({"readonly": True}, "read-only")]
)
def test_nothing_is_touched_on_a_pool_that_is_not_well(pool: dict[str, object], state: str) -> None:
    world = World()
    world.zfs.set_pool(PoolFacts(name="tank", **pool))  # type: ignore[arg-type]
    assert f"pool tank is {state}" in _untouched(world, world.plan(line()), Reason.POOL_UNAVAILABLE)


def test_what_cannot_be_read_is_unknown_and_nothing_is_touched() -> None:
    world = world_with(line())
    world.blind_to = str(HOME.child("b-1"))
    assert "I/O error" in _untouched(world, world.plan(desired({})), Reason.OBSERVATION_INCOMPLETE)
    world.blind_to = None
    world.files.link = LinkUnknown("it is a directory")
    assert "the link: it is a" in _untouched(
        world, world.plan(line()), Reason.OBSERVATION_INCOMPLETE
    )


def test_a_place_that_is_no_home_yet_is_not_touched() -> None:
    def why(**changes: object) -> str:
        return _untouched(world, world.plan(replace(line(), **changes)), Reason.NOT_INITIALISED)  # type: ignore[arg-type]

    world = World()
    assert why(dataset=HOME.parent) == (
        "tank/vm exists and is not a home of ckptree yet -> run 'ckptree init web'"
    )
    assert "tank/none does not exist" in why(dataset=type(HOME)("tank/none"))
    assert "write 'vm: web'" in why(vm=VmName("db"))
    world.zfs.unmount(HOME.child("b-1"))
    world.zfs.destroy([DatasetRef(HOME.child("b-1"))])
    assert "has no branch" in why()


def test_properties_that_ckptree_would_never_write_stop_everything() -> None:
    world = world_with(line())
    b_1 = HOME.child("b-1")
    world.zfs.set_properties(b_1.snapshot("c"), {RETIRED: "yesterday"})
    assert "'yesterday' is not a UTC time" in _untouched(world, world.plan(line()), Reason.TAMPERED)
    world.zfs.set_properties(b_1.snapshot("c"), {RETIRED: None, NODE: "b"})
    assert "both say that they are node b" in _untouched(world, world.plan(line()), Reason.TAMPERED)
    world.zfs.set_properties(b_1.snapshot("c"), {NODE: "not a name"})
    assert "is not a checkpoint name" in _untouched(world, world.plan(line()), Reason.TAMPERED)
    world.zfs.set_properties(b_1.snapshot("c"), {NODE: "c", VM: "another"})
    assert reasons(world.plan(line())) == [Reason.LOST]


def test_a_suspended_vm_is_observed_only() -> None:
    world = World()
    plan = world.plan(desired(LINE, suspend=True))
    assert "not carried out: 1" in _untouched(world, plan, Reason.SUSPENDED)


def test_an_unknown_guest_counts_as_a_running_one() -> None:
    world = world_with(line(), line(current=A))
    world.files.link = LinkAbsent()
    world.files.guest = GuestState(Running.UNKNOWN, "fstat failed")
    assert not world.plan(line(current=A)).actions
    assert C in world.tree.nodes


def test_nothing_of_a_pool_that_is_suspended_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8. Whoever reads a file there waits until the pool comes back, and keeps everybody waiting."""
    world = World()
    world.apply(desired({"a": {}}))
    world.zfs.set_pool(PoolFacts(name="tank", health="SUSPENDED"))

    def waits(*_: object) -> None:
        raise AssertionError("this would never return")

    for name in ("read_link", "users", "live_memory", "missing"):
        monkeypatch.setattr(world.files, name, waits)
    monkeypatch.setattr(world.journal, "facts", waits)
    plan = world.plan(desired({"a": {}, "b": {}}))
    assert not plan.actions
    assert reasons(plan) == [Reason.POOL_UNAVAILABLE]
