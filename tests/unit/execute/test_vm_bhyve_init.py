"""An existing guest of vm-bhyve becomes a managed one: its definition comes home, its disks stay in the branch."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.execute import vm_bhyve_init
from reconciler.execute.vm_bhyve_init import VmBhyveInit
from reconciler.model.desired import (
    DesiredVm,
    Disk,
    FileDisk,
    SourcePosition,
    VmBhyve,
    VolumeDisk,
)
from reconciler.model.observed import GuestState, Running
from reconciler.names import Dataset, VmName

CONF = """loader="uefi"
cpu="1"
memory="64M"
uefi_vars="yes"
disk0_type="virtio-blk"
disk0_name="disk0.img" # boots from it
disk1_type="virtio-blk"
disk1_name="disk1"
disk1_dev="sparse-zvol"
disk2_type="ahci-cd"
disk2_name="seed.iso"
"""
SERIAL_NUMBERS = (
    "the former web.conf is web.conf.before-ckptree; where the conf gives a disk no serial number it comes from the"
    " path, so a guest that names disks by serial number sees new ones"
)
DISKS = (FileDisk("disk0.img"), VolumeDisk("disk1"))


class Guest:
    """A guest's home and branch after the dataset was renamed, and what init says about it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "web"
        self.branch = self.home / "b-1"
        self.branch.mkdir(parents=True)
        self.said: list[str] = []
        self.state = GuestState(Running.OFF)

    @property
    def conf(self) -> Path:
        return self.home / "web.conf"

    def create(self, text: str = CONF) -> None:
        """Fill the branch as `vm create` filled the guest's directory."""
        (self.branch / "web.conf").write_text(text)
        (self.branch / "disk0.img").write_text("disk")
        (self.branch / "disk1").symlink_to("/dev/zvol/tank/vm/web/b-1/disk1")
        (self.branch / "uefi-vars.fd").write_text("variables")
        (self.branch / "seed.iso").write_text("seed")
        (self.branch / "vm-bhyve.log").write_text("a log")
        (self.branch / "vm-bhyve.log").chmod(0o600)
        (self.branch / ".cloud-init").mkdir(mode=0o750)
        (self.branch / ".cloud-init" / "user-data").write_text("a user")
        (self.branch / "old.log").symlink_to("vm-bhyve.log")
        (self.home / "current").symlink_to("b-1")

    def init(self, *disks: Disk) -> VmBhyveInit:
        desired = DesiredVm(
            vm=VmName("web"),
            dataset=Dataset("tank/vm/web"),
            disks=disks or DISKS,
            nodes=(),
            position=SourcePosition("web.yaml", 1, 1),
            digest="",
            hypervisor=VmBhyve(guest="web"),
        )
        return VmBhyveInit(desired, "web", lambda _guest, _path: self.state, self.said.append)

    def settle(self) -> list[str]:
        """Bring it home; gives what was said."""
        self.said.clear()
        self.init().settle(str(self.home), str(self.branch))
        return list(self.said)

    def files(self) -> dict[str, str]:
        """Every file with its content, links with what they point at."""
        return {
            str(path.relative_to(self.home)): f"-> {path.readlink()}"
            if path.is_symlink()
            else path.read_text()
            for path in sorted(self.home.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    made = Guest(tmp_path)
    made.create()
    return made


def test_the_definition_comes_home_and_names_the_disks_by_the_link(guest: Guest) -> None:
    guest.settle()
    home = guest.home
    assert guest.files() == {
        "web.conf": CONF.replace('"disk0.img"', f'"{home}/current/disk0.img"')
        .replace("boots from it\n", 'boots from it\ndisk0_dev="custom"\n')
        .replace('"disk1"', f'"{home}/current/disk1"')
        .replace("sparse-zvol", "custom"),
        "web.conf.before-ckptree": CONF,
        "seed.iso": "seed",
        "vm-bhyve.log": "a log",
        "old.log": "-> vm-bhyve.log",
        ".cloud-init/user-data": "a user",
        "uefi-vars.fd": "-> current/uefi-vars.fd",
        "current": "-> b-1",
        "b-1/disk0.img": "disk",
        "b-1/disk1": "-> /dev/zvol/tank/vm/web/b-1/disk1",
        "b-1/uefi-vars.fd": "variables",
    }
    assert (home / "vm-bhyve.log").stat().st_mode & 0o777 == 0o600
    assert (home / ".cloud-init").stat().st_mode & 0o777 == 0o750
    assert not (guest.branch / ".cloud-init").exists()


def test_every_change_is_told(guest: Guest) -> None:
    home = guest.home
    assert guest.settle() == [
        f"moved web.conf, .cloud-init, old.log, seed.iso, vm-bhyve.log back to {home}",
        f"linked {home}/uefi-vars.fd to the current branch's",
        f'changed web.conf: disk0_name="disk0.img" -> "{home}/current/disk0.img"',
        'changed web.conf: added disk0_dev="custom"',
        f'changed web.conf: disk1_name="disk1" -> "{home}/current/disk1"',
        'changed web.conf: disk1_dev="sparse-zvol" -> "custom"',
        SERIAL_NUMBERS,
    ]


def test_a_second_run_changes_nothing_and_says_so(guest: Guest) -> None:
    guest.settle()
    before = guest.files()
    guest.state = GuestState(Running.RUNNING, "bhyve (pid 7)")
    guest.init().check(str(guest.home), converting=False)
    assert guest.settle() == [f"{guest.conf} names every disk by the link already; nothing changed"]
    assert guest.files() == before


class Cut(BaseException):
    """The power is gone."""


def test_whatever_is_cut_short_a_second_run_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, cut_after: int | None) -> tuple[dict[str, str], int]:
        made = Guest(tmp_path / name)
        made.create()
        calls = 0

        def cutting(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **keywords: object) -> object:
                nonlocal calls
                calls += 1
                if calls == cut_after:
                    raise Cut
                return real(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            for verb in ("rename", "unlink", "mkdir", "rmdir", "symlink_to"):
                patch.setattr(Path, verb, cutting(getattr(Path, verb)))
            try:
                made.settle()
            except Cut:
                assert not made.conf.exists(), "vm-bhyve must not find a half-converted guest"
                patch.undo()
                made.settle()
        return {
            path: text.replace(str(made.home), "HOME") for path, text in made.files().items()
        }, calls

    whole, steps = run("whole", None)
    assert steps > 15
    for step in range(1, steps):
        assert run(f"cut-{step}", step)[0] == whole, step


def test_a_file_of_the_same_name_in_the_home_is_not_overwritten(guest: Guest) -> None:
    (guest.home / "seed.iso").write_text("another")
    assert f"left seed.iso in {guest.branch}: {guest.home} has something else of that name" in (
        guest.settle()
    )
    assert (guest.home / "seed.iso").read_text() == "another"
    assert (guest.branch / "seed.iso").read_text() == "seed"


def test_a_socket_is_left_where_it_is(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guest.branch)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("vtcon.0")
    guest.settle()
    assert (guest.branch / "vtcon.0").exists()


def test_another_backup_in_the_way_is_an_error(guest: Guest) -> None:
    (guest.home / "web.conf.before-ckptree").write_text("another")
    with pytest.raises(CkptreeError, match="move one of them away"):
        guest.settle()
    assert (guest.branch / "web.conf").read_text() == CONF


def test_variables_that_the_guest_has_not_yet_are_made_from_the_template(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "BHYVE_UEFI_VARS.fd"
    monkeypatch.setattr("reconciler.drivers.guests.vm_bhyve_home._UEFI_TEMPLATE", template)
    (guest.branch / "uefi-vars.fd").unlink()
    guest.settle()
    assert not (guest.home / "uefi-vars.fd").is_symlink()
    template.write_text("empty variables")
    guest.settle()
    assert (guest.home / "uefi-vars.fd").readlink() == Path("current/uefi-vars.fd")
    assert (guest.branch / "uefi-vars.fd").read_text() == "empty variables"


def test_a_guest_without_firmware_variables_has_all_but_its_disks_at_home(tmp_path: Path) -> None:
    made = Guest(tmp_path)
    made.create(CONF.replace('uefi_vars="yes"\n', ""))
    made.settle()
    assert (made.home / "uefi-vars.fd").read_text() == "variables"
    assert not (made.home / "uefi-vars.fd").is_symlink()


def test_a_definition_that_lay_in_the_home_from_the_beginning_is_changed_there(
    guest: Guest,
) -> None:
    (guest.branch / "web.conf").rename(guest.conf)
    (guest.branch / "uefi-vars.fd").rename(guest.home / "uefi-vars.fd")
    guest.settle()
    assert f"{guest.home}/current/disk1" in guest.conf.read_text()
    assert (guest.home / "web.conf.before-ckptree").read_text() == CONF
    assert (guest.branch / "uefi-vars.fd").read_text() == "variables"
    assert (guest.branch / "seed.iso").exists()  # nothing but the definition was asked for


def test_a_home_without_a_definition_asks_for_it(tmp_path: Path) -> None:
    made = Guest(tmp_path)
    assert made.settle() == [
        f"next: put the guest's definition at {made.conf}, then 'ckptree init web' again"
    ]


def test_paths_that_would_break_when_the_dataset_is_renamed_are_changed_too(guest: Guest) -> None:
    custom = (
        CONF.replace('"disk0.img"', f'"{guest.home}/disk0.img"')
        .replace(
            '"disk1"\ndisk1_dev="sparse-zvol"', '"/dev/zvol/tank/vm/web/disk1"\ndisk1_dev="custom"'
        )
        .replace("boots from it\n", 'boots from it\ndisk0_dev="custom"\n')
    )
    (guest.branch / "web.conf").write_text(custom)
    guest.settle()
    text = guest.conf.read_text()
    assert f'disk0_name="{guest.home}/current/disk0.img"' in text
    assert f'disk1_name="{guest.home}/current/disk1"' in text


def test_a_disk_outside_of_the_home_is_left_and_told(guest: Guest) -> None:
    more = 'disk3_type="virtio-blk"\ndisk3_name="/dev/da7"\ndisk3_dev="custom"\n'
    (guest.branch / "web.conf").write_text(CONF + more)
    assert (
        "left disk3 at /dev/da7: it is not in the home, so no checkpoint keeps it" in guest.settle()
    )
    assert more in guest.conf.read_text()


@pytest.mark.parametrize(
    ("disks", "complaint"),
    [
        (
            (FileDisk("disk0.img"),),
            "the document has no {zvol: disk1}, which is disk1 there (write it under 'disks')",
        ),
        (
            (*DISKS, FileDisk("disk9.img")),
            "there is no disk9.img there (add it with 'vm add', or remove it from 'disks')",
        ),
        (
            (FileDisk("disk1"), VolumeDisk("disk1")),
            "disk0 there (write it under 'disks'); there is no disk1 there",
        ),
    ],
)
def test_disks_that_only_one_side_names_are_an_error_before_anything_is_touched(
    guest: Guest, disks: tuple[Disk, ...], complaint: str
) -> None:
    guest.conf.write_text(CONF)
    before = guest.files()
    with pytest.raises(CkptreeError) as caught:
        guest.init(*disks).check(str(guest.home), converting=True)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert guest.files() == before


def test_a_guest_that_is_not_off_is_refused(guest: Guest) -> None:
    guest.conf.write_text(CONF)
    guest.state = GuestState(Running.RUNNING, "bhyve (pid 7)")
    with pytest.raises(CkptreeError, match=r"web is not off: bhyve \(pid 7\) .*'vm stop web'"):
        guest.init().check(str(guest.home), converting=True)
    with pytest.raises(CkptreeError, match="web is not off"):
        guest.settle()


def test_a_suspended_guest_is_refused(guest: Guest) -> None:
    guest.conf.write_text(CONF)
    (guest.home / "web.save").write_text("RAM")
    with pytest.raises(CkptreeError, match="'vm discard web'"):
        guest.init().check(str(guest.home), converting=True)


def test_a_dataset_with_disks_and_no_definition_is_no_guest_of_vm_bhyve(guest: Guest) -> None:
    with pytest.raises(CkptreeError, match=r"but no web\.conf, by which vm-bhyve finds the guest"):
        guest.init().check(str(guest.home), converting=True)
    guest.init().check(str(guest.home), converting=False)


def test_a_home_that_vm_bhyve_would_not_find_is_refused(guest: Guest) -> None:
    with pytest.raises(CkptreeError, match="write 'guest: other'"):
        guest.init().check(str(guest.home.with_name("other")), converting=True)


def test_what_the_system_refuses_is_told_with_the_file(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/web/x")

    monkeypatch.setattr(vm_bhyve_init, "move_back", full)
    with pytest.raises(CkptreeError, match=r"/web/x: No space left on device .*'ckptree init web'"):
        guest.settle()
