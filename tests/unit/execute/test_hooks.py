"""Hooks around what is carried out: what they are told, what is written down, and what a plan says of them."""

from collections.abc import Mapping
from typing import NoReturn

import pytest

from reconciler.errors import ObservationFailed, StepFailed
from reconciler.execute import executor
from reconciler.execute.power import start_guest, stop_guest
from reconciler.model.desired import DesiredVm, Hook, Hooks
from reconciler.model.journal import (
    HookFailed,
    HooksBegun,
    HooksEnded,
    JournalRecord,
    Occasion,
    facts_of,
)
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.names import NodeName
from reconciler.plan.document import plan_document
from reconciler.render.plan_text import render_plan
from reconciler.render.style import Style
from tests.support.world import DISKS_ONLY, IDENTITY, MANAGED, START, UNMANAGED, World, desired

FREEZE, THAW = Hook(run=("/hooks/freeze", "web")), Hook(run=("/hooks/thaw", "web"))
LEAVE, ENTER = Hook(run=("/hooks/leave",)), Hook(run=("/hooks/enter",))
HOOKS = Hooks(
    before_checkpoint=FREEZE, after_checkpoint=THAW, before_restore=LEAVE, after_restore=ENTER
)
A, B = NodeName("a"), NodeName("b")


def running(ability: object = MANAGED) -> World:
    world = World(("disk1",), ability)  # type: ignore[arg-type]
    world.boot()
    world.write("w0")
    return world


def file(world: World, tree: Mapping[str, object], **fields: object) -> DesiredVm:
    return desired(tree, disks=world.volumes, **{"hooks": HOOKS, **fields})  # type: ignore[arg-type]


def interrupted(world: World, after: tuple[str, ...] = ("/hooks/thaw", "web")) -> None:
    """Leave behind what a run leaves that was killed after its hook before a checkpoint."""
    world.hooks.at_rest = {"checkpoint"}
    world.journal.append(
        HooksBegun(
            at="",
            occasion=Occasion.CHECKPOINT,
            nodes=[A],
            branch="/b-1",
            after=list(after),
            timeout=5,
        )
    )


def hook_records(world: World) -> list[JournalRecord]:
    kinds = (HooksBegun, HookFailed, HooksEnded)
    return [record for record in world.journal.records or () if isinstance(record, kinds)]


def test_the_hooks_around_a_checkpoint_are_told_everything() -> None:
    world = running()
    world.apply(file(world, {"a": {"b": {}}}))
    before, after = world.hooks.calls
    assert before == {
        "CKPTREE_VM": "web",
        "CKPTREE_HOOK": "before-checkpoint",
        "CKPTREE_NODE": "b",
        "CKPTREE_NODES": "a b",
        "CKPTREE_DATASET": "tank/vm/web",
        "CKPTREE_HOME": "/tank/vm/web",
        "CKPTREE_BRANCH": "/tank/vm/web/b-1",
        "CKPTREE_GUEST": "running",
    }
    more = {"CKPTREE_HOOK": "after-checkpoint", "CKPTREE_RESULT": "done", "CKPTREE_ERROR": ""}
    assert after == {**before, **more}


def test_the_hooks_around_a_restore_are_told_where_the_guest_comes_from_and_where_it_is() -> None:
    world = running()
    world.apply(file(world, {"a": {}}, hooks=Hooks()))
    world.apply(file(world, {"a": {"b": {}}}, hooks=Hooks()))
    world.apply(file(world, {"a": {"b": {}}}, current=A))
    before, after = world.hooks.calls
    assert (before["CKPTREE_HOOK"], before["CKPTREE_NODES"]) == ("before-restore", "a")
    assert before["CKPTREE_BRANCH"] == "/tank/vm/web/b-1"
    assert (after["CKPTREE_HOOK"], after["CKPTREE_RESULT"]) == ("after-restore", "done")
    assert after["CKPTREE_BRANCH"] == "/tank/vm/web/b-2"


def test_without_hooks_nothing_is_run_or_written_down() -> None:
    world = running()
    world.apply(file(world, {"a": {}}, hooks=Hooks(before_restore=LEAVE)))
    assert not world.hooks.calls
    assert not hook_records(world)


def test_a_hook_alone_is_enough() -> None:
    for hooks, names in (
        (Hooks(before_checkpoint=FREEZE), ["before-checkpoint"]),
        (Hooks(after_checkpoint=THAW), ["after-checkpoint"]),
    ):
        world = running()
        world.apply(file(world, {"a": {}}, hooks=hooks))
        assert world.hooks.names == names
        assert facts_of(world.journal.records).hooks is None


def test_a_failing_hook_before_keeps_its_words_and_nothing_is_taken() -> None:
    world = running()
    world.hooks.failing = {"before-checkpoint"}
    with pytest.raises(StepFailed) as failed:
        world.apply(file(world, {"a": {}}))
    assert str(failed.value) == (
        "a: not taken, because the hook before-checkpoint failed:"
        " '/hooks/freeze' ended with exit code 1: before-checkpoint says no"
    )
    assert not world.tree.nodes
    assert world.hooks.calls[-1]["CKPTREE_ERROR"] == str(failed.value)
    kinds = [type(record) for record in hook_records(world)]
    assert kinds == [HooksBegun, HookFailed, HooksEnded]


