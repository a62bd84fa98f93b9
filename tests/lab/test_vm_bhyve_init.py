"""`ckptree init` on real ZFS makes a managed guest of one that vm-bhyve made, without copying a disk."""

import subprocess
import time
from pathlib import Path

import pytest

from reconciler.drivers.files import _wait_for
from reconciler.drivers.guests.vm_bhyve_state import processes
from reconciler.execute.vm_bhyve_init import VmBhyveInit
from tests.guest.image import console as lines
from tests.guest.image import on_disk, parse, wait_for_beats, write_image
from tests.lab.doubles import install_doubles
from tests.lab.operator import Operator, shell

HYPERVISOR = "hypervisor: {vm-bhyve: {}}"
CONF = """loader="bhyveload"
cpu="1"
memory="64M"
network0_type="virtio-net"
network0_switch="public"
disk0_type="virtio-blk"
disk0_name="disk0.img"
uuid="0c1f7f4e-4d0f-11f0-8f1c-589cfc0a1b2c"
network0_mac="58:9c:fc:0a:1b:2c"
"""
VOLUME = """disk1_type="virtio-blk"
disk1_name="disk1"
disk1_dev="sparse-zvol"
"""


def made_by_vm(operator: Operator, conf: str) -> None:
    """Make what `vm create` makes, and what a first run leaves, with something on the disks."""
    shell("zfs", "create", operator.home)
    path = operator.path
    (path / "web.conf").write_text(conf)
    (path / "vm-bhyve.log").write_text("2026-11-25T08:00:00+00:00: initialising\n")
    (path / "disk0.img").write_bytes(b"installed".ljust(1 << 20, b"\0"))
    (path / "disk0.img").chmod(0o600)
    for volume in operator.volumes:
        name = f"{operator.home}/{volume}"
        shell("zfs", "create", "-s", "-V", "16M", "-o", "volmode=dev", name)
        device = Path("/dev/zvol", name)
        _wait_for([device], 30)
        with device.open("r+b") as file:
            file.write(b"installed".ljust(4096, b"\0"))
    shell("zfs", "snapshot", "-r", f"{operator.home}@2026-11-24-08:00:00")


def test_a_guest_with_volumes_boots_through_the_link(dataset: str, tmp_path: Path) -> None:
    install_doubles()
    web = Operator(f"{dataset}/web", tmp_path, "auto", ("disk1",))
    web.write("", HYPERVISOR)
    conf = CONF.replace("bhyveload", "uefi").replace("64M", "8M") + VOLUME
    made_by_vm(
        web, conf.replace("disk0_", "x_").replace("disk1_", "disk0_").replace("x_", "disk1_")
    )
    write_image(Path("/dev/zvol", web.home, "disk1"), 16 << 20)
    Path("/etc/rc.conf").write_text(f'vm_enable="YES"\nvm_dir="zfs:{dataset}"\n')
    outcome = web.ckptree("init", "web")
    assert outcome.code == 0, outcome.text
    console = Path("/dev/nmdm-web.1A")
    console.unlink(missing_ok=True)
    shell("vm", "start", "web")
    try:
        wait_for_beats(console, 3)
        refused = web.ckptree("init", "web")
        assert refused.code == 0, "there is nothing to change, so that it runs does not matter"
    finally:
        shell("bhyvectl", "--vm=web", "--force-poweroff")
    deadline = time.monotonic() + 60
    while processes("web").proof is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ahead = on_disk(web.path / "current" / "disk1").count - parse(lines(console))[-1].count
    assert ahead in {0, 1}  # it writes a count before it prints it


def guid_of(name: str) -> str:
    return shell("zfs", "get", "-H", "-o", "value", "guid", name)


def new(dataset: str, folder: Path, volumes: tuple[str, ...] = ()) -> Operator:
    operator = Operator(f"{dataset}/web", folder, "auto", volumes)
    operator.write("", HYPERVISOR)
    return operator


