"""A burst of events is one look, files are given time to be written, and nothing that comes is lost."""

import time
from threading import Thread

import pytest

from reconciler.daemon.wakes import Cause, Wakes, Woken
from reconciler.drivers.clock import SystemClock
from reconciler.names import VmName
from tests.support.clock import HandClock

WEB, MAIL = VmName("web"), VmName("mail")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_without_news_the_loop_looks_when_it_is_time(clock: HandClock) -> None:
    assert Wakes(clock).wait(clock.even) == Woken(frozenset({Cause.TIME}), None)


def test_a_request_is_answered_at_once(clock: HandClock) -> None:
    wakes = Wakes(clock)
    wakes.wake(Cause.REQUEST, {WEB})
    assert wakes.wait(clock.even + 1e9) == Woken(frozenset({Cause.REQUEST}), frozenset({WEB}))


def test_many_wakes_are_one_look_at_all_that_they_named(clock: HandClock) -> None:
    wakes = Wakes(clock)
    for name in (WEB, MAIL, WEB):
        wakes.wake(Cause.WORK, {name})
    assert wakes.wait(clock.even + 1e9) == Woken(frozenset({Cause.WORK}), frozenset({WEB, MAIL}))
    assert wakes.wait(clock.even) == Woken(frozenset({Cause.TIME}), None)


def test_one_wake_for_everything_widens_the_look(clock: HandClock) -> None:
    wakes = Wakes(clock)
    wakes.wake(Cause.WORK, {WEB})
    wakes.wake(Cause.RELOAD)
    assert wakes.wait(clock.even) == Woken(frozenset({Cause.WORK, Cause.RELOAD}), None)


def test_files_are_looked_at_after_a_quiet_moment() -> None:
    clock = SystemClock()
    wakes = Wakes(clock)
    wakes.wake(Cause.FILES)
    began = clock.monotonic()
    assert wakes.wait(began + 60) == Woken(frozenset({Cause.FILES}), frozenset())
    assert clock.monotonic() - began >= 0.49


def test_files_add_no_vms_to_those_that_others_name(clock: HandClock) -> None:
    wakes = Wakes(clock)
    wakes.wake(Cause.FILES)
    wakes.wake(Cause.WORK, {WEB})
    clock.pass_by(1)
    woken = Woken(frozenset({Cause.FILES, Cause.WORK}), frozenset({WEB}))
    assert wakes.wait(clock.even) == woken


def test_a_stream_of_events_does_not_put_the_look_off_for_ever() -> None:
    clock = SystemClock()
    wakes = Wakes(clock)
    began = clock.monotonic()
    ends: list[bool] = []

    def write() -> None:
        while not ends:
            wakes.wake(Cause.FILES)
            time.sleep(0.1)

    writer = Thread(target=write)
    writer.start()
    try:
        assert wakes.wait(began + 600) is not None
    finally:
        ends.append(True)
        writer.join()
    assert 4.9 <= clock.monotonic() - began < 60


def test_a_loop_that_waits_is_woken() -> None:
    clock = SystemClock()
    wakes = Wakes(clock)
    found: list[Woken | None] = []
    waiting = Thread(target=lambda: found.append(wakes.wait(clock.monotonic() + 600)))
    waiting.start()
    wakes.wake(Cause.SOURCE)
    waiting.join(30)
    assert found == [Woken(frozenset({Cause.SOURCE}), None)]


def test_once_closed_there_is_nothing_to_wait_for(clock: HandClock) -> None:
    wakes = Wakes(clock)
    wakes.wake(Cause.REQUEST)
    wakes.close()
    assert wakes.wait(clock.even + 1e9) is None
