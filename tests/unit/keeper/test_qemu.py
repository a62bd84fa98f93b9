"""What ckptree reads out of the arguments of a QEMU guest, and what it refuses; no QEMU is needed here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.drivers.guests import qemu
from reconciler.drivers.guests.qemu import QemuGuest
from reconciler.drivers.guests.qemu_definition import Definition
from reconciler.errors import StepFailed
from reconciler.keeper.qemu import QemuMachine
from reconciler.model.desired import DesiredVm, FileDisk, Qemu, SourcePosition, VolumeDisk
from reconciler.names import Dataset, VmName

MIB, GIB = 1 << 20, 1 << 30
HOME = "/vm/web"
TANK = Dataset("tank/vm/web")
GOOD = ("-drive", "file=current/disk0.img,format=raw")


def of(*arguments: str) -> Definition:
    return Definition(HOME, arguments)


@pytest.mark.parametrize(
    ("arguments", "ram"),
    [
        ((), 128 * MIB),
        (("-m", "512"), 512 * MIB),
        (("-m", "2G"), 2 * GIB),
        (("-m", "1.5g"), 3 * GIB // 2),
        (("-m", "0x200"), 512 * MIB),
        (("-m", "4096K"), 4 * MIB),
        (("-m", "size=1G,slots=3,maxmem=4G"), GIB),
        (("-m", "1G,slots=3,maxmem=4G"), GIB),
        (("-m", "maxmem=4G"), 128 * MIB),
        (("-m", "1G", "--m", "2G"), 2 * GIB),
        (("-name", "-m", "-m", "64"), 64 * MIB),
        (("-m",), 128 * MIB),
        (("-m", "much"), 128 * MIB),
    ],
)
def test_the_ram_is_what_qemu_would_give_the_guest(arguments: tuple[str, ...], ram: int) -> None:
    assert of(*arguments).ram == ram


@pytest.mark.parametrize(
    ("arguments", "accelerated"),
    [
        ((), False),
        (("-accel", "tcg,thread=multi"), False),
        (("-accel", "kvm"), True),
        (("-enable-kvm",), True),
        (("-machine", "q35,accel=kvm:tcg"), True),
        (("-M", "q35,accel=tcg"), False),
    ],
)
def test_only_an_accelerated_guest_depends_on_the_hosts_processor(
    arguments: tuple[str, ...], *, accelerated: bool
) -> None:
    assert of(*arguments).accelerated is accelerated


@pytest.mark.parametrize(
    ("arguments", "word", "instead"),
    [
        (("-daemonize",), "-daemonize", "leave it out"),
        (("--daemonize",), "-daemonize", "leave it out"),
        (("-incoming", "tcp:0:4444"), "-incoming", "resumes its checkpoints"),
        (("-loadvm", "base"), "-loadvm", "resumes its checkpoints"),
        (("-S",), "-S", "starts the guest itself"),
        (("-no-shutdown",), "-no-shutdown", "off when its QEMU has ended"),
        (("-action", "reboot=reset,shutdown=pause"), "shutdown=pause", "leave it out"),
        (("-snapshot",), "-snapshot", "no checkpoint has"),
        (("-readconfig", "web.cfg"), "-readconfig", "as arguments"),
        (("-pidfile", "web.pid"), "-pidfile", "qemu.pid"),
        (("-chardev", "socket,id=ckptree,path=x"), "id=ckptree", "another id"),
    ],
)
def test_an_argument_that_is_in_the_way_is_refused_with_what_to_write_instead(
    arguments: tuple[str, ...], word: str, instead: str
) -> None:
    reason = of(*GOOD, *arguments).unfit()
    assert reason is not None
    assert word in reason
    assert instead in reason


def test_usual_arguments_are_in_nobodys_way() -> None:
    usual = ("-name", "-S", "-qmp", "unix:web.qmp,server=on,wait=off", "-nographic", "-no-reboot")
    assert of(*GOOD, *usual, "-monitor", "stdio").unfit() is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("-drive", "file=current/disk0.img,format=raw"),
        ("-drive", "format=raw,file=./current/disk0.img"),
        ("-drive", f"file={HOME}/current/disk0.img"),
        ("-drive", "file.filename=current/disk0.img,file.driver=file"),
        ("-drive", "file=file:current/disk0.img"),
        ("-drive", 'file=json:{"driver":"raw",,"file":{"driver":"file",,"filename":"current/disk0.img"}}'),
        ("-drive", "file=disk0.img"),
        ("-hda", "current/disk0.img"),
        ("current/disk0.img",),
        ("-blockdev", "driver=file,node-name=d,filename=current/disk0.img"),
        ("-blockdev", "raw,node-name=d,file.driver=file,file.filename=current/disk0.img"),
        ("-blockdev", '{"driver": "file", "node-name": "d", "filename": "current/disk0.img"}'),
    ],
)  # fmt: skip
def test_a_disk_may_be_named_through_the_link_in_every_way_that_qemu_knows(
    arguments: tuple[str, ...],
) -> None:
    assert of(*arguments).misled(["disk0.img"], TANK) is None
    assert of(*arguments).unsaved(["disk0.img"]) is None


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("b-1/disk0.img", "name the branch b-1 itself: b-1/disk0.img (write current/disk0.img)"),
        (f"{HOME}/b-12/disk0.img", "(write current/disk0.img)"),
        ("/dev/zvol/tank/vm/web/b-2/disk0.img", "the branch b-2 itself"),
        ("/srv/disk0.img", "do not name the disk disk0.img through the link (write current/disk0.img)"),
        ("current/../b-1/disk0.img", "do not name the disk disk0.img"),
        ("/vm/web2/current/disk0.img", "do not name the disk disk0.img"),
        ("nbd://current/disk0.img", "do not name the disk disk0.img"),
    ],
)  # fmt: skip
def test_a_guest_that_would_run_on_the_wrong_disk_after_a_restore_is_refused(
    file: str, expected: str
) -> None:
    reason = of("-drive", f"file={file}").misled(["disk0.img"], TANK)
    assert reason is not None
    assert expected in reason


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-pflash", "/usr/share/OVMF/VARS.fd"), "write current/VARS.fd"),
        (("-drive", "if=pflash,unit=1,file=VARS.fd"), "write current/VARS.fd"),
        (("-blockdev", "driver=file,node-name=v,filename=/x/VARS.fd"), "read-only=on"),
        (("-drive", "file=/srv/scratch,,1.img"), "/srv/scratch,1.img can be written"),
        (("-drive", "file=nbd://backup/x"), "nbd://backup/x can be written"),
        (("-blockdev", "driver=nbd,node-name=n,server.type=unix"), "can be written"),
        (("-drive", "file=current/more.img,snapshot=on"), "leave snapshot=on out"),
        (("-device", "nvme,serial=1,drive=x"), "the device nvme"),
        (("-device", '{"driver": "vfio-pci", "host": "0:2"}'), "the device vfio-pci"),
        (("-virtfs", "local,path=/srv,mount_tag=srv"), "-virtfs local,path=/srv"),
    ],
)
def test_what_no_checkpoint_would_have_is_told_by_name(
    arguments: tuple[str, ...], expected: str
) -> None:
    reason = of(*GOOD, *arguments).unsaved(["disk0.img"])
    assert reason is not None
    assert expected in reason


def test_what_the_guest_only_reads_may_lie_anywhere() -> None:
    definition = of(
        *GOOD, "-drive", "if=pflash,unit=0,readonly=on,file=/usr/share/OVMF/CODE.fd",
        "-drive", "if=pflash,unit=1,file=current/VARS.fd", "-cdrom", "/srv/install.iso",
        "-drive", "media=cdrom,file=/srv/more.iso", "-drive", "if=none,id=empty", "-bios", "bios.bin",
        "-blockdev", "driver=file,node-name=i,filename=/srv/x.iso,read-only=on",
        "-blockdev", '{"driver": "file", "filename": "/srv/y.iso", "read-only": true}',
    )  # fmt: skip
    assert definition.unsaved(["disk0.img"]) is None


def test_arguments_that_make_no_sense_are_left_to_qemu() -> None:
    for text in ("{", "[]", "{}", '{"driver": 1}', '{"a":' * 2000, ",,,", "=", "", "9" * 500):
        definition = of(*GOOD, "-blockdev", text, "-device", text, "-drive", text, "-m", text)
        assert definition.misled(["disk0.img"], TANK) is None
        assert definition.unsaved(["disk0.img"]) is None


# ---- the guest on this host ------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a program that says what QEMU says, and the library present."""
    monkeypatch.setattr(qemu, "_has_library", lambda: True)
    program(tmp_path, "7.2.22")
    return tmp_path


