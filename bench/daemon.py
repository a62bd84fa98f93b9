"""``script/bench daemon``: from a saved edit to the finished capture, and what the daemon costs while nothing happens.

Run in the lab, as root: it makes a pool. Edits that the daemon follows alternate with the same edits of another VM
that ``ckptree apply`` follows. Then a host of many VMs and checkpoints is watched doing nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from bench.monitor import Unmeasured
from bench.vm import MIB, execute, pool
from reconciler import paths
from reconciler.drivers.identity import this_host
from reconciler.drivers.journal import FileJournal
from reconciler.drivers.zfs.choose import choose
from reconciler.model import properties
from reconciler.model.journal import Confirmed
from reconciler.names import Dataset, Snapshot

_POOL = "bench"
_POOL_SIZE = 2048 * MIB
_PATIENCE = 300.0  # seconds
_NAMED = 5  # of the checkpoints of each VM; the others are automatic ones
_AT_ONCE = 50  # sets of snapshots a call
_BEGAN = time.monotonic()


@dataclass(frozen=True, slots=True)
class Idle:
    """What the daemon of a host took: bytes of RAM, seconds of processor, in SECONDS with LOOKS at everything."""

    vms: int
    checkpoints: int
    seconds: float
    processor: float
    children: float
    resident: int
    looks: int


def main() -> int:
    """Measure and print; the exit code is 0 unless the measurement itself failed."""
    parser = argparse.ArgumentParser(prog="bench.daemon", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time there, too")
    parser.add_argument("--pairs", type=int, default=10, help="edits of each kind (default 10)")
    parser.add_argument("--vms", type=int, default=200, help="idle VMs (default 200)")
    parser.add_argument("--nodes", type=int, default=50, help="checkpoints of each (default 50)")
    parser.add_argument("--minutes", type=float, default=10, help="of idling (default 10)")
    wanted = parser.parse_args()
    if "CKPTREE_LAB_ZFS" not in os.environ:
        return _fail("this makes a pool: run it in the lab (script/bench daemon)")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench") as name,
            pool(_POOL, Path(name), _POOL_SIZE) as mountpoint,
        ):
            folder = Path(name)
            pairs = _follow(folder, mountpoint, wanted.pairs)
            idle = _idle(folder, mountpoint, wanted.vms, wanted.nodes, wanted.minutes * 60)
    except Unmeasured as error:
        return _fail(str(error))
    sys.stdout.write(_table(pairs, idle))
    if wanted.json is not None:
        document = {"edit_to_capture": pairs, "idle": asdict(idle)}
        wanted.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _follow(folder: Path, mountpoint: Path, count: int) -> list[tuple[float, float]]:
    """Edit COUNT times a VM that the daemon follows, and one that is applied; gives the seconds of each pair."""
    watched, applied = folder / "watched.d", folder / "applied.d"
    for documents, name in ((watched, "watched"), (applied, "applied")):
        documents.mkdir()
        _write(documents, name, [])
        execute(_program(), "--vms", str(documents), "init", name)
        (mountpoint / name / "current" / "disk0.img").write_bytes(os.urandom(MIB))
    _say(
        f"editing, followed by the daemon and by 'ckptree apply': {count} times each, after one that does not count"
    )
    pairs = []
    with _daemon(folder, watched):
        nodes: list[str] = []
        for number in range(count + 1):
            nodes.append(f"n{number}")
            began = _write(watched, "watched", nodes)
            by_daemon = _taken(mountpoint / "watched", nodes[-1]) - began
            began = _write(applied, "applied", nodes)
            execute(_program(), "--vms", str(applied), "apply")
            by_apply = _taken(mountpoint / "applied", nodes[-1]) - began
            _say(f"    {by_daemon:.3f} s and {by_apply:.3f} s")
            pairs.append((by_daemon, by_apply))
    return pairs[1:]


def _idle(folder: Path, mountpoint: Path, vms: int, nodes: int, seconds: float) -> Idle:
    documents = folder / "idle.d"
    documents.mkdir()
    _say(f"making {vms} VMs with {nodes} checkpoints each")
    _populate(documents, mountpoint, vms, nodes)
    with _daemon(folder, documents) as process:
        _say(f"watching the daemon do nothing for {seconds / 60:.0f} minutes")
        before, began, looks = _used(process.pid), time.monotonic(), _looks()
        time.sleep(seconds)
        after = _used(process.pid)
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return Idle(
            vms=vms,
            checkpoints=vms * nodes,
            seconds=time.monotonic() - began,
            processor=after[0] - before[0],
            children=after[1] - before[1],
            resident=int(resident.split()[1]) * 1024,
            looks=_looks() - looks,
        )


def _populate(documents: Path, mountpoint: Path, vms: int, nodes: int) -> None:
    zfs = choose("pyzfs").zfs
    now = datetime.now(UTC).replace(microsecond=0)
    owner = this_host().host_id
    branches = []
    for number in range(vms):
        name = f"vm{number:03}"
        home = Dataset(f"{_POOL}/{name}")
        zfs.create(home, {properties.VM: name, properties.OWNER: owner}, canmount="on")
        zfs.mount(home)
        zfs.create(home.child("b-1"), {properties.VM: name, properties.BRANCH: "1"}, canmount="on")
        zfs.mount(home.child("b-1"))
        (mountpoint / name / "current").symlink_to("b-1")
        (mountpoint / name / "b-1" / "disk0.img").touch()
        FileJournal(str(mountpoint / name), _say).append(Confirmed(at="", by="the bench"))
        branches.append((name, home.child("b-1")))
        _write(documents, name, [f"n{each}" for each in range(min(nodes, _NAMED))])
    for number in range(nodes):
        sets = []
        for name, branch in branches:
            moment = now - timedelta(hours=nodes - number)
            node = f"n{number}" if number < _NAMED else f"auto-{moment:%Y%m%dT%H%M%SZ}"
            words = {
                properties.VM: name,
                properties.NODE: node,
                properties.GRADE: properties.Grade.CLEAN.value,
                properties.TAKEN: properties.encode_time(moment),
            }
            if number >= _NAMED:
                words[properties.EXPIRES] = properties.encode_time(now + timedelta(days=30))
            sets.append(([Snapshot(f"{branch}@{node}")], words))
        for first in range(0, len(sets), _AT_ONCE):
            part = sets[first : first + _AT_ONCE]
            zfs.snapshot_sets(part)
            zfs.hold([name for names, _ in part for name in names])


@contextmanager
def _daemon(folder: Path, documents: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon on DOCUMENTS; it has looked at everything and come to rest before it is given."""
    settings = folder / "ckptree.yaml"
    settings.write_text(f"vms: {documents}\nnotify: {{syslog: none}}\n")
    with (folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [_program(), "--config", str(settings), "run"], stdout=log, stderr=log
        )
    try:
        _until(lambda: process.poll() is None and _at_rest(), "the daemon comes to no rest")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE)


