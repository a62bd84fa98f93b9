"""The keeper as a process, over its socket: whatever becomes of those who call it, the guest goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.drivers import command
from reconciler.drivers.command import run
from reconciler.drivers.guests.client import Order
from reconciler.errors import CommandFailed, HoldLost, StepFailed
from reconciler.model.observed import Running
from tests.unit.keeper.conftest import FakeGuest, World, eventually

HOLDER = """
import sys, os, signal
from pathlib import Path
from reconciler import paths
from reconciler.drivers.command import run
from reconciler.drivers.guests.client import Order
from tests.unit.keeper.conftest import FakeGuest
paths.RUN = Path(sys.argv[1])
guest = FakeGuest("fake", Order(vm="web", home=sys.argv[2], machine={"kind": "fake"}))
with guest.frozen(sys.argv[3]):
    print("held", flush=True)
    exec(sys.argv[4])
"""


def holder(world: World, inside: str = "sys.stdin.read()") -> subprocess.Popen[str]:
    """Another ckptree that holds the guest frozen and does something INSIDE."""
    run = str(Path(world.order.socket).parent)
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, run, str(world.home), world.memory, inside],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def raw(world: World) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(world.order.socket)
    return connection


def test_a_guest_is_started_kept_and_found_again(world: World) -> None:
    assert world.guest.state().running is Running.OFF
    world.guest.start()
    world.restart_ckptree()
    state = world.guest.state()
    assert (state.running, state.proof) == (Running.RUNNING, "the file is there")
    assert world.guest.running_topology() == "made of files"
    with pytest.raises(StepFailed, match="running: the file is there"):
        world.guest.start()
    assert world.verbs() == ["start"]


def test_what_holds_the_guest_frozen_is_let_go_when_the_context_is_left(world: World) -> None:
    world.guest.start()
    with world.guest.frozen(world.memory):
        assert Path(world.memory).read_text() == "fresh"
        assert world.verbs() == ["start", "save"]
    assert world.verbs() == ["start", "save", "release"]


def test_an_error_inside_lets_the_guest_go_on_and_is_not_hidden(world: World) -> None:
    world.guest.start()
    with pytest.raises(ValueError, match="no space"), world.guest.frozen(world.memory):
        raise ValueError("no space")
    assert world.verbs()[-1] == "release"


def test_a_killed_ckptree_never_leaves_the_guest_frozen(world: World) -> None:
    world.guest.start()
    process = holder(world)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert world.verbs() == ["start", "save"]
    end(process)
    eventually(lambda: world.verbs() == ["start", "save", "release"])
    assert "its caller failed" in world.log()
    assert world.guest.state().running is Running.RUNNING


def test_a_ckptree_killed_while_the_guest_is_being_saved_does_not_leave_it_frozen(
    world: World,
) -> None:
    world.guest.start()
    world.set("slow-save", "1")
    process = holder(world)
    eventually(lambda: "save" in world.verbs())
    end(process)
    eventually(lambda: world.verbs() == ["start", "save", "release"])


def test_the_guest_stays_frozen_for_a_program_that_a_killed_ckptree_left(world: World) -> None:
    world.guest.start()
    process = holder(world, f'run(["sh", "-c", "sleep 1; touch {world.home}/snapshot"], timeout=9)')
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    end(process)
    eventually(lambda: world.verbs()[-1] == "release" or (world.home / "snapshot").exists())
    assert (world.home / "snapshot").exists()
    eventually(lambda: world.verbs() == ["start", "save", "release"])


def test_a_keeper_that_is_started_meanwhile_does_not_keep_the_guest_frozen(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", "db")
    world.guest.start()
    with suppress(KeyboardInterrupt), world.guest.frozen(world.memory):
        other.guest.start()
        raise KeyboardInterrupt
    eventually(lambda: world.verbs() == ["start", "save", "release"], 5)
    other.guest.stop(now=True)


def test_the_state_is_told_while_another_holds_the_guest(world: World) -> None:
    world.guest.start()
    with world.guest.frozen(world.memory):
        world.set("slow-release", "0.3")
        (world.home / "on").rename(world.home / "away")
        state = world.guest.state()
        (world.home / "away").rename(world.home / "on")
    assert (state.running, state.proof) == (
        Running.RUNNING,
        "frozen by ckptree, its memory is saved",
    )


def test_the_state_is_told_while_the_guest_is_being_saved(world: World) -> None:
    world.guest.start()
    world.set("slow-save", "2")
    thread = threading.Thread(target=lambda: _freeze_once(world))
    thread.start()
    eventually(lambda: "save" in world.verbs())
    began = time.monotonic()
    assert world.guest.state().running is Running.RUNNING
    assert time.monotonic() - began < 1.5
    thread.join()


def _freeze_once(world: World) -> None:
    with world.guest.frozen(world.memory):
        pass


def test_a_second_caller_waits_for_the_first(world: World) -> None:
    world.guest.start()
    process = holder(world)
    assert process.stdout is not None
    process.stdout.readline()
    with raw(world) as second:
        request = {"do": "freeze", "memory": f"{world.memory}2", "seconds": 0.1}
        second.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(second.makefile().readline())
    assert "busy for another caller ('freeze')" in answer["error"]
    process.communicate("")
    with world.guest.frozen(f"{world.memory}3"):
        pass
    assert world.verbs() == ["start", "save", "release", "save", "release"]


def test_a_caller_that_does_nothing_is_bounded(world: World) -> None:
    world.guest.start()
    with raw(world) as caller:
        request = {"do": "freeze", "memory": world.memory, "seconds": 10, "hold": 0.2}
        caller.sendall(json.dumps(request).encode() + b"\n")
        answers = caller.makefile().readlines()  # to the end of the connection
    assert [json.loads(answer) for answer in answers] == [{"ok": True}]
    assert world.verbs() == ["start", "save", "release"]


def test_a_hold_that_ended_by_itself_is_an_error_for_who_believed_in_it(world: World) -> None:
    world.guest.start()
    with pytest.raises(StepFailed, match="no longer held"), world.guest.frozen(world.memory):
        os.kill(world.keeper() or 0, signal.SIGKILL)


@pytest.mark.parametrize(
    "bytes_sent",
    [b"\n", b"{\n", b"\xff\xfe\n", b"[]\n", b"[" * 70000 + b"\n", b"x" * 70000],
)
def test_garbage_on_the_socket_changes_nothing(world: World, bytes_sent: bytes) -> None:
    world.guest.start()
    with raw(world) as caller:
        caller.sendall(bytes_sent)
        with suppress(ConnectionResetError):
            assert caller.recv(100) == b""
    assert world.guest.state().running is Running.RUNNING


@pytest.mark.parametrize(
    "request_sent",
    [
        {"do": "dance"},
        {"do": ["state"]},
        {"do": "start", "memory": 7},
        {"do": "freeze", "seconds": 1},
        {"do": "freeze", "memory": "/x", "seconds": "soon"},
        {"do": "freeze", "memory": "/x", "seconds": float("nan")},
        {"do": "stop", "seconds": -1},
        {"do": "thaw"},
        {},
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(
    world: World, request_sent: dict[str, object]
) -> None:
    world.guest.start()
    with raw(world) as caller:
        caller.sendall(json.dumps(request_sent).encode() + b"\n")
        answer = json.loads(caller.makefile().readline())
    assert answer["ok"] is False
    assert answer["error"]
    assert world.verbs() == ["start"]


def test_garbage_from_who_holds_the_guest_lets_it_go_on(world: World) -> None:
    world.guest.start()
    with raw(world) as caller:
        request = {"do": "freeze", "memory": world.memory, "seconds": 10}
        caller.sendall(json.dumps(request).encode() + b"\nnonsense\n")
        caller.makefile().readlines()
    assert world.verbs() == ["start", "save", "release"]


def test_a_save_that_fails_is_told_with_its_reason(world: World) -> None:
    world.guest.start()
    world.set("save", "the disk is full")
    with pytest.raises(StepFailed, match="the disk is full"), world.guest.frozen(world.memory):
        pytest.fail("nothing is frozen")
    assert world.guest.state().running is Running.RUNNING


def test_a_bug_in_a_save_lets_the_guest_go_on_and_is_one_sentence(world: World) -> None:
    world.guest.start()
    world.set("bug-save")
    with pytest.raises(StepFailed, match="ZeroDivisionError"), world.guest.frozen(world.memory):
        pytest.fail("nothing is frozen")
    assert world.verbs() == ["start", "save", "release"]
    assert "Traceback" not in world.log()


def test_a_bug_in_the_state_neither_ends_the_keeper_nor_the_guest(world: World) -> None:
    world.guest.start()
    before = world.keeper()
    world.set("bug-running")
    state = world.guest.state()
    assert state.running is Running.UNKNOWN
    assert "ZeroDivisionError" in state.proof
    eventually(lambda: world.log().count("ZeroDivisionError") > 2)
    (world.home / "bug-running").unlink()
    assert world.guest.state().running is Running.RUNNING
    assert world.keeper() == before


def test_a_guest_that_cannot_go_on_is_an_error_at_the_end(world: World) -> None:
    world.guest.start()
    world.set("release", "it is gone")
    with pytest.raises(StepFailed, match="it is gone"), world.guest.frozen(world.memory):
        pass
    assert "it is gone" in world.log()


def test_both_errors_are_told(world: World) -> None:
    world.guest.start()
    world.set("release", "it is gone")
    with (
        pytest.raises(StepFailed, match="no space; and then the guest did not go on: it is gone"),
        world.guest.frozen(world.memory),
    ):
        raise StepFailed("no space")


def test_a_guest_that_went_on_before_the_thaw_is_a_hold_that_was_lost(world: World) -> None:
    world.guest.start()
    world.set("lost-release")
    with pytest.raises(HoldLost, match="it went on before"), world.guest.frozen(world.memory):
        pass
    assert "it went on before" in world.log()
    with (
        pytest.raises(HoldLost, match="no space; and it went on before"),
        world.guest.frozen(world.memory + "2"),
    ):
        raise StepFailed("no space")


def test_a_guest_that_went_on_before_its_end_is_a_hold_that_was_lost(world: World) -> None:
    world.guest.start()
    world.set("lost-end")
    with (
        pytest.raises(HoldLost, match="it went on before"),
        world.guest.frozen(world.memory) as hold,
    ):
        hold.end()
    assert world.verbs() == ["start", "save", "end"]
    assert world.guest.state().running is Running.RUNNING


def test_a_caller_that_is_there_after_its_time_does_not_get_an_answer_that_is_no_loss(
    world: World,
) -> None:
    world.guest.start()
    world.set("release", "it is gone")
    with raw(world) as caller:
        request = {"do": "freeze", "memory": world.memory, "seconds": 10, "hold": 0.2}
        caller.sendall(json.dumps(request).encode() + b"\n")
        assert [json.loads(line) for line in caller.makefile().readlines()] == [{"ok": True}]


@pytest.fixture
def stuck(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Runs a program that is stuck in the kernel, and cannot be killed, until there is a file ``unstuck``."""
    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(command, "_kill", left.append)  # none: it has not ended
    monkeypatch.setattr(command, "_PATIENCE", 0.1)
    script = f"while [ ! -e {world.home}/unstuck ]; do sleep 0.05; done"

    def run_stuck() -> None:
        run(["sh", "-c", script], timeout=0.1)

    yield run_stuck
    world.set("unstuck")
    for process in left:
        process.wait(20)


