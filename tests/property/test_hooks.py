"""Hooks that fail or are cut short at every place: the guest is let go on each time, and nothing else changes."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from reconciler.contracts.perform import perform
from reconciler.errors import CkptreeError, StepFailed
from reconciler.execute import executor
from reconciler.model.desired import DesiredVm, Hook, Hooks, RestorePolicy, Unsaved
from reconciler.model.observed import Ability
from reconciler.model.steps import Step
from reconciler.names import NodeName
from reconciler.plan.steps import steps_of
from tests.property.test_invariants import EXAMPLES, LifeOfRunningGuest
from tests.support.faults import Fuse, PowerCut
from tests.support.life import Deeds, step
from tests.support.picture import everything, outcome
from tests.support.world import DISKS_ONLY, HOME, MANAGED, UNMANAGED, Nested, World, desired

HOOKS = Hooks(
    before_checkpoint=Hook(run=("/hooks/freeze",)),
    after_checkpoint=Hook(run=("/hooks/thaw",)),
    before_restore=Hook(run=("/hooks/leave",)),
    after_restore=Hook(run=("/hooks/enter",)),
)
NAMES = ("before-checkpoint", "after-checkpoint", "before-restore", "after-restore")
LINE: Nested = {"a": {"b": {"c": {}}}}
Scene = tuple[World, DesiredVm]


def _file(world: World, tree: Nested, current: str | None = None, again: str = "1") -> DesiredVm:
    return desired(
        tree,
        disks=world.volumes,
        hooks=HOOKS,
        current=None if current is None else NodeName(current),
        restore=RestorePolicy(again=again, unsaved=Unsaved.DISCARD),
    )


def _world(ability: Ability, *trees: Nested) -> World:
    world = World(("disk1",), ability)
    if ability.managed:
        world.boot()
    for number, tree in enumerate((*trees, None)):
        world.write(f"w{number}")
        world.guest.ram = f"ram{number}" if ability.managed else ""
        if tree is not None:
            world.apply(_file(world, tree))
    return world


def capture_of_a_guest_that_is_off() -> Scene:
    world = _world(UNMANAGED, {"a": {}})
    return world, _file(world, LINE)


def capture_with_memory() -> Scene:
    world = _world(MANAGED, {"a": {}})
    return world, _file(world, LINE)


def capture_of_the_disks_of_a_running_guest() -> Scene:
    world = _world(DISKS_ONLY, {"a": {}})
    return world, _file(world, LINE)


def restore() -> Scene:
    world = _world(UNMANAGED, LINE)
    return world, _file(world, LINE, "a", "2")


def restore_of_a_running_guest() -> Scene:
    world = _world(MANAGED, {"a": {}}, LINE)
    return world, _file(world, LINE, "a", "2")


def restore_with_a_capture_below_it() -> Scene:
    world = _world(MANAGED, {"a": {}}, LINE)
    return world, _file(world, {"a": {"b": {"c": {}}, "n": {}}}, "a", "2")


SCENES: list[Callable[[], Scene]] = [
    capture_of_a_guest_that_is_off,
    capture_with_memory,
    capture_of_the_disks_of_a_running_guest,
    restore,
    restore_of_a_running_guest,
    restore_with_a_capture_below_it,
]
scenes = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)


def followed(names: list[str]) -> bool:
    """Whether each hook before something is followed by the one after it, and by nothing else first."""
    afters = [*names[1:], ""]
    return all(
        after == name.replace("before", "after")
        for name, after in zip(names, afters, strict=False)
        if name.startswith("before")
    )


def test_a_hook_that_nothing_follows_is_noticed() -> None:
    assert followed(["after-restore", "before-restore", "after-restore"])
    assert not followed(["before-restore"])
    assert not followed(["before-restore", "before-checkpoint", "after-checkpoint"])


@scenes
def test_4_killed_anywhere_the_next_run_lets_the_guest_go_and_ends_the_same(
    scene: Callable[[], Scene],
) -> None:
    world, file = scene()
    whole, fuse = world.copy(), Fuse()
    assert not whole.apply(file, fuse=fuse).left.actions
    want = outcome(whole)
    left_at_rest = 0
    for place in range(fuse.count):
        cut = world.copy()
        with pytest.raises(PowerCut):
            cut.apply(file, fuse=Fuse(place))
        left_at_rest += bool(cut.hooks.at_rest)
        calls = len(cut.hooks.calls)
        assert not cut.apply(file).left.actions, f"cut at {place}"
        if not followed(cut.hooks.names[:calls]):
            first = cut.hooks.calls[calls]
            assert first["CKPTREE_HOOK"].startswith("after-"), f"cut at {place}"
            assert first["CKPTREE_RESULT"] == "failed", f"cut at {place}"
        assert not cut.hooks.at_rest, f"cut at {place}"
        assert outcome(cut) == want, f"cut at {place}"
        before = everything(cut)
        assert not cut.apply(file).done.actions, f"cut at {place}"
        assert everything(cut) == before, f"cut at {place}"
    assert left_at_rest, "no cut came between two hooks"


@scenes
def test_5_whatever_step_fails_the_hook_after_it_follows(
    scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, file = scene()
    running = world.files.guest.running
    for number in range(_steps_of(world, file)):
        broken = world.copy()
        with monkeypatch.context() as patch:
            patch.setattr(executor, "perform", _failing_at(number))
            with pytest.raises(CkptreeError, match="step failed"):
                broken.apply(file)
        assert followed(broken.hooks.names), f"step {number}"
        assert not broken.hooks.at_rest, f"step {number}"
        assert broken.files.guest.running is running, f"5: step {number}"
        if number == 0:
            last = broken.hooks.calls[-1]
            assert (last["CKPTREE_RESULT"], last["CKPTREE_ERROR"]) == ("failed", "the step failed")


def _steps_of(world: World, file: DesiredVm) -> int:
    plan = world.plan(file)
    return sum(len(steps_of(plan.vm, HOME, action)) for action in plan.actions)


def _failing_at(number: int) -> Callable[..., None]:
    tried = []

    def perform_or_fail(what: Step, *rest: object) -> None:
        tried.append(what)
        if len(tried) == number + 1:
            raise StepFailed("the step failed")
        perform(what, *rest)  # type: ignore[arg-type]

    return perform_or_fail


@scenes
@pytest.mark.parametrize("name", NAMES)
def test_a_hook_that_fails_is_told_and_the_guest_goes_on(
    scene: Callable[[], Scene], name: str
) -> None:
    world, file = scene()
    running, tree, before = world.files.guest.running, world.shape(), world.tree.head
    plain = world.copy()
    plain.apply(file)
    if name not in plain.hooks.names[len(world.hooks.names) :]:
        return
    world.hooks.failing = {name}
    with pytest.raises(StepFailed, match=f"{name} says no"):
        world.apply(file)
    assert not world.hooks.at_rest
    assert followed(world.hooks.names)
    assert world.files.guest.running is running
    if name == "before-restore" or scene is not restore_with_a_capture_below_it:
        head = world.tree.head
        assert head is not None
        assert before is not None
        if name.startswith("before"):
            assert world.shape() == tree
            assert head.facts.guid == before.facts.guid
        else:
            assert outcome(world)["nodes"] == outcome(plain)["nodes"]
            assert outcome(world)["head"] == outcome(plain)["head"]
    world.hooks.failing = set()
    world.apply(file)
    assert outcome(world) == outcome(plain)


def test_the_hook_before_runs_while_the_guest_still_runs() -> None:
    world, file = restore_of_a_running_guest()
    world.apply(file)
    seen = [(call["CKPTREE_HOOK"], call["CKPTREE_GUEST"]) for call in world.hooks.calls[-2:]]
    assert seen == [("before-restore", "running"), ("after-restore", "running")]


class LifeWithHooks(LifeOfRunningGuest):
    """The life of a running guest with hooks, some of which fail now and then."""

    @step(failing=st.sets(st.sampled_from(NAMES), max_size=2))
    def hooks_fail(self: Deeds, failing: set[str]) -> None:
        self.operator.hooks = HOOKS
        self.world.hooks.failing = failing

    @step()
    def hooks_work(self: Deeds) -> None:
        self.operator.hooks = HOOKS
        self.world.hooks.failing = set()

    @step()
    def hooks_are_removed(self: Deeds) -> None:
        self.operator.hooks = Hooks()

    def then(self, then: str, at: int) -> None:
        """Apply the file; afterwards no guest is at rest."""
        super().then(then, at)
        assert not self.world.hooks.at_rest, "5: the guest was left at rest"
        assert followed(self.world.hooks.names), "a hook has no other half"


TestLifeWithHooks = LifeWithHooks.TestCase
TestLifeWithHooks.settings = settings(
    max_examples=int(EXAMPLES or 30),
    stateful_step_count=40,
    deadline=None,
    derandomize=EXAMPLES is None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
