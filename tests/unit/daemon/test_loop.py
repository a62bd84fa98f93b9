"""The loop: whatever wakes it, what exists becomes what the documents say, each VM for itself."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from reconciler.daemon.loop import Loop, Setup
from reconciler.daemon.wakes import Cause, Wakes, Woken
from reconciler.drivers.clock import SystemClock
from reconciler.errors import ZfsErrorKind, ZfsRefused
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Gap, Observation
from reconciler.model.plan import Restraint
from reconciler.names import NodeName, VmName
from reconciler.render.host_view import HostReport, Work
from reconciler.render.status_view import State
from reconciler.spec.settings import HostSettings
from tests.support.clock import HandClock
from tests.support.host import Folder, MemoryHost

SECONDS = 30.0
EVERYTHING = Woken(frozenset({Cause.TIME}), None)
FILES = Woken(frozenset({Cause.FILES}), frozenset())
LEAF = "{base: {checkpoints: {leaf: {fork: true}}}}"
GRACE = "prune: {grace: 10m}"


class Unwatched:
    """A watch that never tells of anything."""

    def __init__(self) -> None:
        self.asked: list[tuple[Path, Sequence[str]]] = []

    def refresh(self, path: Path, homes: Sequence[str]) -> None:
        self.asked.append((path, homes))


class Shop:
    """A loop over VMs, mail and web if none are NAMED, that a test turns by hand."""

    def __init__(self, folder: Path, *named: str) -> None:
        self.host = MemoryHost(named or ["mail", "web"])
        self.source = Folder(folder)
        self.watch = Unwatched()
        self.clock = HandClock()
        self.wakes = Wakes(self.clock)
        self.told: list[HostReport] = []
        settings = HostSettings(interval=timedelta(minutes=5))
        setup = Setup(settings, self.source)
        self.loop = Loop(
            self.host, setup, self.watch, self.clock, self.wakes, lambda: 0.5, self.told.append, 71
        )

    def look(self, woken: Woken = EVERYTHING) -> None:
        """Look, and again for all that this set in motion, until it rests."""
        self.loop.look(woken)
        while True:
            self.await_idle()
            if not self.wakes._causes:
                return
            news = self.wakes.wait(self.clock.even)
            assert news is not None
            self.loop.look(news)

    def await_idle(self) -> None:
        deadline = time.monotonic() + SECONDS
        while any(self.loop.workers.busy(key) for key in self.keys):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        # Its end is told by the worker itself, a moment later.
        time.sleep(0.02)

    @property
    def keys(self) -> list[str]:
        return [*self.host.files, "group release"]

    def work(self, vm: str) -> Work | None:
        doing = self.loop.workers.doing(vm)
        return None if doing is None else doing.work


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.source.write("web", "{base: }")
    shop.source.write("mail", "{base: }")
    return shop


def test_what_the_documents_say_is_made(shop: Shop) -> None:
    shop.look()
    assert shop.host.nodes("web") == shop.host.nodes("mail") == {"base"}
    assert {vm.status.state for vm in shop.told[-1].vms} == {State.READY}
    daemon = shop.told[-1].daemon
    assert daemon is not None
    assert (daemon.pid, daemon.passes, daemon.missed) == (71, 1, 0)


def test_where_nothing_is_to_be_done_nothing_is_written(shop: Shop) -> None:
    shop.look()
    before = len(shop.host.journals["web"].records or ())
    shop.clock.pass_by(300)
    shop.look()
    assert len(shop.host.journals["web"].records or ()) == before


def test_a_daemon_that_starts_where_all_is_done_leaves_every_vm_alone(shop: Shop) -> None:
    shop.source.write("web", LEAF, "current: base")
    shop.look()
    before = {name: journal.records for name, journal in shop.host.journals.items()}
    again = Loop(
        shop.host,
        shop.loop.setup,
        shop.watch,
        shop.clock,
        shop.wakes,
        lambda: 0.5,
        shop.told.append,
        72,
    )
    again.look(EVERYTHING)
    assert again.workers.keys == frozenset()
    assert {name: journal.records for name, journal in shop.host.journals.items()} == before


def test_an_edit_is_followed_for_that_vm_alone(shop: Shop) -> None:
    shop.look()
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.look(FILES)
    assert shop.host.nodes("web") == {"base", "patched"}
    assert shop.host.nodes("mail") == {"base"}


def test_events_without_a_change_are_not_worth_a_look_at_zfs(shop: Shop) -> None:
    shop.look()
    looks = len(shop.host.observed)
    shop.look(FILES)
    assert len(shop.host.observed) == looks


def test_the_end_of_work_on_a_vm_is_a_look_at_that_vm(shop: Shop) -> None:
    shop.look()
    assert shop.host.observed[0] == ("mail", "web")
    assert {vm for names in shop.host.observed[1:] for vm in names} == {"mail", "web"}


def test_a_change_that_no_event_told_of_is_found_in_time_and_counted(shop: Shop) -> None:
    shop.look()
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.clock.pass_by(300)
    shop.look()
    assert shop.host.nodes("web") == {"base", "patched"}
    daemon = shop.told[-1].daemon
    assert daemon is not None
    assert daemon.missed == 1


def test_one_vm_that_fails_does_not_delay_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shop.host.zfs.snapshot

    def refuse(snapshots: Sequence[object], properties: dict[str, str]) -> None:
        if "tank/web" in str(snapshots[0]):
            raise ZfsRefused(ZfsErrorKind.BUSY, str(snapshots[0]))
        real(snapshots, properties)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.host.zfs, "snapshot", refuse)
    shop.look()
    assert shop.host.nodes("mail") == {"base"}
    assert shop.work("web") is Work.BACKING_OFF
    assert shop.work("mail") is Work.IDLE
    doing = next(vm.doing for vm in shop.loop.report().vms if vm.status.vm == "web")
    assert doing is not None
    assert "busy" in doing.error
    monkeypatch.setattr(shop.host.zfs, "snapshot", real)
    shop.clock.pass_by(1.0)
    shop.look()
    assert shop.host.nodes("web") == {"base"}
    assert shop.work("web") is Work.IDLE


@pytest.mark.parametrize(
    ("pool", "work", "nodes"), [("tank", Work.QUEUED, set()), ("sick", Work.IDLE, {"base"})]
)
def test_a_vm_waits_only_for_those_of_its_own_pool(
    shop: Shop, pool: str, work: Work, nodes: set[str]
) -> None:
    may_end = Event()

    def waits(_: Callable[[str], None]) -> str:
        assert may_end.wait(SECONDS)
        return ""

    for number in range(16):
        assert shop.loop.workers.offer(f"other{number}", "d", waits, pool=pool)
    try:
        shop.loop.look(EVERYTHING)
        if pool == "sick":
            shop.await_idle()
        assert (shop.work("web"), shop.host.nodes("web")) == (work, nodes)
    finally:
        may_end.set()
    shop.await_idle()
    assert shop.host.nodes("web") == {"base"}


def test_a_faulty_document_is_told_and_the_last_valid_one_stays_in_force(shop: Shop) -> None:
    """Invariant 9."""
    shop.look()
    assert shop.source.path is not None
    (shop.source.path / "web.yaml").write_text("vm: [\n")
    shop.look(FILES)
    shop.clock.pass_by(300)
    shop.look()
    assert [str(vm.status.vm) for vm in shop.told[-1].vms] == ["mail", "web"]
    assert "web.yaml:" in shop.told[-1].faults[0]
    assert shop.host.nodes("web") == {"base"}


def test_a_document_that_is_gone_releases_its_vm_and_destroys_nothing(shop: Shop) -> None:
    """Invariant 9."""
    shop.look()
    assert shop.source.path is not None
    (shop.source.path / "web.yaml").unlink()
    shop.look(FILES)
    assert [str(vm.status.vm) for vm in shop.told[-1].vms] == ["mail"]
    assert list(shop.told[-1].released.values()) == ["web"]
    assert shop.host.nodes("web") == {"base"}


def test_a_pool_that_cannot_be_read_is_told_and_looked_at_again(shop: Shop) -> None:
    """Invariant 8."""
    shop.look()
    shop.host.unreadable = True
    shop.clock.pass_by(300)
    shop.look()
    assert shop.told[-1].faults == ("the pool does not answer",)
    assert len(shop.told[-1].vms) == 2, "what was seen before is still shown"
    shop.host.unreadable = False
    shop.clock.pass_by(300)
    shop.look()
    assert not shop.told[-1].faults


def test_what_cannot_be_looked_at_is_not_looked_at_all_the_time(shop: Shop) -> None:
    shop.source.write("web", LEAF, GRACE)
    shop.look()
    shop.source.write("web", "{base: }", GRACE)
    shop.look(FILES)
    shop.host.unreadable = True
    shop.clock.pass_by(700)  # the grace is over, and nobody can look
    shop.look()
    assert shop.loop._deadline() >= shop.clock.even + 5


@pytest.mark.parametrize("then", ["suspended", "gone"])
def test_a_vm_that_failed_and_is_no_longer_to_be_worked_on_keeps_nobody_awake(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    def refuse(*_: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, "tank/web")

    monkeypatch.setattr(shop.host.zfs, "snapshot", refuse)
    shop.look()
    assert shop.work("web") is Work.BACKING_OFF
    assert shop.source.path is not None
    for vm in ("web", "mail"):
        if then == "gone":
            (shop.source.path / f"{vm}.yaml").unlink()
        else:
            shop.source.write(vm, "{base: }", "suspend: true")
    shop.look(FILES)
    assert shop.work("web") is Work.IDLE
    assert shop.loop._deadline() > shop.clock.even + 200


def test_a_vm_that_failed_and_cannot_be_read_when_it_is_its_time_keeps_nobody_awake(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, "tank/web")

    real = shop.host._look

    def gap(vm: DesiredVm, hands: Hands) -> Observation:
        seen = real(vm, hands)
        reading = replace(seen.reading, gaps=(Gap(str(vm.dataset), "the pool is suspended"),))
        return replace(seen, reading=reading)

    with monkeypatch.context() as patched:
        patched.setattr(shop.host.zfs, "snapshot", refuse)
        shop.look()
        patched.setattr(shop.host, "_look", gap)
        shop.clock.pass_by(1.0)
        shop.look()
        assert shop.work("web") is Work.BACKING_OFF, "what failed is not forgotten"
        assert shop.loop._deadline() > shop.clock.even
    shop.clock.pass_by(1.0)
    shop.look()
    assert shop.host.nodes("web") == {"base"}


def test_a_group_that_failed_and_has_a_vm_at_work_when_it_is_its_time_keeps_nobody_awake(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, "tank/web")

    shop.look()
    for vm in ("web", "mail"):
        shop.source.write(vm, "{base: {checkpoints: {together: {group: release}}}}")
    with monkeypatch.context() as patched:
        patched.setattr(shop.host.zfs, "snapshot_sets", refuse)
        shop.look(FILES)
    assert shop.work("group release") is Work.BACKING_OFF
    held: list[Callable[[], None]] = []
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", lambda thread: held.append(thread.run))
        assert shop.loop.workers.offer("web", "d", lambda _: "", pool="tank")
    shop.clock.pass_by(1.0)
    shop.loop.look(EVERYTHING)
    assert shop.loop._deadline() > shop.clock.even
    held[0]()
    shop.clock.pass_by(1.0)
    shop.look()
    assert shop.host.nodes("mail") == {"base", "together"}


def test_a_fault_that_comes_without_a_change_is_told_at_once(shop: Shop) -> None:
    shop.look()
    assert shop.source.path is not None
    (shop.source.path / "new.yaml").write_text("vm: [\n")
    shop.look(FILES)
    assert "new.yaml:" in shop.told[-1].faults[0]


def test_a_bug_met_in_one_vm_keeps_no_other_from_being_followed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = shop.host._look

    def broken(vm: DesiredVm, hands: Hands) -> Observation:
        if vm.vm == "mail":
            raise ZeroDivisionError("oops")
        return real(vm, hands)

    with monkeypatch.context() as patched:
        patched.setattr(shop.host, "_look", broken)
        shop.look()
        assert shop.host.nodes("web") == {"base"}
        assert any("mail: internal error" in fault for fault in shop.told[-1].faults)
    shop.clock.pass_by(300)
    shop.look()
    assert shop.host.nodes("mail") == {"base"}
    assert "oops" in caplog.text


def test_the_retry_of_one_vm_is_a_look_at_that_one_and_no_pass(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(snapshots: Sequence[object], _: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, str(snapshots[0]))

    shop.look()
    monkeypatch.setattr(shop.host.zfs, "snapshot", refuse)
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.look(FILES)
    before = len(shop.host.observed)
    passes = shop.told[-1].daemon
    shop.clock.pass_by(1.0)
    shop.look()
    assert set(shop.host.observed[before:]) == {("web",)}
    assert passes is not None
    now = shop.told[-1].daemon
    assert now is not None
    assert now.passes == passes.passes


def passes(shop: Shop) -> int:
    daemon = shop.told[-1].daemon
    assert daemon is not None
    return daemon.passes


def test_an_edit_while_work_ends_is_a_look_at_those_two_vms_and_no_pass(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "db", "mail", "web")
    for vm in ("db", "mail", "web"):
        shop.source.write(vm, "{base: }")
    shop.look()
    before = len(shop.host.observed)
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.loop.look(Woken(frozenset({Cause.FILES, Cause.WORK}), frozenset({VmName("mail")})))
    assert shop.host.observed[before] == ("mail", "web")
    assert passes(shop) == 1


@pytest.mark.parametrize(
    "causes",
    [
        {Cause.FILES},
        {Cause.WORK},
        {Cause.REQUEST},
        {Cause.FILES, Cause.WORK, Cause.REQUEST},
        {Cause.TIME},
    ],
    ids=lambda causes: "+".join(sorted(cause.value for cause in causes)),
)
def test_a_vm_that_is_due_is_looked_at_whatever_the_cause(shop: Shop, causes: set[Cause]) -> None:
    shop.source.write("web", LEAF, GRACE)
    shop.look()
    shop.source.write("web", "{base: }", GRACE)
    shop.look(FILES)
    shop.loop._next_pass = shop.clock.even + 1e9  # no periodic look is to help
    shop.clock.pass_by(600)
    before = len(shop.host.observed)
    shop.look(Woken(frozenset(causes), None if causes == {Cause.TIME} else frozenset()))
    assert shop.host.nodes("web") == {"base"}
    assert shop.host.observed[before] == ("web",), "the other one is not due"


@pytest.mark.parametrize(
    "cause", [Cause.RELOAD, Cause.SOURCE, Cause.REQUEST], ids=lambda cause: cause.value
)
def test_what_asks_for_everything_is_a_pass_whatever_else_there_is(
    shop: Shop, cause: Cause
) -> None:
    shop.look()
    before = len(shop.host.observed)
    shop.look(Woken(frozenset({cause, Cause.FILES, Cause.WORK}), None))
    assert shop.host.observed[before] == ("mail", "web")
    assert passes(shop) == 2


def test_files_put_the_periodic_look_off_no_more_than_work_does(shop: Shop) -> None:
    shop.look()
    before = len(shop.host.observed)
    shop.clock.pass_by(600)
    shop.look(FILES)
    assert shop.host.observed[before] == ("mail", "web")
    assert passes(shop) == 2


def test_a_person_who_asks_for_one_vm_cuts_no_other_one_s_wait_short(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(snapshots: Sequence[object], _: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, str(snapshots[0]))

    shop.source.write("mail", LEAF, GRACE)
    shop.look()
    shop.source.write("mail", "{base: }", GRACE)
    shop.look(FILES)
    shop.clock.pass_by(599.5)
    monkeypatch.setattr(shop.host.zfs, "snapshot", refuse)
    shop.source.write("mail", "{base: {checkpoints: {patched: }}}", GRACE)
    shop.look()
    shop.clock.pass_by(0.5)  # the grace is over, the wait after the failure is not
    before = len(shop.host.observed)
    shop.look(Woken(frozenset({Cause.REQUEST}), frozenset({VmName("web")})))
    assert shop.host.observed[before:] == [("mail", "web")]
    doing = shop.loop.workers.doing("mail")
    assert doing is not None
    assert (doing.work, doing.failures) == (Work.BACKING_OFF, 1)


def test_work_without_end_does_not_put_the_periodic_look_off(shop: Shop) -> None:
    shop.look()
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.clock.pass_by(600)
    shop.look(Woken(frozenset({Cause.WORK}), frozenset({VmName("mail")})))
    assert shop.host.nodes("web") == {"base", "patched"}


def test_documents_go_with_what_holds_back_their_own_revision(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch may switch to another revision at any moment."""
    shop.source.revision = "one"
    shop.source.write("web", LEAF, "prune: {grace: 0}")
    shop.look()
    held = {"two": Restraint(removals="the history was rewritten")}
    monkeypatch.setattr(shop.source, "restraint_of", lambda name: held.get(name, Restraint()))
    refresh = shop.watch.refresh

    def switch(path: Path, homes: Sequence[str]) -> None:
        refresh(path, homes)
        shop.source.revision = "two"
        shop.source.write("web", "{base: }", "prune: {grace: 0}")

    monkeypatch.setattr(shop.watch, "refresh", switch)
    shop.look(Woken(frozenset({Cause.SOURCE}), None))
    assert shop.host.nodes("web") == {"base", "leaf"}
    assert {vm.status.revision for vm in shop.told[-1].vms} == {"two"}