def test_a_program_that_cannot_be_ended_keeps_the_guest_frozen_until_it_has(
    world: World, stuck: Callable[[], None]
) -> None:
    world.guest.start()
    with (
        pytest.raises(StepFailed, match=r"in time.*stays frozen until it has, for 3600 s"),
        world.guest.frozen(world.memory),
    ):
        stuck()
    time.sleep(0.3)
    assert world.verbs() == ["start", "save"]
    world.set("unstuck")
    eventually(lambda: world.verbs() == ["start", "save", "release"])


def test_nobody_says_thaw_while_a_program_is_stuck_that_another_thread_ran(
    world: World, stuck: Callable[[], None]
) -> None:
    world.guest.start()
    with (
        pytest.raises(StepFailed, match="stays frozen"),
        world.guest.frozen(world.memory),
        suppress(CommandFailed),
    ):
        stuck()
    assert world.verbs() == ["start", "save"]
    world.set("unstuck")
    eventually(lambda: world.verbs() == ["start", "save", "release"])


def test_a_program_that_has_ended_after_all_keeps_nothing(
    world: World, stuck: Callable[[], None]
) -> None:
    world.guest.start()
    with world.guest.frozen(world.memory):
        with suppress(CommandFailed):
            stuck()
        world.set("unstuck")
        time.sleep(0.5)
    assert world.verbs() == ["start", "save", "release"]


