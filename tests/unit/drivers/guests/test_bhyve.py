"""bhyve guests as ckptree sees them: what a host can do is found out before anything is done."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.drivers import command
from reconciler.drivers.guests import bhyve_process, client
from reconciler.drivers.guests.bhyve import BhyveGuest
from reconciler.drivers.guests.choose import guest_of
from reconciler.errors import StepFailed
from reconciler.model.desired import Bhyve, DesiredVm, Disk, FileDisk, SourcePosition, VolumeDisk
from reconciler.model.observed import Running
from reconciler.names import Dataset, VmName
from tests.unit.keeper.conftest import eventually

HERE = Path(__file__).parents[2] / "keeper"
UEFI = "lpc.bootrom=/firmware\nmemory.size=64M\npci.0.0.0.device=hostbridge\npci.0.3.0.device=virtio-blk\n"


class World:
    """A host with a bhyve of a few lines; ``sysctl`` answers with files of its folder."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "sbin"
        self.home = folder / "home"
        self.memory = str(self.home / "base.ckp")
        for path in (self.programs / "run", self.programs / "vmm", self.home):
            path.mkdir(parents=True)
        text = (HERE / "fake_bhyve.py").read_text()
        for name in ("bhyve", "bhyvectl"):
            self.program(name, f"#!{sys.executable} -ES\n{text}")
        self.program("sysctl", f'#!/bin/sh\nexec cat "{self.programs}/$2"\n')
        shutil.copy(HERE / "fake_bhyve_keeper.py", self.programs)
        (self.programs / "kern.conftxt").write_text(
            "options\tGEOM_PART_GPT\noptions\tBHYVE_SNAPSHOT\n"
        )
        (self.programs / "kern.osreldate").write_text("1501502\n")
        (self.programs / "hw.model").write_text("A CPU; of sorts\n")
        (self.home / "dump").write_text(UEFI)

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def guest(self, mode: str = "auto", *disks: Disk) -> BhyveGuest:
        desired = DesiredVm(
            vm=VmName("web"),
            dataset=Dataset("tank/web"),
            disks=disks,
            nodes=(),
            position=SourcePosition("web.yaml", 1, 1),
            digest="",
            hypervisor=Bhyve(config="web.conf", mode=mode),
        )
        found = guest_of(desired, str(self.home))
        assert isinstance(found, BhyveGuest)
        return found

    def keeper(self) -> int:
        holder = self.guest()._lock_holder()
        assert holder is not None
        return int(holder.removeprefix("pid "))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World(tmp_path)
    command.find.cache_clear()
    monkeypatch.setattr(command, "TRUSTED", (str(found.programs), *command.TRUSTED))
    monkeypatch.setattr(bhyve_process, "SOCKETS", found.programs / "run")
    monkeypatch.setattr(bhyve_process, "OBJECTS", found.programs / "vmm")
    monkeypatch.setattr(paths, "RUN", tmp_path / "ckptree")
    monkeypatch.setattr(client, "KEEPER", (str(found.programs / "fake_bhyve_keeper.py"),))
    yield found
    with suppress(StepFailed):
        found.guest().stop(now=True)
    for path in (found.programs / "vmm").iterdir():
        path.write_text("poweroff")
    command.find.cache_clear()


def test_a_host_that_can_says_so(world: World) -> None:
    ability = world.guest().probe()
    assert (ability.managed, ability.memory, ability.why_not) == (True, True, "")
    assert ability.ram == 64 << 20
    assert ability.longest_path == 250
    words = dict(part.split("=") for part in ability.fingerprint.split(";"))
    assert words["osreldate"] == "1501502"
    assert words["cpu"] == "A CPU, of sorts"
    assert set(words) == {"os", "osreldate", "machine", "cpu", "bhyve", "devices"}


def test_the_fingerprint_knows_the_devices_and_the_program(world: World) -> None:
    before = world.guest().probe().fingerprint
    assert world.guest().probe().fingerprint == before
    (world.home / "dump").write_text(UEFI + "pci.0.4.0.device=virtio-rnd\n")
    after = world.guest().probe().fingerprint
    assert after != before
    world.program("bhyve", (world.programs / "bhyve").read_text() + "\n# another build\n")
    assert world.guest().probe().fingerprint != after