def test_a_failing_hook_after_is_told_and_the_checkpoint_stands() -> None:
    world = running()
    world.hooks.failing = {"after-checkpoint"}
    with pytest.raises(StepFailed, match=r"^a: taken, but the hook after-checkpoint failed: "):
        world.apply(file(world, {"a": {}}))
    assert A in world.tree.nodes
    assert not world.apply(file(world, {"a": {}})).done.actions


def test_when_all_fails_all_is_told() -> None:
    world = running()
    world.hooks.failing = {"before-checkpoint", "after-checkpoint"}
    with pytest.raises(
        StepFailed, match=r"before-checkpoint says no; and .* after-checkpoint says"
    ):
        world.apply(file(world, {"a": {}}))


def test_the_hook_after_follows_when_a_person_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    world = running()
    monkeypatch.setattr(executor, "perform", interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.apply(file(world, {"a": {}}))
    assert world.hooks.names == ["before-checkpoint", "after-checkpoint"]
    assert world.hooks.calls[-1]["CKPTREE_ERROR"] == "interrupted"
    assert facts_of(world.journal.records).hooks is None


def test_a_live_capture_between_two_hooks_is_quiesced_and_others_are_what_they_were() -> None:
    for ability, runs, hooks, grade in (
        (DISKS_ONLY, True, HOOKS, Grade.QUIESCED),
        (UNMANAGED, False, HOOKS, Grade.CLEAN),
        (MANAGED, True, HOOKS, Grade.MEMORY),
        (DISKS_ONLY, True, Hooks(before_checkpoint=FREEZE), Grade.CRASH),
        (DISKS_ONLY, True, Hooks(), Grade.CRASH),
    ):
        world = World(("disk1",), ability)
        if runs:
            world.boot()
        world.apply(file(world, {"a": {}}, hooks=hooks))
        assert world.tree.nodes[A].grade is grade


def test_the_next_run_first_runs_the_hook_that_a_killed_one_owes() -> None:
    world = running()
    vm = file(world, {})
    interrupted(world)
    assert world.plan(vm).conditions[0].reason is Reason.HOOK_OWED
    assert world.plan(vm).conditions[0].resolve == "run 'ckptree apply web', which runs it first"
    world.apply(vm)
    (call,) = world.hooks.calls
    assert (call["CKPTREE_HOOK"], call["CKPTREE_RESULT"]) == ("after-checkpoint", "failed")
    assert (call["CKPTREE_NODES"], call["CKPTREE_ERROR"]) == ("a", "interrupted")
    assert not world.plan(vm).conditions
    world.apply(vm)
    assert len(world.hooks.calls) == 1


def test_it_is_run_for_a_suspended_vm_too_and_though_the_document_has_no_hooks_any_more() -> None:
    world = running()
    interrupted(world)
    world.apply(file(world, {}, hooks=Hooks(), suspend=True))
    assert world.hooks.names == ["after-checkpoint"]
    assert not world.hooks.at_rest


def test_it_is_run_before_a_guest_is_stopped_or_started_by_hand() -> None:
    for deed in ("stop", "start"):
        world = running()
        vm = file(world, {})
        if deed == "start":
            stop_guest(vm, world.hands(), IDENTITY, lambda: START, "test", at_once=True)
        interrupted(world)
        if deed == "stop":
            stop_guest(vm, world.hands(), IDENTITY, lambda: START, "test", at_once=True)
        else:
            start_guest(vm, world.hands(), IDENTITY, lambda: START, "test", cold=True)
        assert world.hooks.names == ["after-checkpoint"], deed


def test_one_that_fails_then_is_told_once() -> None:
    world = running()
    world.hooks.failing = {"after-checkpoint"}
    interrupted(world)
    vm = file(world, {})
    with pytest.raises(StepFailed, match="after-checkpoint says no"):
        world.apply(vm)
    world.apply(vm)
    assert len(world.hooks.calls) == 1


def test_a_journal_that_cannot_be_read_is_told_by_whoever_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(*_: object) -> NoReturn:
        raise ObservationFailed("journal.jsonl:3: this record cannot be read")

    world = running()
    monkeypatch.setattr(world.journal, "facts", unreadable)
    plan = world.apply(file(world, {"a": {}})).done
    assert [c.reason for c in plan.conditions] == [Reason.OBSERVATION_INCOMPLETE]


def test_a_plan_says_which_hooks_run_and_its_digest_covers_them() -> None:
    world = running()
    plan = world.plan(file(world, {"a": {}}))
    text = " ".join(render_plan(plan, Style()).split())
    assert "runs /hooks/freeze first and /hooks/thaw afterwards, whatever happens" in text
    assert '"timeout": 30.0' in plan_document((plan,))
    assert plan.digest != world.plan(file(world, {"a": {}}, hooks=Hooks())).digest