def test_a_look_that_failed_is_made_again_soon(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.look()
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")

    def broken(_: object) -> None:
        raise ZeroDivisionError("oops")

    news = iter([FILES, None])
    with monkeypatch.context() as patched:
        patched.setattr(shop.loop, "_tell", broken)
        patched.setattr(shop.wakes, "wait", lambda _: next(news))
        shop.loop.run()
    assert shop.loop._deadline() == shop.clock.even + 5
    shop.clock.pass_by(5)
    shop.look()
    assert shop.host.nodes("web") == {"base", "patched"}


def test_what_could_not_be_read_is_looked_at_again_soon_and_the_edit_is_not_forgotten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 8: a gap is no absence; nothing was concluded, so it is looked at again."""
    shop.look()
    real = shop.host._look

    def gap(vm: DesiredVm, hands: Hands) -> Observation:
        seen = real(vm, hands)
        reading = replace(seen.reading, gaps=(Gap(str(vm.dataset), "the pool does not answer"),))
        return replace(seen, reading=reading)

    with monkeypatch.context() as patched:
        patched.setattr(shop.host, "_look", gap)
        shop.source.write("web", "{base: {checkpoints: {patched: }}}")
        shop.look(FILES)
        assert shop.host.nodes("web") == {"base"}
    assert shop.loop._deadline() == shop.clock.even + 8
    shop.clock.pass_by(8)
    shop.look()
    assert shop.host.nodes("web") == {"base", "patched"}
    assert shop.loop._deadline() > shop.clock.even + 200


def test_a_person_who_asks_for_one_vm_has_its_document_read(shop: Shop) -> None:
    shop.look()
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.look(Woken(frozenset({Cause.REQUEST}), frozenset({VmName("web")})))
    assert shop.host.nodes("web") == {"base", "patched"}


def test_work_that_had_to_wait_follows_the_newest_document_and_its_restraint(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 2: what was to be removed is in the file again before the work begins."""
    shop.source.write("web", LEAF, "prune: {grace: 0}")
    shop.look()
    held: list[Callable[[], None]] = []
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", lambda thread: held.append(thread.run))
        shop.source.write("web", "{base: }", "prune: {grace: 0}")
        shop.loop.look(FILES)
    shop.source.write("web", LEAF, "prune: {grace: 0}")
    shop.loop.look(FILES)
    assert len(held) == 1
    held[0]()
    assert shop.host.nodes("web") == {"base", "leaf"}


def test_a_failure_ends_when_nothing_is_left_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(snapshots: Sequence[object], _: object) -> None:
        raise ZfsRefused(ZfsErrorKind.BUSY, str(snapshots[0]))

    shop.look()
    monkeypatch.setattr(shop.host.zfs, "snapshot", refuse)
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.look(FILES)
    assert shop.work("web") is Work.BACKING_OFF
    monkeypatch.undo()
    shop.source.write("web", "{base: }")
    shop.look(FILES)
    assert shop.work("web") is Work.IDLE


def test_without_documents_the_loop_waits_and_says_why(shop: Shop) -> None:
    shop.source.path = None
    shop.source.problem = "https://git.example.org/vms.git does not answer"
    shop.look()
    assert shop.told[-1].faults == ("https://git.example.org/vms.git does not answer",)
    assert shop.host.nodes("web") == set()


def test_a_revision_that_is_not_trusted_removes_nothing_until_it_is(shop: Shop) -> None:
    shop.source.write("web", LEAF, "prune: {grace: 0}")
    shop.look()
    shop.source.restraint = Restraint(removals="the history was rewritten")
    shop.source.write(
        "web", "{base: {checkpoints: {more: {checkpoints: {most: }}}}}", "prune: {grace: 0}"
    )
    shop.look(FILES)
    assert shop.host.nodes("web") == {"base", "leaf", "more", "most"}
    assert shop.host.tree("web").nodes[NodeName("leaf")].retired is None
    shop.source.restraint = Restraint()
    shop.clock.pass_by(300)
    shop.look()
    assert shop.host.nodes("web") == {"base", "more", "most"}


def test_a_checkpoint_is_destroyed_when_its_grace_is_over_and_the_loop_is_up_by_then(
    shop: Shop,
) -> None:
    shop.source.write("web", LEAF, GRACE)
    shop.look()
    shop.source.write("web", "{base: }", "prune: {grace: 10m}")
    shop.look(FILES)
    shop.clock.pass_by(30)
    shop.look()
    assert shop.host.nodes("web") == {"base", "leaf"}
    shop.loop._next_pass = shop.clock.even + 1e9  # no periodic look is to help
    assert shop.loop._deadline() == shop.clock.even + 570
    shop.clock.pass_by(570)
    shop.look()
    assert shop.host.nodes("web") == {"base"}


def test_when_the_clock_jumps_ahead_nothing_is_destroyed_for_its_age_until_it_is_steady(
    shop: Shop,
) -> None:
    """Invariant 2: a grace is not over only because the clock says so."""
    shop.source.write("web", LEAF, GRACE)
    shop.look()
    shop.source.write("web", "{base: }", GRACE)
    shop.look(FILES)
    shop.clock.set_wall(timedelta(days=365))
    shop.look()
    assert shop.host.nodes("web") == {"base", "leaf"}
    shop.clock.pass_by(3599)
    shop.look()
    assert shop.host.nodes("web") == {"base", "leaf"}
    shop.clock.pass_by(300)
    shop.look()
    assert shop.host.nodes("web") == {"base"}


def test_a_group_is_taken_when_its_vms_have_nothing_else_to_do(shop: Shop) -> None:
    for vm in ("web", "mail"):
        shop.source.write(vm, "{base: {checkpoints: {together: {group: release}}}}")
    shop.look()
    assert shop.host.nodes("web") == shop.host.nodes("mail") == {"base", "together"}


def test_a_group_that_is_not_whole_waits(shop: Shop) -> None:
    shop.source.write("web", "{base: {checkpoints: {together: {group: release}}}}")
    shop.source.write("mail", "{other: {checkpoints: {together: {group: release}}}}", "suspend: true")  # fmt: skip
    shop.look()
    assert shop.host.nodes("web") == {"base"}


def test_a_vm_that_is_suspended_is_shown_and_left_alone(shop: Shop) -> None:
    shop.source.write("web", "{base: }", "suspend: true")
    shop.look()
    assert shop.host.nodes("web") == set()
    states = {str(vm.status.vm): vm.status.state for vm in shop.told[-1].vms}
    assert states["web"] is State.SUSPENDED


def test_the_report_of_a_vm_is_the_same_object_until_something_changes(shop: Shop) -> None:
    shop.look()
    first, second = shop.loop.report(), shop.loop.report()
    assert all(one is two for one, two in zip(first.vms, second.vms, strict=True))


def test_documents_are_watched_before_they_are_read_and_homes_are_named(shop: Shop) -> None:
    shop.look()
    shop.clock.pass_by(300)
    shop.look()
    assert shop.watch.asked[-1] == (shop.source.path, ("/tank/mail", "/tank/web"))


@pytest.fixture
def running(shop: Shop) -> Iterator[tuple[Shop, Callable[[Callable[[], bool]], None]]]:
    """The loop on a thread of its own, with the real clock, and a way to wait for something."""
    clock = SystemClock()
    shop.wakes = Wakes(clock)
    shop.loop = Loop(
        shop.host, shop.loop.setup, shop.watch, clock, shop.wakes, lambda: 0.5, shop.told.append, 71
    )
    thread = Thread(target=shop.loop.run)
    thread.start()

    def wait_for(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    yield shop, wait_for
    shop.wakes.close()
    assert shop.loop.workers.stop(SECONDS) == ()
    thread.join(SECONDS)
    assert not thread.is_alive()


Running = tuple[Shop, Callable[[Callable[[], bool]], None]]


def test_a_loop_that_runs_follows_edits_and_ends_when_told(running: Running) -> None:
    shop, wait_for = running
    wait_for(lambda: shop.host.nodes("web") == {"base"})
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.wakes.wake(Cause.FILES)
    wait_for(lambda: shop.host.nodes("web") == {"base", "patched"})


def test_a_bug_in_one_look_does_not_end_the_loop(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop, wait_for = running
    wait_for(lambda: shop.host.nodes("web") == {"base"})
    failed = Event()

    def broken(_: object) -> None:
        failed.set()
        raise ZeroDivisionError("oops")

    with monkeypatch.context() as patched:
        patched.setattr(shop.host, "observe", broken)
        shop.wakes.wake(Cause.REQUEST)
        assert failed.wait(SECONDS)
    shop.source.write("web", "{base: {checkpoints: {patched: }}}")
    shop.wakes.wake(Cause.REQUEST, {VmName("web")})
    shop.wakes.wake(Cause.REQUEST)
    wait_for(lambda: shop.host.nodes("web") == {"base", "patched"})
    assert "oops" in caplog.text