def program(home: Path, version: str) -> None:
    path = home / "qemu"
    path.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (X; Y)'\necho more\n")
    path.chmod(0o755)


def guest(home: Path, *arguments: str, binary: str = "") -> QemuGuest:
    settings = Qemu(args=arguments or GOOD, binary=binary or str(home / "qemu"))
    desired = DesiredVm(
        vm=VmName("web"),
        dataset=TANK,
        disks=(FileDisk("disk0.img"),) if not arguments else (VolumeDisk("disk1"),),
        nodes=(),
        position=SourcePosition("web.yaml", 1, 1),
        digest="",
    )
    return QemuGuest(desired, settings, str(home))


def facts(fingerprint: str) -> Mapping[str, str]:
    return dict(word.split("=", 1) for word in fingerprint.split(";"))


def test_the_fingerprint_tells_what_must_be_the_same(home: Path) -> None:
    one = guest(home).probe()
    assert (one.managed, one.memory, one.why_not) == (True, True, "")
    assert facts(one.fingerprint)["qemu"] == "7.2.22 (X, Y)"
    assert guest(home).probe() == one
    program(home, "10.0.2")
    two = facts(guest(home).probe().fingerprint)
    changed = {name for name, value in facts(one.fingerprint).items() if two[name] != value}
    assert changed == {"qemu", "program"}


