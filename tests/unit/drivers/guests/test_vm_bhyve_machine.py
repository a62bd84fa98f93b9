"""What a keeper does with a guest of vm-bhyve, on a pretended bhyve: each save ends in a guest that goes on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.drivers.guests.vm_bhyve_state import Processes
from reconciler.errors import HoldLost, StepFailed
from reconciler.keeper import bhyve_control, vm_bhyve, vm_bhyve_suspend
from reconciler.keeper.vm_bhyve import VmBhyveMachine
from reconciler.model.observed import GuestState, Running
from reconciler.model.properties import RESUMED

CONF = 'loader="uefi"\ncpu=1\nmemory=1K\ndisk0_type=virtio-blk\ndisk0_name=a\n'
RUNNING = Processes(bhyve=12, loop=11)


class Host:
    """A loop, a bhyve and its stub, for a guest that writes FILES when it is asked to save itself."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.found = RUNNING
        self.events: list[str] = []
        self.said: list[str] = []
        self.writes: Callable[[str], None] = write_whole
        self.ends = threading.Event()
        self.ends.set()
        self.refuses_resume = False
        self.held = True
        self.wanted = ""

    # The log, the loop

    def write(self, text: str) -> None:
        self.said.append(text)

    def output(self, program: str, line: str) -> None:
        self.said.append(f"{program}: {line}")

    def look(self) -> Processes:
        return self.found

    def ensure_not_suspended(self) -> None:
        self.events.append("look for .save")

    @contextmanager
    def fenced(self) -> Iterator[None]:
        self.events.append("fence")
        try:
            yield
        finally:
            self.events.append("no fence")

    def start(self, memory: str | None, until: float) -> None:
        assert until > time.monotonic()
        if memory is not None:
            assert Path(memory).name == RESUMED
            assert Path(memory).exists()
            if self.refuses_resume:
                raise StepFailed("bhyve exited with status 1")
        self.events.append("resume" if memory else "boot")
        self.found = RUNNING

    def await_off(self, until: float) -> bool:
        assert until > 0
        return self.found.proof is None

    def kill(self, until: float) -> None:
        assert until > 0
        self.events.append("kill")

    def power_off(self, until: float) -> None:
        assert until > 0
        self.events.append("power off")

    def shut_down(self, until: float) -> None:
        assert until > 0
        self.events.append("shut down")

    # bhyve

    def request(self, vm: str, memory: str, seconds: float) -> None:
        assert vm == "web"
        assert seconds > 0
        self.events.append("save")
        self.wanted = memory
        self.writes(memory)

    def served(self, vm: str, seconds: float) -> bool:
        assert vm == "web"
        return self.ends.wait(min(max(seconds, 0), 5))

    def await_end(self, pid: int, until: float) -> bool:
        assert pid == 12
        if not self.ends.wait(min(max(until - time.monotonic(), 0), 5)):
            return False
        if not Path(f"{self.wanted}.meta").exists() and not (
            Path(self.wanted).with_name(f"{RESUMED}.meta").exists()
        ):
            return False  # the save has failed, and bhyve runs on
        self.found = Processes()
        return True


class Stub:
    """The connection that holds the guest."""

    host: Host

    def __init__(self, address: tuple[str, int]) -> None:
        self.host.events.append(f"hold {address[1]}")

    def await_parked(self, vm: str, seconds: float) -> None:
        assert vm == "web"
        assert seconds > 0
        self.host.events.append("stopped")

    def holds(self) -> bool:
        return self.host.held

    def close(self) -> None:
        self.host.events.append("let go")


def write_whole(memory: str) -> None:
    Path(memory).write_bytes(bytes(1024))
    Path(f"{memory}.kern").write_bytes(bytes(8))
    entry = {"device": "vm", "size": 8, "file_offset": 0}
    index = {"basic metadata": {"memsize": 1024}, "kern_structs": [entry], "devices": []}
    Path(f"{memory}.meta").write_text(json.dumps(index))


def write_short(memory: str) -> None:
    write_whole(memory)
    Path(memory).write_bytes(bytes(512))


