"""Metrics, read by the parsers of Prometheus' own library; it is an extra, so not among the unit tests."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from reconciler.daemon.metrics import metrics
from reconciler.render.host_view import Doing, HostReport, Work
from tests.support.reports import AT, busy_host, host_report, vm_report
from tests.unit.render import scenarios


def families(report: HostReport) -> dict[str, Metric]:
    body, kind = metrics(report, "")
    assert kind.startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def value(report: HostReport, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families(report).values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_of_the_host() -> None:
    report = busy_host()
    assert value(report, "ckptree_info", version="0.1.0", host="bsd07") == 1
    assert value(report, "ckptree_vms") == 9
    assert value(report, "ckptree_document_faults") == 1
    assert value(report, "ckptree_released_homes") == 1
    assert value(report, "ckptree_passes_total") == 914
    assert value(report, "ckptree_missed_events_total") == 2
    assert value(report, "ckptree_notices_lost_total", receiver="webhook") == 3
    assert value(report, "ckptree_last_pass_timestamp_seconds") == AT.timestamp() - 12
    assert value(report, "ckptree_source_failing") == 0


def test_of_a_vm() -> None:
    doing = Doing(work=Work.BACKING_OFF, since=AT, failures=6, error="no space", pause=0.31)
    report = host_report((vm_report("web", scenarios.waits(), doing),))
    newest = scenarios.waits().world
    assert newest.now > AT - timedelta(days=1)
    at = {"vm": "web"}
    assert value(report, "ckptree_vm_unsaved_bytes", **at) == 412 << 20
    assert value(report, "ckptree_vm_used_bytes", **at) == 41 << 30
    assert value(report, "ckptree_vm_pending_actions", **at) == 0
    assert value(report, "ckptree_vm_last_pause_seconds", **at) == 0.31
    assert value(report, "ckptree_vm_failures", **at) == 6
    assert value(report, "ckptree_vm_stuck", **at) == 1
    assert value(report, "ckptree_vm_guest_running", **at) == 0
    assert value(report, "ckptree_vm_newest_checkpoint_age_seconds", **at) == 24 * 3600
    assert value(report, "ckptree_vm_state", vm="web", state="Stalled") == 1
    assert value(report, "ckptree_vm_state", vm="web", state="Ready") == 0
    assert value(report, "ckptree_vm_work", vm="web", work="backing-off") == 1
    assert value(report, "ckptree_vm_checkpoints", vm="web", phase="Present") == 3
    waits = {"vm": "web", "severity": "wait", "reason": "ParentNotCurrent"}
    assert value(report, "ckptree_vm_conditions", **waits) == 1


def test_what_is_unknown_is_absent() -> None:
    report = host_report((vm_report("web", scenarios.not_initialised()),))
    names = {sample.name for family in families(report).values() for sample in family.samples}
    assert "ckptree_vms" in names
    for name in ("newest_checkpoint_age_seconds", "used_bytes", "last_pause_seconds", "stuck"):
        assert f"ckptree_vm_{name}" not in names


def test_every_name_is_of_ckptree_and_has_help() -> None:
    for name, family in families(busy_host()).items():
        assert name.startswith("ckptree")
        assert family.documentation


def test_a_name_with_quotes_and_newlines_harms_nothing() -> None:
    report = replace(busy_host(), host='bsd"07"\n\\x')
    assert value(report, "ckptree_info", version="0.1.0", host='bsd"07"\n\\x') == 1


def test_open_metrics_for_those_who_ask() -> None:
    body, kind = metrics(busy_host(), "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    found = {family.name for family in open_metrics(body.decode())}  # type: ignore[no-untyped-call]
    assert found >= {"ckptree", "ckptree_vms"}


@pytest.mark.parametrize("module", ["answers", "http"])
def test_the_library_is_loaded_only_when_asked_for(module: str) -> None:
    program = (
        f"import sys, reconciler.daemon.{module}; sys.exit(int('prometheus_client' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
