"""Guests of the operator's own commands: here a shell script, whose guest's RAM is the text of a file."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.drivers.guests import by_command, command_definition
from reconciler.drivers.guests.by_command import CommandGuest
from reconciler.errors import StepFailed
from reconciler.keeper.by_command import CommandMachine
from reconciler.model.desired import Command, DesiredVm, SourcePosition
from reconciler.model.observed import Running
from reconciler.names import Dataset, VmName

CHECKOUT = Path(__file__).parents[3]
SCRIPT = """#!/bin/sh
# guest VERB [PATH], in the home: the guest runs while there is a file 'ram'
fault=$(cat "fault-$1" 2>/dev/null)
[ "$1" = running ] || echo "$1${2:+ ${2##*/}}" >>calls
[ "$fault" != refuse ] || { echo "will not $1" >&2; exit 7; }
case $1 in
start) if [ "$2" ]; then cat "$2" >ram; else echo fresh >ram; fi ;;
stop) [ "$fault" = deaf ] || rm -f ram ;;
running) [ -e ram ] ;;
save)
  [ "$fault" = empty ] || cat ram >"$2"
  rm ram
  [ "$fault" != hang ] || sleep 60
  ;;
esac
"""


class World:
    """A home with the operator's script, and what may be asked of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.script = home / "guest"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.memory = home / "memory" / "base.ckp"
        self.memory.parent.mkdir(mode=0o700)

    def words(self, verb: str) -> tuple[str, ...]:
        return (str(self.script), verb)

    def guest(self, *, saves: bool = True) -> CommandGuest:
        command = Command(
            start=self.words("start"),
            stop=self.words("stop"),
            running=self.words("running"),
            save=self.words("save") if saves else (),
        )
        desired = DesiredVm(
            vm=VmName("web"),
            dataset=Dataset("tank/web"),
            disks=(),
            nodes=(),
            position=SourcePosition("web.yaml", 1, 1),
            digest="",
        )
        return CommandGuest(desired, command, str(self.home))

    def machine(self) -> CommandMachine:
        verbs = ("start", "stop", "running", "save")
        machine = {"kind": "command", **{verb: list(self.words(verb)) for verb in verbs}}
        return CommandMachine.from_order({"home": str(self.home), "machine": machine}, Lines())

    def fault(self, verb: str, text: str) -> None:
        (self.home / f"fault-{verb}").write_text(text)

    def calls(self) -> list[str]:
        """What was called, but for `running`."""
        calls = self.home / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def ram(self) -> str | None:
        ram = self.home / "ram"
        return ram.read_text().strip() if ram.exists() else None

    @ram.setter
    def ram(self, text: str) -> None:
        (self.home / "ram").write_text(f"{text}\n")


