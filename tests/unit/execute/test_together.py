"""Groups in memory: all or none, one transaction group, and nobody waits longer than the bound."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import pytest

from reconciler.contracts.perform import Place
from reconciler.errors import HoldLost, PlanStale, StepFailed, ZfsErrorKind, ZfsRefused
from reconciler.execute.executor import Hands
from reconciler.execute.together import Member, capture_together
from reconciler.model.desired import DesiredVm, Hook, Hooks
from reconciler.model.journal import HooksBegun, Occasion
from reconciler.model.observed import GuestState, LinkTo, Running
from reconciler.model.tree import derive_tree
from reconciler.names import Dataset, NodeName, VmName
from reconciler.plan.group import GroupPlan, groups_of
from reconciler.simulate.guest import MemoryGuest, MemoryHold
from reconciler.simulate.hooks import MemoryHooks
from reconciler.simulate.host import MemoryFiles
from reconciler.simulate.zfs import MemoryZfs
from tests.support.world import IDENTITY, MANAGED, START, MemoryJournal, desired, nodes_of


class Stubborn(MemoryGuest):
    """A guest that fails as the test says."""

    fault = ""

    @contextmanager
    def frozen(self, memory: str) -> Iterator[MemoryHold]:
        if self.fault == "refuses":
            raise StepFailed("the guest does not freeze")
        if self.fault == "slow":
            Event().wait(2.0)
        with super().frozen(memory) as hold:
            yield hold
        if self.fault == "lost":
            raise HoldLost("the guest went on before")


class Pair:
    """Two VMs, web and db, that run in one pool."""

    def __init__(self) -> None:
        self.zfs = MemoryZfs()
        self.zfs.add_pool("tank")
        self.members: dict[str, Member] = {}
        self.guests: dict[str, Stubborn] = {}
        self.hooks: dict[str, MemoryHooks] = {}
        for name in ("db", "web"):
            home = Dataset(f"tank/{name}")
            self.zfs.create(
                home, {"ckptree:vm": name, "ckptree:owner": IDENTITY.host_id}, canmount="on"
            )
            branch = {"ckptree:vm": name, "ckptree:branch": "1"}
            self.zfs.create(home.child("b-1"), branch, canmount="on")
            for dataset in (home, home.child("b-1")):
                self.zfs.mount(dataset)
            files = MemoryFiles(self.zfs, LinkTo("b-1"), GuestState(Running.RUNNING, "simulated"))
            files.guest_branch = "b-1"
            guest = self.guests[name] = Stubborn(self.zfs, files, MANAGED)
            place = Place(VmName(name), home, f"/{home}")
            hooks = self.hooks[name] = MemoryHooks()
            hands = Hands(self.zfs, files, guest, MemoryJournal(), place, hooks)
            self.members[name] = Member(self.document(name, "r7"), hands)

    def document(self, name: str, group: str) -> DesiredVm:
        tree = nodes_of({"release": {}}, {"release": {"group": group}})
        return replace(desired({}), vm=VmName(name), dataset=Dataset(f"tank/{name}"), nodes=tree)

    def take(
        self, bound: float = 60.0, still: Callable[[DesiredVm], bool] = lambda _: True
    ) -> GroupPlan:
        members = list(self.members.values())
        return capture_together(
            "r7",
            members,
            IDENTITY,
            lambda: START,
            "test",
            bound,
            lambda _: lambda _: None,
            still=still,
        )

    def taken(self) -> dict[str, int]:
        """The transaction group of each VM's node."""
        found = {}
        for name, member in self.members.items():
            home = member.desired.dataset
            tree = derive_tree(VmName(name), self.zfs.read([home])[home], LinkTo("b-1"))
            for node in tree.nodes.values():
                found[name] = node.snapshot.createtxg
        return found

    def untouched(self) -> None:
        """None is taken, all go on, and none of their RAM lies about."""
        assert self.taken() == {}
        for name, guest in self.guests.items():
            hands = self.members[name].hands
            assert guest.state().running is Running.RUNNING
            assert not hands.files.live_memory("", hands.place.home.child("b-1"))
            assert not hands.journal.facts().stopped


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_all_are_of_one_transaction_group_and_held(pair: Pair) -> None:
    assert pair.take().ready
    taken = pair.taken()
    assert sorted(taken) == ["db", "web"]
    assert len(set(taken.values())) == 1
    assert pair.take().done


@pytest.mark.parametrize("fault", ["refuses", "lost"])
def test_if_one_fails_none_is_taken(pair: Pair, fault: str) -> None:
    pair.guests["web"].fault = fault
    with pytest.raises(StepFailed, match="web: the guest"):
        pair.take()
    pair.untouched()


