"""Guests of QEMU for real, with their keepers: their memory proves itself, and a fault never leaves one standing.

No ZFS here: where a checkpoint would be a snapshot, the branch is copied while the guest is frozen.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.drivers.guests.qemu import QemuGuest
from reconciler.drivers.guests.qemu_definition import PID_FILE
from reconciler.errors import StepFailed
from reconciler.keeper.qemu import QemuMachine
from reconciler.model.desired import DesiredVm, FileDisk, Qemu, SourcePosition
from reconciler.model.observed import Running
from reconciler.names import Dataset, VmName
from tests.guest import image

CHECKOUT = Path(__file__).parents[2]
STILL = 0.4  # seconds: a guest that runs prints three counts or more in them
ARGUMENTS = (
    "-nodefaults", "-m", "16",
    "-drive", "file=current/disk0.img,format=raw,if=virtio",
    "-chardev", "file,id=com1,path=console,append=on", "-serial", "chardev:com1",
)  # fmt: skip


class Place:
    """A home with one branch, and the guest in it."""

    def __init__(self, path: Path, vm: str = "web", *more: str, button: bool = False) -> None:
        self.home = path / vm
        self.vm = vm
        self.binary = "qemu-system-x86_64"
        self.arguments = (*ARGUMENTS, *more)
        self.branch("b-1").joinpath(".ckptree").mkdir(parents=True, mode=0o700)
        image.write_image(self.branch("b-1") / "disk0.img", 1 << 20, obeys_power_button=button)
        self.switch("b-1")

    def branch(self, name: str) -> Path:
        return self.home / name

    def switch(self, branch: str) -> None:
        (self.home / "current").unlink(missing_ok=True)
        (self.home / "current").symlink_to(branch)

    def copy(self, branch: str, copied: str) -> None:
        shutil.copytree(self.branch(branch), self.branch(copied))

    def memory(self, node: str, branch: str = "b-1") -> str:
        return str(self.branch(branch) / ".ckptree" / f"{node}.ckp")

    @property
    def console(self) -> Path:
        return self.home / "console"

    @property
    def pid(self) -> int:
        return int((self.home / PID_FILE).read_text())

    def guest(self) -> QemuGuest:
        qemu = Qemu(args=self.arguments, binary=self.binary)
        desired = DesiredVm(
            vm=VmName(self.vm),
            dataset=Dataset(f"tank/{self.vm}"),
            disks=(FileDisk("disk0.img"),),
            nodes=(),
            position=SourcePosition("web.yaml", 1, 1),
            digest="",
            hypervisor=qemu,
        )
        return QemuGuest(desired, qemu, str(self.home))

    def machine(self) -> QemuMachine:
        """The keeper's inside, in this process."""
        (self.home / ".ckptree").mkdir(exist_ok=True)
        order = {
            "vm": self.vm,
            "home": str(self.home),
            "socket": str(self.home / "k.sock"),
            "machine": {"binary": self.binary, "args": list(self.arguments)},
        }
        return QemuMachine.from_order(order, Silence())

    def beats(self, more: int = 3) -> image.Beat:
        return image.wait_for_beats(self.console, more)

    def all_beats(self) -> list[image.Beat]:
        return image.parse(image.console(self.console))

    def assert_unbroken(self) -> None:
        beats = self.all_beats()
        assert len(image.boots(image.console(self.console))) == 1
        image.assert_unbroken(beats)

    def stands_still(self) -> bool:
        before = self.console.read_bytes()
        time.sleep(STILL)
        return self.console.read_bytes() == before


