"""The bhyve machine against a bhyve of a few lines (``fake_bhyve``): the guest goes on with the very next number."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.drivers import command
from reconciler.drivers.guests import bhyve_process
from reconciler.drivers.guests.bhyve_definition import Definition
from reconciler.errors import HoldLost, StepFailed
from reconciler.keeper import bhyve_control
from reconciler.keeper.bhyve import BhyveMachine, _Stopped
from reconciler.keeper.log import Log
from tests.unit.keeper.conftest import eventually

UEFI = "lpc.bootrom=/firmware\npci.0.0.0.device=hostbridge\npci.0.3.0.device=virtio-blk\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    def __init__(self, folder: Path) -> None:
        self.programs = folder / "sbin"
        self.home = folder / "home"
        self.log_path = self.home / "guest.log"
        self.memory = str(folder / "home" / "base.ckp")
        for path in (self.programs / "run", self.programs / "vmm", self.home):
            path.mkdir(parents=True)
        text = Path(__file__).with_name("fake_bhyve.py").read_text()
        for name in ("bhyve", "bhyvectl"):
            program = self.programs / name
            program.write_text(f"#!{sys.executable} -ES\n{text}")
            program.chmod(0o755)
        self.set("dump", UEFI)

    def machine(self, mode: str = "auto", loader: list[str] | None = None) -> BhyveMachine:
        settings = {"kind": "bhyve", "config": "web.conf", "mode": mode, "loader": loader or []}
        order = {"vm": "web", "home": str(self.home), "machine": settings}
        return BhyveMachine.from_order(order, Log(str(self.log_path)))

    def set(self, name: str, text: str = "") -> None:
        fresh = self.home / f".{name}"
        fresh.write_text(text)
        fresh.rename(self.home / name)

    def disk(self) -> int:
        for _ in range(1000):
            with suppress(OSError, ValueError):  # it is just being written
                return int((self.home / "disk").read_text())
            time.sleep(0.001)
        raise AssertionError("the guest never wrote")

    def launches(self) -> list[str]:
        return (self.home / "launches").read_text().splitlines()

    def log(self) -> str:
        return self.log_path.read_text()

    def last(self) -> str:
        return self.log().splitlines()[-1].partition(" ")[2]

    def counts(self) -> bool:
        before = self.disk()
        eventually(lambda: self.disk() > before, 5)
        return True


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World(tmp_path)
    command.find.cache_clear()
    monkeypatch.setattr(command, "TRUSTED", (str(found.programs), *command.TRUSTED))
    monkeypatch.setattr(bhyve_process, "SOCKETS", found.programs / "run")
    monkeypatch.setattr(bhyve_process, "OBJECTS", found.programs / "vmm")
    yield found
    with suppress(StepFailed, OSError):
        for path in (found.programs / "vmm").iterdir():
            path.write_text("poweroff")
    command.find.cache_clear()


@pytest.fixture
def machine(world: World) -> Iterator[BhyveMachine]:
    made = world.machine()
    made.start(None, 20)
    yield made
    made.end(5)


def with_stub(world: World) -> BhyveMachine:
    world.set("dump", f"{UEFI}gdb.port={free_port()}\n")
    machine = world.machine()
    machine.start(None, 20)
    world.counts()
    return machine


def held_at(memory: str) -> int:
    return int(Path(memory).read_text())


def test_a_guest_is_started_from_its_configuration(world: World, machine: BhyveMachine) -> None:
    assert world.launches() == [f"-k {world.home}/web.conf web"]
    running = machine.running()
    assert running is not None
    assert running.startswith("bhyve (pid ")
    assert machine.topology()


def test_suspend_saves_the_guest_and_it_goes_on_with_the_next_instruction(
    world: World, machine: BhyveMachine
) -> None:
    world.counts()
    machine.save(world.memory, 20)
    saved = held_at(world.memory)
    assert world.disk() == saved
    assert Path(world.memory).stat().st_mode & 0o077 == 0
    machine.release(20)
    assert world.counts()
    assert world.launches()[1].startswith(f"-r {world.home}/.resumed.ckp ")
    assert not list(world.home.glob("*.ckp*"))
    assert not list(world.home.glob(".resumed*"))


@pytest.mark.parametrize("code", [0, 5])
def test_both_exit_codes_of_a_suspend_are_understood(
    world: World, machine: BhyveMachine, code: int
) -> None:
    world.set("suspend-code", str(code))
    machine.save(world.memory, 20)
    machine.release(20)
    assert world.counts()


def test_a_suspended_guest_that_is_ended_is_off(world: World, machine: BhyveMachine) -> None:
    machine.save(world.memory, 20)
    machine.end(20)
    assert machine.running() is None
    assert world.last() == "web: ended, as it was saved"
    assert Path(world.memory).exists()


def test_a_checkpoint_holds_the_guest_until_it_is_released(world: World) -> None:
    machine = with_stub(world)
    machine.save(world.memory, 20)
    saved = held_at(world.memory)
    time.sleep(0.05)
    assert world.disk() == saved
    machine.release(20)
    assert world.counts()
    assert len(world.launches()) == 1
    assert Path(world.memory).exists()
    assert (world.programs / "looks").read_text() == "x"
    machine.end(20)


def test_no_checkpoint_is_asked_for_before_the_stub_holds_the_guest(world: World) -> None:
    machine = with_stub(world)
    world.set("late", "0.5")
    machine.save(world.memory, 20)
    assert len((world.programs / "looks").read_text()) > 1
    assert world.disk() == held_at(world.memory)
    machine.end(20)
    assert world.disk() == held_at(world.memory)


def test_a_stub_that_does_not_stop_the_guest_is_no_hold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bhyve_control, "_PARK_SECONDS", 0.2)
    machine = with_stub(world)
    world.set("late", "2")
    with pytest.raises(StepFailed, match="was not held"):
        machine.save(world.memory, 20)
    assert not list(world.home.glob("*.ckp*"))
    machine.end(20)


def test_a_bhyvectl_that_cannot_tell_is_not_waited_for(world: World) -> None:
    (world.programs / "old-bhyvectl").touch()
    machine = with_stub(world)
    machine.save(world.memory, 20)
    assert world.disk() == held_at(world.memory)
    machine.end(20)


def break_loose(machine: BhyveMachine) -> None:
    """Let bhyve end the connection that holds the guest, as nobody can from outside."""
    hold = machine._hold
    assert isinstance(hold, _Stopped)
    hold.stub._connection.settimeout(5)
    hold.stub._connection.send(b"go on")
    eventually(lambda: not hold.stub.holds())


@pytest.mark.parametrize("verb", ["release", "end"])
def test_a_guest_that_went_on_by_itself_is_told_as_lost_and_left_alone(
    world: World, verb: str
) -> None:
    machine = with_stub(world)
    machine.save(world.memory, 20)
    break_loose(machine)
    with pytest.raises(HoldLost, match="let go by something else"):
        getattr(machine, verb)(20)
    assert world.counts()
    machine.end(20)


def test_a_held_guest_that_was_reset_and_started_again_is_told_as_lost(world: World) -> None:
    machine = with_stub(world)
    machine.save(world.memory, 20)
    break_loose(machine)
    world.set("exit", "0")
    eventually(lambda: len(world.launches()) == 2 and "since" in (machine.running() or ""))
    with pytest.raises(HoldLost, match="its bhyve ended"):
        machine.end(20)
    assert world.counts()
    machine.end(20)


def test_a_held_guest_that_is_ended_executes_nothing_more(world: World) -> None:
    machine = with_stub(world)
    machine.save(world.memory, 20)
    machine.end(20)
    assert world.disk() == held_at(world.memory)
    assert machine.running() is None
    assert not (world.programs / "vmm" / "web").exists()


def test_mode_suspend_is_obeyed_although_there_is_a_stub(world: World) -> None:
    world.set("dump", f"{UEFI}gdb.port={free_port()}\n")
    machine = world.machine("suspend")
    machine.start(None, 20)
    machine.save(world.memory, 20)
    machine.release(20)
    assert len(world.launches()) == 2
    machine.end(20)


def test_mode_checkpoint_needs_a_stub(world: World) -> None:
    machine = world.machine("checkpoint")
    machine.start(None, 20)
    with pytest.raises(StepFailed, match="has no GDB stub"):
        machine.save(world.memory, 20)
    assert world.counts()
    machine.end(20)


def test_a_debugger_at_the_stub_is_noticed(world: World) -> None:
    machine = with_stub(world)
    port = int(world.home.joinpath("dump").read_text().rpartition("=")[2])
    with (
        socket.create_connection(("127.0.0.1", port)),
        pytest.raises(StepFailed, match="is a debugger at its GDB stub"),
    ):
        machine.save(world.memory, 20)
    assert world.counts()
    assert not list(world.home.glob("*.ckp*"))
    machine.end(20)


def test_a_stub_that_is_not_there_is_an_error(world: World) -> None:
    machine = with_stub(world)
    machine._definition = Definition(devices=(), memory=0, cpus=1, stub=("127.0.0.1", 1))
    with pytest.raises(StepFailed, match="does not answer"):
        machine.save(world.memory, 20)
    assert world.counts()
    machine.end(20)


@pytest.mark.parametrize("stub", [False, True])
def test_a_device_that_cannot_be_saved_leaves_the_guest_running(
    world: World, *, stub: bool
) -> None:
    machine = with_stub(world) if stub else world.machine()
    if not stub:
        machine.start(None, 20)
    world.set("fault", "ret45")
    with pytest.raises(StepFailed, match=r"could not save web.*nvme@pci\.0\.4\.0; ret=45"):
        machine.save(world.memory, 20)
    assert world.counts()
    assert len(world.launches()) == 1
    assert not list(world.home.glob("*.ckp*"))
    machine.end(20)


def test_files_that_are_not_complete_after_a_suspend_are_not_resumed(
    world: World, machine: BhyveMachine
) -> None:
    world.set("fault", "cut")
    with pytest.raises(StepFailed, match="meta is not complete"):
        machine.save(world.memory, 20)
    assert world.launches()[1:] == [f"-k {world.home}/web.conf web"]
    assert "what the guest had in memory only is lost" in world.log()
    assert not list(world.home.glob("*.ckp*"))
    assert world.counts()


def test_a_guest_that_resets_instead_of_being_suspended_is_started_again(
    world: World, machine: BhyveMachine
) -> None:
    world.set("fault", "reset")
    with pytest.raises(StepFailed, match=r"exit code 0 \(reset\) instead of being saved"):
        machine.save(world.memory, 20)
    assert "is lost" not in world.log()
    assert world.launches()[1:] == [f"-k {world.home}/web.conf web"]


@pytest.mark.parametrize("stub", [False, True])
def test_a_save_that_takes_too_long_loses_nothing(world: World, *, stub: bool) -> None:
    machine = with_stub(world) if stub else world.machine()
    if not stub:
        machine.start(None, 20)
    world.set("fault", "slow 1.5")
    with pytest.raises(StepFailed, match="in time"):
        machine.save(world.memory, 0.7)
    before = world.disk()
    (world.home / "fault").unlink()
    for path in world.home.glob("base.ckp*"):  # the caller tidies up
        path.unlink()
    eventually(lambda: world.disk() > before)
    assert "is lost" not in world.log()
    eventually(lambda: not list(world.home.glob(".resumed*")))
    if not stub:
        assert world.launches()[1].startswith("-r ")
    machine.end(20)


def test_another_save_after_one_that_took_too_long_loses_nothing_either(
    world: World, machine: BhyveMachine
) -> None:
    world.set("fault", "slow 1.5")
    with pytest.raises(StepFailed, match="in time"):
        machine.save(world.memory, 0.7)
    before = world.disk()
    with pytest.raises(StepFailed, match="was not saved"):
        machine.save(f"{world.memory}2", 20)
    assert world.launches()[1].startswith("-r ")
    eventually(lambda: world.disk() > before)
    assert "is lost" not in world.log()


def test_a_bhyvectl_that_hangs_after_it_asked_loses_nothing(
    world: World, machine: BhyveMachine
) -> None:
    real = (world.programs / "bhyvectl").rename(world.programs / "bhyvectl.real")
    hanging = world.programs / "bhyvectl"
    hanging.write_text(
        f'#!/bin/sh\n{real.parent}/real/bhyvectl "$@"\ncase "$*" in *suspend*) exec sleep 60;; esac\n'
    )
    (world.programs / "real").mkdir()
    text = real.read_text().replace(
        "HERE = Path(__file__).parent", "HERE = Path(__file__).parents[1]"
    )
    for path, content in ((hanging, None), (world.programs / "real" / "bhyvectl", text)):
        if content is not None:
            path.write_text(content)
        path.chmod(0o755)
    with pytest.raises(StepFailed, match="did not end in time"):
        machine.save(world.memory, 4.0)
    eventually(lambda: len(world.launches()) == 2)
    assert world.launches()[1].startswith("-r ")
    assert world.counts()
    assert "is lost" not in world.log()


def test_a_suspended_guest_that_cannot_be_resumed_is_started_from_its_disks(
    world: World, machine: BhyveMachine
) -> None:
    machine.save(world.memory, 20)
    Path(world.memory).write_text("not a number")
    with pytest.raises(StepFailed, match=r"Failed to read checkpoint info.*from its disks instead"):
        machine.release(20)
    assert world.counts()
    assert "is lost" in world.log()


def test_bhyvectls_own_failure_is_told_with_its_words(world: World, machine: BhyveMachine) -> None:
    (world.programs / "run" / "web").unlink()
    with pytest.raises(StepFailed, match=r"exit code 2: connect\(\) failed: No such file"):
        machine.save(world.memory, 20)
    assert world.counts()


def test_nothing_is_ever_saved_over(world: World, machine: BhyveMachine) -> None:
    Path(f"{world.memory}.meta").write_text("older")
    with pytest.raises(StepFailed, match="is there already"):
        machine.save(world.memory, 20)
    with pytest.raises(StepFailed, match="is longer than"):
        machine.save("/" + "x" * 250, 20)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (1, "ended with exit code 1 (powered off)"),
        (2, "ended with exit code 2 (halted)"),
        (3, "ended with exit code 3 (triple fault)"),
        (4, "ended with exit code 4 (error)"),
        (5, "ended with exit code 5 (suspended)"),
        (100, "ended with exit code 100 (unknown reason)"),
        (42, "ended with exit code 42 (unknown)"),
        (-signal.SIGABRT, "was killed by SIGABRT"),
    ],
)
def test_what_ends_the_guest_is_the_last_that_the_log_tells(
    world: World, code: int, ending: str
) -> None:
    machine = world.machine()
    machine.start(None, 20)
    world.set("exit", str(code))
    eventually(lambda: machine.running() is None)
    assert world.last() == f"web: bhyve {ending}; not started again"
    assert not (world.programs / "vmm" / "web").exists()
    assert len(world.launches()) == 1


def test_a_reset_starts_the_guest_again_and_never_from_memory(world: World) -> None:
    first = world.machine()
    first.start(None, 20)
    first.save(world.memory, 20)
    files = {path: path.read_bytes() for path in world.home.glob("base.ckp*")}
    first.end(20)
    second = world.machine()
    second.start(str(world.memory), 20)
    assert list(files)
    world.set("exit", "0")
    eventually(lambda: len(world.launches()) == 3)
    assert world.launches()[1:] == [
        f"-r {world.memory} -k {world.home}/web.conf web",
        f"-k {world.home}/web.conf web",
    ]
    eventually(lambda: "since" in (second.running() or ""))
    assert world.counts()
    second.end(20)


def test_a_guest_is_never_off_while_it_is_being_reset(world: World, machine: BhyveMachine) -> None:
    seen: list[str | None] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(machine.running())
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    world.set("exit", "0")
    eventually(lambda: len(world.launches()) == 2 and "since" in (machine.running() or ""))
    done.set()
    thread.join()
    assert None not in seen


def test_a_restart_that_fails_ends_the_guest_with_the_reason(
    world: World, machine: BhyveMachine
) -> None:
    world.set("broken", "no such disk")
    world.set("exit", "0")
    eventually(lambda: machine.running() is None)
    assert "no such disk; not started again" in world.last()


def test_a_start_that_fails_has_bhyves_words(world: World) -> None:
    world.set("broken", "pci slot 3: unable to open backend")
    with pytest.raises(StepFailed, match=r"exit code 4\): pci slot 3: unable to open"):
        world.machine().start(None, 20)


def test_a_bhyve_that_never_gets_ready_is_ended(world: World) -> None:
    world.set("mute")
    machine = world.machine()
    with pytest.raises(StepFailed, match="was not ready in time"):
        machine.start(None, 0.5)
    assert machine.running() is None
    assert bhyve_process.find_process("web") is None


def test_without_snapshots_the_title_of_the_process_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set("mute")
    machine = world.machine()
    monkeypatch.setattr(bhyve_process, "is_titled", lambda pid, vm: pid > 1 and vm == "web")
    machine.start(None, 20)
    assert world.counts()
    machine.end(20)


def test_a_stale_vm_object_is_removed_before_the_start(world: World) -> None:
    (world.programs / "vmm" / "web").write_text("poweroff")
    machine = world.machine()
    machine.start(None, 20)
    assert world.counts()
    machine.end(20)


def test_a_bhyve_that_is_not_ours_is_left_alone(world: World, machine: BhyveMachine) -> None:
    before = machine.running()
    with pytest.raises(StepFailed, match="did not start serves web already"):
        world.machine().start(None, 20)
    assert world.counts()
    assert machine.running() == before


def test_a_bhyve_whose_keeper_was_killed_does_not_die_of_its_own_output(world: World) -> None:
    machine = world.machine()
    machine.start(None, 20)
    child = machine._child
    assert child is not None
    assert child._process.stdout is not None
    ignored = Path(f"/proc/{child.pid}/status")
    if ignored.exists():
        mask = next(line for line in ignored.read_text().splitlines() if line.startswith("SigIgn"))
        assert int(mask.split()[1], 16) & (1 << (signal.SIGPIPE - 1))
    machine.end(20)


def test_the_power_button_ends_the_guest(world: World, machine: BhyveMachine) -> None:
    machine.shut_down(20)
    assert machine.running() is None
    assert world.last() == "web: shut down on request, bhyve ended with exit code 1 (powered off)"


def test_a_guest_that_is_deaf_to_it_runs_on(world: World, machine: BhyveMachine) -> None:
    world.set("deaf")
    with pytest.raises(StepFailed, match=r"did not shut down within 0\.2 s"):
        machine.shut_down(0.2)
    assert world.counts()


def test_a_guest_without_firmware_is_loaded_at_every_cold_start(world: World) -> None:
    world.set("dump", UEFI.partition("\n")[2])
    loader = world.programs / "load"
    loader.write_text(f"#!/bin/sh\necho loaded >> loads\ntouch {world.programs}/vmm/web\n")
    loader.chmod(0o755)
    machine = world.machine(loader=[str(loader)])
    machine.start(None, 20)
    machine.save(world.memory, 20)
    machine.release(20)
    assert (world.home / "loads").read_text().split() == ["loaded"]
    world.set("exit", "0")
    eventually(lambda: len(world.launches()) == 3)
    assert (world.home / "loads").read_text().split() == ["loaded"] * 2
    machine.end(20)


def test_a_loader_that_fails_is_told_with_its_words(world: World) -> None:
    loader = world.programs / "load"
    loader.write_text("#!/bin/sh\necho no kernel >&2\nexit 3\n")
    loader.chmod(0o755)
    with pytest.raises(StepFailed, match="exit code 3: no kernel"):
        world.machine(loader=[str(loader)]).start(None, 20)


def test_a_bhyve_that_is_killed_while_it_is_held_is_no_good_hold(world: World) -> None:
    machine = with_stub(world)
    machine.save(world.memory, 20)
    child = machine._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: machine.running() is None)
    with pytest.raises(HoldLost, match="not held any more"):
        machine.release(20)
    assert "was killed by SIGKILL" in world.last()


def test_an_order_that_is_not_sound_is_refused(world: World) -> None:
    order = {"vm": "web", "home": "/", "machine": {"kind": "bhyve", "mode": "auto", "args": "-A"}}
    with pytest.raises(StepFailed, match="list of texts as 'args'"):
        BhyveMachine.from_order(order, Log(str(world.log_path)))
