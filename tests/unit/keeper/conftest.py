"""A home with a keeper that is the real program, but for the guest."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.drivers.guests import client
from reconciler.drivers.guests.client import Kept, Order
from reconciler.model.observed import Ability


class FakeGuest(Kept):
    """What ckptree sees of the guest in ``fake_keeper``."""

    def probe(self) -> Ability:
        return Ability(managed=True, memory=True, why_not="", ram=1 << 20)


class World:
    """One home: what was done to its guest, its keeper, its log."""

    def __init__(self, home: Path, vm: str = "web") -> None:
        self.home = home
        self.order = Order(vm=vm, home=str(home), machine={"kind": "fake"})
        self.guest = FakeGuest("fake", self.order)
        self.memory = str(home / "b-1" / ".ckptree" / "base.ckp")

    def verbs(self) -> list[str]:
        path = self.home / "verbs"
        return path.read_text().splitlines() if path.exists() else []

    def set(self, name: str, text: str = "") -> None:
        (self.home / name).write_text(text)

    def log(self) -> str:
        return Path(self.order.log).read_text()

    def keeper(self) -> int | None:
        """The pid of the keeper that holds the lock."""
        holder = self.guest._lock_holder()
        return int(holder.removeprefix("pid ")) if holder and holder != "no pid yet" else None

    def restart_ckptree(self) -> None:
        self.guest = FakeGuest("fake", self.order)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    program = Path(__file__).with_name("fake_keeper.py")
    monkeypatch.setattr(client, "KEEPER", (str(program),))
    home = tmp_path / "home"
    (home / "b-1" / ".ckptree").mkdir(parents=True)
    world = World(home)
    yield world
    pid = world.keeper()
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def eventually(check: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until CHECK holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
