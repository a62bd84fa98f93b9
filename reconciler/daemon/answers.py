"""What the daemon answers to each request: the page, the status, the health and the metrics.

Knows requests and reports, and no socket: ``http`` carries this out. A host of 10,000 checkpoints makes megabytes of
JSON, and a page asks every few seconds: each VM is written once for as long as its report is the same object.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from threading import Lock

from reconciler.daemon.health import unhealthy
from reconciler.daemon.metrics import MetricsMissing, metrics
from reconciler.names import VmName
from reconciler.plan.document import Json
from reconciler.render.host_view import HostReport, VmReport
from reconciler.render.page import OUTER_POLICY, page

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_WORTH_PACKING = 2048  # bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, a body and its type. HEADERS are those that this answer has besides the common ones."""

    status: int
    body: bytes = b""
    kind: str = _TEXT
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Written:
    """A report as JSON, and its tag: the same for as long as nothing but the moment of the report differs."""

    body: bytes
    tag: str


def sentence(status: int, text: str) -> Answer:
    """Answer with one sentence."""
    return Answer(status, f"{text}\n".encode())


class Answers:
    """Answers from what REPORT tells of the present moment; the daemon looks at everything each INTERVAL."""

    def __init__(self, report: Callable[[], HostReport], interval: timedelta) -> None:
        self.interval = interval
        self._report = report
        self._written: dict[VmName, tuple[VmReport, str]] = {}
        self._lock = Lock()

    def get(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer a GET of PATH; none where there is nothing. HEADERS has the request's in small letters."""
        match path:
            case "/":
                written = self._write(self._report())
                policy = {"Content-Security-Policy": OUTER_POLICY}
                body = page(written.body.decode(), live=True).encode()
                return _packed(Answer(200, body, _HTML, policy), headers)
            case "/status.json":
                return self._status(headers)
            case "/doing.json":
                return Answer(200, _dump(_doing(self._report())).encode(), _JSON)
            case "/healthz":
                reason = unhealthy(self._report(), self.interval)
                return sentence(503, reason) if reason else sentence(200, "ok")
            case "/metrics":
                try:
                    body, kind = metrics(self._report(), headers.get("accept", ""))
                except MetricsMissing as missing:
                    return sentence(501, str(missing))
                return _packed(Answer(200, body, kind), headers)
            case _:
                return None

    def _status(self, headers: Mapping[str, str]) -> Answer:
        written = self._write(self._report())
        tag = f'"{written.tag}"'
        asked = {
            item.strip().removeprefix("W/") for item in headers.get("if-none-match", "").split(",")
        }
        if tag in asked or "*" in asked:
            return Answer(304, headers={"ETag": tag})
        return _packed(Answer(200, written.body, _JSON, {"ETag": tag}), headers)

    def _write(self, report: HostReport) -> _Written:
        head = replace(report, vms=()).to_json()
        at = head.pop("at")
        head.pop("vms")
        with self._lock:
            kept = {}
            for vm in report.vms:
                before = self._written.get(vm.status.vm)
                if before is None or before[0] is not vm:
                    before = (vm, _dump(vm.to_json()))
                kept[vm.status.vm] = before
            self._written = kept
        vms = ",".join(text for _, text in kept.values())
        fixed = f'{_dump(head)[:-1]},"vms":[{vms}]'
        tag = sha256(fixed.encode()).hexdigest()[:32]
        return _Written(f'{fixed},"at":{_dump(at)}}}'.encode(), tag)


def _packed(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Compress ANSWER for a client that takes it."""
    if len(answer.body) < _WORTH_PACKING or "gzip" not in headers.get("accept-encoding", ""):
        return answer
    body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return replace(
        answer, body=body, headers={**(answer.headers or {}), "Content-Encoding": "gzip"}
    )


def _doing(report: HostReport) -> Json:
    """Write what the daemon does, without any tree: what ``ckptree status`` asks for."""
    return {
        "version": 1,
        "daemon": None if report.daemon is None else report.daemon.to_json(),
        "doing": {
            str(vm.status.vm): vm.doing.to_json() for vm in report.vms if vm.doing is not None
        },
    }


def _dump(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"))
