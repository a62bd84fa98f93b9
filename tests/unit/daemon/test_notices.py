"""What people are told: each change once, in words, and nothing of a VM that only flaps."""

from dataclasses import replace
from datetime import timedelta

from reconciler.daemon.notices import Kind, Notice, Notices, Weight
from reconciler.model.desired import DesiredVm, Prune
from reconciler.names import NodeName
from reconciler.render.host_view import (
    DaemonFacts,
    Doing,
    HostReport,
    SourceFacts,
    VmReport,
    Work,
)
from reconciler.render.status_view import status_view
from reconciler.render.tree_view import tree_view
from tests.support.world import START, World, desired

A = NodeName("a")
SOON = Prune(grace=timedelta(hours=1))


class Watched:
    """A VM, its document, and all that was told of it."""

    def __init__(self, file: DesiredVm) -> None:
        self.world = World()
        self.file = file
        self.notices = Notices("bsd07")
        self.doing: Doing | None = None
        self.faults: tuple[str, ...] = ()
        self.problem = ""

    def vm(self) -> VmReport:
        plan = self.world.plan(self.file)
        seen = self.world.observe(self.file)
        return VmReport(
            status=status_view(self.file, seen, plan),
            tree=tree_view(self.file, seen, plan, self.world.now),
            doing=self.doing,
        )

    def look(self, *vms: VmReport, none: bool = False) -> tuple[Notice, ...]:
        now = self.world.now
        daemon = DaemonFacts(
            pid=1,
            started=START,
            last_pass=now,
            next_pass=now,
            passes=1,
            missed=0,
            source=SourceFacts(place="/vms.d", problem=self.problem),
        )
        report = HostReport(
            host="bsd07",
            version="1",
            at=now,
            vms=() if none else vms or (self.vm(),),
            released={},
            faults=self.faults,
            daemon=daemon,
        )
        return self.notices.decide(report)

    def applied(self, file: DesiredVm | None = None) -> tuple[Notice, ...]:
        self.file = file or self.file
        self.world.apply(self.file)
        return self.look()

    def fails(self, error: str) -> None:
        self.doing = Doing(work=Work.BACKING_OFF, since=START, failures=1, error=error)


def texts(notices: tuple[Notice, ...]) -> list[str]:
    return [notice.text for notice in notices]


def kinds(notices: tuple[Notice, ...]) -> list[Kind]:
    return [notice.kind for notice in notices]


def test_a_capture_is_told_when_it_is_pending_and_when_it_is_done() -> None:
    watched = Watched(desired({}))
    assert not watched.look()
    watched.file = desired({"a": {}})
    (pending,) = watched.look()
    assert pending.text == "web: Reconciling (ChangesPending): 1 action to be carried out"
    assert pending.weight is Weight.INFO
    taken, ready = watched.applied()
    assert taken.text == "web: checkpoint a taken"
    assert ready.text == "web: Ready (UpToDate): what exists is what the file says"
    assert not watched.look()
    assert not watched.look()


def test_a_stalled_vm_is_told_at_the_first_look_and_a_ready_one_is_not() -> None:
    stalled = Watched(desired({"a": {"b": {}}}))
    stalled.world.apply(stalled.file)
    stalled.file = desired({"a": {"b": {}, "c": {}}})
    (notice,) = stalled.look()
    assert (notice.kind, notice.weight, notice.reason) == (
        Kind.STATE,
        Weight.WARNING,
        "ParentNotCurrent",
    )
    assert not stalled.look()
    assert not Watched(desired({"a": {}})).applied()


def test_a_restore_is_told_with_what_was_kept_before_it() -> None:
    watched = Watched(desired({"a": {"b": {}}}))
    watched.applied()
    watched.world.write("more")
    told = watched.applied(desired({"a": {"b": {}}}, current=A))
    assert texts(told) == [
        "web: checkpoint auto-20261123T120000Z-before-a taken",
        "web: the guest was brought to a, on b-2",
    ]
    assert told[-1].nodes == ("a",)


def test_retired_brought_back_and_destroyed_are_told_each_once() -> None:
    both = desired({"a": {"b": {"c": {}}, "d": {}}}, prune=SOON, current=A)
    one = desired({"a": {"d": {}}}, prune=SOON, current=A)
    watched = Watched(desired({"a": {"b": {"c": {}}}}, prune=SOON))
    watched.applied()
    watched.applied(both)
    assert texts(watched.applied(one)) == [
        "web: checkpoints b, c retired; they come back if the document has them again"
    ]
    assert texts(watched.applied(both)) == ["web: checkpoints b, c brought back, the very same"]
    watched.applied(one)
    watched.world.pass_time(hours=2)
    assert kinds(watched.look()) == [Kind.STATE]
    told = watched.applied()
    assert kinds(told) == [Kind.DESTROYED, Kind.STATE]
    assert told[0].text == "web: checkpoints b, c destroyed"


