"""What the service manager is told, over a real socket of datagrams."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.drivers.readiness import Readiness


class Manager:
    """Listens as a service manager does, at ADDRESS."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def silent(self) -> bool:
        self.socket.settimeout(0)
        with suppress(BlockingIOError):
            self.socket.recv(4096)
            return False
        return True


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def readiness(manager: Manager, tmp_path: Path) -> Readiness:  # noqa: ARG001 - it listens first
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    return Readiness(environment, monotonic=lambda: 5_000_000_123)


def test_ready_is_said(readiness: Readiness, manager: Manager) -> None:
    readiness.ready()
    assert manager.heard() == ["READY=1"]


def test_a_reload_is_said_with_the_time_in_microseconds(
    readiness: Readiness, manager: Manager
) -> None:
    readiness.reloading()
    assert manager.heard() == ["RELOADING=1", "MONOTONIC_USEC=5000000"]


def test_the_end_and_the_status_are_said(readiness: Readiness, manager: Manager) -> None:
    readiness.stopping()
    assert manager.heard() == ["STOPPING=1"]
    readiness.status("12 VMs\nof 3 documents")
    assert manager.heard() == ["STATUS=12 VMs of 3 documents"]


def test_an_empty_status_is_not_sent(readiness: Readiness, manager: Manager) -> None:
    readiness.status("")
    assert manager.silent()


def test_the_time_is_the_clock_that_the_manager_compares_with(
    manager: Manager, tmp_path: Path
) -> None:
    Readiness({"NOTIFY_SOCKET": str(tmp_path / "notify")}).reloading()
    told = int(manager.heard()[1].removeprefix("MONOTONIC_USEC="))
    assert 0 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - told < 60_000_000


def test_what_is_started_later_cannot_speak_for_the_daemon(
    monkeypatch: pytest.MonkeyPatch, manager: Manager, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    Readiness().ready()
    assert "NOTIFY_SOCKET" not in os.environ
    assert manager.heard() == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    readiness = Readiness(environment)
    assert not readiness.heard
    readiness.ready()
    readiness.stopping()


def test_a_manager_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    readiness = Readiness({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert readiness.heard
    readiness.ready()


def test_a_manager_that_hangs_does_not_hang_the_daemon(
    readiness: Readiness, manager: Manager
) -> None:
    for number in range(5000):
        readiness.status(f"{number}")
    assert manager.heard() == ["STATUS=0"]
