"""Workers: one a VM, alone, never in another one's way; who fails is left alone for a while."""

from collections.abc import Callable
from datetime import timedelta
from queue import Queue
from threading import Event, Semaphore, Thread

import pytest

from reconciler.daemon.workers import Task, Workers
from reconciler.errors import CkptreeError, StepFailed
from reconciler.render.host_view import Work
from tests.support.clock import HandClock

SECONDS = 30.0


class Shop:
    """Workers on a clock that is moved by hand, and who has ended."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.ended: Queue[str] = Queue()
        self.workers = Workers(self.clock, lambda: 0.5, self.ended.put)
        self.done: list[str] = []

    def do(
        self,
        key: str,
        task: Task,
        *,
        reason: str = "d",
        pool: str = "tank",
        urgent: bool = False,
    ) -> bool:
        """Offer TASK, and wait until it has ended if it was begun."""
        begun = self.workers.offer(key, reason, task, pool=pool, urgent=urgent)
        if begun:
            assert self.ended.get(timeout=SECONDS) == key
        return begun

    def well(self, _: Callable[[str], None]) -> str:
        self.done.append("well")
        return ""

    def work(self, key: str) -> Work:
        doing = self.workers.doing(key)
        assert doing is not None
        return doing.work


@pytest.fixture
def shop() -> Shop:
    return Shop()


def fails(_: Callable[[str], None]) -> str:
    raise StepFailed("the pool is away")


def test_what_is_offered_is_done(shop: Shop) -> None:
    assert shop.workers.doing("web") is None
    assert shop.do("web", shop.well)
    assert shop.done == ["well"]
    assert shop.work("web") is Work.IDLE


def test_a_vm_at_work_gets_nothing_more_and_the_others_do(shop: Shop) -> None:
    going, may_end = Event(), Event()

    def long(begin: Callable[[str], None]) -> str:
        begin("capture base")
        going.set()
        assert may_end.wait(SECONDS)
        return ""

    assert shop.workers.offer("web", "d", long, pool="tank")
    assert going.wait(SECONDS)
    doing = shop.workers.doing("web")
    assert doing is not None
    assert (doing.work, doing.action) == (Work.WORKING, "capture base")
    assert not shop.workers.offer("web", "another document", shop.well, pool="tank", urgent=True)
    assert shop.do("mail", shop.well)
    may_end.set()
    assert shop.ended.get(timeout=SECONDS) == "web"
    assert shop.work("web") is Work.IDLE


def test_those_who_wait_for_ever_on_one_pool_keep_no_one_of_another_pool_waiting(
    shop: Shop,
) -> None:
    going, may_end = Semaphore(0), Event()

    def waits(_: Callable[[str], None]) -> str:
        going.release()
        assert may_end.wait(SECONDS)
        return ""

    names = [f"web{number}" for number in range(20)]
    for name in names:
        assert shop.workers.offer(name, "d", waits, pool="sick")
    for _ in range(16):
        assert going.acquire(timeout=SECONDS)
    try:
        works = [shop.work(name) for name in names]
        assert (works.count(Work.WORKING), works.count(Work.QUEUED)) == (16, 4)
        assert shop.do("mail", shop.well, pool="tank")
    finally:
        may_end.set()
    assert {shop.ended.get(timeout=SECONDS) for _ in names} == set(names)


def test_who_failed_is_left_alone_and_says_why(shop: Shop) -> None:
    assert shop.do("web", fails)
    doing = shop.workers.doing("web")
    assert doing is not None
    assert (doing.work, doing.failures, doing.error) == (Work.BACKING_OFF, 1, "the pool is away")
    assert doing.retry is not None
    assert shop.workers.next_retry == shop.clock.even + 1.0
    assert not shop.do("web", shop.well)
    shop.clock.pass_by(1.0)
    assert shop.do("web", shop.well)
    assert shop.workers.doing("web") is not None
    assert shop.work("web") is Work.IDLE
    assert shop.workers.next_retry is None


def test_each_failure_in_a_row_is_left_alone_for_longer(shop: Shop) -> None:
    waits = []
    for _ in range(4):
        assert shop.do("web", fails)
        retry = shop.workers.next_retry
        assert retry is not None
        waits.append(retry - shop.clock.even)
        shop.clock.pass_by(waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert shop.do("web", shop.well)
    assert shop.do("web", fails)
    assert shop.workers.next_retry == shop.clock.even + 1.0


def test_what_is_left_to_do_after_all_was_done_counts_as_a_failure(shop: Shop) -> None:
    assert shop.do("web", lambda _: "2 actions are left")
    assert shop.work("web") is Work.BACKING_OFF


@pytest.mark.parametrize(("reason", "urgent"), [("another document", False), ("d", True)])
def test_another_document_or_a_person_cuts_the_wait_short(
    shop: Shop, reason: str, urgent: bool
) -> None:
    assert shop.do("web", fails)
    assert shop.do("web", shop.well, reason=reason, urgent=urgent)
    assert shop.done == ["well"]


def test_another_document_begins_to_count_anew(shop: Shop) -> None:
    for _ in range(4):
        shop.do("web", fails)
        shop.clock.pass_by(10)
    shop.do("web", fails, reason="another document")
    assert shop.workers.next_retry == shop.clock.even + 1.0


def test_those_whose_time_has_come_are_known(shop: Shop) -> None:
    shop.do("web", fails)
    shop.do("mail", shop.well)
    assert shop.workers.retries_due == frozenset()
    shop.clock.pass_by(1.0)
    assert shop.workers.retries_due == {"web"}


def test_who_could_not_be_tried_when_it_was_time_is_left_alone_for_as_long_again(
    shop: Shop,
) -> None:
    for _ in range(2):
        shop.do("web", fails)
        shop.clock.pass_by(2.0)
    shop.workers.put_off({"web"})
    assert shop.workers.next_retry == shop.clock.even + 2.0
    doing = shop.workers.doing("web")
    assert doing is not None
    assert doing.retry == shop.clock.wall + timedelta(seconds=2)
    assert (doing.failures, doing.error) == (2, "the pool is away"), "it was not tried"


def test_who_has_time_left_is_not_put_off(shop: Shop) -> None:
    shop.do("web", fails)
    shop.clock.pass_by(0.5)
    shop.workers.put_off({"web"})
    assert shop.workers.next_retry == shop.clock.even + 0.5


def test_where_no_thread_is_to_be_had_it_is_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        assert not shop.workers.offer("web", "d", shop.well, pool="tank")
    assert shop.work("web") is Work.BACKING_OFF
    shop.clock.pass_by(1.0)
    assert shop.do("web", shop.well)


def test_when_nothing_is_left_to_do_the_failures_are_forgotten(shop: Shop) -> None:
    shop.do("web", fails)
    shop.workers.rest({"web"})
    assert shop.work("web") is Work.IDLE
    assert shop.workers.next_retry is None


def test_a_bug_in_the_work_on_one_vm_is_a_failure_like_any_other(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Callable[[str], None]) -> str:
        raise ZeroDivisionError("oops")

    assert shop.do("web", broken)
    doing = shop.workers.doing("web")
    assert doing is not None
    assert "internal error (ZeroDivisionError: oops)" in doing.error
    assert "oops" in caplog.text
    assert shop.do("mail", shop.well)


def test_work_ends_before_its_next_action_when_the_daemon_ends(shop: Shop) -> None:
    going, may_go_on = Event(), Event()
    begun: list[str] = []

    def two_actions(begin: Callable[[str], None]) -> str:
        begin("capture base")
        begun.append("capture")
        going.set()
        assert may_go_on.wait(SECONDS)
        try:
            begin("restore base")
        except CkptreeError:
            begin("start the guest again")  # what puts things right is let through
            begun.append("start")
            raise
        begun.append("restore")
        return ""

    assert shop.workers.offer("web", "d", two_actions, pool="tank")
    assert going.wait(SECONDS)
    assert shop.workers.stop(0) == ("web",)
    may_go_on.set()
    assert shop.workers.stop(SECONDS) == ()
    assert begun == ["capture", "start"]
    assert not shop.workers.offer("mail", "d", shop.well, pool="tank")
    assert shop.work("web") is Work.IDLE, "to be stopped is no failure"
