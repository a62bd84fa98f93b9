"""``script/bench guest``: how long a guest stands while it is captured, and how long a restore takes.

Run in the lab, as root: it makes a pool. Two VMs with the same guest and disks of 1 and of 16 GiB. Captures by
ckptree alternate with bare ones of the same guest; restores of the small disk alternate with those of the large one.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from bench import bare
from bench.figures import Copied, Downtime, Figures, Pair, Restored
from bench.monitor import Event, Monitor, Unmeasured
from bench.vm import FILLED, MIB, RAM, Vm, execute, pool

_POOL = "bench"
_SIZES = (1 << 30, 16 << 30)
_PARENT = f"{_POOL}/vm"
# Not more than the lab's /tmp can hold: ZFS would wait for ever for a write that fails below it.
_POOL_SIZE = 3584 * MIB
_BEGAN = time.monotonic()


def main() -> int:
    """Measure and print; the exit code is 0 unless the measurement itself failed, whatever the targets."""
    parser = argparse.ArgumentParser(prog="bench.guest", description=__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every single time there, too"
    )
    parser.add_argument("--pairs", type=int, default=10, help="captures of each kind (default 10)")
    parser.add_argument("--turns", type=int, default=5, help="restores of each disk (default 5)")
    parser.add_argument(
        "--data", type=int, default=256, help="MiB of data on each disk (default 256)"
    )
    wanted = parser.parse_args()
    if "CKPTREE_LAB_ZFS" not in os.environ:
        return _fail("this makes a pool: run it in the lab (script/bench guest)")
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            figures = _measure(Path(folder), wanted.pairs, wanted.turns, wanted.data)
    except Unmeasured as error:
        return _fail(str(error))
    sys.stdout.write(figures.table())
    if wanted.json is not None:
        wanted.json.write_text(figures.json())
    return 0


def _measure(folder: Path, pairs: int, turns: int, data: int) -> Figures:
    with pool(_POOL, folder, _POOL_SIZE) as mountpoint:
        execute("zfs", "create", _PARENT)
        small, large = (
            Vm(name, _PARENT, mountpoint / "vm", folder, size, data * MIB)
            for name, size in zip(("small", "large"), _SIZES, strict=True)
        )
        try:
            for vm in (small, large):
                _say(f"a VM with {vm.size >> 30} GiB of disk: made, booted and captured")
                vm.make()
                vm.write(node="base")
                vm.ckptree("apply")
                vm.prove()
            _say(f"restoring one and the other: {turns} times each, after one that does not count")
            restores = [_turn(small, large, number) for number in range(turns + 1)][1:]
            large.end()
            _say("copying their images")
            copies = (_copied(small), _copied(large))
            _say(
                f"capturing by ckptree and bare: {pairs} times each, after one that does not count"
            )
            measured = [_pair(small, number) for number in range(pairs + 1)][1:]
        finally:
            small.end()
            large.end()
    return Figures(
        ram=RAM,
        filled=FILLED,
        data=data,
        sizes=_SIZES,
        pairs=measured,
        restores=restores,
        copies=copies,
    )


def _pair(vm: Vm, number: int) -> Pair:
    """Capture VM twice: by ckptree as its new node, and bare with the same properties under another module's name."""
    vm.write(node=f"n{number}")
    mark = vm.monitor.mark()
    vm.ckptree("apply")
    ckptree = _downtime(vm.monitor, mark)
    vm.prove()
    own = {
        key.replace("ckptree:", "bench:", 1): value
        for key, value in vm.properties(f"{vm.branch}@n{number}").items()
    }
    folder = vm.path / "current" / ".bench"
    folder.mkdir(mode=0o700, exist_ok=True)
    execute("zpool", "sync", _POOL)
    mark = vm.monitor.mark()
    bare.checkpoint(vm.monitor, f"{vm.branch}@bare{number}", folder, own)
    taken = _downtime(vm.monitor, mark)
    vm.prove()
    _say(f"    {ckptree.whole:.3f} s and {taken.whole:.3f} s")
    return Pair(ckptree, taken)


def _downtime(monitor: Monitor, mark: int) -> Downtime:
    resumed = monitor.expect("RESUME", mark)
    saved = monitor.expect("MIGRATION", mark, status="completed")
    stopped = _first(monitor, mark, "STOP")
    return Downtime(resumed.when - stopped.when, saved.when - stopped.when)


def _turn(small: Vm, large: Vm, number: int) -> tuple[Restored, Restored]:
    """Restore both, every other time the large one first: what comes second may find things as the first left them."""
    if number % 2:
        second = _restore(large, number)
        first = _restore(small, number)
    else:
        first = _restore(small, number)
        second = _restore(large, number)
    _say(f"    {_told(first)} and {_told(second)}")
    return first, second


def _restore(vm: Vm, number: int) -> Restored:
    """Take VM's running guest back to its first node, with its memory; what it was at is kept."""
    vm.write("current: base", f"restore: {{again: {number}}}")
    vm.expect_another_life()
    mark = vm.monitor.mark()
    seconds = vm.ckptree("apply")
    resumed = vm.monitor.expect("RESUME", mark)
    vm.prove(resumed=True)
    stopped, ended = (_first(vm.monitor, mark, name) for name in ("STOP", "SHUTDOWN"))
    read = vm.monitor.expect("MIGRATION", mark, status="setup")
    return Restored(
        standing=resumed.when - stopped.when,
        saving=ended.when - stopped.when,
        starting=read.when - ended.when,
        apply=seconds,
    )


def _told(one: Restored) -> str:
    reading = one.standing - one.saving - one.starting
    return f"{one.standing:.3f} s ({one.saving:.3f} + {one.starting:.3f} + {reading:.3f})"


def _first(monitor: Monitor, mark: int, name: str) -> Event:
    for event in monitor.since(mark):
        if event.name == name:
            return event
    raise Unmeasured(f"QEMU did not tell of {name}")


def _copied(vm: Vm) -> Copied:
    image, copy = vm.path / "current" / "disk0.img", vm.path / "copy.img"

    def seconds(*options: str) -> float:
        execute("zpool", "sync", _POOL)
        began = time.monotonic()
        execute("cp", *options, str(image), str(copy))
        execute("sync", str(copy))
        taken = time.monotonic() - began
        copy.unlink()
        return taken

    return Copied(bytes=seconds("--reflink=never"), plain=seconds())


def _say(text: str) -> None:
    sys.stderr.write(f"  {time.monotonic() - _BEGAN:4.0f} s  {text}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"bench: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
