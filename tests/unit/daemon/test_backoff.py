"""Failures are repeated at longer and longer intervals, never beyond five minutes."""

import pytest

from reconciler.daemon.backoff import delay


def test_the_first_retry_comes_after_a_second_and_each_next_one_after_twice_that() -> None:
    assert [delay(failures, 0.5) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_no_retry_waits_longer_than_five_minutes(chance: float) -> None:
    assert max(delay(failures, chance) for failures in range(1, 2000)) <= 300.0
    assert delay(2000, chance) > 200.0


def test_chance_spreads_those_that_failed_together() -> None:
    assert delay(4, 0.0) < delay(4, 0.5) < delay(4, 1.0)
    assert delay(4, 1.0) - delay(4, 0.0) == pytest.approx(0.4 * 8)
