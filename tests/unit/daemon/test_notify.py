"""Delivery: each receiver for itself, bounded, and none of them ever holds up who tells."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from reconciler.daemon.notices import Kind, Notice, Weight
from reconciler.daemon.notify import Notifier, Receiver, by_command, by_syslog
from reconciler.drivers.clock import SystemClock
from reconciler.errors import CkptreeError
from reconciler.names import VmName
from reconciler.render.host_view import HostReport
from reconciler.spec.settings import Notify
from tests.support.world import START


def notice(number: int = 0) -> Notice:
    return Notice(
        at=START,
        host="bsd07",
        kind=Kind.TAKEN,
        weight=Weight.NOTICE,
        message=f"checkpoint n{number} taken",
        vm=VmName("web"),
        nodes=(f"n{number}", "b"),
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never came true"
        Event().wait(0.01)


def report(*faults: str) -> HostReport:
    return HostReport(host="bsd07", version="1", at=START, vms=(), released={}, faults=faults)


def test_notices_arrive_in_their_order_and_closing_waits_for_them() -> None:
    got: list[str] = []
    receiver = Receiver("somebody", lambda each: got.append(each.message))
    for number in range(20):
        receiver.put(notice(number))
    receiver.close()
    assert receiver.join(10) == 0
    assert got == [f"checkpoint n{number} taken" for number in range(20)]


def test_a_receiver_that_hangs_holds_up_nobody_and_keeps_the_newest() -> None:
    begun, go_on = Event(), Event()
    got: list[str] = []

    def hang(each: Notice) -> None:
        begun.set()
        go_on.wait(20)
        got.append(each.message)

    receiver = Receiver("slow", hang)
    before = time.monotonic()
    receiver.put(notice(0))
    assert begun.wait(10)
    for number in range(1, 501):
        receiver.put(notice(number))
    assert time.monotonic() - before < 5
    assert receiver.failures == 300
    go_on.set()
    receiver.close()
    assert receiver.join(10) == 0
    assert got[0] == "checkpoint n0 taken"
    assert got[-1] == "checkpoint n500 taken"
    assert len(got) == 201


def test_closing_gives_up_on_one_that_hangs() -> None:
    go_on = Event()

    def hang(_: Notice) -> None:
        go_on.wait(20)

    receiver = Receiver("stuck", hang)
    receiver.put(notice())
    receiver.put(notice())
    receiver.close()
    before = time.monotonic()
    assert receiver.join(0.2) == 2
    assert time.monotonic() - before < 5
    receiver.put(notice())
    go_on.set()


def test_failures_are_counted_and_logged_once_and_so_is_that_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Event()
    broken.set()
    got: list[Notice] = []

    def deliver(each: Notice) -> None:
        if broken.is_set():
            raise CkptreeError("no route to host")
        got.append(each)

    receiver = Receiver("pager", deliver, pauses=())
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            receiver.put(notice())
        until(lambda: receiver.failures == 5)
        broken.clear()
        receiver.put(notice())
        receiver.close()
        receiver.join(10)
    assert len(got) == 1
    assert caplog.messages == [
        "pager is not told: no route to host",
        "pager is told again; it was not told 5 notices",
    ]


def test_one_more_try_may_be_enough() -> None:
    tries: list[Notice] = []

    def deliver(each: Notice) -> None:
        tries.append(each)
        if len(tries) < 3:
            raise CkptreeError("not yet")

    receiver = Receiver("pager", deliver, pauses=(0.01, 0.01))
    receiver.put(notice())
    until(lambda: len(tries) == 3)
    receiver.close()
    assert receiver.join(10) == 0
    assert receiver.failures == 0


def test_a_bug_in_a_receiver_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def deliver(_: Notice) -> None:
        raise ZeroDivisionError("oops")

    receiver = Receiver("odd", deliver, pauses=())
    receiver.put(notice())
    receiver.put(notice())
    until(lambda: receiver.failures == 2)
    assert "internal error (ZeroDivisionError: oops); please report it" in caplog.text


def test_a_program_gets_the_notice_as_json_and_in_its_environment(tmp_path: Path) -> None:
    path = tmp_path / "tell"
    path.write_text(
        f'#!/bin/sh\ncat > {tmp_path}/json\necho "$1 $CKPTREE_EVENT $CKPTREE_VM $CKPTREE_HOST'
        f' $CKPTREE_SEVERITY $CKPTREE_NODES: $CKPTREE_MESSAGE" > {tmp_path}/said\n'
    )
    path.chmod(0o755)
    by_command((str(path), "--page"))(notice(7))
    assert json.loads((tmp_path / "json").read_text()) == notice(7).to_json()
    said = (tmp_path / "said").read_text()
    assert said == "--page taken web bsd07 notice n7 b: checkpoint n7 taken\n"


def test_a_program_that_cannot_be_trusted_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "tell"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o777)
    with pytest.raises(CkptreeError, match="everybody may write to"):
        by_command((str(path),))(notice())


def test_syslog_gets_the_severity_the_facility_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import syslog

    said: list[tuple[int, str]] = []
    begun: list[tuple[object, ...]] = []
    monkeypatch.setattr("reconciler.drivers.syslog.Syslog.__init__.__defaults__", (
        lambda priority, text: said.append((priority, text)), lambda *words: begun.append(words),
    ))  # fmt: skip
    deliver = by_syslog("local3")
    for weight in Weight:
        deliver(
            Notice(at=START, host="h", kind=Kind.FAILED, weight=weight, message="a\nb\0", vm=VmName("web"))
        )  # fmt: skip
    facility = syslog.LOG_LOCAL3
    assert begun == [("ckptree", syslog.LOG_PID, facility)]
    assert [priority - facility for priority, _ in said] == [
        syslog.LOG_INFO, syslog.LOG_NOTICE, syslog.LOG_WARNING, syslog.LOG_ERR,
    ]  # fmt: skip
    assert {text for _, text in said} == {"web: a b?"}


def test_what_changes_is_told_to_all_receivers(tmp_path: Path) -> None:
    path = tmp_path / "tell"
    path.write_text(f'#!/bin/sh\necho "$CKPTREE_EVENT $CKPTREE_MESSAGE" >> {tmp_path}/said\n')
    path.chmod(0o755)
    notifier = Notifier(Notify(facility=None, command=(str(path),)), "bsd07", SystemClock())
    for told in (report(), report("web.yaml:1:1: no"), report("web.yaml:1:1: no"), report()):
        notifier.tell(told)
    notifier.close(10)
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["faulty web.yaml:1:1: no", "healed no longer: web.yaml:1:1: no"]
    assert notifier.failures == {str(path): 0}


def test_a_receiver_that_cannot_be_set_up_is_logged_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Notify(facility="loco7", webhook="http://example.org/x")
    notifier = Notifier(settings, "bsd07", SystemClock())
    assert notifier.failures == {}
    assert "nobody is told by syslog: there is no syslog facility loco7 (write one of auth," in (
        caplog.text
    )
    assert (
        "nobody is told by the webhook: no webhook: it is neither https nor http on this host"
        in (caplog.text)
    )
    notifier.tell(report("x"))
    notifier.close(1)


def test_one_that_hangs_at_the_end_is_given_up_and_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tell"
    path.write_text("#!/bin/sh\nsleep 3\n")
    path.chmod(0o755)
    notifier = Notifier(Notify(facility=None, command=(str(path),)), "bsd07", SystemClock())
    notifier.tell(report("one"))
    before = time.monotonic()
    notifier.close(0.3)
    assert time.monotonic() - before < 2
    assert f"{path} was not told 1 notices: there was no time" in caplog.text