class Lines:
    """A log that nobody reads."""

    def write(self, text: str) -> None:
        """Forget it."""

    def output(self, program: str, line: str) -> None:
        """Forget it."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="ck"))  # short: a socket's name has 103 characters at most
    monkeypatch.setattr(paths, "RUN", home / "run")
    yield World(home)
    end_keeper(home / ".ckptree/keeper.lock")
    shutil.rmtree(home)


def end_keeper(lock: Path) -> None:
    with suppress(FileNotFoundError), lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(int(file.read().split()[1]), signal.SIGKILL)


# ---- without a keeper ------------------------------------------------------------------------------------------------


def test_the_exit_code_of_running_tells_the_state(world: World) -> None:
    guest = world.guest()
    assert guest.state().running is Running.OFF
    world.ram = "one"
    assert guest.state().running is Running.RUNNING
    assert f"{world.script} running" in guest.state().proof
    world.fault("running", "refuse")
    assert guest.state().running is Running.UNKNOWN
    assert "exit code 7: will not running" in guest.state().proof


def test_a_guest_is_started_and_stopped_by_its_commands(world: World) -> None:
    guest = world.guest()
    guest.start()
    assert world.ram == "fresh"
    with pytest.raises(StepFailed, match="it is running"):
        guest.start()
    guest.stop(now=False)
    guest.stop(now=True)
    assert world.calls() == ["start", "stop"]


def test_memory_is_used_once(world: World) -> None:
    guest = world.guest()
    world.memory.write_text("one\n")
    guest.start(str(world.memory))
    assert world.ram == "one"
    assert world.calls() == ["start .resumed.ckp"]
    assert list(world.memory.parent.iterdir()) == []
    guest.stop(now=True)
    with pytest.raises(StepFailed, match="cannot be resumed: No such file"):
        guest.start(str(world.memory))
    assert world.ram is None


def test_memory_of_a_start_that_failed_is_used_up_too(world: World) -> None:
    world.memory.write_text("one\n")
    world.fault("start", "refuse")
    with pytest.raises(StepFailed, match="will not start"):
        world.guest().start(str(world.memory))
    assert list(world.memory.parent.iterdir()) == []


def test_a_guest_of_which_nothing_is_known_is_not_started(world: World) -> None:
    world.fault("running", "refuse")
    with pytest.raises(StepFailed, match="it is unknown"):
        world.guest().start()
    assert world.calls() == []


def test_a_stop_that_does_not_stop_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_command, "STOP_SECONDS", 0.5)
    world.ram = "one"
    world.fault("stop", "deaf")
    with pytest.raises(StepFailed, match="did not tell in time that the guest is off"):
        world.guest().stop(now=False)
    assert world.ram == "one"


def test_what_can_be_done_is_known_without_running_a_command(world: World) -> None:
    able = world.guest().probe()
    assert (able.managed, able.memory) == (True, True)
    assert "commands=" in able.fingerprint
    disks_only = world.guest(saves=False).probe()
    assert (disks_only.managed, disks_only.memory) == (True, False)
    assert "'save'" in disks_only.why_not
    world.script.chmod(0o644)
    absent = world.guest().probe()
    assert (absent.managed, absent.memory) == (False, False)
    assert f"there is no program {world.script}" in absent.why_not
    assert world.calls() == []


# ---- the machine -----------------------------------------------------------------------------------------------------


def test_a_saved_guest_goes_on_from_its_file_which_is_used_up(world: World) -> None:
    machine = world.machine()
    world.ram = "one"
    machine.save(str(world.memory), 10)
    assert (machine.running(), world.ram, world.memory.read_text()) == (None, None, "one\n")
    assert world.memory.stat().st_mode & 0o777 == 0o600
    machine.release(10)
    assert world.ram == "one"
    assert machine.running() is not None
    assert list(world.memory.parent.iterdir()) == []
    assert world.calls() == ["save base.ckp", "start .resumed.ckp"]


def test_a_saved_guest_that_is_off_already_needs_no_stop(world: World) -> None:
    machine = world.machine()
    world.ram = "one"
    machine.save(str(world.memory), 10)
    machine.end(10)
    assert world.calls() == ["save base.ckp"]
    assert world.memory.exists()


@pytest.mark.parametrize(
    ("fault", "message", "afterwards", "calls"),
    [
        ("refuse", "will not save", "one", ["save base.ckp"]),
        ("empty", "wrote nothing", "fresh", ["save base.ckp", "start"]),
        ("hang", "did not end in time", "one", ["save base.ckp", "start .resumed.ckp"]),
    ],
)
def test_a_guest_runs_after_a_save_that_failed(
    world: World, fault: str, message: str, afterwards: str, calls: list[str]
) -> None:
    world.ram = "one"
    world.fault("save", fault)
    with pytest.raises(StepFailed, match=message):
        world.machine().save(str(world.memory), 1)
    assert world.ram == afterwards
    assert world.calls() == calls
    assert list(world.memory.parent.iterdir()) == []


def test_a_paused_guest_goes_on_when_its_file_cannot_be_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(memory: str) -> None:
        raise StepFailed(f"{memory} cannot be put on stable storage")

    monkeypatch.setattr("reconciler.keeper.by_command.settle", fail)
    world.script.write_text(SCRIPT.replace("  rm ram\n", ""))  # paused: `running` says that it runs
    world.ram = "one"
    with pytest.raises(StepFailed, match="stable storage"):
        world.machine().save(str(world.memory), 10)
    assert world.calls() == ["save base.ckp", "start .resumed.ckp"]


def test_a_paused_guest_is_stopped_if_it_shall_not_go_on(world: World) -> None:
    world.script.write_text(SCRIPT.replace("  rm ram\n", ""))
    world.ram = "one"
    machine = world.machine()
    machine.save(str(world.memory), 10)
    machine.end(10)
    assert (world.ram, world.calls()) == (None, ["save base.ckp", "stop"])


def test_a_guest_that_cannot_be_resumed_is_started_from_its_disks(world: World) -> None:
    machine = world.machine()
    world.ram = "one"
    machine.save(str(world.memory), 10)
    world.script.write_text(SCRIPT.replace('cat "$2" >ram', "exit 9"))
    with pytest.raises(StepFailed, match=r"started from its disks: .* exit code 9"):
        machine.release(10)
    assert world.ram == "fresh"
    assert list(world.memory.parent.iterdir()) == []


def test_a_guest_of_which_nothing_is_known_is_not_started_a_second_time(world: World) -> None:
    machine = world.machine()
    world.ram = "one"
    world.fault("save", "empty")
    world.fault("running", "refuse")
    with pytest.raises(StepFailed, match="wrote nothing"):
        machine.save(str(world.memory), 10)
    assert world.calls() == ["save base.ckp"]


def test_a_file_of_another_is_not_written(world: World) -> None:
    world.ram = "one"
    world.memory.write_text("of another")
    with pytest.raises(StepFailed, match="is there already"):
        world.machine().save(str(world.memory), 10)
    assert (world.ram, world.memory.read_text()) == ("one", "of another")


def test_a_machine_is_made_only_from_a_sound_order(world: World) -> None:
    machine: dict[str, object] = {"start": ["/a"], "stop": [], "running": ["/c"]}
    order = {"home": str(world.home), "machine": machine}
    with pytest.raises(StepFailed, match="no command 'stop'"):
        CommandMachine.from_order(order, Lines())
    machine["stop"] = ["/b"]
    with pytest.raises(StepFailed, match="no 'save' command"):
        CommandMachine.from_order(order, Lines()).save(str(world.memory), 1)


def test_what_running_says_is_asked_until_it_is_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_definition, "_PAUSE", 0.01)
    late = "(sleep 0.2; echo fresh >ram) >/dev/null 2>&1 &"
    world.script.write_text(SCRIPT.replace("echo fresh >ram;", f"{late}"))
    world.machine().start(None, 10)
    assert world.ram == "fresh"


# ---- with its keeper -------------------------------------------------------------------------------------------------


def test_a_frozen_guest_is_suspended_and_goes_on(world: World) -> None:
    guest = world.guest()
    world.ram = "one"
    with guest.frozen(str(world.memory)):
        assert (world.ram, world.memory.read_text()) == (None, "one\n")
        assert guest.state().running is Running.RUNNING
        with pytest.raises(StepFailed, match="keeper is at work"):
            guest.start()
    assert world.ram == "one"
    with guest.frozen(str(world.memory)) as hold:
        hold.end()
    assert guest.state().running is Running.OFF
    guest.start(str(world.memory))
    assert world.ram == "one"


def test_a_guest_goes_on_when_the_ckptree_that_froze_it_is_killed(world: World) -> None:
    world.ram = "one"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom reconciler import paths\n"
        "from tests.unit.keeper.test_by_command import World\n"
        "paths.RUN = Path(sys.argv[1], 'run')\nworld = World.__new__(World)\n"
        "world.home, world.script = Path(sys.argv[1]), Path(sys.argv[1], 'guest')\n"
        "with world.guest().frozen(sys.argv[2]):\n    print('frozen', flush=True)\n    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", program, str(world.home), str(world.memory)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "frozen\n"
        assert world.ram is None
        client.kill()
    until = time.monotonic() + 20
    while world.ram != "one":
        assert time.monotonic() < until, world.ram
        time.sleep(0.02)