def test_a_held_guest_that_is_ended_is_off_and_its_keeper_too(world: World) -> None:
    world.guest.start()
    with world.guest.frozen(world.memory) as hold:
        hold.end()
        state = world.guest.state()
    assert state.running is Running.OFF
    assert state.proof.endswith("switched off on request")
    assert world.verbs() == ["start", "save", "end"]
    eventually(lambda: world.keeper() is None)


def test_a_held_guest_that_cannot_be_ended_goes_on(world: World) -> None:
    world.guest.start()
    world.set("end", "it does not die")
    with (
        world.guest.frozen(world.memory) as hold,
        pytest.raises(StepFailed, match="it does not die"),
    ):
        hold.end()
    assert world.verbs() == ["start", "save", "end", "release"]


def test_memory_is_used_up_by_the_start(world: World) -> None:
    Path(world.memory).write_text("what it was")
    world.guest.start(world.memory)
    assert world.verbs() == ["start from .resumed.ckp"]
    assert (world.home / "on").read_text() == "what it was"
    assert list(Path(world.memory).parent.iterdir()) == []


def test_memory_is_used_up_by_a_start_that_fails(world: World) -> None:
    Path(world.memory).write_text("what it was")
    world.set("start", "bhyve would not")
    with pytest.raises(StepFailed, match="bhyve would not"):
        world.guest.start(world.memory)
    (world.home / "start").unlink()
    with pytest.raises(StepFailed, match="no such file"):
        world.guest.start(world.memory)
    world.guest.start()
    assert world.verbs() == ["start from .resumed.ckp", "start"]


