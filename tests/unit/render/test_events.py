"""What people read of a journal: one sentence for what came of each action, and who asked."""

from collections.abc import Sequence

import pytest

from reconciler.errors import StepFailed
from reconciler.execute import executor
from reconciler.execute.power import start_guest, stop_guest
from reconciler.model.desired import (
    DesiredVm,
    Hook,
    Hooks,
    MemoryWish,
    Prune,
    RestorePolicy,
    Unsaved,
)
from reconciler.model.journal import (
    Approved,
    Begun,
    Done,
    Forgotten,
    GuestSeen,
    Intended,
    JournalRecord,
    TakenOver,
)
from reconciler.names import NodeName
from reconciler.render.events_text import render_event
from reconciler.render.events_view import Event, Happened, Story
from reconciler.render.style import Style
from tests.support.faults import Fuse, PowerCut
from tests.support.world import IDENTITY, MANAGED, START, VM, Nested, World, desired

A, B = NodeName("a"), NodeName("b")
LINE: Nested = {"a": {"b": {}}}


def told(world: World) -> list[str]:
    return [event.message for event in events(world.journal.records or ())]


def events(records: Sequence[JournalRecord]) -> tuple[Event, ...]:
    return Story(VM).after(records)


def running() -> World:
    world = World((), MANAGED)
    world.boot("ram0")
    world.write("w0")
    return world


def test_a_chain_that_was_captured_is_one_event_with_who_asked() -> None:
    world = World()
    world.apply(desired(LINE))
    first, *rest = [e for e in events(world.journal.records or ()) if e.what is Happened.CAPTURED]
    assert (first.message, first.by, first.nodes) == ("captured a, b", "test", (A, B))
    assert first.at == START
    assert not rest


def test_a_restore_is_told_with_where_from_and_what_was_kept() -> None:
    world = running()
    world.apply(desired(LINE))
    world.apply(desired(LINE, current=A))
    assert told(world)[-1] == (
        "restored the guest from b to a, and kept the state before as auto-20261123T120000Z-before-a"
    )


def test_a_restore_that_keeps_nothing_says_so_by_saying_nothing() -> None:
    world = running()
    world.apply(desired(LINE))
    world.apply(desired(LINE, current=A, restore=RestorePolicy(unsaved=Unsaved.DISCARD)))
    assert "restored the guest from b to a" in told(world)


def test_what_was_retired_brought_back_and_destroyed_is_told() -> None:
    world = World()
    prune = Prune(grace=Prune().grace * 0)
    both: Nested = {"a": {"b": {}, "c": {}}}
    world.apply(desired(LINE))
    world.apply(desired(both, current=A))
    one: Nested = {"a": {"c": {}}}
    world.apply(desired(one, current=A))
    world.apply(desired(both, current=A))
    world.apply(desired(one, current=A, prune=prune))
    assert told(world)[-4:] == ["retired b", "brought b back", "retired b", "destroyed b"]


def test_a_failed_step_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StepFailed("tank/vm/web: no space")

    world = World()
    monkeypatch.setattr(executor, "perform", fail)
    with pytest.raises(StepFailed):
        world.apply(desired(LINE))
    (failed,) = [e for e in events(world.journal.records or ()) if e.what is Happened.FAILED]
    assert failed.message == "failed capturing a, b: tank/vm/web: no space"
    assert (failed.error, failed.nodes) == ("tank/vm/web: no space", (A, B))


def test_a_restore_that_was_taken_back_is_told_in_two_sentences() -> None:
    world = running()
    world.apply(desired(LINE))
    file = desired(LINE, current=A)
    start, tries = world.guest.start, []

    def fail_once(memory: str | None = None) -> None:
        tries.append(memory)
        if len(tries) == 1:
            raise StepFailed("bhyve: no such device")
        start(memory)

    world.guest.start = fail_once  # type: ignore[method-assign]
    with pytest.raises(StepFailed):
        world.apply(file)
    assert told(world)[-2:] == [
        "failed restoring a: bhyve: no such device",
        "gave the restore of a up: the guest is where it was",
    ]


def test_a_hook_that_failed_is_told() -> None:
    world = running()
    world.hooks.failing = {"before-checkpoint"}
    with pytest.raises(StepFailed):
        world.apply(desired(LINE, hooks=Hooks(before_checkpoint=Hook(run=("/freeze",)))))
    last = events(world.journal.records or ())[-1]
    assert last.what is Happened.HOOK_FAILED
    assert last.message == (
        "the hook before-checkpoint failed: '/freeze' ended with exit code 1: before-checkpoint says no"
    )