def _report() -> Any:  # noqa: ANN401 - JSON
    """What the daemon tells; none before it listens. The lab is emulated: it may take its time."""
    from reconciler.daemon.client import ask

    answer = ask("/status.json", paths.SOCKET, _PATIENCE)
    return None if answer is None else json.loads(answer)


def _at_rest() -> bool:
    report = _report()
    if report is None:
        return False
    idle = all(vm["doing"] is None or vm["doing"]["work"] == "idle" for vm in report["vms"])
    return bool(report["daemon"]["passes"] and report["vms"] and idle)


def _looks() -> int:
    report = _report()
    if report is None:
        raise Unmeasured("the daemon does not answer")
    return int(report["daemon"]["passes"])


def _used(pid: int) -> tuple[float, float]:
    """The seconds of processor that a process has used, and those of the programs that it ran: proc(5)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    user, system, children_user, children_system = (int(word) / tick for word in words[11:15])
    return user + system, children_user + children_system


def _write(documents: Path, name: str, nodes: Sequence[str]) -> float:
    """Write the document of VM NAME as an editor does, and tell when it was there."""
    lines = [f"vm: {name}", f"dataset: {_POOL}/{name}", "disks: [disk0.img]"]
    if not nodes:
        lines.append("checkpoints: {}")
    for depth, node in enumerate(nodes):
        lines += [f"{'  ' * 2 * depth}checkpoints:", f"{'  ' * 2 * depth}  {node}:"]
    fresh = documents / f".{name}.new"
    fresh.write_text("\n".join(lines) + "\n")
    fresh.replace(documents / f"{name}.yaml")
    return time.monotonic()


def _taken(home: Path, node: str) -> float:
    """Wait until NODE is written down as realised in the journal at HOME, and tell when."""
    journal = home / ".ckptree" / "journal.jsonl"

    def there() -> bool:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return any('"Realised"' in line and f'"{node}"' in line for line in lines)

    _until(there, f"{node} was not taken", every=0.005)
    return time.monotonic()


def _until(true: Callable[[], bool], what: str, every: float = 0.2) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise Unmeasured(what)
        time.sleep(every)


def _table(pairs: Sequence[tuple[float, float]], idle: Idle) -> str:
    daemon, apply = ([pair[number] for pair in pairs] for number in (0, 1))
    ratios = [one / other for one, other in pairs]
    rows = (
        ("the daemon", daemon, " s"),
        ("'ckptree apply'", apply, " s"),
        ("ratio, pair by pair", ratios, ""),
    )
    lines = [f"From a saved edit to the finished capture, {len(pairs)} pairs: min, median, max"]
    lines += [
        f"  {name:<24}" + "".join(f"{value:9.3f}{unit}" for value in (min(v), median(v), max(v)))
        for name, v, unit in rows
    ]
    own, others = (100 * part / idle.seconds for part in (idle.processor, idle.children))
    lines += [
        "",
        f"Idle for {idle.seconds / 60:.1f} minutes: {idle.vms} VMs, {idle.checkpoints} checkpoints, {idle.looks} looks",
        f"  processor: {own:.2f} % of one by itself, {others:.2f} % by the programs that it ran",
        f"  resident: {idle.resident / MIB:.0f} MiB",
    ]
    return "\n".join(lines) + "\n"


def _program() -> str:
    return str(Path(sys.executable).with_name("ckptree"))


def _say(text: str) -> None:
    sys.stderr.write(f"  {time.monotonic() - _BEGAN:4.0f} s  {text}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"bench: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