def write_half(memory: str) -> None:
    Path(memory).write_bytes(bytes(1024))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    (tmp_path / "web.conf").write_text(CONF)
    Stub.host = made
    monkeypatch.setattr(vm_bhyve_suspend, "await_end", made.await_end)
    monkeypatch.setattr(vm_bhyve, "Loop", lambda *_: made)
    monkeypatch.setattr(vm_bhyve, "why_not_resuming", lambda: "")
    monkeypatch.setattr(vm_bhyve_suspend, "_ENDING_SECONDS", 0.01)
    monkeypatch.setattr(bhyve_control, "request_suspend", made.request)
    monkeypatch.setattr(bhyve_control, "request_checkpoint", made.request)
    monkeypatch.setattr(bhyve_control, "await_served", made.served)
    monkeypatch.setattr(bhyve_control, "Stub", Stub)
    return made


def machine_of(host: Host, mode: str = "auto") -> VmBhyveMachine:
    order = {"home": str(host.home), "machine": {"guest": "web", "mode": mode}}
    return VmBhyveMachine.from_order(order, host)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    folder = tmp_path / ".ckptree"
    folder.mkdir()
    return folder / "node.ckp"


def with_stub(host: Host) -> None:
    (host.home / "web.conf").write_text(f'{CONF}bhyve_options="-G 127.0.0.1:5555"\n')


def test_a_suspended_guest_is_resumed_from_files_that_have_another_name(
    host: Host, memory: Path
) -> None:
    machine = machine_of(host)
    machine.save(str(memory), 5)
    assert memory.stat().st_mode & 0o777 == 0o600
    machine.release(5)
    assert host.events == ["look for .save", "fence", "save", "no fence", "resume"]
    assert list(memory.parent.iterdir()) == []


def test_a_suspended_guest_that_is_ended_is_off_already(host: Host, memory: Path) -> None:
    machine = machine_of(host)
    machine.save(str(memory), 5)
    machine.end(5)
    assert host.events[-1] == "no fence"
    assert memory.exists()
    machine.end(5)
    assert host.events[-1] == "power off"


def test_a_guest_with_a_stub_is_held_and_let_go(host: Host, memory: Path) -> None:
    with_stub(host)
    machine = machine_of(host)
    machine.save(str(memory), 5)
    machine.release(5)
    assert host.events == ["hold 5555", "stopped", "save", "let go"]


def test_a_guest_that_its_stub_holds_is_killed_before_it_is_let_go(
    host: Host, memory: Path
) -> None:
    with_stub(host)
    machine = machine_of(host, "checkpoint")
    machine.save(str(memory), 5)
    machine.end(5)
    assert host.events == ["hold 5555", "stopped", "save", "kill", "let go"]


@pytest.mark.parametrize("mode", ["suspend", "checkpoint"])
def test_a_save_that_fails_leaves_the_guest_running(host: Host, memory: Path, mode: str) -> None:
    with_stub(host)
    host.writes = write_half
    with pytest.raises(StepFailed, match="bhyve could not save web"):
        machine_of(host, mode).save(str(memory), 0.2)
    assert host.events[-1] in {"no fence", "let go"}
    assert not set(host.events) & {"boot", "resume", "kill"}
    assert list(memory.parent.iterdir()) == []


def test_files_that_are_not_whole_cost_the_memory_and_not_the_guest(
    host: Host, memory: Path
) -> None:
    host.writes = write_short
    with pytest.raises(StepFailed, match=r"was not saved: .* has 512 bytes where the guest has"):
        machine_of(host).save(str(memory), 5)
    assert host.events[-1] == "boot"
    assert "what the guest had in memory only is lost" in host.said[-1]


def test_a_resume_that_fails_starts_the_guest_from_its_disks(host: Host, memory: Path) -> None:
    machine = machine_of(host)
    machine.save(str(memory), 5)
    host.refuses_resume = True
    with pytest.raises(StepFailed, match="it was started from its disks instead"):
        machine.release(5)
    assert host.events[-1] == "boot"
    assert list(memory.parent.iterdir()) == []