def test_the_processor_counts_where_the_guest_runs_on_it(home: Path) -> None:
    arguments = ("-hda", "current/disk1")
    emulated = facts(guest(home, *arguments).probe().fingerprint)
    real = facts(guest(home, *arguments, "-accel", "kvm").probe().fingerprint)
    assert real.keys() - emulated.keys() == {"processor"}
    assert real["arguments"] != emulated["arguments"]


def test_a_disk_named_by_the_homes_link_needs_that_link(home: Path) -> None:
    named = guest(home, "-hda", "disk1")
    assert "disk1 is no link to current/disk1" in named.probe().why_not
    (home / "disk1").write_text("a copy")
    assert not named.probe().managed
    (home / "disk1").unlink()
    (home / "disk1").symlink_to("current/disk1")
    assert named.probe().memory


def test_without_the_program_or_the_library_the_guest_is_not_managed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = guest(home, binary="no-such-qemu").probe()
    assert (absent.managed, absent.memory) == (False, False)
    assert "there is no program no-such-qemu" in absent.why_not
    assert not guest(home, binary="/nowhere/qemu").probe().managed
    monkeypatch.setattr(qemu, "_has_library", lambda: False)
    absent = guest(home).probe()
    assert (absent.managed, absent.memory) == (False, False)
    assert absent.why_not == "the library qemu.qmp is missing (install ckptree[qemu])"


def test_an_unsaveable_guest_is_managed_all_the_same(home: Path) -> None:
    able = guest(home, "-hda", "current/disk1", "-device", "nvme", "-m", "1G").probe()
    assert (able.managed, able.memory, able.ram) == (True, False, GIB)


# ---- the machine, before anything is started -------------------------------------------------------------------------


class Silence:
    def write(self, text: str) -> None:
        """Forget it."""

    def output(self, program: str, line: str) -> None:
        """Forget it."""


def order(*arguments: str, binary: str = "/nowhere/qemu") -> Mapping[str, object]:
    machine = {"kind": "qemu", "binary": binary, "args": list(arguments)}
    return {"vm": "web", "home": HOME, "socket": "/nowhere/web.sock", "machine": machine}


def test_a_machine_is_made_only_from_a_sound_order() -> None:
    assert QemuMachine.from_order(order(*GOOD), Silence()).running() is None
    with pytest.raises(StepFailed, match="-daemonize"):
        QemuMachine.from_order(order("-daemonize"), Silence())
    with pytest.raises(StepFailed, match="binary"):
        QemuMachine.from_order(order(binary=""), Silence())


def test_nothing_can_be_done_with_a_guest_that_is_off() -> None:
    machine = QemuMachine.from_order(order(*GOOD), Silence())
    machine.end(1)
    machine.shut_down(1)
    with pytest.raises(StepFailed, match="the guest is off"):
        machine.release(1)
    with pytest.raises(StepFailed, match="the guest is off"):
        machine.save("/nowhere/x.ckp", 1)


def test_a_machine_without_the_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "reconciler.keeper.qmp", None)
    with pytest.raises(StepFailed, match=r"install ckptree\[qemu\]"):
        QemuMachine.from_order(order(*GOOD), Silence()).start(None, 5)
