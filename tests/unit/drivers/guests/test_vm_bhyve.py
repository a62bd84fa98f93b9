"""What ckptree can do with a guest of vm-bhyve, and what it asks vm-bhyve for."""

import fcntl
import os
from pathlib import Path

import pytest

from reconciler.drivers.guests import vm_bhyve
from reconciler.drivers.guests.bhyve import BhyveGuest
from reconciler.drivers.guests.choose import guest_of
from reconciler.drivers.guests.vm_bhyve import VmBhyveGuest
from reconciler.errors import StepFailed
from reconciler.model.desired import DesiredVm, FileDisk, SourcePosition, VmBhyve
from reconciler.model.observed import GuestState, Running
from reconciler.names import Dataset, VmName

CONF = 'loader="uefi"\ncpu=1\nmemory=64M\ndisk0_type=virtio-blk\ndisk0_name=a\n'
OFF, RUNNING = GuestState(Running.OFF), GuestState(Running.RUNNING, "bhyve (pid 12)")


class World:
    """What the guest's surroundings say."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = OFF
        self.keeper: GuestState | None = None
        self.refuses_to_resume = ""
        self.commands: list[str] = []

    def guest(self, mode: str = "auto") -> VmBhyveGuest:
        desired = DesiredVm(
            vm=VmName("web"),
            dataset=Dataset("tank/vm/web"),
            disks=(FileDisk("a"),),
            nodes=(),
            position=SourcePosition("web.yaml", 1, 1),
            digest="",
            hypervisor=VmBhyve(guest="web", mode=mode),
        )
        found = guest_of(desired, str(self.home))
        assert isinstance(found, VmBhyveGuest)
        return found

    def shut_down(self, until: float) -> None:
        assert until > 0
        self.commands.append("shut down")

    def tidy(self) -> None:
        self.commands.append("tidy")

    def power_off(self, until: float) -> None:
        assert until > 0
        self.commands.append("power off")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    (tmp_path / "web.conf").write_text(CONF)
    monkeypatch.setattr(vm_bhyve, "find", lambda name: f"/usr/local/sbin/{name}")
    monkeypatch.setattr(vm_bhyve, "look", lambda _guest, _home: made.state)
    monkeypatch.setattr(vm_bhyve, "why_not_resuming", lambda: made.refuses_to_resume)
    monkeypatch.setattr(vm_bhyve, "Loop", lambda *_: made)
    monkeypatch.setattr(BhyveGuest, "_host_refuses", "")
    monkeypatch.setattr(BhyveGuest, "kept", lambda _self: made.keeper)
    return made


def test_a_guest_as_it_should_be_can_be_managed_with_its_memory(world: World) -> None:
    ability = world.guest().probe()
    assert (ability.managed, ability.memory, ability.why_not) == (True, True, "")
    assert ability.ram == 64 << 20
    assert ability.longest_path == 250
    assert ";devices=" in ability.fingerprint
    assert world.guest().name == "vm-bhyve"


def test_a_guest_that_runs_is_no_foreign_one(world: World) -> None:
    world.state = RUNNING
    assert world.guest().state() == RUNNING
    assert world.guest().probe().managed


def test_without_vm_bhyve_or_a_conf_nothing_can_be_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.home / "web.conf").rename(world.home / "other.conf")
    ability = world.guest().probe()
    assert not ability.managed
    assert (
        ability.why_not == f"there is no {world.home}/web.conf, by which vm-bhyve finds the guest"
    )
    (world.home / "web.conf").mkdir()
    assert "Is a directory" in world.guest().probe().why_not

    def absent(name: str) -> str:
        raise FileNotFoundError(name)

    monkeypatch.setattr(vm_bhyve, "find", absent)
    assert world.guest().probe().why_not == "this host has no vm-bhyve"


@pytest.mark.parametrize(
    ("more", "mode", "why_not"),
    [
        ("disk1_type=nvme\ndisk1_name=b\n", "auto", "nvme (disk1)"),
        ("sound=yes\n", "auto", "hda (sound)"),
        ("", "checkpoint", "-G 127.0.0.1:PORT"),
        ("", "disks", "mode: disks"),
    ],
)
def test_what_keeps_memory_from_being_saved_is_named(
    world: World, more: str, mode: str, why_not: str
) -> None:
    (world.home / "web.conf").write_text(CONF + more)
    ability = world.guest(mode).probe()
    assert ability.managed
    assert not ability.memory
    assert why_not in ability.why_not


def test_memory_that_vm_bhyve_would_not_resume_is_not_saved(world: World) -> None:
    world.refuses_to_resume = "run 'vm set suspend=on'"
    assert world.guest().probe().why_not == "run 'vm set suspend=on'"


def test_a_guest_whose_directory_has_a_long_path_cannot_be_resumed(
    world: World, tmp_path: Path
) -> None:
    world.home = tmp_path / ("x" * 250)
    world.home.mkdir()
    (world.home / "web.conf").write_text(CONF)
    assert "longer than bhyve can take" in world.guest().probe().why_not


def test_a_conf_that_was_changed_since_the_start_is_not_what_the_guest_is(world: World) -> None:
    world.state = RUNNING
    conf, lock = world.home / "web.conf", world.home / "run.lock"
    lock.write_text("host\n")
    os.utime(conf, (1000, 1000))
    os.utime(lock, (1001, 1001))
    assert world.guest().probe().memory
    os.utime(conf, (1002, 1002))
    assert "was changed after the guest was started" in world.guest().probe().why_not
    world.state = OFF  # and a lock is left
    assert world.guest().probe().memory


def test_stopping_asks_or_does_not_ask(world: World) -> None:
    world.guest().stop(now=True)
    assert world.commands == []
    world.state = RUNNING
    world.guest().stop(now=False)
    world.guest().stop(now=True)
    assert world.commands == ["shut down", "power off"]


def test_tidying_up_waits_for_the_keeper(world: World) -> None:
    world.guest().tidy()
    assert world.commands == ["tidy"]
    lock = world.home / ".ckptree" / "keeper.lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        world.guest().tidy()
    assert world.commands == ["tidy"]


def test_a_guest_of_which_nothing_is_known_or_that_a_keeper_holds_is_not_stopped(
    world: World,
) -> None:
    world.state = GuestState(Running.UNKNOWN, "run.lock of another host")
    with pytest.raises(StepFailed, match=r"run\.lock of another host"):
        world.guest().stop(now=True)
    world.keeper = GuestState(Running.RUNNING, "frozen by ckptree")
    assert world.guest().state() == world.keeper
    with pytest.raises(StepFailed, match="the keeper of web is at work: frozen by ckptree"):
        world.guest().stop(now=True)
    assert world.commands == []
