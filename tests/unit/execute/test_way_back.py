"""Whatever fails in a restore: the guest runs on where it was, with its memory, or is where it was to go."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from reconciler.contracts.perform import perform
from reconciler.errors import CkptreeError, ExitCode, StepFailed
from reconciler.execute import executor
from reconciler.model.desired import DesiredVm, RestorePolicy, Unsaved
from reconciler.model.journal import STOP, Intended, facts_of
from reconciler.model.observed import Ability, GuestState, LinkTo, Running
from reconciler.model.plan import Reason
from reconciler.model.steps import Step
from reconciler.names import NodeName
from reconciler.plan.steps import steps_of
from reconciler.simulate.guest import Holder, MemoryGuest
from reconciler.simulate.zfs import MemoryZfs
from tests.support.faults import Fuse, PowerCut
from tests.support.world import DISKS_ONLY, HOME, MANAGED, VM, World, desired

A = NodeName("a")


def moved_on(ability: Ability) -> World:
    world = World(("disk1",), ability)
    world.write("w0")
    world.boot("ram0")
    world.apply(desired({"a": {}}, disks=world.volumes))
    world.write("w1")
    world.guest.ram = "ram1"
    return world


def file(world: World, unsaved: Unsaved = Unsaved.SAVE) -> DesiredVm:
    policy = RestorePolicy(again="1", unsaved=unsaved)
    return desired({"a": {}}, disks=world.volumes, current=A, restore=policy)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[list[Step]]:
    """Let the NUMBER-th step fail; gives the steps that were tried."""
    tried: list[Step] = []

    def perform_or_fail(step: Step, *rest: object) -> None:
        tried.append(step)
        if len(tried) == number + 1:
            raise StepFailed(f"{type(step).__name__} failed")
        perform(step, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(executor, "perform", perform_or_fail)
        yield tried


def steps(world: World, vm: DesiredVm) -> tuple[Step, ...]:
    (action, *_) = world.plan(vm).actions
    return steps_of(VM, HOME, action)


@pytest.mark.parametrize("unsaved", [Unsaved.SAVE, Unsaved.DISCARD])
@pytest.mark.parametrize("ability", [MANAGED, DISKS_ONLY], ids=["memory", "disks"])
def test_5_7_any_step_of_a_restore_may_fail(
    monkeypatch: pytest.MonkeyPatch, ability: Ability, unsaved: Unsaved
) -> None:
    start = moved_on(ability)
    names = [type(step).__name__ for step in steps(start, file(start, unsaved))]
    taken = next(n for n, name in enumerate(names) if name in {"TakeFrozen", "StopGuest"})
    seen = names.index("EnsureUsed")
    for number, name in enumerate(names):
        world = start.copy()
        vm = file(world, unsaved)
        with failing(monkeypatch, number), pytest.raises(CkptreeError, match=f"{name} failed"):
            world.apply(vm)
        assert world.files.guest.running is Running.RUNNING, f"5: off after {name} failed"
        back = number <= seen
        assert world.content() == ("w1" if back else "w0"), f"on the wrong disks after {name}"
        if number <= taken:
            assert world.guest.ram == "ram1", f"it was not to be touched by {name}"
        elif back and ability.memory and unsaved is Unsaved.SAVE:
            assert world.guest.ram == "ram1", f"7: its memory is lost after {name}"
        gave_up = facts_of(world.journal.records).gave_up
        assert (gave_up is not None) == (taken < number <= seen), f"after {name}"
        # It is not tried again by itself, and says so; else the next run finishes it.
        left = world.apply(vm).left
        assert (Reason.RESTORE_FAILED in {c.reason for c in left.conditions}) == (
            gave_up is not None
        )
        assert left.exit_code is (ExitCode.NOTHING_TO_DO if gave_up is None else ExitCode.BLOCKED)
        assert not world.apply(vm).done.actions
        assert world.files.guest.running is Running.RUNNING


class BrokenStarts(MemoryGuest):
    """A guest that cannot be started on the branches named; what is asked of it on others works."""

    broken: frozenset[str] = frozenset()

    def copy(self, zfs: MemoryZfs, files: Holder) -> "BrokenStarts":
        copied = BrokenStarts(zfs, files, self.ability)
        copied.ram, copied.broken = self.ram, self.broken
        return copied

    def start(self, memory: str | None = None) -> None:
        link = self._files.link
        if isinstance(link, LinkTo) and link.target in self.broken:
            raise StepFailed("it cannot be started here")
        super().start(memory)


def test_4_5_power_cut_anywhere_in_a_restore_that_cannot_start_and_in_its_way_back() -> None:
    start = moved_on(MANAGED)
    broken = BrokenStarts(start.zfs, start.files, MANAGED)
    broken.ram, broken.broken = start.guest.ram, frozenset({"b-2"})
    start.guest = broken
    vm = file(start)
    whole, fuse = start.copy(), Fuse()
    with pytest.raises(StepFailed, match="the guest is back on"):
        whole.apply(vm, fuse=fuse)
    for place in range(fuse.count):
        world = start.copy()
        with pytest.raises(PowerCut):
            world.apply(vm, fuse=Fuse(place))
        for _ in range(3):  # the first may still have to try what cannot work
            with suppress(CkptreeError):
                world.apply(vm)
        assert world.files.guest.running is Running.RUNNING, f"5: off after a cut at {place}"
        assert (world.content(), world.guest.ram) == ("w1", "ram1"), f"7: cut at {place}"
        assert not world.apply(vm).done.actions, f"3: cut at {place}"
        assert facts_of(world.journal.records).gave_up is not None, f"cut at {place}"


def test_4_5_the_host_loses_its_power_anywhere_in_a_restore() -> None:
    """The guest is gone too: it is started if ckptree had taken it down, from memory only where that is exact."""
    start = moved_on(MANAGED)
    vm = file(start)
    whole, fuse = start.copy(), Fuse()
    whole.apply(vm, fuse=fuse)
    for place in range(fuse.count):
        world = start.copy()
        with pytest.raises(PowerCut):
            world.apply(vm, fuse=Fuse(place))
        world.files.guest, world.guest.ram = GuestState(Running.OFF), ""
        world.apply(vm)
        assert not world.apply(vm).done.actions, f"3: cut at {place}"
        if world.files.guest.running is Running.RUNNING and world.guest.ram:
            exact = {"w0": "ram0", "w1": "ram1"}[world.content()]
            assert world.guest.ram == exact, f"6: cut at {place}"


def test_a_start_that_is_owed_does_not_wait_for_somebody_who_looks_at_the_disks() -> None:
    world = moved_on(MANAGED)
    world.journal.append(Intended(at="", step=STOP, target=""))
    world.files.guest = GuestState(Running.OFF)
    world.files.users = lambda *_: GuestState(Running.RUNNING, "find (pid 7)")  # type: ignore[method-assign]
    plan = world.plan(desired({"a": {}}, disks=world.volumes))
    assert [type(action).__name__ for action in plan.actions] == ["Start"]


def test_a_branch_that_somebody_looks_at_blocks_nothing_but_its_own_unmount() -> None:
    world = moved_on(MANAGED)
    world.zfs.open(HOME.child("b-1"))
    world.apply(file(world))
    tree = world.tree
    assert tree.head is not None
    assert tree.head.facts.name == HOME.child("b-2")
    assert all("ckptree" in s.holds for node in tree.nodes.values() for s in node.all_snapshots)
    world.files.users = lambda branches, _: (  # type: ignore[method-assign, assignment]
        GuestState(Running.RUNNING, "sh (pid 7)")
        if branches[0][1].leaf == "b-1"
        else GuestState(Running.OFF)
    )
    more = desired({"a": {"n": {}}}, disks=world.volumes, current=A, restore=file(world).restore)
    left = world.apply(more).left
    assert NodeName("n") in world.tree.nodes
    assert Reason.GUEST_RUNNING in {c.reason for c in left.conditions}