@pytest.mark.parametrize(
    ("conftxt", "mode", "why_not"),
    [
        ("options\tGEOM\n", "auto", "built without 'options BHYVE_SNAPSHOT'"),
        ("options\tGEOM\n", "suspend", "built without 'options BHYVE_SNAPSHOT'"),
        ("nooptions\tBHYVE_SNAPSHOT_NOT\n", "auto", "built without"),
        (None, "auto", "does not tell whether it was built with .*write 'mode: suspend'"),
    ],
)
def test_a_kernel_without_snapshots_is_noticed(
    world: World, conftxt: str | None, mode: str, why_not: str
) -> None:
    path = world.programs / "kern.conftxt"
    path.write_text(conftxt or "")
    if conftxt is None:
        path.unlink()
    ability = world.guest(mode).probe()
    assert ability.managed
    assert not ability.memory
    assert re.search(why_not, ability.why_not)


def test_what_the_kernel_does_not_tell_the_file_may(world: World) -> None:
    (world.programs / "kern.conftxt").unlink()
    assert world.guest("suspend").probe().memory


def test_a_world_without_snapshots_is_noticed(world: World) -> None:
    world.program("bhyvectl", "#!/bin/sh\necho 'Usage: bhyvectl --vm=<vmname>' >&2\nexit 1\n")
    assert "bhyvectl of this host has no --suspend" in world.guest().probe().why_not


def test_a_host_without_bhyve_manages_nothing(world: World) -> None:
    (world.programs / "bhyve").unlink()
    ability = world.guest().probe()
    assert (ability.managed, ability.memory) == (False, False)
    assert ability.why_not == "this host has no bhyve"


def test_devices_without_a_hook_are_named(world: World) -> None:
    (world.home / "dump").write_text(UEFI + "pci.0.4.0.device=nvme\n")
    assert "bhyve cannot save nvme (pci.0.4.0)" in world.guest().probe().why_not


@pytest.mark.parametrize(
    ("paths", "why_not"),
    [
        (["b-1/disk0.img"], "name the branch b-1 itself: b-1/disk0.img (write current/disk0.img)"),
        (["{home}/b-3/disk0.img"], "the branch b-3 itself"),
        (["current/disk0.img", "/dev/zvol/tank/web/b-2/disk1"], "the branch b-2 itself"),
        (["/srv/disk0.img"], "do not name the disk disk0.img through the link (write current/disk0.img)"),
        (["current/disk0.img"], "do not name the disk disk1 through the link (write current/disk1)"),
        ([], "do not name the disk disk0.img"),
        (["disk0.img", "current/disk1"], "disk0.img is no link to current/disk0.img"),
    ],
)  # fmt: skip
def test_a_guest_that_would_run_on_the_wrong_disk_after_a_restore_is_refused(
    world: World, paths: list[str], why_not: str
) -> None:
    lines = [
        f"pci.0.{slot}.0.device=virtio-blk\npci.0.{slot}.0.path={path.format(home=world.home)}\n"
        for slot, path in enumerate(paths, 4)
    ]
    (world.home / "dump").write_text(UEFI + "".join(lines))
    ability = world.guest("auto", FileDisk("disk0.img"), VolumeDisk("disk1")).probe()
    assert (ability.managed, ability.memory) == (False, False)
    assert ability.ram == 64 << 20
    assert why_not in ability.why_not


def test_disks_may_be_named_through_the_links_of_the_home(world: World) -> None:
    (world.home / "disk0.img").symlink_to("current/disk0.img")
    more = "pci.0.4.0.device=ahci\npci.0.4.0.port.0.path=disk0.img\npci.0.5.0.path=%(home)/current/disk1\n"
    (world.home / "dump").write_text(f"{UEFI}{more}home={world.home}\n")
    assert world.guest("auto", FileDisk("disk0.img"), VolumeDisk("disk1")).probe().memory


def test_where_nothing_can_be_read_of_a_definition_nothing_is_refused(world: World) -> None:
    (world.home / "dump").write_text("memory.size=64M\n")
    assert world.guest("auto", FileDisk("disk0.img")).probe().managed


def test_mode_disks_and_mode_checkpoint_are_obeyed(world: World) -> None:
    assert "mode: disks" in world.guest("disks").probe().why_not
    assert "needs a GDB stub" in world.guest("checkpoint").probe().why_not


