"""The source is asked now and then and when told to, and never keeps the loop waiting."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from reconciler.daemon.fetching import Fetching
from reconciler.daemon.wakes import Cause, Wakes, Woken
from reconciler.drivers.clock import SystemClock
from reconciler.source.contract import Refreshed
from tests.support.host import Folder

SECONDS = 30.0
HOUR = 3600.0


class Repository(Folder):
    """A source whose next answers a test sets."""

    answer = Refreshed(changed=False)
    next_problem = ""

    def refresh(self) -> Refreshed:
        super().refresh()
        self.problem = self.next_problem
        return self.answer


class Shop:
    """A source that is asked every HOUR, and the wakes that are told."""

    def __init__(self, folder: Path, every: float = HOUR) -> None:
        self.clock = SystemClock()
        self.wakes = Wakes(self.clock)
        self.source = Repository(folder)
        self.fetching = Fetching(self.source, every, self.clock, self.wakes)

    def await_asked(self, times: int) -> None:
        deadline = time.monotonic() + SECONDS
        while self.source.refreshed < times:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def told(self, seconds: float = SECONDS) -> Woken | None:
        return self.wakes.wait(self.clock.monotonic() + seconds)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.fetching.stop()


def test_a_source_is_asked_at_once_and_the_loop_hears_only_of_what_changed(shop: Shop) -> None:
    shop.fetching.start()
    shop.await_asked(1)
    assert shop.told(0.2) == Woken(frozenset({Cause.TIME}), None)


def test_another_revision_wakes_the_loop(shop: Shop) -> None:
    shop.source.answer = Refreshed(changed=True, message="abc is in force")
    shop.fetching.start()
    assert shop.told() == Woken(frozenset({Cause.SOURCE}), None)


def test_a_push_is_followed_at_once(shop: Shop) -> None:
    shop.fetching.start()
    shop.await_asked(1)
    shop.source.answer = Refreshed(changed=True)
    shop.fetching.now()
    assert shop.told() == Woken(frozenset({Cause.SOURCE}), None)


def test_a_problem_is_told_when_it_comes_and_when_it_goes(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.source.next_problem = "the repository does not answer"
    shop.fetching.start()
    assert shop.told() == Woken(frozenset({Cause.SOURCE}), None)
    shop.fetching.now()
    shop.await_asked(2)
    assert shop.told(0.2) == Woken(frozenset({Cause.TIME}), None), "it is the same problem"
    assert caplog.text.count("the repository does not answer") == 1
    shop.source.next_problem = ""
    shop.fetching.now()
    assert shop.told() == Woken(frozenset({Cause.SOURCE}), None)


def test_a_source_is_asked_again_and_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path, every=0.05)
    shop.fetching.start()
    shop.await_asked(3)
    shop.fetching.stop()
    asked = shop.source.refreshed
    time.sleep(0.2)
    assert shop.source.refreshed == asked, "once stopped it asks no more"


def test_a_source_that_hangs_does_not_keep_the_daemon_from_its_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, goes_on = Event(), Event()

    def hang() -> Refreshed:
        hanging.set()
        assert goes_on.wait(SECONDS)
        return Refreshed(changed=False)

    monkeypatch.setattr("reconciler.daemon.fetching._PATIENCE", 0.1)
    monkeypatch.setattr(shop.source, "refresh", hang)
    shop.fetching.start()
    assert hanging.wait(SECONDS)
    began = time.monotonic()
    shop.fetching.stop()
    assert time.monotonic() - began < SECONDS / 2
    goes_on.set()


def test_a_bug_in_one_fetch_does_not_end_the_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(tmp_path, every=0.05)
    real = shop.source.refresh
    first = [True]

    def broken() -> Refreshed:
        if first and first.pop():
            raise ZeroDivisionError("oops")
        return real()

    monkeypatch.setattr(shop.source, "refresh", broken)
    shop.fetching.start()
    shop.await_asked(2)
    shop.fetching.stop()
    assert "oops" in caplog.text