def test_a_guest_that_a_person_stopped_and_started_is_told() -> None:
    world = running()
    vm = desired({})
    stop_guest(vm, world.hands(), IDENTITY, lambda: START, "anna", at_once=True)
    start_guest(vm, world.hands(), IDENTITY, lambda: START, "anna", cold=True)
    stopped, started = events(world.journal.records or ())[-2:]
    assert (stopped.message, stopped.by) == ("stopped the guest", "anna")
    assert started.message == "started the guest"


def every_cut(file: DesiredVm, world: World) -> list[World]:
    fuse = Fuse()
    world.copy().apply(file, fuse=fuse)
    cuts = []
    for place in range(fuse.count):
        cut = world.copy()
        with pytest.raises(PowerCut):
            cut.apply(file, fuse=Fuse(place))
        cuts.append(cut)
    return cuts


def test_a_run_that_was_killed_is_told_by_the_next_one_and_nothing_is_told_twice() -> None:
    world = running()
    world.apply(desired({"a": {}}))
    world.guest.ram = "ram1"
    interrupted = 0
    for cut in every_cut(desired(LINE, {"b": {"memory": MemoryWish.AUTO}}), world):
        cut.apply(desired(LINE))
        messages = told(cut)
        assert messages.count("captured b") <= 1
        interrupted += any("a run was interrupted capturing b" in text for text in messages)
    assert interrupted > 5


def test_what_is_at_work_now_is_told_apart() -> None:
    story = Story(VM)
    at = "2026-11-23T12:00:00Z"
    story.after(
        [Intended(at=at, step="TakeSnapshots", target="x", action="Capture", nodes=[A], steps=2)]
    )
    assert story.at_work == (START, "capturing a")
    assert not story.after([Done(at=at)])
    assert story.at_work == (START, "capturing a")
    story.after([Intended(at=at, step="Hold", target="x")])
    (event,) = story.after([Done(at="2026-11-23T12:00:05Z")])
    assert event.message == "captured a"
    assert story.at_work is None


def test_a_beginning_that_was_cut_off_is_no_riddle() -> None:
    world = World()
    world.apply(desired(LINE))
    records = world.journal.records or []
    for number in range(len(records)):
        Story(VM).after(records[number:])
    assert not events([Done(at=""), Done(at="")])


def test_what_people_said_is_told() -> None:
    at = "2026-11-23T12:00:00Z"
    found = events(
        [
            Approved(at=at, by="anna", digest="d", guids=[1, 2]),
            Forgotten(at=at, by="anna", node=A),
            TakenOver(at=at, by="anna", before="id-0"),
            GuestSeen(at=at, running=True, by="ckptree"),
        ]
    )
    assert [event.message for event in found] == [
        "approved the removal of 2 checkpoints",
        "let a, which is gone, be taken anew",
        "took the home over from the host id-0",
    ]
    assert {event.by for event in found} == {"anna"}


def test_an_action_of_another_version_is_told_by_its_name() -> None:
    at = "2026-11-23T12:00:00Z"
    later = Intended(at=at, step="New", target="x", action="Polish", nodes=[A], steps=1)
    begun = Begun(at=at, by="x", plan="", file="", file_digest="")
    assert [e.message for e in events([later, begun])] == [
        "a run was interrupted Polish, begun 2026-11-23T12:00:00Z; this one goes on"
    ]


def test_a_line_has_the_time_the_vm_the_sentence_and_who_asked() -> None:
    world = World()
    world.apply(desired({"a": {}}))
    (event,) = [e for e in events(world.journal.records or ()) if e.what is Happened.CAPTURED]
    line = render_event(event, Style(), 6)
    assert line == "2026-11-23 12:00:00Z web     captured a (by test)\n"


def test_the_json_of_an_event() -> None:
    world = World()
    world.apply(desired({"a": {}}))
    (event,) = [e for e in events(world.journal.records or ()) if e.what is Happened.CAPTURED]
    assert event.to_json() == {
        "at": "2026-11-23T12:00:00Z",
        "vm": "web",
        "event": "captured",
        "by": "test",
        "nodes": ["a"],
        "message": "captured a",
        "error": "",
    }


def test_no_control_character_of_an_error_reaches_a_terminal() -> None:
    event = Event(vm=VM, at=None, what=Happened.FAILED, message="failed: \x1b[2J\nnext", error="")
    assert "\x1b" not in render_event(event, Style())
    assert render_event(event, Style()).count("\n") == 1