def test_a_guest_that_is_saved_too_late_is_minded_until_it_goes_on(
    host: Host, memory: Path
) -> None:
    host.ends.clear()
    before = set(threading.enumerate())
    with pytest.raises(StepFailed, match=r"in time; it stands still until bhyve \(pid 12\)"):
        machine_of(host).save(str(memory), 0.05)
    (minder,) = set(threading.enumerate()) - before
    assert not minder.daemon, "the keeper must not end before it"
    assert "no fence" not in host.events
    host.ends.set()
    minder.join(5)
    assert host.events[-2:] == ["no fence", "resume"]
    assert host.said == ["the guest was saved later than it was waited for; the guest was resumed"]
    assert list(memory.parent.iterdir()) == []


def test_a_late_save_that_fails_leaves_the_guest_running(host: Host, memory: Path) -> None:
    host.ends.clear()
    host.writes = write_half
    before = set(threading.enumerate())
    with pytest.raises(StepFailed, match="in time"):
        machine_of(host).save(str(memory), 0.05)
    (minder,) = set(threading.enumerate()) - before
    host.ends.set()
    minder.join(5)
    assert host.events[-1] == "no fence"
    assert host.said == ["bhyve could not save the guest, which runs on"]
    assert list(memory.parent.iterdir()) == []


def test_a_request_of_which_nothing_came_is_told_in_its_words(
    host: Host, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StepFailed("connect() failed: Connection refused")

    monkeypatch.setattr(bhyve_control, "request_suspend", refused)
    host.wanted = str(memory)
    with pytest.raises(StepFailed, match="Connection refused"):
        machine_of(host).save(str(memory), 5)
    assert host.events[-1] == "no fence"


def test_a_guest_that_somebody_else_let_go_is_told(host: Host, memory: Path) -> None:
    with_stub(host)
    machine = machine_of(host)
    host.held = False
    with pytest.raises(StepFailed, match="was not held while it was saved"):
        machine.save(str(memory), 5)
    assert list(memory.parent.iterdir()) == []


@pytest.mark.parametrize("verb", ["release", "end"])
def test_a_guest_that_somebody_else_let_go_while_it_was_held_is_lost_and_left_alone(
    host: Host, memory: Path, verb: str
) -> None:
    with_stub(host)
    machine = machine_of(host)
    machine.save(str(memory), 5)
    host.held = False
    with pytest.raises(HoldLost, match="was let go by something else"):
        getattr(machine, verb)(5)
    assert host.events[-1] == "let go"
    assert "kill" not in host.events


@pytest.mark.parametrize("verb", ["release", "end"])
def test_a_suspended_guest_that_somebody_else_started_is_lost_and_left_alone(
    host: Host, memory: Path, verb: str
) -> None:
    machine = machine_of(host)
    machine.save(str(memory), 5)
    host.found = RUNNING
    with pytest.raises(HoldLost, match=r"was started by something else .*bhyve \(pid 12\)"):
        getattr(machine, verb)(5)
    assert host.events[-1] == "no fence"


@pytest.mark.parametrize(
    ("mode", "found", "complaint"),
    [
        ("disks", RUNNING, "mode: disks"),
        ("checkpoint", RUNNING, "no GDB stub"),
        ("suspend", Processes(bhyve=12), "was not started by vm-bhyve"),
        ("suspend", Processes(loop=11), "vm-bhyve is starting or ending it"),
        ("suspend", Processes(), "it is off"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_left_alone(
    host: Host, memory: Path, mode: str, found: Processes, complaint: str
) -> None:
    host.found = found
    with pytest.raises(StepFailed, match=complaint):
        machine_of(host, mode).save(str(memory), 5)
    assert "save" not in host.events


def test_memory_that_vm_bhyve_would_not_resume_is_not_even_saved(
    host: Host, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_bhyve, "why_not_resuming", lambda: "run 'vm set suspend=on'")
    with pytest.raises(StepFailed, match="suspend=on"):
        machine_of(host).save(str(memory), 5)
    with pytest.raises(StepFailed, match="suspend=on"):
        machine_of(host).start(str(memory), 5)
    assert "save" not in host.events


def test_after_its_start_a_guest_is_vm_bhyves_own(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([GuestState(Running.UNKNOWN, "why"), GuestState(Running.OFF)])
    monkeypatch.setattr(vm_bhyve, "look", lambda _guest, _home: next(states))
    machine = machine_of(host)
    assert machine.running() == "why"
    assert machine.running() is None
    machine.start(None, 5)
    assert machine.running() is None
    machine.shut_down(5)
    assert host.events == ["boot", "shut down"]
