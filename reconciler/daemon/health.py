"""Whether the daemon does its work: what ``/healthz`` and the metrics say. Pure: a report in, a reason out.

A VM that waits for a person is no fault of the daemon; one that it fails on again and again, or never ends with, is.
"""

from datetime import datetime, timedelta

from reconciler.render.host_view import Doing, HostReport, Work
from reconciler.render.units import age_text

_LONGEST_WORK = timedelta(minutes=30)
"""Saving hundreds of GiB of RAM may take long, but not as long as this."""
_MOST_FAILURES = 5
_MISSED_LOOKS = 3


def stuck(doing: Doing | None, at: datetime) -> str:
    """Tell why a VM is stuck at that moment; an empty text if it is not."""
    if doing is None:
        return ""
    match doing.work:
        case Work.BACKING_OFF if doing.failures >= _MOST_FAILURES:
            return f"failed {doing.failures} times in a row: {doing.error}"
        case Work.QUEUED | Work.WORKING if at - doing.since > _LONGEST_WORK:
            what = f" ({doing.action})" if doing.action else ""
            return f"{doing.work.value} for {age_text(at - doing.since)}{what}"
        case _:
            return ""


def unhealthy(report: HostReport, interval: timedelta) -> str:
    """Tell what is wrong with the daemon that looks every INTERVAL, a line each; an empty text if it is well."""
    problems = []
    if report.daemon is not None:
        last = report.daemon.last_pass or report.daemon.started
        if report.at - last > _MISSED_LOOKS * interval:
            problems.append(
                f"no look at the VMs for {age_text(report.at - last)}, where one is due every {age_text(interval)}"
            )
    problems += [
        f"{vm.status.vm} is stuck: {reason}"
        for vm in report.vms
        if (reason := stuck(vm.doing, report.at))
    ]
    return "\n".join(problems)