def test_stop_asks_and_stop_now_does_not(world: World) -> None:
    world.guest.start()
    world.guest.stop(now=False)
    assert world.guest.state().running is Running.OFF
    world.guest.stop(now=False)
    world.guest.start()
    world.guest.stop(now=True)
    assert world.verbs() == ["start", "shut_down", "start", "end"]


def test_a_guest_that_does_not_shut_down_runs_on(world: World) -> None:
    world.guest.start()
    world.set("shut_down", "it did not want to")
    with pytest.raises(StepFailed, match="did not want to"):
        world.guest.stop(now=False)
    assert world.guest.state().running is Running.RUNNING


def test_the_keeper_ends_with_its_guest(world: World) -> None:
    world.guest.start()
    (world.home / "on").unlink()
    eventually(lambda: world.keeper() is None)
    assert not Path(world.order.socket).exists()
    world.guest.start()
    assert world.guest.state().running is Running.RUNNING


def test_a_start_right_after_the_end_of_the_guest_gets_a_keeper_of_its_own(world: World) -> None:
    world.guest.start()
    first = world.keeper()
    (world.home / "on").unlink()
    world.guest.start()
    assert world.keeper() != first


def test_the_socket_is_made_again_if_it_vanishes(world: World) -> None:
    world.guest.start()
    Path(world.order.socket).unlink()
    assert world.guest.state().running is Running.RUNNING
    assert "made again" in world.log()


def test_a_keeper_without_a_socket_makes_the_state_unknown_and_not_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.guests.client._PATIENCE", 0.1)
    world.guest.start()
    os.kill(world.keeper() or 0, signal.SIGSTOP)
    try:
        Path(world.order.socket).unlink()
        state = world.guest.state()
    finally:
        os.kill(world.keeper() or 0, signal.SIGCONT)
    assert state.running is Running.UNKNOWN
    assert "does not answer" in state.proof


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_does_not_end_the_keeper(world: World, number: signal.Signals) -> None:
    world.guest.start()
    before = world.keeper()
    os.kill(before or 0, number)
    time.sleep(0.2)
    assert world.guest.state().running is Running.RUNNING
    assert world.keeper() == before


def test_one_home_has_one_keeper(world: World) -> None:
    world.guest.start()
    Path(world.order.socket).unlink()
    with pytest.raises(StepFailed, match=r"kept by another process already \(pid \d+\)"):
        world.guest._spawn()


def test_another_home_with_a_vm_of_this_name_is_not_taken_for_ours(
    world: World, tmp_path: Path
) -> None:
    world.guest.start()
    other = tmp_path / "other"
    other.mkdir()
    world_there = World(other)
    state = world_there.guest.state()
    assert state.running is Running.UNKNOWN
    assert "another VM of this name" in state.proof
    with pytest.raises(StepFailed, match="another VM of this name"):
        world_there.guest.start()


def test_a_keeper_that_nobody_used_starts_no_guest_by_an_older_order(world: World) -> None:
    world.guest._spawn()
    first = world.keeper()
    order = Order(vm="web", home=str(world.home), machine={"kind": "fake", "edited": True})
    FakeGuest("fake", order).start()
    assert world.verbs() == ["start"]
    assert world.keeper() != first


def test_a_keeper_that_nobody_used_starts_the_guest_of_its_order(world: World) -> None:
    world.guest._spawn()
    first = world.keeper()
    world.restart_ckptree()
    world.guest.start()
    assert world.keeper() == first


def test_a_guard_holds_a_guest_once_and_ends(world: World) -> None:
    world.set("on", "somebody else started it")
    order = Order(vm="web", home=str(world.home), machine={"kind": "fake"}, guard=True)
    guard = FakeGuest("fake", order)
    for number in range(2):
        with guard.frozen(f"{world.memory}{number}"):
            assert world.keeper() is not None
    eventually(lambda: world.keeper() is None)
    assert world.verbs() == ["save", "release"] * 2


def test_a_keeper_whose_order_is_wrong_says_why(world: World) -> None:
    order = Order(vm="no such/name", home=str(world.home), machine={"kind": "fake"})
    with pytest.raises(StepFailed, match="is not a VM name"):
        FakeGuest("fake", order)._spawn()


def test_the_socket_and_the_log_are_private(world: World) -> None:
    world.guest.start()
    assert Path(world.order.socket).stat().st_mode & 0o077 == 0
    assert Path(world.order.socket).parent.stat().st_mode & 0o077 == 0
    assert Path(world.order.log).stat().st_mode & 0o077 == 0
