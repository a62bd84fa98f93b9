"""Whatever fails in a restore: the guest runs on where it was, with its memory, or is where it was to go."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.contracts.perform import perform
from reconciler.errors import CkptreeError, StepFailed
from reconciler.execute import executor
from reconciler.model.desired import DesiredVm, RestorePolicy, Unsaved
from reconciler.model.journal import facts_of
from reconciler.model.observed import Ability, Running
from reconciler.model.steps import Step
from reconciler.names import NodeName
from reconciler.plan.steps import steps_of
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
    seen = names.index("EnsureUnused", names.index("StartGuest"))
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
        # The next run comes to rest, and the one after it has nothing to do.
        world.apply(vm)
        assert not world.apply(vm).done.actions
        assert world.files.guest.running is Running.RUNNING
