"""This side of a keeper: what is concluded when it does not answer as it should (its service: keeper/test_server)."""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.drivers.guests import client
from reconciler.drivers.guests.client import Kept, Order
from reconciler.drivers.guests.unmanaged import UnmanagedGuest
from reconciler.errors import StepFailed
from reconciler.model.desired import DesiredVm, SourcePosition
from reconciler.model.observed import Ability, Running
from reconciler.names import Dataset, VmName


class Guest(Kept):
    def probe(self) -> Ability:
        return Ability(managed=True, memory=True, why_not="", ram=2_000_000_000)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(client, "_PATIENCE", 0.1)
    (tmp_path / "run").mkdir()
    (tmp_path / "home" / ".ckptree").mkdir(parents=True)
    return Guest("fake", Order(vm="web", home=str(tmp_path / "home"), machine={"kind": "fake"}))


@contextmanager
def keeper(guest: Guest, answer: Callable[[dict[str, object]], bytes]) -> Iterator[list[object]]:
    """A keeper that says what ANSWER makes of each first request, and closes."""
    asked: list[object] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(guest._order.socket)
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile() as lines:
                for line in lines:
                    request = json.loads(line)
                    asked.append(request)
                    if request["do"] == "close":
                        return
                    said = answer(request)
                    if not said:
                        break
                    connection.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(guest._order.socket)
            last.sendall(b'{"do": "close"}\n')
        thread.join()
        listener.close()


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_no_keeper_means_off_and_the_log_tells_why(guest: Guest) -> None:
    assert guest.state().proof == ""
    Path(guest._order.log).write_text("first\n2026 bhyve ended with exit code 3\n")
    state = guest.state()
    assert (state.running, state.proof) == (Running.OFF, "2026 bhyve ended with exit code 3")


def test_a_held_lock_without_a_socket_means_unknown(guest: Guest) -> None:
    path = Path(guest._order.home, ".ckptree", "keeper.lock")
    path.write_text("pid 42\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = guest.state()
    assert state.running is Running.UNKNOWN
    assert "its keeper (pid 42) does not answer" in state.proof
    assert guest.state().running is Running.OFF


@pytest.mark.parametrize("said", [b"nonsense\n", b"[1]\n"])
def test_a_keeper_that_talks_nonsense_means_unknown(guest: Guest, said: bytes) -> None:
    with keeper(guest, lambda _: said):
        assert guest.state().running is Running.UNKNOWN


def test_a_keeper_that_never_answers_means_unknown(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ASK_SECONDS", 0.1)
    monkeypatch.setattr(client, "_GRACE_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(guest._order.socket)
        listener.listen()
        assert guest.state().running is Running.UNKNOWN


def test_a_guest_that_is_being_started_is_neither_on_nor_off(guest: Guest) -> None:
    home = guest._order.home
    with keeper(guest, lambda _: as_json(ok=True, home=home, running=None, doing="start")):
        state = guest.state()
    assert state.running is Running.UNKNOWN
    assert "busy ('start')" in state.proof


def test_a_keeper_at_work_for_a_caller_that_is_gone_is_waited_for(guest: Guest) -> None:
    """Or the run after one that was killed would find the guest neither on nor off, or the keeper busy."""
    looks = iter(["start", "start", ""])

    def answer(_: dict[str, object]) -> bytes:
        return as_json(ok=True, home=guest._order.home, running=None, doing=next(looks))

    with keeper(guest, answer) as asked:
        guest.tidy()
    assert len(asked) == 3 + 1, "until it has nothing to do, and the end of the test"


def test_the_time_for_a_save_grows_with_the_ram(guest: Guest) -> None:
    with keeper(guest, lambda _: as_json(ok=True)) as asked, guest.frozen("/m.ckp"):
        pass
    assert asked[:2] == [
        {"do": "freeze", "memory": "/m.ckp", "seconds": 160.0, "hold": 3600.0},
        {"do": "thaw", "seconds": 160.0},
    ]


def test_after_its_end_a_hold_asks_for_nothing_more(guest: Guest) -> None:
    with keeper(guest, lambda _: as_json(ok=True)) as asked, guest.frozen("/m.ckp") as hold:
        hold.end()
    assert [request["do"] for request in asked if isinstance(request, dict)][:2] == [
        "freeze",
        "end",
    ]


def test_a_hold_that_was_lost_is_never_silent(guest: Guest) -> None:
    def answer(request: dict[str, object]) -> bytes:
        return as_json(ok=True) if request["do"] == "freeze" else b""

    with (
        keeper(guest, answer),
        pytest.raises(StepFailed, match="may not fit its memory"),
        guest.frozen("/m.ckp"),
    ):
        pass


def test_a_keeper_that_goes_away_while_it_saves_is_an_error_at_the_entry(guest: Guest) -> None:
    Path(guest._order.log).write_text("the last words\n")
    with (
        keeper(guest, lambda _: b""),
        pytest.raises(StepFailed, match="the last words"),
        guest.frozen("/m.ckp"),
    ):
        pytest.fail("nothing is frozen")


def test_a_keeper_that_cannot_be_started_is_told_with_its_words(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "KEEPER", ("-c", "print('it is too late today')"))
    with pytest.raises(StepFailed, match="it is too late today"):
        guest.start()
    monkeypatch.setattr(client, "KEEPER", ("-c", "import sys; sys.exit(3)"))
    with pytest.raises(StepFailed, match=r"did not start: .*exit code 3"):
        guest.start()


def test_a_socket_of_nobody_is_no_keeper(guest: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(guest._order.socket)
    assert os.path.lexists(guest._order.socket)
    assert guest.state().running is Running.OFF


def test_a_guest_of_nobodys_is_left_alone() -> None:
    desired = DesiredVm(
        vm=VmName("web"),
        dataset=Dataset("tank/web"),
        disks=(),
        nodes=(),
        position=SourcePosition("web.yaml", 1, 1),
        digest="",
    )
    guest = UnmanagedGuest(desired)
    assert guest.name == "none"
    assert not guest.probe().managed
    assert guest.state().running is Running.OFF, "whether it runs is told by who uses its disks"
    with pytest.raises(StepFailed, match="not ckptree's to stop and start"):
        guest.start()
    with pytest.raises(StepFailed, match="not ckptree's to stop and start"):
        guest.stop(now=True)
    with pytest.raises(StepFailed, match="memory cannot be saved"), guest.frozen("/m"):
        pytest.fail("nothing is frozen")
    guest.tidy()
