"""The clock on the wall is not believed for an hour after it jumped ahead."""

from datetime import timedelta

import pytest

from reconciler.daemon.steadiness import Steadiness
from tests.support.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_time_that_passes_is_believed(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    for seconds in (0, 1, 300, 86400):
        clock.pass_by(seconds)
        assert steadiness.doubt() == ""


def test_a_jump_ahead_is_doubted_for_an_hour_and_said(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    clock.set_wall(timedelta(days=30))
    assert "set ahead by 30 days" in steadiness.doubt()
    clock.pass_by(3599)
    assert "set ahead by 30 days" in steadiness.doubt()
    clock.pass_by(1)
    assert steadiness.doubt() == ""


def test_a_clock_that_is_put_right_again_is_believed_at_once(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    clock.set_wall(timedelta(days=30))
    assert steadiness.doubt()
    clock.pass_by(60)
    clock.set_wall(-timedelta(days=30))
    assert steadiness.doubt() == ""


def test_a_step_back_that_does_not_put_it_right_ends_no_doubt(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    clock.set_wall(timedelta(days=30))
    assert steadiness.doubt()
    clock.set_wall(-timedelta(minutes=2))
    assert "set ahead by 29 days" in steadiness.doubt()


def test_a_small_correction_is_no_jump(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    clock.set_wall(timedelta(seconds=59))
    assert steadiness.doubt() == ""


def test_a_clock_set_back_makes_nothing_older_than_it_is(clock: HandClock) -> None:
    steadiness = Steadiness(clock)
    clock.set_wall(-timedelta(days=30))
    assert steadiness.doubt() == ""