def test_a_guest_lives_from_start_to_stop(world: World) -> None:
    guest = world.guest()
    assert guest.state().running is Running.OFF
    guest.start()
    state = world.guest().state()
    assert state.running is Running.RUNNING
    assert state.proof.startswith("bhyve (pid ")
    assert guest.probe().memory
    with guest.frozen(world.memory):
        saved = Path(world.memory).read_text().strip()
        assert (world.home / "disk").read_text() == saved
    assert guest.state().running is Running.RUNNING
    with guest.frozen(f"{world.memory}-2") as hold:
        saved = Path(f"{world.memory}-2").read_text().strip()
        hold.end()
    assert guest.state().running is Running.OFF
    guest.start(f"{world.memory}-2")
    eventually(lambda: int((world.home / "disk").read_text() or 0) > int(saved))
    guest.stop(now=False)
    state = guest.state()
    assert state.running is Running.OFF
    assert state.proof.endswith("shut down on request, bhyve ended with exit code 1 (powered off)")


def test_why_a_guest_ended_is_its_proof_of_being_off(world: World) -> None:
    guest = world.guest()
    guest.start()
    (world.home / "exit").write_text("3")
    eventually(lambda: guest.state().running is Running.OFF)
    assert guest.state().proof.endswith(
        "bhyve ended with exit code 3 (triple fault); not started again"
    )


def test_a_definition_that_was_changed_meanwhile_cannot_keep_memory(world: World) -> None:
    world.guest().start()
    (world.home / "dump").write_text(UEFI + "pci.0.4.0.device=virtio-rnd\n")
    ability = world.guest().probe()
    assert ability.managed
    assert "definition was changed since it was started" in ability.why_not


def test_a_guest_whose_keeper_was_killed_runs_and_is_not_ours(world: World) -> None:
    guest = world.guest()
    guest.start()
    os.kill(world.keeper(), signal.SIGKILL)
    eventually(lambda: guest._lock_holder() is None)
    state = world.guest().state()
    assert state.running is Running.RUNNING
    assert "not started by ckptree" in state.proof
    ability = world.guest().probe()
    assert (ability.managed, ability.memory) == (False, False)
    assert "run 'ckptree start web'" in ability.why_not
    with pytest.raises(StepFailed, match="cannot be stopped by ckptree"):
        guest.stop(now=True)
    with pytest.raises(StepFailed, match="not started by ckptree"):
        guest.start()
    with pytest.raises(StepFailed, match="does not answer"), guest.frozen(world.memory):
        pytest.fail("nothing is frozen")


def test_a_start_that_fails_has_bhyves_own_words(world: World) -> None:
    (world.home / "broken").write_text("pci slot 3: unable to open backend")
    with pytest.raises(StepFailed, match="unable to open backend"):
        world.guest().start()
    assert world.guest().state().running is Running.OFF


@pytest.mark.parametrize(
    ("listing", "pid"),
    [
        ("  7 SC  bhyve: web", 7),
        (" 70 SC  bhyve: web (bhyve)", 70),
        ("  8 S   /usr/sbin/bhyve -r /m.ckp -k /vm/web/web.conf web", 8),
        ("  8 S   bhyve -k /vm/web/web.conf -o config.dump=1 web", None),
        ("  9 SC  bhyve: web2", None),
        ("  9 S+  vi bhyve: web", None),
        ("  9 S   /usr/sbin/bhyve -k /vm/web/web.conf web2", None),
        ("  9 Z   bhyve: web", None),
        ("  9 S", None),
        ("", None),
    ],
)
def test_a_bhyve_is_known_by_its_title(world: World, listing: str, pid: int | None) -> None:
    world.program("ps", f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    assert bhyve_process.find_process("web") == pid


def test_processes_are_listed_as_both_systems_understand_it(world: World) -> None:
    # ps(1) of FreeBSD: what follows an '=' is the header, to the end of the argument.
    world.program("ps", '#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/asked"\n')
    assert list(bhyve_process.listed()) == []
    asked = (world.programs / "asked").read_text().split()
    columns = [word for option, word in pairwise(asked) if option == "-o"]
    assert columns == ["pid=", "stat=", "command="]


@pytest.mark.parametrize(
    ("title", "ready"), [("bhyve: web (bhyve)", True), ("/usr/sbin/bhyve -k web.conf web", False)]
)
def test_a_guest_that_is_there_is_known_by_the_title_of_its_bhyve(
    world: World, title: str, *, ready: bool
) -> None:
    world.program("ps", f"#!/bin/sh\necho '{title}'\n")
    assert bhyve_process.is_titled(42, "web") is ready
    world.program("ps", "#!/bin/sh\nexit 1\n")
    assert not bhyve_process.is_titled(42, "web")


def test_a_host_that_lists_no_processes_makes_the_state_unknown(world: World) -> None:
    world.program("ps", "#!/bin/sh\necho not here >&2\nexit 1\n")
    state = world.guest().state()
    assert state.running is Running.UNKNOWN
    assert "not here" in state.proof