class Silence:
    """The log of a machine that nobody reads."""

    def write(self, text: str) -> None:
        """Forget it."""

    def output(self, program: str, line: str) -> None:
        """Forget it."""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name (a socket's has 107 characters at most), where no guest is left behind."""
    path = Path(tempfile.mkdtemp(prefix="ck"))
    monkeypatch.setattr(paths, "RUN", path / "run")
    yield path
    for lock in path.glob("*/.ckptree/keeper.lock"):
        if (keeper := holder_of(lock)) is not None:
            os.kill(keeper, signal.SIGKILL)
    for pid_file in path.glob(f"*/{PID_FILE}"):
        with suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture
def place(root: Path) -> Place:
    return Place(root)


def holder_of(lock: Path) -> int | None:
    """The keeper that has LOCK, none if it has ended."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().split()[1])
    return None


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)


# ---- freeze and go on ------------------------------------------------------------------------------------------------


def test_a_guest_that_was_frozen_goes_on_with_the_very_next_number(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats()
    for node in ("one", "two"):
        with guest.frozen(place.memory(node)):
            assert place.stands_still()
            assert guest.state().running is Running.RUNNING
        place.beats()
    place.assert_unbroken()
    assert guest.state().running is Running.RUNNING
    assert [stat(place.memory(node)) for node in ("one", "two")] == [0o600, 0o600]


def test_a_guest_ended_while_frozen_goes_on_from_its_memory_which_is_used_up(place: Place) -> None:
    guest, memory = place.guest(), place.memory("base")
    guest.start()
    place.beats()
    with guest.frozen(memory) as hold:
        hold.end()
        assert guest.state().running is Running.OFF
    guest.start(memory)
    place.beats()
    place.assert_unbroken()
    assert list(Path(memory).parent.iterdir()) == []
    guest.stop(now=True)
    with pytest.raises(StepFailed, match="cannot be resumed"):
        guest.start(memory)


def test_a_guest_goes_back_in_time_with_the_disks_of_the_same_moment(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats()
    with guest.frozen(place.memory("base")):
        saved = place.all_beats()[-1]
        place.copy("b-1", "b-2")
    assert place.beats(5).count > saved.count + 4
    guest.stop(now=True)
    place.switch("b-2")
    place.console.unlink()
    guest.start(place.memory("base", "b-2"))
    place.beats()
    lines = image.console(place.console)
    assert image.boots(lines) == []
    # The moment may be in the middle of a line: its rest comes first then.
    beats = image.parse(line for line in lines if line.startswith("count"))
    assert beats[0].count in {saved.count + 1, saved.count + 2}
    image.assert_unbroken(beats)


def test_two_guests_are_frozen_at_the_same_time(root: Path) -> None:
    one, two = Place(root, "one"), Place(root, "two")
    for place in (one, two):
        place.guest().start()
    for place in (one, two):
        place.beats()
    with one.guest().frozen(one.memory("base")), two.guest().frozen(two.memory("base")):
        assert one.stands_still()
        assert two.stands_still()
    for place in (one, two):
        place.beats()
        place.assert_unbroken()


def test_nothing_but_the_keepers_socket_is_left_to_connect_to(place: Place) -> None:
    place.guest().start()
    assert [path.name for path in paths.RUN.iterdir()] == ["web.sock"]


# ---- what may go wrong ----------------------------------------------------------------------------------------------


def test_a_guest_goes_on_when_the_ckptree_that_froze_it_is_killed(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats()
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom reconciler import paths\n"
        "from tests.host.test_qemu_guest import Place\n"
        "paths.RUN = Path(sys.argv[1])\n"
        "place = Place.__new__(Place)\n"
        "place.home, place.vm, place.arguments = Path(sys.argv[2]), 'web', tuple(sys.argv[4:])\n"
        "place.binary = 'qemu-system-x86_64'\n"
        "with place.guest().frozen(sys.argv[3]):\n    print('frozen', flush=True)\n    time.sleep(60)\n"
    )
    words = [
        sys.executable, "-c", program, str(paths.RUN), str(place.home), place.memory("base"), *place.arguments,
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "frozen\n"
        assert place.stands_still()
        client.kill()
    place.beats()
    place.assert_unbroken()


def test_a_guest_goes_on_when_its_memory_cannot_be_written(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats()
    old = resource.prlimit(place.pid, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    with pytest.raises(StepFailed, match="QEMU says: "), guest.frozen(place.memory("full")):
        pass
    resource.prlimit(place.pid, resource.RLIMIT_FSIZE, old)
    with pytest.raises(StepFailed, match="No such file"), guest.frozen("/nowhere/base.ckp"):
        pass
    Path(place.memory("there")).write_text("of another")
    with pytest.raises(StepFailed, match="File exists"), guest.frozen(place.memory("there")):
        pass
    assert Path(place.memory("there")).read_text() == "of another"
    assert not Path(place.memory("full")).exists()
    with guest.frozen(place.memory("good")):
        assert place.stands_still()
    place.beats()
    place.assert_unbroken()


def test_a_guest_goes_on_when_there_is_no_time_to_save_it(place: Place) -> None:
    machine = place.machine()
    machine.start(None, 60)
    try:
        place.beats()
        for seconds in (0.0, 0.001, 0.005, 0.01):
            try:
                machine.save(place.memory("late"), seconds)
                machine.release(10)
                Path(place.memory("late")).unlink()
            except StepFailed:
                assert not Path(place.memory("late")).exists()
            place.beats()
        machine.save(place.memory("good"), 30)
        machine.release(30)
        place.beats()
        place.assert_unbroken()
    finally:
        machine.end(10)


def test_a_guest_with_a_device_that_cannot_be_saved_goes_on(root: Path) -> None:
    place = Place(
        root, "web", "-drive", "if=none,id=n,driver=null-co", "-device", "nvme,serial=n,drive=n"
    )
    guest = place.guest()
    assert "nvme" in guest.probe().why_not
    guest.start()
    place.beats()
    with pytest.raises(StepFailed, match="nvme"), guest.frozen(place.memory("base")):
        pass
    place.beats()
    place.assert_unbroken()


def test_a_guest_that_its_operator_paused_stays_paused(root: Path) -> None:
    place = Place(root, "web", "-monitor", "unix:monitor,server=on,wait=off")
    guest = place.guest()
    guest.start()
    place.beats()
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(place.home / "monitor"))
        monitor.sendall(b"stop\n")
        wait_until(place.stands_still, "the guest was not paused")
    with pytest.raises(StepFailed, match="does not run, for QEMU it is paused"):
        guest.frozen(place.memory("base")).__enter__()
    assert place.stands_still()


def test_a_guest_whose_qemu_is_killed_is_off_and_its_last_words_are_told(place: Place) -> None:
    guest = place.guest()
    guest.start()
    os.kill(place.pid, signal.SIGKILL)
    wait_until(lambda: guest.state().running is Running.OFF, "it still runs")
    assert "killed by signal 9" in guest.state().proof
    guest.start()
    place.beats(1)


def test_a_freeze_ends_at_once_when_qemu_is_killed_in_it(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats(1)
    with pytest.raises(StepFailed, match="killed by signal 9"), guest.frozen(place.memory("base")):
        os.kill(place.pid, signal.SIGKILL)


def test_a_guest_whose_keeper_was_killed_is_neither_off_nor_started_twice(place: Place) -> None:
    guest = place.guest()
    guest.start()
    place.beats(1)
    keeper = (place.home / ".ckptree/keeper.lock").read_text().split()[1]
    os.kill(int(keeper), signal.SIGKILL)
    wait_until(lambda: "without its keeper" in guest.state().proof, guest.state().proof)
    assert guest.state().running is Running.UNKNOWN
    with pytest.raises(StepFailed, match="without its keeper"):
        guest.start()
    place.beats()
    place.assert_unbroken()
    os.kill(place.pid, signal.SIGKILL)
    wait_until(lambda: guest.state().running is Running.OFF, "it still runs")
    guest.start()
    place.beats(1)


# ---- start and stop --------------------------------------------------------------------------------------------------


def test_a_guest_is_asked_to_shut_down_by_its_power_button(root: Path) -> None:
    place = Place(root, "web", button=True)
    guest = place.guest()
    guest.start()
    place.beats(1)
    guest.stop(now=False)
    assert guest.state().running is Running.OFF
    assert "exit code 0" in guest.state().proof
    assert image.console(place.console)[-1] == "off"
    guest.stop(now=False)


def test_a_guest_that_does_not_shut_down_goes_on(place: Place) -> None:
    machine = place.machine()
    machine.start(None, 60)
    try:
        place.beats(1)
        with pytest.raises(StepFailed, match=r"did not shut down within 0\.5 s"):
            machine.shut_down(0.5)
        assert machine.running() is not None
        place.beats()
        place.assert_unbroken()
    finally:
        machine.end(10)
    assert machine.running() is None


def test_a_reset_of_the_guest_is_not_its_end(root: Path) -> None:
    place = Place(root, "web", "-monitor", "unix:monitor,server=on,wait=off")
    guest = place.guest()
    guest.start()
    place.beats(1)
    pid = place.pid
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(place.home / "monitor"))
        monitor.sendall(b"system_reset\n")
        image.wait_for(place.console, lambda lines: len(image.boots(lines)) == 2, what="boot")
    assert (guest.state().running, place.pid) == (Running.RUNNING, pid)


def test_a_guest_that_cannot_start_is_off_and_says_why(root: Path) -> None:
    place = Place(root, "web", "-device", "no-such-device")
    with pytest.raises(StepFailed, match="'no-such-device' is not a valid device model name"):
        place.guest().start()
    assert place.guest().state().running is Running.OFF


@pytest.mark.parametrize("fault", ["garbage", "cut short", "of a guest with more RAM"])
def test_memory_that_cannot_be_resumed_leaves_the_guest_off(place: Place, fault: str) -> None:
    guest, memory = place.guest(), Path(place.memory("base"))
    guest.start()
    place.beats(1)
    with guest.frozen(str(memory)) as hold:
        hold.end()
    whole = memory.read_bytes()
    if fault == "garbage":
        memory.write_bytes(b"\x55" * len(whole))
    elif fault == "cut short":
        memory.write_bytes(whole[: len(whole) // 2])
    else:
        place.arguments = tuple("32" if word == "16" else word for word in place.arguments)
        guest = place.guest()
    with pytest.raises(StepFailed, match="QEMU"):
        guest.start(str(memory))
    assert guest.state().running is Running.OFF
    assert list(memory.parent.iterdir()) == []
    place.guest().start()


# ---- what can be done ------------------------------------------------------------------------------------------------


def test_a_guest_can_be_saved_if_it_runs_as_the_document_says(place: Place) -> None:
    guest = place.guest()
    before = guest.probe()
    assert (before.managed, before.memory, before.ram) == (True, True, 16 << 20)
    assert "qemu=" in before.fingerprint
    assert "processor=" not in before.fingerprint
    guest.start()
    assert guest.probe() == before
    place.arguments += ("-rtc", "base=utc")
    changed = place.guest().probe()
    assert (changed.managed, changed.memory) == (True, False)
    assert "started with other arguments" in changed.why_not
    guest.stop(now=True)
    changed = place.guest().probe()
    assert changed.memory
    assert changed.fingerprint != before.fingerprint


def test_a_guest_is_not_saved_by_a_qemu_that_was_upgraded_since(place: Place) -> None:
    place.binary = str(place.home / "qemu")
    program = Path(place.binary)
    program.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    program.chmod(0o755)
    guest = place.guest()
    guest.start()
    assert guest.probe().memory
    program.write_text('#!/bin/sh\nexec  qemu-system-x86_64 "$@"\n')
    assert "in another QEMU" in guest.probe().why_not
    guest.stop(now=True)
    assert guest.probe().memory


def test_many_freezes_in_a_row_lose_nothing(place: Place) -> None:
    machine = place.machine()
    machine.start(None, 60)
    threads = threading.active_count()
    try:
        place.beats(1)
        for number in range(20):
            memory = place.memory(str(number))
            machine.save(memory, 30)
            machine.release(30)
            Path(memory).unlink()
        place.beats()
        place.assert_unbroken()
        assert threading.active_count() <= threads
        assert len(list(Path(f"/proc/{place.pid}/fd").iterdir())) < 40
    finally:
        machine.end(10)


def stat(path: str) -> int:
    return Path(path).stat().st_mode & 0o777