def test_a_document_that_was_changed_while_a_lock_was_waited_for_is_not_gone_by(pair: Pair) -> None:
    with pytest.raises(PlanStale, match="was changed meanwhile"):
        pair.take(still=lambda vm: vm.vm != "db")
    pair.untouched()


def test_5_nobody_waits_longer_than_the_bound(pair: Pair) -> None:
    pair.guests["web"].fault = "slow"
    with pytest.raises(StepFailed, match="db waited"):
        pair.take(bound=0.2)
    pair.untouched()


def test_a_snapshot_that_fails_lets_all_go_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise ZfsRefused(ZfsErrorKind.NO_SPACE, "tank/web/b-1@release")

    monkeypatch.setattr(pair.zfs, "snapshot_sets", refuse)
    with pytest.raises(ZfsRefused, match="no space"):
        pair.take()
    pair.untouched()


def test_a_vm_that_is_not_ready_is_named_and_nothing_is_taken(pair: Pair) -> None:
    nodes = nodes_of({"first": {"release": {}}}, {"release": {"group": "r7"}})
    web = pair.members["web"]
    pair.members["web"] = Member(replace(web.desired, nodes=nodes), web.hands)
    (obstacle,) = pair.take().obstacles
    assert obstacle.startswith("web: release")
    assert pair.taken() == {}


def test_a_vm_that_comes_after_the_group_was_taken_is_told_so(pair: Pair) -> None:
    late = pair.members.pop("web")
    pair.take()
    pair.members["web"] = late
    (obstacle,) = pair.take().obstacles
    assert "was taken without it, of db" in obstacle
    assert sorted(pair.taken()) == ["db"]


def test_groups_are_found_by_name(pair: Pair) -> None:
    vms = [pair.document("web", "b"), pair.document("db", "b"), pair.document("x", "a")]
    found = {group: [str(vm.vm) for vm in members] for group, members in groups_of(vms).items()}
    assert found == {"a": ["x"], "b": ["db", "web"]}


def with_hooks(pair: Pair) -> Pair:
    hooks = Hooks(before_checkpoint=Hook(run=("/freeze",)), after_checkpoint=Hook(run=("/thaw",)))
    for name, member in pair.members.items():
        pair.members[name] = replace(member, desired=replace(member.desired, hooks=hooks))
    return pair


def results(pair: Pair) -> dict[str, list[str]]:
    return {
        name: [call.get("CKPTREE_RESULT", "begins") for call in hooks.calls]
        for name, hooks in pair.hooks.items()
    }


def test_the_hooks_of_all_run_before_any_is_frozen_and_after_all_go_on() -> None:
    pair = with_hooks(Pair())
    pair.take()
    assert results(pair) == {"db": ["begins", "done"], "web": ["begins", "done"]}
    assert len(pair.taken()) == 2


def test_a_hook_that_fails_lets_all_others_go_on_and_nothing_is_taken() -> None:
    pair = with_hooks(Pair())
    pair.hooks["web"].failing = {"before-checkpoint"}
    with pytest.raises(StepFailed, match="before-checkpoint says no"):
        pair.take()
    assert results(pair) == {"db": ["begins", "failed"], "web": ["begins", "failed"]}
    assert not pair.taken()


def test_a_guest_that_cannot_be_frozen_is_told_to_the_hooks_of_all() -> None:
    pair = with_hooks(Pair())
    pair.guests["db"].fault = "refuses"
    with pytest.raises(StepFailed, match="does not freeze"):
        pair.take()
    assert results(pair) == {"db": ["begins", "failed"], "web": ["begins", "failed"]}


def test_a_failing_hook_after_a_group_keeps_no_other_from_running() -> None:
    pair = with_hooks(Pair())
    pair.hooks["web"].failing = {"after-checkpoint"}
    with pytest.raises(StepFailed, match="taken, but the hook after-checkpoint failed"):
        pair.take()
    assert len(pair.taken()) == 2
    assert [hooks.at_rest for hooks in pair.hooks.values()] == [set(), set()]


def test_what_an_interrupted_run_owes_is_run_before_a_group_is_taken() -> None:
    pair = with_hooks(Pair())
    begun = HooksBegun(
        at="",
        occasion=Occasion.CHECKPOINT,
        nodes=[NodeName("x")],
        branch="/tank/db/b-1",
        after=["/thaw"],
        timeout=5,
    )
    pair.members["db"].hands.journal.append(begun)
    pair.take()
    assert results(pair)["db"] == ["failed", "begins", "done"]