def test_a_guest_with_a_file_disk(dataset: str, tmp_path: Path) -> None:
    web = new(dataset, tmp_path)
    made_by_vm(web, CONF)
    guid = guid_of(f"{web.home}@2026-11-24-08:00:00")
    first = web.ckptree("init", "web")
    assert first.code == 0, first.text
    path = web.path
    assert f'web: changed web.conf: disk0_name="disk0.img" -> "{path}/current/disk0.img"' in (
        first.out
    )
    assert 'web: changed web.conf: added disk0_dev="custom"' in first.out
    assert (path / "web.conf").read_text() == CONF.replace(
        '"disk0.img"\n', f'"{path}/current/disk0.img"\ndisk0_dev="custom"\n'
    )
    assert (path / "web.conf.before-ckptree").read_text() == CONF
    assert (path / "vm-bhyve.log").read_text().endswith("initialising\n")
    assert sorted(entry.name for entry in (path / "b-1").iterdir()) == ["disk0.img"]
    assert web.guest_sees() == "installed"
    assert web.disk.stat().st_mode & 0o777 == 0o600
    assert guid_of(f"{web.home}/b-1@2026-11-24-08:00:00") == guid


def test_a_guest_with_a_volume_and_a_second_run(dataset: str, tmp_path: Path) -> None:
    web = new(dataset, tmp_path, ("disk1",))
    made_by_vm(web, CONF + VOLUME)
    before = guid_of(f"{web.home}/disk1")
    assert web.ckptree("init", "web").code == 0
    path = web.path
    text = (path / "web.conf").read_text()
    assert f'disk1_name="{path}/current/disk1"\ndisk1_dev="custom"\n' in text
    assert guid_of(f"{web.home}/b-1/disk1") == before
    assert Path(path, "current", "disk1").resolve().is_block_device()
    assert web.guest_sees() == "installed"
    everything = web.everything()
    again = web.ckptree("init", "web")
    assert again.code == 0, again.text
    assert f"{path}/web.conf names every disk by the link already; nothing changed" in again.out
    assert "changed web.conf" not in again.out
    assert web.everything() == everything
    assert (path / "web.conf").read_text() == text


def test_what_does_not_fit_is_refused_before_anything_is_touched(
    dataset: str, tmp_path: Path
) -> None:
    web = new(dataset, tmp_path)
    made_by_vm(web, CONF + VOLUME)
    shell("zfs", "create", "-s", "-V", "16M", f"{web.home}/disk1")
    outcome = web.ckptree("init", "web")
    assert outcome.code == 1
    assert "the document has no {zvol: disk1}, which is disk1 there" in outcome.err
    shell("zfs", "destroy", f"{web.home}/disk1")
    (web.path / "web.conf").write_text(CONF)
    before = web.everything()
    with (web.path / "disk0.img").open("rb") as disk:
        guest = subprocess.Popen(["sleep", "600"], stdin=disk)
    try:
        outcome = web.ckptree("init", "web")
    finally:
        guest.kill()
        guest.wait()
    assert outcome.code == 1
    assert "disk0.img open (stop the guest first)" in outcome.err
    (web.path / "run.lock").write_text("otherhost\n")
    assert "says that it runs on otherhost" in web.ckptree("init", "web").err
    (web.path / "run.lock").unlink()
    (web.path / "web.save").write_text("RAM")
    assert "'vm discard web'" in web.ckptree("init", "web").err
    assert web.everything() == before
    assert (web.path / "web.conf").read_text() == CONF


def test_a_run_that_was_killed_half_way_is_finished_by_the_next(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = new(dataset, tmp_path, ("disk1",))
    made_by_vm(web, CONF + VOLUME)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(VmBhyveInit, "settle", killed)
        with pytest.raises(Killed):
            web.ckptree("init", "web")
    assert not (web.path / "web.conf").exists()
    assert (web.path / "b-1" / "web.conf").exists()
    outcome = web.ckptree("init", "web")
    assert outcome.code == 0, outcome.text
    assert "changed web.conf: disk1_dev" in outcome.out
    assert web.guest_sees() == "installed"
    assert not (web.path / "b-1" / "web.conf").exists()
