"""The report of a host as metrics, in the text that Prometheus reads.

prometheus-client is an extra and is imported on first use. Nothing is counted here: every number is in the report,
so the registry is made anew for each request and nothing else of the process is in it.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.daemon.health import stuck
from reconciler.errors import CkptreeError
from reconciler.model.observed import Running
from reconciler.render.host_view import DaemonFacts, HostReport, VmReport, Work
from reconciler.render.status_view import State
from reconciler.render.tree_nodes import Phase

if TYPE_CHECKING:
    from prometheus_client import Metric


class MetricsMissing(CkptreeError):
    """The library that writes metrics is not installed."""


def metrics(report: HostReport, accept: str) -> tuple[bytes, str]:
    """Write REPORT as metrics, and tell their media type, one that ACCEPT takes. Raises MetricsMissing."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise MetricsMissing(
            "metrics need the library prometheus-client (install ckptree[metrics],"
            " on FreeBSD the package py311-prometheus-client)"
        ) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(report))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Collector:
    def __init__(self, report: HostReport) -> None:
        self._report = report

    def collect(self) -> "Iterable[Metric]":
        yield from _of_host(self._report)
        if self._report.daemon is not None:
            yield from _of_daemon(self._report.daemon)
        yield from _of_vms(self._report)


def _of_host(report: HostReport) -> "Iterable[Metric]":
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    about = {"version": report.version, "host": report.host}
    yield InfoMetricFamily("ckptree", "The version of ckptree, and the host that it is on.", about)
    yield GaugeMetricFamily("ckptree_vms", "VMs that valid documents describe.", len(report.vms))
    yield GaugeMetricFamily(
        "ckptree_document_faults", "Faults in the documents of VMs.", len(report.faults)
    )
    yield GaugeMetricFamily(
        "ckptree_released_homes", "Homes that no document describes.", len(report.released)
    )


def _of_daemon(daemon: DaemonFacts) -> "Iterable[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily(
        "ckptree_start_timestamp_seconds", "When the daemon began.", daemon.started.timestamp()
    )
    if daemon.last_pass is not None:
        yield GaugeMetricFamily(
            "ckptree_last_pass_timestamp_seconds",
            "When the daemon last looked at everything.",
            daemon.last_pass.timestamp(),
        )
    yield CounterMetricFamily(
        "ckptree_passes", "How often the daemon has looked at everything.", daemon.passes
    )
    yield CounterMetricFamily(
        "ckptree_missed_events",
        "Changes that a periodic look found and no event had told of.",
        daemon.missed,
    )
    yield _untold(daemon)
    yield GaugeMetricFamily(
        "ckptree_source_failing",
        "Whether newer documents cannot be had from their source.",
        bool(daemon.source.problem),
    )


def _untold(daemon: DaemonFacts) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(
        "ckptree_notices_lost", "Notices that a receiver did not get.", labels=["receiver"]
    )
    for receiver, number in daemon.untold.items():
        family.add_metric([receiver], number)
    return family


def _of_vms(report: HostReport) -> "Iterable[Metric]":
    for name, words, value in _NUMBERS:
        yield _numbers(report, name, words, value)
    yield _labelled(report, "state", "What a VM's status is.", _states)
    yield _labelled(report, "checkpoints", "Checkpoints of a VM in each phase.", _phases, "phase")
    yield _labelled(report, "work", "What the daemon does with a VM.", _works)
    yield _conditions(report)


def _numbers(
    report: HostReport, name: str, words: str, value: "Callable[[VmReport, datetime], float | None]"
) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"ckptree_vm_{name}", words, labels=["vm"])
    for vm in report.vms:
        number = value(vm, report.at)
        if number is not None:
            family.add_metric([str(vm.status.vm)], number)
    return family


def _labelled(
    report: HostReport,
    name: str,
    words: str,
    values: "Callable[[VmReport], Iterable[tuple[str, float]]]",
    label: str = "",
) -> "Metric":
    """One series for each value that something can have: 1 for the one that it has, or how many have it."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"ckptree_vm_{name}", words, labels=["vm", label or name])
    for vm in report.vms:
        for text, number in values(vm):
            family.add_metric([str(vm.status.vm), text], number)
    return family


def _states(vm: VmReport) -> Iterable[tuple[str, float]]:
    return ((state.value, float(state is vm.status.state)) for state in State)


def _phases(vm: VmReport) -> Iterable[tuple[str, float]]:
    return ((phase.value, float(vm.status.phases.get(phase, 0))) for phase in Phase)


def _works(vm: VmReport) -> Iterable[tuple[str, float]]:
    doing = vm.doing
    if doing is None:
        return ()
    return ((work.value, float(work is doing.work)) for work in Work)


def _conditions(report: HostReport) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "ckptree_vm_conditions",
        "Conditions of a VM: what waits, what is refused, what should be known.",
        labels=["vm", "severity", "reason"],
    )
    for vm in report.vms:
        counts: dict[tuple[str, str], int] = {}
        for condition in (*vm.status.blocks, *vm.status.notes):
            key = condition.severity.value, condition.reason.value
            counts[key] = counts.get(key, 0) + 1
        for (severity, reason), count in counts.items():
            family.add_metric([str(vm.status.vm), severity, reason], count)
    return family


def _newest(vm: VmReport) -> datetime | None:
    return max((node.taken for node in vm.tree.nodes if node.taken is not None), default=None)


def _newest_timestamp(vm: VmReport, _: datetime) -> float | None:
    newest = _newest(vm)
    return None if newest is None else newest.timestamp()


def _newest_age(vm: VmReport, at: datetime) -> float | None:
    newest = _newest(vm)
    return None if newest is None else (at - newest).total_seconds()


def _guest(vm: VmReport, _: datetime) -> float | None:
    guest = vm.status.guest
    return None if guest in {None, Running.UNKNOWN} else float(guest is Running.RUNNING)


_NUMBERS: tuple[tuple[str, str, "Callable[[VmReport, datetime], float | None]"], ...] = (
    ("newest_checkpoint_timestamp_seconds", "When the newest checkpoint was taken.", _newest_timestamp),
    ("newest_checkpoint_age_seconds", "How old the newest checkpoint is.", _newest_age),
    ("used_bytes", "Bytes of the pool that a VM uses, checkpoints included.", lambda vm, _: vm.status.used),
    ("available_bytes", "Bytes that are free in the pool of a VM.", lambda vm, _: vm.status.available),
    ("unsaved_bytes", "Bytes written since the checkpoint that the guest descends from.",
     lambda vm, _: vm.status.unsaved),
    ("guest_running", "Whether the guest runs; absent where unknown.", _guest),
    ("last_pause_seconds", "How long the guest stood still for the last checkpoint or restore.",
     lambda vm, _: vm.doing.pause if vm.doing else None),
    ("pending_actions", "Actions that would make what exists equal to what is desired.",
     lambda vm, _: vm.status.pending),
    ("failures", "Failures in a row.", lambda vm, _: vm.doing.failures if vm.doing else None),
    ("stuck", "Whether the daemon fails on a VM again and again, or never ends with it.",
     lambda vm, at: float(bool(stuck(vm.doing, at))) if vm.doing else None),
)  # fmt: skip
