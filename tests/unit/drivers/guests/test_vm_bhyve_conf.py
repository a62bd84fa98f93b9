"""A guest's conf, read as vm-bhyve reads it and changed in the lines that must change."""

from pathlib import Path

import pytest

from reconciler.drivers.guests.vm_bhyve_conf import Conf, Where, read_conf, write_conf
from reconciler.errors import CkptreeError

WEB = Conf(
    """loader="uefi"
cpu=2
memory="512M" # enough
disk0_type="virtio-blk"
disk0_name="disk0.img"
  disk1_name="indented"
#disk1_name="commented"
disk1_type="ahci-hd"
disk1_name="data"   # the data
disk1_dev="sparse-zvol"
disk1_name="second line with this key"
disk3_type="virtio-blk"
disk3_name="after a gap"
uefi_vars="yes"
network0_mac="58:9c:fc:00:00:01"
"""
)


def test_values_are_what_vm_bhyve_makes_of_the_lines() -> None:
    assert WEB.get("cpu") == "2"
    assert WEB.get("memory") == "512M"
    assert WEB.get("disk1_name") == "data"
    assert WEB.find("disk0_dev") is None
    assert Conf('key="a#b"').get("key") == "a"
    assert Conf('key = "a"').find("key") is None
    assert Conf('key="a=b "  ').get("key") == "a=b "
    assert Conf("word").get("word") == "word"


@pytest.mark.parametrize(
    ("value", "yes"),
    [
        ("yes", True),
        ("on", True),
        ("1", True),
        ("No", False),
        ("off", False),
        ("0", False),
        ("", False),
    ],
)
def test_flags_mean_what_they_mean_to_vm_bhyve(value: str, yes: bool) -> None:
    assert Conf(f'sound="{value}"').flag("sound") is yes
    assert not Conf("").flag("sound")


def test_disks_are_counted_from_zero_until_one_is_missing() -> None:
    first, second = WEB.disks
    assert (first.number, first.name, first.type, first.where) == (
        0,
        "disk0.img",
        "virtio-blk",
        Where.FILE,
    )
    assert (second.number, second.name, second.where) == (1, "data", Where.ZVOL)
    assert not second.medium


@pytest.mark.parametrize(
    ("dev", "where"),
    [
        ("file", Where.FILE),
        ("", Where.FILE),
        ("zvol", Where.ZVOL),
        ("custom", Where.CUSTOM),
        ("iscsi", Where.ELSEWHERE),
        ("9p", Where.ELSEWHERE),
    ],
)
def test_where_a_disk_lies_is_told_by_its_dev(dev: str, where: Where) -> None:
    (disk,) = Conf(f'disk0_name="x"\ndisk0_type="ahci-cd"\ndisk0_dev="{dev}"\n').disks
    assert disk.where is where
    assert disk.medium


def test_the_firmware_keeps_variables_only_where_both_keys_say_so() -> None:
    assert WEB.keeps_uefi_variables
    assert Conf('loader="uefi-csm"\nuefi_vars=on').keeps_uefi_variables
    assert not Conf('loader="uefi"').keeps_uefi_variables
    assert not Conf('loader="bhyveload"\nuefi_vars=on').keeps_uefi_variables


def test_a_disk_is_pointed_at_a_path_by_changing_two_lines_and_no_other() -> None:
    changed, changes = WEB.opened_at(1, "/vm/web/current/data")
    assert [str(change) for change in changes] == [
        'disk1_name="data" -> "/vm/web/current/data"',
        'disk1_dev="sparse-zvol" -> "custom"',
    ]
    before, after = WEB.text.splitlines(), changed.text.splitlines()
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert different == [
        ('disk1_name="data"   # the data', 'disk1_name="/vm/web/current/data" # the data'),
        ('disk1_dev="sparse-zvol"', 'disk1_dev="custom"'),
    ]
    assert changed.opened_at(1, "/vm/web/current/data") == (changed, ())


def test_a_line_that_is_missing_is_added_behind_the_name() -> None:
    changed, changes = Conf('disk0_type="nvme"\ndisk0_name="a"').opened_at(0, "/a")
    assert changed.text == 'disk0_type="nvme"\ndisk0_name="/a"\ndisk0_dev="custom"'
    assert str(changes[1]) == 'added disk0_dev="custom"'


@pytest.mark.parametrize("path", ["/a b/x", "/a#b", '/a"b', "/a,b"])
def test_a_path_that_vm_bhyve_cannot_read_is_refused(path: str) -> None:
    with pytest.raises(CkptreeError, match="give the home another mountpoint"):
        WEB.opened_at(0, path)


def test_a_file_is_replaced_as_a_whole_with_the_same_mode(tmp_path: Path) -> None:
    path = tmp_path / "web.conf"
    assert read_conf(path) is None
    path.write_bytes(b'notes="\xff"\r\n')
    path.chmod(0o640)
    conf = read_conf(path)
    assert conf is not None
    write_conf(path, Conf(f"{conf.text}cpu=1\n"), path)
    assert path.read_bytes() == b'notes="\xff"\r\ncpu=1\n'
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["web.conf"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CkptreeError, match="cannot be read: Is a directory"):
        read_conf(tmp_path)