def test_a_node_that_cannot_be_read_is_not_told_as_destroyed() -> None:
    watched = Watched(desired({"a": {}}))
    watched.applied()
    blind = watched.vm()
    gone = replace(blind.tree, nodes=(), gaps=("tank/vm/web: I/O error",))
    assert not watched.look(replace(blind, tree=gone))
    assert not watched.look()


def test_a_failure_is_told_once_however_often_it_is_tried() -> None:
    watched = Watched(desired({"a": {}}))
    watched.look()
    watched.fails("the hook before-checkpoint failed")
    (failed,) = watched.look()
    assert failed.text == "web: failed: the hook before-checkpoint failed"
    assert failed.weight is Weight.ERROR
    watched.doing = replace(watched.doing, failures=2) if watched.doing else None
    assert not watched.look()
    watched.doing = Doing(work=Work.IDLE, since=START)
    assert "web: it works again" in texts(watched.applied())


def test_another_failure_is_told_too() -> None:
    watched = Watched(desired({"a": {}}))
    watched.look()
    for error in ("one", "another"):
        watched.fails(error)
        assert texts(watched.look()) == [f"web: failed: {error}"]


def test_a_faulty_document_is_told_once_whatever_line_the_fault_moves_to() -> None:
    watched = Watched(desired({}))
    watched.look()
    watched.faults = ("web.yaml:3:1: unknown key", "web.yaml:5:1: no list")
    (faulty,) = watched.look()
    assert faulty.text == "web.yaml:3:1: unknown key (and 1 more fault)"
    assert (faulty.vm, faulty.weight) == (None, Weight.ERROR)
    assert not watched.look()
    watched.faults = ("web.yaml:4:1: unknown key",)
    assert kinds(watched.look()) == [Kind.FAULTY]
    watched.faults = ()
    assert texts(watched.look()) == ["no longer: web.yaml:4:1: unknown key"]
    assert not watched.look()


def test_a_repository_that_cannot_be_reached_is_told_and_when_it_can_be_again() -> None:
    watched = Watched(desired({}))
    watched.problem = "git fetch: no route to host"
    assert texts(watched.look()) == ["git fetch: no route to host"]
    watched.problem = ""
    assert kinds(watched.look()) == [Kind.HEALED]


def test_a_released_vm_is_told_and_is_new_when_it_comes_back() -> None:
    watched = Watched(desired({"a": {}}))
    watched.applied()
    (released,) = watched.look(none=True)
    assert released.kind is Kind.RELEASED
    assert not watched.look(none=True)
    assert not watched.look()


def test_a_vm_that_flaps_is_told_once_and_then_when_it_has_been_steady() -> None:
    watched = Watched(desired({}))
    watched.look()
    told: list[Notice] = []
    for number in range(100):
        watched.file = desired({"a": {}} if number % 2 == 0 else {})
        watched.world.pass_time(seconds=10)
        told += watched.look()
    assert kinds(tuple(told)).count(Kind.FLAPPING) == 1
    assert len(told) <= 14
    watched.world.pass_time(minutes=11)
    assert kinds(watched.look()) == [Kind.STATE]
    assert not watched.look()


def test_a_clock_that_is_set_back_silences_nothing_for_long() -> None:
    watched = Watched(desired({}))
    watched.look()
    watched.file = desired({"a": {}})
    watched.world.pass_time(hours=-5)
    assert kinds(watched.look()) == [Kind.STATE]


def test_many_checkpoints_at_once_are_one_sentence() -> None:
    watched = Watched(desired({}))
    watched.look()
    tree: dict[str, dict[str, object]] = {}
    below = tree
    for number in range(15):
        below[f"n{number:02}"] = {}
        below = below[f"n{number:02}"]  # type: ignore[assignment]
    taken = watched.applied(desired(tree))[0]  # type: ignore[arg-type]
    assert taken.text.endswith("n08, n09 and 5 more taken")
    assert len(taken.nodes) == 15


def test_the_json_of_a_notice_says_everything() -> None:
    watched = Watched(desired({}))
    watched.look()
    taken = watched.applied(desired({"a": {}}))[0]
    assert taken.to_json() == {
        "version": 1,
        "at": "2026-11-23T12:00:00Z",
        "host": "bsd07",
        "event": "taken",
        "severity": "notice",
        "vm": "web",
        "state": "",
        "reason": "",
        "nodes": ["a"],
        "message": "checkpoint a taken",
    }
