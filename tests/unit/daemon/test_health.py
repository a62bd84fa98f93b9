"""When the daemon is well, and what is said when it is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.daemon.health import stuck, unhealthy
from reconciler.render.host_view import Doing, HostReport, Work
from tests.support.reports import AT, daemon_facts, host_report, vm_report
from tests.unit.render import scenarios

EVERY = timedelta(minutes=5)


def host_with(doing: Doing | None, **facts: object) -> HostReport:
    vm = vm_report("web", scenarios.waits(), doing)
    return host_report((vm,), AT, daemon_facts(AT, **facts))


def test_a_vm_that_waits_for_a_person_is_no_fault_of_the_daemon() -> None:
    assert unhealthy(host_with(None), EVERY) == ""


@pytest.mark.parametrize(("minutes", "well"), [(14, True), (15, True), (16, False)])
def test_three_looks_may_be_missed(minutes: int, *, well: bool) -> None:
    report = host_with(None, last_pass=AT - timedelta(minutes=minutes))
    assert (unhealthy(report, EVERY) == "") is well


def test_before_the_first_look_the_start_counts() -> None:
    young = host_with(None, last_pass=None, started=AT - timedelta(minutes=1))
    old = host_with(None, last_pass=None, started=AT - timedelta(hours=1))
    assert unhealthy(young, EVERY) == ""
    assert unhealthy(old, EVERY) == ("no look at the VMs for 60 min, where one is due every 5 min")


@pytest.mark.parametrize(
    ("doing", "reason"),
    [
        (Doing(work=Work.IDLE, since=AT - timedelta(days=9)), ""),
        (Doing(work=Work.WORKING, since=AT - timedelta(minutes=29), action="capture base"), ""),
        (
            Doing(work=Work.WORKING, since=AT - timedelta(minutes=31), action="capture base"),
            "working for 31 min (capture base)",
        ),
        (Doing(work=Work.QUEUED, since=AT - timedelta(hours=3)), "queued for 3 h"),
        (Doing(work=Work.BACKING_OFF, since=AT, failures=4, error="no space"), ""),
        (
            Doing(work=Work.BACKING_OFF, since=AT, failures=5, error="no space"),
            "failed 5 times in a row: no space",
        ),
    ],
    ids=["idle", "at work", "never ends", "never begins", "a few failures", "fails and fails"],
)
def test_stuck(doing: Doing, reason: str) -> None:
    assert stuck(doing, AT) == reason
    expected = f"web is stuck: {reason}" if reason else ""
    assert unhealthy(host_with(doing), EVERY) == expected


def test_a_report_without_a_daemon_is_of_no_daemon() -> None:
    assert unhealthy(replace(host_with(None), daemon=None), EVERY) == ""
